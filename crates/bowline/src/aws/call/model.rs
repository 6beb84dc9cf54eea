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
use super::{Calls, Said, Unsigned, collect, hosts, xml};
use crate::aws::config::Settings;
use crate::aws::error::{AwsError, AwsErrorKind};
use crate::aws::regions::dns_suffix;

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
        let mut elsewhere = None;
        loop {
            let region: &str = elsewhere.as_deref().unwrap_or(&settings.region);
            let mut moved = None;
            let place = (region, &mut moved);
            let attempt =
                self.model_attempt(settings, service, operation, input, &token, &name, place);
            let Ok(result) = timeout_at(deadline, attempt).await else {
                return Err(AwsError::late(name));
            };
            match result {
                Err(error) if error.is_rejected_signature() && !corrected && self.is_skewed() => {
                    corrected = true;
                }
                // The bucket is in another region, and the answer says in which.
                Err(_) if moved.is_some() && elsewhere.is_none() => elsewhere = moved,
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

    /// One attempt in a region; it also learns of another one that the call belongs to.
    #[expect(
        clippy::too_many_arguments,
        reason = "a call is a service, an operation, an input and a place"
    )]
    async fn model_attempt(
        &self,
        settings: &Settings,
        service: &Service,
        operation: &Operation,
        input: &Map<String, Value>,
        token: &str,
        name: &str,
        (region, moved): (&str, &mut Option<String>),
    ) -> Result<Value, AwsError> {
        let mut draft = draft(service, operation, input, token)
            .map_err(|why| AwsError::unusable(name.to_owned(), &why))?;
        let (base, signed_for) =
            place(service, operation, input, settings, region, &mut draft.path);
        draft
            .headers
            .extend(checksum(service, operation, &draft.body));
        let unsigned = Unsigned {
            method: &draft.method,
            url: format!("{base}{}", draft.path),
            headers: draft.headers,
            body: draft.body,
            service: &service.meta.signing_name,
            region: signed_for,
        };
        let request = self.sign(settings, unsigned, name).await?;
        let answered = self
            .connector(settings)
            .call(request)
            .await
            .map_err(|error| AwsError::from_connector(name.to_owned(), error))?;
        self.note_time(&answered);
        if service.name == "s3" && matches!(answered.status().as_u16(), 301 | 307 | 400) {
            let bucket = answered.headers().get("x-amz-bucket-region");
            let is_name = |region: &&str| {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
                *region != settings.region && !region.is_empty() && region.bytes().all(plain)
            };
            *moved = bucket.filter(is_name).map(str::to_owned);
        }
        read(service, operation, answered, name).await
    }
}

/// The sum of the body, for operations that want one: a header, and its name in another where the model has a member
/// for that, which is so in S3 and not in S3 Control.
fn checksum(service: &Service, operation: &Operation, body: &[u8]) -> Vec<(String, String)> {
    if !operation.needs_checksum {
        return Vec::new();
    }
    let sum = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(body);
    let sum = ("x-amz-checksum-crc32", BASE64.encode(sum.to_be_bytes()));
    let algorithm = ("x-amz-sdk-checksum-algorithm", "CRC32".to_owned());
    let headers = [Some(sum), (service.name == "s3").then_some(algorithm)];
    let headers = headers.into_iter().flatten();
    headers
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
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
    region: &str,
    path: &mut String,
) -> (String, String) {
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
        _ => hosts::host(service.name, &service.meta.endpoint_prefix, region),
    };
    let mut prefix = operation.host_prefix.clone().unwrap_or_default();
    for (name, value) in input {
        if let Some(text) = value.as_str() {
            prefix = prefix.replace(&format!("{{{name}}}"), text);
        }
    }
    (format!("https://{prefix}{host}"), region.to_owned())
}

/// What an operation answered, or the error that it answered.
pub(super) async fn read(
    service: &Service,
    operation: &Operation,
    answered: HttpResponse,
    name: &str,
) -> Result<Value, AwsError> {
    let mut status = answered.status().as_u16();
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
    // S3 may begin an answer before it knows the end of the work, and then the error comes with the status 200. It is
    // one of the service, as the SDKs have it: the call is repeated.
    let is_late_error = service.name == "s3" && !operation.is_streaming && xml::is(&body, "Error");
    if (200..300).contains(&status) && is_late_error {
        status = 500;
    }
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
    let hex = hex::encode(bytes);
    format!(
        "{}-{}-4{}-8{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::wire_tests::Server;

    async fn called(server: &Server, operation: &str, input: Value) -> Result<Answered, AwsError> {
        let limit = Instant::now() + Duration::from_secs(20);
        let client = server.client().await;
        let input = input.as_object().unwrap();
        client.api().by_model("s3", operation, input, limit).await
    }

    #[tokio::test]
    async fn an_error_of_s3_with_the_status_200_is_one_and_is_tried_again() {
        let error = "<?xml version=\"1.0\"?>\n<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>";
        let server = Server::answering("200 OK", "application/xml", error).await;
        let input = json!({ "Bucket": "b", "Key": "k", "CopySource": "b/other" });
        let failed = called(&server, "CopyObject", input).await.unwrap_err();
        assert_eq!(failed.code.as_deref(), Some("InternalError"));
        assert_eq!(server.requests(), 3);
    }

    #[tokio::test]
    async fn a_bucket_is_asked_where_it_is_once() {
        let moved = "HTTP/1.1 301 Moved Permanently\r\nx-amz-bucket-region: eu-north-1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let there = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        for (again, is_found) in [(there, true), (moved, false)] {
            let server = Server::start(move |request| {
                let is_there = request.contains("/eu-north-1/s3/");
                if is_there { again } else { moved }.to_owned()
            })
            .await;
            let answer = called(&server, "HeadBucket", json!({ "Bucket": "b" })).await;
            assert_eq!((answer.is_ok(), server.requests()), (is_found, 2));
        }
    }

    #[test]
    fn sums_of_bodies_are_in_the_headers_that_the_model_has() {
        for (service, operation, wanted) in [
            ("s3", "DeleteObjects", 2),
            ("s3control", "CreateAccessGrantsInstance", 1),
            ("s3control", "ListAccessPoints", 0),
        ] {
            let service = bowline_services::find(service).unwrap();
            let operation = service.operation(operation).unwrap();
            let headers = checksum(service, operation, b"123456789");
            assert_eq!(headers.len(), wanted, "{}", operation.name);
            if let Some((name, sum)) = headers.first() {
                // The check value of CRC-32.
                assert_eq!(
                    (name.as_str(), sum.as_str()),
                    ("x-amz-checksum-crc32", "y/Q5Jg==")
                );
            }
        }
    }

    /// As botocore's resolver answers.
    #[test]
    fn services_are_asked_at_their_own_hosts() {
        for (service, region, host, signed_for) in [
            (
                "organizations",
                "eu-west-1",
                "organizations.us-east-1.amazonaws.com",
                "us-east-1",
            ),
            ("budgets", "eu-west-1", "budgets.amazonaws.com", "us-east-1"),
            (
                "networkmanager",
                "eu-west-1",
                "networkmanager.us-west-2.amazonaws.com",
                "us-west-2",
            ),
            ("waf", "eu-west-1", "waf.amazonaws.com", "us-east-1"),
            (
                "iam",
                "us-gov-east-1",
                "iam.us-gov.amazonaws.com",
                "us-gov-west-1",
            ),
            (
                "iam",
                "cn-northwest-1",
                "iam.cn-north-1.amazonaws.com.cn",
                "cn-north-1",
            ),
            (
                "route53",
                "cn-north-1",
                "route53.amazonaws.com.cn",
                "cn-northwest-1",
            ),
            ("dsql", "eu-west-1", "dsql.eu-west-1.api.aws", "eu-west-1"),
            (
                "ecs",
                "eusc-de-east-1",
                "ecs.eusc-de-east-1.amazonaws.eu",
                "eusc-de-east-1",
            ),
        ] {
            let known = bowline_services::find(service).unwrap();
            let found = hosts::host(service, &known.meta.endpoint_prefix, region);
            assert_eq!(found, (host.to_owned(), signed_for), "{service} {region}");
        }
    }
}
