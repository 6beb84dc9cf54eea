//! Failed calls, configurations and connections.

use bowline::{
    AwsError, AwsErrorKind, ConnectError, CredentialProblem, NetworkError, NetworkProblem, SignIn,
};

use super::{Field, Problem, chain};

impl From<ConnectError> for Problem {
    fn from(error: ConnectError) -> Self {
        let hint = match &error {
            ConnectError::NoRegion { .. } => {
                "name it with region= or AWS_REGION, or name a profile that has one with profile="
                    .to_owned()
            }
            ConnectError::InvalidRegion { suggestion, .. } => match suggestion {
                Some(near) => format!("did you mean {near}?"),
                None => "a region looks like eu-west-1".to_owned(),
            },
            ConnectError::UnknownProfile {
                suggestions,
                candidates,
                ..
            } => near_or_all("profiles", suggestions, candidates)
                .unwrap_or_else(|| "make one with `aws configure`".to_owned()),
            ConnectError::InvalidEndpoint { .. } => {
                "an endpoint looks like http://127.0.0.1:4566; it comes from endpoint_url= or AWS_ENDPOINT_URL"
                    .to_owned()
            }
            _ => "mend the file, or name another with AWS_CONFIG_FILE".to_owned(),
        };
        Self::new("ConfigurationError", chain(&error)).hint(hint)
    }
}

impl From<AwsError> for Problem {
    fn from(error: AwsError) -> Self {
        let class = match error.kind {
            AwsErrorKind::Credentials => "CredentialsError",
            AwsErrorKind::Unreachable
            | AwsErrorKind::TimedOut
            | AwsErrorKind::NotAws
            | AwsErrorKind::Trust => "UnreachableError",
            _ if error.is_rejected_credentials() => "CredentialsError",
            _ if error.is_access_denied() => "AccessDeniedError",
            _ if error.is_throttled() => "ThrottledError",
            _ => "AwsError",
        };
        let status = error.status.map(i64::from);
        Self::new(class, error.to_string())
            .maybe_hint(aws_hint(&error))
            .resource(&*error.operation)
            .field("operation", Field::Text(Some(error.operation.to_string())))
            .field("code", Field::Text(error.code))
            .field("status", Field::Integer(status))
            .field("request_id", Field::Text(error.request_id))
    }
}

pub(super) fn aws_hint(error: &AwsError) -> Option<String> {
    if let Some(network) = error.network() {
        return Some(network_hint(network).to_owned());
    }
    if let Some(problem) = error.credential_problem() {
        return Some(credential_hint(problem));
    }
    let hint = match error.kind {
        AwsErrorKind::Credentials => {
            "sign in again (`aws sso login`, `aws login`), or name a profile with profile="
        }
        AwsErrorKind::Unreachable | AwsErrorKind::TimedOut => {
            "check the network, the proxy settings and the endpoint (endpoint_url=, AWS_ENDPOINT_URL)"
        }
        AwsErrorKind::Trust => "check the file that AWS_CA_BUNDLE names",
        AwsErrorKind::NotAws => {
            "something other than AWS answered: check the endpoint (endpoint_url=, AWS_ENDPOINT_URL)"
        }
        _ if error.is_rejected_credentials() => match error.code.as_deref() {
            Some("ExpiredTokenException" | "ExpiredToken") => {
                "the credentials have expired: sign in again, or fetch new ones"
            }
            Some("InvalidSignatureException" | "SignatureDoesNotMatch") => {
                "check the secret key and the clock of this machine"
            }
            _ => {
                "the endpoint does not know the access key: check the profile, AWS_ACCESS_KEY_ID and the region"
            }
        },
        _ if error.is_access_denied() => {
            return Some(format!(
                "the caller needs the permission {}",
                error.operation
            ));
        }
        _ if error.is("TargetNotConnectedException") => {
            "the agent in the container has no connection to AWS: check the task role (ssmmessages:*), the network to \
             ssmmessages, and a read-only root file system"
        }
        _ if error.is_throttled() => "wait a little and try again",
        _ => return None,
    };
    Some(hint.to_owned())
}

pub(super) fn network_hint(error: &NetworkError) -> &'static str {
    match &error.problem {
        NetworkProblem::NameNotResolved => {
            "check the spelling of the region and the endpoint, and the DNS of this network"
        }
        NetworkProblem::Refused => {
            "check host and port (endpoint_url=, AWS_ENDPOINT_URL); a sandbox must be running to be reached"
        }
        NetworkProblem::UnknownIssuer => {
            "if a company proxy or a sandbox with TLS is in between, name the file with its authority in AWS_CA_BUNDLE"
        }
        NetworkProblem::CertificateExpired | NetworkProblem::CertificateNotYetValid => {
            "check the clock of this machine; if it is right, the server needs another certificate"
        }
        _ => "check the network, the proxy settings (HTTPS_PROXY, NO_PROXY) and the endpoint",
    }
}

/// `did you mean …`, or what there is.
pub(super) fn near_or_all(
    what: &str,
    suggestions: &[String],
    candidates: &[String],
) -> Option<String> {
    if !suggestions.is_empty() {
        return Some(format!("did you mean {}?", suggestions.join(" or ")));
    }
    (!candidates.is_empty()).then(|| format!("there are the {what} {}", candidates.join(", ")))
}

fn credential_hint(problem: &CredentialProblem) -> String {
    match problem {
        CredentialProblem::NoneFound { profiles, .. } if !profiles.is_empty() => {
            format!(
                "name a profile with profile= or AWS_PROFILE: {}",
                profiles.join(", ")
            )
        }
        CredentialProblem::NoneFound { .. } => {
            "sign in with `aws sso login` or `aws login`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                .to_owned()
        }
        CredentialProblem::SignIn { profile, kind, .. } => match kind {
            SignIn::Sso(Some(session)) => format!("run `aws sso login --sso-session {session}`"),
            SignIn::Sso(None) => format!("run `aws sso login --profile {profile}`"),
            _ => format!("run `aws login --profile {profile}`"),
        },
        CredentialProblem::Mfa { profile, .. } => format!(
            "set the session's keys from `aws configure export-credentials --profile {profile} --format env`"
        ),
        CredentialProblem::Role { cause, .. } => aws_hint(cause).unwrap_or_else(|| {
            "the role has to trust the identity before it, which needs sts:AssumeRole".to_owned()
        }),
        _ => "`aws sts get-caller-identity` with the same profile shows whether it works there".to_owned(),
    }
}
