//! Log groups: create, delete, describe, retention, tags.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{bounded, check_tags, exists_already, group_arn, listed, of_arn};
use crate::api::pages::{PageRequest, page};
use crate::api::{ApiError, Call};
use crate::identifiers::Account;
use crate::logs::{LogGroup, Missing};

/// The numbers of days that PutRetentionPolicy takes.
const RETENTIONS: [i64; 23] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
    3288, 3653, 5475,
];

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Group {
    log_group_name: String,
    tags: BTreeMap<String, String>,
    retention_in_days: i64,
}

pub(super) fn create(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Group = call.input()?;
    let name = &input.log_group_name;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_-/.#".contains(c);
    if !(1..=512).contains(&name.len()) || !name.chars().all(allowed) || name.starts_with("aws/") {
        return Err(ApiError::invalid_parameter(format!(
            "1 validation error detected: Value '{name}' at 'logGroupName' failed to satisfy constraint: \
             Member must satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+"
        )));
    }
    check_tags(&input.tags)?;
    let mut groups = call.shared.logs.groups();
    if !groups.create_group(name) {
        return Err(exists_already("log group"));
    }
    groups.group_mut(name)?.tags = input.tags;
    Ok(json!({}))
}

pub(super) fn delete(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Group = call.input()?;
    call.shared
        .logs
        .groups()
        .delete_group(&input.log_group_name)?;
    Ok(json!({}))
}

pub(super) fn put_retention(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Group = call.input()?;
    if !RETENTIONS.contains(&input.retention_in_days) {
        return Err(ApiError::invalid_parameter(format!(
            "1 validation error detected: Value '{}' at 'retentionInDays' failed to satisfy constraint: \
             Member must satisfy enum value set: {RETENTIONS:?}",
            input.retention_in_days
        )));
    }
    let mut groups = call.shared.logs.groups();
    groups.group_mut(&input.log_group_name)?.retention_days = Some(input.retention_in_days);
    Ok(json!({}))
}

pub(super) fn delete_retention(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Group = call.input()?;
    let mut groups = call.shared.logs.groups();
    groups.group_mut(&input.log_group_name)?.retention_days = None;
    Ok(json!({}))
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Tagging {
    resource_arn: String,
    tags: BTreeMap<String, String>,
    tag_keys: Vec<String>,
}

pub(super) fn tag(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Tagging = call.input()?;
    check_tags(&input.tags)?;
    let name = of_arn(&call.shared.account, &input.resource_arn)?;
    call.shared
        .logs
        .groups()
        .group_mut(name)?
        .tags
        .extend(input.tags);
    Ok(json!({}))
}

pub(super) fn untag(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Tagging = call.input()?;
    let name = of_arn(&call.shared.account, &input.resource_arn)?;
    let mut groups = call.shared.logs.groups();
    let tags = &mut groups.group_mut(name)?.tags;
    tags.retain(|key, _| !input.tag_keys.contains(key));
    Ok(json!({}))
}

pub(super) fn list_tags(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Tagging = call.input()?;
    let name = of_arn(&call.shared.account, &input.resource_arn)?;
    Ok(json!({ "tags": call.shared.logs.groups().group(name)?.tags }))
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Describe {
    log_group_name_prefix: Option<String>,
    log_group_name_pattern: Option<String>,
    limit: Option<i64>,
    next_token: Option<String>,
}

pub(super) fn describe(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Describe = call.input()?;
    let Describe {
        log_group_name_prefix: prefix,
        log_group_name_pattern: pattern,
        ..
    } = &input;
    if prefix.is_some() && pattern.is_some() {
        return Err(ApiError::invalid_parameter(
            "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
        ));
    }
    let limit = bounded("limit", input.limit, 50, 50)?;
    let mut groups = call.shared.logs.groups();
    let wanted = |name: &&String| {
        prefix
            .as_ref()
            .is_none_or(|prefix| name.starts_with(prefix))
            && pattern
                .as_ref()
                .is_none_or(|pattern| name.contains(pattern))
    };
    let names: Vec<String> = groups.groups.keys().filter(wanted).cloned().collect();
    let request = PageRequest {
        max_results: None,
        next_token: input.next_token.as_deref(),
        default: limit,
        limit,
        filters: &format!("DescribeLogGroups {prefix:?} {pattern:?}"),
    };
    let (names, next) = page(names, &request)?;
    let mut shown = Vec::new();
    for name in names {
        let stored: u64 = groups
            .streams(&name)?
            .map(|(_, stream)| stream.stored())
            .sum();
        shown.push(show(
            &call.shared.account,
            &name,
            groups.group(&name)?,
            stored,
        ));
    }
    Ok(listed("logGroups", &shown, next.as_deref()))
}

fn show(account: &Account, name: &str, group: &LogGroup, stored: u64) -> Value {
    let arn = group_arn(account, name);
    json!({
        "logGroupName": name,
        "creationTime": group.created,
        "retentionInDays": group.retention_days,
        "metricFilterCount": 0,
        "arn": format!("{arn}:*"),
        "logGroupArn": arn,
        "storedBytes": stored,
        "logGroupClass": "STANDARD",
    })
}

/// Refuses what is not there.
pub(super) fn check(call: &Call<'_>, name: &str) -> Result<(), Missing> {
    call.shared.logs.groups().group(name).map(|_| ())
}
