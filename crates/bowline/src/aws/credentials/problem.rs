//! Why there are no credentials, with what a person needs to mend it.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;

use super::plan::{Base, Plan};
use crate::aws::error::{AwsError, last_causes};
use crate::network::{NetworkError, find};

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialProblem {
    /// No source has any.
    #[error("no AWS credentials were found{}", lines(tried))]
    NoneFound {
        /// The sources, in order, and what became of each.
        tried: Vec<Tried>,
        /// Profiles that have credentials and were not asked for.
        profiles: Vec<String>,
    },
    /// The profile contradicts itself or leaves something out.
    #[error("profile {profile} cannot be used: {reason}")]
    Profile {
        /// The profile.
        profile: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Somebody has to sign in first, or again.
    #[error("profile {profile}: {reason}")]
    SignIn {
        /// The profile.
        profile: String,
        /// How one signs in.
        kind: SignIn,
        /// What is missing.
        reason: String,
        /// What the source said.
        #[source]
        cause: CredentialsError,
    },
    /// The profile's program failed.
    #[error("profile {profile}: its credential_process {program} failed: {reason}")]
    Process {
        /// The profile.
        profile: String,
        /// The program, without its arguments.
        program: String,
        /// What it said.
        reason: String,
    },
    /// A code was needed and not given.
    #[error("profile {profile} needs a code of the MFA device {serial}: {reason}")]
    Mfa {
        /// The profile.
        profile: String,
        /// The device.
        serial: String,
        /// Why there is none.
        reason: String,
    },
    /// STS did not give us the role.
    #[error("profile {profile}: cannot assume {role}: {cause}")]
    Role {
        /// The profile.
        profile: String,
        /// The role's ARN.
        role: String,
        /// Whether a code was sent along.
        with_code: bool,
        /// What STS said.
        #[source]
        cause: Box<AwsError>,
    },
    /// A source that was configured failed.
    #[error("credentials from {source_name}: {reason}")]
    Source {
        /// The source.
        source_name: String,
        /// What went wrong.
        reason: String,
        /// What the source said.
        #[source]
        cause: Option<CredentialsError>,
    },
}

/// The ways to sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignIn {
    /// IAM Identity Center, by this sso-session if the profile names one.
    Sso(Option<String>),
    /// The console, as `aws login` does.
    Login,
}

/// A source of credentials and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tried {
    /// The source.
    pub source_name: String,
    /// Why it had nothing.
    pub outcome: String,
}

impl Tried {
    pub(super) fn new(source: &str, outcome: String) -> Self {
        Self {
            source_name: source.to_owned(),
            outcome,
        }
    }
}

/// The error of a profile's base, told by what kind of base it is.
pub(super) fn of_base(plan: &Plan, error: CredentialsError) -> CredentialProblem {
    let profile = plan.base_profile.clone();
    if find::<NetworkError>(&error).is_some() {
        return of_source(&format!("profile {profile}"), error);
    }
    let (kind, service) = match &plan.base {
        Base::Process { program } => {
            return CredentialProblem::Process {
                profile,
                program: program.clone(),
                reason: process_reason(&last_causes(&error)),
            };
        }
        Base::Sso { .. } => (
            SignIn::Sso(plan.sso_session().map(str::to_owned)),
            "IAM Identity Center",
        ),
        Base::Login => (SignIn::Login, "the console"),
        _ => return of_source(&format!("profile {profile}"), error),
    };
    // The SDK keeps the kinds of these errors to itself; their texts are all there is.
    let text = every_cause(&error);
    let reason = if text.contains("xpired")
        || text.contains("UnauthorizedException")
        || text.contains("nvalid_grant")
    {
        format!("the sign-in to {service} has expired")
    } else if text.contains("failed to load")
        || text.contains("failed to read")
        || text.contains("No such file")
        || text.contains("not found")
    {
        format!("nobody has signed in to {service} here yet")
    } else {
        format!("{service} gave no credentials: {}", last_causes(&error))
    };
    CredentialProblem::SignIn {
        profile,
        kind,
        reason,
        cause: error,
    }
}

/// The error of any other source.
pub(super) fn of_source(name: &str, error: CredentialsError) -> CredentialProblem {
    let reason = match find::<NetworkError>(&error) {
        Some(network) => network.to_string(),
        None => last_causes(&error),
    };
    CredentialProblem::Source {
        source_name: name.to_owned(),
        reason,
        cause: Some(error),
    }
}

/// What the program itself said, without the SDK's words around it; in one line, and not without end.
fn process_reason(text: &str) -> String {
    if let Some((_, why)) = text.split_once("could not parse response: ") {
        return format!("what it printed are no credentials: {why}");
    }
    let own = text
        .rsplit_once("external process ")
        .map_or(text, |(_, own)| own);
    let own = own
        .replacen("exited with code exit status: ", "exit status ", 1)
        .replacen(". Stderr: ", ": ", 1);
    let line = own.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST_REASON) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.trim_end_matches(':').to_owned(),
    }
}

fn every_cause(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        text.push_str(&error.to_string());
        text.push('\n');
        next = error.source();
    }
    text
}

fn lines(tried: &[Tried]) -> String {
    tried.iter().map(|tried| format!("\n  {tried}")).collect()
}

/// Characters of what a program said.
const LONGEST_REASON: usize = 400;
