//! Specs with values that are looked up when they are needed: `5432:{ssm:/prod/db/host}:{env:DB_PORT}`.
//!
//! ```text
//! {env:NAME}            a variable of the target container's definition, also one that it takes from a secret
//! {ssm:NAME}            an SSM parameter (ssm:GetParameter)
//! {secret:NAME#FIELD}   a member of a secret that is JSON (secretsmanager:GetSecretValue); without FIELD all of it
//! ```

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::error::ForwardError;
use super::spec::{ForwardSpec, Local, SpecError};
use crate::{Client, ResolvedTarget};

/// For all look-ups of one spec together.
const LIMIT: Duration = Duration::from_secs(20);

/// A spec, perhaps with values to be looked up.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ForwardTemplate {
    text: String,
}

/// Where a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source<'a> {
    Environment(&'a str),
    Parameter(&'a str),
    Secret(&'a str, Option<&'a str>),
}

impl FromStr for ForwardTemplate {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        // Wherever a value may stand, a number may.
        let tried = fill_in(text, |_| Ok("1".to_owned())).map_err(|reason| SpecError {
            text: text.to_owned(),
            reason,
        })?;
        tried.parse::<ForwardSpec>().map_err(|error| SpecError {
            text: text.to_owned(),
            reason: error.reason,
        })?;
        Ok(Self {
            text: text.to_owned(),
        })
    }
}

impl TryFrom<String> for ForwardTemplate {
    type Error = SpecError;

    fn try_from(text: String) -> Result<Self, SpecError> {
        text.parse()
    }
}

impl From<ForwardSpec> for ForwardTemplate {
    fn from(spec: ForwardSpec) -> Self {
        Self {
            text: spec.to_string(),
        }
    }
}

impl fmt::Display for ForwardTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl ForwardTemplate {
    /// Whether others than this machine could connect.
    pub(crate) fn is_exposed(&self) -> bool {
        let tried = fill_in(&self.text, |_| Ok("1".to_owned())).unwrap_or_default();
        tried
            .parse::<ForwardSpec>()
            .is_ok_and(|spec| match spec.local {
                Local::Port { address, .. } => {
                    address.is_some_and(|address| !address.is_loopback())
                }
                Local::Socket(_) => false,
            })
    }

    /// Looks up what is to be looked up. No value that is not a host or a port gets into an error.
    pub async fn fill(
        &self,
        client: &Client,
        target: &ResolvedTarget,
    ) -> Result<ForwardSpec, ForwardError> {
        let mut names = Vec::new();
        let _ = fill_in(&self.text, |name| {
            names.push(name.to_owned());
            Ok(String::new())
        });
        let deadline = Instant::now() + LIMIT;
        let mut values = Vec::new();
        for name in names {
            let unknown = |reason: &str| ForwardError::Value {
                name: name.clone(),
                reason: reason.to_owned(),
            };
            let source = source(&name).map_err(|reason| unknown(&reason))?;
            let value = look_up(client, target, &source, deadline).await?;
            let value = value.ok_or_else(|| unknown("there is no such value"))?;
            let plain = |letter: char| letter.is_ascii_alphanumeric() || ".-_:".contains(letter);
            if value.is_empty() || value.len() > 253 || !value.chars().all(plain) {
                return Err(unknown("its value is no host and no port"));
            }
            // Addresses stand in brackets.
            values.push(match value.contains(':') {
                true => format!("[{value}]"),
                false => value,
            });
        }
        let mut values = values.into_iter();
        let text = fill_in(&self.text, |_| Ok(values.next().unwrap_or_default()));
        let text = text.unwrap_or_default();
        text.parse().map_err(|_: SpecError| ForwardError::Value {
            name: self.text.clone(),
            reason: "with its values it is not of the form [[ADDRESS:]PORT:][HOST:]PORT".to_owned(),
        })
    }
}

/// Replaces what stands in braces.
fn fill_in(
    text: &str,
    mut value: impl FnMut(&str) -> Result<String, String>,
) -> Result<String, String> {
    let (mut filled, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once('{') {
        let (name, after) = behind
            .split_once('}')
            .ok_or_else(|| "a brace is not closed".to_owned())?;
        source(name)?;
        filled.push_str(before);
        filled.push_str(&value(name)?);
        rest = after;
    }
    Ok(filled + rest)
}

fn source(name: &str) -> Result<Source<'_>, String> {
    let unknown =
        || format!("{{{name}}} is none of {{env:NAME}}, {{ssm:NAME}} and {{secret:NAME#FIELD}}");
    let (kind, name) = name.split_once(':').ok_or_else(unknown)?;
    match kind {
        _ if name.is_empty() => Err(unknown()),
        "env" => Ok(Source::Environment(name)),
        "ssm" => Ok(Source::Parameter(name)),
        "secret" => Ok(match name.split_once('#') {
            Some((name, field)) => Source::Secret(name, Some(field)),
            None => Source::Secret(name, None),
        }),
        _ => Err(unknown()),
    }
}

async fn look_up(
    client: &Client,
    target: &ResolvedTarget,
    source: &Source<'_>,
    deadline: Instant,
) -> Result<Option<String>, ForwardError> {
    match source {
        Source::Parameter(name) => parameter(client, name, deadline).await,
        Source::Secret(name, field) => secret(client, name, *field, deadline).await,
        Source::Environment(name) => {
            let task = client.task(&target.cluster.name, &target.task.id).await?;
            let Some(definition) = task.and_then(|task| task.task_definition_arn) else {
                return Ok(None);
            };
            let definition = client.task_definition(&definition).await?;
            let containers = definition.map(|definition| definition.container_definitions);
            let containers = containers.unwrap_or_default();
            let container = containers
                .into_iter()
                .find(|container| container.name == target.container);
            let Some(container) = container else {
                return Ok(None);
            };
            let plain = container
                .environment
                .iter()
                .find(|variable| variable.name == *name);
            if let Some(variable) = plain {
                return Ok(variable.value.clone());
            }
            let from = container
                .secrets
                .iter()
                .find(|variable| variable.name == *name);
            match from.map(|variable| variable.value_from.as_str()) {
                None => Ok(None),
                // arn:aws:secretsmanager:region:account:secret:name[:field[:stage[:version]]]
                Some(arn) if arn.contains(":secretsmanager:") => {
                    let parts: Vec<&str> = arn.split(':').collect();
                    let id = parts.iter().take(7).copied().collect::<Vec<_>>().join(":");
                    let field = parts.get(7).copied().filter(|field| !field.is_empty());
                    secret(client, &id, field, deadline).await
                }
                Some(name) => parameter(client, name, deadline).await,
            }
        }
    }
}

async fn parameter(
    client: &Client,
    name: &str,
    deadline: Instant,
) -> Result<Option<String>, ForwardError> {
    let input = json!({ "Name": name, "WithDecryption": true });
    let answer = client
        .api()
        .call("ssm", "GetParameter", &input, deadline)
        .await?;
    let value = answer.pointer("/Parameter/Value").and_then(Value::as_str);
    Ok(value.map(|value| value.trim().to_owned()))
}

async fn secret(
    client: &Client,
    name: &str,
    field: Option<&str>,
    deadline: Instant,
) -> Result<Option<String>, ForwardError> {
    let input = json!({ "SecretId": name });
    let answer = client
        .api()
        .call("secretsmanager", "GetSecretValue", &input, deadline)
        .await?;
    let Some(text) = answer.get("SecretString").and_then(Value::as_str) else {
        return Ok(None);
    };
    let Some(field) = field else {
        return Ok(Some(text.trim().to_owned()));
    };
    let document: Value = serde_json::from_str(text).unwrap_or_default();
    Ok(match document.get(field) {
        Some(Value::String(text)) => Some(text.trim().to_owned()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_in_braces() {
        for text in [
            "80",
            "5432:{ssm:/prod/db/host}:5432",
            "{env:DB_HOST}:{env:DB_PORT}",
            "unix:/tmp/s:{secret:prod/db#host}:{secret:prod/db#port}",
        ] {
            assert_eq!(text.parse::<ForwardTemplate>().unwrap().to_string(), text);
        }
        for (text, reason) in [
            ("5432:{ssm:/a:5432", "not closed"),
            ("5432:{vault:x}:5432", "is none of {env:NAME}"),
            ("5432:{env:}:5432", "is none of"),
            ("{env:A}", ""),
        ] {
            let parsed = text.parse::<ForwardTemplate>();
            match reason {
                "" => assert!(parsed.is_ok(), "a port alone may come from there"),
                reason => assert!(parsed.unwrap_err().to_string().contains(reason), "{text}"),
            }
        }
    }
}
