//! `--query`: JMESPath on the JSON form, as the AWS CLI has it.

use std::str::FromStr;

use clap::Args;
use serde::Serialize;

use super::json;
use crate::cli::OutputFormat;
use crate::error::{CommandError, ErrorKind};

/// The option of every command that has a JSON form.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct QueryArgs {
    /// Print only this JMESPath part of the JSON form, which it implies
    #[arg(long, value_name = "JMESPATH")]
    pub(crate) query: Option<Query>,
}

impl QueryArgs {
    /// Refuses forms that a part of a JSON document cannot have.
    pub(crate) fn check(&self, format: Option<OutputFormat>) -> Result<(), CommandError> {
        match format {
            None | Some(OutputFormat::Json) => Ok(()),
            Some(_) if self.query.is_none() => Ok(()),
            Some(_) => Err(CommandError::usage("--query prints JSON and no other form")
                .hint("leave out -o, or use -o json")),
        }
    }
}

/// A JMESPath expression.
#[derive(Clone, Debug)]
pub(crate) struct Query(jmespath::Expression<'static>);

impl FromStr for Query {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        jmespath::compile(text).map(Self).map_err(|error| {
            // The rest of its text draws the place over several lines.
            format!("{} (column {})", error.reason, error.column + 1)
        })
    }
}

impl Query {
    /// The part of the document, as JSON; `null` where there is none.
    pub(crate) fn apply(&self, document: &impl Serialize) -> Result<String, CommandError> {
        let document = serde_json::to_value(document)
            .map_err(|error| CommandError::new(ErrorKind::Unavailable, error))?;
        let found = self
            .0
            .search(document)
            .map_err(|error| CommandError::usage(format!("--query: {}", error.reason)))?;
        json::document(&found)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parts_are_json() {
        let document = json!({ "tasks": [{ "id": "a", "n": 1 }, { "id": "b", "n": 2 }] });
        for (query, expected) in [
            ("tasks[?n==`2`].id | [0]", "\"b\"\n"),
            ("length(tasks)", "2\n"),
            ("nothing", "null\n"),
        ] {
            let query: Query = query.parse().unwrap();
            assert_eq!(query.apply(&document).unwrap(), expected);
        }
    }

    #[test]
    fn mistakes_are_usage() {
        let error = "tasks[?".parse::<Query>().unwrap_err();
        insta::assert_snapshot!(error, @"Parse error: Unexpected nud token -- found Eof (column 8)");
        let query: Query = "length(`5`)".parse().unwrap();
        let error = query.apply(&json!({})).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        insta::assert_snapshot!(error, @"--query: Runtime error: Argument 0 expects type array|object|string, given number");
        let query = QueryArgs { query: Some(query) };
        assert!(query.check(Some(OutputFormat::Table)).is_err());
        assert!(query.check(Some(OutputFormat::Json)).is_ok());
        assert!(
            QueryArgs::default()
                .check(Some(OutputFormat::Table))
                .is_ok()
        );
    }
}
