//! Runbooks that the service runs: documents of the account, executions, and what happens in them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use bowline_runbook::{Action, Event, Status, masked};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep};

use crate::Client;
use crate::aws::error::AwsError;

/// For one call.
const CALL_LIMIT: Duration = Duration::from_secs(25);
/// For a document that was just made to become usable.
const ACTIVE_LIMIT: Duration = Duration::from_secs(60);
/// Between two looks at an execution.
const INTERVAL: Duration = Duration::from_secs(2);
/// Looks that may fail one after the other, for reasons that pass.
const FAILURES: u32 = 5;

/// A document that the service can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its name.
    pub name: String,
    /// Its version; the default one if none is named.
    pub version: Option<String>,
    /// Whether it was made for one run and goes with it.
    pub is_temporary: bool,
}

/// Signals to an execution that waits for somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Approve.
    Approve,
    /// Reject.
    Reject,
    /// Go on after a pause.
    Resume,
}

/// The text of a document of the account.
///
/// # Errors
/// There is none, or it cannot be read.
pub async fn text(client: &Client, name: &str, version: Option<&str>) -> Result<String, AwsError> {
    let input = json!({ "Name": name, "DocumentVersion": version });
    let answer = call(client, "GetDocument", input).await?;
    Ok(text_of(&answer["Content"]))
}

/// Makes a document of a text: with a name, or a new version of the one with this name; without, one for a single run.
///
/// # Errors
/// The service refuses it, or it does not become usable.
pub async fn register(
    client: &Client,
    text: &str,
    name: Option<&str>,
) -> Result<Registered, AwsError> {
    let digest = hex::encode(&Sha256::digest(text)[..8]);
    let format = match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => "JSON",
        Err(_) => "YAML",
    };
    let temporary = format!("bowline-{digest}");
    let made = name.unwrap_or(&temporary);
    let content = json!({
        "Content": text, "Name": made, "DocumentType": "Automation", "DocumentFormat": format,
    });
    let (version, is_temporary) = match call(client, "CreateDocument", content).await {
        Ok(_) => (None, name.is_none()),
        // Of this text, and left over from a run that could not remove it.
        Err(error) if has_code(&error, "DocumentAlreadyExists") && name.is_none() => (None, true),
        Err(error) if has_code(&error, "DocumentAlreadyExists") => {
            (Some(update(client, made, text, format).await?), false)
        }
        Err(error) => return Err(error),
    };
    let document = Registered {
        name: made.to_owned(),
        version,
        is_temporary,
    };
    if let Err(error) = active(client, &document).await {
        if is_temporary {
            // What is wrong with the document is worth more than what is wrong with its removal.
            let _ = remove(client, &document.name).await;
        }
        return Err(error);
    }
    Ok(document)
}

/// Removes a document.
///
/// # Errors
/// The service refuses it.
pub async fn remove(client: &Client, name: &str) -> Result<(), AwsError> {
    call(client, "DeleteDocument", json!({ "Name": name })).await?;
    Ok(())
}

/// Starts an execution and gives its id. Parameters are lists of texts.
///
/// # Errors
/// The service refuses it.
pub async fn start(
    client: &Client,
    document: &Registered,
    parameters: &BTreeMap<String, Vec<String>>,
) -> Result<String, AwsError> {
    let input = json!({
        "DocumentName": document.name,
        "DocumentVersion": document.version,
        "Parameters": parameters,
        "ClientToken": super::new_id(),
    });
    let answer = call(client, "StartAutomationExecution", input).await?;
    Ok(text_of(&answer["AutomationExecutionId"]))
}

/// Stops an execution: now, or once the step at work has ended.
///
/// # Errors
/// There is none, or it has ended.
pub async fn stop(client: &Client, id: &str, after_step: bool) -> Result<(), AwsError> {
    let how = if after_step { "Complete" } else { "Cancel" };
    let input = json!({ "AutomationExecutionId": id, "Type": how });
    call(client, "StopAutomationExecution", input).await?;
    Ok(())
}

/// Sends a signal to an execution.
///
/// # Errors
/// There is none, or it does not wait for this signal.
pub async fn signal(
    client: &Client,
    id: &str,
    signal: Signal,
    comment: Option<&str>,
) -> Result<(), AwsError> {
    let kind = match signal {
        Signal::Approve => "Approve",
        Signal::Reject => "Reject",
        Signal::Resume => "Resume",
    };
    let mut payload = Map::new();
    if signal == Signal::Resume {
        let execution = execution(client, id).await?;
        let waits = |step: &&Value| step["StepStatus"] == "Waiting";
        if let Some(step) = list(&execution["StepExecutions"]).iter().find(waits) {
            payload.insert(
                "StepExecutionId".to_owned(),
                json!([step["StepExecutionId"]]),
            );
        }
    } else if let Some(comment) = comment {
        payload.insert("Comment".to_owned(), json!([comment]));
    }
    let mut input = json!({ "AutomationExecutionId": id, "SignalType": kind });
    if !payload.is_empty() {
        input["Payload"] = payload.into();
    }
    call(client, "SendAutomationSignal", input).await?;
    Ok(())
}

/// An execution that is watched: what changes in it, as the events of a run.
#[derive(Debug)]
pub struct Follow {
    client: Client,
    id: String,
    interval: Duration,
    /// Whether failures keep the words that the service puts around them.
    is_verbatim: bool,
    known: HashMap<String, String>,
    events: VecDeque<Event>,
    status: Option<Status>,
    has_begun: bool,
    failures: u32,
    next_look: Instant,
}

impl Follow {
    /// Watches an execution; looks at it this often, or every two seconds.
    pub fn new(client: Client, id: &str, interval: Option<Duration>, is_verbatim: bool) -> Self {
        Self {
            client,
            id: id.to_owned(),
            interval: interval.unwrap_or(INTERVAL),
            is_verbatim,
            known: HashMap::new(),
            events: VecDeque::new(),
            status: None,
            has_begun: false,
            failures: 0,
            next_look: Instant::now(),
        }
    }

    /// How the execution ended; nothing before that.
    pub fn status(&self) -> Option<Status> {
        self.status
    }

    /// What happens next; nothing after its end. Can be dropped and called again.
    ///
    /// # Errors
    /// The execution cannot be looked at.
    pub async fn next(&mut self) -> Result<Option<Event>, AwsError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            if self.status.is_some() {
                return Ok(None);
            }
            tokio::time::sleep_until(self.next_look).await;
            let seen = execution(&self.client, &self.id).await;
            self.next_look = Instant::now() + self.interval;
            match seen {
                Ok(seen) => {
                    self.failures = 0;
                    self.compare(&seen);
                }
                Err(error) => {
                    self.failures += 1;
                    let passes = crate::aws::call::may_pass(&error);
                    if !passes || self.failures >= FAILURES {
                        return Err(error);
                    }
                }
            }
        }
    }

    fn compare(&mut self, seen: &Value) {
        let steps = list(&seen["StepExecutions"]);
        if !self.has_begun {
            self.has_begun = true;
            self.events.push_back(Event::RunStart {
                execution_id: self.id.clone(),
                steps: steps
                    .iter()
                    .map(|step| text_of(&step["StepName"]))
                    .collect(),
            });
        }
        for step in steps {
            self.step(step);
        }
        let Some(status) = ended(&text_of(&seen["AutomationExecutionStatus"])) else {
            return;
        };
        self.status = Some(status);
        let outputs = seen["Outputs"].as_object().map(masked).unwrap_or_default();
        self.events.push_back(Event::RunEnd {
            status,
            outputs,
            failure: self.failure(&seen["FailureMessage"]),
        });
    }

    fn step(&mut self, step: &Value) {
        let name = text_of(&step["StepName"]);
        let status = text_of(&step["StepStatus"]);
        let before = self.known.insert(name.clone(), status.clone());
        let was = before.as_deref().unwrap_or("Pending");
        if was == status || status == "Pending" {
            return;
        }
        if was == "Pending" || ended(was).is_some() {
            let action = Action::parse(&text_of(&step["Action"]));
            self.events.push_back(Event::StepStart {
                step: name.clone(),
                action: action.map_or("", Action::name),
                attempt: 1,
                attempts: number(&step["MaxAttempts"]).unwrap_or(1),
                limit: number(&step["TimeoutSeconds"]).map(u64::from),
            });
        }
        if status == "Waiting" {
            self.events.push_back(Event::StepWaiting {
                step: name,
                r#for: "somebody".to_owned(),
            });
        } else if let Some(status) = ended(&status) {
            let outputs = step["Outputs"].as_object().map(masked).unwrap_or_default();
            self.events.push_back(Event::StepEnd {
                step: name,
                status,
                outputs,
                error: self.failure(&step["FailureMessage"]),
            });
        }
    }

    fn failure(&self, message: &Value) -> Option<String> {
        let message = message.as_str().filter(|message| !message.is_empty())?;
        match self.is_verbatim {
            true => Some(message.to_owned()),
            false => Some(plain(message).to_owned()),
        }
    }
}

/// Without the words that the service puts around every failure.
fn plain(message: &str) -> &str {
    let message = match message.strip_prefix("Step fails when it is ") {
        Some(rest) => rest.split_once(". ").map_or(rest, |it| it.1),
        None => message,
    };
    let message = message.split(" Please refer to ").next().unwrap_or(message);
    message.trim_end()
}

/// The status that an execution or a step has for good. The service has more than a local run.
fn ended(status: &str) -> Option<Status> {
    match status {
        "Success" | "CompletedWithSuccess" => Some(Status::Success),
        "TimedOut" => Some(Status::TimedOut),
        "Cancelled" => Some(Status::Cancelled),
        "Exited" => Some(Status::Exited),
        "Failed" | "CompletedWithFailure" | "Rejected" | "ChangeCalendarOverrideRejected" => {
            Some(Status::Failed)
        }
        _ => None,
    }
}

async fn update(client: &Client, name: &str, text: &str, format: &str) -> Result<String, AwsError> {
    let input = json!({
        "Content": text, "Name": name, "DocumentVersion": "$LATEST", "DocumentFormat": format,
    });
    match call(client, "UpdateDocument", input).await {
        Ok(answer) => Ok(text_of(&answer["DocumentDescription"]["DocumentVersion"])),
        // One of its versions is this text: the newest as a rule.
        Err(error) if has_code(&error, "DuplicateDocumentContent") => {
            same(client, name, text, error).await
        }
        Err(error) => Err(error),
    }
}

/// The version of a document that has this text.
async fn same(
    client: &Client,
    name: &str,
    text: &str,
    refusal: AwsError,
) -> Result<String, AwsError> {
    let listed = call(client, "ListDocumentVersions", json!({ "Name": name })).await?;
    for version in list(&listed["DocumentVersions"]) {
        let number = text_of(&version["DocumentVersion"]);
        if self::text(client, name, Some(&number)).await?.trim() == text.trim() {
            return Ok(number);
        }
    }
    Err(refusal)
}

/// Waits until a document is usable.
async fn active(client: &Client, document: &Registered) -> Result<(), AwsError> {
    let until = Instant::now() + ACTIVE_LIMIT;
    loop {
        let input = json!({ "Name": document.name, "DocumentVersion": document.version });
        let answer = call(client, "DescribeDocument", input).await?;
        let described = &answer["Document"];
        match described["Status"].as_str() {
            Some("Active") => return Ok(()),
            Some("Failed") => {
                let why = text_of(&described["StatusInformation"]);
                return Err(AwsError::unusable("ssm:DescribeDocument".to_owned(), &why));
            }
            _ if Instant::now() >= until => {
                return Err(AwsError::late("ssm:DescribeDocument".to_owned()));
            }
            _ => sleep(Duration::from_millis(500)).await,
        }
    }
}

/// An execution with all of its steps.
async fn execution(client: &Client, id: &str) -> Result<Value, AwsError> {
    let input = json!({ "AutomationExecutionId": id });
    let mut answer = call(client, "GetAutomationExecution", input).await?;
    let mut execution = answer["AutomationExecution"].take();
    if execution["StepExecutionsTruncated"] == true {
        let mut steps = Vec::new();
        let mut token = Value::Null;
        loop {
            let input = json!({ "AutomationExecutionId": id, "NextToken": token });
            let mut page = call(client, "DescribeAutomationStepExecutions", input).await?;
            if let Some(found) = page["StepExecutions"].as_array_mut() {
                steps.append(found);
            }
            token = page["NextToken"].take();
            if token.as_str().is_none_or(str::is_empty) {
                break;
            }
        }
        execution["StepExecutions"] = steps.into();
    }
    Ok(execution)
}

async fn call(client: &Client, operation: &str, input: Value) -> Result<Value, AwsError> {
    let Value::Object(mut input) = input else {
        return Ok(Value::Null);
    };
    input.retain(|_, value| !value.is_null());
    let limit = Instant::now() + CALL_LIMIT;
    let answered = client
        .api()
        .by_model("ssm", operation, &input, limit)
        .await?;
    Ok(answered.value)
}

fn has_code(error: &AwsError, code: &str) -> bool {
    error.code.as_deref() == Some(code)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn number(value: &Value) -> Option<u32> {
    u32::try_from(value.as_u64()?).ok()
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_lose_the_words_around_them() {
        let said = "Step fails when it is Execute/Cancelling action. An error occurred (X) when calling the Y operation: no. Please refer to Automation Service Troubleshooting Guide for more diagnosis details.";
        assert_eq!(
            plain(said),
            "An error occurred (X) when calling the Y operation: no."
        );
        assert_eq!(plain("no"), "no");
    }
}
