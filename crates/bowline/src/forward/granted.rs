//! A port session that another program started: the same work as any forward's, but nothing replaces the session.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll};
use std::time::Duration;

use bowline_proto::{Flag, PortMode};
use serde_json::Value;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, Stdin};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::error::ForwardError;
use super::listener::{Accepted, Duplex, Listener};
use super::session;
use super::spec::{Local, Remote};
use super::tunnel::{self, Work};
use super::{ACCEPTED, Carriage, EVENTS, Forward, ForwardEvent, Teller, many, single};
use crate::Client;
use crate::model::SessionGrant;
use crate::session::driver::{Channel, Command};

/// The type of port sessions that are forwards; those without carry one stream on stdin and stdout.
const FORWARDING: &str = "LocalPortForwarding";
/// For what the agent sends after the end of our input: it cannot be told that only one direction is over.
const LINGER: Duration = Duration::from_secs(1);

/// A port session whose agent is ready.
pub struct GrantedPort {
    client: Client,
    grant: SessionGrant,
    channel: Channel,
    mode: PortMode,
    remote: Remote,
    local: Local,
    /// One stream, on stdin and stdout.
    is_stream: bool,
}

impl std::fmt::Debug for GrantedPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrantedPort")
            .field("local", &self.local)
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}

impl GrantedPort {
    pub(crate) fn new(
        client: &Client,
        grant: SessionGrant,
        channel: Channel,
        agent_version: &str,
        properties: &Value,
    ) -> Self {
        let is_stream = text(properties, "type").is_none_or(|kind| kind != FORWARDING);
        Self {
            client: client.clone(),
            grant,
            channel,
            mode: match is_stream {
                true => PortMode::Single,
                false => PortMode::of_agent(agent_version),
            },
            remote: Remote {
                host: text(properties, "host"),
                port: number(properties, "portNumber"),
            },
            local: local(properties),
            is_stream,
        }
    }

    /// Whether it is one stream, for stdin and stdout, as for SSH's ProxyCommand.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.is_stream
    }

    /// Listens where the session's document says, and carries connections to the end of the session, which is
    /// [`ForwardEvent::Failed`].
    ///
    /// # Errors
    /// When it cannot listen there.
    pub async fn forward(self) -> Result<Forward, ForwardError> {
        let bound = Listener::bind(&self.local).await;
        let (listener, at) = match bound {
            Ok(bound) => bound,
            Err(error) => {
                session::end(&self.client, &self.grant).await;
                return Err(error);
            }
        };
        let (to_work, accepted) = mpsc::channel(ACCEPTED);
        let stop = CancellationToken::new();
        // It ends when it is stopped, and a client that is told to finish waits for it.
        let accepting = tunnel::accept(listener, to_work, stop.clone());
        self.client.sessions().spawn(accepting);
        let mut forward = self.carry(accepted, stop);
        forward.bound.push(at);
        Ok(forward)
    }

    /// Carries the one stream of the session on this process's stdin and stdout.
    ///
    /// # Errors
    /// When stdout is closed.
    pub async fn stream(self) -> io::Result<Forward> {
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        let (to_work, accepted) = mpsc::channel(1);
        let stdio = Accepted {
            stream: Box::new(Stdio {
                stdin: tokio::io::stdin(),
                stdout: File::from_std(stdout.into()),
            }),
            peer: "stdin".to_owned(),
            held: None,
        };
        // There is room for it.
        let _ = to_work.send(stdio).await;
        Ok(self.carry(accepted, CancellationToken::new()))
    }

    fn carry(self, mut accepted: mpsc::Receiver<Accepted>, stop: CancellationToken) -> Forward {
        let (events, reader) = mpsc::channel(EVENTS);
        let Self {
            client,
            grant,
            mut channel,
            mode,
            remote,
            ..
        } = self;
        let teller = Teller {
            forward: 0,
            events,
            connections: Arc::new(AtomicU64::new(1)),
        };
        let carriage = Carriage {
            wait: Duration::ZERO,
            reconnect_for: Duration::ZERO,
            keep_alive: None,
            linger: LINGER,
            max_payload: None,
            relay: false,
            tasks: client.sessions().clone(),
            stop: stop.clone(),
        };
        let tasks = client.sessions().clone();
        let work = async move {
            let (container, waiting) = ("the target", Vec::new());
            let work = Work {
                remote: &remote,
                container,
                carriage: &carriage,
                teller: &teller,
            };
            let session_id = grant.session_id.clone();
            let ready = |forward| ForwardEvent::Ready {
                forward,
                session_id,
                task: String::new(),
                container: container.to_owned(),
                again: false,
                after: None,
                single: mode == PortMode::Single,
            };
            teller.tell(ready).await;
            let error = match mode {
                PortMode::Multiplexed { keep_alive } => {
                    many::carry(&mut channel, keep_alive, &mut accepted, waiting, work).await
                }
                PortMode::Single => single::carry(&mut channel, &mut accepted, waiting, work).await,
            };
            let ended = matches!(error, ForwardError::Ended { .. });
            if !matches!(error, ForwardError::Closed) {
                teller
                    .tell(|forward| ForwardEvent::Failed { forward, error })
                    .await;
            }
            if !ended {
                let flag = Command::Flag(Flag::TerminateSession);
                // The agent's own way of being told; the call is for when it does not listen.
                let _ = channel.commands.try_send(flag);
                session::end(&client, &grant).await;
            }
        };
        // It ends with its connections, and a client that is told to finish waits for it.
        tasks.spawn(work);
        Forward {
            events: reader,
            bound: Vec::new(),
            _stop: stop.drop_guard(),
        }
    }
}

/// Properties are texts, numbers too.
fn text(properties: &Value, name: &str) -> Option<String> {
    let text = match properties.get(name)? {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

fn number(properties: &Value, name: &str) -> u16 {
    let number = text(properties, name).and_then(|text| text.parse().ok());
    number.unwrap_or_default()
}

/// Where the document says to listen; without a word about it, on any free port.
fn local(properties: &Value) -> Local {
    let socket = text(properties, "localUnixSocket");
    match (text(properties, "localConnectionType").as_deref(), socket) {
        (Some("unix"), Some(socket)) => Local::Socket(PathBuf::from(socket)),
        _ => Local::Port {
            address: None,
            port: number(properties, "localPortNumber"),
        },
    }
}

/// Our own stdin and stdout as a connection.
struct Stdio {
    stdin: Stdin,
    /// Not the one of the standard library, which keeps what does not end a line.
    stdout: File,
}

impl Duplex for Stdio {
    fn break_off(&self) {}
}

impl AsyncRead for Stdio {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdin).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stdio {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stdout).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdout).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdout).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_document_says_where_to_listen() {
        let port = |port| Local::Port {
            address: None,
            port,
        };
        for (properties, expected) in [
            (json!({"portNumber": "80"}), port(0)),
            (json!({"localPortNumber": ""}), port(0)),
            (json!({"localPortNumber": "8080"}), port(8080)),
            (json!({"localPortNumber": 8080}), port(8080)),
            (json!({"localPortNumber": "no port"}), port(0)),
            (
                json!({"localConnectionType": "unix", "localUnixSocket": "/s"}),
                Local::Socket("/s".into()),
            ),
            (json!(null), port(0)),
        ] {
            assert_eq!(local(&properties), expected, "{properties}");
        }
    }
}
