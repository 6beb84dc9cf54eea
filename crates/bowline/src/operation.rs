//! Named operations: commands that are declared once, with parameters that are checked, and can then be called from a
//! terminal, a chat or a ticket.
//!
//! A command is a list of words; `{name}` in a word stands for a parameter. A value becomes part of that word and
//! nothing else: no shell reads it, and one that would look like an option is refused unless it is allowed to.

mod check;
mod value;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::value::{BadValue, Bound};

/// A value may be so long unless its parameter says otherwise.
const LONGEST: usize = 4096;

/// One operation.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Operation {
    /// What it does, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Where it runs; without it the configured target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The words of the command; {name} stands for a parameter, {{ and }} for braces.
    pub command: Vec<String>,
    /// Whether it runs in a container that is there, or in a fresh task.
    #[serde(default)]
    pub via: Via,
    /// Ask before it is run.
    #[serde(default)]
    pub confirm: bool,
    /// How long it may run: 90s, 30m, 2h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// A file here that its output is added to. In a project's file: below the project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<PathBuf>,
    /// Its parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub param: BTreeMap<String, Parameter>,
}

/// How an operation is run.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Via {
    /// In a container of the target.
    #[default]
    Exec,
    /// As a fresh task, like `bowline run`.
    Run,
}

impl Operation {
    /// How long it may run, if that is limited.
    pub fn time_limit(&self) -> Option<Duration> {
        self.timeout.as_deref().and_then(|text| time(text).ok())
    }
}

/// One parameter.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Parameter {
    /// What values it takes.
    #[serde(default, rename = "type")]
    pub kind: ParameterType,
    /// What it means, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The value if none is given; without it the parameter has to be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// For a string: a regular expression that the whole value has to match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// For a string: the most bytes it may have; 4096 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
    /// For a string: whether it may begin with a dash where it begins a word, as options do.
    #[serde(default)]
    pub allow_dash: bool,
    /// For an int: the least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<i64>,
    /// For an int: the most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<i64>,
    /// For an enum: the values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// For an enum: a command that prints the values in the target, one on a line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values_from: Vec<String>,
}

/// The types of parameters.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ParameterType {
    /// Text.
    #[default]
    String,
    /// A whole number.
    Int,
    /// One of some values.
    Enum,
    /// A file here, which is copied to the container; the command gets its path there.
    File,
}

impl ParameterType {
    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Int => "int",
            Self::Enum => "enum",
            Self::File => "file",
        }
    }
}

/// Part of a word of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Text(String),
    Value(String),
}

/// Cuts a word into text and places for values.
pub(crate) fn parts(word: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = word;
    while let Some(at) = rest.find(['{', '}']) {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("{{") {
            text.push('{');
            rest = after;
        } else if let Some(after) = rest.strip_prefix("}}") {
            text.push('}');
            rest = after;
        } else if let Some((name, after)) =
            rest.strip_prefix('{').and_then(|rest| rest.split_once('}'))
        {
            if !is_name(name) {
                return Err(format!(
                    "{word:?}: {{{name}}} is no parameter; write {{{{ for a brace"
                ));
            }
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            parts.push(Part::Value(name.to_owned()));
            rest = after;
        } else {
            return Err(format!(
                "{word:?} has a single brace; write {{{{ or }}}} for one"
            ));
        }
    }
    text.push_str(rest);
    if !text.is_empty() || parts.is_empty() {
        parts.push(Part::Text(text));
    }
    Ok(parts)
}

/// `90s`, `30m`, `2h`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let digits = text.len()
        - text
            .trim_start_matches(|letter: char| letter.is_ascii_digit())
            .len();
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(format!("{text:?} is no time; it looks like 90s, 30m or 2h")),
    };
    let number: Option<u64> = number.parse().ok();
    let time = number
        .and_then(|number| number.checked_mul(seconds))
        .filter(|seconds| *seconds > 0);
    time.map(Duration::from_secs)
        .ok_or_else(|| format!("{text:?} is no time; it looks like 90s, 30m or 2h"))
}

/// A letter, then letters, digits, dashes and underscores.
pub(crate) fn is_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}
