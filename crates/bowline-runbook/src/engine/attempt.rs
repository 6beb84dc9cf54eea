//! One attempt of a step: its inputs, and what it asks for.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::{Map, Value, json};

use super::recipe;
use super::resolve::{Absent, Lookup, embed, resolve};
use super::work::{Script, Work};
use super::{
    Event, Execution, Failure, Phase, Poll, Running, Status, Wait, condition, list, validate,
};
use crate::action::{Action, Takes};
use crate::document::Step;
use crate::reference::{Reference, references};
use crate::time::{duration, moment};
use crate::value::{integer, type_name};

/// The pause after the first look; \[X\], as are its growth and its end.
const FIRST_INTERVAL: Duration = Duration::from_secs(2);

impl Execution {
    pub(super) fn begin(&mut self, place: usize, attempt: u32) {
        let document = Arc::clone(&self.document);
        let Some(step) = list(&document, &self.frames).get(place) else {
            return self.end();
        };
        let limit = self.limit(step);
        let deadline = limit.and_then(|limit| {
            let seconds = i64::try_from(limit).ok()?;
            self.now
                .checked_add(SignedDuration::from_secs(seconds))
                .ok()
        });
        self.phase = Phase::Running(Box::new(Running {
            step: place,
            attempt,
            started: self.now,
            deadline,
            wait: Wait::RetryAt(self.now),
            poll: Poll {
                interval: self.options.poll_interval.unwrap_or(FIRST_INTERVAL),
                ..Poll::default()
            },
            inputs: Map::new(),
            approvals: Vec::new(),
            needed: 1,
            progress: recipe::Progress::default(),
            is_undoing: false,
        }));
        self.set_status_of_running(Status::InProgress);
        self.events.push_back(Event::StepStart {
            step: self.label(step),
            action: step.action.map_or("", Action::name),
            attempt,
            attempts: step.max_attempts,
            limit,
        });
        if self.state.surroundings.account.is_none() && wants_account(step) {
            let work = Work::Call {
                service: "sts",
                operation: "GetCallerIdentity".to_owned(),
                input: Map::new(),
            };
            let id = self.ask(step, deadline, work);
            return self.wait(Wait::Account(id));
        }
        self.act(step);
    }

    /// Inputs are known, or become so: does what the action does.
    pub(super) fn act(&mut self, step: &Step) {
        if let Err(failure) = self.try_to_act(step) {
            self.fail(failure);
        }
    }

    fn try_to_act(&mut self, step: &Step) -> Result<(), Failure> {
        let action = step
            .action
            .ok_or_else(|| Failure::for_good("the step has no action"))?;
        if action == Action::Branch {
            return self.choose(step);
        }
        if action == Action::Loop {
            let place = match &self.phase {
                Phase::Running(running) => running.step,
                _ => return Ok(()),
            };
            return self.enter(place, step);
        }
        let inputs = self.inputs(step, action).map_err(Failure::for_good)?;
        if recipe::is_recipe(action) {
            let mut progress = recipe::Progress::default();
            let turn = recipe::first(action, &inputs, &mut progress)?;
            self.keep(inputs);
            if let Phase::Running(running) = &mut self.phase {
                running.progress = progress;
            }
            self.follow(step, turn);
            return Ok(());
        }
        let text = |name: &str| inputs.get(name).and_then(Value::as_str).map(str::to_owned);
        let work = match action {
            Action::ExecuteAwsApi => self.call_of(&inputs)?,
            Action::WaitForAwsResourceProperty | Action::AssertAwsResourceProperty => {
                self.keep(inputs);
                self.look();
                return Ok(());
            }
            Action::InvokeLambdaFunction => invoke(&inputs),
            Action::ExecuteScript => Work::Script(Script {
                runtime: text("Runtime").unwrap_or_default(),
                handler: text("Handler"),
                source: text("Script"),
                attachment: text("Attachment"),
                payload: inputs
                    .get("InputPayload")
                    .cloned()
                    .unwrap_or_else(|| json!({})),
            }),
            Action::Sleep => return self.sleep(step, &inputs),
            Action::UpdateVariable => return self.update(&inputs),
            Action::Pause => {
                self.waiting(step, "somebody to go on".to_owned());
                Work::Pause
            }
            Action::Approve => self.approval(step, &inputs)?,
            other => return Err(Failure::for_good(format!("{other} does not run locally"))),
        };
        let deadline = self.deadline();
        self.keep(inputs);
        let id = self.ask(step, deadline, work);
        self.wait(Wait::Answer(id));
        Ok(())
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::Running(running) => running.deadline,
            _ => None,
        }
    }

    fn limit(&self, step: &Step) -> Option<u64> {
        let longest = step.action.and_then(|action| action.facts().longest);
        match (step.limit(), longest) {
            (Some(limit), Some(longest)) if self.options.service_limits => Some(limit.min(longest)),
            (limit, _) => limit,
        }
    }

    fn inputs(&self, step: &Step, action: Action) -> Result<Map<String, Value>, String> {
        let mut inputs = Map::new();
        for entry in step.inputs.iter().filter(|entry| !entry.value.is_null()) {
            let value = entry.value.value();
            let resolved = match (entry.key.as_str(), action, &value) {
                ("Script", _, Value::String(text)) => embed(text, &|it| self.in_script(it)).into(),
                ("InputPayload", _, _) => resolve(&value, Absent::IsNull, &|it| self.lookup(it))?,
                _ => resolve(&value, Absent::Fails, &|it| self.lookup(it))?,
            };
            inputs.insert(entry.key.clone(), resolved);
        }
        for input in action.facts().inputs {
            let Some(value) = inputs.get(input.name) else {
                if input.required {
                    return Err(format!("the input {} is missing", input.name));
                }
                continue;
            };
            let (fits, wanted) = match input.takes {
                Takes::Any => continue,
                Takes::One(kind) => (kind.holds(value), kind.name().to_owned()),
                Takes::Either(one, other) => (
                    one.holds(value) || other.holds(value),
                    format!("{one} or {other}"),
                ),
            };
            if !fits {
                return Err(format!(
                    "{} takes a {wanted}, and this is a {}",
                    input.name,
                    type_name(value)
                ));
            }
        }
        Ok(inputs)
    }

    /// What a reference stands for now.
    pub(super) fn lookup(&self, reference: &Reference) -> Lookup {
        let known = &self.state.surroundings;
        let value = match reference {
            Reference::Parameter(name) => match self.document.parameter(name) {
                None => return Lookup::Unknown,
                Some(_) => self.state.parameters.get(name).cloned(),
            },
            Reference::Variable(name) => match self.document.variable(name) {
                None => return Lookup::Unknown,
                Some(_) => self.state.variables.get(name).cloned(),
            },
            Reference::Global(name) => match name.as_str() {
                "REGION" => Some(known.region.clone().into()),
                "AWS_PARTITION" => Some(known.partition.clone().into()),
                "ACCOUNT_ID" => known.account.clone().map(Value::from),
                "DATE" => Some(self.date("%Y-%m-%d").into()),
                "DATE_TIME" => Some(self.date("%Y-%m-%d_%H.%M.%S").into()),
                _ => return Lookup::Unknown,
            },
            Reference::Automation(name) if name == "EXECUTION_ID" => {
                Some(known.execution_id.clone().into())
            }
            Reference::Automation(_) | Reference::Stored(_) => return Lookup::Unknown,
            Reference::Output { step, output } => match self.document.step(step) {
                None if step == "loop" => self
                    .innermost_loop()
                    .and_then(|step| self.state.outputs.get(&step.name.name)?.get(output))
                    .cloned(),
                None => return Lookup::Unknown,
                Some(_) => self
                    .state
                    .outputs
                    .get(step)
                    .and_then(|outputs| outputs.get(output))
                    .cloned(),
            },
        };
        match value.filter(|value| !value.is_null()) {
            Some(value) => Lookup::Value(value),
            None => Lookup::Absent(self.why_absent(reference)),
        }
    }

    fn why_absent(&self, reference: &Reference) -> String {
        let Reference::Output { step, output } = reference else {
            return format!("{reference} has no value");
        };
        let found = self.document.step(step);
        let declared = found.and_then(|it| it.outputs.iter().find(|it| it.name.name == *output));
        match (self.state.statuses.get(step), declared) {
            (Some(Status::Success), Some(declared)) => {
                format!(
                    "{reference} has no value: selector {} matched nothing",
                    declared.selector.name
                )
            }
            (Some(Status::Success), None) => format!("{reference} has no value"),
            (Some(status), _) => format!("{reference} has no value: the step {step} is {status}"),
            (None, _) => format!("{reference} has no value: the step {step} has not run"),
        }
    }

    /// In a script only what is declared is replaced. \[X\]
    fn in_script(&self, reference: &Reference) -> Lookup {
        match reference {
            Reference::Output { step, output } => {
                let step = self.document.step(step);
                let known = step.is_some_and(|it| crate::check::has_output(it, output));
                match known {
                    true => self.lookup(reference),
                    false => Lookup::Unknown,
                }
            }
            _ => self.lookup(reference),
        }
    }

    fn date(&self, format: &str) -> String {
        self.now
            .to_zoned(TimeZone::UTC)
            .strftime(format)
            .to_string()
    }

    /// The operation that inputs name, with the rest of them as its input.
    fn call_of(&self, inputs: &Map<String, Value>) -> Result<Work, Failure> {
        let name = inputs
            .get("Service")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let api = inputs
            .get("Api")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let service = bowline_services::find(name)
            .map_err(|_| Failure::for_good(format!("there is no service {name}")))?;
        let operation = service
            .operation(api)
            .ok_or_else(|| Failure::for_good(format!("{} has no operation {api}", service.name)))?;
        if operation.is_streaming {
            return Err(Failure::for_good(format!(
                "{} streams, which a runbook cannot call",
                operation.name
            )));
        }
        let mut input = inputs.clone();
        for own in ["Service", "Api", "PropertySelector", "DesiredValues"] {
            input.remove(own);
        }
        let problems = validate::problems(service, operation, &input);
        if !problems.is_empty() {
            return Err(Failure::for_good(format!(
                "Parameter validation failed:\n{}",
                problems.join("\n")
            )));
        }
        Ok(Work::Call {
            service: service.name,
            operation: operation.name.clone(),
            input,
        })
    }

    /// One more look of a step that waits.
    pub(super) fn look(&mut self) {
        let document = Arc::clone(&self.document);
        let Phase::Running(running) = &mut self.phase else {
            return;
        };
        let Some(step) = list(&document, &self.frames).get(running.step) else {
            return;
        };
        let deadline = running.deadline;
        let work = match &running.progress.call {
            Some(call) => {
                if running.progress.is_poll {
                    running.poll.last = Some(self.now);
                }
                Self::work_of(call)
            }
            None => {
                running.poll.last = Some(self.now);
                let inputs = running.inputs.clone();
                self.call_of(&inputs)
            }
        };
        match work {
            Ok(work) => {
                let id = self.ask(step, deadline, work);
                self.wait(Wait::Answer(id));
            }
            Err(failure) => self.fail(failure),
        }
    }

    /// After a look without the wanted value: when to look again. At the deadline once more, if the last time was not
    /// just now. \[X\]
    pub(super) fn look_again(&mut self) {
        let now = self.now;
        let fixed = self.options.poll_interval;
        let Phase::Running(running) = &mut self.phase else {
            return;
        };
        let interval = running.poll.interval;
        let grown = interval.mul_f32(1.5).min(Duration::from_secs(15));
        running.poll.interval = fixed.unwrap_or(grown);
        if running.poll.is_last {
            let failure = self.late();
            return self.fail(failure);
        }
        let mut at = now + interval;
        if let Some(deadline) = running.deadline.filter(|deadline| at >= *deadline) {
            at = deadline;
            if deadline.duration_since(now) >= SignedDuration::from_secs(1) {
                running.poll.is_last = true;
                // The last look has to have time for its answer.
                running.deadline = Some(deadline + SignedDuration::from_secs(5));
            } else {
                running.poll.is_last = true;
                let failure = self.late();
                return self.fail(failure);
            }
        }
        running.wait = Wait::PollAt(at);
    }

    fn sleep(&mut self, step: &Step, inputs: &Map<String, Value>) -> Result<(), Failure> {
        let text = |name: &str| inputs.get(name).and_then(Value::as_str);
        let until: Timestamp = match (text("Duration"), text("Timestamp")) {
            (Some(text), None) => {
                let span = duration(text).map_err(Failure::for_good)?;
                let factor = i32::try_from(self.options.fast_sleep.max(1)).unwrap_or(i32::MAX);
                self.now
                    .checked_add(span / factor)
                    .map_err(|it| Failure::for_good(it.to_string()))?
            }
            (None, Some(text)) => {
                let until = moment(text).map_err(Failure::for_good)?;
                let most = SignedDuration::from_secs(crate::time::LONGEST_SLEEP);
                if until.duration_since(self.now) > most {
                    return Err(Failure::for_good(format!(
                        "{text} is more than seven days away"
                    )));
                }
                until
            }
            _ => {
                return Err(Failure::for_good(
                    "aws:sleep takes a Duration or a Timestamp",
                ));
            }
        };
        self.events.push_back(Event::StepWaiting {
            step: self.label(step),
            r#for: format!(
                "{} s to pass",
                until.duration_since(self.now).as_secs().max(0)
            ),
        });
        self.wait(Wait::SleepUntil(until));
        Ok(())
    }

    fn update(&mut self, inputs: &Map<String, Value>) -> Result<(), Failure> {
        let text = inputs
            .get("Name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let name = text.trim().strip_prefix("variable:").unwrap_or(text);
        let Some(variable) = self.document.variable(name) else {
            return Err(Failure::for_good(format!("there is no variable {name}")));
        };
        let value = inputs.get("Value").cloned().unwrap_or(Value::Null);
        if !variable.kind.holds(&value) {
            return Err(Failure::for_good(format!(
                "variable:{name} is a {}, and this is a {}",
                variable.kind,
                type_name(&value)
            )));
        }
        self.state.variables.insert(name.to_owned(), value);
        self.succeed(None, Map::new());
        Ok(())
    }

    fn approval(&mut self, step: &Step, inputs: &Map<String, Value>) -> Result<Work, Failure> {
        let approvers = inputs
            .get("Approvers")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let approvers: Vec<String> = approvers.iter().map(crate::value::embedded).collect();
        let needed = inputs
            .get("MinRequiredApprovals")
            .and_then(integer)
            .unwrap_or(1);
        let needed = usize::try_from(needed).unwrap_or_default();
        if needed == 0 || needed > approvers.len() {
            return Err(Failure::for_good(format!(
                "MinRequiredApprovals is {needed} of {} approvers",
                approvers.len()
            )));
        }
        if let Phase::Running(running) = &mut self.phase {
            running.needed = needed;
        }
        let message = inputs
            .get("Message")
            .map(crate::value::embedded)
            .unwrap_or_default();
        self.waiting(step, format!("approval by {}", approvers.join(", ")));
        Ok(Work::Approval {
            message,
            approvers,
            needed,
        })
    }

    fn choose(&mut self, step: &Step) -> Result<(), Failure> {
        let choices = step
            .input("Choices")
            .map(crate::node::Node::value)
            .unwrap_or_default();
        let resolve = |value: &Value| {
            resolve(value, Absent::IsNull, &|it| self.lookup(it)).unwrap_or(Value::Null)
        };
        let mut chosen = None;
        for (index, choice) in choices.as_array().into_iter().flatten().enumerate() {
            if condition::evaluate(choice, &resolve).map_err(Failure::failed)? {
                let name = choice
                    .get("NextStep")
                    .and_then(Value::as_str)
                    .map(str::to_owned);
                chosen = name.map(|name| (name, format!("branch:{}", index + 1)));
                break;
            }
        }
        let default = step.input("Default").and_then(crate::node::Node::as_str);
        let target =
            chosen.or_else(|| default.map(|name| (name.to_owned(), "branch:default".to_owned())));
        self.succeed(target, Map::new());
        Ok(())
    }

    pub(super) fn wait(&mut self, wait: Wait) {
        if let Phase::Running(running) = &mut self.phase {
            running.wait = wait;
        }
    }

    fn keep(&mut self, inputs: Map<String, Value>) {
        if let Phase::Running(running) = &mut self.phase {
            running.inputs = inputs;
        }
    }

    fn waiting(&mut self, step: &Step, what: String) {
        self.set_status_of_running(Status::Waiting);
        self.state.status = Status::Waiting;
        self.events.push_back(Event::StepWaiting {
            step: self.label(step),
            r#for: what,
        });
    }
}

fn invoke(inputs: &Map<String, Value>) -> Work {
    let mut input = Map::new();
    for name in [
        "FunctionName",
        "Qualifier",
        "InvocationType",
        "LogType",
        "ClientContext",
    ] {
        if let Some(value) = inputs.get(name) {
            input.insert(name.to_owned(), value.clone());
        }
    }
    let kind = input
        .entry("InvocationType")
        .or_insert_with(|| "RequestResponse".into());
    if kind == "RequestResponse" {
        input.entry("LogType").or_insert_with(|| "Tail".into());
    }
    // InputPayload goes before Payload.
    let payload = inputs.get("InputPayload").map(Value::to_string);
    let payload = payload.or_else(|| inputs.get("Payload").map(crate::value::embedded));
    if let Some(payload) = payload {
        input.insert("Payload".to_owned(), payload.into());
    }
    Work::Call {
        service: "lambda",
        operation: "Invoke".to_owned(),
        input,
    }
}

fn wants_account(step: &Step) -> bool {
    let mut wants = false;
    for entry in &step.inputs {
        entry.value.each_text(&mut |_, text| {
            let is = |it: &Reference| matches!(it, Reference::Global(name) if name == "ACCOUNT_ID");
            wants |= references(text).iter().any(|found| is(&found.reference));
        });
    }
    wants
}
