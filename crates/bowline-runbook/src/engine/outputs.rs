//! Outputs of steps and of the document.

use serde_json::{Map, Value};

use super::{Execution, Status};
use crate::document::Step;
use crate::reference::Reference;
use crate::selector::{Selected, Selector, Step as Part};
use crate::value::{Type, convert, texts};

/// Names whose values are not shown.
const SECRETS: [&str; 3] = ["secret", "password", "token"];

/// What selectors of outputs look at.
pub(super) enum Root {
    Value(Value),
    /// A function's payload, and its fixed outputs where the payload has no such member. \[X\]
    Payload(Value, Value),
}

/// The outputs of a step that succeeded: fixed and declared ones. What selects nothing is absent.
pub(super) fn evaluate(
    step: &Step,
    root: &Root,
    fixed: Map<String, Value>,
) -> Result<Map<String, Value>, String> {
    let mut outputs = fixed;
    for declared in &step.outputs {
        let text = &declared.selector.name;
        let name = &declared.name.name;
        let selector = Selector::parse(text)
            .map_err(|(message, _)| format!("output {name}: selector {text}: {message}"))?;
        let selected = match selector.select(root.for_selector(&selector)) {
            Selected::Nothing => None,
            Selected::One(Value::Null) => None,
            Selected::One(value) => Some(value.clone()),
            Selected::Many(values) if values.is_empty() => match declared.kind {
                // \[X\] Nothing, for types that are no lists.
                Type::StringList | Type::MapList => Some(Value::Array(Vec::new())),
                _ => None,
            },
            Selected::Many(values) => Some(values.into_iter().cloned().collect()),
        };
        outputs.remove(name);
        if let Some(value) = selected {
            let value = convert(&value, declared.kind)
                .map_err(|reason| format!("output {name} of type {}: {reason}", declared.kind))?;
            outputs.insert(name.clone(), value);
        }
    }
    Ok(outputs)
}

impl Root {
    fn for_selector(&self, selector: &Selector) -> &Value {
        match self {
            Self::Value(value) => value,
            Self::Payload(payload, fixed) => match selector.steps.first() {
                Some(Part::Name(name))
                    if payload.get(name).is_none()
                        && ["StatusCode", "FunctionError", "LogResult", "Payload"]
                            .contains(&name.as_str()) =>
                {
                    fixed
                }
                _ => payload,
            },
        }
    }
}

/// Outputs for showing: secrets by their names are not.
pub(super) fn masked(outputs: &Map<String, Value>) -> Map<String, Value> {
    let mask = |(name, value): (&String, &Value)| {
        let lower = name.to_ascii_lowercase();
        let value = match SECRETS.iter().any(|secret| lower.contains(secret)) {
            true => Value::from("[masked]"),
            false => masked_value(value),
        };
        (name.clone(), value)
    };
    outputs.iter().map(mask).collect()
}

fn masked_value(value: &Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(masked(members)),
        Value::Array(items) => items.iter().map(masked_value).collect(),
        other => other.clone(),
    }
}

impl Execution {
    /// As [`Self::results`], with secrets masked.
    pub(super) fn document_outputs(&self) -> Map<String, Value> {
        masked(&self.results())
    }

    /// Each output of the document as a list of texts, which is how the service answers; null where its step did not
    /// succeed. Secrets are in it.
    pub fn results(&self) -> Map<String, Value> {
        let entries = self.document.outputs.iter().map(|named| {
            let text = named.name.trim();
            let value = match Reference::parse(text) {
                Some(Reference::Output { step, output }) => {
                    let succeeded = self.state.statuses.get(&step) == Some(&Status::Success);
                    let outputs = self.state.outputs.get(&step).filter(|_| succeeded);
                    outputs.and_then(|outputs| outputs.get(&output)).cloned()
                }
                Some(Reference::Variable(name)) => self.state.variables.get(&name).cloned(),
                _ => None,
            };
            let texts = value.map_or(Value::Null, |value| texts(&value).into());
            (text.to_owned(), texts)
        });
        entries.collect()
    }
}
