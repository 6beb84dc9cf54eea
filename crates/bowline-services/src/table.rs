//! The file behind the services, and how it is read.
//!
//! A service is `[meta, operations, shapes]`. `meta` is protocol, endpoint prefix, signing name, API version, target
//! prefix, JSON version, signature version, global endpoint, XML namespace, service id, query compatible. An operation is `name: [method,
//! uri, input, output, result wrapper, auth, host prefix, flags]`. A shape is `[0, members, payload, union]`, `[1,
//! member, wire name, flattened]`, `[2, key, value, key's wire name, value's wire name, flattened]` or `[3, known
//! values]`; a member is `[name, shape, flags, location, wire name, query name]`. Zero stands for nothing, and what is
//! zero at an end is left out. Negative shapes are scalars.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::{Mutex, OnceLock, PoisonError};

use flate2::read::ZlibDecoder;
use serde_json::Value;

use crate::nearest::nearest;
use crate::service::{Location, Member, Meta, Operation, Protocol, Service, Shape, ShapeId};

static FILE: &[u8] = include_bytes!("../data/services.bin");

/// A name that no service has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// The client name that is nearest to it.
    pub nearest: Option<&'static str>,
    /// Services that have it as their endpoint prefix, where several do.
    pub several: Vec<&'static str>,
}

struct Index {
    botocore: String,
    entries: Vec<Entry>,
}

struct Entry {
    name: String,
    service_id: String,
    endpoint_prefix: String,
    place: std::ops::Range<usize>,
    unpacked: OnceLock<Option<Service>>,
}

/// The service that runbooks call `name`: a client name in any case, else a service id without its spaces, else an
/// endpoint prefix that only one service has.
///
/// # Errors
/// No service has this name, or several have it as their endpoint prefix.
pub fn find(name: &str) -> Result<&'static Service, Unknown> {
    let wanted = name.to_ascii_lowercase();
    let entries = &index().entries;
    let exact = entries.iter().find(|entry| entry.name == wanted);
    let by_id = || {
        entries.iter().find(|entry| {
            entry
                .service_id
                .replace(' ', "")
                .eq_ignore_ascii_case(&wanted)
        })
    };
    let several: Vec<&Entry> = entries
        .iter()
        .filter(|entry| entry.endpoint_prefix == wanted)
        .collect();
    let found = match (exact, &several[..]) {
        (Some(exact), _) => Some(exact),
        // A service id that is the prefix of several services names none of them.
        (None, [_, _, ..]) => {
            return Err(Unknown {
                nearest: None,
                several: several.iter().map(|entry| entry.name.as_str()).collect(),
            });
        }
        (None, several) => by_id().or_else(|| several.first().copied()),
    };
    found
        .and_then(Entry::service)
        .ok_or_else(|| Unknown::like(&wanted))
}

/// The client names of all services, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    index().entries.iter().map(|entry| entry.name.as_str())
}

/// The version of the package that the facts come from.
pub fn botocore_version() -> &'static str {
    &index().botocore
}

impl Unknown {
    fn like(wanted: &str) -> Self {
        Self {
            nearest: nearest(wanted, names()),
            several: Vec::new(),
        }
    }
}

impl Entry {
    fn service(&'static self) -> Option<&'static Service> {
        // Only one at a time: two threads would unpack the same service twice.
        static UNPACKING: Mutex<()> = Mutex::new(());
        if let Some(service) = self.unpacked.get() {
            return service.as_ref();
        }
        let _guard = UNPACKING.lock().unwrap_or_else(PoisonError::into_inner);
        self.unpacked.get_or_init(|| self.unpack()).as_ref()
    }

    fn unpack(&'static self) -> Option<Service> {
        let packed = FILE.get(self.place.clone())?;
        let mut text = Vec::new();
        ZlibDecoder::new(packed).read_to_end(&mut text).ok()?;
        let [meta, operations, shapes]: [Value; 3] = serde_json::from_slice(&text).ok()?;
        let operations = operations.as_object()?.iter();
        let operations: Option<BTreeMap<_, _>> = operations
            .map(|(name, fields)| Some((name.clone(), operation(name, fields)?)))
            .collect();
        let shapes: Option<Vec<Shape>> = shapes.as_array()?.iter().map(shape).collect();
        Some(Service {
            name: &self.name,
            meta: read_meta(&meta)?,
            operations: operations?,
            shapes: shapes?,
        })
    }
}

fn index() -> &'static Index {
    static INDEX: OnceLock<Index> = OnceLock::new();
    INDEX.get_or_init(|| {
        // A table that cannot be read is a table without services; a test reads all of it.
        read_index().unwrap_or(Index {
            botocore: String::new(),
            entries: Vec::new(),
        })
    })
}

fn read_index() -> Option<Index> {
    let end = FILE.iter().position(|byte| *byte == b'\n')?;
    let header: Value = serde_json::from_slice(FILE.get(..end)?).ok()?;
    let mut start = end + 1;
    let mut entries = Vec::new();
    for entry in header.get("services")?.as_array()? {
        let length = usize::try_from(entry.get(3)?.as_u64()?).ok()?;
        entries.push(Entry {
            name: text(entry, 0)?,
            service_id: text(entry, 1)?,
            endpoint_prefix: text(entry, 2)?,
            place: start..start + length,
            unpacked: OnceLock::new(),
        });
        start += length;
    }
    Some(Index {
        botocore: header.get("botocore")?.as_str()?.to_owned(),
        entries,
    })
}

fn read_meta(fields: &Value) -> Option<Meta> {
    Some(Meta {
        protocol: match fields.get(0)?.as_str()? {
            "json" => Protocol::Json,
            "rest-json" => Protocol::RestJson,
            "query" => Protocol::Query,
            "ec2" => Protocol::Ec2,
            "rest-xml" => Protocol::RestXml,
            _ => Protocol::Cbor,
        },
        endpoint_prefix: text(fields, 1)?,
        signing_name: text(fields, 2)?,
        api_version: text(fields, 3)?,
        target_prefix: text(fields, 4).unwrap_or_default(),
        json_version: text(fields, 5).unwrap_or_default(),
        signature_version: text(fields, 6).unwrap_or_default(),
        global_endpoint: text(fields, 7),
        xml_namespace: text(fields, 8),
        service_id: text(fields, 9).unwrap_or_default(),
        is_query_compatible: number(fields, 10) != 0,
    })
}

fn operation(name: &str, fields: &Value) -> Option<Operation> {
    let flags = number(fields, 7);
    Some(Operation {
        name: name.to_owned(),
        method: text(fields, 0)?,
        uri: text(fields, 1)?,
        input: shape_id(fields, 2),
        output: shape_id(fields, 3),
        result_wrapper: text(fields, 4),
        auth: text(fields, 5),
        host_prefix: text(fields, 6),
        is_streaming: flags & 1 != 0,
        needs_checksum: flags & 2 != 0,
    })
}

fn shape(fields: &Value) -> Option<Shape> {
    Some(match number(fields, 0) {
        0 => {
            let members: Option<Vec<Member>> =
                fields.get(1)?.as_array()?.iter().map(member).collect();
            Shape::Structure {
                members: members?,
                payload: text(fields, 2),
                is_union: number(fields, 3) != 0,
            }
        }
        1 => Shape::List {
            member: ShapeId(i32::try_from(number(fields, 1)).ok()?),
            wire: text(fields, 2),
            is_flattened: number(fields, 3) != 0,
        },
        2 => Shape::Map {
            key: ShapeId(i32::try_from(number(fields, 1)).ok()?),
            value: ShapeId(i32::try_from(number(fields, 2)).ok()?),
            key_wire: text(fields, 3),
            value_wire: text(fields, 4),
            is_flattened: number(fields, 5) != 0,
        },
        _ => {
            let values = fields.get(1)?.as_array()?.iter();
            Shape::Enum(
                values
                    .filter_map(|v| v.as_str().map(str::to_owned))
                    .collect(),
            )
        }
    })
}

fn member(fields: &Value) -> Option<Member> {
    let flags = number(fields, 2);
    Some(Member {
        name: text(fields, 0)?,
        shape: ShapeId(i32::try_from(number(fields, 1)).ok()?),
        is_required: flags & 1 != 0,
        is_token: flags & 2 != 0,
        is_attribute: flags & 4 != 0,
        is_flattened: flags & 8 != 0,
        is_json_value: flags & 16 != 0,
        is_host_label: flags & 32 != 0,
        location: match number(fields, 3) {
            1 => Location::Uri,
            2 => Location::Query,
            3 => Location::Header,
            4 => Location::Headers,
            5 => Location::Status,
            _ => Location::Body,
        },
        wire: text(fields, 4),
        query_name: text(fields, 5),
    })
}

/// Nothing is -99: zero is a shape.
fn shape_id(fields: &Value, at: usize) -> Option<ShapeId> {
    let id = i32::try_from(fields.get(at)?.as_i64()?).ok()?;
    (id != -99).then_some(ShapeId(id))
}

fn text(fields: &Value, at: usize) -> Option<String> {
    Some(fields.get(at)?.as_str()?.to_owned())
}

fn number(fields: &Value, at: usize) -> i64 {
    fields.get(at).and_then(Value::as_i64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Scalar;

    #[test]
    fn every_service_is_read() {
        let mut operations = 0;
        for name in names() {
            let service = find(name).unwrap_or_else(|_| panic!("{name} cannot be read"));
            assert_eq!(service.name, name);
            operations += service.operations().count();
            for shape in &service.shapes {
                for member in shape.members() {
                    assert_ne!(
                        service.shape(member.shape),
                        &Shape::Scalar(Scalar::Unknown),
                        "{name} {}",
                        member.name
                    );
                }
            }
        }
        assert!(operations > 19_000, "{operations}");
    }

    #[test]
    fn services_are_found_by_each_of_their_names() {
        let found = |name: &str| find(name).map(|service| service.name);
        assert_eq!(found("ECS"), Ok("ecs"));
        assert_eq!(found("sfn"), Ok("stepfunctions"));
        assert_eq!(found("states"), Ok("stepfunctions"));
        assert_eq!(found("monitoring"), Ok("cloudwatch"));
        let several = find("elasticloadbalancing")
            .map(|_| ())
            .unwrap_err()
            .several;
        assert_eq!(several, ["elb", "elbv2"]);
    }

    #[test]
    fn operations_are_found_as_the_python_sdk_spells_them() {
        let ecs = find("ecs").unwrap();
        let found = |name: &str| ecs.operation(name).map(|operation| operation.name.as_str());
        assert_eq!(found("RunTask"), Some("RunTask"));
        assert_eq!(found("run_task"), Some("RunTask"));
        assert_eq!(found("runTask"), Some("RunTask"));
        assert_eq!(found("RunTusk"), None);
        assert_eq!(ecs.nearest_operation("RunTusk"), Some("RunTask"));
    }
}
