//! Overrides of a task definition: read from JSON as the AWS CLI takes it, and merged with single options.

use std::fmt;

use serde::{Deserialize, Serialize};

/// ECS refuses overrides whose JSON is longer, in characters.
const LONGEST: usize = 8192;

/// What a task has otherwise than its definition says. Members that are not known are refused: a misspelt one would
/// be lost without a word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Overrides {
    /// By container.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub container_overrides: Vec<ContainerOverride>,
    /// CPU units of the whole task, as text: `1024`, `1 vCPU`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// Memory of the whole task, as text: `2048`, `2 GB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// The role of the containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_role_arn: Option<String>,
    /// The role that pulls images, reads secrets and writes logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_role_arn: Option<String>,
    /// Fargate's disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage: Option<EphemeralStorage>,
}

/// What one container has otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ContainerOverride {
    /// The container's name.
    pub name: String,
    /// Arguments for the image's entry point, which itself cannot be overridden.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Variables to add or replace.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<Variable>,
    /// Files of variables in S3.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub environment_files: Vec<EnvironmentFile>,
    /// CPU units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<i32>,
    /// The hard limit of memory, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<i32>,
    /// The soft limit of memory, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_reservation: Option<i32>,
    /// GPUs and the like.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_requirements: Vec<ResourceRequirement>,
}

/// An environment variable. Its value may be a secret and is not shown by `Debug`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A file of variables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentFile {
    /// The ARN of the object in S3.
    pub value: String,
    /// `s3`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// Something a container needs a number of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceRequirement {
    /// How much.
    pub value: String,
    /// `GPU` or `InferenceAccelerator`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// Fargate's disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EphemeralStorage {
    /// 21 to 200 GiB.
    pub size_in_gi_b: i32,
}

impl Overrides {
    /// Reads the JSON that `aws ecs run-task --overrides` takes.
    ///
    /// # Errors
    /// A sentence for the user.
    pub fn parse(json: &str) -> Result<Self, String> {
        let overrides: Self = serde_json::from_str(json)
            .map_err(|error| format!("the overrides are wrong: {error}"))?;
        let named = |container: &ContainerOverride| !container.name.is_empty();
        if overrides.container_overrides.iter().all(named) {
            Ok(overrides)
        } else {
            Err("the overrides are wrong: a container override has no name".to_owned())
        }
    }

    /// The overrides of a container, made if there are none.
    pub fn container(&mut self, name: &str) -> &mut ContainerOverride {
        let found = self
            .container_overrides
            .iter()
            .position(|container| container.name == name);
        let index = found.unwrap_or_else(|| {
            self.container_overrides.push(ContainerOverride {
                name: name.to_owned(),
                ..ContainerOverride::default()
            });
            self.container_overrides.len() - 1
        });
        &mut self.container_overrides[index]
    }

    /// Whether nothing is overridden.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The names of the containers that are overridden.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.container_overrides
            .iter()
            .map(|container| container.name.as_str())
    }

    /// What ECS would refuse.
    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(storage) = &self.ephemeral_storage
            && !(21..=200).contains(&storage.size_in_gi_b)
        {
            let size = storage.size_in_gi_b;
            return Err(format!("ephemeral storage has 21 to 200 GiB, not {size}"));
        }
        let json = serde_json::to_string(self).map_err(|error| error.to_string())?;
        let length = json.chars().count();
        if length > LONGEST {
            return Err(format!(
                "the overrides (command, environment …) are {length} characters of JSON; ECS takes {LONGEST}"
            ));
        }
        Ok(())
    }
}

impl ContainerOverride {
    /// Sets a variable, in place of one of the same name.
    pub fn set(&mut self, name: &str, value: &str) {
        match self.environment.iter_mut().find(|one| one.name == name) {
            Some(variable) => value.clone_into(&mut variable.value),
            None => self.environment.push(Variable {
                name: name.to_owned(),
                value: value.to_owned(),
            }),
        }
    }
}

impl fmt::Debug for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=[redacted]", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_the_aws_cli_is_read_whole_and_written_back() {
        let json = r#"{"containerOverrides":[{"name":"app","command":["a","b c"],"environment":[{"name":"A","value":"1"}],"cpu":256,"resourceRequirements":[{"value":"1","type":"GPU"}]}],"cpu":"512","taskRoleArn":"arn:r","ephemeralStorage":{"sizeInGiB":30}}"#;
        let overrides = Overrides::parse(json).unwrap();
        assert_eq!(serde_json::to_string(&overrides).unwrap(), json);
        assert!(!format!("{overrides:?}").contains("\"1\"}]"));
        assert!(format!("{:?}", overrides.container_overrides[0].environment).contains("redacted"));
    }

    #[test]
    fn single_options_win_over_the_json() {
        let json = r#"{"containerOverrides":[{"name":"app","command":["old"],"environment":[{"name":"A","value":"1"},{"name":"B","value":"2"}]}]}"#;
        let mut overrides = Overrides::parse(json).unwrap();
        let app = overrides.container("app");
        app.command = Some(vec!["new".into()]);
        app.set("B", "3");
        app.set("C", "4");
        overrides.container("side").set("D", "5");
        assert_eq!(
            serde_json::to_string(&overrides).unwrap(),
            r#"{"containerOverrides":[{"name":"app","command":["new"],"environment":[{"name":"A","value":"1"},{"name":"B","value":"3"},{"name":"C","value":"4"}]},{"name":"side","environment":[{"name":"D","value":"5"}]}]}"#
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (json, text) in [
            ("{", "EOF"),
            (
                r#"{"containerOverride":[]}"#,
                "unknown field `containerOverride`",
            ),
            (
                r#"{"containerOverrides":[{"command":["x"]}]}"#,
                "has no name",
            ),
            (r#"{"cpu":1}"#, "invalid type"),
        ] {
            let error = Overrides::parse(json).unwrap_err();
            assert!(error.contains(text), "{json}: {error}");
        }
        let mut long = Overrides::default();
        long.container("app").set("A", &"x".repeat(8200));
        assert!(long.check().unwrap_err().contains("ECS takes 8192"));
        let storage = Overrides {
            ephemeral_storage: Some(EphemeralStorage { size_in_gi_b: 20 }),
            ..Overrides::default()
        };
        assert!(storage.check().unwrap_err().contains("21 to 200"));
    }
}
