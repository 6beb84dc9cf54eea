//! A SOCKS5 proxy (RFC 1928): whoever asks names the destination, and each has a session of its own as long as it is used.
//!
//! Names are resolved by the task, so that clients should ask by name (`socks5h://`). There is no authentication, and
//! CONNECT is the only command.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::listener::{Accepted, Duplex, Listener};
use super::spec::Remote;
use super::tunnel::Tunnel;
use super::{ACCEPTED, ForwardEvent};
use crate::ResolvedTarget;

// Tuning.
/// Destinations at once. Two sessions fit into a container, and further ones go to other tasks.
const DESTINATIONS: usize = 16;
/// A destination that nobody is connected to is closed after so long.
const IDLE: Duration = Duration::from_secs(60);
/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(5);
/// For a client to say where it wants to go.
const GREETING: Duration = Duration::from_secs(15);
/// Clients that have not said it yet.
const GREETINGS: usize = 128;

const VERSION: u8 = 5;
const CONNECT: u8 = 1;
const SUCCEEDED: u8 = 0;
const FAILED: u8 = 1;
const NO_COMMAND: u8 = 7;
const NO_ADDRESS: u8 = 8;

pub(super) struct Proxy {
    /// How a destination is reached, but for where it is.
    like: Tunnel,
    target: ResolvedTarget,
    tasks: TaskTracker,
    destinations: HashMap<Remote, Destination>,
}

struct Destination {
    to_tunnel: mpsc::Sender<Accepted>,
    /// Each open connection has a clone.
    held: Arc<()>,
    used: Instant,
}

/// The remote side of a proxy that nobody has asked for anything.
pub(super) fn nowhere() -> Remote {
    Remote {
        host: None,
        port: 0,
    }
}

impl Proxy {
    pub(super) fn new(like: Tunnel, target: ResolvedTarget, tasks: TaskTracker) -> Self {
        Self {
            like,
            target,
            tasks,
            destinations: HashMap::new(),
        }
    }

    /// Serves until it is stopped; then its sessions end.
    pub(super) async fn run(mut self, listener: Listener, stop: CancellationToken) {
        let mut greetings: JoinSet<io::Result<(Remote, Accepted)>> = JoinSet::new();
        let mut look = interval(LOOK);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept(), if greetings.len() < GREETINGS => match accepted {
                    Ok(accepted) => drop(greetings.spawn(greeted(accepted))),
                    Err(error) => {
                        tracing::debug!(%error, "a connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(greeted) = greetings.join_next() => match greeted {
                    Ok(Ok((remote, accepted))) => self.connect(remote, accepted).await,
                    Ok(Err(error)) => tracing::debug!(%error, "not a SOCKS5 client"),
                    Err(error) => tracing::debug!(%error, "a greeting broke off"),
                },
                _ = look.tick() => self.look(),
            }
        }
    }

    async fn connect(&mut self, remote: Remote, mut accepted: Accepted) {
        self.destinations
            .retain(|_, destination| !destination.to_tunnel.is_closed());
        if !self.destinations.contains_key(&remote) && !self.make_room() {
            let text = format!(
                "{remote}: {DESTINATIONS} destinations are in use already, and no more are opened"
            );
            let minor = false;
            self.like
                .teller
                .tell(|forward| ForwardEvent::Notice {
                    forward,
                    text,
                    minor,
                })
                .await;
            accepted.stream.break_off();
            return;
        }
        let destination = self.destinations.entry(remote.clone()).or_insert_with(|| {
            let (to_tunnel, from_us) = mpsc::channel(ACCEPTED);
            let tunnel = Tunnel {
                remote,
                ..self.like.clone()
            };
            let target = self.target.clone();
            // It ends with its sender, and a client that is told to finish waits for it.
            self.tasks.spawn(async move {
                // Its task may have been replaced since the proxy was started.
                let first = tunnel.client.refresh(&target).await.ok();
                tunnel.run(first, from_us).await;
            });
            Destination {
                to_tunnel,
                held: Arc::new(()),
                used: Instant::now(),
            }
        });
        destination.used = Instant::now();
        accepted.held = Some(Arc::clone(&destination.held));
        if let Err(
            mpsc::error::TrySendError::Full(refused) | mpsc::error::TrySendError::Closed(refused),
        ) = destination.to_tunnel.try_send(accepted)
        {
            refused.stream.break_off();
        }
    }

    /// Room for one more destination, in place of the one that was idle for the longest time if need be.
    fn make_room(&mut self) -> bool {
        if self.destinations.len() < DESTINATIONS {
            return true;
        }
        let idle = self
            .destinations
            .iter()
            .filter(|(_, destination)| destination.is_idle())
            .min_by_key(|(_, destination)| destination.used)
            .map(|(remote, _)| remote.clone());
        idle.is_some_and(|remote| self.destinations.remove(&remote).is_some())
    }

    fn look(&mut self) {
        let now = Instant::now();
        for destination in self.destinations.values_mut() {
            if !destination.is_idle() {
                destination.used = now;
            }
        }
        self.destinations
            .retain(|_, destination| now.duration_since(destination.used) < IDLE);
    }
}

impl Destination {
    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.held) == 1
    }
}

async fn greeted(accepted: Accepted) -> io::Result<(Remote, Accepted)> {
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    timeout(GREETING, greet(accepted)).await.map_err(late)?
}

/// The client's greeting and its wish. It is told that it is connected before it is: how it went, it sees by its end.
async fn greet(mut accepted: Accepted) -> io::Result<(Remote, Accepted)> {
    let stream = &mut accepted.stream;
    let wrong = |text: &'static str| io::Error::new(io::ErrorKind::InvalidData, text);
    if stream.read_u8().await? != VERSION {
        return Err(wrong("another version"));
    }
    let mut methods = vec![0; stream.read_u8().await?.into()];
    stream.read_exact(&mut methods).await?;
    if !methods.contains(&0) {
        stream.write_all(&[VERSION, 0xff]).await?;
        return Err(wrong("it wants to authenticate"));
    }
    stream.write_all(&[VERSION, 0]).await?;
    let [version, command, _, kind] = {
        let mut head = [0; 4];
        stream.read_exact(&mut head).await?;
        head
    };
    if version != VERSION {
        return Err(wrong("another version"));
    }
    let host = match kind {
        1 => {
            let mut address = [0; 4];
            stream.read_exact(&mut address).await?;
            Ipv4Addr::from(address).to_string()
        }
        3 => {
            let mut name = vec![0; stream.read_u8().await?.into()];
            stream.read_exact(&mut name).await?;
            String::from_utf8(name).map_err(|_| wrong("the name is not UTF-8"))?
        }
        4 => {
            let mut address = [0; 16];
            stream.read_exact(&mut address).await?;
            Ipv6Addr::from(address).to_string()
        }
        _ => {
            answer(stream.as_mut(), NO_ADDRESS).await?;
            return Err(wrong("an unknown kind of address"));
        }
    };
    let port = stream.read_u16().await?;
    if command != CONNECT {
        answer(stream.as_mut(), NO_COMMAND).await?;
        return Err(wrong("another command than CONNECT"));
    }
    let Some(remote) = Remote::checked(&host, port) else {
        answer(stream.as_mut(), FAILED).await?;
        return Err(wrong("no host or no port"));
    };
    answer(stream.as_mut(), SUCCEEDED).await?;
    Ok((remote, accepted))
}

async fn answer(stream: &mut dyn Duplex, code: u8) -> io::Result<()> {
    stream
        .write_all(&[VERSION, code, 0, 1, 0, 0, 0, 0, 0, 0])
        .await
}
