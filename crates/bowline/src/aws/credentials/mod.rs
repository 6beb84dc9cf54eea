//! Where credentials come from, in the order of all AWS tools, with a record of what was tried.
//!
//! The SDK's own chain is not used because it cannot ask for an MFA code, lets keys in the environment win over a
//! profile that was asked for by name, waits long for instance metadata, and forgets why each source had nothing.
//! Each single source is the SDK's.

mod plan;
mod problem;
mod role;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::imds::{self, credentials::ImdsCredentialsProvider};
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileSet};
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_credential_types::Credentials as SdkCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use tokio::time::timeout;

use self::plan::{Base, Plan};
pub use self::problem::{CredentialProblem, SignIn, Tried};
pub use self::role::{MfaPrompt, MfaRequest};

/// All sources of credentials of one profile.
#[derive(Debug)]
pub(super) struct Chain {
    /// The profile, and whether it was asked for by name: then keys in the environment do not count.
    profile: String,
    by_name: bool,
    profiles: Arc<ProfileSet>,
    mfa: Option<MfaPrompt>,
    /// For calls to STS.
    sdk: SdkConfig,
    provider: ProviderConfig,
    /// Kept, because the SDK's providers keep what they have learned, such as a refreshed SSO token.
    base: tokio::sync::OnceCell<Arc<ProfileFileCredentialsProvider>>,
}

impl Chain {
    pub(super) fn new(
        profile: String,
        by_name: bool,
        profiles: Arc<ProfileSet>,
        mfa: Option<MfaPrompt>,
        sdk: SdkConfig,
    ) -> Self {
        let mut provider = ProviderConfig::without_region().with_region(sdk.region().cloned());
        if let Some(http) = sdk.http_client() {
            provider = provider.with_http_client(http);
        }
        if let Some(limits) = sdk.timeout_config() {
            provider = provider.with_timeout_config(limits.clone());
        }
        Self {
            profile,
            by_name,
            profiles,
            mfa,
            sdk,
            provider,
            base: tokio::sync::OnceCell::new(),
        }
    }

    /// Whether the profile's way to credentials may ask a person something, which takes as long as it takes.
    pub(super) fn may_ask(&self) -> bool {
        if !self.by_name && set("AWS_ACCESS_KEY_ID") && set("AWS_SECRET_ACCESS_KEY") {
            return false;
        }
        let plan = Plan::of(&self.profiles, &self.profile);
        plan.is_ok_and(|plan| plan.is_some_and(|plan| plan.may_ask()))
    }

    async fn find(&self) -> Result<SdkCredentials, CredentialProblem> {
        let mut tried = Vec::new();
        let mut nothing = |source: &str, why: String| tried.push(Tried::new(source, why));

        if self.by_name {
            nothing(
                "environment",
                "left out, since a profile is named".to_owned(),
            );
        } else {
            match unset(&["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]) {
                Some(why) => nothing("environment", why),
                None => {
                    let provider = EnvironmentVariableCredentialsProvider::new();
                    return of_source("environment", provider).await;
                }
            }
        }
        let source = format!("profile {}", self.profile);
        match Plan::of(&self.profiles, &self.profile)? {
            Some(plan) => return self.of_plan(&plan).await,
            None if self.profiles.get_profile(&self.profile).is_some() => {
                nothing(&source, "it has no credentials".to_owned());
            }
            None if self.profiles.is_empty() => {
                nothing(
                    &source,
                    "the AWS configuration files have no profile".to_owned(),
                );
            }
            None => nothing(
                &source,
                "it is not in the AWS configuration files".to_owned(),
            ),
        }
        match unset(&["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"]) {
            Some(why) => nothing("web identity", why),
            None => {
                let provider = WebIdentityTokenCredentialsProvider::builder()
                    .configure(&self.provider)
                    .build();
                return of_source("web identity", provider).await;
            }
        }
        let variables = [
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        ];
        if variables.into_iter().any(set) {
            return of_source("container", self.container()).await;
        }
        nothing(
            "container",
            format!("neither {} is set", variables.join(" nor ")),
        );
        match self.metadata().await {
            Ok(found) => return Ok(found),
            Err(why) => nothing("instance metadata", why),
        }
        Err(CredentialProblem::NoneFound {
            tried,
            profiles: self.with_credentials(),
        })
    }

    async fn of_plan(&self, plan: &Plan) -> Result<SdkCredentials, CredentialProblem> {
        let mut credentials = self.of_base(plan).await?;
        for role in &plan.roles {
            credentials = role
                .assume(&self.sdk, credentials, self.mfa.as_ref())
                .await?;
        }
        Ok(credentials)
    }

    async fn of_base(&self, plan: &Plan) -> Result<SdkCredentials, CredentialProblem> {
        match &plan.base {
            Base::Keys(keys) => return Ok(keys.clone()),
            Base::Environment => {
                let provider = EnvironmentVariableCredentialsProvider::new();
                return of_source("environment", provider).await;
            }
            Base::Container => return of_source("container", self.container()).await,
            Base::Metadata => {
                return self
                    .metadata()
                    .await
                    .map_err(|reason| CredentialProblem::Source {
                        source_name: "instance metadata".to_owned(),
                        reason,
                        cause: None,
                    });
            }
            Base::Sso { .. } | Base::Login | Base::Process { .. } | Base::WebIdentity => {}
        }
        let build = || async {
            let provider = ProfileFileCredentialsProvider::builder()
                .configure(&self.provider)
                .profile_name(&plan.base_profile);
            Arc::new(provider.build())
        };
        let provider = self.base.get_or_init(build).await;
        match timeout(PERSON_LIMIT, provider.provide_credentials()).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(problem::of_base(plan, error)),
            Err(_) => Err(CredentialProblem::Source {
                source_name: format!("profile {}", plan.base_profile),
                reason: format!("it gave no credentials within {} s", PERSON_LIMIT.as_secs()),
                cause: None,
            }),
        }
    }

    fn container(&self) -> EcsCredentialsProvider {
        EcsCredentialsProvider::builder()
            .configure(&self.provider)
            .connect_timeout(METADATA_LIMIT)
            .read_timeout(CONTAINER_LIMIT)
            .build()
    }

    /// Outside EC2 the address may swallow packets, so there is one attempt and little time.
    async fn metadata(&self) -> Result<SdkCredentials, String> {
        if std::env::var("AWS_EC2_METADATA_DISABLED")
            .is_ok_and(|value| value.eq_ignore_ascii_case("true"))
        {
            return Err("AWS_EC2_METADATA_DISABLED is set".to_owned());
        }
        let client = imds::Client::builder()
            .configure(&self.provider)
            .max_attempts(1)
            .connect_timeout(METADATA_LIMIT)
            .read_timeout(METADATA_LIMIT)
            .build();
        let provider = ImdsCredentialsProvider::builder()
            .configure(&self.provider)
            .imds_client(client)
            .build();
        match timeout(METADATA_LIMIT, provider.provide_credentials()).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(CredentialsError::CredentialsNotLoaded(_))) => {
                Err("this machine has no role, or is none of EC2".to_owned())
            }
            Ok(Err(_)) => Err("none answers here".to_owned()),
            Err(_) => Err(format!("no answer within {} s", METADATA_LIMIT.as_secs())),
        }
    }

    /// The profiles that have credentials of some kind.
    fn with_credentials(&self) -> Vec<String> {
        let has = |name: &&str| matches!(Plan::of(&self.profiles, name), Ok(Some(_)));
        let mut names: Vec<String> = self
            .profiles
            .profiles()
            .filter(has)
            .map(str::to_owned)
            .collect();
        names.sort();
        names
    }
}

impl ProvideCredentials for Chain {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            self.find().await.map_err(CredentialsError::provider_error)
        })
    }
}

/// A role on top of credentials that are there already.
#[derive(Debug)]
pub(super) struct Assumed {
    role: role::Role,
    base: SharedCredentialsProvider,
    /// For the call to STS.
    sdk: SdkConfig,
}

impl Assumed {
    pub(super) fn new(
        arn: &str,
        session: &str,
        base: SharedCredentialsProvider,
        sdk: SdkConfig,
    ) -> Self {
        Self {
            role: role::Role::plain(arn, session),
            base,
            sdk,
        }
    }
}

impl ProvideCredentials for Assumed {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let base = self.base.provide_credentials().await?;
            let assumed = self.role.assume(&self.sdk, base, None).await;
            assumed.map_err(CredentialsError::provider_error)
        })
    }
}

async fn of_source(
    name: &str,
    provider: impl ProvideCredentials,
) -> Result<SdkCredentials, CredentialProblem> {
    let found = provider.provide_credentials().await;
    found.map_err(|error| problem::of_source(name, error))
}

fn set(name: &str) -> bool {
    std::env::var(name).is_ok_and(|value| !value.is_empty())
}

/// Which of these variables are missing, if any is.
fn unset(names: &[&str]) -> Option<String> {
    let missing: Vec<&str> = names.iter().copied().filter(|name| !set(name)).collect();
    match missing[..] {
        [] => None,
        [one] => Some(format!("{one} is not set")),
        _ => Some(format!("{} are not set", missing.join(" and "))),
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source_name, self.outcome)
    }
}

/// For instance metadata as a whole; on EC2 it answers within milliseconds.
const METADATA_LIMIT: Duration = Duration::from_secs(2);
/// For the answer of a container's credential endpoint.
const CONTAINER_LIMIT: Duration = Duration::from_secs(5);
/// For a source that may ask a person: a program that opens a browser, a code to be typed.
const PERSON_LIMIT: Duration = Duration::from_secs(300);
