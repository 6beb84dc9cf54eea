//! What stands in a world file. `docs/reference/sandbox-world.md` says the same to users.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{IntoDeserializer, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, de};

use super::yaml::At;
use crate::state::store::ParameterKind;

/// The whole file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "world of a bowline sandbox")]
pub(super) struct File {
    /// For all tasks that do not say otherwise.
    #[serde(default)]
    pub(super) start: Start,
    #[serde(default)]
    pub(super) families: Vec<Family>,
    #[serde(default)]
    pub(super) clusters: Vec<Cluster>,
    #[serde(default)]
    pub(super) functions: Vec<Function>,
    #[serde(default)]
    pub(super) parameters: Vec<Parameter>,
    #[serde(default)]
    pub(super) secrets: Vec<Secret>,
    pub(super) network: Option<Network>,
    /// So many more accounts, each with a role `operations` to assume.
    #[schemars(with = "Option<usize>")]
    pub(super) accounts: Option<Accounts>,
    /// Regions beside the sandbox's own, each with a world of its own.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(super) regions: Vec<Region>,
}

/// A number of accounts, at most 1,000.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accounts(pub(super) usize);

impl<'de> Deserialize<'de> for Accounts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match usize::deserialize(deserializer)? {
            number @ 0..=1000 => Ok(Self(number)),
            _ => Err(de::Error::custom("there can be at most 1000 more accounts")),
        }
    }
}

/// `eu-west-1`.
#[derive(Clone, Debug)]
pub(super) struct Region(pub(super) String);

impl<'de> Deserialize<'de> for Region {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let is_plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        match (3..=30).contains(&name.len()) && name.bytes().all(is_plain) {
            true => Ok(Self(name)),
            false => Err(de::Error::custom(format!("{name:?} is not a region"))),
        }
    }
}

/// A parameter of Systems Manager.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameter {
    #[schemars(with = "String")]
    pub(super) name: At<String>,
    pub(super) value: String,
    #[serde(default, rename = "type")]
    pub(super) kind: ParameterKind,
}

/// A secret of Secrets Manager.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Secret {
    #[schemars(with = "String")]
    pub(super) name: At<String>,
    pub(super) value: SecretValue,
}

/// A text, or names and texts, which become a JSON object.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum SecretValue {
    /// As it is.
    Text(String),
    /// A JSON object.
    Members(BTreeMap<String, String>),
}

impl SecretValue {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Members(members) => serde_json::json!(members).to_string(),
        }
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The tasks' network: one subnet.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Network {
    /// Whether a default route leads out, through a NAT gateway.
    pub(super) nat: Option<bool>,
    /// The interface endpoints, by service: `ssmmessages`, `ecr.api`.
    #[schemars(with = "Option<Vec<String>>")]
    pub(super) endpoints: Option<Vec<At<String>>>,
    /// Whether those answer to the names of their services.
    #[serde(default = "yes")]
    pub(super) private_dns: bool,
}

/// A Lambda function.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Function {
    #[schemars(with = "String")]
    pub(super) name: At<String>,
    pub(super) command: Option<Vec<String>>,
    pub(super) bootstrap: Option<String>,
    #[serde(default)]
    pub(super) environment: BTreeMap<String, String>,
    /// Seconds.
    pub(super) timeout: Option<u64>,
}

/// When the processes of a task start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Start {
    /// When a session needs them.
    #[default]
    Lazy,
    /// With the sandbox.
    Eager,
}

/// How often an item stands for, each time with other words for its placeholders.
#[derive(Debug, Default)]
pub(super) struct Many<'a> {
    pub(super) repeat: Option<usize>,
    pub(super) each: Option<&'a BTreeMap<String, Vec<String>>>,
}

/// A value for all copies of an item, or several that are taken in turn.
#[derive(Debug)]
pub(super) enum Turns<T> {
    One(T),
    InTurn(Vec<T>),
}

impl<T> Turns<T> {
    /// The value of the copy with this number.
    pub(super) fn of(&self, number: usize) -> Option<&T> {
        match self {
            Self::One(value) => Some(value),
            Self::InTurn(values) => values.get(number.checked_rem(values.len())?),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Turns<T> {
    /// Not as an untagged enum, whose errors say nothing about the value.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TurnsVisitor(PhantomData))
    }
}

struct TurnsVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for TurnsVisitor<T> {
    type Value = Turns<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, or a list of values to take in turn")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
        T::deserialize(value.into_deserializer()).map(Turns::One)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        T::deserialize(value.into_deserializer()).map(Turns::One)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
        T::deserialize(value.into_deserializer()).map(Turns::One)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(Turns::InTurn)
    }
}

/// How values in turn look in the schema.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum OneOrTurns<T> {
    /// One for all.
    One(T),
    /// Several, dealt out one after another.
    InTurn(Vec<T>),
}

/// How ports look in the schema.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum NumberOrText {
    /// `8080`
    Number(u16),
    /// `53/udp`
    Text(String),
}

/// A task definition.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Family {
    #[schemars(with = "String")]
    pub(super) name: At<String>,
    pub(super) repeat: Option<usize>,
    pub(super) each: Option<BTreeMap<String, Vec<String>>>,
    pub(super) network_mode: Option<String>,
    pub(super) cpu: Option<String>,
    pub(super) memory: Option<String>,
    pub(super) task_role: Option<String>,
    pub(super) execution_role: Option<String>,
    pub(super) containers: Vec<Container>,
    #[serde(default)]
    pub(super) volumes: Vec<Volume>,
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
}

/// A container definition.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Container {
    #[schemars(with = "String")]
    pub(super) name: At<String>,
    pub(super) image: String,
    #[serde(default = "yes")]
    pub(super) essential: bool,
    #[serde(default)]
    pub(super) entry_point: Vec<String>,
    pub(super) command: Option<Vec<String>>,
    pub(super) cpu: Option<i64>,
    pub(super) memory: Option<i64>,
    pub(super) memory_reservation: Option<i64>,
    #[serde(default)]
    pub(super) environment: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) secrets: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    #[schemars(with = "Vec<NumberOrText>")]
    pub(super) ports: Vec<Port>,
    #[serde(default)]
    pub(super) mounts: Vec<Mount>,
    pub(super) logs: Option<Logs>,
    pub(super) health: Option<Vec<String>>,
    pub(super) user: Option<String>,
    pub(super) working_directory: Option<String>,
    pub(super) stop_timeout: Option<u64>,
}

/// `8080` or `53/udp`.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) number: u16,
    pub(super) protocol: &'static str,
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (number, protocol) = text.split_once('/').unwrap_or((&text, "tcp"));
        let protocol = match protocol {
            "tcp" => Some("tcp"),
            "udp" => Some("udp"),
            _ => None,
        };
        match (number.parse(), protocol) {
            (Ok(number @ 1..), Some(protocol)) => Ok(Self { number, protocol }),
            _ => Err(de::Error::custom(format!(
                "{text:?} is not a port: write 8080, 8080/tcp or 53/udp"
            ))),
        }
    }
}

/// A mount point of a container.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Mount {
    #[schemars(with = "String")]
    pub(super) volume: At<String>,
    pub(super) path: String,
    #[serde(default)]
    pub(super) read_only: bool,
}

/// Where a container's output goes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Logs {
    pub(super) driver: Option<String>,
    pub(super) group: Option<String>,
    pub(super) prefix: Option<String>,
    #[serde(default)]
    pub(super) options: BTreeMap<String, String>,
}

/// A volume of a family: of its own, from the host, or of a file system.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Volume {
    pub(super) name: String,
    pub(super) host: Option<String>,
    pub(super) efs: Option<Efs>,
}

/// An EFS file system as a volume.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Efs {
    pub(super) file_system: String,
    pub(super) root: Option<String>,
    pub(super) access_point: Option<String>,
    #[serde(default)]
    pub(super) iam: bool,
    #[serde(default)]
    pub(super) transit_encryption: bool,
}

/// A cluster.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Cluster {
    #[schemars(with = "String")]
    pub(super) name: At<String>,
    pub(super) repeat: Option<usize>,
    pub(super) each: Option<BTreeMap<String, Vec<String>>>,
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
    pub(super) exec_logging: Option<String>,
    #[serde(default)]
    pub(super) services: Vec<Service>,
    #[serde(default)]
    pub(super) tasks: Vec<Task>,
}

/// A service.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Service {
    #[schemars(with = "String")]
    pub(super) name: At<String>,
    pub(super) repeat: Option<usize>,
    pub(super) each: Option<BTreeMap<String, Vec<String>>>,
    #[schemars(with = "Option<String>")]
    pub(super) family: Option<At<String>>,
    #[schemars(with = "Option<OneOrTurns<usize>>")]
    pub(super) desired: Option<Turns<usize>>,
    #[schemars(with = "Option<OneOrTurns<bool>>")]
    pub(super) exec: Option<Turns<bool>>,
    pub(super) capacity_provider: Option<String>,
    #[schemars(with = "Option<OneOrTurns<String>>")]
    pub(super) age: Option<Turns<Age>>,
    pub(super) start: Option<Start>,
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
}

/// Tasks of no service.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Task {
    #[schemars(with = "String")]
    pub(super) family: At<String>,
    pub(super) repeat: Option<usize>,
    pub(super) each: Option<BTreeMap<String, Vec<String>>>,
    pub(super) count: Option<usize>,
    pub(super) group: Option<String>,
    pub(super) started_by: Option<String>,
    #[schemars(with = "Option<OneOrTurns<bool>>")]
    pub(super) exec: Option<Turns<bool>>,
    #[schemars(with = "Option<OneOrTurns<String>>")]
    pub(super) age: Option<Turns<Age>>,
    pub(super) start: Option<Start>,
    pub(super) stopped: Option<Stopped>,
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
}

/// How tasks have ended.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Stopped {
    #[serde(default)]
    pub(super) code: StopCode,
    pub(super) reason: Option<String>,
    pub(super) exit_code: Option<i32>,
}

/// The stop codes that a sandbox's tasks can have.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
pub(super) enum StopCode {
    #[default]
    EssentialContainerExited,
    TaskFailedToStart,
    UserInitiated,
    ServiceSchedulerInitiated,
    SpotInterruption,
}

/// `3d`, `2h30m`: how long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Age(pub(super) Duration);

impl<'de> Deserialize<'de> for Age {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_age(&text).map(Self).ok_or_else(|| {
            de::Error::custom(format!("{text:?} is not an age: write 45s, 2h30m or 9d"))
        })
    }
}

/// At most some decades: dates before 1970 would be zero.
fn parse_age(text: &str) -> Option<Duration> {
    const LIMIT: u64 = 20 * 365 * 24 * 60 * 60;
    let (mut total, mut rest) = (0_u64, text);
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let unit = match rest[digits..].chars().next()? {
            's' => 1,
            'm' => 60,
            'h' => 60 * 60,
            'd' => 24 * 60 * 60,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[digits + 1..];
    }
    (!text.is_empty() && total <= LIMIT).then(|| Duration::from_secs(total))
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_numbers_with_units() {
        let seconds = |text| parse_age(text).map(|age| age.as_secs());
        assert_eq!(seconds("45s"), Some(45));
        assert_eq!(seconds("2h30m"), Some(9000));
        assert_eq!(seconds("9d"), Some(777_600));
        for wrong in [
            "",
            "9",
            "d",
            "9w",
            "-1d",
            "é",
            "99999999999999999999d",
            "900000d",
        ] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
