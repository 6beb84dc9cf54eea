//! Declared outputs: selectors over the shapes of answers, and types that can or cannot come out.

use bowline_services::{Scalar, Service, Shape, ShapeId, nearest};

use super::Checker;
use super::api::Called;
use super::typing::output_type;
use crate::action::Action;
use crate::document::{OutputDeclaration, Step};
use crate::finding::Severity;
use crate::reference::Reference;
use crate::selector::{Selector, Step as Part};
use crate::value::Type;

/// What a selector meets in a shape.
pub(super) enum Seen {
    /// It ends at this shape.
    Shape(ShapeId),
    /// It cannot be followed: filters, wildcards, documents.
    Open,
    /// There is no such member.
    Missing { name: String, near: Option<String> },
}

/// Follows a selector through the shape of an answer.
pub(super) fn walk(service: &Service, root: ShapeId, selector: &Selector) -> Seen {
    let mut id = root;
    for (index, part) in selector.steps.iter().enumerate() {
        match (part, service.shape(id)) {
            // Every answer has it besides what the model says.
            (Part::Name(name), _) if index == 0 && name == "ResponseMetadata" => return Seen::Open,
            (Part::Name(name), shape @ Shape::Structure { members, .. }) => {
                match shape.member(name) {
                    Some(member) => id = member.shape,
                    None => {
                        return Seen::Missing {
                            name: name.clone(),
                            near: nearest(name, members.iter().map(|it| it.name.as_str()))
                                .map(str::to_owned),
                        };
                    }
                }
            }
            (Part::Name(_), Shape::Map { value, .. }) => id = *value,
            (Part::Index(_), Shape::List { member, .. }) => id = *member,
            (Part::Name(_) | Part::Index(_), Shape::Scalar(Scalar::Document | Scalar::Unknown)) => {
                return Seen::Open;
            }
            (Part::Name(name), _) => {
                return Seen::Missing {
                    name: name.clone(),
                    near: None,
                };
            }
            (Part::Index(index), _) => {
                return Seen::Missing {
                    name: format!("list for [{index}]"),
                    near: None,
                };
            }
            _ => return Seen::Open,
        }
    }
    Seen::Shape(id)
}

impl Checker<'_> {
    pub(super) fn declared_outputs(&mut self, step: &Step, call: Option<&Called>) {
        for output in &step.outputs {
            let selector = match Selector::parse(&output.selector.name) {
                Ok(selector) => selector,
                Err(_) if output.selector.name.contains("${") => {
                    let message = "the selector has a placeholder in it: fill in the template before it is checked";
                    self.warn(34, output.selector.span, step, message);
                    continue;
                }
                Err((message, _)) => {
                    self.error(34, output.selector.span, step, message);
                    continue;
                }
            };
            match (step.action, call) {
                (Some(Action::InvokeLambdaFunction), _) => {
                    self.lambda_output(step, output, &selector);
                }
                (_, Some(call)) => self.answered(step, output, &selector, call),
                _ => {}
            }
        }
    }

    fn answered(
        &mut self,
        step: &Step,
        output: &OutputDeclaration,
        selector: &Selector,
        call: &Called,
    ) {
        let Called { service, operation } = *call;
        let Some(root) = operation.output else { return };
        match walk(service, root, selector) {
            Seen::Open => {}
            Seen::Missing { name, near } => {
                let message = format!(
                    "the answer of {} has no {name} there; {} will have no value",
                    operation.name, output.name.name
                );
                self.warn(33, output.selector.span, step, message)
                    .suggestion = near.map(|near| format!("did you mean {near}?"));
            }
            Seen::Shape(id) => {
                let shape = service.shape(id);
                if !becomes(service, shape, output.kind) {
                    let noun = super::api::noun(service, id);
                    let message = format!(
                        "{} is a {noun}, which cannot become a {}",
                        output.selector.name, output.kind
                    );
                    let span = output.kind_span.unwrap_or(output.name.span);
                    self.warn(40, span, step, message)
                        .suggest(format!("declare Type: {noun}"));
                }
            }
        }
    }

    /// The author's trap: StatusCode is no Integer, and not part of what selectors look at.
    fn lambda_output(&mut self, step: &Step, output: &OutputDeclaration, selector: &Selector) {
        let first = match selector.steps.first() {
            Some(Part::Name(name)) => name.as_str(),
            _ => return,
        };
        let span = output.kind_span.unwrap_or(output.selector.span);
        if first == "StatusCode" && selector.steps.len() == 1 && output.kind != Type::String {
            let message = format!(
                "Lambda's StatusCode is a String (\"200\"), not a {}: comparing it as one fails at run time",
                output.kind
            );
            let suggestion = format!(
                "declare Type: String, or use {{{{ {}.StatusCode }}}} without declaring it, and compare with StringEquals: '200'",
                step.name.name
            );
            self.error(40, span, step, message).suggest(suggestion);
        }
    }

    /// RB041.
    pub(super) fn document_outputs(&mut self) {
        for named in &self.document.outputs {
            let text = named
                .name
                .trim()
                .trim_start_matches("{{")
                .trim_end_matches("}}");
            let (step, output) = match Reference::parse(text) {
                Some(Reference::Output { step, output }) => (step, output),
                Some(Reference::Variable(name)) if self.document.variable(&name).is_some() => {
                    continue;
                }
                _ => {
                    let message = format!("{} is not step.Output", named.name);
                    self.say(Severity::Warning, 41, named.span, None, message);
                    continue;
                }
            };
            let Some(found) = self.document.step(&step) else {
                let near = nearest(&step, self.graph.names.iter().map(String::as_str));
                let suggestion = near.map(|near| format!("did you mean {near}?"));
                let message = format!("there is no step {step}");
                self.say(Severity::Error, 41, named.span, None, message)
                    .suggestion = suggestion;
                continue;
            };
            if found.action.is_some() && output_type(found, &output).is_none() {
                let message = format!("the step {step} has no output {output}");
                self.say(Severity::Warning, 41, named.span, None, message);
            }
        }
    }
}

/// Whether a value of a shape can be converted to a type.
fn becomes(service: &Service, shape: &Shape, to: Type) -> bool {
    match shape {
        Shape::Enum(_) => !matches!(
            to,
            Type::Integer | Type::StringMap | Type::MapList | Type::Boolean
        ),
        // Texts may hold digits or JSON.
        Shape::Scalar(
            Scalar::String
            | Scalar::Timestamp(_)
            | Scalar::Blob
            | Scalar::Document
            | Scalar::Unknown,
        ) => true,
        Shape::Scalar(Scalar::Integer | Scalar::Long) => {
            matches!(to, Type::Integer | Type::String | Type::StringList)
        }
        Shape::Scalar(Scalar::Double) => {
            matches!(to, Type::Integer | Type::String | Type::StringList)
        }
        Shape::Scalar(Scalar::Boolean) => {
            matches!(to, Type::Boolean | Type::String | Type::StringList)
        }
        Shape::Structure { .. } | Shape::Map { .. } => {
            matches!(to, Type::StringMap | Type::String | Type::MapList)
        }
        Shape::List { member, .. } => match service.shape(*member) {
            Shape::Structure { .. } | Shape::Map { .. } => {
                matches!(to, Type::MapList | Type::StringList | Type::String)
            }
            inner => match to {
                Type::MapList | Type::StringMap => false,
                Type::StringList | Type::String => true,
                _ => becomes(service, inner, to),
            },
        },
    }
}
