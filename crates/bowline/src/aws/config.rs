//! Credentials, region, endpoint, trust roots, proxy and time limits, each decided in one place.
//!
//! Everything slow is put off until it is needed: trust roots are read at the first `https` request, and
//! instance metadata is asked only when neither options, environment nor profile name a region.

use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::ProvideRegion;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_smithy_runtime_api::client::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::origin::Origin;
use aws_types::service_config::ServiceConfigKey;
use http::uri::Authority;
use tokio::sync::Mutex;

use super::credentials::{Assumed, Chain, MfaPrompt};
use super::error::AwsError;
use super::http::LazyHttpClient;
use super::pace::Pace;
use super::profiles::Profiles;
use super::regions;
use crate::network::{Proxies, is_loopback_host};
use crate::secret::Secret;
use crate::tls::TrustRoots;

/// How to reach AWS; whatever is absent comes from the standard AWS variables and files.
#[derive(Clone, Debug, Default)]
pub struct ClientOptions {
    /// The profile of the AWS configuration files to use. Keys in the environment do not count then.
    pub profile: Option<String>,
    /// The profile to use if `profile` and `AWS_PROFILE` name none; keys in the environment go before it.
    pub default_profile: Option<String>,
    /// How to ask for an MFA code.
    pub mfa: Option<MfaPrompt>,
    /// The region.
    pub region: Option<String>,
    /// One endpoint for every service, such as a sandbox's.
    pub endpoint_url: Option<String>,
    /// An endpoint for SSM alone; it goes before `endpoint_url`.
    pub ssm_endpoint_url: Option<String>,
    /// Whether data channels are signed.
    pub signing: Signing,
    /// The host (`name`, `name:port`) that data channels are opened at, in place of the one that AWS names: a
    /// PrivateLink endpoint without private DNS. Requests are signed for it, and nothing else of the URL changes.
    pub stream_host: Option<String>,
    /// Use these, and read nothing from the environment or from files. Needs a region and an endpoint.
    pub credentials: Option<Credentials>,
}

/// Whether the upgrade to a data channel is signed. Its token is what opens it; AWS's permission to open it,
/// `ssmmessages:OpenDataChannel`, is the signer's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signing {
    /// Always: without credentials there is no channel.
    #[default]
    Required,
    /// If there are credentials, as plugins from 1.2.764.0 on do it.
    IfPossible,
    /// Never, and no credentials are looked for.
    Never,
}

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No region is known.
    #[error("no AWS region is configured (tried {})", tried.join(", "))]
    NoRegion {
        /// The places that were looked at.
        tried: Vec<String>,
    },
    /// The region cannot be one.
    #[error("{region:?} cannot be an AWS region")]
    InvalidRegion {
        /// The text as given.
        region: String,
        /// A region near it.
        suggestion: Option<String>,
    },
    /// There is no such profile.
    #[error("profile {name} is not in the AWS configuration files ({})", files.join(", "))]
    UnknownProfile {
        /// The name.
        name: String,
        /// The files that were read.
        files: Vec<String>,
        /// Names near it.
        suggestions: Vec<String>,
        /// The profiles there are.
        candidates: Vec<String>,
    },
    /// The AWS configuration files cannot be read or understood.
    #[error("the AWS configuration files cannot be used: {reason}")]
    ProfileFiles {
        /// Why.
        reason: String,
    },
    /// The endpoint is not a URL that can be used.
    #[error("endpoint URL {url:?} is not usable: {reason}")]
    InvalidEndpoint {
        /// The text as given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The host for data channels is none.
    #[error("stream host {host:?} is not a host name or address, with or without a port")]
    InvalidStreamHost {
        /// The text as given.
        host: String,
    },
}

/// Credentials for signing a request of our own, such as the upgrade of a data channel.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The access key id.
    pub access_key_id: String,
    /// The secret access key.
    pub secret_access_key: Secret<String>,
    /// The session token of temporary credentials.
    pub session_token: Option<Secret<String>>,
    /// When they expire.
    pub expires_at: Option<SystemTime>,
}

/// What all service clients of one profile and region share.
pub(crate) struct Settings {
    pub(crate) sdk: SdkConfig,
    pub(crate) region: String,
    pub(crate) roots: Arc<TrustRoots>,
    pub(crate) proxies: Arc<Proxies>,
    pub(crate) stream_host: Option<Authority>,
    pub(crate) signing: Signing,
    pub(super) ssm_endpoint: Option<String>,
    pub(super) http: LazyHttpClient,
    credentials: SharedCredentialsProvider,
    endpoint_given: bool,
    /// Whether the look-up of credentials may ask a person.
    pub(crate) may_ask: bool,
}

impl Settings {
    /// Reads the configuration. Credentials are not looked up yet.
    pub(crate) async fn load(options: ClientOptions) -> Result<Self, ConnectError> {
        Self::load_with(options, None).await
    }

    /// The same with credentials that are given instead of looked up.
    pub(crate) async fn load_with(
        options: ClientOptions,
        credentials: Option<SharedCredentialsProvider>,
    ) -> Result<Self, ConnectError> {
        for url in [&options.endpoint_url, &options.ssm_endpoint_url] {
            url.as_deref().map_or(Ok(()), check_endpoint)?;
        }
        let stream_host = options
            .stream_host
            .as_deref()
            .filter(|host| !host.is_empty())
            .map(check_stream_host)
            .transpose()?;
        if let Some(region) = options
            .region
            .as_deref()
            .filter(|region| !region.is_empty())
        {
            check_region(region)?;
        }
        let roots = Arc::new(TrustRoots::default());
        let proxies = Arc::new(Proxies::default());
        let http = LazyHttpClient::new(Arc::clone(&roots), Arc::clone(&proxies));
        let mut may_ask = false;
        let (sdk, found) = match &options.credentials {
            Some(given) => {
                let sdk = given_sdk_config(&options, given, http.clone());
                let credentials = sdk.credentials_provider();
                (sdk, credentials.expect("they were given"))
            }
            None => {
                let profiles = Profiles::load(&options).await?;
                let sdk = load_sdk_config(&options, &profiles, http.clone()).await?;
                let chain = Chain::new(
                    profiles.selected,
                    options.profile.is_some(),
                    Arc::new(profiles.set),
                    options.mfa.clone(),
                    sdk.clone(),
                );
                may_ask = chain.may_ask();
                // Not for the chain: an endpoint for our calls, such as a sandbox's, must not be sent requests that are
                // signed to get at other credentials.
                let sdk = match &options.endpoint_url {
                    Some(url) => {
                        let mut sdk = sdk.into_builder().endpoint_url(url);
                        sdk.insert_origin("endpoint_url", Origin::shared_config());
                        sdk.build()
                    }
                    None => sdk,
                };
                (sdk, SharedCredentialsProvider::new(chain))
            }
        };
        let region = sdk.region().map(ToString::to_string).unwrap_or_default();
        check_region(&region)?;
        let credentials = credentials.unwrap_or(found);
        let credentials = SharedCredentialsProvider::new(CachedCredentials::new(credentials));
        let sdk = sdk
            .into_builder()
            .credentials_provider(credentials.clone())
            .build();

        let settings = Self {
            sdk,
            region,
            roots,
            proxies,
            stream_host,
            signing: options.signing,
            ssm_endpoint: options.ssm_endpoint_url,
            http,
            credentials,
            endpoint_given: options.endpoint_url.is_some(),
            may_ask,
        };
        for service in ["ECS", "KMS", "SSM"] {
            if let Some(url) = settings.endpoint(service) {
                check_endpoint(&url)?;
            }
        }
        Ok(settings)
    }

    /// The same for another region or with other credentials, at a pace of its own. Trust roots, proxies and connections
    /// are shared, so that hundreds of them are cheap.
    pub(crate) fn beside(
        &self,
        region: &str,
        credentials: Option<SharedCredentialsProvider>,
        pace: Pace,
    ) -> Result<Self, ConnectError> {
        check_region(region)?;
        let credentials = match credentials {
            Some(given) => SharedCredentialsProvider::new(CachedCredentials::new(given)),
            None => self.credentials.clone(),
        };
        let turns = pace.before_signing();
        let http = self.http.paced(pace);
        // Waiting for one's turn is not waiting for an answer; the limits of connecting and reading stay.
        let limits = TimeoutConfig::builder()
            .connect_timeout(CONNECT_LIMIT)
            .read_timeout(READ_LIMIT)
            .operation_timeout(TURN_LIMIT)
            .build();
        let sdk = self.sdk.clone().into_builder();
        let sdk = sdk
            .region(Region::new(region.to_owned()))
            .credentials_provider(credentials.clone())
            .http_client(http.clone())
            .identity_cache(turns)
            .timeout_config(limits)
            // It would take a turn that is waited for as a stalled upload.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build();
        Ok(Self {
            sdk,
            region: region.to_owned(),
            roots: Arc::clone(&self.roots),
            proxies: Arc::clone(&self.proxies),
            stream_host: self.stream_host.clone(),
            signing: self.signing,
            // It is one region's.
            ssm_endpoint: self.ssm_endpoint.clone().filter(|_| region == self.region),
            http,
            credentials,
            endpoint_given: self.endpoint_given,
            may_ask: self.may_ask,
        })
    }

    /// The same with a role that these credentials assume when they are first needed, and again before they expire.
    pub(crate) fn assuming(&self, role: &str, session: &str) -> Self {
        let assumed = Assumed::new(role, session, self.credentials.clone(), self.sdk.clone());
        let credentials = SharedCredentialsProvider::new(CachedCredentials::new(
            SharedCredentialsProvider::new(assumed),
        ));
        let sdk = self.sdk.clone().into_builder();
        Self {
            sdk: sdk.credentials_provider(credentials.clone()).build(),
            region: self.region.clone(),
            roots: Arc::clone(&self.roots),
            proxies: Arc::clone(&self.proxies),
            stream_host: self.stream_host.clone(),
            signing: self.signing,
            ssm_endpoint: self.ssm_endpoint.clone(),
            http: self.http.clone(),
            credentials,
            endpoint_given: self.endpoint_given,
            may_ask: false,
        }
    }

    /// The endpoint a service is sent to when it is not AWS's own.
    ///
    /// Order: our option, then `AWS_ENDPOINT_URL_<SERVICE>`, `AWS_ENDPOINT_URL` and the profile.
    pub(crate) fn endpoint(&self, service_id: &str) -> Option<String> {
        let general = self.sdk.endpoint_url().map(str::to_owned);
        if self.endpoint_given {
            return general;
        }
        let key = ServiceConfigKey::builder()
            .service_id(service_id)
            .env("AWS_ENDPOINT_URL")
            .profile("endpoint_url")
            .build()
            .expect("all three members of the key are set");
        self.sdk
            .service_config()
            .and_then(|config| config.load_config(key))
            .or(general)
    }

    /// What leads another program's SDK to the same endpoints, but for those of single services in a profile.
    pub(crate) fn endpoint_variables(&self) -> Vec<(OsString, OsString)> {
        let general = self.sdk.endpoint_url();
        let general = general.map(|url| ("AWS_ENDPOINT_URL".into(), url.into()));
        let single = std::env::vars_os().filter(|(name, _)| {
            let name = name.to_string_lossy();
            name.starts_with("AWS_ENDPOINT_URL_") || name == "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"
        });
        // Our option is for all of them.
        general
            .into_iter()
            .chain(single.filter(|_| !self.endpoint_given))
            .collect()
    }

    /// Resolves the credentials; they are kept until five minutes before they expire.
    pub(crate) async fn credentials(&self) -> Result<Credentials, AwsError> {
        let found = self
            .credentials
            .provide_credentials()
            .await
            .map_err(AwsError::from_credentials)?;
        Ok(Credentials {
            access_key_id: found.access_key_id().to_owned(),
            secret_access_key: Secret::new(found.secret_access_key().to_owned()),
            session_token: found
                .session_token()
                .map(|token| Secret::new(token.to_owned())),
            expires_at: found.expiry(),
        })
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("region", &self.region)
            .field("endpoint", &self.endpoint("ECS"))
            .finish_non_exhaustive()
    }
}

/// Whether a URL's host is this machine.
pub(crate) fn is_loopback_url(url: &str) -> bool {
    let Ok(uri) = url.parse::<http::Uri>() else {
        return false;
    };
    uri.host().is_some_and(is_loopback_host)
}

/// A configuration that depends on nothing but `options`.
fn given_sdk_config(
    options: &ClientOptions,
    given: &Credentials,
    http: LazyHttpClient,
) -> SdkConfig {
    let credentials = aws_credential_types::Credentials::new(
        given.access_key_id.clone(),
        given.secret_access_key.expose().clone(),
        given
            .session_token
            .as_ref()
            .map(|token| token.expose().clone()),
        given.expires_at,
        "given",
    );
    let mut config = SdkConfig::builder();
    config.set_endpoint_url(options.endpoint_url.clone());
    config
        .behavior_version(BehaviorVersion::latest())
        .region(options.region.clone().map(Region::new))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(http)
        .retry_config(retries())
        .timeout_config(time_limits())
        .sleep_impl(aws_smithy_async::rt::sleep::SharedAsyncSleep::new(
            aws_smithy_async::rt::sleep::TokioSleep::new(),
        ))
        .time_source(aws_smithy_async::time::SystemTimeSource::new())
        .build()
}

async fn load_sdk_config(
    options: &ClientOptions,
    profiles: &Profiles,
    http: LazyHttpClient,
) -> Result<SdkConfig, ConnectError> {
    let loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .retry_config(retries())
        .timeout_config(time_limits())
        .no_credentials()
        .profile_name(&profiles.selected);
    if let Some(region) = region_near_at_hand(options, profiles).await {
        return Ok(loader.region(region).load().await);
    }
    // Outside EC2 the metadata address may swallow packets; nobody should wait for that long.
    let with_metadata = tokio::time::timeout(METADATA_LIMIT, loader.load()).await;
    match with_metadata {
        Ok(sdk) if sdk.region().is_some() => Ok(sdk),
        _ => Err(ConnectError::NoRegion {
            tried: region_sources(profiles),
        }),
    }
}

async fn region_near_at_hand(options: &ClientOptions, profiles: &Profiles) -> Option<Region> {
    if let Some(region) = options.region.clone().filter(|region| !region.is_empty()) {
        return Some(Region::new(region));
    }
    if let Some(region) = EnvironmentVariableRegionProvider::new().region().await {
        return Some(region);
    }
    let profile = profiles.set.get_profile(&profiles.selected)?;
    profile
        .get("region")
        .map(|region| Region::new(region.to_owned()))
}

fn region_sources(profiles: &Profiles) -> Vec<String> {
    vec![
        "AWS_REGION".to_owned(),
        "AWS_DEFAULT_REGION".to_owned(),
        format!(
            "profile {} of the AWS configuration files",
            profiles.selected
        ),
        "instance metadata".to_owned(),
    ]
}

/// A region becomes a part of host names. That it exists is for the DNS to say: new ones come.
fn check_region(region: &str) -> Result<(), ConnectError> {
    let fits = region
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if fits
        && !region.is_empty()
        && region.len() <= 63
        && !region.starts_with('-')
        && !region.ends_with('-')
    {
        return Ok(());
    }
    Err(ConnectError::InvalidRegion {
        region: region.to_owned(),
        suggestion: regions::near(&region.replace([' ', '_'], "-")),
    })
}

fn check_endpoint(url: &str) -> Result<(), ConnectError> {
    let invalid = |reason: &str| ConnectError::InvalidEndpoint {
        url: url.to_owned(),
        reason: reason.to_owned(),
    };
    let uri: http::Uri = url
        .parse()
        .map_err(|error: http::uri::InvalidUri| invalid(&error.to_string()))?;
    match uri.scheme_str() {
        Some("http" | "https") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(()),
        Some("http" | "https") => Err(invalid("it names no host")),
        _ => Err(invalid("it must begin with http:// or https://")),
    }
}

fn check_stream_host(host: &str) -> Result<Authority, ConnectError> {
    let invalid = || ConnectError::InvalidStreamHost {
        host: host.to_owned(),
    };
    let authority: Authority = host.parse().map_err(|_| invalid())?;
    let port_is_well_formed =
        authority.as_str() == authority.host() || authority.port_u16().is_some();
    match !authority.host().is_empty() && !host.contains('@') && port_is_well_formed {
        true => Ok(authority),
        false => Err(invalid()),
    }
}

/// The usual three attempts are too few for a tool that fans out (ECS answers throttling with HTTP 400).
fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(8)
        .with_initial_backoff(Duration::from_millis(250))
        .with_max_backoff(Duration::from_secs(5))
}

fn time_limits() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_LIMIT)
        .read_timeout(READ_LIMIT)
        .operation_attempt_timeout(Duration::from_secs(40))
        .operation_timeout(Duration::from_secs(120))
        .build()
}

/// Credentials of any provider, kept until shortly before they expire and shared by all clients, so that
/// an SSO or role profile is asked once per process and not once per service.
#[derive(Debug)]
struct CachedCredentials {
    source: SharedCredentialsProvider,
    kept: Mutex<Option<aws_credential_types::Credentials>>,
}

impl CachedCredentials {
    fn new(source: SharedCredentialsProvider) -> Self {
        Self {
            source,
            kept: Mutex::new(None),
        }
    }

    async fn resolve(&self) -> aws_credential_types::provider::Result {
        let mut kept = self.kept.lock().await;
        if let Some(credentials) = kept.as_ref().filter(|kept| is_fresh(kept)) {
            return Ok(credentials.clone());
        }
        let credentials = self.source.provide_credentials().await?;
        *kept = Some(credentials.clone());
        Ok(credentials)
    }
}

impl ProvideCredentials for CachedCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.resolve())
    }
}

fn is_fresh(credentials: &aws_credential_types::Credentials) -> bool {
    credentials
        .expiry()
        .is_none_or(|expiry| expiry > SystemTime::now() + REFRESH_BEFORE)
}

/// For TCP, a tunnel and TLS together. It is not repeated: the system sends its first packet again by itself.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// For the first byte of an answer.
const READ_LIMIT: Duration = Duration::from_secs(30);
/// For a call of a fleet with its turn, however many wait before it.
const TURN_LIMIT: Duration = Duration::from_secs(900);
/// How long instance metadata may take to name a region.
const METADATA_LIMIT: Duration = Duration::from_secs(2);
/// Refresh this long before expiry.
const REFRESH_BEFORE: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_recognised_in_every_spelling() {
        for url in [
            "http://127.0.0.1:8080",
            "http://127.8.9.1/",
            "http://localhost:1",
            "https://LOCALHOST",
            "http://[::1]:99/x",
        ] {
            assert!(is_loopback_url(url), "{url}");
        }
        for url in [
            "http://10.0.0.1",
            "https://ecs.eu-west-1.amazonaws.com",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "",
        ] {
            assert!(!is_loopback_url(url), "{url}");
        }
    }

    #[test]
    fn endpoints_without_scheme_or_host_are_refused() {
        assert!(check_endpoint("http://127.0.0.1:1").is_ok());
        for url in ["127.0.0.1:1", "localhost", "ftp://x", "http://", ""] {
            let error = check_endpoint(url).unwrap_err();
            assert!(
                matches!(error, ConnectError::InvalidEndpoint { .. }),
                "{url}"
            );
        }
    }

    #[test]
    fn a_stream_host_is_a_host_and_nothing_more() {
        for host in [
            "vpce-1.ssmmessages.eu-west-1.vpce.amazonaws.com",
            "localhost:8443",
            "[fd00::7]:443",
        ] {
            assert_eq!(check_stream_host(host).unwrap().as_str(), host);
        }
        for host in [
            "wss://x", "x/path", "user@x", "x y", "x:", "x:99999", ":443", "",
        ] {
            let error = check_stream_host(host).unwrap_err();
            assert!(
                error.to_string().starts_with("stream host"),
                "{host}: {error}"
            );
        }
    }

    #[tokio::test]
    async fn expiring_credentials_are_asked_for_again() {
        use std::sync::atomic::{AtomicUsize, Ordering};

        #[derive(Debug)]
        struct Counting(Arc<AtomicUsize>, Duration);
        impl ProvideCredentials for Counting {
            fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
            where
                Self: 'a,
            {
                self.0.fetch_add(1, Ordering::SeqCst);
                let expiry = SystemTime::now() + self.1;
                future::ProvideCredentials::ready(Ok(aws_credential_types::Credentials::new(
                    "id",
                    "secret",
                    None,
                    Some(expiry),
                    "test",
                )))
            }
        }

        for (life, asked) in [(Duration::from_secs(3600), 1), (Duration::from_secs(60), 2)] {
            let count = Arc::new(AtomicUsize::new(0));
            let source = SharedCredentialsProvider::new(Counting(Arc::clone(&count), life));
            let cached = CachedCredentials::new(source);
            cached.resolve().await.unwrap();
            cached.resolve().await.unwrap();
            assert_eq!(count.load(Ordering::SeqCst), asked, "{life:?}");
        }
    }
}
