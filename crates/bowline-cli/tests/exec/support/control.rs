//! Calls past bowline: to set the stage, and to look behind it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use super::{SOON, Sandbox};

/// One call to a sandbox that was started with `--accept-any-credentials`; `service` is what stands before the dot of
/// `X-Amz-Target`.
#[track_caller]
pub(crate) fn post(sandbox: &Sandbox, service: &str, operation: &str, body: &Value) -> Value {
    let endpoint = sandbox.variable("AWS_ENDPOINT_URL");
    let address = endpoint.strip_prefix("http://").unwrap();
    let body = body.to_string();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(
        stream,
        "POST / HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/x-amz-json-1.1\r\nconnection: close\r\n\
         x-amz-target: {service}.{operation}\r\nx-amz-date: 20260101T000000Z\r\n\
         authorization: AWS4-HMAC-SHA256 Credential=AKIATEST/20260101/us-east-1/ecs/aws4_request, SignedHeaders=host, \
         Signature=00\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{operation}: {answer}");
    serde_json::from_str(body).unwrap()
}
