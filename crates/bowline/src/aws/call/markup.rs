//! XML by a service's model: bodies of requests, and answers.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bowline_services::{
    Location, Member, Operation, Protocol, Scalar, Service, Shape, ShapeId, TimeFormat,
};
use roxmltree::{Document, Node};
use serde_json::{Map, Value};

use super::wire::{DEPTH_LIMIT, bytes, moment, scalar};

/// The namespace of attributes that say what kind of value an element has.
const INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// The body of a request; writing to a String cannot fail. `root` is the element around it.
pub(super) fn body(service: &Service, root: &str, id: ShapeId, value: &Value) -> Vec<u8> {
    let namespace = match service.name {
        "s3" => "http://s3.amazonaws.com/doc/2006-03-01/".to_owned(),
        "s3control" => format!(
            "http://awss3control.amazonaws.com/doc/{}/",
            service.meta.api_version
        ),
        "route53" => format!(
            "https://route53.amazonaws.com/doc/{}/",
            service.meta.api_version
        ),
        name => format!(
            "http://{name}.amazonaws.com/doc/{}/",
            service.meta.api_version
        ),
    };
    let mut text = String::new();
    let attributes = format!(" xmlns=\"{}\"", quoted(&namespace));
    write(service, root, &attributes, id, value, false, 0, &mut text);
    text.into_bytes()
}

#[expect(
    clippy::too_many_arguments,
    reason = "an element has a name, attributes, a shape, a value and a place"
)]
fn write(
    service: &Service,
    name: &str,
    attributes: &str,
    id: ShapeId,
    value: &Value,
    is_flat: bool,
    depth: usize,
    text: &mut String,
) {
    if depth > DEPTH_LIMIT || value.is_null() {
        return;
    }
    let open = |text: &mut String, more: &str| {
        let _ = write!(text, "<{name}{attributes}{more}>");
    };
    match (service.shape(id), value) {
        (Shape::Structure { members, .. }, Value::Object(fields)) => {
            let mut own = String::new();
            for member in members.iter().filter(|member| member.is_attribute) {
                if let Some(value) = fields.get(&member.name).and_then(Value::as_str) {
                    let wire = member.wire.as_deref().unwrap_or(&member.name);
                    if let Some((prefix, _)) = wire.split_once(':') {
                        let _ = write!(own, " xmlns:{prefix}=\"{INSTANCE}\"");
                    }
                    let _ = write!(own, " {wire}=\"{}\"", quoted(value));
                }
            }
            open(text, &own);
            for member in members.iter().filter(|member| !member.is_attribute) {
                let is_here = member.location == Location::Body;
                if let Some(value) = fields.get(&member.name).filter(|_| is_here) {
                    let wire = member.wire.as_deref().unwrap_or(&member.name);
                    let flat = member.is_flattened;
                    write(
                        service,
                        wire,
                        "",
                        member.shape,
                        value,
                        flat,
                        depth + 1,
                        text,
                    );
                }
            }
            let _ = write!(text, "</{name}>");
        }
        (
            Shape::List {
                member,
                wire,
                is_flattened,
            },
            Value::Array(items),
        ) => {
            let is_flat = is_flat || *is_flattened;
            let inner = match is_flat {
                true => name,
                false => wire.as_deref().unwrap_or("member"),
            };
            if !is_flat {
                open(text, "");
            }
            for item in items {
                write(service, inner, "", *member, item, false, depth + 1, text);
            }
            if !is_flat {
                let _ = write!(text, "</{name}>");
            }
        }
        (
            Shape::Map {
                key,
                value: inner,
                key_wire,
                value_wire,
                ..
            },
            Value::Object(fields),
        ) => {
            let (key_wire, value_wire) = (
                key_wire.as_deref().unwrap_or("key"),
                value_wire.as_deref().unwrap_or("value"),
            );
            open(text, "");
            for (field, value) in fields {
                text.push_str("<entry>");
                let field = Value::from(field.as_str());
                write(service, key_wire, "", *key, &field, false, depth + 1, text);
                write(
                    service,
                    value_wire,
                    "",
                    *inner,
                    value,
                    false,
                    depth + 1,
                    text,
                );
                text.push_str("</entry>");
            }
            let _ = write!(text, "</{name}>");
        }
        (shape, value) => {
            let plain = match (shape, value) {
                (Shape::Scalar(Scalar::Blob), Value::String(text)) => BASE64.encode(text),
                _ => scalar(service, id, value, TimeFormat::Iso8601),
            };
            open(text, "");
            text.push_str(&escaped(&plain));
            let _ = write!(text, "</{name}>");
        }
    }
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    // A bare carriage return would be read as a line feed.
    text.replace('>', "&gt;").replace('\r', "&#xD;")
}

fn quoted(text: &str) -> String {
    escaped(text).replace('"', "&quot;")
}

/// What an operation answered, and the request's id where that is in the body.
///
/// # Errors
/// The body is no XML.
pub(super) fn answer(
    service: &Service,
    operation: &Operation,
    id: ShapeId,
    body: &[u8],
) -> Result<(Value, Option<String>), String> {
    let text = std::str::from_utf8(body).map_err(|_| "the answer is no text".to_owned())?;
    // Without a document type definition: nothing can expand.
    let document =
        Document::parse(text).map_err(|error| format!("the answer is no XML: {error}"))?;
    let root = document.root_element();
    let request_id = root
        .descendants()
        .find(|node| matches!(node.tag_name().name(), "RequestId" | "requestId"))
        .filter(|_| service.meta.protocol != Protocol::RestXml)
        .and_then(|node| node.text())
        .map(str::to_owned);
    if operation.name == "GetBucketLocation" {
        // The whole document is the one member; in us-east-1 it is empty.
        let place = root.text().filter(|text| !text.is_empty());
        let place = place.map(|text| ("LocationConstraint".to_owned(), text.into()));
        return Ok((Value::Object(place.into_iter().collect()), request_id));
    }
    let result = match &operation.result_wrapper {
        Some(wrapper) => children(root, wrapper).next().unwrap_or(root),
        None => root,
    };
    Ok((read(service, id, &[result], false, 0), request_id))
}

/// A value of these elements: several where a list has no element around it.
fn read(
    service: &Service,
    id: ShapeId,
    nodes: &[Node<'_, '_>],
    is_flat: bool,
    depth: usize,
) -> Value {
    let Some(first) = nodes.first().filter(|_| depth <= DEPTH_LIMIT) else {
        return Value::Null;
    };
    let text = || first.text().unwrap_or_default();
    match service.shape(id) {
        Shape::Structure { members, .. } => {
            let fields = members.iter().filter_map(|member| {
                Some((member.name.clone(), of(service, member, *first, depth)?))
            });
            Value::Object(fields.collect())
        }
        Shape::List {
            member,
            is_flattened,
            ..
        } => {
            let element = |node| read(service, *member, &[node], false, depth + 1);
            match is_flat || *is_flattened {
                true => nodes.iter().copied().map(element).collect(),
                false => first
                    .children()
                    .filter(Node::is_element)
                    .map(element)
                    .collect(),
            }
        }
        Shape::Map {
            value,
            key_wire,
            value_wire,
            is_flattened,
            ..
        } => {
            let entries: Vec<Node<'_, '_>> = match is_flat || *is_flattened {
                true => nodes.to_vec(),
                false => first.children().filter(Node::is_element).collect(),
            };
            let mut fields = Map::new();
            for entry in entries {
                let part = |wire: &Option<String>, usual: &str| {
                    children(entry, wire.as_deref().unwrap_or(usual)).next()
                };
                if let (Some(name), Some(node)) = (part(key_wire, "key"), part(value_wire, "value"))
                {
                    let name = name.text().unwrap_or_default().to_owned();
                    fields.insert(name, read(service, *value, &[node], false, depth + 1));
                }
            }
            Value::Object(fields)
        }
        Shape::Scalar(Scalar::Integer | Scalar::Long | Scalar::Double | Scalar::Boolean) => {
            let parsed = serde_json::from_str(&text().trim().to_ascii_lowercase());
            parsed.unwrap_or_else(|_| text().into())
        }
        Shape::Scalar(Scalar::Timestamp(_)) => {
            let stated = Value::from(text());
            let number = text().parse::<f64>().ok().map(Value::from);
            let http = jiff::fmt::rfc2822::parse(text()).ok();
            match number.as_ref().or(Some(&stated)).and_then(moment) {
                Some(moment) => moment.to_string().into(),
                None => http.map_or(stated, |it| it.timestamp().to_string().into()),
            }
        }
        Shape::Scalar(Scalar::Blob) => match BASE64.decode(text()) {
            Ok(decoded) => bytes(&decoded),
            Err(_) => text().into(),
        },
        _ => text().into(),
    }
}

/// A member of an element; none where it is not there.
fn of(service: &Service, member: &Member, node: Node<'_, '_>, depth: usize) -> Option<Value> {
    if member.location != Location::Body {
        return None;
    }
    let wire = member.wire.as_deref().unwrap_or(&member.name);
    if member.is_attribute {
        let local = wire.rsplit(':').next().unwrap_or(wire);
        let mut attributes = node.attributes();
        return Some(attributes.find(|it| it.name() == local)?.value().into());
    }
    let shape = service.shape(member.shape);
    let (is_flat, name) = match shape {
        Shape::List {
            wire: inner,
            is_flattened,
            ..
        } if member.is_flattened || *is_flattened => (true, inner.as_deref().unwrap_or(wire)),
        Shape::Map { is_flattened, .. } => (member.is_flattened || *is_flattened, wire),
        _ => (false, wire),
    };
    let nodes: Vec<Node<'_, '_>> = children(node, name).collect();
    if nodes.is_empty() {
        return None;
    }
    Some(read(service, member.shape, &nodes, is_flat, depth + 1))
}

fn children<'a, 'i>(node: Node<'a, 'i>, name: &str) -> impl Iterator<Item = Node<'a, 'i>> {
    let found: Vec<Node<'a, 'i>> = node
        .children()
        .filter(|child| child.is_element() && child.tag_name().name() == name)
        .collect();
    found.into_iter()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answered(service: &str, operation: &str, text: &str) -> Value {
        let service = bowline_services::find(service).unwrap();
        let operation = service.operation(operation).unwrap();
        let id = operation.output.unwrap();
        answer(service, operation, id, text.as_bytes()).unwrap().0
    }

    #[test]
    fn answers_have_the_models_names_and_empty_lists_stay() {
        let text = "<DescribeInstancesResponse xmlns='http://ec2.amazonaws.com/doc/2016-11-15/'><requestId>r</requestId><reservationSet><item><ownerId>1</ownerId><instancesSet><item><instanceId>i-1</instanceId><instanceState><code>16</code><name>running</name></instanceState><launchTime>2030-01-02T03:04:05.000Z</launchTime><ebsOptimized>false</ebsOptimized><productCodes/><tagSet><item><key>a</key><value>b &amp; c</value></item></tagSet></item></instancesSet></item></reservationSet></DescribeInstancesResponse>";
        assert_eq!(
            answered("ec2", "DescribeInstances", text),
            json!({ "Reservations": [{ "OwnerId": "1", "Instances": [{
                "InstanceId": "i-1", "State": { "Code": 16, "Name": "running" }, "LaunchTime": "2030-01-02T03:04:05Z",
                "EbsOptimized": false, "ProductCodes": [], "Tags": [{ "Key": "a", "Value": "b & c" }],
            }] }] })
        );
        let text = "<GetTopicAttributesResponse xmlns='http://sns.amazonaws.com/doc/2010-03-31/'><GetTopicAttributesResult><Attributes><entry><key>Owner</key><value>1</value></entry></Attributes></GetTopicAttributesResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></GetTopicAttributesResponse>";
        assert_eq!(
            answered("sns", "GetTopicAttributes", text),
            json!({ "Attributes": { "Owner": "1" } })
        );
        let text = "<ListBucketResult><Name>b</Name><Contents><Key>x</Key><Size>3</Size></Contents><Contents><Key>y</Key></Contents><IsTruncated>false</IsTruncated></ListBucketResult>";
        assert_eq!(
            answered("s3", "ListObjectsV2", text),
            json!({ "Name": "b", "IsTruncated": false, "Contents": [{ "Key": "x", "Size": 3 }, { "Key": "y" }] })
        );
        let text = "<LocationConstraint xmlns='x'>eu-west-1</LocationConstraint>";
        assert_eq!(
            answered("s3", "GetBucketLocation", text),
            json!({ "LocationConstraint": "eu-west-1" })
        );
        let service = bowline_services::find("s3").unwrap();
        let operation = service.operation("ListBuckets").unwrap();
        for bad in [
            "",
            "<html><p>",
            "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
            "\u{0}",
        ] {
            assert!(
                answer(
                    service,
                    operation,
                    operation.output.unwrap(),
                    bad.as_bytes()
                )
                .is_err(),
                "{bad}"
            );
        }
    }
}
