//! Lambda: functions that are invoked.

use std::sync::Arc;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{ApiError, RequestId};
use crate::access::Code;
use crate::functions::{Call, Function};
use crate::state::Shared;

const PREFIX: &str = "/2015-03-31/functions/";

/// Answers a request to Lambda.
pub(super) async fn respond(
    shared: &Arc<Shared>,
    head: &Parts,
    body: &[u8],
    request_id: &RequestId,
) -> Response<Body> {
    let answered = match (&head.method, head.uri.path().strip_prefix(PREFIX)) {
        (&Method::GET, Some("")) => {
            permitted(shared, "lambda:ListFunctions").map(|()| list(shared, request_id))
        }
        (&Method::POST, Some(rest)) => match rest.strip_suffix("/invocations") {
            Some(name) => invoke(shared, name, head, body, request_id).await,
            None => Err(ApiError::unknown_operation()),
        },
        (&Method::GET, None) if head.uri.path() == PREFIX.trim_end_matches('/') => {
            permitted(shared, "lambda:ListFunctions").map(|()| list(shared, request_id))
        }
        _ => Err(ApiError::unknown_operation()),
    };
    answered.unwrap_or_else(|error| error_response(&error, request_id))
}

/// An error as Lambda writes it: the code in a header.
pub(super) fn error_response(error: &ApiError, request_id: &RequestId) -> Response<Body> {
    let body = json!({ "Type": "User", "Message": error.message, "message": error.message });
    let mut response = build(
        error.status,
        &[("x-amzn-errortype", &error.code)],
        body.to_string().into_bytes(),
        request_id,
    );
    response.extensions_mut().insert(Code(error.code.clone()));
    response
}

fn permitted(shared: &Shared, action: &str) -> Result<(), ApiError> {
    shared.count_action(action);
    shared.allows(action).map_err(|refusal| ApiError {
        status: StatusCode::FORBIDDEN,
        ..ApiError::new("AccessDeniedException", refusal)
    })
}

fn list(shared: &Shared, request_id: &RequestId) -> Response<Body> {
    let account = &shared.account;
    let functions: Vec<Value> = shared
        .world()
        .functions
        .values()
        .map(|function| {
            json!({
                "FunctionName": function.name,
                "FunctionArn": account.function(&function.name),
                "Runtime": "provided.al2023",
                "Timeout": function.timeout.as_secs(),
                "Version": "$LATEST",
            })
        })
        .collect();
    build(
        StatusCode::OK,
        &[],
        json!({ "Functions": functions }).to_string().into_bytes(),
        request_id,
    )
}

async fn invoke(
    shared: &Arc<Shared>,
    name: &str,
    head: &Parts,
    body: &[u8],
    request_id: &RequestId,
) -> Result<Response<Body>, ApiError> {
    permitted(shared, "lambda:InvokeFunction")?;
    let name = percent_decode_str(name).decode_utf8_lossy();
    let function = found(shared, &name)?;
    if !body.is_empty() && serde_json::from_slice::<Value>(body).is_err() {
        return Err(ApiError::new(
            "InvalidRequestContentException",
            "Could not parse request body into json: the payload is not JSON",
        ));
    }
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let event = if body.is_empty() {
        b"{}".to_vec()
    } else {
        body.to_vec()
    };
    match header("x-amz-invocation-type").unwrap_or("RequestResponse") {
        "DryRun" => Ok(build(StatusCode::NO_CONTENT, &[], Vec::new(), request_id)),
        "Event" => {
            let (caller, id) = (Arc::clone(shared), request_id.as_str().to_owned());
            shared.lifecycles.spawn(async move {
                let work = function.invoke(call(&caller, event, &id));
                caller.stop.run_until_cancelled(work).await;
            });
            Ok(build(StatusCode::ACCEPTED, &[], Vec::new(), request_id))
        }
        "RequestResponse" => {
            let work = function.invoke(call(shared, event, request_id.as_str()));
            let Some(outcome) = shared.stop.run_until_cancelled(work).await else {
                return Err(ApiError {
                    status: StatusCode::SERVICE_UNAVAILABLE,
                    ..ApiError::new("ServiceException", "the sandbox is shutting down")
                });
            };
            let log = BASE64.encode(outcome.log_tail(request_id.as_str()));
            let mut headers = vec![("x-amz-executed-version", "$LATEST")];
            headers.extend(outcome.error.map(|error| ("x-amz-function-error", error)));
            if header("x-amz-log-type") == Some("Tail") {
                headers.push(("x-amz-log-result", &log));
            }
            Ok(build(StatusCode::OK, &headers, outcome.payload, request_id))
        }
        other => Err(ApiError::new(
            "InvalidParameterValueException",
            format!("invocation type {other} is not known"),
        )),
    }
}

/// Functions have the sandbox's own credentials: those of a role of theirs would do the same.
fn call<'a>(shared: &'a Shared, event: Vec<u8>, request_id: &'a str) -> Call<'a> {
    let keys = &shared.credentials;
    Call {
        event,
        request_id,
        account: &shared.account,
        leads: vec![
            ("AWS_ENDPOINT_URL", shared.endpoint.clone()),
            ("AWS_ACCESS_KEY_ID", keys.access_key_id.clone()),
            ("AWS_SECRET_ACCESS_KEY", keys.secret_access_key.clone()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ],
    }
}

/// A call of the sandbox by itself, by the members of the operation.
pub(super) async fn within(
    shared: &Arc<Shared>,
    operation: &str,
    input: &Value,
) -> Result<Value, ApiError> {
    if operation != "Invoke" {
        return Err(ApiError::unknown_operation());
    }
    let text = |name: &str| input.get(name).and_then(Value::as_str);
    let mut request = http::Request::post("/");
    for (member, header) in [
        ("InvocationType", "x-amz-invocation-type"),
        ("LogType", "x-amz-log-type"),
    ] {
        if let Some(value) = text(member) {
            request = request.header(header, value);
        }
    }
    let (head, ()) = request
        .body(())
        .map_err(|error| ApiError::serialization(&error.to_string()))?
        .into_parts();
    let name = percent_encoding::utf8_percent_encode(
        text("FunctionName").unwrap_or_default(),
        percent_encoding::NON_ALPHANUMERIC,
    )
    .to_string();
    let payload = text("Payload").unwrap_or_default().as_bytes();
    let response = invoke(shared, &name, &head, payload, &RequestId::new()).await?;
    let (head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX)
        .await
        .map_err(|error| ApiError::serialization(&error.to_string()))?;
    let header = |name: &str| {
        let value = head.headers.get(name)?;
        Some(value.to_str().ok()?.to_owned())
    };
    Ok(json!({
        "StatusCode": head.status.as_u16(),
        "FunctionError": header("x-amz-function-error"),
        "LogResult": header("x-amz-log-result"),
        "Payload": String::from_utf8_lossy(&body),
        "ResponseMetadata": { "RequestId": header("x-amzn-requestid"), "HTTPStatusCode": head.status.as_u16(), "RetryAttempts": 0 },
    }))
}

/// By name, by ARN, by `account:function:name`, each with a qualifier or without.
fn found(shared: &Shared, name: &str) -> Result<Arc<Function>, ApiError> {
    let account = &shared.account;
    let plain = match name.split_once("function:") {
        Some((_, rest)) => rest,
        None => name,
    };
    let plain = plain.split(':').next().unwrap_or_default();
    let known = shared.world().functions.get(plain).cloned();
    known.ok_or_else(|| ApiError {
        status: StatusCode::NOT_FOUND,
        ..ApiError::new(
            "ResourceNotFoundException",
            format!("Function not found: {}", account.function(plain)),
        )
    })
}

fn build(
    status: StatusCode,
    headers: &[(&str, &str)],
    body: Vec<u8>,
    request_id: &RequestId,
) -> Response<Body> {
    let mut response = Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .header("x-amzn-requestid", request_id.as_str());
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    // The names are ours, and codes and base64 fit into headers.
    response.body(Body::from(body)).unwrap_or_default()
}
