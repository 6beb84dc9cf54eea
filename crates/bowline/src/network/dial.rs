//! A byte stream to a host: TCP to it or to the proxy on the way, CONNECT, TLS, each with its time limit.

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::error::{NetworkError, NetworkProblem, Stage};
use super::proxy::Proxy;
use crate::tls::{TrustError, TrustRoots};

/// For one address. The system repeats its first packet after 1 and 3 s within it.
const ADDRESS_LIMIT: Duration = Duration::from_secs(5);
/// For the name and all its addresses.
const TCP_LIMIT: Duration = Duration::from_secs(15);
/// An address that did not answer so far is joined by the next one (RFC 8305 says 250 ms).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);
/// For the proxy to reach the host: it has the same addresses to try as we would have.
const TUNNEL_LIMIT: Duration = Duration::from_secs(15);
/// For a TLS handshake, two round trips.
const TLS_LIMIT: Duration = Duration::from_secs(10);

/// A byte stream to the service, plain or TLS.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// Where to, and how.
#[derive(Debug)]
pub(crate) struct Destination {
    pub(crate) secure: bool,
    /// A name or an address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) proxy: Option<Proxy>,
}

/// Why there is no stream.
#[derive(Debug)]
pub(crate) enum DialError {
    Network(NetworkError),
    Trust(TrustError),
}

impl From<NetworkError> for DialError {
    fn from(error: NetworkError) -> Self {
        Self::Network(error)
    }
}

impl Destination {
    /// Host and port, as CONNECT and messages have it.
    pub(crate) fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// Connects.
pub(crate) async fn dial(
    to: &Destination,
    roots: &TrustRoots,
) -> Result<Box<dyn Transport>, DialError> {
    let target = to.authority();
    let proxy_name = to.proxy.as_ref().map(|proxy| proxy.authority.as_str());
    let failed = |problem| NetworkError::new(&target, proxy_name, problem);
    let stream: Box<dyn Transport> = match &to.proxy {
        None => Box::new(tcp(&to.host, to.port).await.map_err(|e| e.into(&failed))?),
        Some(proxy) => {
            proxy.check().map_err(failed)?;
            let at_proxy = |problem| failed(problem).at_proxy(true);
            let stream = tcp(&proxy.host, proxy.port)
                .await
                .map_err(|e| e.into(&at_proxy))?;
            let mut stream: Box<dyn Transport> = Box::new(stream);
            if proxy.secure {
                stream = tls(stream, &proxy.host, roots, &at_proxy).await?;
            }
            timeout(TUNNEL_LIMIT, proxy.tunnel(&mut stream, &target))
                .await
                .map_err(|_| at_proxy(NetworkProblem::TimedOut(Stage::Tunnel(TUNNEL_LIMIT))))??;
            stream
        }
    };
    match to.secure {
        true => tls(stream, &to.host, roots, &failed).await,
        false => Ok(stream),
    }
}

async fn tls(
    stream: Box<dyn Transport>,
    host: &str,
    roots: &TrustRoots,
    failed: &impl Fn(NetworkProblem) -> NetworkError,
) -> Result<Box<dyn Transport>, DialError> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| failed(NetworkProblem::Tls(error.to_string())))?;
    let config = roots.client_config().map_err(DialError::Trust)?;
    let connecting = tokio_rustls::TlsConnector::from(Arc::clone(&config)).connect(name, stream);
    match timeout(TLS_LIMIT, connecting).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => Err(failed(NetworkProblem::of(&error)).caused_by(error).into()),
        Err(_) => Err(failed(NetworkProblem::TimedOut(Stage::Tls(TLS_LIMIT))).into()),
    }
}

/// Why there is no TCP connection.
struct TcpFailure {
    problem: NetworkProblem,
    cause: Option<io::Error>,
}

impl TcpFailure {
    fn late(limit: Duration) -> Self {
        Self {
            problem: NetworkProblem::TimedOut(Stage::Tcp(limit)),
            cause: None,
        }
    }

    fn into(self, failed: &impl Fn(NetworkProblem) -> NetworkError) -> NetworkError {
        let error = failed(self.problem);
        match self.cause {
            Some(cause) => error.caused_by(cause),
            None => error,
        }
    }
}

impl From<io::Error> for TcpFailure {
    fn from(error: io::Error) -> Self {
        Self {
            problem: NetworkProblem::of(&error as &(dyn Error + 'static)),
            cause: Some(error),
        }
    }
}

async fn tcp(host: &str, port: u16) -> Result<TcpStream, TcpFailure> {
    let connecting = async {
        let found = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => tokio::net::lookup_host((host, port)).await?.collect(),
        };
        race(alternating(found), attempt).await
    };
    let stream = timeout(TCP_LIMIT, connecting)
        .await
        .unwrap_or_else(|_| Err(TcpFailure::late(TCP_LIMIT)))?;
    // Frames are small and answers are waited for.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The families by turns, beginning with that of the resolver's first choice: where one of them leads nowhere, every
/// second attempt still gets somewhere.
fn alternating(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (mut one, mut other): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let mut ordered = Vec::with_capacity(one.len() + other.len());
    one.reverse();
    other.reverse();
    while !one.is_empty() || !other.is_empty() {
        ordered.extend(one.pop());
        ordered.extend(other.pop());
    }
    ordered
}

/// The first of several addresses that answers. The next is tried as soon as one fails or keeps us waiting.
async fn race<T, A>(
    addresses: Vec<SocketAddr>,
    attempt: impl Fn(SocketAddr) -> A,
) -> Result<T, TcpFailure>
where
    A: Future<Output = Result<T, TcpFailure>>,
{
    let mut rest = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failure = TcpFailure {
        problem: NetworkProblem::NameNotResolved,
        cause: None,
    };
    loop {
        match rest.next() {
            Some(address) => attempts.push(attempt(address)),
            None if attempts.is_empty() => return Err(failure),
            None => {}
        }
        let patience = match rest.len() {
            0 => ADDRESS_LIMIT,
            _ => NEXT_ADDRESS_AFTER,
        };
        match timeout(patience, attempts.next()).await {
            Ok(Some(Ok(connected))) => return Ok(connected),
            Ok(Some(Err(error))) => failure = error,
            Ok(None) | Err(_) => {}
        }
    }
}

async fn attempt(address: SocketAddr) -> Result<TcpStream, TcpFailure> {
    match timeout(ADDRESS_LIMIT, TcpStream::connect(address)).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(TcpFailure::late(ADDRESS_LIMIT)),
    }
}

#[cfg(test)]
mod handshake_tests;

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns() {
        let found = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "127.0.0.1:1"]);
        assert_eq!(
            alternating(found),
            addresses(&["[::1]:1", "127.0.0.1:1", "[::2]:1", "[::3]:1"])
        );
        let found = addresses(&["127.0.0.1:1", "[::1]:1", "127.0.0.2:1"]);
        assert_eq!(alternating(found.clone()), found);
    }

    #[tokio::test]
    async fn one_that_answers_is_found_behind_one_that_refuses_and_one_that_is_silent() {
        let connected = race(
            addresses(&["[::1]:1", "127.0.0.1:2", "127.0.0.1:3"]),
            |address| async move {
                match address.port() {
                    1 => Err(io::Error::from(io::ErrorKind::ConnectionRefused).into()),
                    2 => std::future::pending().await,
                    port => Ok(port),
                }
            },
        );
        let port = timeout(ADDRESS_LIMIT, connected).await.unwrap();
        assert_eq!(port.ok(), Some(3));
    }

    #[tokio::test]
    async fn when_all_fail_the_last_failure_is_told() {
        let failed = race(addresses(&["127.0.0.1:1", "127.0.0.1:2"]), |_| async {
            Err::<(), _>(io::Error::from(io::ErrorKind::ConnectionRefused).into())
        });
        assert_eq!(failed.await.unwrap_err().problem, NetworkProblem::Refused);
        let nowhere = race(Vec::new(), |_| async { Ok(()) }).await;
        assert_eq!(
            nowhere.err().map(|failure| failure.problem),
            Some(NetworkProblem::NameNotResolved)
        );
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_said_to_be_one() {
        // Reserved for never existing (RFC 6761): asked or not, every resolver says no.
        let Err(failure) = tcp("nowhere.invalid", 443).await else {
            panic!("connected");
        };
        assert_eq!(failure.problem, NetworkProblem::NameNotResolved);
    }

    #[tokio::test]
    async fn ipv6_hosts_are_dialled_by_their_address() {
        let listener = tokio::net::TcpListener::bind("[::1]:0").await.unwrap();
        let destination = Destination {
            secure: false,
            host: "::1".to_owned(),
            port: listener.local_addr().unwrap().port(),
            proxy: None,
        };
        assert!(destination.authority().starts_with("[::1]:"));
        let dialled = dial(&destination, &TrustRoots::default()).await;
        assert!(dialled.is_ok());
    }
}
