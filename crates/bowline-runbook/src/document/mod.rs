//! A runbook as a document: parameters, variables, steps and outputs, with their places.

mod fields;
mod parse;

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

pub(crate) use self::parse::parse;
use crate::action::{Action, FAN_OUT, Tier};
use crate::finding::Code;
use crate::node::{Entry, Node};
use crate::reference::{Reference, whole};
use crate::source::Span;
use crate::value::Type;

/// A runbook.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// For people.
    pub description: Option<String>,
    /// The role to run with, or a reference to a parameter.
    pub assume_role: Option<Named>,
    /// In the order of the text.
    pub parameters: Vec<Parameter>,
    /// In the order of the text.
    pub variables: Vec<Parameter>,
    /// The steps, in their default order.
    pub steps: Vec<Step>,
    /// `step.output` or `variable:name`.
    pub outputs: Vec<Named>,
    /// Attachments: file name and SHA-256 in hexadecimal.
    pub files: Vec<(Named, Option<String>)>,
    /// Rules that a comment switches off, by line.
    pub(crate) allowed: HashMap<usize, Vec<Code>>,
}

/// A text and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// The text.
    pub name: String,
    /// Where it stands.
    pub span: Span,
}

/// A parameter, or a variable.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: Named,
    /// Its type; String where the declaration cannot be read.
    pub kind: Type,
    /// For people.
    pub description: Option<String>,
    /// What it is without being given.
    pub default: Option<Node>,
    /// What it may be.
    pub allowed: Option<Vec<Value>>,
    /// What each text of it has to match.
    pub pattern: Option<Named>,
    /// Least and most elements.
    pub items: (Option<i64>, Option<i64>),
    /// Least and most characters.
    pub chars: (Option<i64>, Option<i64>),
    /// Least and greatest number.
    pub range: (Option<i64>, Option<i64>),
}

/// A step.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its name.
    pub name: Named,
    /// What it does; none where the document names no known action.
    pub action: Option<Action>,
    /// For people.
    pub description: Option<String>,
    /// Its inputs, in the order of the text.
    pub inputs: Vec<Entry>,
    /// Declared outputs.
    pub outputs: Vec<OutputDeclaration>,
    /// Attempts in total.
    pub max_attempts: u32,
    /// Seconds for each attempt.
    pub timeout: Option<u64>,
    /// Where to go on failure.
    pub on_failure: OnFailure,
    /// Whether `onFailure` is written.
    pub writes_on_failure: bool,
    /// Where to go when the run is cancelled during this step.
    pub on_cancel: Option<Named>,
    /// Whether the run ends after it.
    pub is_end: bool,
    /// Whether its failure is one of the run, if that is written.
    pub is_critical: Option<bool>,
    /// The step after it.
    pub next: Option<Named>,
    /// The steps inside of a loop.
    pub body: Vec<Self>,
    /// The whole step.
    pub span: Span,
    pub(crate) timeout_span: Option<Span>,
}

/// What happens when a step fails.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum OnFailure {
    /// The run ends.
    #[default]
    Abort,
    /// As if it had succeeded.
    Continue,
    /// This step is next.
    Step(Named),
}

/// An output that a step declares.
#[derive(Clone, Debug)]
pub struct OutputDeclaration {
    /// Its name.
    pub name: Named,
    /// What is taken.
    pub selector: Named,
    /// Its type.
    pub kind: Type,
    /// Where the type stands, if it is written.
    pub kind_span: Option<Span>,
}

impl Document {
    /// A parameter by name.
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|it| it.name.name == name)
    }

    /// A variable by name.
    pub fn variable(&self, name: &str) -> Option<&Parameter> {
        self.variables.iter().find(|it| it.name.name == name)
    }

    /// A step by name, those inside of loops included.
    pub fn step(&self, name: &str) -> Option<&Step> {
        self.all_steps().find(|step| step.name.name == name)
    }

    /// The role that a run with these parameters takes; none where it is not named, or is empty.
    pub fn role(&self, parameters: &BTreeMap<String, Value>) -> Option<String> {
        let text = self.assume_role.as_ref()?.name.trim();
        let role = match whole(text) {
            Some(Reference::Parameter(name)) => parameters.get(&name)?.as_str()?,
            _ => text,
        };
        let role = role.trim();
        (!role.is_empty()).then(|| role.to_owned())
    }

    /// All steps, bodies of loops behind their loop.
    pub fn all_steps(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().flat_map(|step| {
            let inner: Vec<&Step> = step.flattened();
            inner.into_iter()
        })
    }
}

impl Step {
    /// An input by name.
    pub fn input(&self, name: &str) -> Option<&Node> {
        let entry = self.inputs.iter().find(|entry| entry.key == name)?;
        (!entry.value.is_null()).then_some(&entry.value)
    }

    /// Why it does not run locally, if it does not.
    pub fn obstacle(&self) -> Option<String> {
        let action = self.action?;
        let text = |name: &str| self.input(name).and_then(Node::as_str).unwrap_or_default();
        match action {
            action if action.tier() == Tier::Remote => {
                Some(format!("action {action} does not run locally"))
            }
            Action::ExecuteScript if text("Runtime").starts_with("PowerShell") => Some(
                "PowerShell scripts do not run locally; write the script in Python, or let the service run the \
                 document with `bowline runbook submit`"
                    .to_owned(),
            ),
            Action::ExecuteAutomation => {
                let found = FAN_OUT.iter().find(|name| self.input(name).is_some())?;
                Some(format!(
                    "{found}: only the service starts executions in several places"
                ))
            }
            _ => None,
        }
    }

    /// Whether its failure is one of the run: if not written, unless the run goes on as if nothing was.
    pub fn is_critical(&self) -> bool {
        let by_default = self.on_failure != OnFailure::Continue;
        self.is_critical.unwrap_or(by_default)
    }

    /// Seconds that an attempt may take.
    pub fn limit(&self) -> Option<u64> {
        self.timeout
            .or_else(|| self.action.and_then(|action| action.facts().default_limit))
    }

    fn flattened(&self) -> Vec<&Self> {
        let mut steps = vec![self];
        for step in &self.body {
            steps.extend(step.flattened());
        }
        steps
    }
}
