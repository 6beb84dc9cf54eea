//! Log streams: create, delete, describe, and putting events into them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{bounded, exists_already, group_arn, group_name, listed, unreadable};
use crate::api::pages::{PageRequest, page};
use crate::api::{ApiError, Call};
use crate::logs::{OVERHEAD, Stream};

/// What a batch of PutLogEvents may hold.
const BATCH_BYTES: usize = 1_048_576;
const BATCH_EVENTS: usize = 10_000;

/// How far the events of a batch may lie apart, in the future and in the past, in milliseconds.
const BATCH_SPAN: i64 = 24 * HOUR;
const FUTURE: i64 = 2 * HOUR;
const PAST: i64 = 14 * 24 * HOUR;
const HOUR: i64 = 60 * 60 * 1000;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Named {
    log_group_name: String,
    log_stream_name: String,
}

pub(super) fn create(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Named = call.input()?;
    let name = &input.log_stream_name;
    if !(1..=512).contains(&name.len()) || name.contains([':', '*']) {
        return Err(ApiError::invalid_parameter(format!(
            "1 validation error detected: Value '{name}' at 'logStreamName' failed to satisfy constraint: \
             Member must satisfy regular expression pattern: [^:*]*"
        )));
    }
    let mut groups = call.shared.logs.groups();
    if groups.create_stream(&input.log_group_name, name, Duration::ZERO)? {
        Ok(json!({}))
    } else {
        Err(exists_already("log stream"))
    }
}

pub(super) fn delete(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Named = call.input()?;
    let mut groups = call.shared.logs.groups();
    groups.delete_stream(&input.log_group_name, &input.log_stream_name)?;
    Ok(json!({}))
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Describe {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_name_prefix: Option<String>,
    order_by: Option<String>,
    descending: bool,
    limit: Option<i64>,
    next_token: Option<String>,
}

pub(super) fn describe(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Describe = call.input()?;
    let account = &call.shared.account;
    let group = group_name(account, input.log_group_name, input.log_group_identifier)?;
    let by_time = match input.order_by.as_deref() {
        None | Some("LogStreamName") => false,
        Some("LastEventTime") => true,
        Some(other) => {
            return Err(ApiError::invalid_parameter(format!(
                "1 validation error detected: Value '{other}' at 'orderBy' failed to satisfy constraint: \
                 Member must satisfy enum value set: [LogStreamName, LastEventTime]"
            )));
        }
    };
    let prefix = input.log_stream_name_prefix;
    if by_time && prefix.is_some() {
        return Err(ApiError::invalid_parameter(
            "Cannot order by LastEventTime with a logStreamNamePrefix.",
        ));
    }
    let limit = bounded("limit", input.limit, 50, 50)?;
    let mut groups = call.shared.logs.groups();
    let streams = groups.streams(&group)?;
    let mut shown: Vec<(String, &str, &Stream)> = streams
        .filter(|(name, _)| {
            prefix
                .as_ref()
                .is_none_or(|prefix| name.starts_with(prefix))
        })
        .map(|(name, stream)| {
            // Pages compare texts: a number of fixed length before the name sorts by time.
            let last = stream.times().map_or(0, |(_, newest, _)| newest.max(0));
            let key = if by_time {
                format!("{last:019} {name}")
            } else {
                name.to_owned()
            };
            (key, name, stream)
        })
        .collect();
    shown.sort_by(|a, b| a.0.cmp(&b.0));
    if input.descending {
        shown.reverse();
    }
    // A page's token names the position: with a direction, and times that change, keys are of no use.
    let keys = (0..shown.len())
        .map(|index| format!("{index:010}"))
        .collect();
    let request = PageRequest {
        max_results: None,
        next_token: input.next_token.as_deref(),
        default: limit,
        limit,
        filters: &format!(
            "DescribeLogStreams {group:?} {prefix:?} {by_time} {}",
            input.descending
        ),
    };
    let (keys, next) = page(keys, &request)?;
    let chosen = keys
        .iter()
        .filter_map(|key| shown.get(key.parse::<usize>().ok()?));
    let arn = group_arn(account, &group);
    let shown: Vec<Value> = chosen
        .map(|(_, name, stream)| show(&arn, name, stream))
        .collect();
    Ok(listed("logStreams", &shown, next.as_deref()))
}

fn show(group_arn: &str, name: &str, stream: &Stream) -> Value {
    let times = stream.times();
    json!({
        "logStreamName": name,
        "creationTime": stream.created,
        "firstEventTimestamp": times.map(|(oldest, _, _)| oldest),
        "lastEventTimestamp": times.map(|(_, newest, _)| newest),
        "lastIngestionTime": times.map(|(_, _, ingested)| ingested),
        "uploadSequenceToken": format!("{:056}", stream.id),
        "arn": format!("{group_arn}:log-stream:{name}"),
        "storedBytes": 0,
    })
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Put {
    log_group_name: String,
    log_stream_name: String,
    log_events: Vec<InputEvent>,
}

#[derive(Deserialize)]
struct InputEvent {
    timestamp: i64,
    message: String,
}

pub(super) fn put(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Put = call.input()?;
    check_batch(&input.log_events)?;
    let (group, stream) = (&input.log_group_name, &input.log_stream_name);
    let retention = {
        let mut groups = call.shared.logs.groups();
        groups.stream_mut(group, stream)?;
        groups.group(group)?.retention_days
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    let events = &input.log_events;
    // In order of time, so each kind of event that is refused is at one end.
    let before = |time: i64| events.partition_point(|event| event.timestamp < time);
    let expired = retention.map_or(0, |days| before(now - days * 24 * HOUR));
    let old = before(now - PAST);
    let new = events.partition_point(|event| event.timestamp <= now + FUTURE);
    let from = expired.max(old);
    if from < new {
        let good: Vec<(i64, String)> = input
            .log_events
            .iter()
            .take(new)
            .skip(from)
            .map(|event| (event.timestamp, event.message.clone()))
            .collect();
        let written = call.shared.logs.put(group, stream, &good)?;
        written.map_err(|error| unreadable(&error))?;
    }
    let some = |count: usize| (count > 0).then_some(count);
    let rejected = json!({
        "expiredLogEventEndIndex": some(expired),
        "tooOldLogEventEndIndex": some(old),
        "tooNewLogEventStartIndex": (new < events.len()).then_some(new),
    });
    let all_good = from == 0 && new == events.len();
    Ok(json!({
        "nextSequenceToken": format!("{now:056}"),
        "rejectedLogEventsInfo": if all_good { Value::Null } else { rejected },
    }))
}

/// What refuses the whole batch.
fn check_batch(events: &[InputEvent]) -> Result<(), ApiError> {
    let (Some(first), Some(last)) = (events.first(), events.last()) else {
        return Err(ApiError::invalid_parameter(
            "1 validation error detected: Value '[]' at 'logEvents' failed to satisfy constraint: \
             Member must have length greater than or equal to 1",
        ));
    };
    if events.len() > BATCH_EVENTS {
        return Err(ApiError::invalid_parameter(format!(
            "1 validation error detected: 'logEvents' failed to satisfy constraint: \
             Member must have length less than or equal to {BATCH_EVENTS}"
        )));
    }
    let sizes = events.iter().map(|event| event.message.len() + OVERHEAD);
    let size: usize = sizes.sum();
    if size > BATCH_BYTES {
        return Err(ApiError::invalid_parameter(format!(
            "Upload too large: {size} bytes exceeds limit of {BATCH_BYTES}"
        )));
    }
    if events.iter().any(|event| event.message.is_empty()) {
        return Err(ApiError::invalid_parameter(
            "1 validation error detected: 'logEvents.member.message' failed to satisfy constraint: \
             Member must have length greater than or equal to 1",
        ));
    }
    if !events.is_sorted_by_key(|event| event.timestamp) {
        return Err(ApiError::invalid_parameter(
            "Log events in a single PutLogEvents request must be in chronological order.",
        ));
    }
    if last.timestamp.saturating_sub(first.timestamp) > BATCH_SPAN {
        return Err(ApiError::invalid_parameter(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
        ));
    }
    Ok(())
}
