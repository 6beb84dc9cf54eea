//! Secrets Manager: values by name, each with its newest version only. What is deleted is gone at once.

use std::time::SystemTime;

use serde::Deserialize;
use serde_json::{Value, json};

use super::pages::{PageRequest, page};
use crate::api::{ApiError, Call};
use crate::state::seconds;
use crate::state::store::{Content, Secret};

/// As many secrets as a sandbox has at most.
const SECRETS: usize = 10_000;
/// The length of a value, in bytes, as in AWS.
const VALUE: usize = 65_536;

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Input {
    secret_id: String,
    name: String,
    secret_string: Option<String>,
    secret_binary: Option<String>,
    description: Option<String>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

impl Input {
    fn content(&self) -> Result<Option<Content>, ApiError> {
        // Binary values come in base64, which is a third longer.
        let length = self.secret_string.as_ref().map(String::len);
        let binary = self.secret_binary.as_ref().map(|text| text.len() / 4 * 3);
        if length.or(binary).is_some_and(|length| length > VALUE) {
            return Err(ApiError::new(
                "ValidationException",
                format!(
                    "1 validation error detected: Value at 'secretString' failed to satisfy constraint: Member must \
                     have length less than or equal to {VALUE}"
                ),
            ));
        }
        match (&self.secret_string, &self.secret_binary) {
            (Some(_), Some(_)) => Err(invalid(
                "You can't specify both a binary secret value and a string secret value in the same secret.",
            )),
            (Some(text), None) => Ok(Some(Content::Text(text.clone()))),
            (None, Some(binary)) => Ok(Some(Content::Binary(binary.clone()))),
            (None, None) => Ok(None),
        }
    }
}

/// Runs one operation.
pub(super) fn call(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Input = call.input()?;
    match call.operation {
        "GetSecretValue" => get(call, &input),
        "CreateSecret" => create(call, &input),
        "PutSecretValue" | "UpdateSecret" => put(call, &input),
        "DescribeSecret" => {
            let world = call.shared.world();
            let name = world
                .stores
                .secret(&input.secret_id)
                .ok_or_else(not_found)?;
            let secret = world.stores.secrets.get(&name).ok_or_else(not_found)?;
            Ok(describe(call, &name, secret))
        }
        "ListSecrets" => list(call, &input),
        "DeleteSecret" => {
            let removed = call.shared.change(|world| {
                let name = world.stores.secret(&input.secret_id)?;
                world.stores.secrets.remove_entry(&name)
            });
            let (name, secret) = removed.ok_or_else(not_found)?;
            Ok(json!({
                "ARN": secret.arn(&call.shared.account, &name),
                "Name": name,
                "DeletionDate": seconds(SystemTime::now()),
            }))
        }
        _ => Err(ApiError::unknown_operation()),
    }
}

fn get(call: &Call<'_>, input: &Input) -> Result<Value, ApiError> {
    let world = call.shared.world();
    let name = world
        .stores
        .secret(&input.secret_id)
        .ok_or_else(not_found)?;
    let secret = world.stores.secrets.get(&name).ok_or_else(not_found)?;
    let (text, binary) = match &secret.content {
        Content::Text(text) => (Some(text), None),
        Content::Binary(binary) => (None, Some(binary)),
        Content::None => {
            return Err(ApiError::new(
                "ResourceNotFoundException",
                "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT",
            ));
        }
    };
    Ok(json!({
        "ARN": secret.arn(&call.shared.account, &name),
        "Name": name,
        "VersionId": secret.version,
        "VersionStages": ["AWSCURRENT"],
        "CreatedDate": seconds(secret.changed),
        "SecretString": text,
        "SecretBinary": binary,
    }))
}

fn create(call: &Call<'_>, input: &Input) -> Result<Value, ApiError> {
    check_name(&input.name).map_err(|text| invalid(&text))?;
    let content = input.content()?.unwrap_or(Content::None);
    call.shared.change(|world| {
        let secrets = &mut world.stores.secrets;
        if secrets.contains_key(&input.name) {
            return Err(ApiError::new(
                "ResourceExistsException",
                format!(
                    "The operation failed because the secret {} already exists.",
                    input.name
                ),
            ));
        }
        if secrets.len() >= SECRETS {
            return Err(ApiError::new(
                "LimitExceededException",
                "There are too many secrets.",
            ));
        }
        let secret = Secret {
            description: input.description.clone(),
            ..Secret::new(content)
        };
        let shown = changed(call, &input.name, &secret);
        secrets.insert(input.name.clone(), secret);
        Ok(shown)
    })
}

fn put(call: &Call<'_>, input: &Input) -> Result<Value, ApiError> {
    let content = input.content()?;
    if content.is_none() && call.operation == "PutSecretValue" {
        return Err(invalid(
            "You must provide either SecretString or SecretBinary.",
        ));
    }
    call.shared.change(|world| {
        let name = world
            .stores
            .secret(&input.secret_id)
            .ok_or_else(not_found)?;
        let secret = world.stores.secrets.get_mut(&name).ok_or_else(not_found)?;
        if let Some(content) = content {
            secret.replace(content);
        }
        if input.description.is_some() {
            secret.description.clone_from(&input.description);
        }
        Ok(changed(call, &name, secret))
    })
}

fn list(call: &Call<'_>, input: &Input) -> Result<Value, ApiError> {
    let world = call.shared.world();
    let request = PageRequest {
        max_results: input.max_results,
        next_token: input.next_token.as_deref(),
        default: 100,
        limit: 100,
        filters: "ListSecrets",
    };
    let (names, token) = page(world.stores.secrets.keys().cloned().collect(), &request)?;
    let listed = names.iter().filter_map(|name| {
        let secret = world.stores.secrets.get(name)?;
        Some(describe(call, name, secret))
    });
    Ok(json!({ "SecretList": listed.collect::<Vec<_>>(), "NextToken": token }))
}

fn changed(call: &Call<'_>, name: &str, secret: &Secret) -> Value {
    json!({
        "ARN": secret.arn(&call.shared.account, name),
        "Name": name,
        "VersionId": secret.version,
        "VersionStages": ["AWSCURRENT"],
    })
}

fn describe(call: &Call<'_>, name: &str, secret: &Secret) -> Value {
    json!({
        "ARN": secret.arn(&call.shared.account, name),
        "Name": name,
        "Description": secret.description,
        "CreatedDate": seconds(secret.created),
        "LastChangedDate": seconds(secret.changed),
        "VersionIdsToStages": { secret.version.as_str(): ["AWSCURRENT"] },
    })
}

/// Letters, digits and `/_+=.@-`.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+=.@-".contains(&byte);
    match (1..=512).contains(&name.len()) && name.bytes().all(is_plain) {
        true => Ok(()),
        false => Err(format!(
            "{name:?} cannot be the name of a secret: it needs letters, digits and any of /_+=.@-"
        )),
    }
}

fn not_found() -> ApiError {
    ApiError::new(
        "ResourceNotFoundException",
        "Secrets Manager can't find the specified secret.",
    )
}

fn invalid(text: &str) -> ApiError {
    ApiError::new("InvalidParameterException", text)
}
