//! One service: its operations and shapes.

use std::collections::BTreeMap;

use crate::nearest::nearest;

/// A service as its model describes it.
#[derive(Debug)]
pub struct Service {
    /// The client name of the Python SDK: `ecs`, `elbv2`, `stepfunctions`.
    pub name: &'static str,
    /// How it is spoken to.
    pub meta: Meta,
    pub(crate) operations: BTreeMap<String, Operation>,
    pub(crate) shapes: Vec<Shape>,
}

/// Protocol, endpoint and signature of a service.
#[derive(Clone, Debug)]
pub struct Meta {
    /// The wire protocol, JSON or XML wherever the model offers one.
    pub protocol: Protocol,
    /// The first label of the host name.
    pub endpoint_prefix: String,
    /// The service name in signatures.
    pub signing_name: String,
    /// `Version` of the query protocols.
    pub api_version: String,
    /// What stands before the operation in `X-Amz-Target`.
    pub target_prefix: String,
    /// `1.0` or `1.1`, of the JSON protocol.
    pub json_version: String,
    /// `v4`, or something that is not spoken here.
    pub signature_version: String,
    /// The host of services that are the same in every region.
    pub global_endpoint: Option<String>,
    /// Of the root elements of XML requests.
    pub xml_namespace: Option<String>,
    /// The service id, from which the names of environment variables are made.
    pub service_id: String,
    /// It spoke a query protocol before, and gives the error codes of that to clients that ask for them.
    pub is_query_compatible: bool,
}

/// The wire protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// JSON with a target header.
    Json,
    /// JSON with paths and verbs.
    RestJson,
    /// Forms in, XML out.
    Query,
    /// Forms in, XML out, as EC2 has them.
    Ec2,
    /// XML with paths and verbs.
    RestXml,
    /// CBOR and nothing else: not spoken here.
    Cbor,
}

/// An operation.
#[derive(Clone, Debug)]
pub struct Operation {
    /// As the model spells it: `RunTask`.
    pub name: String,
    /// The HTTP method.
    pub method: String,
    /// The path, with `{Member}` and `{Member+}` in it, and what follows a `?`.
    pub uri: String,
    /// What goes in.
    pub input: Option<ShapeId>,
    /// What comes out.
    pub output: Option<ShapeId>,
    /// The element around the result of the query protocol.
    pub result_wrapper: Option<String>,
    /// `none` where requests are not signed.
    pub auth: Option<String>,
    /// What comes before the host, such as `data-`.
    pub host_prefix: Option<String>,
    /// Its input or output is a stream.
    pub is_streaming: bool,
    /// Its requests need a checksum of the body.
    pub needs_checksum: bool,
}

/// A shape of a [`Service`]: a scalar, or a place in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShapeId(pub(crate) i32);

/// The structure of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A value without parts.
    Scalar(Scalar),
    /// A string of which some values are known; services answer others too.
    Enum(Vec<String>),
    /// Members by name.
    Structure {
        /// The member that is the whole body.
        payload: Option<String>,
        /// The members, in the order of the model.
        members: Vec<Member>,
        /// Only one member may be given.
        is_union: bool,
    },
    /// Elements of one shape.
    List {
        /// Their shape.
        member: ShapeId,
        /// Their name in XML.
        wire: Option<String>,
        /// Without an element around them.
        is_flattened: bool,
    },
    /// Values by name.
    Map {
        /// The names' shape.
        key: ShapeId,
        /// The values' shape.
        value: ShapeId,
        /// The names' element in XML.
        key_wire: Option<String>,
        /// The values' element in XML.
        value_wire: Option<String>,
        /// Without an element around the entries.
        is_flattened: bool,
    },
}

/// Values without parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// Text.
    String,
    /// 32 bits.
    Integer,
    /// 64 bits.
    Long,
    /// True or false.
    Boolean,
    /// A number with a fraction.
    Double,
    /// A moment, with the format that its model asks for.
    Timestamp(TimeFormat),
    /// Bytes.
    Blob,
    /// Any JSON value.
    Document,
    /// Nothing is known: the table does not have this shape.
    Unknown,
}

/// How a moment is written on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    /// As the protocol does it.
    Protocol,
    /// ISO 8601 in UTC.
    Iso8601,
    /// Seconds since 1970.
    Unix,
    /// As in HTTP headers.
    Http,
}

/// A member of a structure.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// As runbooks spell it.
    pub name: String,
    /// As the wire spells it, where that differs.
    pub wire: Option<String>,
    /// The name in EC2's requests, where it is a third one.
    pub query_name: Option<String>,
    /// Where it travels.
    pub location: Location,
    /// What it is.
    pub shape: ShapeId,
    /// It has to be given.
    pub is_required: bool,
    /// The client makes one up where none is given.
    pub is_token: bool,
    /// An attribute of the element in XML.
    pub is_attribute: bool,
    /// A list or map without an element around it.
    pub is_flattened: bool,
    /// JSON as text in a header.
    pub is_json_value: bool,
    /// Part of the host name.
    pub is_host_label: bool,
}

/// Where a member travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// In the body.
    Body,
    /// In the path.
    Uri,
    /// Behind the `?`.
    Query,
    /// A header.
    Header,
    /// Headers with a common beginning.
    Headers,
    /// The status code.
    Status,
}

impl Service {
    /// The operations, by name.
    pub fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.operations.values()
    }

    /// An operation as runbooks name it: exactly, else in snake case as the Python SDK has it, else in any case.
    pub fn operation(&self, name: &str) -> Option<&Operation> {
        if let Some(exact) = self.operations.get(name) {
            return Some(exact);
        }
        let plain = name.replace('_', "");
        self.operations
            .values()
            .find(|operation| operation.name.eq_ignore_ascii_case(&plain))
    }

    /// The operation whose name is nearest to `name`.
    pub fn nearest_operation(&self, name: &str) -> Option<&str> {
        nearest(name, self.operations.keys().map(String::as_str))
    }

    /// The shape behind an id.
    pub fn shape(&self, id: ShapeId) -> &Shape {
        if let Ok(index) = usize::try_from(id.0) {
            return self.shapes.get(index).unwrap_or(&UNKNOWN);
        }
        match id.0 {
            -1 => &Shape::Scalar(Scalar::String),
            -2 => &Shape::Scalar(Scalar::Integer),
            -3 => &Shape::Scalar(Scalar::Long),
            -4 => &Shape::Scalar(Scalar::Boolean),
            -5 => &Shape::Scalar(Scalar::Double),
            -7 => &Shape::Scalar(Scalar::Timestamp(TimeFormat::Protocol)),
            -8 => &Shape::Scalar(Scalar::Blob),
            -9 => &Shape::Scalar(Scalar::Timestamp(TimeFormat::Iso8601)),
            -10 => &Shape::Scalar(Scalar::Timestamp(TimeFormat::Unix)),
            -11 => &Shape::Scalar(Scalar::Timestamp(TimeFormat::Http)),
            -12 => &Shape::Scalar(Scalar::Document),
            _ => &UNKNOWN,
        }
    }
}

static UNKNOWN: Shape = Shape::Scalar(Scalar::Unknown);

impl Shape {
    /// The members of a structure; none for any other shape.
    pub fn members(&self) -> &[Member] {
        match self {
            Self::Structure { members, .. } => members,
            _ => &[],
        }
    }

    /// A member by its exact name.
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members().iter().find(|member| member.name == name)
    }

    /// The member whose name is nearest to `name`.
    pub fn nearest_member(&self, name: &str) -> Option<&str> {
        nearest(
            name,
            self.members().iter().map(|member| member.name.as_str()),
        )
    }
}
