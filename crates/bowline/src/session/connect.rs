//! The socket of a data channel: which hosts are trusted, the signed upgrade, the opening message.

use std::error::Error;
use std::io;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials as SigningCredentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bowline_proto::{MessageId, OpenDataChannel};
use futures_util::SinkExt;
use http::uri::Authority;
use http::{HeaderValue, Request, Uri, header};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::model::SessionGrant;
pub(crate) use crate::network::Transport;
use crate::network::{
    Destination, DialError, NetworkError, NetworkProblem, Proxies, Stage, dial, is_loopback_host,
};
use crate::tls::TrustError;
use crate::{AwsError, Client, Signing};

/// For the answer to the upgrade, once connected; the reference plugin allows 45 s.
const UPGRADE_LIMIT: Duration = Duration::from_secs(15);
/// For credentials that the channel can do without: metadata services that are not there may not answer at all.
const CREDENTIALS_LIMIT: Duration = Duration::from_secs(5);
/// The largest message taken from a peer. Agents send about 1 KiB, port sessions up to 64 KiB.
const MESSAGE_LIMIT: usize = 1 << 20;
/// Cleared before each read, so no larger than it serves.
const READ_BUFFER: usize = 32 * 1024;
/// What may wait for the socket. Frames wait in the session instead, so that only the pongs for a peer that sends pings
/// and never reads get there.
const WRITE_BUFFER: usize = 1 << 20;
/// What a client of today says it is; agents decide features by it. Four parts, not a withdrawn release.
pub const CLIENT_VERSION: &str = "1.2.896.0";

/// The domains of AWS's partitions under which stream URLs are accepted.
const SUFFIXES: [&str; 9] = [
    "amazonaws.com",
    "amazonaws.com.cn",
    "api.aws",
    "api.amazonwebservices.com.cn",
    "amazonaws.eu",
    "c2s.ic.gov",
    "sc2s.sgov.gov",
    "cloud.adc-e.uk",
    "csp.hci.ic.gov",
];

/// Why a data channel could not be opened or did not last.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The stream URL is not a URL of the kind that is expected.
    #[error("the stream url that AWS returned cannot be used: {0}")]
    Url(String),
    /// The stream URL leads to a host that is neither AWS's nor this machine with a local endpoint.
    #[error("the stream url leads to {host}, which is not an AWS Session Manager endpoint")]
    ForeignHost {
        /// The host that was refused before anything was sent to it.
        host: String,
    },
    /// The stream URL is not one for TLS, and what it would be sent to instead is not this machine.
    #[error("the stream url is not one for TLS, so it is not sent to {host}")]
    NotSecure {
        /// The host that was named in place of the URL's own.
        host: String,
    },
    /// No connection.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// No trust roots, or a bundle that cannot be read.
    #[error("cannot set up TLS")]
    Trust(#[from] TrustError),
    /// There are no credentials to sign the upgrade with.
    #[error("the connection cannot be signed")]
    Credentials(#[source] AwsError),
    /// The service refused the upgrade.
    #[error("{host} refused the data channel with HTTP {status}")]
    Refused {
        /// Host and port.
        host: String,
        /// The HTTP status; 401 and 403 mean that `ssmmessages:OpenDataChannel` is missing.
        status: u16,
    },
    /// The service could not handle the upgrade.
    #[error("{host} failed to open the data channel (HTTP {status})")]
    Failing {
        /// Host and port.
        host: String,
        /// The HTTP status, 500 or more.
        status: u16,
    },
    /// What answered the upgrade is no WebSocket server.
    #[error("{host} did not answer as a WebSocket server does: {reason}")]
    NotWebSocket {
        /// Host and port.
        host: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The service closed the channel at once, as it does with a bad or used token.
    #[error("the service closed the data channel: {reason}")]
    Closed {
        /// The close frame's words.
        reason: String,
    },
    /// The connection broke.
    #[error("the connection to {host} was lost")]
    Lost {
        /// Host and port.
        host: String,
        /// What the system said, if anything.
        #[source]
        source: Option<io::Error>,
    },
    /// Nothing came any more, not even the answer to a ping.
    #[error("{host} stopped answering")]
    Silent {
        /// Host and port.
        host: String,
    },
    /// The session is to be encrypted, and there is no key to do it with.
    #[error("the session is to be encrypted, and its key could not be had: {refusal}")]
    NoKey {
        /// What KMS said.
        refusal: Box<AwsError>,
    },
    /// Both ends could not agree on the session's terms.
    #[error("the handshake failed: {reason}")]
    Handshake {
        /// Which, in words.
        reason: String,
    },
    /// The connection was lost, and the session is over since.
    #[error("{cause}, and session {session_id} had ended before the connection could be restored")]
    Ended {
        /// The session's id.
        session_id: String,
        /// How the connection was lost.
        cause: String,
    },
    /// The connection was lost, and the caller may not resume the session.
    #[error("{cause}, and the session could not be resumed: {refusal}")]
    ResumeDenied {
        /// How the connection was lost.
        cause: String,
        /// What AWS said to `ssm:ResumeSession`.
        refusal: Box<AwsError>,
    },
    /// The connection was lost and did not come back in time.
    #[error("the connection could not be restored within {} s", patience.as_secs_f64())]
    GaveUp {
        /// For how long it was tried.
        patience: Duration,
        /// Why the last attempt failed.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl From<DialError> for ChannelError {
    fn from(error: DialError) -> Self {
        match error {
            DialError::Network(error) => Self::Network(error),
            DialError::Trust(error) => Self::Trust(error),
        }
    }
}

/// An open data channel: the token was presented.
pub(crate) struct Connection {
    pub(crate) socket: WebSocketStream<Box<dyn Transport>>,
    /// Host and port, for messages.
    pub(crate) host: String,
}

/// Opens the data channel of a session.
pub(crate) async fn open(
    client: &Client,
    grant: &SessionGrant,
    request_id: MessageId,
    client_id: MessageId,
) -> Result<Connection, ChannelError> {
    let place = match client.stream_host() {
        Some(host) => Place::replaced(&grant.stream_url, host)?,
        None => Place::of(&grant.stream_url, client.endpoint_is_loopback())?,
    };
    let request = upgrade_request(client, &place).await?;
    let host = place.authority.clone();
    let mut socket = connect(client, place, request).await?;
    let opening =
        OpenDataChannel::client(grant.token.expose(), request_id, client_id, CLIENT_VERSION);
    socket
        .send(Message::text(opening.encode()))
        .await
        .map_err(|error| lost(&host, error))?;
    Ok(Connection { socket, host })
}

/// A broken connection in our words.
pub(crate) fn lost(host: &str, error: tungstenite::Error) -> ChannelError {
    let source = match error {
        tungstenite::Error::Io(error) => Some(error),
        tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => None,
        // The other end just went away; "reset without closing handshake" tells a user nothing more.
        tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        other => Some(io::Error::other(other)),
    };
    ChannelError::Lost {
        host: host.to_owned(),
        source,
    }
}

/// Where a stream URL leads.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// The URL that is asked for and signed; path and query are the service's, byte for byte.
    url: String,
    secure: bool,
    host: String,
    port: u16,
    /// As in the URL: with the port only if the URL has one.
    authority: String,
}

impl Place {
    /// A signed upgrade to a foreign host would hand it a usable signature and the session's token, so the host is
    /// checked before anything else happens.
    fn of(stream_url: &str, loopback_allowed: bool) -> Result<Self, ChannelError> {
        let place = Self::parse(stream_url)?;
        let host = &place.host;
        let trusted = (place.secure && is_session_manager(host))
            || (loopback_allowed && is_loopback_host(host));
        match trusted {
            true => Ok(place),
            false => Err(ChannelError::ForeignHost { host: place.host }),
        }
    }

    /// The user's word for the host counts in place of the service's; the rest of the URL stays as it is.
    fn replaced(stream_url: &str, authority: &Authority) -> Result<Self, ChannelError> {
        let place = Self::parse(stream_url)?;
        let (scheme, rest) = stream_url
            .split_once("://")
            .expect("what was parsed has a scheme and a host");
        let path = &rest[place.authority.len()..];
        let place = Self::parse(&format!("{scheme}://{authority}{path}"))?;
        match place.secure || is_loopback_host(&place.host) {
            true => Ok(place),
            false => Err(ChannelError::NotSecure { host: place.host }),
        }
    }

    fn parse(stream_url: &str) -> Result<Self, ChannelError> {
        let uri: Uri = stream_url
            .parse()
            .map_err(|error| ChannelError::Url(format!("{error}")))?;
        let secure = match uri.scheme_str() {
            Some("wss") => true,
            Some("ws") => false,
            other => {
                return Err(ChannelError::Url(format!(
                    "its scheme is {}",
                    other.unwrap_or("missing")
                )));
            }
        };
        let authority = uri
            .authority()
            .ok_or_else(|| ChannelError::Url("it names no host".to_owned()))?;
        if authority.as_str().contains('@') {
            return Err(ChannelError::Url("it carries a user name".to_owned()));
        }
        Ok(Self {
            url: stream_url.to_owned(),
            secure,
            host: authority
                .host()
                .trim_matches(['[', ']'])
                .to_ascii_lowercase(),
            port: authority
                .port_u16()
                .unwrap_or(if secure { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
        })
    }

    /// The URL as HTTP's: signers and proxy rules know no `ws` and `wss`.
    fn http_url(&self) -> String {
        self.url.replacen("ws", "http", 1)
    }

    /// A proxy takes WebSockets by CONNECT, with TLS inside or without, as the reference plugin does it.
    fn destination(self, proxies: &Proxies) -> Destination {
        Destination {
            proxy: proxies.on_the_way_to(&self.http_url()),
            secure: self.secure,
            host: self.host,
            port: self.port,
        }
    }
}

/// `ssmmessages.<region>.<suffix>`, its FIPS form, and PrivateLink names, by whole labels.
fn is_session_manager(host: &str) -> bool {
    let Some(front) = SUFFIXES
        .iter()
        .find_map(|suffix| host.strip_suffix(suffix)?.strip_suffix('.'))
    else {
        return false;
    };
    let labels: Vec<&str> = front.split('.').collect();
    let service = |label: &str| matches!(label, "ssmmessages" | "ssmmessages-fips");
    match labels.as_slice() {
        [name, region] => service(name) && !region.is_empty(),
        [endpoint, name, region, "vpce"] => {
            endpoint.starts_with("vpce-") && service(name) && !region.is_empty()
        }
        _ => false,
    }
}

/// The GET of the upgrade. The URL goes out byte for byte: the `cell-number` in its query is base64 that is not
/// percent-encoded, and a library that tidies it up breaks it.
async fn upgrade_request(client: &Client, place: &Place) -> Result<Request<()>, ChannelError> {
    let unusable = |error: http::Error| ChannelError::Url(error.to_string());
    let mut request = Request::get(&place.url)
        .header(header::HOST, &place.authority)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, generate_key())
        .body(())
        .map_err(unusable)?;
    for (name, value) in signature(client, place).await? {
        let mut value = HeaderValue::from_str(&value).map_err(|error| unusable(error.into()))?;
        value.set_sensitive(true);
        request.headers_mut().insert(name, value);
    }
    Ok(request)
}

/// SigV4 in headers, service `ssmmessages`, over host, date and token only (as plugins from 1.2.764.0 do).
async fn signature(
    client: &Client,
    place: &Place,
) -> Result<Vec<(&'static str, String)>, ChannelError> {
    let found = match client.signing() {
        Signing::Never => return Ok(Vec::new()),
        Signing::Required => client.credentials().await,
        Signing::IfPossible => match timeout(CREDENTIALS_LIMIT, client.credentials()).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => {
                tracing::info!(%error, "no credentials: the data channel is not signed");
                return Ok(Vec::new());
            }
            Err(_) => {
                tracing::info!("no credentials in time: the data channel is not signed");
                return Ok(Vec::new());
            }
        },
    };
    let credentials = found.map_err(ChannelError::Credentials)?;
    let identity = SigningCredentials::new(
        credentials.access_key_id,
        credentials.secret_access_key.into_inner(),
        credentials.session_token.map(crate::Secret::into_inner),
        None,
        "bowline",
    )
    .into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(client.region())
        .name("ssmmessages")
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| ChannelError::Url(error.to_string()))?
        .into();
    let headers = [("host", place.authority.as_str())];
    let signable = SignableRequest::new(
        "GET",
        place.http_url(),
        headers.into_iter(),
        SignableBody::Bytes(b""),
    )
    .map_err(|error| ChannelError::Url(error.to_string()))?;
    let (instructions, _) = sign(signable, &params)
        .map_err(|error| ChannelError::Url(error.to_string()))?
        .into_parts();
    let names = ["authorization", "x-amz-date", "x-amz-security-token"];
    let signed = instructions.headers().filter_map(|(name, value)| {
        names
            .into_iter()
            .find(|wanted| name.eq_ignore_ascii_case(wanted))
            .map(|wanted| (wanted, value.to_owned()))
    });
    Ok(signed.collect())
}

async fn connect(
    client: &Client,
    place: Place,
    request: Request<()>,
) -> Result<WebSocketStream<Box<dyn Transport>>, ChannelError> {
    let host = place.authority.clone();
    let destination = place.destination(client.proxies());
    let transport = dial(&destination, client.roots()).await?;
    let proxy = destination.proxy.as_ref();
    let failed = |problem| {
        let proxy = proxy.map(|proxy| proxy.authority.as_str());
        NetworkError::new(&destination.authority(), proxy, problem)
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_message_size(Some(MESSAGE_LIMIT))
        .max_frame_size(Some(MESSAGE_LIMIT))
        .max_write_buffer_size(WRITE_BUFFER);
    let upgrading = tokio_tungstenite::client_async_with_config(request, transport, Some(config));
    match timeout(UPGRADE_LIMIT, upgrading).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(tungstenite::Error::Http(answer))) => {
            let status = answer.status().as_u16();
            Err(match status {
                500.. => ChannelError::Failing { host, status },
                400.. => ChannelError::Refused { host, status },
                _ => ChannelError::NotWebSocket {
                    host,
                    reason: format!("HTTP {status}"),
                },
            })
        }
        Ok(Err(tungstenite::Error::Io(error))) => {
            Err(failed(NetworkProblem::of(&error)).caused_by(error).into())
        }
        Ok(Err(error)) => Err(ChannelError::NotWebSocket {
            host,
            reason: error.to_string(),
        }),
        Err(_) => Err(failed(NetworkProblem::TimedOut(Stage::Answer(UPGRADE_LIMIT))).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str, loopback: bool) -> bool {
        matches!(
            Place::of(url, loopback),
            Err(ChannelError::ForeignHost { .. } | ChannelError::Url(_))
        )
    }

    #[test]
    fn only_session_manager_hosts_are_trusted() {
        for url in [
            "wss://ssmmessages.eu-west-1.amazonaws.com/v1/data-channel/x?role=publish_subscribe&cell-number=AAE+/=",
            "wss://ssmmessages-fips.us-gov-west-1.amazonaws.com/x",
            "wss://ssmmessages.cn-north-1.amazonaws.com.cn/x",
            "wss://ssmmessages.us-east-1.api.aws/x",
            "wss://vpce-0a1-b2c.ssmmessages.us-east-1.vpce.amazonaws.com/x",
        ] {
            assert!(Place::of(url, false).is_ok(), "{url}");
        }
        for url in [
            "ws://ssmmessages.eu-west-1.amazonaws.com/x",
            "wss://evil.example/x",
            "wss://ssmmessages.eu-west-1.amazonaws.com.evil.example/x",
            "wss://evilssmmessages.eu-west-1.amazonaws.com/x",
            "wss://ssmmessages.amazonaws.com/x",
            "wss://u@ssmmessages.eu-west-1.amazonaws.com/x",
            "https://ssmmessages.eu-west-1.amazonaws.com/x",
            "wss://xssmmessages.eu-west-1.amazonaws.com/x",
            "",
        ] {
            assert!(refused(url, true), "{url}");
        }
    }

    #[test]
    fn loopback_is_trusted_only_beside_a_loopback_endpoint() {
        for url in [
            "ws://127.0.0.1:9/x",
            "ws://localhost:9/x",
            "ws://[::1]:9/x",
            "wss://127.0.0.1/x",
        ] {
            assert!(Place::of(url, true).is_ok(), "{url}");
            assert!(refused(url, false), "{url}");
        }
    }

    #[test]
    fn an_override_replaces_the_host_and_nothing_else() {
        let query = "role=publish_subscribe&cell-number=AAE+/v7//==";
        let url = format!("wss://ssmmessages.eu-west-1.amazonaws.com/v1/data-channel/s?{query}");
        for authority in [
            "vpce-1.ssmmessages.eu-west-1.vpce.amazonaws.com",
            "10.0.0.7:8443",
            "[fd00::7]",
        ] {
            let place = Place::replaced(&url, &authority.parse().unwrap()).unwrap();
            assert_eq!(
                place.url,
                format!("wss://{authority}/v1/data-channel/s?{query}")
            );
            assert_eq!(place.authority, authority);
            assert!(place.secure);
        }
        let place = Place::replaced(&url, &"[fd00::7]".parse().unwrap()).unwrap();
        assert_eq!((place.host.as_str(), place.port), ("fd00::7", 443));
    }

    #[test]
    fn an_override_does_not_take_tls_away() {
        let replaced =
            |authority: &str| Place::replaced("ws://127.0.0.1:9/x", &authority.parse().unwrap());
        assert!(replaced("127.0.0.1:10").is_ok());
        let error = replaced("stream.example").unwrap_err();
        assert!(
            matches!(&error, ChannelError::NotSecure { host } if host == "stream.example"),
            "{error}"
        );
    }
}
