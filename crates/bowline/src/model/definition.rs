//! Task definitions: what the containers of a task are made of.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One revision of a task definition family.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskDefinition {
    /// Its ARN.
    pub task_definition_arn: String,
    /// Its family.
    pub family: String,
    /// Its number in the family, from 1.
    pub revision: i32,
    /// ACTIVE, INACTIVE or DELETE_IN_PROGRESS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// awsvpc, bridge, host or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_mode: Option<String>,
    /// CPU units of the whole task (1024 are one vCPU).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// Memory of the whole task in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// The role that the containers' programs have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_role_arn: Option<String>,
    /// The role that ECS starts the task with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_role_arn: Option<String>,
    /// When it was registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registered_at: Option<Timestamp>,
    /// Its containers.
    pub container_definitions: Vec<ContainerDefinition>,
    /// What the containers can mount.
    pub volumes: Vec<Volume>,
}

/// One container of a task definition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerDefinition {
    /// Its name.
    pub name: String,
    /// Its image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Whether the task ends with it.
    pub essential: bool,
    /// What the image's entry point is replaced by; empty means it is not.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub entry_point: Vec<String>,
    /// What the image's command is replaced by; empty means it is not.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub command: Vec<String>,
    /// CPU units.
    pub cpu: i32,
    /// Hard limit of memory in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<i32>,
    /// Soft limit of memory in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_reservation: Option<i32>,
    /// The user of its processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Where its processes start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// Whether its root file system cannot be written.
    pub readonly_root_filesystem: bool,
    /// Its environment, by name.
    pub environment: Vec<EnvironmentVariable>,
    /// What ECS puts into its environment from a store, by name.
    pub secrets: Vec<SecretReference>,
    /// What it listens on.
    pub port_mappings: Vec<PortMapping>,
    /// Where volumes are in it.
    pub mount_points: Vec<MountPoint>,
    /// The command of its health check; empty means there is none.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub health_check: Vec<String>,
    /// Where its output goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_configuration: Option<LogConfiguration>,
    /// Its docker labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub docker_labels: BTreeMap<String, String>,
}

/// A variable of an environment.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentVariable {
    /// Its name.
    pub name: String,
    /// Its value; absent when it is masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The value was taken out because it looks like a secret.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub masked: bool,
}

impl std::fmt::Debug for EnvironmentVariable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values may be secrets whatever the name.
        f.debug_struct("EnvironmentVariable")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A variable whose value ECS reads from Secrets Manager or Parameter Store when the container starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// The variable's name.
    pub name: String,
    /// The ARN or name of the secret; never its value.
    pub value_from: String,
}

/// A port of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// The port inside; absent for a range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_port: Option<i32>,
    /// The port on the host; 0 is any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_port: Option<i32>,
    /// A range of ports, as `8000-8010`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_port_range: Option<String>,
    /// tcp or udp.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Its name for Service Connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A volume in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MountPoint {
    /// The volume's name.
    pub source_volume: String,
    /// Where it is in the container.
    pub container_path: String,
    /// Whether the container cannot write to it.
    pub read_only: bool,
}

/// A volume of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// The folder of the host that it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_path: Option<String>,
    /// The EFS file system that it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub efs: Option<EfsVolume>,
}

/// An EFS file system as a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EfsVolume {
    /// `fs-…`.
    pub file_system_id: String,
    /// The folder of the file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_directory: Option<String>,
    /// `fsap-…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_point_id: Option<String>,
    /// Whether the task role decides about access.
    pub iam: bool,
    /// Whether the connection is encrypted.
    pub transit_encryption: bool,
}

/// Where the output of a container goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogConfiguration {
    /// awslogs, awsfirelens …
    pub log_driver: String,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
}

impl TaskDefinition {
    /// Takes out the values that look like secrets: see [`looks_secret`].
    pub fn mask(&mut self) {
        for container in &mut self.container_definitions {
            mask(&mut container.environment);
            let options = container.log_configuration.as_mut();
            for (name, value) in options.into_iter().flat_map(|logs| &mut logs.options) {
                if looks_secret(name, value) {
                    MASKED.clone_into(value);
                }
            }
            for (name, value) in &mut container.docker_labels {
                if looks_secret(name, value) {
                    MASKED.clone_into(value);
                }
            }
        }
    }
}

/// Takes the values out of variables that look like secrets.
pub(super) fn mask(variables: &mut [EnvironmentVariable]) {
    for variable in variables {
        let secret = variable.value.as_ref();
        if secret.is_some_and(|value| looks_secret(&variable.name, value)) {
            variable.value = None;
            variable.masked = true;
        }
    }
}

/// Whether a value should not be shown: by its name (a word of it is `PASSWORD`, `TOKEN`, `SECRET`, `KEY` and the
/// like), or because it is a URL with a password in it. An empty value is no secret.
pub fn looks_secret(name: &str, value: &str) -> bool {
    !value.is_empty() && (has_secret_word(name) || has_password(value))
}

fn has_secret_word(name: &str) -> bool {
    let lower = split_camel(name).to_lowercase();
    let mut words = lower.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.any(|word| SECRET_WORDS.contains(&word))
        || SECRET_PARTS
            .iter()
            .any(|part| lower.replace(['_', '-', '.'], "").contains(part))
}

/// `apiKey` has two words.
fn split_camel(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    let mut after_lower = false;
    for letter in name.chars() {
        if after_lower && letter.is_uppercase() {
            text.push('_');
        }
        after_lower = letter.is_lowercase();
        text.push(letter);
    }
    text
}

/// `scheme://user:password@host`, anywhere in the text.
fn has_password(value: &str) -> bool {
    value.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', '?', '#', ' ']).next().unwrap_or(rest);
        authority
            .rsplit_once('@')
            .and_then(|(user, _)| user.split_once(':'))
            .is_some_and(|(_, password)| !password.is_empty())
    })
}

/// What stands where a masked text was that cannot be left out.
pub(crate) const MASKED: &str = "(masked)";

const SECRET_WORDS: [&str; 15] = [
    "auth",
    "cert",
    "credential",
    "credentials",
    "dsn",
    "jwt",
    "key",
    "keys",
    "pass",
    "pat",
    "pin",
    "pwd",
    "salt",
    "signature",
    "cookie",
];

const SECRET_PARTS: [&str; 8] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "privatekey",
    "accesskey",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names() {
        for name in [
            "DB_PASSWORD",
            "API_TOKEN",
            "apiKey",
            "AWS_SECRET_ACCESS_KEY",
            "STRIPE_KEY",
            "dbPwd",
            "GITHUB_PAT",
            "SESSIONTOKEN",
            "SENTRY_DSN",
            "Basic-Auth",
            "splunk-token",
        ] {
            assert!(looks_secret(name, "x"), "{name}");
            assert!(!looks_secret(name, ""), "{name}");
        }
        for name in [
            "LOG_LEVEL",
            "KEYBOARD",
            "MONKEY",
            "AUTHOR",
            "PATH",
            "HOST",
            "COMPASS",
            "REGION",
        ] {
            assert!(!looks_secret(name, "x"), "{name}");
        }
    }

    #[test]
    fn secrets_are_known_by_a_password_in_a_url() {
        assert!(looks_secret(
            "DATABASE_URL",
            "postgres://app:hunter2@db:5432/shop"
        ));
        assert!(looks_secret("X", "jdbc:see redis://:pw@cache"));
        for harmless in [
            "postgres://app@db/shop",
            "https://host:8080/a@b:c",
            "a:b@c",
            "http://host/?q=a:b@c",
        ] {
            assert!(!looks_secret("DATABASE_URL", harmless), "{harmless}");
        }
    }

    #[test]
    fn a_masked_definition_has_the_names_and_not_the_values() {
        let variable = |name: &str, value: &str| EnvironmentVariable {
            name: name.into(),
            value: Some(value.into()),
            masked: false,
        };
        let mut definition = TaskDefinition {
            container_definitions: vec![ContainerDefinition {
                environment: vec![variable("A", "plain"), variable("B_TOKEN", "hunter2")],
                log_configuration: Some(LogConfiguration {
                    log_driver: "splunk".into(),
                    options: BTreeMap::from([("splunk-token".into(), "hunter2".into())]),
                }),
                ..ContainerDefinition::default()
            }],
            ..TaskDefinition::default()
        };
        definition.mask();
        let json = serde_json::to_value(&definition).unwrap();
        assert!(!json.to_string().contains("hunter2"), "{json}");
        assert_eq!(
            json["containerDefinitions"][0]["environment"],
            serde_json::json!([{ "name": "A", "value": "plain" }, { "name": "B_TOKEN", "masked": true }])
        );
    }
}
