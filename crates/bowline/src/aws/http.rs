//! The SDK's HTTP client: plain or TLS by the request's scheme, each built at its first use.
//!
//! The SDK's own client reads the system's certificates when a service client is made, even for an `http`
//! endpoint; that costs more than a whole call on loopback.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;

use super::pace::Pace;
use crate::network::{NetworkError, NetworkProblem, Proxies, Proxy, Stage};
use crate::tls::{TrustError, TrustRoots};

/// One per profile and region; connections are pooled per pair of time limits.
#[derive(Clone, Debug)]
pub(super) struct LazyHttpClient {
    roots: Arc<TrustRoots>,
    proxies: Arc<Proxies>,
    connectors: Arc<Mutex<HashMap<Limits, SharedHttpConnector>>>,
    /// How fast a fleet may ask.
    pace: Option<Pace>,
}

/// Connect and read time limits.
type Limits = (Option<Duration>, Option<Duration>);

impl LazyHttpClient {
    pub(super) fn new(roots: Arc<TrustRoots>, proxies: Arc<Proxies>) -> Self {
        Self {
            roots,
            proxies,
            connectors: Arc::default(),
            pace: None,
        }
    }

    /// The same connections at a pace of their own.
    pub(super) fn paced(&self, pace: Pace) -> Self {
        Self {
            pace: Some(pace),
            ..self.clone()
        }
    }

    /// The connector for these limits of connecting and reading.
    pub(super) fn connector(
        &self,
        connect: Option<Duration>,
        read: Option<Duration>,
    ) -> SharedHttpConnector {
        let mut settings = HttpConnectorSettings::builder();
        settings.set_connect_timeout(connect).set_read_timeout(read);
        self.with_settings(&settings.build(), true)
    }

    /// Requests that are `signed` already wait for their turn here.
    fn with_settings(&self, settings: &HttpConnectorSettings, signed: bool) -> SharedHttpConnector {
        let key = (settings.connect_timeout(), settings.read_timeout());
        let mut connectors = self
            .connectors
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let connector = connectors
            .entry(key)
            .or_insert_with(|| {
                let (roots, proxies) = (Arc::clone(&self.roots), Arc::clone(&self.proxies));
                SharedHttpConnector::new(Routes::new(settings.clone(), roots, proxies))
            })
            .clone();
        match &self.pace {
            Some(pace) => pace.before(connector, signed),
            None => connector,
        }
    }
}

impl HttpClient for LazyHttpClient {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        // The SDK's waited for their turn before they were signed.
        self.with_settings(settings, false)
    }
}

/// The connectors for one pair of time limits.
struct Routes {
    settings: HttpConnectorSettings,
    roots: Arc<TrustRoots>,
    proxies: Arc<Proxies>,
    plain_direct: OnceLock<Connector>,
    plain_proxied: OnceLock<Connector>,
    tls_direct: OnceLock<Result<Connector, TrustError>>,
    tls_proxied: OnceLock<Result<Connector, TrustError>>,
}

impl Routes {
    fn new(settings: HttpConnectorSettings, roots: Arc<TrustRoots>, proxies: Arc<Proxies>) -> Self {
        Self {
            settings,
            roots,
            proxies,
            plain_direct: OnceLock::new(),
            plain_proxied: OnceLock::new(),
            tls_direct: OnceLock::new(),
            tls_proxied: OnceLock::new(),
        }
    }

    fn plain(&self, proxy: ProxyConfig) -> Connector {
        Connector::builder()
            .connector_settings(self.settings.clone())
            .proxy_config(proxy)
            .build_http()
    }

    fn tls(&self, proxy: ProxyConfig) -> Result<Connector, TrustError> {
        let trust = self
            .roots
            .pem()?
            .into_iter()
            .fold(TrustStore::empty(), TrustStore::with_pem_certificate);
        let context = TlsContext::builder()
            .with_trust_store(trust)
            .build()
            .expect("a context with a trust store alone is valid");
        Ok(Connector::builder()
            .connector_settings(self.settings.clone())
            .proxy_config(proxy)
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .tls_context(context)
            .build())
    }
}

impl HttpConnector for Routes {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let way = Way {
            tls: request.uri().starts_with("https:"),
            host: authority(request.uri()),
            proxy: self.proxies.on_the_way_to(request.uri()),
            connect_limit: self.settings.connect_timeout().unwrap_or_default(),
            read_limit: self.settings.read_timeout().unwrap_or_default(),
        };
        if let Some(Err(problem)) = way.proxy.as_ref().map(Proxy::check) {
            let error = Box::new(way.error(problem));
            return HttpConnectorFuture::ready(Err(ConnectorError::user(error)));
        }
        let connector = match (way.tls, way.proxy.is_some()) {
            (false, false) => Ok(self
                .plain_direct
                .get_or_init(|| self.plain(ProxyConfig::disabled()))),
            (false, true) => Ok(self
                .plain_proxied
                .get_or_init(|| self.plain(ProxyConfig::from_env()))),
            (true, false) => self
                .tls_direct
                .get_or_init(|| self.tls(ProxyConfig::disabled()))
                .as_ref(),
            (true, true) => self
                .tls_proxied
                .get_or_init(|| self.tls(ProxyConfig::from_env()))
                .as_ref(),
        };
        match connector {
            Ok(connector) => {
                let answer = connector.call(request);
                HttpConnectorFuture::new(async move { answer.await.map_err(|e| way.explain(e)) })
            }
            Err(error) => {
                HttpConnectorFuture::ready(Err(ConnectorError::user(Box::new(error.clone()))))
            }
        }
    }
}

/// What a request's failure is explained with.
struct Way {
    tls: bool,
    host: String,
    proxy: Option<Proxy>,
    connect_limit: Duration,
    read_limit: Duration,
}

impl Way {
    /// The same error in our words. What a further attempt would not change is told at once: the SDK would repeat
    /// an unknown issuer as long as a lost packet.
    fn explain(&self, error: ConnectorError) -> ConnectorError {
        let network = self.network_error(&error);
        let connection = error.connection_metadata().cloned();
        let (user, timeout, other) = (error.is_user(), error.is_timeout(), error.as_other());
        let lasting = network.is_lasting();
        let source = Box::new(network.caused_by(error.into_source()));
        let error = match () {
            () if user => ConnectorError::user(source),
            () if lasting => ConnectorError::other(source, other),
            () if timeout => ConnectorError::timeout(source),
            () => ConnectorError::io(source),
        };
        match connection {
            Some(connection) => error.with_connection(connection),
            None => error,
        }
    }

    fn network_error(&self, error: &ConnectorError) -> NetworkError {
        let text = chain(error);
        if error.is_timeout() {
            let stage = match text.contains("connect timeout") {
                true => Stage::Connecting(self.connect_limit),
                false => Stage::Answer(self.read_limit),
            };
            return self.error(NetworkProblem::TimedOut(stage));
        }
        let problem = || NetworkProblem::of(error);
        // The type of a tunnel's error is not public, so its words have to do; network.rs of the command's tests
        // notices when they change.
        match text.split_once("tunnel error: ").map(|(_, words)| words) {
            Some(words) if words.starts_with("proxy authorization required") => {
                self.error(NetworkProblem::ProxyCredentials)
            }
            Some(words) if words.starts_with("unsuccessful") => {
                self.error(NetworkProblem::ProxyRefused(None))
            }
            Some(words)
                if words.starts_with("failed to create") || words.starts_with("io error") =>
            {
                self.error(problem()).at_proxy(true)
            }
            Some(_) => self.error(NetworkProblem::NotAProxy),
            // Without TLS there is no tunnel: whatever fails, fails on the way to the proxy.
            None => self
                .error(problem())
                .at_proxy(self.proxy.is_some() && !self.tls),
        }
    }

    fn error(&self, problem: NetworkProblem) -> NetworkError {
        let proxy = self.proxy.as_ref().map(|proxy| proxy.authority.as_str());
        NetworkError::new(&self.host, proxy, problem)
    }
}

/// Host and port of a request, the port also where it is the scheme's own.
fn authority(uri: &str) -> String {
    let Ok(uri) = uri.parse::<http::Uri>() else {
        return uri.to_owned();
    };
    let default = match uri.scheme_str() {
        Some("https") => 443,
        _ => 80,
    };
    format!(
        "{}:{}",
        uri.host().unwrap_or_default(),
        uri.port_u16().unwrap_or(default)
    )
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
