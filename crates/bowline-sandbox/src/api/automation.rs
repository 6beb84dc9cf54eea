//! AWS Systems Manager: executions of Automation documents.

use std::collections::BTreeMap;
use std::time::SystemTime;

use bowline_runbook::{Given, Status};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::pages::{PageRequest, page};
use crate::api::{ApiError, Call};
use crate::automation::documents::plain;
use crate::automation::record::{Record, StepRecord};
use crate::automation::{Signal, Start, start as begin};

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Input {
    automation_execution_id: String,
    document_name: String,
    document_version: Option<String>,
    client_token: Option<String>,
    parameters: BTreeMap<String, Vec<String>>,
    mode: Option<String>,
    targets: Vec<Value>,
    target_locations: Vec<Value>,
    target_maps: Vec<Value>,
    target_parameter_name: Option<String>,
    r#type: Option<String>,
    signal_type: String,
    payload: Map<String, Value>,
    filters: Vec<Filter>,
    max_results: Option<i64>,
    next_token: Option<String>,
    reverse_order: bool,
}

#[derive(Deserialize, Default, Debug)]
#[serde(rename_all = "PascalCase", default)]
struct Filter {
    key: String,
    values: Vec<String>,
}

/// Runs an operation on executions.
pub(super) fn call(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Input = call.input()?;
    match call.operation {
        "StartAutomationExecution" => start(call, input),
        "GetAutomationExecution" => {
            let record = found(call, &input.automation_execution_id)?;
            Ok(json!({ "AutomationExecution": record.show(&call.shared.account.caller()) }))
        }
        "DescribeAutomationExecutions" => list(call, &input),
        "DescribeAutomationStepExecutions" => steps(call, &input),
        "SendAutomationSignal" => signal(call, &input),
        _ => stop(call, &input),
    }
}

fn start(call: &Call<'_>, input: Input) -> Result<Value, ApiError> {
    if input.mode.as_deref().is_some_and(|mode| mode != "Auto") {
        return Err(validation(
            "the sandbox runs executions in the mode Auto only",
        ));
    }
    let lists = [&input.targets, &input.target_locations, &input.target_maps];
    if lists.iter().any(|list| !list.is_empty()) || input.target_parameter_name.is_some() {
        return Err(validation(
            "the sandbox runs one execution at a time, without targets",
        ));
    }
    if input.parameters.len() > 200 {
        return Err(validation("there are more than 200 parameters"));
    }
    let parameters = input
        .parameters
        .into_iter()
        .map(|(name, texts)| (name, Given::Texts(texts)));
    let name = input.document_name;
    let is_token = |token: &str| {
        let lengths = token.split('-').map(str::len);
        let digits = token.bytes().filter(|byte| *byte != b'-');
        lengths.eq([8, 4, 4, 4, 12]) && digits.into_iter().all(|byte| byte.is_ascii_hexdigit())
    };
    if input
        .client_token
        .as_deref()
        .is_some_and(|it| !is_token(it))
    {
        return Err(validation("a client token is a UUID"));
    }
    let id = begin(
        call.shared,
        Start {
            document: plain(&name).to_owned(),
            version: input.document_version,
            parameters: parameters.collect(),
            ancestors: Vec::new(),
            token: input.client_token,
        },
    )?;
    Ok(json!({ "AutomationExecutionId": id }))
}

fn list(call: &Call<'_>, input: &Input) -> Result<Value, ApiError> {
    for filter in &input.filters {
        let known = [
            "DocumentNamePrefix",
            "ExecutionStatus",
            "ExecutionId",
            "ParentExecutionId",
            "CurrentAction",
            "StartTimeBefore",
            "StartTimeAfter",
            "AutomationType",
        ];
        if !known.contains(&filter.key.as_str()) {
            return Err(invalid_filter(&filter.key));
        }
    }
    let passes = |record: &Record| {
        input.filters.iter().all(|filter| {
            let mut values = filter.values.iter().map(String::as_str);
            match filter.key.as_str() {
                "DocumentNamePrefix" => values.any(|it| record.document.starts_with(it)),
                "ExecutionStatus" => values.any(|it| it == record.status.name()),
                "ExecutionId" => values.any(|it| it == record.id),
                "ParentExecutionId" => values.any(|it| Some(it) == record.parent.as_deref()),
                "CurrentAction" => {
                    let current = record.current().map(|step| step.action);
                    values.any(|it| Some(it) == current)
                }
                "StartTimeBefore" => {
                    values.any(|it| time(it).is_some_and(|it| record.started < it))
                }
                "StartTimeAfter" => values.any(|it| time(it).is_some_and(|it| record.started > it)),
                _ => values.any(|it| it == "Local"),
            }
        })
    };
    let automation = &call.shared.automation;
    let keys = automation.look(|record| passes(record).then(|| newest_first(record)));
    let filters = format!("DescribeAutomationExecutions {:?}", input.filters);
    let (keys, next) = paged(keys, input, &filters)?;
    let caller = call.shared.account.caller();
    let shown: Vec<Value> = keys
        .iter()
        .filter_map(|key| automation.record(key.split_once(' ')?.1))
        .map(|record| record.summary(&caller))
        .collect();
    Ok(json!({ "AutomationExecutionMetadataList": shown, "NextToken": next }))
}

/// Sorts the newest before the others.
fn newest_first(record: &Record) -> String {
    let since = record
        .started
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    format!("{:039} {}", u128::MAX - since.as_nanos(), record.id)
}

fn steps(call: &Call<'_>, input: &Input) -> Result<Value, ApiError> {
    let record = found(call, &input.automation_execution_id)?;
    for filter in &input.filters {
        let known = [
            "StepName",
            "Action",
            "StepExecutionId",
            "StepExecutionStatus",
        ];
        if !known.contains(&filter.key.as_str()) {
            return Err(invalid_filter(&filter.key));
        }
    }
    let passes = |step: &StepRecord| {
        input.filters.iter().all(|filter| {
            let value = match filter.key.as_str() {
                "StepName" => step.name.as_str(),
                "Action" => step.action,
                "StepExecutionId" => step.id.as_str(),
                _ => step.status.name(),
            };
            filter.values.iter().any(|wanted| wanted == value)
        })
    };
    let count = record.steps.len();
    let keys = record.steps.iter().enumerate().filter_map(|(index, step)| {
        let place = if input.reverse_order {
            count - index
        } else {
            index
        };
        passes(step).then(|| format!("{place:06} {}", step.name))
    });
    let mut keys: Vec<String> = keys.collect();
    keys.sort();
    let filters = format!(
        "Steps {:?} {}",
        input.filters, input.automation_execution_id
    );
    let (keys, next) = paged(keys, input, &filters)?;
    let shown: Vec<Value> = keys
        .iter()
        .filter_map(|key| {
            record
                .steps
                .iter()
                .find(|step| key.get(7..) == Some(&step.name))
        })
        .map(StepRecord::show)
        .collect();
    Ok(json!({ "StepExecutions": shown, "NextToken": next }))
}

fn paged(
    mut keys: Vec<String>,
    input: &Input,
    filters: &str,
) -> Result<(Vec<String>, Option<String>), ApiError> {
    keys.sort();
    let request = PageRequest {
        max_results: input.max_results,
        next_token: input.next_token.as_deref(),
        default: 50,
        limit: 50,
        filters,
    };
    page(keys, &request).map_err(|error| validation(&error.message))
}

fn signal(call: &Call<'_>, input: &Input) -> Result<Value, ApiError> {
    let id = &input.automation_execution_id;
    let record = found(call, id)?;
    let invalid = |message: String| ApiError::new("InvalidAutomationSignalException", message);
    let waiting = record
        .current()
        .filter(|step| step.status == Status::Waiting);
    let waits_for = |action: &str| waiting.is_some_and(|step| step.action == action);
    let (action, told) = match input.signal_type.as_str() {
        "Approve" => (
            "aws:approve",
            Signal::Approve {
                by: call.shared.account.caller(),
            },
        ),
        "Reject" => (
            "aws:approve",
            Signal::Reject {
                by: call.shared.account.caller(),
            },
        ),
        "Resume" => ("aws:pause", Signal::Resume),
        other @ ("StartStep" | "StopStep" | "Revoke") => {
            return Err(invalid(format!(
                "the sandbox does not know the signal {other}"
            )));
        }
        other => return Err(validation(&format!("{other} is no signal type"))),
    };
    let wanted = input
        .payload
        .get("StepExecutionId")
        .and_then(|it| match it {
            Value::Array(items) => items.first()?.as_str(),
            other => other.as_str(),
        });
    let is_there = |id: &str| record.steps.iter().any(|step| step.id == id);
    if let Some(step) = wanted.filter(|step| !is_there(step)) {
        return Err(ApiError::new(
            "AutomationStepNotFoundException",
            format!("There is no step execution {step}."),
        ));
    }
    let caller = call.shared.account.caller();
    if waits_for("aws:approve")
        && action == "aws:approve"
        && !call.shared.automation.decide(id, &caller)
    {
        return Err(invalid(format!(
            "{caller} is none of the approvers, or has answered already."
        )));
    }
    if !waits_for(action) || !call.shared.automation.signal(id, told) {
        return Err(invalid(format!(
            "No step of the execution {id} waits for the signal {}.",
            input.signal_type
        )));
    }
    Ok(json!({}))
}

fn stop(call: &Call<'_>, input: &Input) -> Result<Value, ApiError> {
    let id = &input.automation_execution_id;
    let record = found(call, id)?;
    let how = match input.r#type.as_deref() {
        None | Some("Cancel") => Signal::Cancel,
        Some("Complete") => Signal::CancelAfterStep,
        Some(other) => return Err(validation(&format!("{other} is no way to stop"))),
    };
    if record.status.is_final() || !call.shared.automation.signal(id, how) {
        return Err(ApiError::new(
            "InvalidAutomationStatusUpdateException",
            format!("The execution {id} has ended with {}.", record.status),
        ));
    }
    Ok(json!({}))
}

fn found(call: &Call<'_>, id: &str) -> Result<Record, ApiError> {
    call.shared.automation.record(id).ok_or_else(|| {
        ApiError::new(
            "AutomationExecutionNotFoundException",
            format!("Automation execution with id {id} does not exist."),
        )
    })
}

fn time(text: &str) -> Option<SystemTime> {
    let moment: jiff::Timestamp = text.parse().ok()?;
    Some(moment.into())
}

fn invalid_filter(key: &str) -> ApiError {
    ApiError::new(
        "InvalidFilterKey",
        format!("The filter {key} is not valid."),
    )
}

fn validation(message: &str) -> ApiError {
    ApiError::new("ValidationException", message)
}
