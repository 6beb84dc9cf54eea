//! Inputs of an operation against the service's model.

use bowline_services::{Operation, Scalar, Service, Shape, ShapeId, TimeFormat, find};

use super::Checker;
use super::typing::{Static, static_type, type_of};
use crate::document::Step;
use crate::node::{Kind, Node};
use crate::reference::{Reference, references, whole};
use crate::source::Span;
use crate::value::Type;

/// Levels of an input that are looked at; shapes may hold themselves.
const DEPTH_LIMIT: usize = 32;
/// What steps that wait have besides the operation's members.
const OWN: [&str; 4] = ["Service", "Api", "PropertySelector", "DesiredValues"];

/// The operation that a step calls.
pub(crate) struct Called {
    pub(crate) service: &'static Service,
    pub(crate) operation: &'static Operation,
}

/// Why the operation of a step is not known.
pub(crate) enum NotCalled {
    /// It is another action, an input is missing, or a reference decides.
    Open,
    Service(String, Option<String>),
    Operation(&'static Service, String),
}

/// The operation that a step's inputs name.
pub(crate) fn called(step: &Step) -> Result<Called, NotCalled> {
    let literal = |name: &str| {
        let text = step.input(name)?.as_str()?;
        references(text).is_empty().then_some(text)
    };
    if !step.action.is_some_and(|action| action.calls_api()) {
        return Err(NotCalled::Open);
    }
    let Some(name) = literal("Service") else {
        return Err(NotCalled::Open);
    };
    let service = find(name).map_err(|unknown| {
        let suggestion = match unknown.several[..] {
            [] => unknown.nearest.map(|near| format!("did you mean {near}?")),
            _ => Some(format!("it is one of {}", unknown.several.join(", "))),
        };
        NotCalled::Service(name.to_owned(), suggestion)
    })?;
    let Some(api) = literal("Api") else {
        return Err(NotCalled::Open);
    };
    match service.operation(api) {
        Some(operation) => Ok(Called { service, operation }),
        None => Err(NotCalled::Operation(service, api.to_owned())),
    }
}

/// What a shape takes, in the words of runbooks.
pub(crate) fn noun(service: &Service, id: ShapeId) -> String {
    match service.shape(id) {
        Shape::Enum(_) => "String".to_owned(),
        Shape::Structure { .. } | Shape::Map { .. } => "StringMap".to_owned(),
        Shape::List { member, .. } => match service.shape(*member) {
            Shape::Structure { .. } | Shape::Map { .. } => "MapList".to_owned(),
            Shape::Scalar(Scalar::String) | Shape::Enum(_) => "StringList".to_owned(),
            _ => format!("list of {}", noun(service, *member)),
        },
        Shape::Scalar(scalar) => match scalar {
            Scalar::String => "String",
            Scalar::Integer | Scalar::Long => "Integer",
            Scalar::Boolean => "Boolean",
            Scalar::Double => "Double",
            Scalar::Timestamp(_) => "String (a time)",
            Scalar::Blob => "String (bytes)",
            Scalar::Document | Scalar::Unknown => "any",
        }
        .to_owned(),
    }
}

impl Checker<'_> {
    /// RB030 to RB032: the call of a step.
    pub(super) fn call(&mut self, step: &Step) -> Option<Called> {
        let span = |name: &str| step.input(name).map_or(step.name.span, |node| node.span);
        let call = match called(step) {
            Ok(call) => call,
            Err(NotCalled::Open) => return None,
            Err(NotCalled::Service(name, suggestion)) => {
                let message = format!("there is no service {name}");
                self.error(30, span("Service"), step, message).suggestion = suggestion;
                return None;
            }
            Err(NotCalled::Operation(service, name)) => {
                let near = service.nearest_operation(&name);
                let suggestion = near.map(|near| format!("did you mean {near}?"));
                let message = format!("{} has no operation {name}", service.name);
                self.error(30, span("Api"), step, message).suggestion = suggestion;
                return None;
            }
        };
        if call.operation.is_streaming {
            let message = format!(
                "{} streams, which a runbook cannot call",
                call.operation.name
            );
            self.error(32, span("Api"), step, message);
        }
        self.members(step, &call);
        Some(call)
    }

    fn members(&mut self, step: &Step, call: &Called) {
        let Called { service, operation } = *call;
        let own: &[&str] = match step.action {
            Some(crate::Action::ExecuteAwsApi) => &["Service", "Api"],
            _ => &OWN,
        };
        let given = step
            .inputs
            .iter()
            .filter(|entry| !own.contains(&entry.key.as_str()));
        let Some(input) = operation.input else {
            for entry in given {
                let message = format!("{} takes no input {}", operation.name, entry.key);
                self.error(31, entry.key_span, step, message);
            }
            return;
        };
        let shape = service.shape(input);
        for entry in given {
            match shape.member(&entry.key) {
                Some(member) => {
                    let path = format!("{}.{}", operation.name, entry.key);
                    self.fits(step, service, &entry.value, member.shape, &path, 0);
                }
                None => {
                    self.unknown_member(step, shape, &operation.name, &entry.key, entry.key_span);
                }
            }
        }
        for member in shape
            .members()
            .iter()
            .filter(|it| it.is_required && !it.is_token)
        {
            if own.contains(&member.name.as_str()) {
                let message = format!(
                    "{} needs its own {}, which a runbook cannot give",
                    operation.name, member.name
                );
                self.error(31, step.name.span, step, message);
            } else if step.input(&member.name).is_none() {
                let message = format!("{} needs {}", operation.name, member.name);
                let span = step.input("Api").map_or(step.name.span, |node| node.span);
                self.error(31, span, step, message).suggest(format!(
                    "add {}: a {}",
                    member.name,
                    noun(service, member.shape)
                ));
            }
        }
    }

    fn unknown_member(&mut self, step: &Step, shape: &Shape, path: &str, name: &str, span: Span) {
        let mut members = shape.members().iter();
        if name == "SourceRegion" && members.any(|it| it.name == "PreSignedUrl") {
            let message = format!("{path} has no member SourceRegion of the service");
            self.warn(31, span, step, message)
                .suggest("the SDKs make a PreSignedUrl of it, which a local run does not; `bowline runbook submit` lets the service run it");
            return;
        }
        let near = shape
            .nearest_member(name)
            .map(|near| format!("did you mean {near}?"));
        let names: Vec<&str> = shape
            .members()
            .iter()
            .map(|it| it.name.as_str())
            .take(12)
            .collect();
        let suggestion = near.unwrap_or_else(|| format!("it has {}", names.join(", ")));
        self.error(31, span, step, format!("{path} has no member {name}"))
            .suggest(suggestion);
    }

    fn fits(
        &mut self,
        step: &Step,
        service: &Service,
        node: &Node,
        id: ShapeId,
        path: &str,
        depth: usize,
    ) {
        if depth > DEPTH_LIMIT || node.is_null() {
            return;
        }
        if let Some(reference) = node.as_str().and_then(whole) {
            let is = type_of(self.document, &reference);
            if !accepts(service, id, is) {
                self.mismatch(step, node.span, path, &noun(service, id), is, &reference);
            }
            return;
        }
        match (service.shape(id), &node.kind) {
            (
                Shape::Structure {
                    members, is_union, ..
                },
                Kind::Map(entries),
            ) => {
                let shape = service.shape(id);
                for entry in entries {
                    let path = format!("{path}.{}", entry.key);
                    match shape.member(&entry.key) {
                        Some(member) => {
                            self.fits(step, service, &entry.value, member.shape, &path, depth + 1);
                        }
                        None => self.unknown_member(
                            step,
                            shape,
                            path.rsplit_once('.').map_or("", |it| it.0),
                            &entry.key,
                            entry.key_span,
                        ),
                    }
                }
                let missing = members
                    .iter()
                    .filter(|it| it.is_required && !it.is_token && !is_union);
                for member in missing.filter(|it| node.get(&it.name).is_none()) {
                    let message = format!("{path} needs {}", member.name);
                    self.error(31, node.span, step, message);
                }
            }
            (Shape::Map { value, .. }, Kind::Map(entries)) => {
                for entry in entries {
                    let path = format!("{path}.{}", entry.key);
                    self.fits(step, service, &entry.value, *value, &path, depth + 1);
                }
            }
            (Shape::List { member, .. }, Kind::List(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.element(
                        step,
                        service,
                        item,
                        id,
                        *member,
                        &format!("{path}[{index}]"),
                        depth,
                    );
                }
            }
            (_, _) if accepts(service, id, static_type(self.document, node)) => {}
            _ => {
                let message = format!(
                    "{path} takes a {}, and this is {}",
                    noun(service, id),
                    node.noun()
                );
                self.error(31, node.span, step, message).suggestion = mend(service, id, node);
            }
        }
    }

    /// An element of a list, where a reference to a list gives its elements.
    #[expect(
        clippy::too_many_arguments,
        reason = "one place of a walk over two trees"
    )]
    fn element(
        &mut self,
        step: &Step,
        service: &Service,
        node: &Node,
        list: ShapeId,
        member: ShapeId,
        path: &str,
        depth: usize,
    ) {
        if let Some(reference) = node.as_str().and_then(whole) {
            let is = type_of(self.document, &reference);
            let spliced = matches!(is, Static::Known(Type::StringList | Type::MapList));
            let fits = accepts(service, member, is) || (spliced && accepts(service, list, is));
            if !fits {
                self.mismatch(
                    step,
                    node.span,
                    path,
                    &noun(service, member),
                    is,
                    &reference,
                );
            }
            return;
        }
        self.fits(step, service, node, member, path, depth + 1);
    }

    /// RB021.
    pub(super) fn mismatch(
        &mut self,
        step: &Step,
        span: Span,
        path: &str,
        wanted: &str,
        is: Static,
        reference: &Reference,
    ) {
        let message = format!(
            "{path} takes a {wanted}, and {reference} is a {}",
            is.name()
        );
        let suggestion = mend_reference(wanted, is, reference);
        self.error(21, span, step, message).suggest(suggestion);
    }
}

/// How a reference of the wrong type is mended.
fn mend_reference(wanted: &str, is: Static, reference: &Reference) -> String {
    match (reference, is) {
        (_, Static::Known(Type::String)) if wanted == "StringList" => {
            format!("write a list: [\"{{{{ {reference} }}}}\"]")
        }
        (Reference::Output { .. }, _) => format!("declare the output with Type: {wanted}"),
        (Reference::Parameter(name), _) => {
            format!("declare the parameter {name} with type: {wanted}")
        }
        (Reference::Variable(name), _) => {
            format!("declare the variable {name} with type: {wanted}")
        }
        _ => "nothing is converted in inputs".to_owned(),
    }
}

fn mend(service: &Service, id: ShapeId, node: &Node) -> Option<String> {
    match (service.shape(id), &node.kind) {
        (
            Shape::Scalar(Scalar::String) | Shape::Enum(_),
            Kind::Integer(_) | Kind::Float(_) | Kind::Boolean(_),
        ) => Some("put quotes around it".to_owned()),
        (
            Shape::Scalar(Scalar::Integer | Scalar::Long | Scalar::Boolean | Scalar::Double),
            Kind::Text(_),
        ) => Some("take the quotes away".to_owned()),
        (Shape::List { .. }, _) => Some("write a list".to_owned()),
        (Shape::Scalar(Scalar::String), Kind::List(_)) => {
            Some("write the one value without the list".to_owned())
        }
        _ => None,
    }
}

/// Whether a value of a type can stand for a shape.
fn accepts(service: &Service, id: ShapeId, is: Static) -> bool {
    let Static::Known(kind) = is else {
        return match is {
            Static::Double => matches!(
                service.shape(id),
                Shape::Scalar(
                    Scalar::Double | Scalar::Timestamp(_) | Scalar::Document | Scalar::Unknown
                )
            ),
            Static::List => matches!(
                service.shape(id),
                Shape::List { .. } | Shape::Scalar(Scalar::Document | Scalar::Unknown)
            ),
            _ => true,
        };
    };
    match service.shape(id) {
        Shape::Enum(_) => kind == Type::String,
        Shape::Structure { .. } | Shape::Map { .. } => kind == Type::StringMap,
        Shape::List { member, .. } => match kind {
            Type::StringList => accepts(service, *member, Static::Known(Type::String)),
            Type::MapList => accepts(service, *member, Static::Known(Type::StringMap)),
            _ => false,
        },
        Shape::Scalar(scalar) => match scalar {
            Scalar::String | Scalar::Blob => kind == Type::String,
            Scalar::Integer | Scalar::Long => kind == Type::Integer,
            Scalar::Boolean => kind == Type::Boolean,
            Scalar::Double => kind == Type::Integer,
            Scalar::Timestamp(
                TimeFormat::Protocol | TimeFormat::Iso8601 | TimeFormat::Unix | TimeFormat::Http,
            ) => {
                matches!(kind, Type::String | Type::Integer)
            }
            Scalar::Document | Scalar::Unknown => true,
        },
    }
}
