//! A call that changes something, and what of it may be seen.

use std::fmt;

use percent_encoding::percent_decode_str;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::aws::call::{Api, text};
use crate::model::{MASKED, looks_secret};
use crate::{AwsError, Client};

/// A call that changes something.
///
/// It may carry a whole task definition. Serialized and in `Debug`, its input has no values that look like secrets.
#[derive(Clone, PartialEq, Serialize)]
pub struct Request {
    /// The call, such as `ecs:UpdateService`.
    pub call: String,
    #[serde(serialize_with = "masked")]
    pub(super) input: Value,
    /// A member of the input that only the call before this one can tell.
    #[serde(skip)]
    awaited: Option<Awaited>,
}

/// A member that is taken from the answer to the call before.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Awaited {
    member: &'static str,
    /// Where it stands in the answer.
    pointer: &'static str,
}

impl Request {
    pub(super) fn new(call: &str, input: Value) -> Self {
        Self {
            call: call.to_owned(),
            input,
            awaited: None,
        }
    }

    /// The same with the definition that the call before it registers. The family's name would be whatever revision is
    /// the newest by then.
    pub(super) fn with_new_revision(mut self) -> Self {
        self.input["taskDefinition"] = json!("(ARN of the new revision)");
        self.awaited = Some(Awaited {
            member: "taskDefinition",
            pointer: "/taskDefinition/taskDefinitionArn",
        });
        self
    }

    /// The input, with the names of the wire and without values that look like secrets: see [`looks_secret`].
    pub fn shown(&self) -> Value {
        let mut input = self.input.clone();
        mask(&mut input);
        input
    }

    /// What is sent once the call `before` was answered.
    fn completed(&self, before: Option<&Value>) -> Result<Value, AwsError> {
        let mut input = self.input.clone();
        if let Some(Awaited { member, pointer }) = self.awaited {
            let told = before.and_then(|answer| answer.pointer(pointer));
            let told = told.filter(|told| told.is_string()).ok_or_else(|| {
                let why = format!("the call before it did not tell the {member}");
                AwsError::unusable(self.call.clone(), &why)
            })?;
            input[member] = told.clone();
        }
        Ok(input)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.call, self.shown())
    }
}

impl Client {
    /// Makes one of the calls that mend a problem; `before` is the answer to the one before it in the list. A role of
    /// bowline's that is there already counts as made.
    ///
    /// # Errors
    /// What AWS says; [`AwsError::changed_nothing`] tells whether the call may have had its effect all the same.
    pub async fn make(&self, request: &Request, before: Option<&Value>) -> Result<Value, AwsError> {
        let (service, operation) = request.call.split_once(':').unwrap_or_default();
        let input = request.completed(before)?;
        let deadline = Instant::now() + super::CHANGE_LIMIT;
        let api = self.api();
        let answer = api.call(service, operation, &input, deadline).await;
        match answer {
            Err(error) if operation == "CreateRole" && error.is("EntityAlreadyExists") => {
                existing_role(&api, &input, deadline).await.ok_or(error)
            }
            answer => answer,
        }
    }
}

/// The role of that name, if tasks can have it: one that a fix made which did not come to its end.
async fn existing_role(api: &Api, input: &Value, deadline: Instant) -> Option<Value> {
    let wanted = json!({ "RoleName": input["RoleName"] });
    let answer = api.call("iam", "GetRole", &wanted, deadline).await.ok()?;
    let role = &answer["Role"];
    // The definition names the role without a path.
    (text(role, "Path") == Some("/") && trusts_tasks(role)).then_some(answer)
}

fn trusts_tasks(role: &Value) -> bool {
    // IAM sends documents percent-encoded.
    let document = text(role, "AssumeRolePolicyDocument").unwrap_or_default();
    let document = percent_decode_str(document).decode_utf8_lossy();
    let document: Value = serde_json::from_str(&document).unwrap_or_default();
    one_or_many(&document["Statement"]).iter().any(|statement| {
        let has = |value: &Value, wanted: &str| one_or_many(value).iter().any(|one| one == wanted);
        text(statement, "Effect") == Some("Allow")
            && statement.get("Condition").is_none()
            && has(&statement["Action"], "sts:AssumeRole")
            && has(&statement["Principal"]["Service"], super::fix::TASKS)
    })
}

fn one_or_many(value: &Value) -> &[Value] {
    match value {
        Value::Array(many) => many,
        one => std::slice::from_ref(one),
    }
}

fn masked<S: Serializer>(input: &Value, serializer: S) -> Result<S::Ok, S::Error> {
    let mut input = input.clone();
    mask(&mut input);
    input.serialize(serializer)
}

/// Members of a definition that map names to values of the user's own.
const MAPS: [&str; 4] = ["options", "dockerLabels", "driverOpts", "labels"];

fn mask(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::Array(variables) if name == "environment" => {
                        variables.iter_mut().for_each(mask_variable);
                    }
                    Value::Object(map) if MAPS.contains(&name.as_str()) => mask_map(map),
                    other => mask(other),
                }
            }
        }
        // Anywhere, such as in a command.
        Value::String(word) if looks_secret("", word) => MASKED.clone_into(word),
        _ => {}
    }
}

fn mask_variable(variable: &mut Value) {
    let name = text(variable, "name").unwrap_or_default();
    let value = text(variable, "value").unwrap_or_default();
    if looks_secret(name, value) {
        variable["value"] = json!(MASKED);
    }
}

fn mask_map(map: &mut Map<String, Value>) {
    for (name, value) in map {
        if value
            .as_str()
            .is_some_and(|value| looks_secret(name, value))
        {
            *value = json!(MASKED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_look_like_secrets_are_sent_and_never_seen() {
        let definition = json!({
            "family": "web",
            "containerDefinitions": [{
                "name": "app",
                "command": ["serve", "--db=postgres://app:hunter2@db/shop"],
                "environment": [
                    { "name": "LOG_LEVEL", "value": "info" },
                    { "name": "DB_PASSWORD", "value": "hunter2" },
                    { "name": "DATABASE_URL", "value": "postgres://app:hunter2@db/shop" },
                ],
                "secrets": [{ "name": "API_KEY", "valueFrom": "arn:secret" }],
                "logConfiguration": { "logDriver": "splunk", "options": { "splunk-token": "hunter2" } },
                "firelensConfiguration": { "type": "fluentbit", "options": { "token": "hunter2" } },
                "dockerLabels": { "deploy.token": "hunter2", "team": "shop" },
            }],
            "volumes": [{ "dockerVolumeConfiguration": { "driverOpts": { "password": "hunter2" } } }],
        });
        let request = Request::new("ecs:RegisterTaskDefinition", definition.clone());
        for seen in [
            serde_json::to_string(&request).unwrap(),
            format!("{request:?}"),
            request.shown().to_string(),
        ] {
            assert!(!seen.contains("hunter2"), "{seen}");
            for kept in [
                "info",
                "DB_PASSWORD",
                "arn:secret",
                "shop",
                "splunk",
                "serve",
            ] {
                assert!(seen.contains(kept), "{kept}: {seen}");
            }
        }
        assert_eq!(request.completed(None).unwrap(), definition);
    }

    #[test]
    fn what_is_deployed_is_the_revision_that_was_registered() {
        let update = Request::new("ecs:UpdateService", json!({ "service": "web" }));
        let update = update.with_new_revision();
        let answer = json!({ "taskDefinition": { "taskDefinitionArn": "arn:web:8" } });
        assert_eq!(
            update.completed(Some(&answer)).unwrap(),
            json!({ "service": "web", "taskDefinition": "arn:web:8" })
        );
        // Nothing is sent with the words that stand there to be read.
        assert!(update.completed(None).is_err());
        assert!(update.completed(Some(&json!({}))).is_err());
    }

    #[test]
    fn a_role_is_ours_if_tasks_may_have_it() {
        let role = |document: &str| json!({ "AssumeRolePolicyDocument": document });
        let ours = r#"{"Statement":[{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
        let encoded = ours.replace('"', "%22").replace('{', "%7B");
        assert!(trusts_tasks(&role(&encoded)));
        for other in [
            ours.replace("ecs-tasks", "lambda"),
            ours.replace("Allow", "Deny"),
            String::new(),
        ] {
            assert!(!trusts_tasks(&role(&other)), "{other}");
        }
    }
}
