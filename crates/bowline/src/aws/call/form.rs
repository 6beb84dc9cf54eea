//! Requests of the query protocols: an input as the pairs of a form.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bowline_services::{Operation, Protocol, Scalar, Service, Shape, ShapeId, TimeFormat};
use serde_json::{Map, Value};

use super::wire::{DEPTH_LIMIT, Draft, escaped, scalar};

/// The request of a call.
pub(super) fn draft(service: &Service, operation: &Operation, input: &Map<String, Value>) -> Draft {
    let mut pairs = vec![
        ("Action".to_owned(), operation.name.clone()),
        ("Version".to_owned(), service.meta.api_version.clone()),
    ];
    if let Some(id) = operation.input {
        let writer = Writer {
            service,
            is_ec2: service.meta.protocol == Protocol::Ec2,
        };
        let input = Value::Object(input.clone());
        writer.value(String::new(), id, &input, false, 0, &mut pairs);
    }
    let mut body = String::new();
    for (name, value) in pairs {
        if !body.is_empty() {
            body.push('&');
        }
        body.push_str(&escaped(&name, false));
        body.push('=');
        body.push_str(&escaped(&value, false));
    }
    Draft {
        method: "POST".to_owned(),
        path: "/".to_owned(),
        headers: vec![(
            "content-type".to_owned(),
            "application/x-www-form-urlencoded; charset=utf-8".to_owned(),
        )],
        body: body.into_bytes(),
    }
}

struct Writer<'s> {
    service: &'s Service,
    is_ec2: bool,
}

impl Writer<'_> {
    fn value(
        &self,
        prefix: String,
        id: ShapeId,
        value: &Value,
        is_flat: bool,
        depth: usize,
        pairs: &mut Vec<(String, String)>,
    ) {
        if depth > DEPTH_LIMIT || value.is_null() {
            return;
        }
        match (self.service.shape(id), value) {
            (Shape::Structure { members, .. }, Value::Object(fields)) => {
                for member in members {
                    let Some(value) = fields.get(&member.name) else {
                        continue;
                    };
                    let wire = match &member.query_name {
                        Some(name) if self.is_ec2 => name.clone(),
                        _ => self.name(member.wire.as_ref().unwrap_or(&member.name)),
                    };
                    let path = joined(&prefix, &wire);
                    let flat = member.is_flattened;
                    self.value(path, member.shape, value, flat, depth + 1, pairs);
                }
            }
            (
                Shape::List {
                    member,
                    wire,
                    is_flattened,
                },
                Value::Array(items),
            ) => {
                if items.is_empty() && !self.is_ec2 {
                    return pairs.push((prefix, String::new()));
                }
                let path = match wire {
                    _ if self.is_ec2 => prefix,
                    Some(wire) if is_flat || *is_flattened => match prefix.rsplit_once('.') {
                        Some((parent, _)) => joined(parent, wire),
                        None => wire.clone(),
                    },
                    None if is_flat || *is_flattened => prefix,
                    wire => joined(&prefix, wire.as_deref().unwrap_or("member")),
                };
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{path}.{}", index + 1);
                    self.value(path, *member, item, false, depth + 1, pairs);
                }
            }
            (
                Shape::Map {
                    key,
                    value: inner,
                    key_wire,
                    value_wire,
                    is_flattened,
                },
                Value::Object(fields),
            ) => {
                let path = match is_flat || *is_flattened {
                    true => prefix,
                    false => joined(&prefix, "entry"),
                };
                let (key_wire, value_wire) = (
                    key_wire.as_deref().unwrap_or("key"),
                    value_wire.as_deref().unwrap_or("value"),
                );
                for (index, (name, value)) in fields.iter().enumerate() {
                    let entry = format!("{path}.{}", index + 1);
                    let name = Value::from(name.as_str());
                    let at = |wire: &str| format!("{entry}.{wire}");
                    self.value(at(key_wire), *key, &name, false, depth + 1, pairs);
                    self.value(at(value_wire), *inner, value, false, depth + 1, pairs);
                }
            }
            (Shape::Scalar(Scalar::Blob), Value::String(text)) => {
                pairs.push((prefix, BASE64.encode(text)));
            }
            (_, value) => {
                let text = scalar(self.service, id, value, TimeFormat::Iso8601);
                pairs.push((prefix, text));
            }
        }
    }

    /// EC2's names begin with a capital.
    fn name(&self, wire: &str) -> String {
        let mut letters = wire.chars();
        match letters.next() {
            Some(first) if self.is_ec2 => first.to_uppercase().chain(letters).collect(),
            _ => wire.to_owned(),
        }
    }
}

fn joined(prefix: &str, name: &str) -> String {
    match prefix.is_empty() {
        true => name.to_owned(),
        false => format!("{prefix}.{name}"),
    }
}
