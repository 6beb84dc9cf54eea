//! Actions that are several calls: each call's answer says what is next.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::Failure;
use super::work::{CallFailure, Child};
use crate::action::Action;
use crate::value::{embedded, integer, texts};

/// What of a command's output a failure shows.
const TAIL: usize = 1000;

/// A call of a service.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    pub(super) service: &'static str,
    pub(super) operation: &'static str,
    pub(super) input: Map<String, Value>,
}

/// What is next.
#[derive(Debug)]
pub(super) enum Turn {
    /// This call, now.
    Call(Call),
    /// This call, after a pause: something is waited for.
    Poll(Call),
    /// Another runbook.
    Child(Child),
    /// The step is done, with these outputs.
    Done(Map<String, Value>),
    /// So is the runbook that the step ran; its outputs lose the names that tell which of them are secret.
    Ended {
        outputs: Map<String, Value>,
        shown: Map<String, Value>,
    },
    Failed(Failure),
}

/// What is known so far.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The call that is out.
    pub(super) call: Option<Call>,
    /// Whether it is one of those that wait for something.
    pub(super) is_poll: bool,
    /// The id of what was made.
    id: Option<String>,
    /// What is left to do, the next last.
    left: Vec<Call>,
    /// What the pages before this one had.
    pages: Vec<Value>,
    /// A command has ended, so that nothing comes to its invocations any more.
    is_over: bool,
}

/// Whether an action is carried out by one of these.
pub(super) const fn is_recipe(action: Action) -> bool {
    matches!(
        action,
        Action::RunCommand
            | Action::ExecuteAutomation
            | Action::ChangeInstanceState
            | Action::CreateStack
            | Action::DeleteStack
            | Action::CreateImage
            | Action::DeleteImage
            | Action::CreateTags
            | Action::RunInstances
            | Action::ExecuteStateMachine
    )
}

/// The first call of an action.
pub(super) fn first(
    action: Action,
    inputs: &Map<String, Value>,
    progress: &mut Progress,
) -> Result<Turn, Failure> {
    let turn = match action {
        Action::RunCommand => Turn::Call(send_command(inputs)?),
        Action::ExecuteAutomation => Turn::Child(child(inputs)?),
        Action::ChangeInstanceState => change_state(inputs)?,
        Action::CreateStack => {
            let mut input = inputs.clone();
            as_integer(&mut input, "TimeoutInMinutes")?;
            Turn::Call(call("cloudformation", "CreateStack", input))
        }
        Action::DeleteStack => Turn::Call(describe_stacks(&text(inputs, "StackName"))),
        Action::CreateImage => {
            let renamed = [("ImageName", "Name"), ("ImageDescription", "Description")];
            Turn::Call(call("ec2", "CreateImage", rename(inputs, &renamed)))
        }
        Action::DeleteImage => {
            let ids = json!({ "ImageIds": [text(inputs, "ImageId")] });
            Turn::Call(call("ec2", "DescribeImages", members(ids)))
        }
        Action::CreateTags => create_tags(inputs, progress)?,
        Action::RunInstances => Turn::Call(run_instances(inputs)?),
        Action::ExecuteStateMachine => {
            Turn::Call(call("stepfunctions", "StartExecution", inputs.clone()))
        }
        other => {
            return Err(Failure::for_good(format!("{other} does not run locally")));
        }
    };
    Ok(turn)
}

/// What follows from an answer.
pub(super) fn next(
    action: Action,
    inputs: &Map<String, Value>,
    progress: &mut Progress,
    answer: Result<&Value, &CallFailure>,
) -> Turn {
    let Some(asked) = progress.call.take() else {
        return failed("nothing was asked");
    };
    let value = match answer {
        Ok(value) => value,
        Err(failure) => return after_failure(action, inputs, &asked, progress.is_poll, failure),
    };
    match (action, asked.operation) {
        (Action::RunCommand, "SendCommand") => {
            let id = at(value, "/Command/CommandId");
            progress.id = Some(id.clone());
            Turn::Poll(list_invocations(&id))
        }
        (Action::RunCommand, "ListCommandInvocations") => {
            invocations(value, asked, inputs, progress)
        }
        (Action::RunCommand, _) => commands(value, &asked, progress),
        (Action::ChangeInstanceState, "DescribeInstanceStatus") => {
            let wanted = text(inputs, "DesiredState");
            instances(value, asked, &wanted, || Turn::Done(Map::new()))
        }
        (Action::ChangeInstanceState, _) => Turn::Poll(instance_status(
            inputs.get("InstanceIds").unwrap_or(&Value::Null),
        )),
        (Action::CreateStack, "CreateStack") => Turn::Poll(describe_stacks(&at(value, "/StackId"))),
        (Action::CreateStack, _) => stack_made(value, asked),
        (Action::DeleteStack, "DescribeStacks") if !progress.is_poll => {
            let id = at(value, "/Stacks/0/StackId");
            let mut input = inputs.clone();
            input.insert("StackName".to_owned(), id.clone().into());
            progress.id = Some(id);
            Turn::Call(call("cloudformation", "DeleteStack", input))
        }
        (Action::DeleteStack, "DescribeStacks") => stack_gone(value, asked),
        (Action::DeleteStack, _) => {
            Turn::Poll(describe_stacks(progress.id.as_deref().unwrap_or_default()))
        }
        (Action::CreateImage, "CreateImage") => {
            let ids = json!({ "ImageIds": [at(value, "/ImageId")] });
            Turn::Poll(call("ec2", "DescribeImages", members(ids)))
        }
        (Action::CreateImage, _) => image(value, asked),
        (Action::DeleteImage, "DescribeImages") => delete_image(value, inputs, progress),
        (Action::DeleteImage | Action::CreateTags, _) => match progress.left.pop() {
            Some(call) => Turn::Call(call),
            None => Turn::Done(Map::new()),
        },
        (Action::RunInstances, "RunInstances") => {
            let ids = value["Instances"].as_array().into_iter().flatten();
            let ids: Value = ids.map(|it| it["InstanceId"].clone()).collect();
            Turn::Poll(instance_status(&ids))
        }
        (Action::RunInstances, _) => {
            let ids = asked.input.get("InstanceIds").cloned().unwrap_or_default();
            let states: Value = ids
                .as_array()
                .into_iter()
                .flatten()
                .map(|_| "running")
                .collect();
            instances(value, asked, "running", || {
                Turn::Done(members(
                    json!({ "InstanceIds": ids, "InstanceStates": states }),
                ))
            })
        }
        (Action::ExecuteStateMachine, "StartExecution") => {
            let arn = at(value, "/executionArn");
            progress.id = Some(arn.clone());
            let input = json!({ "executionArn": arn });
            Turn::Poll(call("stepfunctions", "DescribeExecution", members(input)))
        }
        (Action::ExecuteStateMachine, _) => machine(value, asked),
        (other, _) => failed(&format!("{other} does not run locally")),
    }
}

/// What stops at the service what a cancelled step has begun.
pub(super) fn undo(action: Action, progress: &Progress) -> Option<Call> {
    let id = progress.id.as_ref()?;
    match action {
        Action::RunCommand => Some(call(
            "ssm",
            "CancelCommand",
            members(json!({ "CommandId": id })),
        )),
        Action::ExecuteStateMachine => Some(call(
            "stepfunctions",
            "StopExecution",
            members(json!({ "executionArn": id, "cause": "the runbook was cancelled" })),
        )),
        _ => None,
    }
}

/// The outputs of a runbook that was run by a step, or why the step failed.
pub(super) fn ended(ended: &super::work::Ended) -> Turn {
    let id = &ended.execution_id;
    if ended.status != super::Status::Success {
        let why = ended.failure.as_deref().unwrap_or("no reason is known");
        return failed(&format!(
            "the automation {id} ended as {}: {why}",
            ended.status
        ));
    }
    let outputs = |of: &Map<String, Value>| {
        let output: Vec<String> = of.values().flat_map(texts).collect();
        members(json!({ "ExecutionId": id, "Status": ended.status.name(), "Output": output }))
    };
    Turn::Ended {
        outputs: outputs(&ended.outputs),
        shown: outputs(&ended.shown),
    }
}

fn after_failure(
    action: Action,
    inputs: &Map<String, Value>,
    asked: &Call,
    is_poll: bool,
    failure: &CallFailure,
) -> Turn {
    let code = failure.code.as_deref().unwrap_or_default();
    let is_gone = match action {
        Action::DeleteStack => {
            asked.operation == "DescribeStacks" && failure.message.contains("does not exist")
        }
        Action::ChangeInstanceState => {
            is_poll
                && code == "InvalidInstanceID.NotFound"
                && text(inputs, "DesiredState") == "terminated"
        }
        _ => false,
    };
    if is_gone {
        return Turn::Done(Map::new());
    }
    // What is listed of a command is looked at again from the beginning.
    if asked.operation.starts_with("ListCommand") && failure.is_patient() {
        let id = asked.input.get("CommandId").map(embedded);
        return Turn::Poll(list_invocations(&id.unwrap_or_default()));
    }
    if is_poll && failure.is_patient() {
        return Turn::Poll(asked.clone());
    }
    Turn::Failed(Failure::failed(failure.text(asked.operation)))
}

fn send_command(inputs: &Map<String, Value>) -> Result<Call, Failure> {
    let mut input = inputs.clone();
    as_integer(&mut input, "TimeoutSeconds")?;
    // The API takes lists of texts only.
    if let Some(Value::Object(parameters)) = input.get_mut("Parameters") {
        for value in parameters.values_mut() {
            *value = texts(value).into();
        }
    }
    Ok(call("ssm", "SendCommand", input))
}

fn list_invocations(id: &str) -> Call {
    let input = json!({ "CommandId": id, "Details": true });
    call("ssm", "ListCommandInvocations", members(input))
}

fn invocations(
    value: &Value,
    mut asked: Call,
    inputs: &Map<String, Value>,
    progress: &mut Progress,
) -> Turn {
    let id = asked.input.get("CommandId").cloned().unwrap_or_default();
    let first = list_invocations(&embedded(&id));
    if asked == first {
        progress.pages.clear();
    }
    let items = value["CommandInvocations"].as_array();
    progress.pages.extend(items.into_iter().flatten().cloned());
    if let Some(token) = value["NextToken"].as_str().filter(|it| !it.is_empty()) {
        asked.input.insert("NextToken".to_owned(), token.into());
        return Turn::Call(asked);
    }
    let found = std::mem::take(&mut progress.pages);
    let is_final = |it: &&Value| {
        matches!(
            it["Status"].as_str(),
            Some("Success" | "Cancelled" | "Failed" | "TimedOut")
        )
    };
    if !found.iter().all(|it| is_final(&it)) {
        return Turn::Poll(first);
    }
    // Targets may match nothing, and what they match gets the command bit by bit: the command says when it has ended, and
    // after that nothing comes.
    if found.is_empty() || (inputs.contains_key("Targets") && !progress.is_over) {
        let input = json!({ "CommandId": id });
        return Turn::Call(call("ssm", "ListCommands", members(input)));
    }
    let plugin = |it: &Value, name: &str| {
        let plugins = it["CommandPlugins"].as_array().cloned().unwrap_or_default();
        let of: Vec<String> = plugins.iter().map(|it| embedded(&it[name])).collect();
        of
    };
    if let Some(bad) = found.iter().find(|it| it["Status"] != "Success") {
        let (codes, outputs) = (plugin(bad, "ResponseCode"), plugin(bad, "Output"));
        let output = outputs.join("\n");
        let start = output.len().saturating_sub(TAIL);
        let start = (start..=output.len()).find(|it| output.is_char_boundary(*it));
        let tail = output.get(start.unwrap_or_default()..).unwrap_or_default();
        return failed(&format!(
            "the command {} is {} on {}, code {}\n{}",
            embedded(&id),
            embedded(&bad["StatusDetails"]),
            embedded(&bad["InstanceId"]),
            codes.last().map_or("unknown", String::as_str),
            tail.trim_end(),
        ));
    }
    let first = found.first().unwrap_or(&Value::Null);
    let outputs = json!({
        "CommandId": id,
        "Status": "Success",
        "ResponseCode": plugin(first, "ResponseCode").last().cloned().unwrap_or_default(),
        "Output": plugin(first, "Output").join("\n"),
    });
    done_with_payload(outputs)
}

/// The command itself. Its invocations are listed once more when it has ended; without any it counts by itself.
fn commands(value: &Value, asked: &Call, progress: &mut Progress) -> Turn {
    let id = asked
        .input
        .get("CommandId")
        .map(embedded)
        .unwrap_or_default();
    let status = value.pointer("/Commands/0/Status").and_then(Value::as_str);
    let is_final = matches!(
        status,
        Some("Success" | "Cancelled" | "Failed" | "TimedOut")
    );
    if is_final && !progress.is_over {
        progress.is_over = true;
        return Turn::Call(list_invocations(&id));
    }
    match status {
        Some("Success") => done_with_payload(
            json!({ "CommandId": id, "Status": "Success", "ResponseCode": "", "Output": "" }),
        ),
        Some(status @ ("Cancelled" | "Failed" | "TimedOut")) => {
            let details = at(value, "/Commands/0/StatusDetails");
            failed(&format!(
                "the command {id} is {status} ({details}) without having run"
            ))
        }
        _ => Turn::Poll(list_invocations(&id)),
    }
}

fn done_with_payload(outputs: Value) -> Turn {
    let text = outputs.to_string();
    let mut outputs = members(outputs);
    outputs.insert("OutputPayload".to_owned(), text.into());
    Turn::Done(outputs)
}

fn child(inputs: &Map<String, Value>) -> Result<Child, Failure> {
    if let Some(name) = crate::action::FAN_OUT
        .iter()
        .find(|name| inputs.contains_key(**name))
    {
        return Err(Failure::for_good(format!(
            "{name}: starts in several places are the service's own"
        )));
    }
    let parameters = match inputs.get("RuntimeParameters") {
        Some(Value::Object(parameters)) => parameters.clone(),
        _ => Map::new(),
    };
    Ok(Child {
        document: text(inputs, "DocumentName"),
        version: inputs.get("DocumentVersion").map(embedded),
        parameters,
    })
}

fn change_state(inputs: &Map<String, Value>) -> Result<Turn, Failure> {
    let ids = inputs.get("InstanceIds").cloned().unwrap_or_default();
    let flag = |name: &str| inputs.get(name).and_then(Value::as_bool) == Some(true);
    let operation = match text(inputs, "DesiredState").as_str() {
        "running" => "StartInstances",
        "stopped" => "StopInstances",
        "terminated" => "TerminateInstances",
        other => {
            return Err(Failure::for_good(format!(
                "DesiredState is running, stopped or terminated, and not {other}"
            )));
        }
    };
    if flag("CheckStateOnly") {
        return Ok(Turn::Call(instance_status(&ids)));
    }
    let mut input = members(json!({ "InstanceIds": ids }));
    if operation == "StopInstances" && flag("Force") {
        input.insert("Force".to_owned(), true.into());
    }
    if let Some(info) = inputs
        .get("AdditionalInfo")
        .filter(|_| operation == "StartInstances")
    {
        input.insert("AdditionalInfo".to_owned(), info.clone());
    }
    Ok(Turn::Call(call("ec2", operation, input)))
}

fn instance_status(ids: &Value) -> Call {
    let input = json!({ "InstanceIds": ids, "IncludeAllInstances": true });
    call("ec2", "DescribeInstanceStatus", members(input))
}

fn instances(value: &Value, asked: Call, wanted: &str, done: impl Fn() -> Turn) -> Turn {
    let none = Vec::new();
    let found = value["InstanceStatuses"].as_array().unwrap_or(&none);
    let state = |it: &Value| at(it, "/InstanceState/Name");
    let ids = asked.input.get("InstanceIds").and_then(Value::as_array);
    // One that is named twice is answered once.
    let ids: BTreeSet<String> = ids.into_iter().flatten().map(embedded).collect();
    let count = ids.len();
    let lost = |it: &&Value| {
        wanted != "terminated" && matches!(state(it).as_str(), "terminated" | "shutting-down")
    };
    if let Some(lost) = found.iter().find(lost) {
        return failed(&format!(
            "{} is {} and cannot become {wanted}",
            at(lost, "/InstanceId"),
            state(lost)
        ));
    }
    // Running is not enough: both checks have to be passed.
    let is_well = |it: &Value| {
        let check = |name: &str| at(it, &format!("/{name}/Status")) == "ok";
        wanted != "running" || (check("InstanceStatus") && check("SystemStatus"))
    };
    let is_there =
        found.len() >= count && found.iter().all(|it| state(it) == wanted && is_well(it));
    if is_there { done() } else { Turn::Poll(asked) }
}

fn describe_stacks(name: &str) -> Call {
    let input = json!({ "StackName": name });
    call("cloudformation", "DescribeStacks", members(input))
}

fn stack_made(value: &Value, asked: Call) -> Turn {
    let status = at(value, "/Stacks/0/StackStatus");
    let reason = at(value, "/Stacks/0/StackStatusReason");
    match status.as_str() {
        "CREATE_COMPLETE" => Turn::Done(members(json!({
            "StackId": at(value, "/Stacks/0/StackId"),
            "StackStatus": status,
            "StackStatusReason": reason,
        }))),
        busy if busy.ends_with("_IN_PROGRESS") => Turn::Poll(asked),
        _ => failed(&format!("the stack is {status}: {reason}")),
    }
}

fn stack_gone(value: &Value, asked: Call) -> Turn {
    let status = at(value, "/Stacks/0/StackStatus");
    match status.as_str() {
        "DELETE_COMPLETE" => Turn::Done(Map::new()),
        "DELETE_FAILED" => failed(&format!(
            "the stack is {status}: {}",
            at(value, "/Stacks/0/StackStatusReason")
        )),
        _ => Turn::Poll(asked),
    }
}

fn image(value: &Value, asked: Call) -> Turn {
    let state = at(value, "/Images/0/State");
    match state.as_str() {
        "available" => Turn::Done(members(json!({
            "ImageId": at(value, "/Images/0/ImageId"), "ImageState": state,
        }))),
        "pending" | "transient" | "" => Turn::Poll(asked),
        _ => failed(&format!(
            "the image is {state}: {}",
            at(value, "/Images/0/StateReason/Message")
        )),
    }
}

fn delete_image(value: &Value, inputs: &Map<String, Value>, progress: &mut Progress) -> Turn {
    let id = text(inputs, "ImageId");
    let Some(image) = value.pointer("/Images/0") else {
        return failed(&format!("there is no image {id}"));
    };
    let devices = image["BlockDeviceMappings"]
        .as_array()
        .into_iter()
        .flatten();
    let snapshots = devices.filter_map(|it| it.pointer("/Ebs/SnapshotId"));
    progress.left = snapshots
        .map(|id| {
            call(
                "ec2",
                "DeleteSnapshot",
                members(json!({ "SnapshotId": id })),
            )
        })
        .collect();
    progress.left.reverse();
    Turn::Call(call(
        "ec2",
        "DeregisterImage",
        members(json!({ "ImageId": id })),
    ))
}

fn create_tags(inputs: &Map<String, Value>, progress: &mut Progress) -> Result<Turn, Failure> {
    let ids = inputs.get("ResourceIds").cloned().unwrap_or_default();
    let tags = inputs.get("Tags").cloned().unwrap_or_default();
    let kind = inputs.get("ResourceType").and_then(Value::as_str);
    let ids_of = || ids.as_array().cloned().unwrap_or_default();
    match kind.unwrap_or("EC2") {
        "EC2" => {
            let input = json!({ "Resources": ids, "Tags": tags });
            Ok(Turn::Call(call("ec2", "CreateTags", members(input))))
        }
        kind @ ("ManagedInstance" | "MaintenanceWindow" | "Parameter") => {
            progress.left = ids_of()
                .into_iter()
                .rev()
                .map(|id| {
                    let input = json!({ "ResourceType": kind, "ResourceId": id, "Tags": tags });
                    call("ssm", "AddTagsToResource", members(input))
                })
                .collect();
            match progress.left.pop() {
                Some(call) => Ok(Turn::Call(call)),
                None => Err(Failure::for_good("ResourceIds is empty")),
            }
        }
        other => Err(Failure::for_good(format!(
            "ResourceType is EC2, ManagedInstance, MaintenanceWindow or Parameter, and not {other}"
        ))),
    }
}

fn run_instances(inputs: &Map<String, Value>) -> Result<Call, Failure> {
    let renamed = [
        ("MinInstanceCount", "MinCount"),
        ("MaxInstanceCount", "MaxCount"),
    ];
    let mut input = rename(inputs, &renamed);
    as_integer(&mut input, "MinCount")?;
    as_integer(&mut input, "MaxCount")?;
    let least = input.entry("MinCount").or_insert_with(|| 1.into()).clone();
    input.entry("MaxCount").or_insert(least);
    let mut profile = Map::new();
    for (name, member) in [
        ("IamInstanceProfileArn", "Arn"),
        ("IamInstanceProfileName", "Name"),
    ] {
        if let Some(value) = input.remove(name) {
            profile.insert(member.to_owned(), value);
        }
    }
    if !profile.is_empty() {
        input.insert("IamInstanceProfile".to_owned(), profile.into());
    }
    Ok(call("ec2", "RunInstances", input))
}

fn machine(value: &Value, asked: Call) -> Turn {
    let status = at(value, "/status");
    match status.as_str() {
        "SUCCEEDED" => {
            let names = [
                "executionArn",
                "input",
                "name",
                "output",
                "startDate",
                "stateMachineArn",
                "status",
                "stopDate",
            ];
            let outputs = names
                .iter()
                .filter_map(|name| Some(((*name).to_owned(), embedded(value.get(*name)?).into())));
            Turn::Done(outputs.collect())
        }
        "RUNNING" | "PENDING_REDRIVE" => Turn::Poll(asked),
        _ => failed(&format!(
            "the state machine ended as {status}: {} {}",
            at(value, "/error"),
            at(value, "/cause")
        )),
    }
}

fn failed(message: &str) -> Turn {
    Turn::Failed(Failure::failed(message))
}

fn call(service: &'static str, operation: &'static str, input: Map<String, Value>) -> Call {
    Call {
        service,
        operation,
        input,
    }
}

fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn text(inputs: &Map<String, Value>, name: &str) -> String {
    inputs.get(name).map(embedded).unwrap_or_default()
}

/// A text deep inside; empty where there is none.
fn at(value: &Value, path: &str) -> String {
    value.pointer(path).map(embedded).unwrap_or_default()
}

/// Documents write some numbers as texts.
fn as_integer(input: &mut Map<String, Value>, name: &str) -> Result<(), Failure> {
    let Some(value) = input.get_mut(name) else {
        return Ok(());
    };
    let number = integer(value).or_else(|| crate::value::decimal(value.as_str()?));
    match number {
        Some(number) => {
            *value = number.into();
            Ok(())
        }
        None => Err(Failure::for_good(format!(
            "{name} takes an Integer, and this is {}",
            embedded(value)
        ))),
    }
}

fn rename(inputs: &Map<String, Value>, names: &[(&str, &str)]) -> Map<String, Value> {
    let renamed = |name: &String| match names.iter().find(|it| it.0 == name) {
        Some((_, wire)) => (*wire).to_owned(),
        None => name.clone(),
    };
    inputs
        .iter()
        .map(|(name, value)| (renamed(name), value.clone()))
        .collect()
}
