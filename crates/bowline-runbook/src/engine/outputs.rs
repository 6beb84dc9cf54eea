//! Outputs of steps and of the document.

use serde_json::{Map, Value};

use super::{Execution, Status};
use crate::document::{OutputDeclaration, Step};
use crate::reference::Reference;
use crate::selector::{Selected, Selector, Step as Part};
use crate::value::{Type, convert, texts};

/// Names whose values are not shown.
const SECRETS: [&str; 3] = ["secret", "password", "token"];
/// Names of them that are no secrets: pages of a list.
const PAGES: [&str; 1] = ["nexttoken"];
/// What stands in the place of a secret.
const MASK: &str = "[masked]";

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
        let name = &declared.name.name;
        outputs.remove(name);
        if let Some(value) = select(declared, root)? {
            outputs.insert(name.clone(), value);
        }
    }
    Ok(outputs)
}

/// The same outputs for showing. What is selected from a secret is one too, whatever it is called; so selectors look at
/// what is shown of the answer, and where nothing of the kind is left of it the output is a secret.
pub(super) fn shown(
    step: &Step,
    root: &Root,
    fixed: &Map<String, Value>,
    outputs: &Map<String, Value>,
) -> Map<String, Value> {
    let root = root.masked();
    let shown = |name: &String| {
        let declared = step.outputs.iter().find(|it| it.name.name == *name);
        match declared {
            Some(declared) => select(declared, &root).ok().flatten(),
            None => fixed.get(name).cloned(),
        }
    };
    let values = outputs.keys().map(|name| {
        let value = shown(name).unwrap_or_else(|| MASK.into());
        (name.clone(), value)
    });
    masked(&values.collect())
}

fn select(declared: &OutputDeclaration, root: &Root) -> Result<Option<Value>, String> {
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
    selected
        .map(|value| {
            convert(&value, declared.kind)
                .map_err(|reason| format!("output {name} of type {}: {reason}", declared.kind))
        })
        .transpose()
}

impl Root {
    fn masked(&self) -> Self {
        match self {
            Self::Value(value) => Self::Value(masked_value(value)),
            Self::Payload(payload, fixed) => {
                Self::Payload(masked_value(payload), masked_value(fixed))
            }
        }
    }

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

/// Outputs for showing. Values with the name of a secret are masked at every depth, in texts that are JSON too, and so
/// are those that the Parameter Store keeps encrypted.
pub fn masked(outputs: &Map<String, Value>) -> Map<String, Value> {
    let is_encrypted = outputs.get("Type").and_then(Value::as_str) == Some("SecureString");
    let mask = |(name, value): (&String, &Value)| {
        let lower = name.to_ascii_lowercase();
        let is_secret = SECRETS.iter().any(|secret| lower.contains(secret))
            && !PAGES.iter().any(|page| lower.ends_with(page));
        let value = match is_secret || (is_encrypted && name == "Value") {
            true if !value.is_null() => MASK.into(),
            _ => masked_value(value),
        };
        (name.clone(), value)
    };
    outputs.iter().map(mask).collect()
}

fn masked_value(value: &Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(masked(members)),
        Value::Array(items) => items.iter().map(masked_value).collect(),
        Value::String(text) if text.trim_start().starts_with(['{', '[', '"']) => {
            let inner: Option<Value> = serde_json::from_str(text).ok();
            let hidden = inner.as_ref().map(masked_value);
            match hidden.filter(|hidden| Some(hidden) != inner.as_ref()) {
                Some(hidden) => hidden.to_string().into(),
                // A text without secrets stays as it was written.
                None => value.clone(),
            }
        }
        other => other.clone(),
    }
}

impl Execution {
    /// Each output of the document as a list of texts, which is how the service answers; null where its step did not
    /// succeed. Secrets are in it.
    pub fn results(&self) -> Map<String, Value> {
        self.results_of(|step| self.state.outputs.get(step).cloned())
    }

    /// As [`Self::results`], with secrets masked.
    pub fn shown_results(&self) -> Map<String, Value> {
        masked(&self.results_of(|step| self.shown_outputs(step)))
    }

    /// The outputs of a step, with secrets masked.
    pub(super) fn shown_outputs(&self, step: &str) -> Option<Map<String, Value>> {
        let shown = self.state.shown.get(step).cloned();
        shown.or_else(|| self.state.outputs.get(step).map(masked))
    }

    fn results_of(
        &self,
        outputs: impl Fn(&str) -> Option<Map<String, Value>>,
    ) -> Map<String, Value> {
        let entries = self.document.outputs.iter().map(|named| {
            let text = named.name.trim();
            let value = match Reference::parse(text) {
                Some(Reference::Output { step, output }) => {
                    let succeeded = self.state.statuses.get(&step) == Some(&Status::Success);
                    let outputs = outputs(&step).filter(|_| succeeded);
                    outputs.and_then(|outputs| outputs.get(&output).cloned())
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
