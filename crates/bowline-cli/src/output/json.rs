//! JSON documents and lines.

use serde::Serialize;

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

fn unserialisable(error: serde_json::Error) -> CommandError {
    CommandError::new(ErrorKind::Unavailable, error)
}
