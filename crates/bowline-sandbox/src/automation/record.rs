//! What the API tells of an execution.

use std::time::SystemTime;

use bowline_runbook::{Document, OnFailure, Parameters, Status, Step, texts};
use serde_json::{Map, Value, json};

use super::Start;
use crate::identifiers;
use crate::state::seconds;

/// An execution.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) document: String,
    pub(crate) version: u64,
    pub(crate) status: Status,
    pub(crate) started: SystemTime,
    pub(crate) ended: Option<SystemTime>,
    pub(crate) parameters: Map<String, Value>,
    pub(crate) outputs: Map<String, Value>,
    pub(crate) failure: Option<String>,
    pub(crate) parent: Option<String>,
    pub(crate) steps: Vec<StepRecord>,
}

/// A step of an execution.
#[derive(Clone)]
pub(crate) struct StepRecord {
    pub(crate) name: String,
    pub(crate) action: &'static str,
    pub(crate) id: String,
    pub(crate) status: Status,
    pub(crate) started: Option<SystemTime>,
    pub(crate) ended: Option<SystemTime>,
    pub(crate) inputs: Map<String, Value>,
    pub(crate) outputs: Map<String, Value>,
    pub(crate) failure: Option<String>,
    /// Who has approved or rejected it.
    pub(crate) decided: Vec<String>,
    /// What the document says of it.
    facts: Value,
}

impl Record {
    pub(super) fn new(
        id: &str,
        start: &Start,
        version: u64,
        document: &Document,
        values: &Parameters,
        now: SystemTime,
    ) -> Self {
        Self {
            id: id.to_owned(),
            document: start.document.clone(),
            version,
            status: Status::InProgress,
            started: now,
            ended: None,
            parameters: answered(&values.values),
            outputs: Map::new(),
            failure: None,
            parent: start.ancestors.last().map(|it| it.execution.clone()),
            steps: document.steps.iter().map(StepRecord::new).collect(),
        }
    }

    pub(super) fn step(&mut self, name: &str) -> Option<&mut StepRecord> {
        self.steps.iter_mut().find(|step| step.name == name)
    }

    /// The step at work.
    pub(crate) fn current(&self) -> Option<&StepRecord> {
        self.steps.iter().find(|step| step.is_at_work())
    }

    pub(super) fn current_mut(&mut self) -> Option<&mut StepRecord> {
        self.steps.iter_mut().find(|step| step.is_at_work())
    }

    /// As GetAutomationExecution has it.
    pub(crate) fn show(&self, caller: &str) -> Value {
        let steps: Vec<Value> = self.steps.iter().map(StepRecord::show).collect();
        let mut shown = self.summary(caller);
        shown["StepExecutions"] = steps.into();
        shown["StepExecutionsTruncated"] = false.into();
        shown["Parameters"] = self.parameters.clone().into();
        shown["Variables"] = json!({});
        shown
    }

    /// As DescribeAutomationExecutions has it.
    pub(crate) fn summary(&self, caller: &str) -> Value {
        let current = self.current();
        json!({
            "AutomationExecutionId": self.id,
            "AutomationExecutionStatus": self.status.name(),
            "DocumentName": self.document,
            "DocumentVersion": self.version.to_string(),
            "ExecutionStartTime": seconds(self.started),
            "ExecutionEndTime": self.ended.map(seconds),
            "ExecutedBy": caller,
            "LogFile": "",
            "Outputs": self.outputs,
            "FailureMessage": self.failure,
            "Mode": "Auto",
            "ParentAutomationExecutionId": self.parent,
            "CurrentStepName": current.map(|step| &step.name),
            "CurrentAction": current.map(|step| step.action),
            "Targets": [],
            "ResolvedTargets": { "ParameterValues": [], "Truncated": false },
            "AutomationType": "Local",
        })
    }
}

impl StepRecord {
    fn new(step: &Step) -> Self {
        let on_failure = match &step.on_failure {
            OnFailure::Abort => "Abort".to_owned(),
            OnFailure::Continue => "Continue".to_owned(),
            OnFailure::Step(target) => format!("step:{}", target.name),
        };
        let facts = json!({
            "OnFailure": on_failure,
            "MaxAttempts": step.max_attempts,
            "TimeoutSeconds": step.limit(),
            "IsEnd": step.is_end,
            "IsCritical": step.is_critical(),
            "NextStep": step.next.as_ref().map(|next| &next.name),
        });
        Self {
            name: step.name.name.clone(),
            action: step.action.map_or("", bowline_runbook::Action::name),
            id: identifiers::uuid(),
            status: Status::Pending,
            started: None,
            ended: None,
            inputs: Map::new(),
            outputs: Map::new(),
            failure: None,
            decided: Vec::new(),
            facts,
        }
    }

    fn is_at_work(&self) -> bool {
        self.started.is_some() && !self.status.is_final()
    }

    /// Whether a principal is one of the approvers, and has not said anything yet. Approvers are names of users, ARNs of
    /// users and roles, and ARNs of sessions of roles.
    pub(super) fn may_decide(&self, by: &str) -> bool {
        let approvers = self.inputs.get("Approvers").and_then(Value::as_array);
        let mut approvers = approvers.into_iter().flatten().filter_map(Value::as_str);
        let user = by
            .split_once(":user/")
            .and_then(|it| it.1.rsplit('/').next());
        let is_role = |approver: &str| {
            let session = by.split_once(":assumed-role/").map(|it| it.1);
            let role = session.and_then(|it| it.split('/').next());
            let named = approver.split_once(":role/").map(|it| it.1);
            role.is_some() && named.and_then(|it| it.rsplit('/').next()) == role
        };
        let is_one = approvers.any(|it| it == by || Some(it) == user || is_role(it));
        is_one && !self.decided.iter().any(|it| it == by)
    }

    /// As GetAutomationExecution and DescribeAutomationStepExecutions have it.
    pub(crate) fn show(&self) -> Value {
        let mut shown = self.facts.clone();
        let inputs: Map<String, Value> = self
            .inputs
            .iter()
            .map(|(name, value)| (name.clone(), input(value).into()))
            .collect();
        let details = self.failure.as_ref().map(|_| {
            json!({
                "FailureStage": "Invocation",
                "FailureType": match self.status {
                    Status::TimedOut => "TimedOut",
                    Status::Cancelled => "Cancelled",
                    _ => "Verification",
                },
                "Details": {},
            })
        });
        let more = json!({
            "StepName": self.name,
            "Action": self.action,
            "StepExecutionId": self.id,
            "StepStatus": self.status.name(),
            "ExecutionStartTime": self.started.map(seconds),
            "ExecutionEndTime": self.ended.map(seconds),
            "Inputs": inputs,
            "Outputs": self.outputs,
            "FailureMessage": self.failure,
            "FailureDetails": details,
        });
        if let (Some(shown), Value::Object(more)) = (shown.as_object_mut(), more) {
            shown.extend(more);
        }
        shown
    }
}

/// Values as lists of texts.
pub(super) fn answered<'v>(
    values: impl IntoIterator<Item = (&'v String, &'v Value)>,
) -> Map<String, Value> {
    values
        .into_iter()
        .map(|(name, value)| (name.clone(), texts(value).into()))
        .collect()
}

/// Inputs are JSON texts, of texts too.
fn input(value: &Value) -> String {
    value.to_string()
}
