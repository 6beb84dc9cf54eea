//! StartLiveTail: what is ingested from now on, once a second, as long as somebody listens.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Interval, MissedTickBehavior};

use super::{events, frame, group_arn, groups, of_arn};
use crate::api::{ApiError, Call, RequestId, reply};
use crate::identifiers;
use crate::logs::{Budget, Event, Pattern, Span, forward};
use crate::state::Shared;

/// Between two updates, also when there is nothing to say.
const UPDATE: Duration = Duration::from_secs(1);

/// The most events of an update; of more, this many are chosen.
const MOST: usize = 500;

/// Events of one stream that are looked at for one update; further ones are not shown.
const LOOK: usize = 20_000;

/// A session ends after so long, on the sandbox's clock.
const LIMIT: Duration = Duration::from_secs(3 * 60 * 60);

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Input {
    log_group_identifiers: Vec<String>,
    log_stream_names: Vec<String>,
    log_stream_name_prefixes: Vec<String>,
    log_event_filter_pattern: Option<String>,
}

pub(super) fn start(call: &Call<'_>, request_id: &RequestId) -> Result<Response<Body>, ApiError> {
    let input: Input = call.input()?;
    let names = check(call, &input)?;
    let pattern = events::pattern(
        input
            .log_event_filter_pattern
            .as_deref()
            .unwrap_or_default(),
    )?;
    let permit = Arc::clone(&call.shared.logs.tails).try_acquire_owned();
    let permit = permit.map_err(|_| {
        ApiError::new(
            "LimitExceededException",
            "The maximum number of concurrent Live Tail sessions of this account is reached.",
        )
    })?;
    let first = json!({
        "requestId": request_id.as_str(),
        "sessionId": identifiers::uuid(),
        "logGroupIdentifiers": input.log_group_identifiers,
        "logStreamNames": input.log_stream_names,
        "logStreamNamePrefixes": input.log_stream_name_prefixes,
        "logEventFilterPattern": input.log_event_filter_pattern.unwrap_or_default(),
    });
    let mut updates = tokio::time::interval(UPDATE);
    updates.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is at once, and there is nothing new yet.
    updates.reset();
    let mut tail = Tail {
        shared: Arc::clone(call.shared),
        groups: names,
        streams: input.log_stream_names,
        prefixes: input.log_stream_name_prefixes,
        pattern,
        positions: BTreeMap::new(),
        updates,
        until: call.shared.clock.now().saturating_add(LIMIT),
        _permit: permit,
    };
    tail.skip();
    // botocore wants the first message of a protocol with operations to be of this type.
    let opening = vec![
        frame::event("initial-response", "{}"),
        frame::event("sessionStart", &first.to_string()),
    ];
    let state = (opening.into_iter(), Some(tail));
    let messages = stream::unfold(state, |(mut opening, tail)| async move {
        if let Some(message) = opening.next() {
            return Some((Ok::<_, Infallible>(message), (opening, tail)));
        }
        let mut tail = tail?;
        let (message, over) = tail.next().await?;
        Some((Ok(message), (opening, (!over).then_some(tail))))
    });
    let mut response = Response::new(Body::from_stream(messages));
    let kind = HeaderValue::from_static("application/vnd.amazon.eventstream");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    reply::stamp(&mut response, request_id);
    Ok(response)
}

/// The names of the groups.
fn check(call: &Call<'_>, input: &Input) -> Result<Vec<String>, ApiError> {
    let groups = &input.log_group_identifiers;
    if !(1..=10).contains(&groups.len()) {
        return Err(ApiError::invalid_parameter(
            "1 validation error detected: 'logGroupIdentifiers' failed to satisfy constraint: \
             Member must have between 1 and 10 entries",
        ));
    }
    let (streams, prefixes) = (&input.log_stream_names, &input.log_stream_name_prefixes);
    if !streams.is_empty() && !prefixes.is_empty() {
        return Err(ApiError::invalid_parameter(
            "logStreamNames and logStreamNamePrefixes are mutually exclusive parameters.",
        ));
    }
    if groups.len() > 1 && !(streams.is_empty() && prefixes.is_empty()) {
        return Err(ApiError::invalid_parameter(
            "logStreamNames and logStreamNamePrefixes need a single log group.",
        ));
    }
    let mut names = Vec::new();
    for arn in groups {
        let name = of_arn(&call.shared.account, arn)?;
        groups::check(call, name)?;
        names.push(name.to_owned());
    }
    Ok(names)
}

/// One session.
struct Tail {
    shared: Arc<Shared>,
    groups: Vec<String>,
    streams: Vec<String>,
    prefixes: Vec<String>,
    pattern: Pattern,
    /// By the stream's id: the next event to be shown.
    positions: BTreeMap<u64, u64>,
    updates: Interval,
    /// On the sandbox's clock.
    until: Duration,
    _permit: OwnedSemaphorePermit,
}

impl Tail {
    /// The next message, and whether it is the last. None when the sandbox stops.
    async fn next(&mut self) -> Option<(Bytes, bool)> {
        tokio::select! {
            _ = self.updates.tick() => {}
            () = self.shared.stop.cancelled() => return None,
        }
        if self.shared.clock.now() >= self.until {
            let text = json!({ "message": "The Live Tail session has timed out." });
            return Some((
                frame::exception("SessionTimeoutException", &text.to_string()),
                true,
            ));
        }
        Some((
            frame::event("sessionUpdate", &self.update().to_string()),
            false,
        ))
    }

    /// What is there already is not shown.
    fn skip(&mut self) {
        let mut groups = self.shared.logs.groups();
        for name in &self.groups {
            let streams = groups.streams(name).into_iter().flatten();
            let ends = streams.map(|(_, stream)| (stream.id, stream.end()));
            self.positions.extend(ends);
        }
    }

    fn update(&mut self) -> Value {
        let mut found: Vec<(i64, Value)> = Vec::new();
        let mut groups = self.shared.logs.groups();
        let mut left_out = false;
        for group in &self.groups {
            let arn = group_arn(&self.shared.account, group);
            // A group that is deleted meanwhile is silent.
            for (name, stream) in groups.streams(group).into_iter().flatten() {
                if !wanted(name, &self.streams, &self.prefixes) {
                    continue;
                }
                let position = self.positions.entry(stream.id).or_default();
                let all = Span {
                    start: i64::MIN,
                    end: i64::MAX,
                };
                let page = forward(stream, *position, all, Budget::new(LOOK, LOOK));
                let Ok((events, next)) = page else { continue };
                left_out |= next < stream.end();
                *position = stream.end();
                let events = events.into_iter();
                let events = events.filter(|event| self.pattern.matches(&event.message));
                found.extend(events.map(|event| (event.timestamp, show(&arn, name, &event))));
            }
        }
        drop(groups);
        // Stable: within a stream the order of ingestion stays.
        found.sort_by_key(|(timestamp, _)| *timestamp);
        let sampled = left_out || found.len() > MOST;
        let step = found.len().div_ceil(MOST).max(1);
        let results: Vec<Value> = found
            .into_iter()
            .step_by(step)
            .map(|(_, shown)| shown)
            .collect();
        json!({ "sessionMetadata": { "sampled": sampled }, "sessionResults": results })
    }
}

fn wanted(name: &str, streams: &[String], prefixes: &[String]) -> bool {
    let by_name = streams.is_empty() || streams.iter().any(|stream| stream == name);
    by_name && (prefixes.is_empty() || prefixes.iter().any(|prefix| name.starts_with(prefix)))
}

fn show(group: &str, stream: &str, event: &Event) -> Value {
    json!({
        "logGroupIdentifier": group,
        "logStreamName": stream,
        "message": event.message,
        "timestamp": event.timestamp,
        "ingestionTime": event.ingested,
    })
}
