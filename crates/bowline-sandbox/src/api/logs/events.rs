//! GetLogEvents and FilterLogEvents.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{bounded, group_name, unreadable};
use crate::api::{ApiError, Call};
use crate::logs::{self, Budget, Event, Missing, Pattern, Search, Span};

/// The most events of a page.
const PAGE: usize = 10_000;

/// The most stream names of a filter.
const STREAM_NAMES: usize = 100;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Get {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_name: String,
    start_time: Option<i64>,
    end_time: Option<i64>,
    next_token: Option<String>,
    limit: Option<i64>,
    start_from_head: bool,
}

/// Which way a token of GetLogEvents leads, and from where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Forward(u64),
    Backward(u64),
}

impl Token {
    fn parse(text: &str) -> Option<Self> {
        let digits = text.get(2..)?.strip_suffix("/s")?;
        let position = digits.parse().ok()?;
        match &text[..2] {
            "f/" => Some(Self::Forward(position)),
            "b/" => Some(Self::Backward(position)),
            _ => None,
        }
    }

    fn show(self) -> String {
        match self {
            Self::Forward(position) => format!("f/{position:056}/s"),
            Self::Backward(position) => format!("b/{position:056}/s"),
        }
    }
}

/// The end of a stream is where the answered `nextForwardToken` is the one that was sent.
pub(super) fn get(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Get = call.input()?;
    let account = &call.shared.account;
    let group = group_name(account, input.log_group_name, input.log_group_identifier)?;
    let limit = bounded("limit", input.limit, PAGE, PAGE)?;
    let span = span(input.start_time, input.end_time)?;
    let token = match input.next_token.as_deref() {
        None | Some("") if input.start_from_head => Token::Forward(0),
        None | Some("") => Token::Backward(u64::MAX),
        Some(token) => Token::parse(token).ok_or_else(bad_token)?,
    };
    let mut groups = call.shared.logs.groups();
    let budget = Budget::new(limit, groups.scan);
    let stream = groups.stream_mut(&group, &input.log_stream_name)?;
    let (events, back, ahead) = match token {
        Token::Forward(from) => {
            let page = logs::forward(stream, from, span, budget);
            let (events, next) = page.map_err(|error| unreadable(&error))?;
            (events, from.min(next), next)
        }
        Token::Backward(before) => {
            let before = before.min(stream.end());
            let page = logs::backward(stream, before, span, budget);
            let (events, next) = page.map_err(|error| unreadable(&error))?;
            (events, next, before)
        }
    };
    let show = |event: Event| {
        json!({
            "timestamp": event.timestamp,
            "ingestionTime": event.ingested,
            "message": event.message,
        })
    };
    Ok(json!({
        "events": events.into_iter().map(show).collect::<Vec<_>>(),
        "nextForwardToken": Token::Forward(ahead).show(),
        "nextBackwardToken": Token::Backward(back).show(),
    }))
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Filter {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_names: Vec<String>,
    log_stream_name_prefix: Option<String>,
    start_time: Option<i64>,
    end_time: Option<i64>,
    filter_pattern: Option<String>,
    next_token: Option<String>,
    limit: Option<i64>,
    start_from_head: Option<bool>,
}

/// 2024-01-01: how far back events can be asked for with the newest first.
const NEWEST_FIRST_SINCE: i64 = 1_704_067_200_000;

/// The search is over when there is no token. A page may be empty and have one.
pub(super) fn filter(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Filter = call.input()?;
    let account = &call.shared.account;
    let group = group_name(account, input.log_group_name, input.log_group_identifier)?;
    let limit = bounded("limit", input.limit, PAGE, PAGE)?;
    let span = span(input.start_time, input.end_time)?;
    let (names, prefix) = (input.log_stream_names, input.log_stream_name_prefix);
    if !names.is_empty() && prefix.is_some() {
        return Err(ApiError::invalid_parameter(
            "logStreamNamePrefix and logStreamNames are mutually exclusive parameters.",
        ));
    }
    if names.len() > STREAM_NAMES {
        return Err(ApiError::invalid_parameter(
            "1 validation error detected: 'logStreamNames' failed to satisfy constraint: \
             Member must have length less than or equal to 100",
        ));
    }
    let newest_first = input.start_from_head == Some(false);
    if newest_first && span.start < NEWEST_FIRST_SINCE {
        return Err(ApiError::invalid_parameter(
            "startFromHead can be false only with a startTime of 2024-01-01 or later.",
        ));
    }
    let text = input.filter_pattern.unwrap_or_default();
    let pattern = pattern(&text)?;
    let filters = format!("{group:?} {names:?} {prefix:?} {span:?} {text:?} {newest_first}");

    let mut groups = call.shared.logs.groups();
    let from = match input
        .next_token
        .as_deref()
        .filter(|token| !token.is_empty())
    {
        None => None,
        Some(token) => {
            let known = groups
                .recall(token)
                .filter(|search| search.filters == filters);
            Some(known.ok_or_else(bad_token)?.positions.clone())
        }
    };
    let scan = groups.scan;
    let streams: Vec<_> = groups
        .streams(&group)?
        .filter(|(name, _)| names.is_empty() || names.iter().any(|wanted| wanted == name))
        .filter(|(name, _)| {
            prefix
                .as_ref()
                .is_none_or(|prefix| name.starts_with(prefix))
        })
        .collect();
    if names
        .iter()
        .any(|wanted| streams.iter().all(|(name, _)| name != wanted))
    {
        return Err(Missing::Stream.into());
    }
    let search = Search {
        streams,
        span,
        pattern: &pattern,
        newest_first,
    };
    let page = search.page(from.as_ref(), Budget::new(limit, scan));
    let found = page.map_err(|error| unreadable(&error))?;
    let next = found
        .next
        .map(|positions| groups.remember(filters, positions));
    let show = |(name, stream, event): (String, u64, Event)| {
        json!({
            "logStreamName": name,
            "timestamp": event.timestamp,
            "message": event.message,
            "ingestionTime": event.ingested,
            "eventId": event_id(stream, &event),
        })
    };
    Ok(json!({
        "events": found.events.into_iter().map(show).collect::<Vec<_>>(),
        "searchedLogStreams": [],
        "nextToken": next,
    }))
}

/// 56 digits, as in AWS: by time, then unique.
fn event_id(stream: u64, event: &Event) -> String {
    let number = event.number;
    format!("{:016}{stream:020}{number:020}", event.timestamp.max(0))
}

pub(super) fn pattern(text: &str) -> Result<Pattern, ApiError> {
    Pattern::parse(text)
        .map_err(|reason| ApiError::invalid_parameter(format!("Invalid filter pattern: {reason}")))
}

fn span(start: Option<i64>, end: Option<i64>) -> Result<Span, ApiError> {
    if start.is_some_and(|start| start < 0) || end.is_some_and(|end| end < 0) {
        return Err(ApiError::invalid_parameter(
            "1 validation error detected: a time failed to satisfy constraint: \
             Member must have value greater than or equal to 0",
        ));
    }
    Ok(Span {
        start: start.unwrap_or(0),
        end: end.unwrap_or(i64::MAX),
    })
}

fn bad_token() -> ApiError {
    ApiError::invalid_parameter("The specified nextToken is invalid.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_a_stream_are_read_back() {
        for token in [
            Token::Forward(0),
            Token::Backward(7),
            Token::Forward(u64::MAX),
        ] {
            assert_eq!(Token::parse(&token.show()), Some(token));
        }
        for bad in ["", "f", "f/", "x/1/s", "f/-1/s", "f/1", "ü/1/s"] {
            assert_eq!(Token::parse(bad), None, "{bad}");
        }
    }
}
