//! What is wrong with a configuration, with the place in the file.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::target::suggest;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file is there, or was named, and cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file says something that has no meaning.
    #[error("{}:{line}:{column}: {message}\n{excerpt}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong.
        message: String,
        /// The line itself, with a mark under what is wrong.
        excerpt: String,
        /// What could be meant, or what to do.
        hint: Option<String>,
    },
    /// A variable says something that has no meaning.
    #[error("{name}: {reason}")]
    Environment {
        /// The variable.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Aliases that lead back to themselves.
    #[error("the alias {} never ends: {} (at {place})", names[0], names.join(" → "))]
    AliasCycle {
        /// The way round, ending with where it began.
        names: Vec<String>,
        /// File and line of the first.
        place: String,
    },
}

impl ConfigError {
    /// What could be meant, or what to do.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Invalid { hint, .. } => hint.as_deref(),
            _ => None,
        }
    }

    /// An error at a place in a text.
    pub(super) fn at(
        path: &Path,
        text: &str,
        span: Range<usize>,
        message: String,
        hint: Option<String>,
    ) -> Self {
        let start = span.start.min(text.len());
        let before = text.get(..start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let begin = before.rfind('\n').map_or(0, |at| at + 1);
        let whole = text.get(begin..).unwrap_or_default();
        let shown = whole.lines().next().unwrap_or_default();
        let column = before.get(begin..).unwrap_or_default().chars().count();
        let marked = text
            .get(start..span.end.min(begin + shown.len()))
            .unwrap_or_default();
        let marks = "^".repeat(marked.chars().count().max(1));
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        // A tab keeps its width under itself.
        let lead: String = shown
            .chars()
            .take(column)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        Self::Invalid {
            path: path.to_owned(),
            line,
            column: column + 1,
            message,
            excerpt: format!("{margin} |\n{number} | {shown}\n{margin} | {lead}{marks}"),
            hint,
        }
    }

    /// An error of the TOML reader.
    pub(super) fn of_toml(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let span = error.span().unwrap_or(0..0);
        let message = error.message();
        if let Some((key, known)) = unknown(message, "unknown field ") {
            let near = suggest::near(&key, known.iter().map(String::as_str));
            let hint = match near.is_empty() {
                false => format!("did you mean {}?", near.join(" or ")),
                true => format!("the keys here are {}", known.join(", ")),
            };
            return Self::at(path, text, span, format!("unknown key {key}"), Some(hint));
        }
        if let Some((value, known)) = unknown(message, "unknown variant ") {
            let hint = format!("it is one of {}", known.join(", "));
            return Self::at(
                path,
                text,
                span,
                format!("unknown value {value:?}"),
                Some(hint),
            );
        }
        Self::at(
            path,
            text,
            span,
            message.lines().collect::<Vec<_>>().join(", "),
            None,
        )
    }
}

/// The names in serde's ``unknown field `a`, expected one of `b`, `c` ``.
fn unknown(message: &str, lead: &str) -> Option<(String, Vec<String>)> {
    let mut names = message
        .strip_prefix(lead)?
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned);
    Some((names.next()?, names.collect()))
}
