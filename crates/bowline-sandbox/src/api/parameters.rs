//! Parameter Store: values by name, without history, labels and policies.

use serde::Deserialize;
use serde_json::{Value, json};

use super::pages::{PageRequest, page};
use crate::api::{ApiError, Call};
use crate::state::Shared;
use crate::state::seconds;
use crate::state::store::{Parameter, ParameterKind, parameter_arn};

/// Names in one call of GetParameters or DeleteParameters.
const NAMES: usize = 10;
/// Bytes of a value of the standard tier.
const VALUE: usize = 4096;
/// As many parameters as a standard account has.
const PARAMETERS: usize = 10_000;

/// The value of a parameter, for the defaults of runbooks.
pub(crate) fn stored(shared: &Shared, name: &str) -> Option<Value> {
    let world = shared.world();
    let (_, parameter) = world.stores.parameter(name)?;
    Some(match parameter.kind {
        ParameterKind::StringList => parameter.value.split(',').collect(),
        _ => Value::from(parameter.value.as_str()),
    })
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Get {
    name: String,
    names: Vec<String>,
    with_decryption: bool,
    path: String,
    recursive: bool,
    max_results: Option<i64>,
    next_token: Option<String>,
}

pub(super) fn get(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Get = call.input()?;
    let world = call.shared.world();
    let known = world.stores.parameter(&input.name);
    let (name, parameter) = known.ok_or_else(|| not_found(&input.name))?;
    let shown = parameter.show(&call.shared.account, name, input.with_decryption);
    Ok(json!({ "Parameter": shown }))
}

pub(super) fn get_several(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Get = call.input()?;
    check_names(&input.names)?;
    let world = call.shared.world();
    let (mut found, mut invalid) = (Vec::new(), Vec::new());
    for wanted in input.names {
        match world.stores.parameter(&wanted) {
            Some((name, parameter)) => {
                found.push(parameter.show(&call.shared.account, name, input.with_decryption));
            }
            None => invalid.push(wanted),
        }
    }
    Ok(json!({ "Parameters": found, "InvalidParameters": invalid }))
}

pub(super) fn by_path(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Get = call.input()?;
    if !input.path.starts_with('/') {
        return Err(validation("The parameter path must begin with a slash."));
    }
    let prefix = format!("{}/", input.path.trim_end_matches('/'));
    let world = call.shared.world();
    let within = |name: &&String| {
        let rest = name.strip_prefix(&prefix);
        rest.is_some_and(|rest| input.recursive || !rest.contains('/'))
    };
    let names = world.stores.parameters.keys().filter(within).cloned();
    let filters = format!("GetParametersByPath {prefix} {}", input.recursive);
    let (names, token) = paged(names.collect(), &input, &filters, 10)?;
    let found = names.iter().filter_map(|name| {
        let parameter = world.stores.parameters.get(name)?;
        Some(parameter.show(&call.shared.account, name, input.with_decryption))
    });
    Ok(json!({ "Parameters": found.collect::<Vec<_>>(), "NextToken": token }))
}

pub(super) fn describe(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Get = call.input()?;
    let filtered = ["Filters", "ParameterFilters"]
        .iter()
        .any(|filter| call.input.get(filter).is_some_and(|it| *it != json!([])));
    if filtered {
        return Err(validation(
            "The sandbox does not filter parameters; use GetParametersByPath.",
        ));
    }
    let world = call.shared.world();
    let names = world.stores.parameters.keys().cloned().collect();
    let (names, token) = paged(names, &input, "DescribeParameters", 50)?;
    let found = names.iter().filter_map(|name| {
        let parameter = world.stores.parameters.get(name)?;
        Some(json!({
            "Name": name,
            "ARN": parameter_arn(&call.shared.account, name),
            "Type": parameter.kind.as_str(),
            "Description": parameter.description,
            "Version": parameter.version,
            "LastModifiedDate": seconds(parameter.modified),
            "Tier": "Standard",
            "DataType": "text",
        }))
    });
    Ok(json!({ "Parameters": found.collect::<Vec<_>>(), "NextToken": token }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Put {
    name: String,
    value: String,
    #[serde(rename = "Type")]
    kind: Option<ParameterKind>,
    description: Option<String>,
    #[serde(default)]
    overwrite: bool,
}

pub(super) fn put(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Put = call.input()?;
    check_name(&input.name).map_err(|text| validation(&text))?;
    if !(1..=VALUE).contains(&input.value.len()) {
        return Err(validation(
            "The value of a standard parameter has between 1 and 4096 bytes.",
        ));
    }
    let version = call.shared.change(|world| {
        let parameters = &mut world.stores.parameters;
        let full = parameters.len() >= PARAMETERS;
        match parameters.get_mut(&input.name) {
            Some(_) if !input.overwrite => Err(ApiError::new(
                "ParameterAlreadyExists",
                "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.",
            )),
            Some(known) => {
                let new = Parameter {
                    version: known.version + 1,
                    description: input.description.or_else(|| known.description.take()),
                    ..Parameter::new(&input.value, input.kind.unwrap_or(known.kind))
                };
                *known = new;
                Ok(known.version)
            }
            None if full => Err(ApiError::new(
                "ParameterLimitExceeded",
                "You have exceeded the number of parameters for this AWS account.",
            )),
            None => {
                let kind = input
                    .kind
                    .ok_or_else(|| validation("A parameter type is required when you create a parameter."))?;
                let new = Parameter {
                    description: input.description,
                    ..Parameter::new(&input.value, kind)
                };
                parameters.insert(input.name, new);
                Ok(1)
            }
        }
    })?;
    Ok(json!({ "Version": version, "Tier": "Standard" }))
}

pub(super) fn delete(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Get = call.input()?;
    let removed = call
        .shared
        .change(|world| world.stores.parameters.remove(&input.name));
    removed
        .map(|_| json!({}))
        .ok_or_else(|| not_found(&input.name))
}

pub(super) fn delete_several(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Get = call.input()?;
    check_names(&input.names)?;
    let (deleted, invalid): (Vec<_>, Vec<_>) = call.shared.change(|world| {
        let parameters = &mut world.stores.parameters;
        let names = input.names.into_iter();
        names.partition(|name| parameters.remove(name).is_some())
    });
    Ok(json!({ "DeletedParameters": deleted, "InvalidParameters": invalid }))
}

/// Letters, digits and `_.-`, in parts between slashes.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-/".contains(&byte);
    let reserved = name.trim_start_matches('/').to_ascii_lowercase();
    if !(1..=1011).contains(&name.len()) || !name.bytes().all(is_plain) || name.ends_with('/') {
        Err(format!(
            "{name:?} cannot be the name of a parameter: it needs letters, digits and any of _.-/"
        ))
    } else if reserved.starts_with("aws") || reserved.starts_with("ssm") {
        Err(format!(
            "{name:?} cannot be the name of a parameter: aws and ssm are reserved"
        ))
    } else {
        Ok(())
    }
}

fn check_names(names: &[String]) -> Result<(), ApiError> {
    match (1..=NAMES).contains(&names.len()) {
        true => Ok(()),
        false => Err(validation("Between 1 and 10 names can be given.")),
    }
}

fn paged(
    names: Vec<String>,
    input: &Get,
    filters: &str,
    limit: usize,
) -> Result<(Vec<String>, Option<String>), ApiError> {
    let request = PageRequest {
        max_results: input.max_results,
        next_token: input.next_token.as_deref(),
        default: 10,
        limit,
        filters,
    };
    page(names, &request).map_err(|error| validation(&error.message))
}

fn not_found(name: &str) -> ApiError {
    ApiError::new("ParameterNotFound", format!("Parameter {name} not found."))
}

fn validation(text: &str) -> ApiError {
    ApiError::new("ValidationException", text)
}
