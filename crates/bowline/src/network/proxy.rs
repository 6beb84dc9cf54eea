//! Which connections go through a proxy, and the tunnel through it.

use std::fmt;
use std::net::IpAddr;
use std::sync::OnceLock;

use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::error::{NetworkError, NetworkProblem};

/// The longest head of an answer to CONNECT; proxies send their errors as pages after it.
const HEAD_LIMIT: usize = 8 * 1024;

/// The proxy settings of the environment: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in either case.
///
/// They are read by the code that the SDK's HTTP client reads them with, so that a session takes the way of the
/// calls before it. That happens once, at the first connection that is not local.
#[derive(Debug, Default)]
pub(crate) struct Proxies {
    matcher: OnceLock<Matcher>,
}

/// A proxy on the way to a host. Its credentials are never shown.
#[derive(Clone)]
pub(crate) struct Proxy {
    intercept: Intercept,
    /// Host and port.
    pub(crate) authority: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Whether the proxy itself is spoken to in TLS.
    pub(crate) secure: bool,
}

impl Proxies {
    #[cfg(test)]
    pub(crate) fn of(all: &str, none: &str) -> Self {
        let matcher = Matcher::builder().all(all).no(none).build();
        Self {
            matcher: OnceLock::from(matcher),
        }
    }

    /// The proxy for a URL with the scheme `http` or `https`, unless it is to be reached directly.
    pub(crate) fn on_the_way_to(&self, url: &str) -> Option<Proxy> {
        let uri: Uri = url.parse().ok()?;
        if goes_direct(uri.host()?) {
            return None;
        }
        let matcher = self.matcher.get_or_init(Matcher::from_env);
        Proxy::of(matcher.intercept(&uri)?)
    }
}

impl Proxy {
    fn of(intercept: Intercept) -> Option<Self> {
        let uri = intercept.uri();
        let secure = uri.scheme_str() == Some("https");
        let host = uri.host()?.to_owned();
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Some(Self {
            authority: format!("{host}:{port}"),
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            secure,
            intercept,
        })
    }

    /// An error unless the proxy takes CONNECT: the SDK's client has no other kind either.
    pub(crate) fn check(&self) -> Result<(), NetworkProblem> {
        match self.intercept.uri().scheme_str() {
            Some("http" | "https") => Ok(()),
            other => Err(NetworkProblem::ProxyScheme(
                other.unwrap_or("none").to_owned(),
            )),
        }
    }

    /// Asks the proxy on `stream` for a connection to `target` (host and port).
    ///
    /// Not hyper-util's `Tunnel`: it does not tell with which status it was refused, and drops what comes behind the
    /// answer.
    pub(crate) async fn tunnel<S>(&self, stream: &mut S, target: &str) -> Result<(), NetworkError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let failed = |problem| NetworkError::new(target, Some(&self.authority), problem);
        let broke = |error: std::io::Error| {
            failed(NetworkProblem::Broken(error.to_string()))
                .at_proxy(true)
                .caused_by(error)
        };
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
        if let Some(value) = self.intercept.basic_auth() {
            request.extend_from_slice(b"Proxy-Authorization: ");
            request.extend_from_slice(value.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        stream.write_all(&request).await.map_err(broke)?;

        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            // Byte by byte, or something of the tunnel's would be read with it.
            match stream.read_u8().await {
                Ok(byte) if head.len() < HEAD_LIMIT => head.push(byte),
                Ok(_) => return Err(failed(NetworkProblem::NotAProxy)),
                Err(error) if head.is_empty() => return Err(broke(error)),
                Err(_) => break,
            }
        }
        match status(&head) {
            Some(200..=299) => Ok(()),
            Some(407) => Err(failed(NetworkProblem::ProxyCredentials)),
            Some(status) => Err(failed(NetworkProblem::ProxyRefused(Some(status)))),
            None => Err(failed(NetworkProblem::NotAProxy)),
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Proxy").field(&self.authority).finish()
    }
}

/// Whether a host name or address means this machine.
pub(crate) fn is_loopback_host(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// This machine and the link-local addresses of instance and container credentials mean nothing to a proxy.
fn goes_direct(host: &str) -> bool {
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

fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let rest = std::str::from_utf8(line).ok()?.strip_prefix("HTTP/1.")?;
    let status = rest.split(' ').nth(1)?;
    (status.len() == 3).then(|| status.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(url: &str) -> Proxy {
        Proxies::of(url, "")
            .on_the_way_to("https://ecs.eu-west-1.amazonaws.com/")
            .unwrap()
    }

    #[test]
    fn local_and_metadata_addresses_avoid_the_proxy() {
        let proxies = Proxies::of("http://proxy:3128", "internal.example, 10.0.0.0/8");
        for uri in [
            "http://127.0.0.1:4566/",
            "http://localhost/",
            "https://[::1]:80/",
            "http://169.254.169.254/latest/",
            "http://169.254.170.2/v2/credentials",
            "http://[fd00:ec2::254]/latest",
            "https://internal.example/",
            "https://a.internal.example:99/",
            "https://10.1.2.3/",
        ] {
            assert!(proxies.on_the_way_to(uri).is_none(), "{uri}");
        }
        for uri in [
            "https://ecs.eu-west-1.amazonaws.com/",
            "http://11.0.0.1/",
            "https://notinternal.example/",
            "https://localhost.example/",
        ] {
            assert!(proxies.on_the_way_to(uri).is_some(), "{uri}");
        }
    }

    #[test]
    fn a_proxy_is_shown_without_its_credentials() {
        let proxy = proxy("http://user:s3cret@[::1]:3128/path");
        assert_eq!((proxy.host.as_str(), proxy.port), ("::1", 3128));
        assert_eq!(proxy.authority, "[::1]:3128");
        assert!(proxy.intercept.basic_auth().is_some());
        assert_eq!(format!("{proxy:?}"), "Proxy(\"[::1]:3128\")");
    }

    #[test]
    fn kinds_that_are_not_supported_are_named() {
        assert_eq!(proxy("proxy:1").check(), Ok(()));
        assert!(proxy("https://proxy").secure);
        let refused = proxy("socks5://proxy:1").check().unwrap_err();
        assert_eq!(refused, NetworkProblem::ProxyScheme("socks5".to_owned()));
    }

    async fn tunnelled(answer: &'static [u8]) -> (Result<Vec<u8>, NetworkError>, String) {
        let (mut near, mut far) = tokio::io::duplex(64 * 1024);
        far.write_all(answer).await.unwrap();
        let proxy = proxy("http://user:pa55@proxy:3128");
        let result = proxy.tunnel(&mut near, "host:443").await;
        drop(far.shutdown().await);
        let mut rest = Vec::new();
        if result.is_ok() {
            near.read_to_end(&mut rest).await.unwrap();
        }
        drop(near);
        let mut asked = String::new();
        far.read_to_string(&mut asked).await.unwrap();
        (result.map(|()| rest), asked)
    }

    #[tokio::test]
    async fn a_tunnel_is_asked_for_with_credentials_and_starts_behind_the_answer() {
        let (rest, asked) =
            tunnelled(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nearly").await;
        assert_eq!(rest.unwrap(), b"early");
        assert_eq!(
            asked,
            "CONNECT host:443 HTTP/1.1\r\nHost: host:443\r\nProxy-Authorization: Basic dXNlcjpwYTU1\r\n\r\n"
        );
    }

    #[tokio::test]
    async fn refusals_keep_their_status() {
        for (answer, problem) in [
            (
                &b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"[..],
                NetworkProblem::ProxyCredentials,
            ),
            (
                b"HTTP/1.0 403 Forbidden\r\n\r\n",
                NetworkProblem::ProxyRefused(Some(403)),
            ),
            (
                b"HTTP/1.1 502 Bad Gateway\r\n\r\n<html>",
                NetworkProblem::ProxyRefused(Some(502)),
            ),
            (b"SSH-2.0-OpenSSH\r\n\r\n", NetworkProblem::NotAProxy),
            (b"HTTP/1.1 2000\r\n\r\n", NetworkProblem::NotAProxy),
        ] {
            let error = tunnelled(answer).await.0.unwrap_err();
            assert_eq!(error.problem, problem);
            assert!(!error.to_string().contains("pa55"), "{error}");
        }
    }
}
