//! One port session: started, connected, and what its agent is.

use std::time::Duration;

use bowline_proto::{Flag, PortMode};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::error::ForwardError;
use super::relay::Relay;
use super::spec::Remote;
use super::{Carriage, ForwardEvent, Teller};
use crate::model::SessionGrant;
use crate::session::driver::{Channel, ChannelEvent, ChannelOptions, Command};
use crate::session::exec::start::{self, Opening};
use crate::session::exec::{ExecError, ExecEvent};
use crate::{Client, ResolvedTarget};

// Tuning.
/// For the handshake after the channel is up; an agent that is over its limit of sessions says nothing, for ever.
const HANDSHAKE: Duration = Duration::from_secs(14);
/// Bytes that wait for the streams to be taken apart. A stream that is read slowly has the streams' own budget; what waits
/// here keeps all of them waiting.
const WAITING: usize = 256 * 1024;
/// For ending a session by API.
const TERMINATE: Duration = Duration::from_secs(2);
/// Agents that know of other hosts (specification of ECS, §5.1).
const KNOWS_HOSTS: [u32; 4] = [3, 1, 1374, 0];

/// A session whose agent is ready for connections.
pub(super) struct PortSession {
    pub(super) channel: Channel,
    pub(super) grant: SessionGrant,
    pub(super) mode: PortMode,
    pub(super) target: ResolvedTarget,
    /// The program in the container that it leads to; it ends with this.
    _relay: Option<Relay>,
}

impl PortSession {
    /// Starts one in `target`, waiting for its agent as exec does. Told to stop halfway, it ends what it has begun.
    pub(super) async fn start(
        client: &Client,
        mut target: ResolvedTarget,
        remote: &Remote,
        carriage: &Carriage,
        teller: &Teller,
    ) -> Result<Self, ForwardError> {
        let mut relay = None;
        let mut remote = remote.clone();
        if carriage.relay
            && let Some(host) = remote.named_host().map(str::to_owned)
        {
            let starting = Relay::start(client, &target, &host, remote.port, carriage);
            let started = carriage.stop.run_until_cancelled(starting).await;
            let started = started.unwrap_or(Err(ForwardError::Closed))?;
            remote = Remote {
                host: None,
                port: started.port,
            };
            relay = Some(started);
        }
        let remote = &remote;
        let host = remote.named_host().map(str::to_owned);
        let port = remote.port;
        let opening = Opening::Port { host, port };
        let (notes, said) = mpsc::channel(4);
        let starting = async {
            let wait = carriage.wait;
            let grant = start::start(client, &mut target, &opening, wait, &notes).await;
            drop(notes);
            grant
        };
        let telling = async {
            // Without somebody to tell it to, the start is broken off.
            let mut said = said;
            while let Some(Some(note)) = carriage.stop.run_until_cancelled(said.recv()).await {
                if let ExecEvent::Notice(text) = note {
                    let minor = false;
                    teller
                        .tell(|forward| ForwardEvent::Notice {
                            forward,
                            text,
                            minor,
                        })
                        .await;
                }
            }
        };
        let (grant, ()) = tokio::join!(starting, telling);
        let grant = grant?.ok_or(ForwardError::Closed)?;
        let connecting = Self::connect(client, &target, &grant, remote, carriage);
        let connected = carriage.stop.run_until_cancelled(connecting).await;
        match connected.unwrap_or(Err(ForwardError::Closed)) {
            Ok((channel, mode)) => Ok(Self {
                channel,
                grant,
                mode,
                target,
                _relay: relay,
            }),
            Err(error) => {
                end(client, &grant).await;
                Err(error)
            }
        }
    }

    async fn connect(
        client: &Client,
        target: &ResolvedTarget,
        grant: &SessionGrant,
        remote: &Remote,
        carriage: &Carriage,
    ) -> Result<(Channel, PortMode), ForwardError> {
        let options = ChannelOptions {
            size: None,
            max_payload: carriage.max_payload,
            backlog: WAITING,
            // smux has a way of its own.
            keep_alive: None,
            speak_after: None,
            reconnect_for: carriage.reconnect_for,
            target: target.ssm_target().unwrap_or_default(),
        };
        let mut channel = Channel::open(client, grant, &options)
            .await
            .map_err(ExecError::Open)?;
        let deadline = Instant::now() + HANDSHAKE;
        let container = target.container.clone();
        loop {
            let event = match timeout_at(deadline, channel.events.recv()).await {
                Ok(Some(event)) => event,
                Ok(None) => {
                    return Err(ForwardError::Ended {
                        reason: String::new(),
                    });
                }
                Err(_) => {
                    let active = others(client, target).await;
                    return Err(ExecError::Silent { active }.into());
                }
            };
            match event {
                ChannelEvent::Established { version, .. } => {
                    let version = version.unwrap_or_default();
                    if remote.named_host().is_some() && !is_at_least(&version, KNOWS_HOSTS) {
                        return Err(ForwardError::TooOld { container, version });
                    }
                    return Ok((channel, PortMode::of_agent(&version)));
                }
                ChannelEvent::Closed { output, .. } => {
                    return Err(refusal(&output, container, remote));
                }
                ChannelEvent::Lost(error) => return Err(error.into()),
                _ => {}
            }
        }
    }

    /// Ends it for everybody.
    pub(super) async fn end(self, client: &Client) {
        // The agent's own way of being told; the call is for when it does not listen.
        let _ = self
            .channel
            .commands
            .try_send(Command::Flag(Flag::TerminateSession));
        end(client, &self.grant).await;
    }
}

/// How many sessions besides one of ours are active in a container, if that can be found out.
async fn others(client: &Client, target: &ResolvedTarget) -> Option<usize> {
    let target = target.ssm_target()?;
    let active = timeout(TERMINATE, client.active_sessions(&target)).await;
    Some(active.ok()?.ok()?.saturating_sub(1))
}

pub(super) async fn end(client: &Client, grant: &SessionGrant) {
    // The caller may lack the permission, and the session may be over: then there is nothing more to do.
    let _ = timeout(TERMINATE, client.terminate_session(&grant.session_id)).await;
}

/// What the agent's last words mean.
pub(super) fn refusal(output: &str, container: String, remote: &Remote) -> ForwardError {
    let reason = output.replace("----------ERROR-------", "");
    let reason = reason.trim();
    if reason.contains("Forwarding to") && reason.contains("is forbidden") {
        let remote = remote.clone();
        return ForwardError::Forbidden { container, remote };
    }
    match reason {
        "" => ForwardError::Ended {
            reason: String::new(),
        },
        _ => ForwardError::Refused {
            container,
            reason: reason.to_owned(),
        },
    }
}

/// Whether the agent's words are that a name does not resolve.
pub(super) fn is_unresolved(reason: &str) -> bool {
    reason.contains("no such host")
}

fn is_at_least(version: &str, least: [u32; 4]) -> bool {
    let parts = version.split('.').map(str::parse);
    parts
        .collect::<Result<Vec<u32>, _>>()
        .is_ok_and(|parts| parts.as_slice() >= &least[..])
}
