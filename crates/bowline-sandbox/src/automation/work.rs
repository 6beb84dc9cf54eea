//! What an execution asks for: calls of the sandbox's own services, scripts, and executions below it.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bowline_runbook::{Answer, CallFailure, Child, Ended, Given, Work, masked};
use bowline_services::{Scalar, Service, Shape, ShapeId};
use serde_json::{Map, Value};

use super::{Ancestor, Signal, Start, script, start};
use crate::api::{self, ApiError};
use crate::state::Shared;

/// Shapes may hold themselves.
const DEPTH_LIMIT: usize = 64;

/// Does it.
pub(super) async fn answer(shared: Arc<Shared>, work: Work, ancestors: Vec<Ancestor>) -> Answer {
    match work {
        Work::Call {
            service,
            operation,
            input,
        } => match call(&shared, service, &operation, input).await {
            Ok(value) => Answer::Called(value),
            Err(error) => Answer::CallFailed(CallFailure {
                is_transient: error.status.is_server_error() || error.code.starts_with("Throttl"),
                code: Some(error.code.into_owned()),
                message: error.message,
                request_id: None,
            }),
        },
        Work::Script(script) => match script::run(&shared, &script).await {
            Ok(value) => Answer::Returned(value),
            Err(message) => Answer::ScriptFailed(message),
        },
        Work::Automation(child) => below(&shared, child, ancestors).await,
        _ => Answer::ScriptFailed("the sandbox cannot do this".to_owned()),
    }
}

async fn call(
    shared: &Arc<Shared>,
    service: &'static str,
    operation: &str,
    input: Map<String, Value>,
) -> Result<Value, ApiError> {
    let described = bowline_services::find(service).ok();
    let found = described.and_then(|it| Some((it, it.operation(operation)?)));
    let (described, model) = found.ok_or_else(ApiError::unknown_operation)?;
    let mut input = Value::Object(input);
    if let Some(shape) = model.input {
        on_the_wire(described, shape, &mut input, 0);
    }
    let mut answer = api::within(shared, service, operation, input).await?;
    if let Some(shape) = model.output {
        by_the_model(described, shape, &mut answer, 0);
    }
    Ok(answer)
}

/// Bytes become base64, as JSON services have them. A function's payload goes as it is.
fn on_the_wire(service: &Service, id: ShapeId, value: &mut Value, depth: usize) {
    each(service, id, value, depth, &mut |scalar, value| {
        if let (Scalar::Blob, Value::String(text)) = (scalar, &*value)
            && service.name != "lambda"
        {
            *value = BASE64.encode(text).into();
        }
    });
}

/// Times become ISO 8601 texts, and base64 becomes the text that it stands for.
fn by_the_model(service: &Service, id: ShapeId, value: &mut Value, depth: usize) {
    each(
        service,
        id,
        value,
        depth,
        &mut |scalar, value| match (scalar, &*value) {
            (Scalar::Timestamp(_), Value::Number(number)) => {
                let moment = number.as_f64().and_then(|seconds| {
                    jiff::Timestamp::from_millisecond((seconds * 1e3) as i64).ok()
                });
                if let Some(moment) = moment {
                    *value = moment.to_string().into();
                }
            }
            (Scalar::Blob, Value::String(text)) if service.name != "lambda" => {
                let decoded = BASE64.decode(text).ok();
                if let Some(text) = decoded.and_then(|bytes| String::from_utf8(bytes).ok()) {
                    *value = text.into();
                }
            }
            _ => {}
        },
    );
}

/// Every scalar of a value that has a shape.
fn each(
    service: &Service,
    id: ShapeId,
    value: &mut Value,
    depth: usize,
    change: &mut dyn FnMut(Scalar, &mut Value),
) {
    if depth > DEPTH_LIMIT {
        return;
    }
    match (service.shape(id), value) {
        (Shape::Structure { members, .. }, Value::Object(fields)) => {
            for member in members {
                if let Some(value) = fields.get_mut(&member.name) {
                    each(service, member.shape, value, depth + 1, change);
                }
            }
        }
        (Shape::List { member, .. }, Value::Array(items)) => {
            for item in items {
                each(service, *member, item, depth + 1, change);
            }
        }
        (Shape::Map { value: inner, .. }, Value::Object(fields)) => {
            for value in fields.values_mut() {
                each(service, *inner, value, depth + 1, change);
            }
        }
        (Shape::Scalar(scalar), value) => change(*scalar, value),
        _ => {}
    }
}

/// Starts another execution and waits for its end. Being dropped cancels it.
async fn below(shared: &Arc<Shared>, child: Child, ancestors: Vec<Ancestor>) -> Answer {
    let parameters: BTreeMap<String, Given> = child
        .parameters
        .into_iter()
        .map(|(name, value)| (name, Given::Value(value)))
        .collect();
    let started = start(
        shared,
        Start {
            document: child.document,
            version: child.version,
            parameters,
            ancestors,
            token: None,
        },
    );
    let id = match started {
        Ok(id) => id,
        Err(error) => {
            return Answer::CallFailed(CallFailure {
                code: Some(error.code.into_owned()),
                message: error.message,
                ..CallFailure::default()
            });
        }
    };
    let mut guard = Cancelling {
        shared: Arc::clone(shared),
        id: Some(id.clone()),
    };
    if let Some(mut end) = shared.automation.end(&id) {
        // An execution that is forgotten has ended.
        let _ = end.wait_for(|ended| *ended).await;
    }
    guard.id = None;
    let record = shared.automation.record(&id);
    let outputs = record.as_ref().map(|it| it.outputs.clone());
    let outputs = outputs.unwrap_or_default();
    Answer::Ended(Ended {
        execution_id: id,
        status: record.as_ref().map(|it| it.status).unwrap_or_default(),
        shown: masked(&outputs),
        outputs,
        failure: record.and_then(|it| it.failure),
    })
}

/// Stops an execution that nobody waits for any more.
struct Cancelling {
    shared: Arc<Shared>,
    id: Option<String>,
}

impl Drop for Cancelling {
    fn drop(&mut self) {
        if let Some(id) = &self.id {
            self.shared.automation.signal(id, Signal::Cancel);
        }
    }
}
