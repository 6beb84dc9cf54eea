//! The AWS APIs on the sandbox's one endpoint: recognise the service, check the signature, answer.

mod automation;
mod control;
mod documents;
mod ec2;
mod ecs;
mod iam;
mod kms;
mod lambda;
mod logs;
mod metadata;
mod organizations;
mod pages;
mod parameters;
mod query;
mod reply;
mod s3;
mod secrets;
mod service;
mod ssm;
mod stores;
mod sts;

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::StartError;
use crate::access::Told;
use crate::auth::{self, AuthError, Expected};
use crate::dormant;
use crate::landscape::{Admitted, Landscape};
use crate::state::{Shared, TaskKey};

pub(crate) use ecs::check_containers;
pub(crate) use metadata::respond as metadata;
pub(crate) use parameters::{check_name as check_parameter, stored as parameter};
pub(crate) use reply::{ApiError, Protocol, RequestId, escape_xml, prune, stamp};
pub(crate) use s3::Buckets;
pub(crate) use secrets::check_name as check_secret;
use service::Service;
pub(crate) use ssm::fill as fill_sessions;

/// One API request, its signature already checked.
pub(crate) struct Call<'a> {
    /// The sandbox that is asked.
    pub(crate) shared: &'a Arc<Shared>,
    /// The Host header as received: stream URLs lead back to it.
    pub(crate) host: &'a str,
    /// The name of the operation.
    pub(crate) operation: &'a str,
    /// The request's body, a JSON object.
    pub(crate) input: Value,
}

impl Call<'_> {
    /// The input as this operation's own structure.
    pub(crate) fn input<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        T::deserialize(&self.input).map_err(|error| ApiError::serialization(&error.to_string()))
    }
}

/// Answers a request to one of the APIs; the door was passed before.
pub(crate) async fn respond(
    landscape: &Landscape,
    host: &str,
    head: &Parts,
    body: Bytes,
) -> Response<Body> {
    let admitted = match landscape.admit(&head.headers).await {
        Ok(admitted) => admitted,
        Err(error) => return unmade(&error),
    };
    let shared = &admitted.shared;
    let service = Service::of(head);
    let verified = authenticate(&admitted, head, &body, service.scope(), false);
    let told = Told {
        caller: verified
            .is_ok()
            .then(|| match &admitted.agent {
                Some(pass) => pass.caller(),
                None => Some(shared.account.caller()),
            })
            .flatten(),
        operation: format!(
            "{}.{}",
            service.scope(),
            service.told_operation(head, &body)
        ),
    };
    let response = match verified {
        Ok(()) => serve(landscape, &admitted, host, service, head, &body).await,
        Err(error) => locked_out(service, &error),
    };
    let mut response = dated(shared, response);
    response.extensions_mut().insert(told);
    response
}

fn locked_out(service: Service<'_>, error: &AuthError) -> Response<Body> {
    let request_id = RequestId::new();
    let refusal = || ApiError {
        status: StatusCode::FORBIDDEN,
        ..ApiError::new(error.json_code(), error.to_string())
    };
    match service {
        Service::Lambda => lambda::error_response(&refusal(), &request_id),
        Service::S3 => s3::error_response(&refusal(), &request_id),
        _ => service.protocol().auth_error(error, &request_id),
    }
}

async fn serve(
    landscape: &Landscape,
    admitted: &Admitted,
    host: &str,
    service: Service<'_>,
    head: &Parts,
    body: &Bytes,
) -> Response<Body> {
    let shared = &admitted.shared;
    let request_id = RequestId::new();
    let protocol = service.protocol();
    if admitted.agent.is_some() && !agent_may(admitted, service, body) {
        let text = "the keys of a container are for its agent: its channels, and kms:Decrypt if the task's role \
            allows it";
        let refusal = ApiError::new("AccessDeniedException", text);
        return protocol.error(&refusal, &request_id);
    }
    match service {
        Service::Lambda => {
            return match sabotage(shared, service, body).await {
                Ok(()) => lambda::respond(shared, head, body, &request_id).await,
                Err(error) => lambda::error_response(&error, &request_id),
            };
        }
        Service::S3 => {
            return match sabotage(shared, service, body).await {
                Ok(()) => s3::respond(shared, head, body, &request_id),
                Err(error) => s3::error_response(&error, &request_id),
            };
        }
        _ => {}
    }
    let work = answer(landscape, shared, host, service, head, body, &request_id);
    match attended(shared, service, body, work).await {
        Ok(Answer::Json(value)) => reply::json(value, &request_id),
        Ok(Answer::Xml { operation, result }) => protocol.xml(&operation, &result, &request_id),
        Ok(Answer::Stream(response)) => response,
        Err(error) => protocol.error(&error, &request_id),
    }
}

/// What every call goes through, whether it comes from outside or is the sandbox's own: latency and throttling on
/// purpose, policies, mishaps, and being counted.
async fn attended(
    shared: &Shared,
    service: Service<'_>,
    body: &[u8],
    work: impl Future<Output = Result<Answer, ApiError>>,
) -> Result<Answer, ApiError> {
    let tallied = match service {
        Service::Ecs { operation } | Service::Ssm { operation } | Service::Logs { operation } => {
            Some(operation)
        }
        _ => None,
    };
    let tried = async {
        sabotage(shared, service, body).await?;
        permitted(shared, service, body)?;
        match tallied.and_then(|operation| shared.mishaps.of_call(operation, &shared.account)) {
            Some(error) => Err(error),
            None => work.await,
        }
    };
    let answered = tried.await;
    // Names that callers make up would stay for ever.
    if !matches!(&answered, Err(error) if error.is_of_unknown_operation()) {
        if let Some(action) = action(service, body) {
            shared.count_action(&action);
        }
        if let Some(operation) = tallied {
            shared.count_call(operation);
        }
    }
    answered
}

/// With the date of the API's clock where that is not this machine's.
fn dated(shared: &Shared, mut response: Response<Body>) -> Response<Body> {
    if shared.clock_ahead != 0
        && let Ok(now) = jiff::Timestamp::try_from(shared.time())
        && let Ok(date) = now
            .strftime("%a, %d %b %Y %H:%M:%S GMT")
            .to_string()
            .parse()
    {
        response.headers_mut().insert(http::header::DATE, date);
    }
    response
}

/// Checks the signature, if one is needed at all.
pub(crate) fn authenticate(
    admitted: &Admitted,
    head: &Parts,
    body: &[u8],
    service: &str,
    upgrade: bool,
) -> Result<(), AuthError> {
    let shared = &admitted.shared;
    if shared.accept_any_credentials {
        return Ok(());
    }
    if admitted.expires.is_some_and(|at| at <= shared.time()) {
        return Err(AuthError::Expired);
    }
    // STS has one global endpoint besides the regional ones, and IAM nothing else: their scope may name any region.
    let region = (!["sts", "iam", "organizations"].contains(&service))
        .then_some(shared.account.region.as_str());
    auth::verify(
        head,
        body,
        &admitted.credentials,
        Expected {
            service,
            region,
            upgrade,
        },
        shared.time(),
    )
}

/// What an agent calls with the keys of its container, besides its channels.
fn agent_may(admitted: &Admitted, service: Service<'_>, body: &[u8]) -> bool {
    let Service::Kms {
        operation: "Decrypt",
    } = service
    else {
        return false;
    };
    let input: Value = serde_json::from_slice(body).unwrap_or_default();
    let key = input["KeyId"].as_str().unwrap_or("*");
    let agent = admitted.agent.as_ref();
    agent.is_some_and(|agent| agent.may("kms:Decrypt", key))
}

/// Latency and throttling on purpose; not of the sandbox's own calls.
async fn sabotage(shared: &Shared, service: Service<'_>, body: &[u8]) -> Result<(), ApiError> {
    let operation = match service {
        Service::Control { .. } => return Ok(()),
        Service::Ecs { operation }
        | Service::Ssm { operation }
        | Service::Logs { operation }
        | Service::Secrets { operation }
        | Service::Organizations { operation }
        | Service::Kms { operation } => operation,
        Service::Sts | Service::Iam | Service::Ec2 | Service::Rds | Service::Elasticache => {
            sts::operation(body)
        }
        Service::Lambda => "Invoke",
        Service::S3 => "S3",
        Service::Unknown { .. } | Service::UnknownQuery { .. } => "",
    };
    let faults = shared.faults.now();
    let latency = faults.latency(operation);
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    if !faults.throttles(operation) {
        return Ok(());
    }
    let code = match service {
        Service::Sts
        | Service::Iam
        | Service::Rds
        | Service::Elasticache
        | Service::UnknownQuery { .. } => "Throttling",
        Service::Ec2 => "RequestLimitExceeded",
        _ => "ThrottlingException",
    };
    Err(ApiError::new(code, "Rate exceeded"))
}

enum Answer {
    Json(Value),
    Xml {
        operation: String,
        result: String,
    },
    /// An answer that goes on for a while.
    Stream(Response<Body>),
}

async fn answer(
    landscape: &Landscape,
    shared: &Arc<Shared>,
    host: &str,
    service: Service<'_>,
    head: &Parts,
    body: &[u8],
    request_id: &RequestId,
) -> Result<Answer, ApiError> {
    if head.uri.path() != "/" || head.method != http::Method::POST {
        return Err(ApiError::unknown_operation());
    }
    let call = |operation| {
        Ok::<_, ApiError>(Call {
            shared,
            host,
            operation,
            input: json_object(body)?,
        })
    };
    let form = || query::Form::parse(body);
    let xml = |result| Answer::Xml {
        operation: sts::operation(body).to_owned(),
        result,
    };
    match service {
        Service::Iam => iam::call(shared, &form()).map(xml),
        Service::Ec2 if sts::operation(body) == "DescribeRegions" => {
            Ok(xml(ec2::regions(landscape)))
        }
        Service::Ec2 => ec2::call(shared, &form()).map(xml),
        Service::Rds => stores::rds(shared, &form()).map(xml),
        Service::Elasticache => stores::elasticache(&form()).map(xml),
        Service::Ecs { operation }
        | Service::Ssm { operation }
        | Service::Logs { operation }
        | Service::Kms { operation }
        | Service::Secrets { operation } => dispatch(&call(operation)?, service, request_id).await,
        Service::Organizations { operation } => {
            organizations::call(landscape, operation).map(Answer::Json)
        }
        Service::Control {
            operation: "CountCalls",
        } => Ok(Answer::Json(control::count_calls(landscape, shared).await)),
        Service::Control { operation } => control::call(&call(operation)?).map(Answer::Json),
        Service::Sts => sts::call(landscape, shared, body)
            .map(|(operation, result)| Answer::Xml { operation, result }),
        Service::Lambda | Service::S3 | Service::Unknown { .. } => {
            Err(ApiError::unknown_operation())
        }
        Service::UnknownQuery { scope } => Err(ApiError::new(
            "InvalidAction",
            format!("the sandbox does not serve {scope}"),
        )),
    }
}

/// A call of one of the services that Automation calls as well.
async fn dispatch(
    call: &Call<'_>,
    service: Service<'_>,
    request_id: &RequestId,
) -> Result<Answer, ApiError> {
    match service {
        Service::Ecs { .. } => {
            rouse(call, ecs::needed(call)).await;
            ecs::call(call).map(Answer::Json)
        }
        Service::Ssm { .. } => {
            rouse(call, ssm::needed(call)).await;
            ssm::call(call).map(Answer::Json)
        }
        Service::Logs { .. } => logs::call(call, request_id),
        Service::Kms { .. } => kms::call(call).map(Answer::Json),
        Service::Secrets { .. } => secrets::call(call).map(Answer::Json),
        _ => Err(ApiError::unknown_operation()),
    }
}

/// A call of the sandbox by itself: what Automation does for its executions.
pub(crate) async fn within(
    shared: &Arc<Shared>,
    service: &str,
    operation: &str,
    input: Value,
) -> Result<Value, ApiError> {
    let known = match service {
        "ecs" => Service::Ecs { operation },
        "ssm" => Service::Ssm { operation },
        "logs" => Service::Logs { operation },
        "kms" => Service::Kms { operation },
        "secretsmanager" => Service::Secrets { operation },
        "lambda" => {
            sabotage(shared, Service::Lambda, b"").await?;
            return lambda::within(shared, operation, &input).await;
        }
        "sts" if operation == "GetCallerIdentity" => return Ok(sts::identity(shared)),
        other => {
            return Err(ApiError::new(
                "UnknownOperationException",
                format!("the sandbox's Automation cannot call {other} {operation}"),
            ));
        }
    };
    let body = Bytes::from(input.to_string());
    // Where the caller is does not matter: nothing that an execution gets leads to a stream.
    let host = shared.endpoint.rsplit('/').next().unwrap_or_default();
    let call = Call {
        shared,
        host,
        operation,
        input: json_object(&body)?,
    };
    let id = RequestId::new();
    let answered = attended(shared, known, &body, dispatch(&call, known, &id)).await;
    match answered? {
        Answer::Json(mut value) => {
            prune(&mut value);
            value["ResponseMetadata"] = serde_json::json!({ "RequestId": id.as_str(), "HTTPStatusCode": 200, "RetryAttempts": 0 });
            Ok(value)
        }
        Answer::Xml { .. } | Answer::Stream(_) => Err(ApiError::unknown_operation()),
    }
}

/// Starts what a session needs before the session is made.
async fn rouse(call: &Call<'_>, task: Option<TaskKey>) {
    if let Some(task) = task {
        dormant::rouse(call.shared, &task).await;
    }
}

/// What policies name a call, where it is not for the service itself to say.
fn action(service: Service<'_>, body: &[u8]) -> Option<String> {
    let operation = match service {
        Service::Ecs { operation }
        | Service::Ssm { operation }
        | Service::Logs { operation }
        | Service::Secrets { operation }
        | Service::Organizations { operation }
        | Service::Kms { operation } => operation,
        Service::Sts | Service::Iam | Service::Ec2 | Service::Rds | Service::Elasticache => {
            sts::operation(body)
        }
        _ => return None,
    };
    Some(format!("{}:{operation}", service.scope()))
}

/// Whether the caller's policies allow the call. GetCallerIdentity needs no permission, as in AWS.
fn permitted(shared: &Shared, service: Service<'_>, body: &[u8]) -> Result<(), ApiError> {
    let action = action(service, body).filter(|_| !matches!(service, Service::Sts));
    let Some(Err(refusal)) = action.map(|action| shared.allows(&action)) else {
        return Ok(());
    };
    let code = match service {
        Service::Iam | Service::Rds | Service::Elasticache => "AccessDenied",
        Service::Ec2 => "UnauthorizedOperation",
        _ => "AccessDeniedException",
    };
    let status = match service {
        Service::Iam | Service::Ec2 | Service::Rds | Service::Elasticache => StatusCode::FORBIDDEN,
        _ => StatusCode::BAD_REQUEST,
    };
    Err(ApiError {
        status,
        ..ApiError::new(code, refusal)
    })
}

/// An empty body counts as `{}`, as the services have it.
fn json_object(body: &[u8]) -> Result<Value, ApiError> {
    if body.is_empty() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    match serde_json::from_slice(body) {
        Ok(mut value @ Value::Object(_)) => {
            // To the services a null is the same as nothing.
            prune(&mut value);
            Ok(value)
        }
        Ok(_) => Err(ApiError::serialization("the body is not a JSON object")),
        Err(error) => Err(ApiError::serialization(&error.to_string())),
    }
}

/// The answer where the world of an account or region does not come up.
pub(crate) fn unmade(error: &StartError) -> Response<Body> {
    refuse(
        StatusCode::SERVICE_UNAVAILABLE,
        "ServiceUnavailableException",
        &error.to_string(),
    )
}

/// A refusal that no protocol of AWS has: the request never reached an API.
pub(crate) fn refuse(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    reply::plain_error(status, code, message, &RequestId::new())
}
