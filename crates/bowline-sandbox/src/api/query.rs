//! Forms of the query protocols, and pieces of their XML.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::reply::escape_xml;
use crate::api::ApiError;

/// A request's form: names of members with their values.
pub(super) struct Form {
    members: BTreeMap<String, String>,
}

impl Form {
    pub(super) fn parse(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let members = text.split('&').filter_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            Some((decode(name), decode(value)))
        });
        Self {
            members: members.collect(),
        }
    }

    /// The operation.
    pub(super) fn action(&self) -> &str {
        self.get("Action").unwrap_or_default()
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.members
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    pub(super) fn need(&self, name: &str) -> Result<&str, ApiError> {
        self.get(name).ok_or_else(|| {
            ApiError::new(
                "MissingParameter",
                format!("The request must contain the parameter {name}"),
            )
        })
    }

    /// `NAME.1`, `NAME.2` …, or with `member.` in between.
    pub(super) fn list(&self, name: &str) -> Vec<&str> {
        let item = |number: usize| {
            self.get(&format!("{name}.{number}"))
                .or_else(|| self.get(&format!("{name}.member.{number}")))
        };
        (1..).map_while(item).collect()
    }

    /// EC2's `Filter.N.Name` with `Filter.N.Value.M`.
    pub(super) fn filters(&self) -> Vec<(&str, Vec<&str>)> {
        (1..)
            .map_while(|number| {
                let name = self.get(&format!("Filter.{number}.Name"))?;
                Some((name, self.list(&format!("Filter.{number}.Value"))))
            })
            .collect()
    }
}

fn decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    let decoded: Cow<'_, str> = percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy();
    decoded.into_owned()
}

/// `<NAME>value</NAME>`, escaped.
pub(super) fn tag(name: &str, value: &str) -> String {
    format!("<{name}>{}</{name}>", escape_xml(value))
}

/// `<NAME><item>…</item>…</NAME>` around XML.
pub(super) fn set(name: &str, item: &str, values: impl IntoIterator<Item = String>) -> String {
    let items: String = values
        .into_iter()
        .map(|value| format!("<{item}>{value}</{item}>"))
        .collect();
    format!("<{name}>{items}</{name}>")
}
