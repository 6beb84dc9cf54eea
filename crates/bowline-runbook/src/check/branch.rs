//! Branches: choices, conditions, and the types on both sides of an operator.

use bowline_services::nearest;

use super::Checker;
use super::inputs::is_status_code;
use super::typing::{Static, static_type, type_of};
use crate::document::Step;
use crate::engine::condition::OPERATORS;
use crate::node::{Entry, Kind, Node};
use crate::reference::whole;

/// Conditions within each other.
const DEPTH_LIMIT: usize = 16;

impl Checker<'_> {
    pub(super) fn branch(&mut self, step: &Step) {
        let Some(node) = step.input("Choices") else {
            return;
        };
        let Some(choices) = node.as_list().filter(|list| !list.is_empty()) else {
            self.error(
                20,
                node.span,
                step,
                "Choices is a list with at least one choice",
            );
            return;
        };
        for choice in choices {
            if choice.get("NextStep").and_then(Node::as_str).is_none() {
                self.error(20, choice.span, step, "a choice needs a NextStep");
            }
            self.condition(step, choice, 0);
        }
    }

    pub(super) fn condition(&mut self, step: &Step, node: &Node, depth: usize) {
        let Some(entries) = node.as_map() else {
            self.error(
                20,
                node.span,
                step,
                format!("a condition is a map, and this is {}", node.noun()),
            );
            return;
        };
        if depth > DEPTH_LIMIT {
            self.error(20, node.span, step, "conditions are nested too deeply");
            return;
        }
        let parts: Vec<&Entry> = entries.iter().filter(|it| it.key != "NextStep").collect();
        match &parts[..] {
            [only] if is_logical(only) => self.logical(step, only, depth),
            [_, _, ..] if parts.iter().all(|part| is_logical(part)) => {
                self.warn(
                    20,
                    node.span,
                    step,
                    "a condition is one of And, Or and Not; several together are not documented",
                )
                .suggest("put them into a list under And");
                parts
                    .iter()
                    .for_each(|part| self.logical(step, part, depth));
            }
            _ => self.comparison(step, node, &parts),
        }
    }

    fn logical(&mut self, step: &Step, entry: &Entry, depth: usize) {
        match (&entry.value.kind, entry.key.as_str()) {
            (Kind::List(list), "And" | "Or") if !list.is_empty() => {
                list.iter()
                    .for_each(|it| self.condition(step, it, depth + 1));
            }
            (Kind::Map(_), "Not") => self.condition(step, &entry.value, depth + 1),
            (Kind::Map(_), name) => {
                self.warn(
                    20,
                    entry.value.span,
                    step,
                    format!("{name} takes a list of conditions, and this is one"),
                )
                .suggest("write it as a list");
                self.condition(step, &entry.value, depth + 1);
            }
            (_, name) => {
                let wanted = if name == "Not" {
                    "a condition"
                } else {
                    "a list of conditions"
                };
                self.error(20, entry.value.span, step, format!("{name} takes {wanted}"));
            }
        }
    }

    fn comparison(&mut self, step: &Step, node: &Node, parts: &[&Entry]) {
        let variable = parts.iter().find(|it| it.key == "Variable");
        let operators: Vec<&&Entry> = parts.iter().filter(|it| it.key != "Variable").collect();
        let (Some(variable), [operator]) = (variable, &operators[..]) else {
            self.error(
                20,
                node.span,
                step,
                "a condition is a Variable and one operator, or one of And, Or, Not",
            );
            return;
        };
        let Some((name, family)) = OPERATORS.iter().find(|(name, _)| *name == operator.key) else {
            let near = nearest(&operator.key, OPERATORS.map(|it| it.0));
            let suggestion = near.map(|near| format!("did you mean {near}?"));
            self.error(
                20,
                operator.key_span,
                step,
                format!("there is no operator {}", operator.key),
            )
            .suggestion = suggestion;
            return;
        };
        let wanted = Static::Known(*family);
        let reference = variable.value.as_str().and_then(whole);
        let is = match &reference {
            Some(reference) => type_of(self.document, reference),
            None => static_type(self.document, &variable.value),
        };
        if is != wanted && is != Static::Unknown {
            let what = reference
                .as_ref()
                .map_or_else(|| "the variable".to_owned(), ToString::to_string);
            let message = format!("{name} needs a {family}, and {what} is a {}", is.name());
            let status_code = reference
                .as_ref()
                .is_some_and(|it| is_status_code(self.document, it));
            let finding = self.error(22, variable.value.span, step, message);
            match status_code {
                true => finding.suggest(
                    "Lambda's StatusCode is a String: compare it with StringEquals: '200'",
                ),
                false => {
                    finding.suggest(format!("compare a {} with an operator for it", is.name()));
                }
            }
        }
        let other = static_type(self.document, &operator.value);
        if other != wanted && other != Static::Unknown {
            let message = format!(
                "{name} compares with a {family}, and this is a {}",
                other.name()
            );
            let suggestion = match (*family, operator.value.as_str()) {
                (crate::Type::Integer | crate::Type::Boolean, Some(text))
                    if whole(text).is_none() =>
                {
                    Some("take the quotes away")
                }
                (crate::Type::String, None) => Some("put quotes around it"),
                _ => None,
            };
            self.error(22, operator.value.span, step, message)
                .suggestion = suggestion.map(str::to_owned);
        }
    }
}

fn is_logical(entry: &Entry) -> bool {
    matches!(entry.key.as_str(), "And" | "Or" | "Not")
}
