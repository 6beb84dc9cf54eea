//! CloudWatch Logs: groups, streams, events, live tail.

mod events;
mod frame;
mod groups;
mod streams;
mod tail;

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Answer, ApiError, Call, RequestId};
use crate::identifiers::Account;
use crate::logs::Missing;

/// Runs one operation.
pub(super) fn call(call: &Call<'_>, request_id: &RequestId) -> Result<Answer, ApiError> {
    if !call.shared.logs.admits(call.operation) {
        return Err(ApiError::new("ThrottlingException", "Rate exceeded"));
    }
    let answer = match call.operation {
        "CreateLogGroup" => groups::create(call),
        "DeleteLogGroup" => groups::delete(call),
        "DescribeLogGroups" => groups::describe(call),
        "PutRetentionPolicy" => groups::put_retention(call),
        "DeleteRetentionPolicy" => groups::delete_retention(call),
        "TagResource" => groups::tag(call),
        "UntagResource" => groups::untag(call),
        "ListTagsForResource" => groups::list_tags(call),
        "CreateLogStream" => streams::create(call),
        "DeleteLogStream" => streams::delete(call),
        "DescribeLogStreams" => streams::describe(call),
        "PutLogEvents" => streams::put(call),
        "GetLogEvents" => events::get(call),
        "FilterLogEvents" => events::filter(call),
        "StartLiveTail" => return tail::start(call, request_id).map(Answer::Stream),
        _ => Err(ApiError::unknown_operation()),
    };
    answer.map(Answer::Json)
}

impl From<Missing> for ApiError {
    fn from(missing: Missing) -> Self {
        Self::new(
            "ResourceNotFoundException",
            match missing {
                Missing::Group => "The specified log group does not exist.",
                Missing::Stream => "The specified log stream does not exist.",
            },
        )
    }
}

fn exists_already(what: &str) -> ApiError {
    ApiError::new(
        "ResourceAlreadyExistsException",
        format!("The specified {what} already exists"),
    )
}

fn unreadable(error: &std::io::Error) -> ApiError {
    tracing::warn!(%error, "a log stream cannot be read or written");
    ApiError {
        status: http::StatusCode::SERVICE_UNAVAILABLE,
        ..ApiError::new(
            "ServiceUnavailableException",
            "The service cannot complete the request.",
        )
    }
}

/// The ARN of a log group, without `:*`.
fn group_arn(account: &Account, name: &str) -> String {
    format!(
        "arn:{}:logs:{}:{}:log-group:{name}",
        account.partition, account.region, account.id
    )
}

/// The group's name, from one of the two members that can name it.
fn group_name(
    account: &Account,
    name: Option<String>,
    identifier: Option<String>,
) -> Result<String, ApiError> {
    match (name, identifier) {
        (Some(_), Some(_)) => Err(ApiError::invalid_parameter(
            "LogGroup name and LogGroup ARN are mutually exclusive parameters.",
        )),
        (Some(name), None) => Ok(name),
        (None, Some(identifier)) if identifier.starts_with("arn:") => {
            Ok(of_arn(account, &identifier)?.to_owned())
        }
        (None, Some(name)) => Ok(name),
        (None, None) => Err(ApiError::invalid_parameter(
            "Either logGroupName or logGroupIdentifier is required.",
        )),
    }
}

/// The name in a group's ARN, which has no `:*` here.
fn of_arn<'a>(account: &Account, arn: &'a str) -> Result<&'a str, ApiError> {
    if arn.ends_with(":*") || !arn.contains(":log-group:") {
        return Err(ApiError::invalid_parameter(
            "1 validation error detected: the identifier is not the ARN of a log group without a trailing `:*`.",
        ));
    }
    arn.strip_prefix(&group_arn(account, ""))
        .ok_or_else(|| Missing::Group.into())
}

/// A whole number between two others, or the default.
fn bounded(name: &str, given: Option<i64>, default: usize, most: usize) -> Result<usize, ApiError> {
    let Some(given) = given else {
        return Ok(default);
    };
    let value = usize::try_from(given).ok();
    value.filter(|value| (1..=most).contains(value)).ok_or_else(|| {
        ApiError::invalid_parameter(format!(
            "1 validation error detected: Value '{given}' at '{name}' failed to satisfy constraint: \
             Member must have value between 1 and {most}."
        ))
    })
}

/// Tags as a map, unlike in ECS.
fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), ApiError> {
    let good = |(key, value): (&String, &String)| {
        (1..=128).contains(&key.chars().count())
            && value.chars().count() <= 256
            && !key.starts_with("aws:")
    };
    if tags.len() <= 50 && tags.iter().all(good) {
        return Ok(());
    }
    Err(ApiError::invalid_parameter(
        "Tags must be at most 50, with keys of 1 to 128 and values of up to 256 characters.",
    ))
}

/// A list answered with its token, if there is more.
fn listed(name: &str, items: &[Value], next: Option<&str>) -> Value {
    serde_json::json!({ name: items, "nextToken": next })
}
