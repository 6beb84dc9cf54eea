//! What steps wait for: selectors, and values that can or cannot come.

use bowline_services::{Scalar, Service, Shape, ShapeId};

use super::Checker;
use super::api::Called;
use super::inputs::literal;
use super::outputs::{Seen, walk};
use crate::action::Action;
use crate::document::Step;
use crate::node::{Kind, Node};
use crate::selector::{Selector, Step as Part};
use crate::value::decimal;

impl Checker<'_> {
    pub(super) fn desired(&mut self, step: &Step, call: Option<&Called>) {
        let selected = self.property(step, call);
        let Some(node) = step.input("DesiredValues") else {
            return;
        };
        let values = match &node.kind {
            Kind::List(values) if !values.is_empty() => values,
            Kind::List(_) => {
                self.error(23, node.span, step, "DesiredValues has no values");
                return;
            }
            // A reference to a list is one.
            Kind::Text(text) if crate::reference::whole(text).is_some() => return,
            _ => {
                self.error(
                    23,
                    node.span,
                    step,
                    format!("DesiredValues has to be a list, and is {}", node.noun()),
                )
                .suggest("write a list, even for one value");
                return;
            }
        };
        for value in values {
            if !matches!(value.kind, Kind::Text(_)) {
                let text = crate::value::comparable(&value.value()).unwrap_or_default();
                self.warn(
                    25,
                    value.span,
                    step,
                    format!("a desired value is a string, and this is {}", value.noun()),
                )
                .suggest(format!("write '{text}'"));
            }
        }
        if let (Some(id), Some(call)) = (selected, call) {
            for value in values {
                self.possible(step, call.service, id, value);
            }
        }
        if step.action == Some(Action::WaitForAwsResourceProperty) {
            self.final_values(step, call, selected, values);
        }
    }

    /// The shape that PropertySelector selects.
    fn property(&mut self, step: &Step, call: Option<&Called>) -> Option<ShapeId> {
        let node = step.input("PropertySelector")?;
        let selector = match Selector::parse(literal(node)?) {
            Ok(selector) => selector,
            Err((message, _)) => {
                self.error(34, node.span, step, format!("PropertySelector: {message}"));
                return None;
            }
        };
        let call = call?;
        match walk(call.service, call.operation.output?, &selector) {
            Seen::Shape(id) => Some(id),
            Seen::Open => None,
            Seen::Missing { name, near } => {
                let message = format!("the answer of {} has no {name} there", call.operation.name);
                self.warn(33, node.span, step, message).suggestion =
                    near.map(|near| format!("did you mean {near}?"));
                None
            }
        }
    }

    /// RB024.
    fn possible(&mut self, step: &Step, service: &Service, id: ShapeId, value: &Node) {
        let Some(text) = literal(value) else { return };
        match service.shape(id) {
            Shape::Scalar(Scalar::Boolean) if text != "True" && text != "False" => {
                let message =
                    format!("a boolean is compared as True or False, and can never be {text}");
                let finding = self.error(24, value.span, step, message);
                match text.to_ascii_lowercase().as_str() {
                    "true" => finding.suggest("write 'True'"),
                    "false" => finding.suggest("write 'False'"),
                    _ => {}
                }
            }
            Shape::Scalar(Scalar::Integer | Scalar::Long)
                if decimal(text).is_none_or(|it| it.to_string() != text) =>
            {
                let message =
                    format!("a number is compared by its decimal digits, and can never be {text}");
                self.error(24, value.span, step, message);
            }
            Shape::Enum(known) => {
                let exact = known.iter().any(|it| it == text);
                let alike = known.iter().find(|it| it.eq_ignore_ascii_case(text));
                if exact {
                    return;
                }
                let message =
                    format!("{text} is not among the values that the service's model lists");
                let suggestion = match alike {
                    Some(alike) => format!("case counts, and the model writes {alike}"),
                    None => format!("it lists {}", known.join(", ")),
                };
                // Only a value in another case is likely a mistake that nobody means.
                self.warn(24, value.span, step, message).suggest(suggestion);
            }
            Shape::List { .. } if text != "[]" => {
                self.warn(
                    24,
                    value.span,
                    step,
                    "a list is compared as Python prints it; only [] makes sense",
                )
                .suggest("select one element, or all with [*]");
            }
            Shape::Structure { .. } | Shape::Map { .. } => {
                self.error(24, value.span, step, "a map is never equal to anything")
                    .suggest("select a member of it");
            }
            _ => {}
        }
    }

    /// RB026.
    fn final_values(
        &mut self,
        step: &Step,
        call: Option<&Called>,
        selected: Option<ShapeId>,
        values: &[Node],
    ) {
        let Some(node) = step.input("PropertySelector") else {
            return;
        };
        let Some(Ok(selector)) = literal(node).map(Selector::parse) else {
            return;
        };
        let last = selector.steps.iter().rev().find_map(|part| match part {
            Part::Name(name) | Part::Deep(Some(name)) => Some(name.as_str()),
            _ => None,
        });
        let desired: Vec<&str> = values.iter().filter_map(literal).collect();
        let wanted = desired.join(", ");
        if last.is_some_and(|name| name.eq_ignore_ascii_case("exitCode")) {
            let message = format!(
                "an exit code other than {wanted} is final and does not end the wait: the step runs into its timeout"
            );
            self.warn(26, node.span, step, message).suggest(
                "wait for lastStatus STOPPED, declare the exit code as an output, and branch on it",
            );
            return;
        }
        let (Some(id), Some(call)) = (selected, call) else {
            return;
        };
        let Shape::Enum(known) = call.service.shape(id) else {
            return;
        };
        let bad: Vec<&str> = known
            .iter()
            .map(String::as_str)
            .filter(|it| it.to_ascii_lowercase().contains("fail") && !desired.contains(it))
            .collect();
        if !bad.is_empty() {
            let message = format!(
                "{} does not end the wait for {wanted}: the step runs into its timeout",
                bad.join(", ")
            );
            self.warn(26, node.span, step, message)
                .suggest("list the failed values as well and branch on the result, or set a short timeoutSeconds");
        }
    }
}
