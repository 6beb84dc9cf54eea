//! The fields of a map, each asked for once: kinds are checked, and what nobody asked for is reported.

use crate::finding::{Code, Finding, Severity};
use crate::node::{Kind, Node};
use crate::source::Span;
use bowline_services::nearest;

use super::Named;

/// A map of a document and what is wrong in it.
pub(super) struct Fields<'n, 'f> {
    node: &'n Node,
    what: String,
    step: Option<String>,
    findings: &'f mut Vec<Finding>,
}

impl<'n, 'f> Fields<'n, 'f> {
    pub(super) fn new(
        node: &'n Node,
        what: impl Into<String>,
        step: Option<String>,
        findings: &'f mut Vec<Finding>,
    ) -> Self {
        let what = what.into();
        let mut fields = Self {
            node,
            what,
            step,
            findings,
        };
        if node.as_map().is_none() {
            let message = format!("{} has to be a map, and is {}", fields.what, node.noun());
            fields.error(1, node.span, message);
        }
        fields
    }

    pub(super) fn findings(&mut self) -> &mut Vec<Finding> {
        self.findings
    }

    pub(super) fn error(&mut self, code: u16, span: Span, message: impl Into<String>) {
        self.say(Severity::Error, code, span, message, None);
    }

    pub(super) fn say(
        &mut self,
        severity: Severity,
        code: u16,
        span: Span,
        message: impl Into<String>,
        suggestion: Option<String>,
    ) {
        self.findings.push(Finding {
            code: Code(code),
            severity,
            span,
            step: self.step.clone(),
            message: crate::value::spelled(message),
            suggestion,
        });
    }

    /// Reports keys that are not among `known`; the `tolerated` have no effect.
    pub(super) fn only(&mut self, known: &[&str], tolerated: &[&str]) {
        for entry in self.node.as_map().unwrap_or_default() {
            let key = entry.key.as_str();
            if known.contains(&key) {
                continue;
            }
            if tolerated.contains(&key) {
                let message = format!("the key {key} of {} has no effect here", self.what);
                self.say(Severity::Warning, 65, entry.key_span, message, None);
                continue;
            }
            let message = format!("{} has no key {key}", self.what);
            let near = nearest(key, known.iter().copied());
            let suggestion = match near {
                Some(near) => format!("did you mean {near}?"),
                None => format!("it has {}", known.join(", ")),
            };
            self.say(
                Severity::Error,
                1,
                entry.key_span,
                message,
                Some(suggestion),
            );
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.node.get(key).filter(|node| !node.is_null())
    }

    fn wrong(&mut self, key: &str, node: &Node, wanted: &str) {
        let message = format!(
            "{key} of {} has to be {wanted}, and is {}",
            self.what,
            node.noun()
        );
        self.error(1, node.span, message);
    }

    pub(super) fn text(&mut self, key: &str) -> Option<Named> {
        let node = self.get(key)?;
        let Some(text) = node.as_str() else {
            self.wrong(key, node, "a string");
            return None;
        };
        Some(Named {
            name: text.to_owned(),
            span: node.span,
        })
    }

    /// Numbers and booleans are as good as text where a template engine wrote them.
    pub(super) fn prose(&mut self, key: &str) -> Option<String> {
        let node = self.get(key)?;
        match &node.kind {
            Kind::Text(text) => Some(text.clone()),
            Kind::List(_) | Kind::Map(_) => {
                self.wrong(key, node, "a string");
                None
            }
            _ => Some(node.value().to_string()),
        }
    }

    /// A boolean, or one in quotes, as many documents have it.
    pub(super) fn boolean(&mut self, key: &str) -> Option<bool> {
        let node = self.get(key)?;
        match &node.kind {
            Kind::Boolean(is) => Some(*is),
            Kind::Text(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Kind::Text(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => {
                self.wrong(key, node, "true or false");
                None
            }
        }
    }

    /// A whole number of at least `least`; digits in quotes are accepted.
    pub(super) fn number(&mut self, key: &str, least: i64) -> Option<i64> {
        let node = self.get(key)?;
        let number = match &node.kind {
            Kind::Integer(number) => Some(*number),
            Kind::Text(text) => text.parse().ok(),
            _ => None,
        };
        match number {
            Some(number) if number >= least => Some(number),
            Some(_) => {
                let message = format!("{key} of {} has to be at least {least}", self.what);
                self.error(1, node.span, message);
                None
            }
            None => {
                self.wrong(key, node, "an integer");
                None
            }
        }
    }

    pub(super) fn list(&mut self, key: &str) -> &'n [Node] {
        let Some(node) = self.get(key) else {
            return &[];
        };
        if node.as_list().is_none() {
            self.wrong(key, node, "a list");
        }
        node.as_list().unwrap_or_default()
    }

    pub(super) fn map(&mut self, key: &str) -> &'n [crate::node::Entry] {
        let Some(node) = self.get(key) else {
            return &[];
        };
        if node.as_map().is_none() {
            self.wrong(key, node, "a map");
        }
        node.as_map().unwrap_or_default()
    }
}
