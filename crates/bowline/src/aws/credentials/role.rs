//! Assuming the role of a profile, with an MFA code if the profile asks for one.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::SdkConfig;
use aws_config::profile::Profile;
use aws_credential_types::Credentials as SdkCredentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_sts as sts;
use futures_util::future::BoxFuture;
use tokio::time::timeout;

use super::PERSON_LIMIT;
use super::problem::CredentialProblem;
use crate::aws::error::AwsError;

/// A role that a profile names.
#[derive(Debug)]
pub(super) struct Role {
    profile: String,
    arn: String,
    external_id: Option<String>,
    session_name: Option<String>,
    duration: Option<i32>,
    mfa_serial: Option<String>,
}

/// Asks a person for an MFA code. An error says why nobody could be asked.
#[derive(Clone)]
pub struct MfaPrompt(Arc<Ask>);

type Ask = dyn Fn(MfaRequest) -> BoxFuture<'static, Result<String, String>> + Send + Sync;

/// What an MFA code is wanted for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MfaRequest {
    /// The profile.
    pub profile: String,
    /// The device, by its ARN or serial number.
    pub serial: String,
}

impl MfaPrompt {
    /// A prompt by this function; it may take minutes.
    pub fn new(
        ask: impl Fn(MfaRequest) -> BoxFuture<'static, Result<String, String>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(ask))
    }
}

impl fmt::Debug for MfaPrompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MfaPrompt")
    }
}

impl Role {
    /// The role of a profile, if it has one that another identity assumes.
    pub(super) fn of(profile: &Profile) -> Result<Option<Self>, String> {
        let text = |key: &str| profile.get(key).map(str::to_owned);
        let Some(arn) =
            text("role_arn").filter(|_| profile.get("web_identity_token_file").is_none())
        else {
            return Ok(None);
        };
        let duration = profile.get("duration_seconds").map(str::parse).transpose();
        Ok(Some(Self {
            profile: profile.name().to_owned(),
            arn,
            external_id: text("external_id"),
            session_name: text("role_session_name"),
            duration: duration.map_err(|_| "its duration_seconds is no number".to_owned())?,
            mfa_serial: text("mfa_serial"),
        }))
    }

    /// A role that is named by itself, and the name of its session.
    pub(super) fn plain(arn: &str, session: &str) -> Self {
        Self {
            profile: String::new(),
            arn: arn.to_owned(),
            external_id: None,
            session_name: Some(session.to_owned()),
            duration: None,
            mfa_serial: None,
        }
    }

    pub(super) fn needs_code(&self) -> bool {
        self.mfa_serial.is_some()
    }

    /// Assumes it with the credentials so far. What comes back lives in this process only.
    pub(super) async fn assume(
        &self,
        sdk: &SdkConfig,
        credentials: SdkCredentials,
        prompt: Option<&MfaPrompt>,
    ) -> Result<SdkCredentials, CredentialProblem> {
        let code = match &self.mfa_serial {
            Some(serial) => Some(self.ask(serial, prompt).await?),
            None => None,
        };
        let config = sdk
            .to_builder()
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build();
        let answer = sts::Client::new(&config)
            .assume_role()
            .role_arn(&self.arn)
            .role_session_name(
                self.session_name
                    .clone()
                    .unwrap_or_else(default_session_name),
            )
            .set_external_id(self.external_id.clone())
            .set_duration_seconds(self.duration)
            .set_serial_number(self.mfa_serial.clone().filter(|_| code.is_some()))
            .set_token_code(code)
            .send()
            .await
            .map_err(|error| self.refused(AwsError::from_sdk("sts:AssumeRole", error)))?;
        let found = answer
            .credentials
            .ok_or_else(|| self.refused(AwsError::missing("sts:AssumeRole", "credentials")))?;
        let expiry = SystemTime::try_from(found.expiration).ok();
        Ok(SdkCredentials::new(
            found.access_key_id,
            found.secret_access_key,
            Some(found.session_token),
            expiry,
            "assumed role",
        ))
    }

    async fn ask(
        &self,
        serial: &str,
        prompt: Option<&MfaPrompt>,
    ) -> Result<String, CredentialProblem> {
        let unanswered = |reason: String| CredentialProblem::Mfa {
            profile: self.profile.clone(),
            serial: serial.to_owned(),
            reason,
        };
        let prompt = prompt.ok_or_else(|| unanswered("nobody can be asked".to_owned()))?;
        let request = MfaRequest {
            profile: self.profile.clone(),
            serial: serial.to_owned(),
        };
        let code = match timeout(PERSON_LIMIT, (prompt.0)(request)).await {
            Ok(answer) => answer.map_err(unanswered)?,
            Err(_) => {
                return Err(unanswered(format!(
                    "none came within {} s",
                    PERSON_LIMIT.as_secs()
                )));
            }
        };
        let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
        // As the API reference has it; anything else would only be refused after a round trip.
        match code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()) {
            true => Ok(code),
            false => Err(unanswered("a code is six digits".to_owned())),
        }
    }

    fn refused(&self, cause: AwsError) -> CredentialProblem {
        CredentialProblem::Role {
            profile: self.profile.clone(),
            role: self.arn.clone(),
            with_code: self.mfa_serial.is_some(),
            cause: Box::new(cause),
        }
    }
}

fn default_session_name() -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    format!("bowline-{}", now.as_secs())
}
