//! JSON documents and lines.

use serde::Serialize;
use serde_json::Value;

use crate::error::{CommandError, ErrorKind};

/// One document, indented.
pub(crate) fn document(value: &impl Serialize) -> Result<String, CommandError> {
    let mut text = serde_json::to_string_pretty(value).map_err(unserialisable)?;
    text.push('\n');
    Ok(text)
}

/// One object on a line of its own, with its kind in front.
pub(crate) fn line(kind: &'static str, value: &impl Serialize) -> Result<String, CommandError> {
    #[derive(Serialize)]
    struct Line<'a, T> {
        kind: &'static str,
        #[serde(flatten)]
        value: &'a T,
    }
    let mut text = serde_json::to_string(&Line { kind, value }).map_err(unserialisable)?;
    text.push('\n');
    Ok(text)
}

/// What is absent is absent: no member is ever null.
pub(crate) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().filter(|(_, member)| !member.is_null());
            Value::Object(
                members
                    .map(|(name, member)| (name, without_nulls(member)))
                    .collect(),
            )
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

fn unserialisable(error: serde_json::Error) -> CommandError {
    CommandError::new(ErrorKind::Unavailable, error)
}
