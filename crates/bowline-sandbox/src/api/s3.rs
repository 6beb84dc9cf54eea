//! S3, as far as recordings go there: buckets are made, objects are put and got, by path.
//!
//! Objects live in memory, 64 MiB of them at most.

use std::collections::BTreeMap;

use axum::body::Body;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode, header};
use sha2::{Digest, Sha256};

use super::{ApiError, RequestId};
use crate::access::Code;
use crate::iam;
use crate::state::Shared;

/// All objects together.
const ROOM: usize = 64 << 20;

/// Buckets by name, and their objects by key.
pub(crate) type Buckets = BTreeMap<String, BTreeMap<String, Bytes>>;

/// Answers a request to S3.
pub(super) fn respond(
    shared: &Shared,
    head: &Parts,
    body: &Bytes,
    request_id: &RequestId,
) -> Response<Body> {
    let path = head.uri.path().trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let answered = match (&head.method, bucket, key) {
        (_, "", _) => Err(no("NotImplemented", StatusCode::NOT_IMPLEMENTED)),
        (&Method::PUT, bucket, "") => create(shared, bucket),
        (&Method::PUT, bucket, key) => put(shared, bucket, key, &head.headers, body),
        (&Method::GET, bucket, key) if !key.is_empty() => get(shared, bucket, key),
        _ => Err(no("NotImplemented", StatusCode::NOT_IMPLEMENTED)),
    };
    let (status, body) = match answered {
        Ok(body) => (StatusCode::OK, body),
        Err(error) => (error.status, document(&error).into()),
    };
    let response = Response::builder()
        .status(status)
        .header("x-amz-request-id", request_id.as_str());
    let response = match status.is_success() {
        true => response,
        false => response.header(header::CONTENT_TYPE, "application/xml"),
    };
    response
        .body(Body::from(body))
        .expect("the header's value is made here")
}

/// An error in S3's form.
pub(super) fn error_response(error: &ApiError, request_id: &RequestId) -> Response<Body> {
    Response::builder()
        .status(error.status)
        .header("x-amz-request-id", request_id.as_str())
        .header(header::CONTENT_TYPE, "application/xml")
        .extension(Code(error.code.clone()))
        .body(Body::from(document(error)))
        .expect("the header's value is made here")
}

fn create(shared: &Shared, bucket: &str) -> Result<Bytes, ApiError> {
    permitted(shared, "s3:CreateBucket")?;
    shared.change(|world| {
        world.buckets.entry(bucket.to_owned()).or_default();
    });
    Ok(Bytes::new())
}

fn put(
    shared: &Shared,
    bucket: &str,
    key: &str,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Bytes, ApiError> {
    permitted(shared, "s3:PutObject")?;
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // A digest is what S3 compares; other words say that the body is not signed, or comes in pieces.
    let digest: String = Sha256::digest(body)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    match text("x-amz-content-sha256") {
        Some(given) if given.len() == 64 && given != digest => {
            return Err(no("XAmzContentSHA256Mismatch", StatusCode::BAD_REQUEST));
        }
        Some(given) if given.starts_with("STREAMING-") => {
            return Err(no("NotImplemented", StatusCode::NOT_IMPLEMENTED));
        }
        _ => {}
    }
    let only_new = text("if-none-match") == Some("*");
    shared.change(|world| {
        let used: usize = world
            .buckets
            .values()
            .flat_map(BTreeMap::values)
            .map(Bytes::len)
            .sum();
        let objects = world.buckets.get_mut(bucket);
        let objects = objects.ok_or_else(|| no("NoSuchBucket", StatusCode::NOT_FOUND))?;
        if only_new && objects.contains_key(key) {
            return Err(no("PreconditionFailed", StatusCode::PRECONDITION_FAILED));
        }
        if used + body.len() > ROOM {
            return Err(no("EntityTooLarge", StatusCode::BAD_REQUEST));
        }
        objects.insert(key.to_owned(), body.clone());
        Ok(Bytes::new())
    })
}

fn get(shared: &Shared, bucket: &str, key: &str) -> Result<Bytes, ApiError> {
    permitted(shared, "s3:GetObject")?;
    let world = shared.world();
    let objects = world.buckets.get(bucket);
    let objects = objects.ok_or_else(|| no("NoSuchBucket", StatusCode::NOT_FOUND))?;
    let object = objects.get(key);
    object
        .cloned()
        .ok_or_else(|| no("NoSuchKey", StatusCode::NOT_FOUND))
}

fn permitted(shared: &Shared, action: &str) -> Result<(), ApiError> {
    shared.count_action(action);
    match shared.world().iam.caller_may(&shared.account, action) {
        true => Ok(()),
        false => Err(ApiError {
            status: StatusCode::FORBIDDEN,
            ..ApiError::new("AccessDenied", iam::refusal(&shared.account, action))
        }),
    }
}

fn no(code: &'static str, status: StatusCode) -> ApiError {
    let message = match code {
        "NoSuchBucket" => "The specified bucket does not exist",
        "NoSuchKey" => "The specified key does not exist.",
        "PreconditionFailed" => "At least one of the pre-conditions you specified did not hold",
        "EntityTooLarge" => "Your proposed upload exceeds the maximum allowed size",
        "XAmzContentSHA256Mismatch" => {
            "The provided 'x-amz-content-sha256' header does not match what was computed."
        }
        _ => "A header you provided implies functionality that is not implemented",
    };
    ApiError {
        status,
        ..ApiError::new(code, message)
    }
}

fn document(error: &ApiError) -> String {
    let escaped = |text: &str| {
        text.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{}</Code><Message>{}</Message></Error>",
        escaped(&error.code),
        escaped(&error.message)
    )
}
