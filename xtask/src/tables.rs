//! `cargo xtask tables`: makes the table of AWS's services from botocore's models.
//!
//! Names, types and places on the wire are carried over and nothing else. The layout is described in
//! `crates/bowline-services/src/table.rs`.

use std::collections::HashMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::ZlibEncoder;
use serde_json::{Map, Value, json};

/// Make the table of AWS's services from botocore's models
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The package's folder: …/site-packages/botocore
    #[arg(long, value_name = "DIR")]
    botocore: PathBuf,
    /// The table
    #[arg(long, default_value = "crates/bowline-services/data/services.bin")]
    out: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut names: Vec<String> = fs::read_dir(arguments.botocore.join("data"))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    let mut index = Vec::new();
    let mut packed = Vec::new();
    let mut operations = 0;
    for name in &names {
        let Some(model) = model(&arguments.botocore.join("data").join(name))? else {
            continue;
        };
        operations += model["operations"].as_object().map_or(0, Map::len);
        let text = service(&model).with_context(|| name.clone())?.to_string();
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text.as_bytes())?;
        let piece = encoder.finish()?;
        let meta = &model["metadata"];
        index.push(json!([
            name,
            meta["serviceId"].as_str().unwrap_or_default(),
            meta["endpointPrefix"],
            piece.len()
        ]));
        packed.extend(piece);
    }
    let count = index.len();
    let header = json!({ "botocore": version(&arguments.botocore)?, "services": index });
    let mut file = header.to_string().into_bytes();
    file.push(b'\n');
    file.extend(packed);
    fs::write(&arguments.out, &file)?;
    println!(
        "{count} services, {operations} operations, {} bytes in {}",
        file.len(),
        arguments.out.display()
    );
    Ok(())
}

fn version(package: &Path) -> Result<String> {
    let text = fs::read_to_string(package.join("__init__.py"))?;
    let line = text.lines().find(|line| line.starts_with("__version__"));
    let version = line.and_then(|line| line.split(['\'', '"']).nth(1));
    Ok(version.context("no version in __init__.py")?.to_owned())
}

/// The newest model of a service; none where the folder holds something else.
fn model(folder: &Path) -> Result<Option<Value>> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let mut found: Vec<PathBuf> = fs::read_dir(folder)?
        .filter_map(|version| {
            let path = version.ok()?.path();
            let packed = path.join("service-2.json.gz");
            [packed, path.join("service-2.json")]
                .into_iter()
                .find(|path| path.exists())
        })
        .collect();
    found.sort();
    let Some(path) = found.pop() else {
        return Ok(None);
    };
    let bytes = fs::read(&path)?;
    let mut text = Vec::new();
    match path.extension().is_some_and(|ending| ending == "gz") {
        true => GzDecoder::new(bytes.as_slice()).read_to_end(&mut text)?,
        false => bytes.as_slice().read_to_end(&mut text)?,
    };
    let mut model = serde_json::from_slice(&text)?;
    let extras = path.with_file_name("service-2.sdk-extras.json");
    if extras.exists() {
        let extras: Value = serde_json::from_slice(&fs::read(extras)?)?;
        merge(&mut model, &extras["merge"]);
    }
    Ok(Some(model))
}

/// What botocore puts right in a model. A `SourceRegion` is none of the service's members: the SDK makes a signed URL of it.
fn merge(model: &mut Value, extras: &Value) {
    match (model, extras) {
        (Value::Object(fields), Value::Object(extras)) => {
            for (name, extra) in extras.iter().filter(|it| it.0 != "SourceRegion") {
                merge(fields.entry(name).or_insert(Value::Null), extra);
            }
        }
        (model, extra) => *model = extra.clone(),
    }
}

fn service(model: &Value) -> Result<Value> {
    let meta = &model["metadata"];
    let offered = meta["protocols"].as_array().cloned().unwrap_or_default();
    let first = meta["protocol"].as_str().context("no protocol")?;
    // Some services offer CBOR first and something readable besides.
    let protocol = match first {
        "smithy-rpc-v2-cbor" => ["json", "query"]
            .into_iter()
            .find(|name| offered.iter().any(|offer| offer == name))
            .unwrap_or(first),
        other => other,
    };
    let text = |name: &str| {
        meta[name]
            .as_str()
            .map_or_else(|| json!(0), |text| json!(text))
    };
    let signing = meta["signingName"]
        .as_str()
        .or_else(|| meta["endpointPrefix"].as_str());
    let fields = json!([
        protocol,
        text("endpointPrefix"),
        signing,
        text("apiVersion"),
        text("targetPrefix"),
        text("jsonVersion"),
        text("signatureVersion"),
        text("globalEndpoint"),
        text("xmlNamespace"),
        text("serviceId"),
        i64::from(meta["awsQueryCompatible"].is_object()),
    ]);
    let mut shapes = Shapes {
        model: model["shapes"].as_object().context("no shapes")?,
        known: HashMap::new(),
        rows: Vec::new(),
    };
    let mut operations = Map::new();
    for (name, operation) in model["operations"].as_object().context("no operations")? {
        operations.insert(name.clone(), shapes.operation(operation));
    }
    Ok(json!([fields, operations, shapes.rows]))
}

struct Shapes<'m> {
    model: &'m Map<String, Value>,
    known: HashMap<String, i64>,
    rows: Vec<Value>,
}

impl Shapes<'_> {
    fn operation(&mut self, operation: &Value) -> Value {
        let text = |value: &Value| value.as_str().map_or_else(|| json!(0), |text| json!(text));
        let input = operation["input"]["shape"].as_str();
        let output = operation["output"]["shape"].as_str();
        let streams = [input, output]
            .into_iter()
            .flatten()
            .any(|name| self.streams(name));
        let checksum = operation["httpChecksumRequired"] == true
            || operation["httpChecksum"]["requestChecksumRequired"] == true;
        trimmed(vec![
            operation["http"]["method"].clone(),
            operation["http"]["requestUri"].clone(),
            json!(input.map_or(-99, |name| self.id(name))),
            json!(output.map_or(-99, |name| self.id(name))),
            text(&operation["output"]["resultWrapper"]),
            text(&operation["authtype"]),
            text(&operation["endpoint"]["hostPrefix"]),
            json!(i64::from(streams) | (i64::from(checksum) << 1)),
        ])
    }

    /// Whether the shape, or a member of it, is a stream of bytes or events.
    fn streams(&self, name: &str) -> bool {
        let members = self.model[name]["members"].as_object();
        members.into_iter().flatten().any(|(_, member)| {
            let shape = &self.model[member["shape"].as_str().unwrap_or_default()];
            member["streaming"] == true
                || shape["streaming"] == true
                || shape["eventstream"] == true
                || member["eventstream"] == true
        })
    }

    fn id(&mut self, name: &str) -> i64 {
        let Some(shape) = self.model.get(name) else {
            return -12;
        };
        match shape["type"].as_str().unwrap_or_default() {
            "string" if is_state(name) && shape["enum"].is_array() => {
                let row = json!([3, shape["enum"]]);
                self.row(name, |_| row)
            }
            "string" | "character" => -1,
            "integer" | "short" | "byte" => -2,
            "long" | "bigInteger" => -3,
            "boolean" => -4,
            "double" | "float" | "bigDecimal" => -5,
            "blob" => -8,
            "timestamp" => time(&shape["timestampFormat"]),
            "structure" if shape["document"] == true => -12,
            "structure" => self.row(name, |shapes| shapes.structure(shape)),
            "list" => self.row(name, |shapes| {
                let member = &shape["member"];
                trimmed(vec![
                    json!(1),
                    json!(shapes.id(member["shape"].as_str().unwrap_or_default())),
                    member
                        .get("locationName")
                        .cloned()
                        .unwrap_or_else(|| json!(0)),
                    json!(i64::from(shape["flattened"] == true)),
                ])
            }),
            "map" => self.row(name, |shapes| {
                let (key, value) = (&shape["key"], &shape["value"]);
                trimmed(vec![
                    json!(2),
                    json!(shapes.id(key["shape"].as_str().unwrap_or_default())),
                    json!(shapes.id(value["shape"].as_str().unwrap_or_default())),
                    key.get("locationName").cloned().unwrap_or_else(|| json!(0)),
                    value
                        .get("locationName")
                        .cloned()
                        .unwrap_or_else(|| json!(0)),
                    json!(i64::from(shape["flattened"] == true)),
                ])
            }),
            _ => -12,
        }
    }

    /// A place first, for shapes that hold themselves, and then its row.
    fn row(&mut self, name: &str, make: impl FnOnce(&mut Self) -> Value) -> i64 {
        if let Some(known) = self.known.get(name) {
            return *known;
        }
        let place = self.rows.len();
        let id = i64::try_from(place).unwrap_or(-12);
        self.known.insert(name.to_owned(), id);
        self.rows.push(Value::Null);
        self.rows[place] = make(self);
        id
    }

    fn structure(&mut self, shape: &Value) -> Value {
        let required: Vec<&str> = shape["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let members = shape["members"].as_object().into_iter().flatten();
        let members: Vec<Value> = members
            .map(|(name, member)| self.member(name, member, required.contains(&name.as_str())))
            .collect();
        trimmed(vec![
            json!(0),
            json!(members),
            shape.get("payload").cloned().unwrap_or_else(|| json!(0)),
            json!(i64::from(shape["union"] == true)),
        ])
    }

    fn member(&mut self, name: &str, member: &Value, is_required: bool) -> Value {
        let mut id = self.id(member["shape"].as_str().unwrap_or_default());
        if id == -7 && member["timestampFormat"].is_string() {
            id = time(&member["timestampFormat"]);
        }
        let flag = |name: &str| i64::from(member[name] == true);
        let flags = i64::from(is_required)
            | flag("idempotencyToken") << 1
            | flag("xmlAttribute") << 2
            | flag("flattened") << 3
            | flag("jsonvalue") << 4
            | flag("hostLabel") << 5;
        let location = match member["location"].as_str() {
            Some("uri") => 1,
            Some("querystring") => 2,
            Some("header") => 3,
            Some("headers") => 4,
            Some("statusCode") => 5,
            _ => 0,
        };
        let other = |key: &str| match member[key].as_str() {
            Some(text) if text != name => json!(text),
            _ => json!(0),
        };
        trimmed(vec![
            json!(name),
            json!(id),
            json!(flags),
            json!(location),
            other("locationName"),
            // Also where it is the member's own name: the wire name may be another one.
            member["queryName"]
                .as_str()
                .map_or_else(|| json!(0), |text| json!(text)),
        ])
    }
}

/// Enumerations of states are what runbooks wait for; others are left out.
fn is_state(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.ends_with("state") || name.ends_with("status") || name.ends_with("statename")
}

fn time(format: &Value) -> i64 {
    match format.as_str() {
        Some("iso8601") => -9,
        Some("unixTimestamp") => -10,
        Some("rfc822") => -11,
        _ => -7,
    }
}

fn trimmed(mut fields: Vec<Value>) -> Value {
    while fields.len() > 2 && fields.last() == Some(&json!(0)) {
        fields.pop();
    }
    json!(fields)
}
