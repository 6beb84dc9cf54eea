//! Values of a call against the service's model, as the Python SDK does it before it sends anything.

use bowline_services::{Operation, Scalar, Service, Shape, ShapeId};
use serde_json::{Map, Value};

use crate::value::{integer, type_name};

/// Levels that are looked at; shapes may hold themselves.
const DEPTH_LIMIT: usize = 64;

/// The problems of an input, one line each.
pub(crate) fn problems(
    service: &Service,
    operation: &Operation,
    input: &Map<String, Value>,
) -> Vec<String> {
    let mut found = Vec::new();
    match operation.input {
        Some(id) => value(
            service,
            id,
            &Value::Object(input.clone()),
            &operation.name,
            0,
            &mut found,
        ),
        None if !input.is_empty() => found.push(format!("{} takes no input", operation.name)),
        None => {}
    }
    found
}

fn value(
    service: &Service,
    id: ShapeId,
    given: &Value,
    path: &str,
    depth: usize,
    found: &mut Vec<String>,
) {
    if depth > DEPTH_LIMIT || given.is_null() {
        return;
    }
    let mut wrong = |wanted: &str| {
        found.push(format!(
            "{path} takes a {wanted}, and this is a {}",
            type_name(given)
        ));
    };
    match (service.shape(id), given) {
        (
            Shape::Structure {
                members, is_union, ..
            },
            Value::Object(fields),
        ) => {
            for (name, inner) in fields {
                match members.iter().find(|member| member.name == *name) {
                    Some(member) => value(
                        service,
                        member.shape,
                        inner,
                        &format!("{path}.{name}"),
                        depth + 1,
                        found,
                    ),
                    None => found.push(format!("{path} has no member {name}")),
                }
            }
            for member in members
                .iter()
                .filter(|it| it.is_required && !it.is_token && !is_union)
            {
                if fields.get(&member.name).is_none_or(Value::is_null) {
                    found.push(format!("{path} needs {}", member.name));
                }
            }
        }
        (Shape::Structure { .. } | Shape::Map { .. }, _) if !given.is_object() => {
            wrong("StringMap");
        }
        (Shape::Map { value: inner, .. }, Value::Object(fields)) => {
            for (name, field) in fields {
                value(
                    service,
                    *inner,
                    field,
                    &format!("{path}.{name}"),
                    depth + 1,
                    found,
                );
            }
        }
        (Shape::List { member, .. }, Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                value(
                    service,
                    *member,
                    item,
                    &format!("{path}[{index}]"),
                    depth + 1,
                    found,
                );
            }
        }
        (Shape::List { .. }, _) => wrong("list"),
        (Shape::Enum(_) | Shape::Scalar(Scalar::String | Scalar::Blob), _)
            if !given.is_string() =>
        {
            wrong("String");
        }
        (Shape::Scalar(Scalar::Integer | Scalar::Long), _) if integer(given).is_none() => {
            wrong("Integer");
        }
        (Shape::Scalar(Scalar::Boolean), _) if !given.is_boolean() => wrong("Boolean"),
        (Shape::Scalar(Scalar::Double), _) if !given.is_number() => wrong("number"),
        (Shape::Scalar(Scalar::Timestamp(_)), _) if !given.is_string() && !given.is_number() => {
            wrong("time");
        }
        _ => {}
    }
}
