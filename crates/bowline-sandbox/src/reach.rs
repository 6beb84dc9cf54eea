//! What can be reached from a task: its own ports, and hosts that only tasks can reach.
//!
//! A host is one of [`AgentOptions::hosts`], or the demo database (`database.rs`). No other name resolves: sandboxes
//! leave the machine alone.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::agent::AgentOptions;
use crate::database;
use crate::isolation::Space;

/// From this version on agents refuse loopback and the containers' credentials as hosts.
const REFUSES_LOOPBACK: [u32; 4] = [3, 3, 4851, 0];
/// Older agents know nothing of hosts, and connect to the task itself.
const KNOWS_HOSTS: [u32; 4] = [3, 1, 1188, 0];
/// Whom tasks ask for names: the VPC's second address.
const RESOLVER: &str = "10.0.0.2:53";
/// For the target to answer; nothing here is further away than this machine.
const DIAL: Duration = Duration::from_secs(10);

/// A connection to a target.
pub(crate) type Stream = Box<dyn Duplex>;

/// Both ways.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A host that tasks reach under a name, and where it really is: `db.internal:5432=127.0.0.1:15432`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteHost {
    name: String,
    port: u16,
    at: SocketAddr,
}

impl RemoteHost {
    /// Name, port, and where it really is.
    pub(crate) fn parts(&self) -> (&str, u16, SocketAddr) {
        (&self.name, self.port, self.at)
    }
}

/// Why a text is no [`RemoteHost`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not of the form NAME:PORT=127.0.0.1:PORT")]
pub struct RemoteHostError {
    text: String,
}

impl FromStr for RemoteHost {
    type Err = RemoteHostError;

    fn from_str(text: &str) -> Result<Self, RemoteHostError> {
        let parsed = || {
            let (name, at) = text.split_once('=')?;
            let (name, port) = name.rsplit_once(':')?;
            let at: SocketAddr = at.parse().ok()?;
            (!name.is_empty() && at.ip().is_loopback()).then_some(Self {
                name: name.to_ascii_lowercase(),
                port: port.parse().ok()?,
                at,
            })
        };
        parsed().ok_or_else(|| RemoteHostError {
            text: text.to_owned(),
        })
    }
}

/// What StartSession asks an agent to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PortRequest {
    /// Not the task itself.
    pub(crate) host: Option<String>,
    pub(crate) port: u16,
    /// Only for the client to know.
    pub(crate) local_port: String,
    /// Connections to a local port, not the bytes of SSH on stdin.
    pub(crate) forwards: bool,
    /// Where the task is.
    pub(crate) task: String,
    pub(crate) address: Ipv4Addr,
}

impl PortRequest {
    /// The document's properties, as the agent's handshake shows them to the client.
    pub(crate) fn properties(&self) -> Value {
        let mut properties = json!({ "portNumber": self.port.to_string() });
        if self.forwards {
            properties["type"] = "LocalPortForwarding".into();
            properties["localPortNumber"] = self.local_port.clone().into();
        }
        if let Some(host) = &self.host {
            properties["host"] = host.clone().into();
        }
        properties
    }
}

/// A target, resolved once at the beginning of a session.
pub(crate) struct Reach {
    place: Place,
    delay: Duration,
}

enum Place {
    /// A port of the task.
    Own {
        address: Ipv4Addr,
        port: u16,
    },
    /// The same of an isolated task.
    Isolated {
        space: Space,
        port: u16,
    },
    At(SocketAddr),
    Database {
        task: String,
    },
    /// A port of a known host where nobody listens.
    Closed,
}

impl Reach {
    /// Resolves what is asked for, of a task that may be isolated. The error is the agent's text.
    pub(crate) fn new(
        request: &PortRequest,
        space: Option<Space>,
        options: &AgentOptions,
    ) -> Result<Self, String> {
        let port = request.port;
        let own = match space {
            Some(space) => Place::Isolated { space, port },
            None => Place::Own {
                address: request.address,
                port,
            },
        };
        let host = request
            .host
            .as_ref()
            .filter(|_| options.is_at_least(KNOWS_HOSTS));
        let place = match host {
            None => own,
            Some(host) if is_forbidden(host, options) => {
                return Err(format!("Forwarding to IP address {host} is forbidden."));
            }
            Some(host) if is_loopback(host) => own,
            Some(host) => remote(host, request, options)?,
        };
        Ok(Self {
            place,
            delay: options.dial_delay,
        })
    }

    /// A new connection.
    pub(crate) async fn dial(&self) -> io::Result<Stream> {
        sleep(self.delay).await;
        let address = match &self.place {
            Place::Own { address, port } => {
                // A program that listens on its container's loopback listens on this machine's.
                let own = connect(SocketAddr::from((*address, *port))).await;
                return match own {
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                        connect(SocketAddr::from((Ipv4Addr::LOCALHOST, *port))).await
                    }
                    other => other,
                };
            }
            Place::Isolated { space, port } => return within(space.connect(*port)).await,
            Place::At(address) => *address,
            Place::Database { task } => return Ok(Box::new(database::connect(task))),
            Place::Closed => return Err(io::ErrorKind::ConnectionRefused.into()),
        };
        connect(address).await
    }
}

async fn connect(address: SocketAddr) -> io::Result<Stream> {
    within(TcpStream::connect(address)).await
}

async fn within(connecting: impl Future<Output = io::Result<TcpStream>>) -> io::Result<Stream> {
    let stream = timeout(DIAL, connecting)
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    // Bytes have waited on the way already.
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

/// A name that does not resolve ends the session, as with the real agent: it looks it up once, at the beginning.
fn remote(host: &str, request: &PortRequest, options: &AgentOptions) -> Result<Place, String> {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    let same = options.hosts.iter().filter(|known| known.name == name);
    let known = same.clone().find(|known| known.port == request.port);
    match known {
        Some(known) => Ok(Place::At(known.at)),
        None if name == database::HOST && request.port == database::PORT => Ok(Place::Database {
            task: request.task.clone(),
        }),
        None if name == database::HOST || same.count() > 0 => Ok(Place::Closed),
        None => Err(format!("lookup {host} on {RESOLVER}: no such host")),
    }
}

fn is_loopback(host: &str) -> bool {
    let name = host.trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

/// The addresses that agents never connect to.
fn is_forbidden(host: &str, options: &AgentOptions) -> bool {
    let metadata = ["169.254.169.254", "169.254.169.253", "169.254.169.123"];
    let credentials = ["169.254.170.2", "169.254.170.23"];
    options.refuses_hosts
        || metadata.contains(&host)
        || (options.is_at_least(REFUSES_LOOPBACK)
            && (is_loopback(host) || credentials.contains(&host)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(host: Option<&str>, options: &AgentOptions) -> Result<&'static str, String> {
        let request = PortRequest {
            host: host.map(str::to_owned),
            port: 5432,
            local_port: "0".to_owned(),
            forwards: true,
            task: "t".to_owned(),
            address: Ipv4Addr::new(127, 1, 2, 3),
        };
        Reach::new(&request, None, options).map(|reach| match reach.place {
            Place::Own { .. } | Place::Isolated { .. } => "own",
            Place::At(_) => "at",
            Place::Database { .. } => "database",
            Place::Closed => "closed",
        })
    }

    #[test]
    fn hosts_are_what_the_agent_makes_of_them() {
        let hosts = vec!["Pg.internal:5432=127.0.0.1:1".parse().unwrap()];
        let agent = |words: &str| AgentOptions {
            hosts: hosts.clone(),
            ..words.parse().unwrap()
        };
        let usual = agent("fast");
        assert_eq!(place(None, &usual), Ok("own"));
        assert_eq!(place(Some("localhost"), &usual), Ok("own"));
        assert_eq!(place(Some("pg.internal"), &usual), Ok("at"));
        assert_eq!(place(Some("DB.demo.internal."), &usual), Ok("database"));
        let unknown = "lookup example.com on 10.0.0.2:53: no such host".to_owned();
        assert_eq!(place(Some("example.com"), &usual), Err(unknown));
        let forbidden = |host: &str| Err(format!("Forwarding to IP address {host} is forbidden."));
        assert_eq!(
            place(Some("169.254.169.254"), &usual),
            forbidden("169.254.169.254")
        );
        let new = agent("version=3.3.4851.0");
        assert_eq!(place(Some("localhost"), &new), forbidden("localhost"));
        assert_eq!(
            place(Some("pg.internal"), &agent("no-hosts")),
            forbidden("pg.internal")
        );
        // They do not know the property, and nobody is told.
        assert_eq!(
            place(Some("pg.internal"), &agent("version=3.1.1.0")),
            Ok("own")
        );
    }

    #[test]
    fn remote_hosts_are_on_this_machine() {
        for wrong in [
            "",
            "a=b",
            "a:1",
            "a:1=1.2.3.4:5",
            ":1=127.0.0.1:2",
            "a:x=127.0.0.1:2",
        ] {
            assert!(wrong.parse::<RemoteHost>().is_err(), "{wrong}");
        }
    }
}
