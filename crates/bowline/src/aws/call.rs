//! Signed calls that are named at run time, for services and members that no SDK crate here has.
//!
//! Input and answer are JSON values, whatever the service speaks: the JSON protocol as it is, the query protocols
//! with the members' names of the wire (`SubnetId`, not the SDKs' `SubnetIds`).

mod form;
mod hosts;
mod markup;
mod model;
mod s3;
mod service;
mod wire;
mod xml;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials as SigningCredentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use jiff::fmt::rfc2822;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};

pub(crate) use self::model::{Answered, is_spoken, may_pass, token};
use self::service::{Protocol, Service};
use super::config::{CONNECT_LIMIT, Settings};
use super::error::AwsError;

/// The largest answer that is read.
const ANSWER_LIMIT: usize = 8 << 20;
/// After an answer that says "throttled": the first pause, doubled each time, up to the deadline.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// A clock that is further off than this is not signed by; AWS refuses at 15 minutes, the SDKs correct at 4.
const SKEW_CORRECTED: i64 = 4 * 60;

/// Makes calls. One per client; connections and credentials are shared with the SDK's clients.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    connector: Mutex<Option<SharedHttpConnector>>,
    /// Seconds that AWS's clock is ahead of ours, by the newest answer.
    skew: Mutex<Option<i64>>,
}

impl Calls {
    /// Calls `operation` of `service` (`ecs`, `iam`, `ec2`, `ssm`, `sts`). Repeated only after an answer that says
    /// that nothing was done because of a rate limit, and only until the deadline.
    pub(crate) async fn call(
        &self,
        settings: &Settings,
        service: &str,
        operation: &str,
        input: &Value,
        deadline: Instant,
    ) -> Result<Value, AwsError> {
        let name = format!("{service}:{operation}");
        let Some(service) = Service::named(service) else {
            return Err(AwsError::unusable(name, "the service is not known here"));
        };
        let mut pause = FIRST_PAUSE;
        let mut corrected = false;
        loop {
            let attempt = self.attempt(settings, service, operation, input, &name);
            let Ok(answer) = timeout_at(deadline, attempt).await else {
                return Err(AwsError::late(name));
            };
            match answer {
                Err(error) if error.is_throttled() && Instant::now() + pause < deadline => {
                    sleep(pause).await;
                    pause *= 2;
                }
                // The answer said what time it is.
                Err(error) if error.is_rejected_signature() && !corrected && self.is_skewed() => {
                    corrected = true;
                }
                answer => return answer,
            }
        }
    }

    /// Seconds that AWS's clock is ahead of ours, by the `Date` of the newest answer; to about a second.
    pub(crate) fn skew(&self) -> Option<i64> {
        *self.skew.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_skewed(&self) -> bool {
        self.skew().is_some_and(|skew| skew.abs() > SKEW_CORRECTED)
    }

    async fn attempt(
        &self,
        settings: &Settings,
        service: &Service,
        operation: &str,
        input: &Value,
        name: &str,
    ) -> Result<Value, AwsError> {
        let request = self
            .request(settings, service, operation, input, name)
            .await?;
        let answer = self
            .connector(settings)
            .call(request)
            .await
            .map_err(|error| AwsError::from_connector(name.to_owned(), error))?;
        self.note_time(&answer);
        read(service, operation, answer, name).await
    }

    async fn request(
        &self,
        settings: &Settings,
        service: &Service,
        operation: &str,
        input: &Value,
        name: &str,
    ) -> Result<HttpRequest, AwsError> {
        let (url, region) = service.place(settings);
        let (content_type, target, body) = match service.protocol {
            Protocol::Json { target, version } => (
                format!("application/x-amz-json-{version}"),
                Some(format!("{target}.{operation}")),
                input.to_string(),
            ),
            Protocol::Query { version, lists } => (
                "application/x-www-form-urlencoded; charset=utf-8".to_owned(),
                None,
                form(operation, version, lists, input),
            ),
        };
        let mut headers = vec![("content-type".to_owned(), content_type)];
        headers.extend(target.map(|target| ("x-amz-target".to_owned(), target)));
        let unsigned = Unsigned {
            method: "POST",
            url,
            headers,
            body: body.into_bytes(),
            service: service.name,
            region,
        };
        self.sign(settings, unsigned, name).await
    }

    async fn sign(
        &self,
        settings: &Settings,
        request: Unsigned<'_>,
        name: &str,
    ) -> Result<HttpRequest, AwsError> {
        let Unsigned {
            method,
            url,
            headers,
            body,
            service,
            region,
        } = request;
        let host = url
            .parse::<http::Uri>()
            .ok()
            .and_then(|uri| Some(uri.authority()?.as_str().to_owned()));
        let host =
            host.ok_or_else(|| AwsError::unusable(name.to_owned(), "the endpoint has no host"))?;
        let unusable = |error: &dyn std::fmt::Display| {
            AwsError::unusable(name.to_owned(), &format!("cannot be signed: {error}"))
        };
        let headers: Vec<(String, String)> = [("host".to_owned(), host)]
            .into_iter()
            .chain(headers)
            .collect();
        let credentials = settings.credentials().await?;
        let identity = SigningCredentials::new(
            credentials.access_key_id,
            credentials.secret_access_key.into_inner(),
            credentials.session_token.map(crate::Secret::into_inner),
            None,
            "bowline",
        )
        .into();
        let mut signing = SigningSettings::default();
        if service == "s3" {
            // S3 signs paths as they are, and wants the sum of the body in a header.
            signing.percent_encoding_mode = PercentEncodingMode::Single;
            signing.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
            signing.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&region)
            .name(service)
            .time(self.now())
            .settings(signing)
            .build()
            .map_err(|error| unusable(&error))?
            .into();
        let signable = SignableRequest::new(
            method,
            &url,
            headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
            SignableBody::Bytes(&body),
        )
        .map_err(|error| unusable(&error))?;
        let (signature, _) = sign(signable, &params)
            .map_err(|error| unusable(&error))?
            .into_parts();
        let mut request = HttpRequest::new(SdkBody::from(body));
        request.set_method(method).map_err(|e| unusable(&e))?;
        request.set_uri(url).map_err(|e| unusable(&e))?;
        for (name, value) in headers {
            request
                .headers_mut()
                .try_insert(name, value)
                .map_err(|e| unusable(&e))?;
        }
        for (name, value) in signature.headers() {
            let (name, value) = (name.to_owned(), value.to_owned());
            request
                .headers_mut()
                .try_insert(name, value)
                .map_err(|e| unusable(&e))?;
        }
        Ok(request)
    }

    /// Our time, or AWS's where ours is known to be wrong.
    fn now(&self) -> SystemTime {
        let now = SystemTime::now();
        let Some(skew) = self.skew().filter(|skew| skew.abs() > SKEW_CORRECTED) else {
            return now;
        };
        let span = Duration::from_secs(skew.unsigned_abs());
        let corrected = match skew > 0 {
            true => now.checked_add(span),
            false => now.checked_sub(span),
        };
        corrected.unwrap_or(now)
    }

    fn note_time(&self, answer: &HttpResponse) {
        let date = answer.headers().get("date");
        let Some(date) = date.and_then(|date| rfc2822::parse(date).ok()) else {
            return;
        };
        let skew = date.timestamp().as_second() - jiff::Timestamp::now().as_second();
        *self.skew.lock().unwrap_or_else(PoisonError::into_inner) = Some(skew);
    }

    fn connector(&self, settings: &Settings) -> SharedHttpConnector {
        let mut held = self
            .connector
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        held.get_or_insert_with(|| settings.http.connector(Some(CONNECT_LIMIT), None))
            .clone()
    }
}

/// A request that has everything but its signature.
struct Unsigned<'a> {
    method: &'a str,
    url: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    service: &'a str,
    region: String,
}

async fn read(
    service: &Service,
    operation: &str,
    answer: HttpResponse,
    name: &str,
) -> Result<Value, AwsError> {
    let status = answer.status().as_u16();
    let request_id = answer
        .headers()
        .get("x-amzn-requestid")
        .or_else(|| answer.headers().get("x-amz-request-id"))
        .map(str::to_owned);
    let body = collect(answer, name).await?;
    let value = match service.protocol {
        Protocol::Json { .. } if body.is_empty() => Some(Value::Object(serde_json::Map::new())),
        Protocol::Json { .. } => serde_json::from_slice(&body).ok(),
        Protocol::Query { .. } => std::str::from_utf8(&body).ok().and_then(xml::parse),
    };
    let Some(value) = value else {
        return Err(AwsError::foreign(
            name.to_owned(),
            status,
            request_id,
            &body,
        ));
    };
    if !(200..300).contains(&status) {
        let said = Said::of(&value);
        let request_id = request_id.or(said.request_id);
        return Err(match said.code {
            Some(code) => AwsError::said(name.to_owned(), code, said.message, status, request_id),
            None => AwsError::foreign(name.to_owned(), status, request_id, &body),
        });
    }
    // awsQuery wraps the result, ec2Query does not.
    let result = format!("{operation}Result");
    Ok(match value.get(&result) {
        Some(inner) => inner.clone(),
        None => value,
    })
}

/// The whole body of an answer.
async fn collect(answer: HttpResponse, name: &str) -> Result<Vec<u8>, AwsError> {
    let mut body = Vec::new();
    let mut stream = ByteStream::new(answer.into_body());
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|error| {
            AwsError::unusable(name.to_owned(), &format!("the answer broke off: {error}"))
        })?;
        if body.len() + piece.len() > ANSWER_LIMIT {
            return Err(AwsError::unusable(
                name.to_owned(),
                "the answer is too long",
            ));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// What an error document says, in each of the protocols.
struct Said {
    code: Option<String>,
    message: Option<String>,
    request_id: Option<String>,
}

impl Said {
    fn of(value: &Value) -> Self {
        let text = |pointers: &[&str]| {
            let found = pointers
                .iter()
                .find_map(|path| value.pointer(path)?.as_str());
            found.map(str::to_owned)
        };
        let code = text(&[
            "/__type",
            "/code",
            "/Code",
            "/Error/Code",
            "/Errors/0/Code",
            "/Errors/Error/Code",
        ]);
        Self {
            // `namespace#Name:uri` in some JSON services.
            code: code.map(|code| {
                let name = code.rsplit('#').next().unwrap_or_default();
                name.split(':').next().unwrap_or_default().to_owned()
            }),
            message: text(&[
                "/message",
                "/Message",
                "/Error/Message",
                "/Errors/0/Message",
                "/Errors/Error/Message",
            ]),
            request_id: text(&["/RequestId", "/RequestID"]),
        }
    }
}

/// How a query protocol numbers the items of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lists {
    /// `Name.member.1`, as IAM and STS have it.
    Member,
    /// `Name.1`, as EC2 has it.
    Flat,
}

/// The form body of a query protocol.
fn form(operation: &str, version: &str, lists: Lists, input: &Value) -> String {
    let mut pairs = vec![
        ("Action".to_owned(), operation.to_owned()),
        ("Version".to_owned(), version.to_owned()),
    ];
    flatten(String::new(), input, lists, &mut pairs);
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(&name);
        text.push('=');
        text.push_str(&wire::escaped(&value, false));
    }
    text
}

fn flatten(prefix: String, value: &Value, lists: Lists, pairs: &mut Vec<(String, String)>) {
    match value {
        Value::Null => {}
        Value::Object(members) => {
            for (name, value) in members {
                let path = match prefix.is_empty() {
                    true => name.clone(),
                    false => format!("{prefix}.{name}"),
                };
                flatten(path, value, lists, pairs);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                let number = index + 1;
                let path = match lists {
                    Lists::Member => format!("{prefix}.member.{number}"),
                    Lists::Flat => format!("{prefix}.{number}"),
                };
                flatten(path, value, lists, pairs);
            }
        }
        Value::String(text) => pairs.push((prefix, text.clone())),
        other => pairs.push((prefix, other.to_string())),
    }
}

/// A `Calls` and what it calls with, for code that does not see the settings.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    aws: Arc<super::Aws>,
}

impl Api {
    pub(crate) fn new(aws: Arc<super::Aws>) -> Self {
        Self { aws }
    }

    /// One call; see [`Calls::call`].
    pub(crate) async fn call(
        &self,
        service: &str,
        operation: &str,
        input: &Value,
        deadline: Instant,
    ) -> Result<Value, AwsError> {
        self.aws
            .calls
            .call(&self.aws.settings, service, operation, input, deadline)
            .await
    }

    /// One call of any operation that the table of services has; see [`Calls::by_model`].
    pub(crate) async fn by_model(
        &self,
        service: &str,
        operation: &str,
        input: &serde_json::Map<String, Value>,
        deadline: Instant,
    ) -> Result<Answered, AwsError> {
        self.aws
            .calls
            .by_model(&self.aws.settings, service, operation, input, deadline)
            .await
    }

    /// Seconds that AWS's clock is ahead of ours.
    pub(crate) fn skew(&self) -> Option<i64> {
        self.aws.calls.skew()
    }
}

/// Members of an EC2 or IAM answer that are lists: an empty list is an empty element, which is no list.
pub(crate) fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value
        .get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// A member that is a text; an empty one counts as absent.
pub(crate) fn text<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value
        .get(name)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
}

/// Names to values, for lists of such pairs.
pub(crate) fn pairs(list: &[Value]) -> HashMap<&str, &str> {
    list.iter()
        .filter_map(|pair| Some((text(pair, "name")?, text(pair, "value").unwrap_or_default())))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_query_protocol_numbers_its_lists() {
        let input = json!({ "Names": ["a b", "c"], "Filter": [{ "Name": "x", "Value": ["1"] }], "No": null });
        assert_eq!(
            form("Op", "1", Lists::Flat, &input),
            "Action=Op&Version=1&Filter.1.Name=x&Filter.1.Value.1=1&Names.1=a%20b&Names.2=c"
        );
        assert!(
            form("Op", "1", Lists::Member, &input)
                .contains("Filter.member.1.Value.member.1=1&Names.member.1=a%20b")
        );
    }

    #[test]
    fn errors_are_read_in_every_protocol() {
        let json = Said::of(&json!({ "__type": "com.amazonaws#Nope:http://x", "Message": "m" }));
        assert_eq!(json.code.as_deref(), Some("Nope"));
        let iam = xml::parse(
            "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error><RequestId>r</RequestId></ErrorResponse>",
        );
        let iam = Said::of(&iam.unwrap());
        assert_eq!(iam.code.as_deref(), Some("AccessDenied"));
        assert_eq!(iam.request_id.as_deref(), Some("r"));
        let ec2 = xml::parse(
            "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>no</Message></Error></Errors><RequestID>r</RequestID></Response>",
        );
        assert_eq!(
            Said::of(&ec2.unwrap()).code.as_deref(),
            Some("UnauthorizedOperation")
        );
    }
}
