//! One error for every way in which an AWS call can fail, with what a user needs to act on it.

use std::error::Error;
use std::fmt;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::{ConnectorError, SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::credentials::CredentialProblem;
use super::pace::Closed;
use crate::network::{NetworkError, NetworkProblem, find};
use crate::tls::TrustError;

/// A failed call: which one, how, and what AWS said.
#[derive(Debug)]
pub struct AwsError {
    /// The call, such as `ecs:ListTasks`.
    pub operation: Box<str>,
    /// What kind of failure it is.
    pub kind: AwsErrorKind,
    /// AWS's error code, such as `ClusterNotFoundException`.
    pub code: Option<String>,
    /// What happened, in AWS's words where it sent any.
    pub message: String,
    /// The id AWS gave the request, for support tickets.
    pub request_id: Option<String>,
    /// The HTTP status, if there was a response.
    pub status: Option<u16>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The kinds of failure that call for different actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AwsErrorKind {
    /// AWS answered with an error of its own.
    Service,
    /// Something answered, but not as AWS does (an HTML page, other JSON).
    NotAws,
    /// The endpoint could not be reached.
    Unreachable,
    /// No answer came in time; the call may have had its effect.
    TimedOut,
    /// No usable credentials.
    Credentials,
    /// There are no usable trust roots for TLS.
    Trust,
    /// The request could not be built.
    Request,
}

impl AwsError {
    /// Whether AWS answered with this error code.
    pub fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// Whether AWS refuses the caller rather than the request.
    pub fn is_access_denied(&self) -> bool {
        matches!(
            self.code.as_deref(),
            Some("AccessDeniedException" | "AccessDenied" | "UnauthorizedOperation")
        )
    }

    /// Whether AWS did nothing because of a rate limit.
    pub fn is_throttled(&self) -> bool {
        matches!(
            self.code.as_deref(),
            Some(
                "ThrottlingException"
                    | "Throttling"
                    | "ThrottledException"
                    | "RequestThrottledException"
                    | "TooManyRequestsException"
                    | "RequestLimitExceeded"
                    | "SlowDown"
            )
        )
    }

    /// Whether the signature was not accepted, as with a wrong clock.
    pub(crate) fn is_rejected_signature(&self) -> bool {
        matches!(
            self.code.as_deref(),
            Some(
                "InvalidSignatureException"
                    | "SignatureDoesNotMatch"
                    | "RequestExpired"
                    | "RequestInTheFuture"
                    | "AuthFailure"
            )
        )
    }

    /// Whether the credentials were sent but not accepted (expired, unknown, wrong signature).
    pub fn is_rejected_credentials(&self) -> bool {
        matches!(
            self.code.as_deref(),
            Some(
                "ExpiredTokenException"
                    | "ExpiredToken"
                    | "UnrecognizedClientException"
                    | "InvalidClientTokenId"
                    | "InvalidSignatureException"
                    | "SignatureDoesNotMatch"
            )
        )
    }

    /// Whether the call certainly had no effect: AWS refused it, or it was never sent. After a lost connection, a late
    /// answer or an error of the service's own nobody knows.
    pub fn changed_nothing(&self) -> bool {
        match self.kind {
            AwsErrorKind::Service => {
                self.is_throttled()
                    || self
                        .status
                        .is_some_and(|status| (400..500).contains(&status))
            }
            AwsErrorKind::Credentials | AwsErrorKind::Trust | AwsErrorKind::Request => true,
            AwsErrorKind::NotAws | AwsErrorKind::Unreachable | AwsErrorKind::TimedOut => false,
        }
    }

    /// The same for another who asked with the same call; without what caused it.
    pub(crate) fn for_another(&self) -> Self {
        Self {
            operation: self.operation.clone(),
            kind: self.kind,
            code: self.code.clone(),
            message: self.message.clone(),
            request_id: self.request_id.clone(),
            status: self.status,
            source: None,
        }
    }

    /// How the connection failed, if it did.
    pub fn network(&self) -> Option<&NetworkError> {
        find(self.source.as_deref()?)
    }

    /// Why there are no credentials, if that is what failed.
    pub fn credential_problem(&self) -> Option<&CredentialProblem> {
        find(self.source.as_deref()?)
    }

    /// Makes the error of a call from the SDK's.
    pub(crate) fn from_sdk<E>(operation: &'static str, error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        if let Some(credentials) = find::<CredentialsError>(&error) {
            return Self::credentials(operation, credentials).caused_by(error);
        }
        if let Some(network) = find::<NetworkError>(&error) {
            let kind = match network.problem {
                NetworkProblem::TimedOut(_) => AwsErrorKind::TimedOut,
                _ => AwsErrorKind::Unreachable,
            };
            return Self::new(operation, kind, network.to_string()).caused_by(error);
        }
        if let Some(closed) = find::<Closed>(&error) {
            // An attempt before may have had its effect.
            let kind = match closed.repeated {
                true => AwsErrorKind::Unreachable,
                false => AwsErrorKind::Request,
            };
            return Self::new(operation, kind, closed.to_string()).caused_by(error);
        }
        if let Some(trust) = find::<TrustError>(&error) {
            return Self::new(operation, AwsErrorKind::Trust, trust.to_string()).caused_by(error);
        }
        match &error {
            SdkError::ServiceError(service) => {
                let meta = service.err();
                Self::from_response(operation, meta.code(), meta.message(), service.raw())
            }
            SdkError::ResponseError(response) => {
                Self::from_response(operation, None, None, response.raw())
            }
            SdkError::TimeoutError(_) => Self::new(
                operation,
                AwsErrorKind::TimedOut,
                "no answer came in time".to_owned(),
            ),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => Self::new(
                operation,
                AwsErrorKind::TimedOut,
                format!("no answer came in time: {}", last_causes(&error)),
            ),
            SdkError::DispatchFailure(_) => Self::new(
                operation,
                AwsErrorKind::Unreachable,
                format!("could not reach the endpoint: {}", last_causes(&error)),
            ),
            _ => Self::new(
                operation,
                AwsErrorKind::Request,
                format!("could not make the request: {}", last_causes(&error)),
            ),
        }
        .caused_by(error)
    }

    /// Makes the error of a look-up of credentials outside any call.
    pub(crate) fn from_credentials(error: CredentialsError) -> Self {
        Self::credentials("credentials", &error).caused_by(error)
    }

    /// An answer that is well formed but lacks a member the call is useless without.
    pub(crate) fn missing(operation: &'static str, member: &'static str) -> Self {
        Self::new(
            operation,
            AwsErrorKind::NotAws,
            format!("the answer has no {member}"),
        )
    }

    /// An answer that broke off or cannot be read.
    pub(crate) fn broken(operation: &'static str, error: &(dyn Error + 'static)) -> Self {
        Self::new(operation, AwsErrorKind::NotAws, last_causes(error))
    }

    fn new(operation: impl Into<Box<str>>, kind: AwsErrorKind, message: String) -> Self {
        Self {
            operation: operation.into(),
            kind,
            code: None,
            message,
            request_id: None,
            status: None,
            source: None,
        }
    }

    fn from_response(
        operation: &'static str,
        code: Option<&str>,
        message: Option<&str>,
        raw: &HttpResponse,
    ) -> Self {
        let status = raw.status().as_u16();
        let (kind, text) = match (code, message) {
            (Some(_), Some(message)) => (AwsErrorKind::Service, message.trim().to_owned()),
            (Some(_), None) => (AwsErrorKind::Service, "no message was sent".to_owned()),
            (None, _) => (AwsErrorKind::NotAws, describe_foreign_body(raw)),
        };
        Self {
            code: code.map(str::to_owned),
            request_id: raw.headers().get("x-amzn-requestid").map(str::to_owned),
            status: Some(status),
            ..Self::new(operation, kind, text)
        }
    }

    /// An error of a call that was named at run time.
    pub(crate) fn said(
        operation: String,
        code: String,
        message: Option<String>,
        status: u16,
        request_id: Option<String>,
    ) -> Self {
        let message = message.unwrap_or_else(|| "no message was sent".to_owned());
        Self {
            code: Some(code),
            status: Some(status),
            request_id,
            ..Self::new(operation, AwsErrorKind::Service, message.trim().to_owned())
        }
    }

    /// An answer that is none of AWS's.
    pub(crate) fn foreign(
        operation: String,
        status: u16,
        request_id: Option<String>,
        body: &[u8],
    ) -> Self {
        Self {
            status: Some(status),
            request_id,
            ..Self::new(operation, AwsErrorKind::NotAws, describe_foreign(body))
        }
    }

    /// A call whose answer did not come by its deadline.
    pub(crate) fn late(operation: String) -> Self {
        Self::new(
            operation,
            AwsErrorKind::TimedOut,
            "no answer came in time".to_owned(),
        )
    }

    /// A call that cannot be made, or an answer that cannot be used.
    pub(crate) fn unusable(operation: String, why: &str) -> Self {
        Self::new(operation, AwsErrorKind::Request, why.to_owned())
    }

    /// A connection that failed.
    pub(crate) fn from_connector(operation: String, error: ConnectorError) -> Self {
        if let Some(network) = find::<NetworkError>(&error) {
            let kind = match network.problem {
                NetworkProblem::TimedOut(_) => AwsErrorKind::TimedOut,
                _ => AwsErrorKind::Unreachable,
            };
            return Self::new(operation, kind, network.to_string()).caused_by(error);
        }
        if let Some(trust) = find::<TrustError>(&error) {
            return Self::new(operation, AwsErrorKind::Trust, trust.to_string()).caused_by(error);
        }
        let message = format!("could not reach the endpoint: {}", last_causes(&error));
        Self::new(operation, AwsErrorKind::Unreachable, message).caused_by(error)
    }

    fn credentials(operation: &'static str, error: &CredentialsError) -> Self {
        if let Some(problem) = find::<CredentialProblem>(error) {
            return Self::new(operation, AwsErrorKind::Credentials, problem.to_string());
        }
        let message = match error {
            CredentialsError::ProviderTimedOut(timeout) => format!(
                "credentials did not arrive within {} s",
                timeout.timeout_duration().as_secs()
            ),
            _ => {
                let cause = match find::<NetworkError>(error) {
                    Some(network) => network.to_string(),
                    None => last_causes(error),
                };
                format!("could not load AWS credentials: {cause}")
            }
        };
        Self::new(operation, AwsErrorKind::Credentials, message)
    }

    fn caused_by(mut self, error: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(error));
        self
    }
}

impl fmt::Display for AwsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without credentials there was no call yet.
        if self.kind != AwsErrorKind::Credentials {
            write!(f, "{}: ", self.operation)?;
        }
        f.write_str(&self.message)?;
        let facts: Vec<String> = [
            self.code.clone(),
            self.status.map(|status| format!("HTTP {status}")),
            self.request_id
                .as_ref()
                .map(|id| format!("request id {id}")),
        ]
        .into_iter()
        .flatten()
        .collect();
        if facts.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", facts.join(", "))
    }
}

impl Error for AwsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// What a non-AWS answer says, in one line: moto, for one, answers unknown operations with an HTML page.
fn describe_foreign_body(raw: &HttpResponse) -> String {
    describe_foreign(raw.body().bytes().unwrap_or_default())
}

fn describe_foreign(body: &[u8]) -> String {
    let text = one_line(&String::from_utf8_lossy(body));
    if text.is_empty() {
        return "the endpoint answered without an AWS error".to_owned();
    }
    format!("the endpoint answered with something that is no AWS error: {text:?}")
}

/// The text of a page without its tags, white space folded, cut to a length that fits a message.
fn one_line(body: &str) -> String {
    let mut text = String::new();
    let mut in_tag = false;
    for character in body.chars().take(FOREIGN_BODY_READ) {
        match character {
            '<' => in_tag = true,
            '>' if in_tag => {
                in_tag = false;
                text.push(' ');
            }
            _ if in_tag => {}
            other => text.push(other),
        }
    }
    let folded = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if folded.chars().count() <= FOREIGN_BODY_SHOWN {
        return folded;
    }
    let mut cut: String = folded.chars().take(FOREIGN_BODY_SHOWN).collect();
    cut.push('…');
    cut
}

/// The last two causes of a chain: the outer ones only repeat that a dispatch failed.
pub(super) fn last_causes(error: &(dyn Error + 'static)) -> String {
    let mut causes: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if causes.last() != Some(&text) {
            causes.push(text);
        }
        next = error.source();
    }
    causes[causes.len().saturating_sub(2)..].join(": ")
}

/// Characters of a foreign body that are looked at and shown.
const FOREIGN_BODY_READ: usize = 8192;
const FOREIGN_BODY_SHOWN: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_become_one_line() {
        let page = "<!doctype html>\n<html><title>500 Internal Server Error</title>\n<p>The server\n broke</p>";
        assert_eq!(one_line(page), "500 Internal Server Error The server broke");
        assert_eq!(one_line(&"x".repeat(500)).chars().count(), 201);
        assert_eq!(one_line("{\"a\": 1}"), "{\"a\": 1}");
    }

    #[test]
    fn only_a_refusal_says_that_nothing_was_changed() {
        let said = |code: &str, status| {
            let name = "ecs:UpdateService".to_owned();
            AwsError::said(name, code.to_owned(), None, status, None)
        };
        assert!(said("AccessDeniedException", 400).changed_nothing());
        assert!(said("Throttling", 503).changed_nothing());
        assert!(!said("ServerException", 500).changed_nothing());
        assert!(!AwsError::late("ecs:UpdateService".to_owned()).changed_nothing());
        assert!(!AwsError::foreign("x".to_owned(), 403, None, b"<html>").changed_nothing());
        assert!(AwsError::unusable("x".to_owned(), "y").changed_nothing());
    }

    #[test]
    fn facts_follow_the_message() {
        let error = AwsError {
            code: Some("ClusterNotFoundException".into()),
            status: Some(400),
            request_id: Some("r-1".into()),
            ..AwsError::new(
                "ecs:ListTasks",
                AwsErrorKind::Service,
                "Cluster not found.".into(),
            )
        };
        assert_eq!(
            error.to_string(),
            "ecs:ListTasks: Cluster not found. (ClusterNotFoundException, HTTP 400, request id r-1)"
        );
        let missing = AwsError::missing("ecs:ExecuteCommand", "session");
        assert_eq!(
            missing.to_string(),
            "ecs:ExecuteCommand: the answer has no session"
        );
    }

    #[test]
    fn only_the_last_two_causes_are_shown() {
        #[derive(Debug)]
        struct Layer(&'static str, Option<Box<Self>>);
        impl fmt::Display for Layer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0)
            }
        }
        impl Error for Layer {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                self.1.as_deref().map(|layer| layer as _)
            }
        }
        let refused = Layer("connection refused (os error 111)", None);
        let connect = Layer("tcp connect error", Some(Box::new(refused)));
        let dispatch = Layer("dispatch failure", Some(Box::new(connect)));
        assert_eq!(
            last_causes(&dispatch),
            "tcp connect error: connection refused (os error 111)"
        );
    }
}
