//! Calls of any operation that the table of services has.

use std::time::Duration;

use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bowline_services::{Operation, Protocol, Service};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep, timeout_at};

use super::wire::{answer, draft};
use super::{Calls, Said, Unsigned, collect, dns_suffix, xml};
use crate::aws::config::Settings;
use crate::aws::error::{AwsError, AwsErrorKind};

/// Attempts of one call, within its deadline.
const ATTEMPTS: u32 = 3;
/// The pause before the second attempt, doubled each time.
const PAUSE: Duration = Duration::from_millis(500);

/// An answer with what is known of how it came.
#[derive(Debug)]
pub(crate) struct Answered {
    /// The output by the model's member names, with `ResponseMetadata` as the Python SDK has it.
    pub(crate) value: Value,
}

impl Calls {
    /// Calls an operation of the table of services; names as runbooks write them. Repeated after throttling, answers of
    /// 5xx and broken connections, within the deadline.
    pub(crate) async fn by_model(
        &self,
        settings: &Settings,
        service: &str,
        operation: &str,
        input: &Map<String, Value>,
        deadline: Instant,
    ) -> Result<Answered, AwsError> {
        let name = format!("{service}:{operation}");
        let found = bowline_services::find(service)
            .ok()
            .and_then(|service| Some((service, service.operation(operation)?)));
        let Some((service, operation)) = found else {
            return Err(AwsError::unusable(name, "there is no such operation"));
        };
        if !is_spoken(service) {
            let why = format!("{} speaks a protocol that is not spoken here", service.name);
            return Err(AwsError::unusable(name, &why));
        }
        let token = token();
        let mut pause = PAUSE;
        let mut corrected = false;
        let mut retries = 0;
        loop {
            let attempt = self.model_attempt(settings, service, operation, input, &token, &name);
            let Ok(result) = timeout_at(deadline, attempt).await else {
                return Err(AwsError::late(name));
            };
            match result {
                Err(error) if error.is_rejected_signature() && !corrected && self.is_skewed() => {
                    corrected = true;
                }
                Err(error)
                    if may_pass(&error)
                        && retries + 1 < ATTEMPTS
                        && Instant::now() + pause < deadline =>
                {
                    retries += 1;
                    sleep(pause).await;
                    pause *= 2;
                }
                Err(error) => return Err(error),
                Ok(mut value) => {
                    value["ResponseMetadata"]["RetryAttempts"] = retries.into();
                    return Ok(Answered { value });
                }
            }
        }
    }

    async fn model_attempt(
        &self,
        settings: &Settings,
        service: &Service,
        operation: &Operation,
        input: &Map<String, Value>,
        token: &str,
        name: &str,
    ) -> Result<Value, AwsError> {
        let mut draft = draft(service, operation, input, token)
            .map_err(|why| AwsError::unusable(name.to_owned(), &why))?;
        let (base, region) = place(service, operation, input, settings, &mut draft.path);
        if service.name == "s3" && operation.needs_checksum {
            let sum = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&draft.body);
            let named = |name: &str, value: String| (name.to_owned(), value);
            draft.headers.extend([
                named("x-amz-sdk-checksum-algorithm", "CRC32".to_owned()),
                named("x-amz-checksum-crc32", BASE64.encode(sum.to_be_bytes())),
            ]);
        }
        let unsigned = Unsigned {
            method: &draft.method,
            url: format!("{base}{}", draft.path),
            headers: draft.headers,
            body: draft.body,
            service: &service.meta.signing_name,
            region,
        };
        let request = self.sign(settings, unsigned, name).await?;
        let answered = self
            .connector(settings)
            .call(request)
            .await
            .map_err(|error| AwsError::from_connector(name.to_owned(), error))?;
        self.note_time(&answered);
        read(service, operation, answered, name).await
    }
}

/// Whether the codecs know a service's protocol, and the signer its signatures.
pub(crate) fn is_spoken(service: &Service) -> bool {
    let signed = !matches!(service.meta.signature_version.as_str(), "v2" | "bearer");
    service.meta.protocol != Protocol::Cbor && signed
}

/// Throttling, answers of 5xx and broken connections.
pub(crate) fn may_pass(error: &AwsError) -> bool {
    error.is_throttled()
        || error.kind == AwsErrorKind::Unreachable
        || error.status.is_some_and(|status| status >= 500)
}

/// The endpoint, without a slash at its end, and the region to sign for.
fn place(
    service: &Service,
    operation: &Operation,
    input: &Map<String, Value>,
    settings: &Settings,
    path: &mut String,
) -> (String, String) {
    let region = settings.region.as_str();
    if let Some(url) = settings.endpoint(&service.meta.service_id) {
        return (url.trim_end_matches('/').to_owned(), region.to_owned());
    }
    if service.name == "s3" {
        let host = format!("s3.{region}.{}", dns_suffix(region));
        let bucket = input
            .get("Bucket")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let is_label = bucket
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        // A bucket whose name is no label of a host name stays in the path.
        let base = match path.strip_prefix(&format!("/{bucket}")) {
            Some(rest) if is_label && !bucket.is_empty() => {
                *path = match rest.starts_with('/') {
                    true => rest.to_owned(),
                    false => format!("/{rest}"),
                };
                format!("https://{bucket}.{host}")
            }
            _ => format!("https://{host}"),
        };
        return (base, region.to_owned());
    }
    let global = service.meta.global_endpoint.as_deref();
    // STS is asked where the region is, as all SDKs do now.
    let (host, region) = match global.filter(|_| service.name != "sts") {
        // Global services have one endpoint and are signed for one region.
        Some(host) if dns_suffix(region) == "amazonaws.com" && !region.starts_with("us-gov-") => {
            (host.to_owned(), "us-east-1")
        }
        _ => (
            format!(
                "{}.{region}.{}",
                service.meta.endpoint_prefix,
                dns_suffix(region)
            ),
            region,
        ),
    };
    let mut prefix = operation.host_prefix.clone().unwrap_or_default();
    for (name, value) in input {
        if let Some(text) = value.as_str() {
            prefix = prefix.replace(&format!("{{{name}}}"), text);
        }
    }
    (format!("https://{prefix}{host}"), region.to_owned())
}

async fn read(
    service: &Service,
    operation: &Operation,
    answered: HttpResponse,
    name: &str,
) -> Result<Value, AwsError> {
    let status = answered.status().as_u16();
    let headers: Vec<(String, String)> = answered
        .headers()
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let header = |wanted: &str| {
        let wanted = wanted.to_ascii_lowercase();
        headers
            .iter()
            .find(|it| it.0 == wanted)
            .map(|it| it.1.as_str())
    };
    let request_id = header("x-amzn-requestid")
        .or_else(|| header("x-amz-request-id"))
        .map(str::to_owned);
    let body = collect(answered, name).await?;
    if !(200..300).contains(&status) {
        let parsed: Option<Value> = match service.meta.protocol {
            Protocol::Json | Protocol::RestJson | Protocol::Cbor => {
                serde_json::from_slice(&body).ok()
            }
            _ => std::str::from_utf8(&body).ok().and_then(xml::parse),
        };
        let said = parsed.as_ref().map(Said::of);
        let code = header("x-amzn-errortype")
            .map(|code| code.split(':').next().unwrap_or_default().to_owned());
        // The code of the query protocol goes before, as the Python SDK has it.
        let query = header("x-amzn-query-error")
            .and_then(|it| it.split(';').next())
            .map(str::to_owned);
        let code = query.or(code);
        let code = code.or_else(|| said.as_ref()?.code.clone());
        let request_id = request_id.or_else(|| said.as_ref()?.request_id.clone());
        let message = said.and_then(|said| said.message);
        // An answer to HEAD has no body: its status is its code, as the Python SDK has it.
        let code = code.or_else(|| (operation.method == "HEAD").then(|| status.to_string()));
        return Err(match code {
            Some(code) => AwsError::said(name.to_owned(), code, message, status, request_id),
            None => AwsError::foreign(name.to_owned(), status, request_id, &body),
        });
    }
    let Ok((mut value, in_body)) = answer(service, operation, status, &header, &body) else {
        return Err(AwsError::foreign(
            name.to_owned(),
            status,
            request_id,
            &body,
        ));
    };
    let request_id = request_id.or(in_body);
    let shown: Map<String, Value> = headers
        .iter()
        .map(|(name, value)| (name.clone(), value.clone().into()))
        .collect();
    value["ResponseMetadata"] =
        json!({ "RequestId": request_id, "HTTPStatusCode": status, "HTTPHeaders": shown });
    Ok(value)
}

/// A UUID: an idempotency token, kept over the attempts of one call, or the id of a run.
pub(crate) fn token() -> String {
    let mut bytes = [0; 16];
    // Without entropy there is no TLS either; a token of zeros is one that repeats.
    let _ = getrandom::fill(&mut bytes);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "{}-{}-4{}-8{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..]
    )
}
