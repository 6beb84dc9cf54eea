//! S3, as far as recordings go there: buckets are made, objects are put and got, by path.
//!
//! Objects live in memory, 64 MiB of them at most.

use std::collections::BTreeMap;

use axum::body::Body;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};

use super::{ApiError, RequestId, escape_xml};
use crate::access::Code;
use crate::auth::CONTENT_SHA256;
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
    let (status, body) = match answer(shared, head, body) {
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

fn answer(shared: &Shared, head: &Parts, body: &Bytes) -> Result<Bytes, ApiError> {
    let path = percent_decode_str(head.uri.path()).decode_utf8();
    let path = path.map_err(|_| no("InvalidURI", StatusCode::BAD_REQUEST))?;
    let path = path.strip_prefix('/').unwrap_or(&path);
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    check_content(&head.headers, body)?;
    match (&head.method, bucket, key) {
        (_, "", _) => Err(no("NotImplemented", StatusCode::NOT_IMPLEMENTED)),
        (&Method::PUT, bucket, "") => create(shared, bucket),
        (&Method::PUT, bucket, key) => put(shared, bucket, key, &head.headers, body),
        (&Method::GET, bucket, key) if !key.is_empty() => get(shared, bucket, key),
        _ => Err(no("NotImplemented", StatusCode::NOT_IMPLEMENTED)),
    }
}

/// A body is what its signed digest says, unless the client says that it is not signed.
fn check_content(headers: &HeaderMap, body: &Bytes) -> Result<(), ApiError> {
    let stated = headers.get(CONTENT_SHA256).map(HeaderValue::to_str);
    match stated {
        None | Some(Ok("UNSIGNED-PAYLOAD")) => Ok(()),
        Some(Ok(stated)) if stated == hex::encode(Sha256::digest(body)) => Ok(()),
        Some(Ok(stated)) if stated.len() == 64 => {
            Err(no("XAmzContentSHA256Mismatch", StatusCode::BAD_REQUEST))
        }
        // In pieces, each with its own signature.
        Some(Ok(stated)) if stated.starts_with("STREAMING-") => {
            Err(no("NotImplemented", StatusCode::NOT_IMPLEMENTED))
        }
        Some(_) => Err(no("InvalidArgument", StatusCode::BAD_REQUEST)),
    }
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
    let only_new = headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|value| value == "*");
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
    shared.allows(action).map_err(|refusal| ApiError {
        status: StatusCode::FORBIDDEN,
        ..ApiError::new("AccessDenied", refusal)
    })
}

fn no(code: &'static str, status: StatusCode) -> ApiError {
    let message = match code {
        "NoSuchBucket" => "The specified bucket does not exist",
        "NoSuchKey" => "The specified key does not exist.",
        "PreconditionFailed" => "At least one of the pre-conditions you specified did not hold",
        "EntityTooLarge" => "Your proposed upload exceeds the maximum allowed size",
        "InvalidURI" => "Couldn't parse the specified URI.",
        "InvalidArgument" => {
            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, or a valid sha256 value."
        }
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
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{}</Code><Message>{}</Message></Error>",
        escape_xml(&error.code),
        escape_xml(&error.message)
    )
}
