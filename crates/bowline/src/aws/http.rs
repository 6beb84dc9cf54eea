//! The SDK's HTTP client: plain or TLS by the request's scheme, each built at its first use.
//!
//! The SDK's own client reads the system's certificates when a service client is made, even for an `http`
//! endpoint; that costs more than a whole call on loopback.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
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

use super::config::is_loopback_host;
use crate::tls::{TrustError, TrustRoots};

/// One per profile and region; connections are pooled per pair of time limits.
#[derive(Debug)]
pub(super) struct LazyHttpClient {
    roots: Arc<TrustRoots>,
    connectors: Mutex<HashMap<Limits, SharedHttpConnector>>,
}

/// Connect and read time limits.
type Limits = (Option<Duration>, Option<Duration>);

impl LazyHttpClient {
    pub(super) fn new(roots: Arc<TrustRoots>) -> Self {
        Self {
            roots,
            connectors: Mutex::new(HashMap::new()),
        }
    }
}

impl HttpClient for LazyHttpClient {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let key = (settings.connect_timeout(), settings.read_timeout());
        let mut connectors = self
            .connectors
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        connectors
            .entry(key)
            .or_insert_with(|| {
                SharedHttpConnector::new(Routes::new(settings.clone(), Arc::clone(&self.roots)))
            })
            .clone()
    }
}

/// The connectors for one pair of time limits.
struct Routes {
    settings: HttpConnectorSettings,
    roots: Arc<TrustRoots>,
    plain_direct: OnceLock<Connector>,
    plain_proxied: OnceLock<Connector>,
    tls_direct: OnceLock<Result<Connector, TrustError>>,
    tls_proxied: OnceLock<Result<Connector, TrustError>>,
}

impl Routes {
    fn new(settings: HttpConnectorSettings, roots: Arc<TrustRoots>) -> Self {
        Self {
            settings,
            roots,
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
        let uri = request.uri();
        let tls = uri.starts_with("https:");
        let direct = goes_direct(uri);
        let connector = match (tls, direct) {
            (false, true) => Ok(self
                .plain_direct
                .get_or_init(|| self.plain(ProxyConfig::disabled()))),
            (false, false) => Ok(self
                .plain_proxied
                .get_or_init(|| self.plain(ProxyConfig::from_env()))),
            (true, true) => self
                .tls_direct
                .get_or_init(|| self.tls(ProxyConfig::disabled()))
                .as_ref(),
            (true, false) => self
                .tls_proxied
                .get_or_init(|| self.tls(ProxyConfig::from_env()))
                .as_ref(),
        };
        match connector {
            Ok(connector) => connector.call(request),
            Err(error) => {
                HttpConnectorFuture::ready(Err(ConnectorError::user(Box::new(error.clone()))))
            }
        }
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// This machine and the link-local addresses of instance and container credentials mean nothing to a proxy.
fn goes_direct(uri: &str) -> bool {
    let Ok(uri) = uri.parse::<http::Uri>() else {
        return false;
    };
    let Some(host) = uri.host() else {
        return false;
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    is_loopback_host(host) || bare.parse::<IpAddr>().is_ok_and(is_metadata)
}

fn is_metadata(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        // fd00:ec2::/32, where EC2 and EKS serve metadata over IPv6.
        IpAddr::V6(v6) => v6.segments()[..2] == [0xfd00, 0x0ec2],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_and_metadata_addresses_avoid_the_proxy() {
        for uri in [
            "http://127.0.0.1:4566/",
            "http://localhost/",
            "http://[::1]:80/",
            "http://169.254.169.254/latest/",
            "http://169.254.170.2/v2/credentials",
            "http://[fd00:ec2::254]/latest",
        ] {
            assert!(goes_direct(uri), "{uri}");
        }
        for uri in ["https://ecs.eu-west-1.amazonaws.com/", "http://10.0.0.1/"] {
            assert!(!goes_direct(uri), "{uri}");
        }
    }
}
