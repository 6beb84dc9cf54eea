//! SSM session calls.

use aws_sdk_ssm as sdk;
use aws_sdk_ssm::config::retry::RetryConfig;
use aws_sdk_ssm::types::{SessionFilter, SessionFilterKey, SessionState};

use super::config::Settings;
use super::ecs::NobodyListens;
use super::error::AwsError;
use crate::model::SessionGrant;
use crate::secret::Secret;

/// The SSM calls bowline makes.
#[derive(Debug)]
pub(crate) struct Ssm {
    client: sdk::Client,
}

impl Ssm {
    pub(crate) fn new(settings: &Settings) -> Self {
        let mut config = sdk::config::Builder::from(&settings.sdk).retry_classifier(NobodyListens);
        if let Some(url) = &settings.ssm_endpoint {
            config = config.endpoint_url(url);
        }
        Self {
            client: sdk::Client::from_conf(config.build()),
        }
    }

    /// Starts a session on a target, of the kind that the document says. It is not repeated after a time-out.
    pub(crate) async fn start_session(
        &self,
        target: &str,
        document: Option<&str>,
        parameters: &[(&str, &str)],
    ) -> Result<SessionGrant, AwsError> {
        let mut call = self
            .client
            .start_session()
            .target(target)
            .set_document_name(document.map(str::to_owned));
        for (name, value) in parameters {
            call = call.parameters(*name, vec![(*value).to_owned()]);
        }
        let once = sdk::config::Builder::new().retry_config(RetryConfig::disabled());
        let answer = call
            .customize()
            .config_override(once)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("ssm:StartSession", error))?;
        let missing = |what| AwsError::missing("ssm:StartSession", what);
        Ok(SessionGrant {
            session_id: answer.session_id.ok_or_else(|| missing("session id"))?,
            stream_url: answer.stream_url.ok_or_else(|| missing("stream URL"))?,
            token: Secret::new(answer.token_value.ok_or_else(|| missing("token"))?),
        })
    }

    /// Asks for a new connection to a session. `None` means that the session has ended: the answer then
    /// carries no token, or the id is no longer known. All three members may differ from the first grant.
    pub(crate) async fn resume_session(
        &self,
        session_id: &str,
    ) -> Result<Option<SessionGrant>, AwsError> {
        let answer = self
            .client
            .resume_session()
            .session_id(session_id)
            .send()
            .await;
        let answer = match answer.map_err(|error| AwsError::from_sdk("ssm:ResumeSession", error)) {
            Err(error) if error.is("DoesNotExistException") => return Ok(None),
            other => other?,
        };
        let Some(token) = answer.token_value.filter(|token| !token.is_empty()) else {
            return Ok(None);
        };
        Ok(Some(SessionGrant {
            session_id: answer.session_id.unwrap_or_else(|| session_id.to_owned()),
            stream_url: answer
                .stream_url
                .ok_or_else(|| AwsError::missing("ssm:ResumeSession", "stream URL"))?,
            token: Secret::new(token),
        }))
    }

    /// Ends a session for everybody. A session that is already gone counts as ended.
    pub(crate) async fn terminate_session(&self, session_id: &str) -> Result<(), AwsError> {
        self.client
            .terminate_session()
            .session_id(session_id)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("ssm:TerminateSession", error))
            .map(drop)
            .or_else(|error| match error.is("DoesNotExistException") {
                true => Ok(()),
                false => Err(error),
            })
    }

    /// The ids of all sessions on a target that SSM remembers, oldest first.
    pub(crate) async fn sessions(&self, target: &str) -> Result<Vec<String>, AwsError> {
        let mut found = Vec::new();
        for state in [SessionState::History, SessionState::Active] {
            let by_target = SessionFilter::builder()
                .key(SessionFilterKey::TargetId)
                .value(target)
                .build()
                .expect("key and value are set");
            let mut pages = self
                .client
                .describe_sessions()
                .state(state)
                .filters(by_target)
                .into_paginator()
                .send();
            while let Some(page) = pages.next().await {
                let page =
                    page.map_err(|error| AwsError::from_sdk("ssm:DescribeSessions", error))?;
                found.extend(page.sessions.unwrap_or_default());
            }
        }
        found.sort_by_key(|session| session.start_date);
        Ok(found
            .into_iter()
            .filter_map(|session| session.session_id)
            .collect())
    }

    /// How many sessions on a target are not over yet.
    pub(crate) async fn active_sessions(&self, target: &str) -> Result<usize, AwsError> {
        let by_target = SessionFilter::builder()
            .key(SessionFilterKey::TargetId)
            .value(target)
            .build()
            .expect("key and value are set");
        let mut pages = self
            .client
            .describe_sessions()
            .state(SessionState::Active)
            .filters(by_target)
            .into_paginator()
            .send();
        let mut count = 0;
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| AwsError::from_sdk("ssm:DescribeSessions", error))?;
            count += page.sessions.unwrap_or_default().len();
        }
        Ok(count)
    }
}
