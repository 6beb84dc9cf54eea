//! What to do when there is no client, or no credentials for it.

use bowline::{ConnectError, CredentialProblem, SignIn};

use super::{TRY_SANDBOX, aws_hints, near_or_all, network_hint};

pub(super) fn connect_hints(error: &ConnectError) -> Vec<String> {
    let hints: &[&str] = match error {
        ConnectError::NoRegion { .. } => &[
            "name a region with --region or AWS_REGION, or a profile that has one with --profile",
            TRY_SANDBOX,
        ],
        ConnectError::InvalidRegion { suggestion, .. } => {
            return vec![match suggestion {
                Some(near) => format!("did you mean {near}?"),
                None => "a region looks like eu-west-1; it comes from --region, AWS_REGION, the profile or \
                         `bowline config show --origin`"
                    .to_owned(),
            }];
        }
        ConnectError::UnknownProfile {
            suggestions,
            candidates,
            ..
        } => {
            let mut hints = near_or_all("profiles", suggestions, candidates);
            if hints.is_empty() {
                hints.push("make one with `aws configure sso` or `aws configure`".to_owned());
            }
            return hints;
        }
        ConnectError::ProfileFiles { .. } => {
            &["mend the file, or name another with AWS_CONFIG_FILE"]
        }
        ConnectError::InvalidEndpoint { .. } => &[
            "an endpoint looks like http://127.0.0.1:4566; it comes from --endpoint-url, \
             BOWLINE_ENDPOINT, AWS_ENDPOINT_URL or the profile",
        ],
        ConnectError::InvalidStreamHost { .. } => &[
            "it is a name or address like vpce-0a1b.ssmmessages.eu-west-1.vpce.amazonaws.com, from --stream-host \
             or BOWLINE_STREAM_HOST",
        ],
        _ => &[],
    };
    hints.iter().map(|hint| (*hint).to_owned()).collect()
}

/// The command that mends it.
pub(super) fn credential_hints(problem: &CredentialProblem) -> Vec<String> {
    match problem {
        CredentialProblem::NoneFound { profiles, .. } => {
            let choose = match &profiles[..] {
                [] => "sign in with `aws configure sso` and `aws sso login`, or with `aws login`, or set \
                       AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                    .to_owned(),
                [one] => format!("add --profile {one}, or export AWS_PROFILE={one}"),
                several => {
                    let shown = several.iter().take(PROFILES_SHOWN).map(String::as_str);
                    let more = if several.len() > PROFILES_SHOWN { " …" } else { "" };
                    let names: Vec<&str> = shown.collect();
                    format!("choose a profile with --profile or AWS_PROFILE: {}{more}", names.join(", "))
                }
            };
            vec![choose, TRY_SANDBOX.to_owned()]
        }
        CredentialProblem::Profile { profile, .. } => {
            vec![format!("`aws configure list --profile {profile}` shows what it has; mend it in ~/.aws/config")]
        }
        CredentialProblem::SignIn { profile, kind, .. } => vec![match kind {
            SignIn::Sso(Some(session)) => {
                format!("run `aws sso login --sso-session {session}`, then the same command again")
            }
            SignIn::Sso(None) => format!("run `aws sso login --profile {profile}`, then the same command again"),
            _ => format!("run `aws login --profile {profile}`, then the same command again"),
        }],
        CredentialProblem::Process { profile, .. } => {
            vec![format!("run the credential_process of profile {profile} by hand to see what it needs")]
        }
        CredentialProblem::Mfa { profile, .. } => vec![format!(
            "run it at a terminal, or set the session's keys from `aws configure export-credentials --profile {profile} \
             --format env`"
        )],
        CredentialProblem::Role { cause, .. } if cause.network().is_some() => {
            cause.network().map(network_hint).into_iter().collect()
        }
        CredentialProblem::Role { with_code: true, cause, .. } if cause.is_access_denied() => {
            vec!["a code is good once: wait for the next one and try again; else the role does not trust this user".to_owned()]
        }
        CredentialProblem::Role { cause, .. } if cause.is_access_denied() => {
            vec!["the role has to trust the identity before it, and that identity needs sts:AssumeRole".to_owned()]
        }
        CredentialProblem::Role { cause, .. } => aws_hints(cause),
        CredentialProblem::Source { source_name, .. } if source_name == "container" => vec![
            "check AWS_CONTAINER_CREDENTIALS_FULL_URI or _RELATIVE_URI and the authorization token; a closed CloudShell \
             or a stopped task gives none"
                .to_owned(),
        ],
        _ => vec!["`bowline config show --origin` shows which profile is used".to_owned()],
    }
}

/// How many profiles a hint lists.
const PROFILES_SHOWN: usize = 12;
