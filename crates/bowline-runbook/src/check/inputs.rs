//! The inputs of a step against what its action takes.

use bowline_services::nearest;

use super::Checker;
use super::typing::{Static, static_type};
use crate::action::{Action, Takes};
use crate::document::Step;
use crate::node::{Entry, Kind, Node};
use crate::reference::{Reference, references, whole};
use crate::value::Type;

impl Checker<'_> {
    pub(super) fn step(&mut self, step: &Step) {
        for entry in &step.inputs {
            if entry.key == "Steps" && step.action == Some(Action::Loop) {
                continue;
            }
            let in_script = entry.key == "Script" && step.action == Some(Action::ExecuteScript);
            self.references(step, &entry.value, in_script);
        }
        let Some(action) = step.action else { return };
        let call = self.call(step);
        self.fixed_inputs(step, action);
        self.declared_outputs(step, call.as_ref());
        match action {
            Action::Branch => self.branch(step),
            Action::WaitForAwsResourceProperty | Action::AssertAwsResourceProperty => {
                self.desired(step, call.as_ref());
            }
            Action::Sleep => self.sleep(step),
            Action::UpdateVariable => self.variable(step),
            Action::InvokeLambdaFunction => self.payload(step),
            Action::ExecuteScript => self.script(step),
            Action::Loop => self.repetition(step),
            Action::Approve => self.approvers(step),
            _ => {}
        }
        self.limit(step, action);
    }

    fn fixed_inputs(&mut self, step: &Step, action: Action) {
        let inputs = action.facts().inputs;
        for input in inputs.iter().filter(|input| input.required) {
            if step.input(input.name).is_none() {
                let message = format!("{action} needs the input {}", input.name);
                let misspelled = step
                    .inputs
                    .iter()
                    .find(|it| it.key.eq_ignore_ascii_case(input.name));
                let suggestion =
                    misspelled.map(|it| format!("{} is written {}", it.key, input.name));
                self.error(20, step.name.span, step, message).suggestion = suggestion;
            }
        }
        for entry in &step.inputs {
            match inputs.iter().find(|input| input.name == entry.key) {
                Some(input) => self.input(step, entry, input.takes),
                None if action.calls_api() => {}
                None => {
                    let message = format!("{action} has no input {}", entry.key);
                    let names = inputs.iter().map(|input| input.name);
                    let suggestion =
                        nearest(&entry.key, names).map(|near| format!("did you mean {near}?"));
                    self.warn(20, entry.key_span, step, message).suggestion = suggestion;
                }
            }
        }
    }

    fn input(&mut self, step: &Step, entry: &Entry, takes: Takes) {
        let node = &entry.value;
        let (wanted, other) = match takes {
            Takes::Any => return,
            Takes::One(kind) => (kind, None),
            Takes::Either(kind, other) => (kind, Some(other)),
        };
        let is = static_type(self.document, node);
        let fits = match is {
            Static::Known(kind) => kind == wanted || other == Some(kind),
            Static::Unknown => true,
            Static::Double | Static::List => false,
        };
        // Lists of texts may hold references to lists.
        if fits {
            return;
        }
        match node.as_str().and_then(whole) {
            Some(reference) => {
                self.mismatch(step, node.span, &entry.key, wanted.name(), is, &reference);
            }
            None => {
                let message = format!(
                    "{} takes a {wanted}, and this is {}",
                    entry.key,
                    node.noun()
                );
                let scalar = matches!(
                    node.kind,
                    Kind::Integer(_) | Kind::Float(_) | Kind::Boolean(_)
                );
                let suggestion = match (wanted, scalar) {
                    (Type::String, true) => Some("put quotes around it".to_owned()),
                    (Type::StringList, _) => Some("write a list".to_owned()),
                    _ => None,
                };
                self.error(21, node.span, step, message).suggestion = suggestion;
            }
        }
    }

    fn sleep(&mut self, step: &Step) {
        let (duration, until) = (step.input("Duration"), step.input("Timestamp"));
        match (duration, until) {
            (None, None) => {
                self.error(
                    20,
                    step.name.span,
                    step,
                    "aws:sleep needs a Duration such as PT10S, or a Timestamp",
                );
            }
            (Some(_), Some(node)) => {
                self.error(
                    20,
                    node.span,
                    step,
                    "aws:sleep takes a Duration or a Timestamp, not both",
                );
            }
            (Some(node), None) => {
                if let Some(text) = literal(node)
                    && let Err(error) = crate::time::duration(text)
                {
                    self.error(20, node.span, step, error)
                        .suggest("write PT30S, PT5M, PT1H or P1D");
                }
            }
            (None, Some(node)) => {
                if let Some(text) = literal(node)
                    && let Err(error) = crate::time::moment(text)
                {
                    self.error(20, node.span, step, error)
                        .suggest("write 2030-01-31T12:00:00Z");
                }
            }
        }
    }

    fn variable(&mut self, step: &Step) {
        let Some(node) = step.input("Name") else {
            return;
        };
        let Some(text) = node.as_str() else { return };
        let name = text.strip_prefix("variable:");
        let Some(variable) = name.and_then(|name| self.document.variable(name)) else {
            let names = self
                .document
                .variables
                .iter()
                .map(|it| it.name.name.as_str());
            let near = nearest(name.unwrap_or(text), names);
            let suggestion = near.map(|near| format!("write variable:{near}"));
            self.error(
                10,
                node.span,
                step,
                format!("{text} is no variable:NAME of the runbook"),
            )
            .suggestion = suggestion;
            return;
        };
        let Some(value) = step.input("Value") else {
            return;
        };
        let is = static_type(self.document, value);
        let (wanted, name) = (variable.kind, variable.name.name.clone());
        if is != Static::Known(wanted) && is != Static::Unknown {
            match value.as_str().and_then(whole) {
                Some(reference) => self.mismatch(
                    step,
                    value.span,
                    &format!("variable:{name}"),
                    wanted.name(),
                    is,
                    &reference,
                ),
                None => {
                    let message = format!(
                        "variable:{name} is a {wanted}, and this is {}",
                        value.noun()
                    );
                    self.error(21, value.span, step, message);
                }
            }
        }
        if let Some(text) =
            literal(value).filter(|text| text.is_empty() || text.chars().count() > 512)
        {
            let count = text.chars().count();
            self.warn(
                21,
                value.span,
                step,
                format!("a String variable has 1 to 512 characters, and this has {count}"),
            );
        }
    }

    fn payload(&mut self, step: &Step) {
        let Some(node) = step.input("Payload") else {
            return;
        };
        let Some(text) = node.as_str() else { return };
        if whole(text).is_none() && !references(text).is_empty() {
            self.warn(
                64,
                node.span,
                step,
                "references are put into Payload without JSON quoting",
            )
            .suggest("give a map in InputPayload instead");
        }
        if step.input("InputPayload").is_some() {
            self.warn(
                20,
                node.span,
                step,
                "InputPayload goes before Payload, which has no effect",
            );
        }
    }

    fn script(&mut self, step: &Step) {
        let (script, attachment) = (step.input("Script"), step.input("Attachment"));
        if script.is_none() && attachment.is_none() {
            self.error(
                20,
                step.name.span,
                step,
                "aws:executeScript needs a Script or an Attachment",
            );
        }
        if let Some(name) = attachment.and_then(literal)
            && !self
                .document
                .files
                .iter()
                .any(|(file, _)| file.name == name)
        {
            let span = attachment.map_or(step.name.span, |node| node.span);
            self.warn(
                20,
                span,
                step,
                format!("{name} is not among the files of the runbook"),
            );
        }
        let Some(runtime) = step.input("Runtime").and_then(literal) else {
            return;
        };
        let span = step
            .input("Runtime")
            .map_or(step.name.span, |node| node.span);
        if runtime.starts_with("python3.") {
            if step.input("Handler").is_none() {
                self.error(
                    20,
                    step.name.span,
                    step,
                    "a Python script needs a Handler, the function to call",
                );
            }
        } else if !runtime.starts_with("PowerShell ") {
            self.error(20, span, step, format!("there is no runtime {runtime}"))
                .suggest("write python3.11 or PowerShell 7.4");
        }
    }

    fn repetition(&mut self, step: &Step) {
        match (step.input("Iterators"), step.input("LoopCondition")) {
            (Some(_), Some(node)) => {
                self.error(
                    20,
                    node.span,
                    step,
                    "a loop has Iterators or a LoopCondition, not both",
                );
            }
            (None, None) => {
                self.error(
                    20,
                    step.name.span,
                    step,
                    "a loop needs Iterators or a LoopCondition",
                );
            }
            (None, Some(node)) => self.condition(step, node, 0),
            _ => {}
        }
    }

    fn approvers(&mut self, step: &Step) {
        if let Some(list) = step.input("Approvers").and_then(Node::as_list)
            && (list.is_empty() || list.len() > 10)
        {
            let span = step
                .input("Approvers")
                .map_or(step.name.span, |node| node.span);
            self.error(20, span, step, "Approvers has 1 to 10 entries");
        }
        if let Some(node) = step.input("EnhancedApprovals") {
            self.warn(20, node.span, step, "EnhancedApprovals has no effect here");
        }
    }

    fn limit(&mut self, step: &Step, action: Action) {
        let (Some(limit), Some(longest)) = (step.timeout, action.facts().longest) else {
            return;
        };
        if limit > longest {
            let span = step.timeout_span.unwrap_or(step.name.span);
            let message = format!(
                "the service ends {action} after {longest} seconds, whatever timeoutSeconds says"
            );
            self.warn(61, span, step, message);
        }
    }

    /// RB051.
    pub(super) fn role(&mut self) {
        let role = self.document.assume_role.as_ref();
        if role.is_some_and(|role| !role.name.trim().is_empty()) {
            return;
        }
        let script = self
            .document
            .all_steps()
            .find(|step| step.action == Some(Action::ExecuteScript));
        if let Some(step) = script {
            self.warn(
                51,
                step.name.span,
                step,
                "without an assumeRole the service gives scripts no AWS credentials",
            )
            .suggest("add assumeRole: '{{ AutomationAssumeRole }}' and the parameter");
        }
    }
}

/// A text without references.
pub(super) fn literal(node: &Node) -> Option<&str> {
    let text = node.as_str()?;
    references(text).is_empty().then_some(text)
}

/// The step and output that a reference to Lambda's StatusCode names.
pub(super) fn is_status_code(document: &crate::document::Document, reference: &Reference) -> bool {
    let Reference::Output { step, output } = reference else {
        return false;
    };
    let step = document.step(step);
    output == "StatusCode" && step.is_some_and(|it| it.action == Some(Action::InvokeLambdaFunction))
}
