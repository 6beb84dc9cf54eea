//! Why a connection failed, told from the causes that the system, rustls and the SDK's HTTP client leave behind.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use rustls::CertificateError;

/// A connection that could not be made or that broke before it was of use.
///
/// It names hosts and ports only: what else a proxy's or endpoint's URL holds may be secret.
#[derive(Debug)]
pub struct NetworkError {
    /// The host and port that were wanted.
    pub host: String,
    /// The host and port of the proxy on the way there, if any.
    pub proxy: Option<String>,
    /// What happened.
    pub problem: NetworkProblem,
    /// Whether the problem is with the connection to the proxy itself.
    pub at_proxy: bool,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What went wrong; each calls for another action.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetworkProblem {
    /// The name has no address.
    NameNotResolved,
    /// Nothing listens on that port.
    Refused,
    /// The network knows no way to the address.
    NoRoute,
    /// Nothing came within a time limit.
    TimedOut(Stage),
    /// The certificate's authority is not among the trust roots.
    UnknownIssuer,
    /// The certificate is too old.
    CertificateExpired,
    /// The certificate is not valid yet; mostly the clock of this machine is wrong.
    CertificateNotYetValid,
    /// The certificate is for other names.
    WrongName,
    /// The answer to the beginning of TLS was something else, such as plain HTTP.
    NotTls,
    /// The answer to plain HTTP was something else, such as TLS.
    NotHttp,
    /// Any other failure of TLS.
    Tls(String),
    /// The proxy wants credentials, or others (407).
    ProxyCredentials,
    /// The proxy does not let us through, with its HTTP status where it is known.
    ProxyRefused(Option<u16>),
    /// The proxy did not answer as a proxy does.
    NotAProxy,
    /// The kind of proxy is not supported.
    ProxyScheme(String),
    /// The connection ended or broke while it was set up.
    Broken(String),
}

/// What a time limit was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// The connection as a whole, where it is not known better.
    Connecting(Duration),
    /// TCP.
    Tcp(Duration),
    /// The TLS handshake.
    Tls(Duration),
    /// The proxy's answer to CONNECT.
    Tunnel(Duration),
    /// The first byte of the answer.
    Answer(Duration),
}

impl NetworkError {
    pub(crate) fn new(host: &str, proxy: Option<&str>, problem: NetworkProblem) -> Self {
        Self {
            host: host.to_owned(),
            proxy: proxy.map(str::to_owned),
            problem,
            at_proxy: false,
            source: None,
        }
    }

    pub(crate) fn at_proxy(mut self, at_proxy: bool) -> Self {
        self.at_proxy = at_proxy;
        self
    }

    pub(crate) fn caused_by(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(cause.into());
        self
    }

    /// Whether trying again at once is of no use.
    pub(crate) fn is_lasting(&self) -> bool {
        !matches!(
            self.problem,
            NetworkProblem::Broken(_) | NetworkProblem::TimedOut(Stage::Answer(_))
        )
    }
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use NetworkProblem as P;

        let host = &self.host;
        let proxy = self.proxy.as_deref().unwrap_or("on the way");
        let peer = match self.at_proxy {
            true => format!("the proxy {proxy}"),
            false => host.clone(),
        };
        match &self.problem {
            P::NameNotResolved => write!(f, "the name of {peer} cannot be resolved"),
            P::Refused => write!(f, "connection refused by {peer}: nothing listens there"),
            P::NoRoute => write!(f, "there is no network route to {peer}"),
            P::TimedOut(stage) => write!(f, "{peer} does not answer ({stage})"),
            P::UnknownIssuer => write!(
                f,
                "the certificate of {peer} is not signed by an authority that is trusted here"
            ),
            P::CertificateExpired => write!(f, "the certificate of {peer} has expired"),
            P::CertificateNotYetValid => write!(f, "the certificate of {peer} is not valid yet"),
            P::WrongName => write!(f, "the certificate of {peer} is for another name"),
            P::NotTls => write!(f, "{peer} does not speak TLS on this port"),
            P::NotHttp => write!(f, "{peer} does not speak plain HTTP on this port"),
            P::Tls(reason) => write!(f, "TLS with {peer} failed: {reason}"),
            P::Broken(reason) => write!(f, "the connection to {peer} broke: {reason}"),
            P::ProxyCredentials => {
                return write!(
                    f,
                    "the proxy {proxy} asks for a user name and password, or for others (HTTP 407)"
                );
            }
            P::ProxyRefused(Some(status)) => {
                return write!(
                    f,
                    "the proxy {proxy} refused a connection to {host} (HTTP {status})"
                );
            }
            P::ProxyRefused(None) => {
                return write!(f, "the proxy {proxy} refused a connection to {host}");
            }
            P::NotAProxy => return write!(f, "{proxy} did not answer as an HTTP proxy does"),
            P::ProxyScheme(scheme) => {
                return write!(
                    f,
                    "the proxy {proxy} is of a kind that is not supported: {scheme}"
                );
            }
        }?;
        match &self.proxy {
            Some(proxy) if !self.at_proxy => write!(f, " (through the proxy {proxy})"),
            _ => Ok(()),
        }
    }
}

impl Error for NetworkError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, limit) = match self {
            Self::Connecting(limit) => ("no connection", limit),
            Self::Tcp(limit) => ("no TCP connection", limit),
            Self::Tls(limit) => ("no end of the TLS handshake", limit),
            Self::Tunnel(limit) => ("no answer to CONNECT", limit),
            Self::Answer(limit) => ("no first byte of an answer", limit),
        };
        write!(f, "{what} within {} s", limit.as_secs_f32())
    }
}

impl NetworkProblem {
    /// What a chain of causes says.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        if let Some(tls) = find::<rustls::Error>(error) {
            return Self::of_tls(tls);
        }
        if let Some(io) = find::<io::Error>(error)
            && let Some(problem) = Self::of_io(io)
        {
            return problem;
        }
        if find::<hyper::Error>(error).is_some_and(hyper::Error::is_parse) {
            return Self::NotHttp;
        }
        Self::Broken(innermost(error))
    }

    fn of_tls(error: &rustls::Error) -> Self {
        use rustls::Error as E;

        match error {
            E::InvalidCertificate(reason) => match reason {
                // The second: an authority of the same name with another key, such as that of a former start.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    Self::UnknownIssuer
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    Self::CertificateExpired
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    Self::CertificateNotYetValid
                }
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => Self::WrongName,
                other => Self::Tls(other.to_string()),
            },
            // "HTTP/1.1 400" is no TLS record: what a plain port answers.
            E::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => Self::NotTls,
            other => Self::Tls(other.to_string()),
        }
    }

    fn of_io(error: &io::Error) -> Option<Self> {
        use io::ErrorKind as K;

        match error.kind() {
            K::ConnectionRefused => Some(Self::Refused),
            K::HostUnreachable | K::NetworkUnreachable | K::NetworkDown | K::AddrNotAvailable => {
                Some(Self::NoRoute)
            }
            // The standard library has no kind for it; the words before the colon are its own.
            _ if error.to_string().contains("lookup address information") => {
                Some(Self::NameNotResolved)
            }
            _ => None,
        }
    }
}

/// The first error of this type in a chain of causes.
///
/// What an [`io::Error`] holds counts as its cause; by itself it names only the cause of that.
pub(crate) fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    causes(error).find_map(|error| error.downcast_ref())
}

fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> + 'a {
    std::iter::successors(Some(error), |error| cause(*error))
}

fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let inside = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    match inside {
        Some(inside) => Some(inside),
        None => error.source(),
    }
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    causes(error)
        .last()
        .map(ToString::to_string)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_found_inside_io_errors() {
        let tls = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let io = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls));
        assert_eq!(NetworkProblem::of(&io), NetworkProblem::UnknownIssuer);
    }

    #[test]
    fn kinds_of_the_system_have_their_words() {
        for (kind, problem) in [
            (io::ErrorKind::ConnectionRefused, NetworkProblem::Refused),
            (io::ErrorKind::HostUnreachable, NetworkProblem::NoRoute),
            (io::ErrorKind::NetworkUnreachable, NetworkProblem::NoRoute),
        ] {
            assert_eq!(NetworkProblem::of(&io::Error::from(kind)), problem);
        }
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        let problem = NetworkProblem::of(&reset);
        assert!(matches!(problem, NetworkProblem::Broken(_)), "{problem:?}");
    }

    #[test]
    fn every_problem_has_its_own_text() {
        use NetworkProblem as P;

        let limit = Duration::from_secs(5);
        let problems = [
            P::NameNotResolved,
            P::Refused,
            P::NoRoute,
            P::TimedOut(Stage::Connecting(limit)),
            P::TimedOut(Stage::Tcp(limit)),
            P::TimedOut(Stage::Tls(limit)),
            P::TimedOut(Stage::Tunnel(limit)),
            P::TimedOut(Stage::Answer(limit)),
            P::UnknownIssuer,
            P::CertificateExpired,
            P::CertificateNotYetValid,
            P::WrongName,
            P::NotTls,
            P::NotHttp,
            P::Tls("alert".to_owned()),
            P::ProxyCredentials,
            P::ProxyRefused(None),
            P::ProxyRefused(Some(403)),
            P::NotAProxy,
            P::ProxyScheme("socks5".to_owned()),
            P::Broken("reset".to_owned()),
        ];
        let text = |problem: &P, at_proxy| {
            NetworkError::new("aws:443", Some("proxy:3128"), problem.clone())
                .at_proxy(at_proxy)
                .to_string()
        };
        let mut seen: Vec<String> = problems.iter().map(|p| text(p, false)).collect();
        for shown in &seen {
            assert!(shown.contains("proxy:3128"), "{shown}");
        }
        seen.sort();
        let count = seen.len();
        seen.dedup();
        assert_eq!(seen.len(), count, "{seen:#?}");
        assert_eq!(
            text(&P::Refused, true),
            "connection refused by the proxy proxy:3128: nothing listens there"
        );
        assert_eq!(
            text(&P::WrongName, false),
            "the certificate of aws:443 is for another name (through the proxy proxy:3128)"
        );
        assert_eq!(
            text(&P::TimedOut(Stage::Tcp(limit)), true),
            "the proxy proxy:3128 does not answer (no TCP connection within 5 s)"
        );
    }
}
