//! Signature Version 4: verification of requests that carry their signature in the Authorization header.
//!
//! Presigned URLs are not served: no client of the sandbox's services makes them.

use std::fmt;
use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use http::request::Parts;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::identifiers;

/// How far a request's clock may differ from ours, either way; AWS's own limit.
const SKEW: Duration = Duration::from_secs(15 * 60);

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What a client of S3 says of the body: its digest, or a word for why it gives none.
pub(crate) const CONTENT_SHA256: &str = "x-amz-content-sha256";

/// The one key pair that a sandbox accepts.
#[derive(Clone)]
pub(crate) struct Credentials {
    /// `AKIA` and sixteen more characters.
    pub(crate) access_key_id: String,
    /// The secret half.
    pub(crate) secret_access_key: String,
    /// Only in recorded requests: the sandbox's own key pair has none.
    pub(crate) session_token: Option<String>,
}

impl Credentials {
    /// A key pair that nobody had before.
    pub(crate) fn random() -> Self {
        Self {
            access_key_id: format!("AKIA{}", identifiers::base32(16)),
            secret_access_key: identifiers::secret(40),
            session_token: None,
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

/// Why a request was not let in. The words are those of AWS; the code depends on the protocol of the service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AuthError {
    /// No Authorization header at all.
    #[error("Missing Authentication Token")]
    Missing,
    /// The header is there and cannot be understood.
    #[error("Authorization header requires {0}")]
    Incomplete(&'static str),
    /// Neither our key id nor a token of ours.
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    /// The key was good once.
    #[error("The security token included in the request is expired")]
    Expired,
    /// Signed for another service, region or day.
    #[error("Credential should be scoped to {0}")]
    Scope(String),
    /// A header that must be part of the signature is not.
    #[error("{0}")]
    SignedHeaders(String),
    /// The clock is off, or the request was sent again much later.
    #[error("Signature {what}: {date} is now {relation} than {limit} ({now} {sign} 15 min.)", what = if *.early { "not yet current" } else { "expired" }, relation = if *.early { "later" } else { "earlier" }, sign = if *.early { "+" } else { "-" })]
    Clock {
        /// True if the request comes from the future.
        early: bool,
        /// The request's own time.
        date: String,
        /// The last (or first) time that would do.
        limit: String,
        /// Our time.
        now: String,
    },
    /// The secret or the request is not the one that was signed.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
    )]
    Mismatch,
}

impl AuthError {
    /// The error code of the JSON protocols.
    pub(crate) fn json_code(&self) -> &'static str {
        match self {
            Self::Missing => "MissingAuthenticationTokenException",
            Self::Incomplete(_) => "IncompleteSignatureException",
            Self::UnknownKey => "UnrecognizedClientException",
            Self::Expired => "ExpiredTokenException",
            Self::Scope(_) | Self::SignedHeaders(_) | Self::Clock { .. } | Self::Mismatch => {
                "InvalidSignatureException"
            }
        }
    }

    /// The error code of the query protocols.
    pub(crate) fn query_code(&self) -> &'static str {
        match self {
            Self::Missing => "MissingAuthenticationToken",
            Self::Incomplete(_) => "IncompleteSignature",
            Self::UnknownKey => "InvalidClientTokenId",
            Self::Expired => "ExpiredToken",
            Self::Scope(_) | Self::SignedHeaders(_) | Self::Clock { .. } | Self::Mismatch => {
                "SignatureDoesNotMatch"
            }
        }
    }
}

/// What a signature must be for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected<'a> {
    /// The service in the credential scope.
    pub(crate) service: &'a str,
    /// The region in the credential scope; `None` where any will do (STS is global).
    pub(crate) region: Option<&'a str>,
    /// For WebSocket upgrades: exactly the headers that the reference client signs, and no others.
    pub(crate) upgrade: bool,
}

/// The service named by the credential scope of a request, if it has one: the mark of the query protocols.
pub(crate) fn scope_service(headers: &HeaderMap) -> Option<&str> {
    Some(Authorization::parse(headers).ok()?.service)
}

/// The id of the key that signed a request, and the region it was signed for. Nothing is checked yet.
pub(crate) fn signer(headers: &HeaderMap) -> Option<(&str, &str)> {
    let authorization = Authorization::parse(headers).ok()?;
    Some((authorization.access_key_id, authorization.region))
}

/// Checks the signature of a request with this head and body.
pub(crate) fn verify(
    head: &Parts,
    body: &[u8],
    credentials: &Credentials,
    expected: Expected<'_>,
    now: SystemTime,
) -> Result<(), AuthError> {
    let authorization = Authorization::parse(&head.headers)?;
    let date = single(&head.headers, "x-amz-date").ok_or(AuthError::Incomplete(
        "existence of either a 'X-Amz-Date' or a 'Date' header.",
    ))?;
    let time = parse_time(date).ok_or(AuthError::Incomplete("Date in ISO-8601 'basic format'."))?;

    check_scope(&authorization, date, expected)?;
    check_signed_headers(&authorization, &head.headers, expected.upgrade)?;
    if authorization.access_key_id != credentials.access_key_id
        || single(&head.headers, "x-amz-security-token") != credentials.session_token.as_deref()
    {
        return Err(AuthError::UnknownKey);
    }
    check_clock(date, time, now)?;

    let canonical = canonical_request(head, &authorization, body)?;
    let signature = sign(
        &authorization,
        date,
        &canonical,
        &credentials.secret_access_key,
    );
    let given = authorization.signature.as_bytes();
    if bool::from(signature.as_bytes().ct_eq(given)) {
        Ok(())
    } else {
        Err(AuthError::Mismatch)
    }
}

/// The parts of an Authorization header.
struct Authorization<'a> {
    access_key_id: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    signed_headers: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    fn parse(headers: &'a HeaderMap) -> Result<Self, AuthError> {
        let mut values = headers.get_all(http::header::AUTHORIZATION).iter();
        let value = values.next().ok_or(AuthError::Missing)?;
        if values.next().is_some() {
            return Err(AuthError::Incomplete("to be present once."));
        }
        let text = value
            .to_str()
            .map_err(|_| AuthError::Incomplete("visible ASCII."))?;
        let rest = text
            .strip_prefix(ALGORITHM)
            .and_then(|rest| rest.strip_prefix(' '))
            .ok_or(AuthError::Incomplete("algorithm 'AWS4-HMAC-SHA256'."))?;
        let field = |name: &str| {
            rest.split(',')
                .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
        };
        let credential =
            field("Credential").ok_or(AuthError::Incomplete("'Credential' parameter."))?;
        let signed =
            field("SignedHeaders").ok_or(AuthError::Incomplete("'SignedHeaders' parameter."))?;
        let signature =
            field("Signature").ok_or(AuthError::Incomplete("'Signature' parameter."))?;

        let words: Vec<&str> = credential.split('/').collect();
        let [access_key_id, date, region, service, "aws4_request"] = words[..] else {
            return Err(AuthError::Incomplete(
                "'Credential' of the form <key id>/<date>/<region>/<service>/aws4_request.",
            ));
        };
        Ok(Self {
            access_key_id,
            date,
            region,
            service,
            signed_headers: signed.split(';').collect(),
            signature,
        })
    }
}

fn check_scope(
    authorization: &Authorization<'_>,
    date: &str,
    expected: Expected<'_>,
) -> Result<(), AuthError> {
    if authorization.service != expected.service {
        return Err(AuthError::Scope(format!(
            "correct service: '{}'. ",
            expected.service
        )));
    }
    if expected
        .region
        .is_some_and(|region| region != authorization.region)
    {
        return Err(AuthError::Scope(format!(
            "a valid region, not '{}'. ",
            authorization.region
        )));
    }
    if !date.starts_with(authorization.date) || authorization.date.len() != 8 {
        return Err(AuthError::Scope("the date of the request. ".to_owned()));
    }
    Ok(())
}

/// What names the operation must be signed, or a recorded request could be replayed as another.
fn check_signed_headers(
    authorization: &Authorization<'_>,
    headers: &HeaderMap,
    upgrade: bool,
) -> Result<(), AuthError> {
    for name in ["host", "x-amz-date", "x-amz-security-token", "x-amz-target"] {
        let needed = name == "host" || headers.contains_key(name);
        if needed && !authorization.signed_headers.contains(&name) {
            return Err(AuthError::SignedHeaders(format!(
                "'{name}' must be a 'SignedHeader' in the AWS Authorization."
            )));
        }
    }
    if !upgrade {
        return Ok(());
    }
    // The reference client signs these and no others (upgrade and sec-websocket-* are not signed).
    let known = ["host", "x-amz-date", "x-amz-security-token"];
    match authorization
        .signed_headers
        .iter()
        .find(|name| !known.contains(*name))
    {
        Some(name) => Err(AuthError::SignedHeaders(format!(
            "'{name}' must not be a 'SignedHeader' of a data channel's upgrade."
        ))),
        None => Ok(()),
    }
}

fn check_clock(date: &str, time: SystemTime, now: SystemTime) -> Result<(), AuthError> {
    let early = time > now;
    let distance = if early {
        time.duration_since(now)
    } else {
        now.duration_since(time)
    };
    if distance.is_ok_and(|distance| distance <= SKEW) {
        return Ok(());
    }
    let limit = if early { now + SKEW } else { now - SKEW };
    Err(AuthError::Clock {
        early,
        date: date.to_owned(),
        limit: format_time(limit),
        now: format_time(now),
    })
}

fn canonical_request(
    head: &Parts,
    authorization: &Authorization<'_>,
    body: &[u8],
) -> Result<String, AuthError> {
    let mut canonical = String::new();
    canonical.push_str(head.method.as_str());
    canonical.push('\n');
    canonical.push_str(&canonical_path(authorization.service, head.uri.path()));
    canonical.push('\n');
    canonical.push_str(&canonical_query(head.uri.query().unwrap_or_default()));
    canonical.push('\n');
    for name in &authorization.signed_headers {
        canonical.push_str(name);
        canonical.push(':');
        let mut separator = "";
        for value in head.headers.get_all(*name) {
            // Values that are not ASCII are never signed by the SDKs.
            let value = value.to_str().map_err(|_| AuthError::Mismatch)?;
            canonical.push_str(separator);
            canonical.push_str(&value.split_ascii_whitespace().collect::<Vec<_>>().join(" "));
            separator = ",";
        }
        canonical.push('\n');
    }
    canonical.push('\n');
    canonical.push_str(&authorization.signed_headers.join(";"));
    canonical.push('\n');
    match single(&head.headers, CONTENT_SHA256).filter(|_| authorization.service == "s3") {
        // What S3's clients say of the body is signed; whether it is true is for S3 to say.
        Some(stated) => canonical.push_str(stated),
        None => canonical.push_str(&hex::encode(Sha256::digest(body))),
    }
    Ok(canonical)
}

/// Every service but S3 escapes the path once more: what is on the wire counts as unescaped there.
fn canonical_path(service: &str, path: &str) -> String {
    match service {
        "s3" => escape(
            &percent_encoding::percent_decode_str(path).collect::<Vec<u8>>(),
            b"/",
        ),
        _ => escape(path.as_bytes(), b"/"),
    }
}

/// Form-decoded (a raw `+` is a space) and escaped again: what Go's and Rust's signers do with a `cell-number`.
fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (
                escape(&form_decode(name), b""),
                escape(&form_decode(value), b""),
            )
        })
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

fn form_decode(text: &str) -> Vec<u8> {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).collect()
}

/// RFC 3986: everything but unreserved characters (and `kept`) as upper-case `%XX`.
fn escape(bytes: &[u8], kept: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push_str(&hex::encode_upper([byte]));
        }
    }
    text
}

fn sign(authorization: &Authorization<'_>, date: &str, canonical: &str, secret: &str) -> String {
    let Authorization {
        date: day,
        region,
        service,
        ..
    } = authorization;
    let hash = hex::encode(Sha256::digest(canonical));
    let text = format!("{ALGORITHM}\n{date}\n{day}/{region}/{service}/aws4_request\n{hash}");
    let key = mac(format!("AWS4{secret}").as_bytes(), day);
    let key = mac(&key, region);
    let key = mac(&key, service);
    let key = mac(&key, "aws4_request");
    hex::encode(mac(&key, &text))
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// The value of a header that must not be repeated.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() {
        None
    } else {
        value.to_str().ok()
    }
}

const TIME_FORMAT: &str = "%Y%m%dT%H%M%SZ";

fn parse_time(text: &str) -> Option<SystemTime> {
    let time = jiff::civil::DateTime::strptime(TIME_FORMAT, text).ok()?;
    Some(
        time.to_zoned(jiff::tz::TimeZone::UTC)
            .ok()?
            .timestamp()
            .into(),
    )
}

fn format_time(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(
        |_| String::new(),
        |time| time.strftime(TIME_FORMAT).to_string(),
    )
}

#[cfg(test)]
mod tests;
