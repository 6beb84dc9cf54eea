//! Protocols by a service's model: what a call's input becomes on the wire, and its answer in the end.
//!
//! Input and output have the model's member names. Times are ISO 8601 text, bytes are text where they are UTF-8 and
//! base64 where they are not.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bowline_services::{
    Location, Member, Operation, Protocol, Scalar, Service, Shape, ShapeId, TimeFormat,
};
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{form, markup};

/// Shapes may hold themselves.
pub(super) const DEPTH_LIMIT: usize = 64;

/// A request before it has a host and a signature.
#[derive(Debug, PartialEq)]
pub(super) struct Draft {
    pub(super) method: String,
    /// With what follows the `?`.
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// The request of a call.
///
/// # Errors
/// What of the input does not fit; `check` and the run's own validation find it earlier.
pub(super) fn draft(
    service: &Service,
    operation: &Operation,
    input: &Map<String, Value>,
    token: &str,
) -> Result<Draft, String> {
    let input = with_tokens(service, operation, input, token);
    match service.meta.protocol {
        Protocol::Json => {
            let body = match operation.input {
                Some(id) => body_value(service, id, &Value::Object(input), 0),
                None => Value::Object(Map::new()),
            };
            let compatible = service
                .meta
                .is_query_compatible
                .then(|| ("x-amzn-query-mode".to_owned(), "true".to_owned()));
            Ok(Draft {
                method: "POST".to_owned(),
                path: "/".to_owned(),
                headers: [
                    (
                        "content-type".to_owned(),
                        format!("application/x-amz-json-{}", service.meta.json_version),
                    ),
                    (
                        "x-amz-target".to_owned(),
                        format!("{}.{}", service.meta.target_prefix, operation.name),
                    ),
                ]
                .into_iter()
                .chain(compatible)
                .collect(),
                body: body.to_string().into_bytes(),
            })
        }
        Protocol::RestJson | Protocol::RestXml => rest(service, operation, &input),
        Protocol::Query | Protocol::Ec2 => Ok(form::draft(service, operation, &input)),
        other => Err(format!(
            "{} speaks {other:?}, which is not spoken here yet",
            service.name
        )),
    }
}

fn with_tokens(
    service: &Service,
    operation: &Operation,
    input: &Map<String, Value>,
    token: &str,
) -> Map<String, Value> {
    let mut input = input.clone();
    let members = operation
        .input
        .map_or(&[][..], |id| service.shape(id).members());
    for member in members.iter().filter(|member| member.is_token) {
        input
            .entry(member.name.clone())
            .or_insert_with(|| token.into());
    }
    input
}

fn rest(
    service: &Service,
    operation: &Operation,
    input: &Map<String, Value>,
) -> Result<Draft, String> {
    let is_xml = service.meta.protocol == Protocol::RestXml;
    let shape = operation.input.map(|id| service.shape(id));
    let (members, payload) = match shape {
        Some(Shape::Structure {
            members, payload, ..
        }) => (members.as_slice(), payload.as_deref()),
        _ => (&[][..], None),
    };
    let (mut path, fixed) = match operation.uri.split_once('?') {
        Some((path, query)) => (path.to_owned(), query.to_owned()),
        None => (operation.uri.clone(), String::new()),
    };
    let mut query: Vec<String> = fixed
        .split('&')
        .filter(|it| !it.is_empty())
        .map(str::to_owned)
        .collect();
    let mut headers = Vec::new();
    let mut body = Map::new();
    for member in members {
        let Some(value) = input.get(&member.name).filter(|value| !value.is_null()) else {
            continue;
        };
        let wire = member.wire.as_deref().unwrap_or(&member.name);
        match member.location {
            Location::Uri => {
                let text = plain(service, member, value);
                // Route 53 answers ids as paths and takes them without.
                let text = match service.name {
                    "route53" => text.rsplit('/').next().unwrap_or_default(),
                    _ => text.as_str(),
                };
                path = fill(&path, wire, text)?;
            }
            Location::Query => pairs(service, member, wire, value, &mut query),
            Location::Header => {
                headers.push((wire.to_ascii_lowercase(), header(service, member, value)));
            }
            Location::Headers => {
                for (name, value) in value.as_object().into_iter().flatten() {
                    let text = value
                        .as_str()
                        .map_or_else(|| value.to_string(), str::to_owned);
                    headers.push((format!("{wire}{name}").to_ascii_lowercase(), text));
                }
            }
            Location::Status => {}
            Location::Body if payload == Some(member.name.as_str()) => {}
            Location::Body if is_xml => drop(body.insert(member.name.clone(), value.clone())),
            Location::Body => {
                drop(body.insert(wire.to_owned(), body_value(service, member.shape, value, 0)));
            }
        }
    }
    if let Some(open) = path.find('{') {
        let name = path
            .get(open + 1..)
            .and_then(|rest| rest.split(['}', '+']).next())
            .unwrap_or_default();
        return Err(format!(
            "{} needs {name}, which is part of its address",
            operation.name
        ));
    }
    let has_body = members.iter().any(|it| it.location == Location::Body);
    let (kind, body) = match payload.and_then(|name| members.iter().find(|it| it.name == name)) {
        Some(member) => match (input.get(&member.name), service.shape(member.shape)) {
            (None | Some(Value::Null), Shape::Structure { .. }) if !is_xml => {
                (Some("application/json"), b"{}".to_vec())
            }
            (None | Some(Value::Null), _) => (None, Vec::new()),
            (Some(Value::String(text)), Shape::Scalar(Scalar::Blob)) => {
                (Some("application/octet-stream"), text.clone().into_bytes())
            }
            (Some(Value::String(text)), Shape::Scalar(Scalar::String) | Shape::Enum(_)) => {
                (Some("text/plain"), text.clone().into_bytes())
            }
            (Some(value), _) if is_xml => {
                let root = member.wire.as_deref().unwrap_or(&member.name);
                (None, markup::body(service, root, member.shape, value))
            }
            (Some(value), _) => (
                Some("application/json"),
                body_value(service, member.shape, value, 0)
                    .to_string()
                    .into_bytes(),
            ),
        },
        None if is_xml => match operation.input.filter(|_| has_body && !body.is_empty()) {
            Some(id) => {
                let root = format!("{}Request", operation.name);
                let body = Value::Object(body);
                (None, markup::body(service, &root, id, &body))
            }
            None => (None, Vec::new()),
        },
        None if has_body => (
            Some("application/json"),
            Value::Object(body).to_string().into_bytes(),
        ),
        None => (None, Vec::new()),
    };
    if let Some(kind) = kind.filter(|_| !headers.iter().any(|it| it.0 == "content-type")) {
        headers.push(("content-type".to_owned(), kind.to_owned()));
    }
    if !query.is_empty() {
        path = format!("{path}?{}", query.join("&"));
    }
    Ok(Draft {
        method: operation.method.clone(),
        path,
        headers,
        body,
    })
}

/// Puts a value in the place of `{name}`, or of `{name+}`, where slashes stay.
fn fill(path: &str, name: &str, value: &str) -> Result<String, String> {
    if value.is_empty() {
        return Err(format!("{name} is part of the address and cannot be empty"));
    }
    let whole = escaped(value, false);
    let greedy = escaped(value, true);
    Ok(path
        .replace(&format!("{{{name}}}"), &whole)
        .replace(&format!("{{{name}+}}"), &greedy))
}

/// Percent-encoded, but for what RFC 3986 leaves alone.
pub(super) fn escaped(text: &str, keep_slashes: bool) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (keep_slashes && byte == b'/')
        {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

fn pairs(service: &Service, member: &Member, wire: &str, value: &Value, query: &mut Vec<String>) {
    let mut pair = |name: &str, value: &str| {
        query.push(format!(
            "{}={}",
            escaped(name, false),
            escaped(value, false)
        ));
    };
    match (service.shape(member.shape), value) {
        (Shape::Map { value: inner, .. }, Value::Object(entries)) => {
            for (name, value) in entries {
                for value in value
                    .as_array()
                    .map_or_else(|| std::slice::from_ref(value), Vec::as_slice)
                {
                    pair(name, &scalar(service, *inner, value, TimeFormat::Iso8601));
                }
            }
        }
        (Shape::List { member, .. }, Value::Array(items)) => {
            for item in items {
                pair(wire, &scalar(service, *member, item, TimeFormat::Iso8601));
            }
        }
        _ => pair(wire, &plain(service, member, value)),
    }
}

fn plain(service: &Service, member: &Member, value: &Value) -> String {
    scalar(service, member.shape, value, TimeFormat::Iso8601)
}

fn header(service: &Service, member: &Member, value: &Value) -> String {
    if member.is_json_value {
        return BASE64.encode(value.to_string());
    }
    match (service.shape(member.shape), value) {
        (Shape::List { member, .. }, Value::Array(items)) => {
            let items: Vec<String> = items
                .iter()
                .map(|it| scalar(service, *member, it, TimeFormat::Http))
                .collect();
            items.join(",")
        }
        _ => scalar(service, member.shape, value, TimeFormat::Http),
    }
}

/// A value as text, with times in this format unless the model asks for another.
pub(super) fn scalar(service: &Service, id: ShapeId, value: &Value, usual: TimeFormat) -> String {
    match (service.shape(id), value) {
        (Shape::Scalar(Scalar::Timestamp(format)), value) => {
            let format = if *format == TimeFormat::Protocol {
                usual
            } else {
                *format
            };
            match moment(value) {
                Some(moment) => time_text(moment, format),
                None => value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned),
            }
        }
        (_, Value::String(text)) => text.clone(),
        (_, other) => other.to_string(),
    }
}

fn time_text(moment: Timestamp, format: TimeFormat) -> String {
    match format {
        TimeFormat::Unix => seconds(moment).to_string(),
        TimeFormat::Http => moment.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string(),
        TimeFormat::Protocol | TimeFormat::Iso8601 => {
            moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
        }
    }
}

pub(super) fn moment(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => {
            let moment = text.parse().ok();
            // A date alone begins at midnight.
            moment.or_else(|| {
                format!("{}T00:00:00Z", text.get(..10).filter(|_| text.len() == 10)?)
                    .parse()
                    .ok()
            })
        }
        other => {
            let seconds = other.as_f64()?;
            Timestamp::from_nanosecond((seconds * 1e9) as i128).ok()
        }
    }
}

fn seconds(moment: Timestamp) -> Value {
    match moment.subsec_nanosecond() {
        0 => moment.as_second().into(),
        _ => (moment.as_millisecond() as f64 / 1000.0).into(),
    }
}

/// A value of a JSON body: wire names, times and bytes as the protocol has them. Nulls are left out.
fn body_value(service: &Service, id: ShapeId, value: &Value, depth: usize) -> Value {
    if depth > DEPTH_LIMIT {
        return value.clone();
    }
    match (service.shape(id), value) {
        (Shape::Structure { members, .. }, Value::Object(fields)) => {
            let present = members.iter().filter_map(|member| {
                let value = fields.get(&member.name).filter(|value| !value.is_null())?;
                let wire = member.wire.as_ref().unwrap_or(&member.name);
                Some((
                    wire.clone(),
                    body_value(service, member.shape, value, depth + 1),
                ))
            });
            Value::Object(present.collect())
        }
        (Shape::List { member, .. }, Value::Array(items)) => items
            .iter()
            .map(|item| body_value(service, *member, item, depth + 1))
            .collect(),
        (Shape::Map { value: inner, .. }, Value::Object(fields)) => {
            let fields = fields
                .iter()
                .map(|(name, value)| (name.clone(), body_value(service, *inner, value, depth + 1)));
            Value::Object(fields.collect())
        }
        (Shape::Scalar(Scalar::Timestamp(format)), value) => match (moment(value), format) {
            (None, _) => value.clone(),
            (Some(moment), TimeFormat::Protocol | TimeFormat::Unix) => seconds(moment),
            (Some(moment), format) => time_text(moment, *format).into(),
        },
        (Shape::Scalar(Scalar::Blob), Value::String(text)) => BASE64.encode(text).into(),
        (_, other) => other.clone(),
    }
}

/// What an operation answered, by the model's member names, and the request's id where the body has it.
///
/// # Errors
/// The body is not what the protocol says.
pub(super) fn answer<'h>(
    service: &Service,
    operation: &Operation,
    status: u16,
    headers: &Headers<'_, 'h>,
    body: &[u8],
) -> Result<(Value, Option<String>), String> {
    let shape = operation.output.map(|id| service.shape(id));
    let (members, payload) = match shape {
        Some(Shape::Structure {
            members, payload, ..
        }) => (members.as_slice(), payload.as_deref()),
        _ => (&[][..], None),
    };
    let payload = members
        .iter()
        .find(|member| payload == Some(member.name.as_str()));
    let is_text = payload.is_some_and(|it| {
        matches!(
            service.shape(it.shape),
            Shape::Scalar(Scalar::Blob | Scalar::String) | Shape::Enum(_)
        )
    });
    let is_xml = matches!(
        service.meta.protocol,
        Protocol::Query | Protocol::Ec2 | Protocol::RestXml
    );
    if is_xml && !is_text {
        let id = payload.map(|it| it.shape).or(operation.output);
        let read = match id.filter(|_| !body.is_empty()) {
            Some(id) => markup::answer(service, operation, id, body)?,
            None => (Value::Object(Map::new()), None),
        };
        let mut result = match (payload, read.0) {
            (Some(member), value) if !body.is_empty() => {
                Map::from_iter([(member.name.clone(), value)])
            }
            (_, Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        outside(service, members, status, headers, &mut result);
        return Ok((Value::Object(result), read.1));
    }
    let parsed = match body.is_empty() || is_text {
        true => Value::Object(Map::new()),
        false => serde_json::from_slice(body)
            .map_err(|error| format!("the answer is no JSON: {error}"))?,
    };
    let mut result = match (payload, operation.output) {
        (Some(member), _) if is_text => Map::from_iter([(member.name.clone(), bytes(body))]),
        (Some(member), _) => Map::from_iter([(
            member.name.clone(),
            read_value(service, member.shape, &parsed, 0),
        )]),
        (None, Some(id)) => match read_value(service, id, &parsed, 0) {
            Value::Object(fields) => fields,
            _ => Map::new(),
        },
        (None, None) => Map::new(),
    };
    outside(service, members, status, headers, &mut result);
    Ok((Value::Object(result), None))
}

/// Members that are not in the body.
fn outside<'h>(
    service: &Service,
    members: &[Member],
    status: u16,
    headers: &Headers<'_, 'h>,
    result: &mut Map<String, Value>,
) {
    for member in members {
        let wire = member.wire.as_deref().unwrap_or(&member.name);
        match member.location {
            Location::Status => drop(result.insert(member.name.clone(), status.into())),
            Location::Header => {
                if let Some(text) = headers(wire) {
                    result.insert(member.name.clone(), from_text(service, member.shape, text));
                }
            }
            _ => {}
        }
    }
}

/// A header of an answer by its name.
type Headers<'f, 'h> = dyn Fn(&str) -> Option<&'h str> + 'f;

fn from_text(service: &Service, id: ShapeId, text: &str) -> Value {
    match service.shape(id) {
        Shape::Scalar(Scalar::Integer | Scalar::Long | Scalar::Double | Scalar::Boolean) => {
            serde_json::from_str(text).unwrap_or_else(|_| text.into())
        }
        Shape::Scalar(Scalar::Timestamp(_)) => match jiff::fmt::rfc2822::parse(text) {
            Ok(time) => time_text(time.timestamp(), TimeFormat::Iso8601).into(),
            Err(_) => text.into(),
        },
        _ => text.into(),
    }
}

/// Members that the model does not know stay as they are.
fn read_value(service: &Service, id: ShapeId, value: &Value, depth: usize) -> Value {
    if depth > DEPTH_LIMIT {
        return value.clone();
    }
    match (service.shape(id), value) {
        (Shape::Structure { members, .. }, Value::Object(fields)) => {
            let named = fields
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| {
                    let is =
                        |member: &&Member| member.wire.as_ref().unwrap_or(&member.name) == name;
                    match members.iter().find(is) {
                        Some(member) => (
                            member.name.clone(),
                            read_value(service, member.shape, value, depth + 1),
                        ),
                        None => (name.clone(), value.clone()),
                    }
                });
            Value::Object(named.collect())
        }
        (Shape::List { member, .. }, Value::Array(items)) => items
            .iter()
            .map(|item| read_value(service, *member, item, depth + 1))
            .collect(),
        (Shape::Map { value: inner, .. }, Value::Object(fields)) => {
            let fields = fields
                .iter()
                .map(|(name, value)| (name.clone(), read_value(service, *inner, value, depth + 1)));
            Value::Object(fields.collect())
        }
        (Shape::Scalar(Scalar::Timestamp(_)), value) => match moment(value) {
            Some(moment) => moment.to_string().into(),
            None => value.clone(),
        },
        (Shape::Scalar(Scalar::Blob), Value::String(text)) => match BASE64.decode(text) {
            Ok(decoded) => bytes(&decoded),
            Err(_) => value.clone(),
        },
        (_, other) => other.clone(),
    }
}

pub(super) fn bytes(body: &[u8]) -> Value {
    match std::str::from_utf8(body) {
        Ok(text) => text.into(),
        Err(_) => BASE64.encode(body).into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::xml;
    use super::*;

    /// What botocore's serializer makes of the same calls: `xtask/vectors.py` writes the file.
    #[test]
    fn requests_are_those_of_botocore() {
        let vectors: Vec<Value> = serde_json::from_str(include_str!("vectors.json")).unwrap();
        assert!(vectors.len() >= 65);
        for vector in vectors {
            let text = |name: &str| vector[name].as_str().unwrap().to_owned();
            let service = bowline_services::find(&text("service")).unwrap();
            let operation = service.operation(&text("operation")).unwrap();
            let draft = draft(
                service,
                operation,
                vector["input"].as_object().unwrap(),
                "token",
            )
            .unwrap();
            let name = format!("{}:{} {}", service.name, operation.name, vector["input"]);
            assert_eq!(draft.method, text("method"), "{name}");
            let (path, query) = draft.path.split_once('?').unwrap_or((&draft.path, ""));
            let (wanted_path, wanted_query) = vector["path"]
                .as_str()
                .unwrap()
                .split_once('?')
                .unwrap_or_else(|| (vector["path"].as_str().unwrap(), ""));
            assert_eq!(path, wanted_path, "{name}");
            let sorted = |query: &str| {
                let mut pairs: Vec<String> = query.split('&').map(str::to_owned).collect();
                pairs.sort();
                pairs
            };
            assert_eq!(sorted(query), sorted(wanted_query), "{name}");
            for (header, value) in vector["headers"].as_object().unwrap() {
                let ours = draft
                    .headers
                    .iter()
                    .find(|it| it.0 == *header)
                    .map(|it| it.1.as_str());
                assert_eq!(ours, value.as_str(), "{name}: {header}");
            }
            let body = String::from_utf8(draft.body).unwrap();
            let wanted = text("body");
            match (
                serde_json::from_str::<Value>(&body),
                serde_json::from_str::<Value>(&wanted),
            ) {
                (Ok(ours), Ok(wanted)) => assert_eq!(ours, wanted, "{name}"),
                // The order of a form's pairs is of no account.
                _ if body.starts_with("Action=") => {
                    assert_eq!(sorted(&body), sorted(&wanted), "{name}");
                }
                // Nor is that of elements.
                _ if body.starts_with('<') => {
                    let root = |text: &str| text.split('>').next().unwrap().to_owned();
                    assert_eq!(root(&body), root(&wanted), "{name}");
                    assert_eq!(xml::parse(&body), xml::parse(&wanted), "{name}");
                    assert_eq!(body.len(), wanted.len(), "{name}");
                }
                _ => assert_eq!(body, wanted, "{name}"),
            }
        }
    }

    #[test]
    fn answers_have_the_models_names() {
        let lambda = bowline_services::find("lambda").unwrap();
        let invoke = lambda.operation("Invoke").unwrap();
        let headers = |name: &str| match name {
            "X-Amz-Function-Error" => Some("Unhandled"),
            "X-Amz-Log-Result" => Some("bG9n"),
            _ => None,
        };
        assert_eq!(
            answer(lambda, invoke, 200, &headers, b"{\"a\":1}").map(|it| it.0),
            Ok(
                json!({ "StatusCode": 200, "FunctionError": "Unhandled", "LogResult": "bG9n", "Payload": "{\"a\":1}" })
            )
        );
        let ecs = bowline_services::find("ecs").unwrap();
        let describe = ecs.operation("DescribeTasks").unwrap();
        assert_eq!(
            answer(ecs, describe, 200, &|_| None, b"{\"tasks\":[{\"startedAt\":1700000000.5,\"containers\":[{\"exitCode\":0,\"new\":null}]}],\"other\":[1]}").map(|it| it.0),
            Ok(json!({ "tasks": [{ "startedAt": "2023-11-14T22:13:20.5Z", "containers": [{ "exitCode": 0 }] }], "other": [1] }))
        );
        assert!(answer(ecs, describe, 200, &|_| None, b"<html>").is_err());
    }
}
