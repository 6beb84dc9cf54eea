//! CloudWatch Logs calls. Times are milliseconds since 1970, as everywhere in this service.

use aws_sdk_cloudwatchlogs as sdk;
use aws_sdk_cloudwatchlogs::config::Region;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextMut;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

use super::config::Settings;
use super::ecs::NobodyListens;
use super::error::AwsError;
use crate::logs::follow::{Event, Origin, Page};

/// The calls to CloudWatch Logs of one region.
#[derive(Debug)]
pub(crate) struct Logs {
    client: sdk::Client,
    /// The endpoint is not AWS's.
    own_endpoint: bool,
}

/// A page that was read backwards.
#[derive(Debug)]
pub(crate) struct Backward {
    /// Oldest first.
    pub(crate) events: Vec<Event>,
    /// For what comes after the newest.
    pub(crate) forward: String,
    /// For what comes before the oldest; the same as before when there is nothing.
    pub(crate) backward: String,
}

/// What is new in a group since some time.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Stream and event id, in the order of the events' times.
    pub(crate) events: Vec<(String, String)>,
    /// Milliseconds since 1970 of the newest event.
    pub(crate) newest: Option<i64>,
    /// There is more.
    pub(crate) next: Option<String>,
}

impl Logs {
    /// For another region than the client's if one is named: a task may log elsewhere.
    pub(crate) fn new(settings: &Settings, region: Option<&str>) -> Self {
        let mut config = sdk::config::Builder::from(&settings.sdk).retry_classifier(NobodyListens);
        if let Some(region) = region {
            config.set_region(Some(Region::new(region.to_owned())));
        }
        Self {
            client: sdk::Client::from_conf(config.build()),
            own_endpoint: settings.endpoint("CloudWatch Logs").is_some(),
        }
    }

    /// Reads a stream forward. The same token as before means that this is the end, for now.
    pub(crate) async fn events(
        &self,
        group: &str,
        stream: &str,
        from: &Origin,
        until: Option<i64>,
    ) -> Result<Page, AwsError> {
        let call = self
            .client
            .get_log_events()
            .log_group_name(group)
            .log_stream_name(stream)
            .set_end_time(until)
            .start_from_head(true);
        let call = match from {
            Origin::Time(since) => call.set_start_time(*since),
            Origin::Token(token) => call.next_token(token),
        };
        let answer = call
            .send()
            .await
            .map_err(|error| AwsError::from_sdk(GET, error))?;
        Ok(Page {
            events: answer
                .events
                .unwrap_or_default()
                .into_iter()
                .map(event_from)
                .collect(),
            next: answer
                .next_forward_token
                .ok_or_else(|| AwsError::missing(GET, "nextForwardToken"))?,
        })
    }

    /// Reads a stream backwards from its end, or from where an earlier page began.
    pub(crate) async fn newest(
        &self,
        group: &str,
        stream: &str,
        token: Option<&str>,
        count: i32,
        until: Option<i64>,
    ) -> Result<Backward, AwsError> {
        let answer = self
            .client
            .get_log_events()
            .log_group_name(group)
            .log_stream_name(stream)
            .set_next_token(token.map(str::to_owned))
            .set_end_time(until)
            .limit(count)
            .start_from_head(false)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk(GET, error))?;
        let missing = |member| AwsError::missing(GET, member);
        Ok(Backward {
            events: answer
                .events
                .unwrap_or_default()
                .into_iter()
                .map(event_from)
                .collect(),
            forward: answer
                .next_forward_token
                .ok_or_else(|| missing("nextForwardToken"))?,
            backward: answer
                .next_backward_token
                .ok_or_else(|| missing("nextBackwardToken"))?,
        })
    }

    /// Which of up to 100 streams of a group have events since a time: one call for all of them.
    pub(crate) async fn stirred(
        &self,
        group: &str,
        streams: &[String],
        since: i64,
        token: Option<&str>,
    ) -> Result<Found, AwsError> {
        let answer = self
            .client
            .filter_log_events()
            .log_group_name(group)
            .set_log_stream_names(Some(streams.to_vec()))
            .start_time(since)
            .set_next_token(token.map(str::to_owned))
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("logs:FilterLogEvents", error))?;
        let events = answer.events.unwrap_or_default();
        Ok(Found {
            newest: events.iter().filter_map(|event| event.timestamp).max(),
            events: events
                .into_iter()
                .filter_map(|event| Some((event.log_stream_name?, event.event_id?)))
                .collect(),
            next: answer.next_token,
        })
    }
}

/// A Live Tail session: who has something new, about once a second.
#[derive(Debug)]
pub(crate) struct LiveTail {
    stream: Option<Receiver>,
}

type Receiver = sdk::primitives::event_stream::EventReceiver<
    sdk::types::StartLiveTailResponseStream,
    sdk::types::error::StartLiveTailResponseStreamError,
>;

impl Logs {
    /// Starts Live Tail for up to 100 streams of one group.
    pub(crate) async fn live_tail(
        &self,
        group: &str,
        streams: &[String],
    ) -> Result<LiveTail, AwsError> {
        let answer = self
            .client
            .start_live_tail()
            // It takes no names.
            .log_group_identifiers(self.group_arn(group).await?)
            .set_log_stream_names(Some(streams.to_vec()))
            .customize()
            .interceptor(PlainHost(self.own_endpoint))
            .send()
            .await
            .map_err(|error| AwsError::from_sdk(TAIL, error))?;
        Ok(LiveTail {
            stream: Some(answer.response_stream),
        })
    }

    async fn group_arn(&self, group: &str) -> Result<String, AwsError> {
        let answer = self
            .client
            .describe_log_groups()
            .log_group_name_prefix(group)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("logs:DescribeLogGroups", error))?;
        let groups = answer.log_groups.unwrap_or_default();
        let found = groups
            .into_iter()
            .find(|one| one.log_group_name.as_deref() == Some(group))
            .and_then(|one| one.log_group_arn.or(one.arn));
        // The older of the two members ends with `:*`, which is refused here.
        found
            .map(|arn| arn.trim_end_matches(":*").to_owned())
            .ok_or_else(|| AwsError::missing("logs:DescribeLogGroups", "group"))
    }
}

impl LiveTail {
    /// One that was never open.
    pub(crate) fn closed() -> Self {
        Self { stream: None }
    }

    /// The streams of the next update, none if nothing is new; `None` at the end of the session.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<String>>, AwsError> {
        let Some(stream) = &mut self.stream else {
            return Ok(None);
        };
        match stream.recv().await {
            Ok(Some(sdk::types::StartLiveTailResponseStream::SessionUpdate(update))) => {
                let events = update.session_results.unwrap_or_default();
                Ok(Some(
                    events
                        .into_iter()
                        .filter_map(|event| event.log_stream_name)
                        .collect(),
                ))
            }
            Ok(Some(_)) => Ok(Some(Vec::new())),
            Ok(None) => Ok(None),
            Err(error) => Err(AwsError::broken(TAIL, &error)),
        }
    }
}

impl Logs {
    /// Makes a stream; one that is there already is an error.
    pub(crate) async fn create_stream(&self, group: &str, stream: &str) -> Result<(), AwsError> {
        let call = self.client.create_log_stream();
        let call = call.log_group_name(group).log_stream_name(stream);
        let made = call.send().await;
        made.map(|_| ())
            .map_err(|error| AwsError::from_sdk("logs:CreateLogStream", error))
    }

    /// Adds events of one time.
    pub(crate) async fn put_events(
        &self,
        group: &str,
        stream: &str,
        time: i64,
        messages: Vec<String>,
    ) -> Result<(), AwsError> {
        let event = |message: String| {
            let event = sdk::types::InputLogEvent::builder();
            event.timestamp(time).message(message).build()
        };
        let events: Result<Vec<_>, _> = messages.into_iter().map(event).collect();
        let events = events.map_err(|_| AwsError::missing(PUT, "message"))?;
        let call = self.client.put_log_events();
        let call = call.log_group_name(group).log_stream_name(stream);
        let put = call.set_log_events(Some(events)).send().await;
        put.map(|_| ())
            .map_err(|error| AwsError::from_sdk(PUT, error))
    }
}

/// Takes the `stream-` off the host that the SDK puts in front of it: an endpoint of the user's own has no such name.
#[derive(Debug)]
struct PlainHost(bool);

#[dyn_dispatch_hint]
impl Intercept for PlainHost {
    fn name(&self) -> &'static str {
        "plain host"
    }

    /// After the endpoint is resolved, before the request is signed for it.
    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        if self.0
            && let Some((scheme, rest)) = request.uri().split_once("://")
            // The older name is that of models before April 2026.
            && let Some(plain) = rest.strip_prefix("stream-").or_else(|| rest.strip_prefix("streaming-"))
        {
            let uri = format!("{scheme}://{plain}");
            request.set_uri(uri)?;
        }
        Ok(())
    }
}

fn event_from(event: sdk::types::OutputLogEvent) -> Event {
    let timestamp = event.timestamp.unwrap_or_default();
    Event {
        timestamp,
        ingested: event.ingestion_time.unwrap_or(timestamp),
        message: event.message.unwrap_or_default(),
    }
}

const PUT: &str = "logs:PutLogEvents";
const GET: &str = "logs:GetLogEvents";
const TAIL: &str = "logs:StartLiveTail";
