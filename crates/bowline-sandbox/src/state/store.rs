//! Parameters and secrets: values by name.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::database;
use crate::identifiers::{self, Account};
use crate::state::seconds;

/// A parameter of Systems Manager.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Parameter {
    pub(crate) value: String,
    pub(crate) kind: ParameterKind,
    pub(crate) description: Option<String>,
    pub(crate) version: u64,
    pub(crate) modified: SystemTime,
}

/// What a parameter's value is.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
pub(crate) enum ParameterKind {
    /// A text.
    #[default]
    String,
    /// Texts between commas.
    StringList,
    /// A text that is given out only on request.
    SecureString,
}

impl ParameterKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::String => "String",
            Self::StringList => "StringList",
            Self::SecureString => "SecureString",
        }
    }
}

impl Parameter {
    /// Its first version.
    pub(crate) fn new(value: &str, kind: ParameterKind) -> Self {
        Self {
            value: value.to_owned(),
            kind,
            description: None,
            version: 1,
            modified: SystemTime::now(),
        }
    }

    /// Another value, if it is another.
    pub(crate) fn replace(&mut self, value: &str, kind: ParameterKind) {
        if (self.value.as_str(), self.kind) != (value, kind) {
            *self = Self {
                version: self.version + 1,
                description: self.description.take(),
                ..Self::new(value, kind)
            };
        }
    }

    /// As GetParameter has it.
    pub(crate) fn show(&self, account: &Account, name: &str, decrypted: bool) -> Value {
        let value = match self.kind == ParameterKind::SecureString && !decrypted {
            // A ciphertext in AWS, of no use to the caller either.
            true => identifiers::opaque(&self.value),
            false => self.value.clone(),
        };
        json!({
            "Name": name,
            "Type": self.kind.as_str(),
            "Value": value,
            "Version": self.version,
            "LastModifiedDate": seconds(self.modified),
            "DataType": "text",
            "ARN": parameter_arn(account, name),
        })
    }
}

/// A name that begins with a slash brings the slash of the ARN along.
pub(crate) fn parameter_arn(account: &Account, name: &str) -> String {
    let Account {
        partition,
        region,
        id,
        ..
    } = account;
    let slash = if name.starts_with('/') { "" } else { "/" };
    format!("arn:{partition}:ssm:{region}:{id}:parameter{slash}{name}")
}

/// A secret of Secrets Manager.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Secret {
    pub(crate) content: Content,
    pub(crate) description: Option<String>,
    /// The six letters that Secrets Manager puts at the end of ARNs.
    pub(crate) suffix: String,
    pub(crate) version: String,
    pub(crate) created: SystemTime,
    pub(crate) changed: SystemTime,
}

/// What is secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Content {
    Text(String),
    /// In base64, as on the wire.
    Binary(String),
    /// Nothing yet.
    None,
}

impl Secret {
    pub(crate) fn new(content: Content) -> Self {
        let now = SystemTime::now();
        Self {
            content,
            description: None,
            suffix: identifiers::hex(6),
            version: identifiers::uuid(),
            created: now,
            changed: now,
        }
    }

    /// Another value.
    pub(crate) fn replace(&mut self, content: Content) {
        if self.content != content {
            self.content = content;
            self.version = identifiers::uuid();
            self.changed = SystemTime::now();
        }
    }

    pub(crate) fn arn(&self, account: &Account, name: &str) -> String {
        let Account {
            partition,
            region,
            id,
            ..
        } = account;
        let suffix = &self.suffix;
        format!("arn:{partition}:secretsmanager:{region}:{id}:secret:{name}-{suffix}")
    }
}

/// Both, by name.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Stores {
    pub(crate) parameters: BTreeMap<String, Parameter>,
    pub(crate) secrets: BTreeMap<String, Secret>,
}

impl Stores {
    /// What every world has: how the demo database is reached.
    pub(crate) fn demo() -> Self {
        let port = database::PORT.to_string();
        let parameters = [
            ("/demo/db/host", database::HOST),
            ("/demo/db/port", port.as_str()),
        ];
        let parameters = parameters.map(|(name, value)| {
            let parameter = Parameter::new(value, ParameterKind::String);
            (name.to_owned(), parameter)
        });
        let value = json!({
            "host": database::HOST,
            "port": database::PORT,
            "username": "demo",
            "password": "not a secret",
        });
        let secret = Secret {
            suffix: "a1b2c3".to_owned(),
            ..Secret::new(Content::Text(value.to_string()))
        };
        Self {
            parameters: parameters.into(),
            secrets: BTreeMap::from([("demo/db".to_owned(), secret)]),
        }
    }

    /// A parameter by its name or ARN, with its name.
    pub(crate) fn parameter(&self, name: &str) -> Option<(&str, &Parameter)> {
        let bare = match name.split_once(":parameter") {
            Some((arn, bare)) if arn.starts_with("arn:") => bare,
            _ => name,
        };
        let found = self.parameters.get_key_value(bare);
        let found = found.or_else(|| self.parameters.get_key_value(bare.strip_prefix('/')?));
        found.map(|(name, parameter)| (name.as_str(), parameter))
    }

    /// The name of a secret that is known by its name or ARN.
    pub(crate) fn secret(&self, id: &str) -> Option<String> {
        let bare = id.split_once(":secret:").map_or(id, |it| it.1);
        let by_arn = || {
            let (name, suffix) = bare.rsplit_once('-')?;
            self.secrets
                .get_key_value(name)
                .filter(|(_, secret)| secret.suffix == suffix)
        };
        let found = self.secrets.get_key_value(bare).or_else(by_arn);
        found.map(|(name, _)| name.clone())
    }
}
