//! The work of one session that carries one connection at a time, as with agents up to 3.0.196.0.
//!
//! The agent connects when the session starts, and again when something is sent after a connection has ended. It does not
//! say when the remote side closes a connection: the local one stays open then, until it is closed here.

use std::time::Duration;

use bowline_proto::Flag;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::connection::{self, FromLocal, PIECES};
use super::error::ForwardError;
use super::listener::Accepted;
use super::session::refusal;
use super::spec::Remote;
use super::tunnel::Work;
use super::{Carriage, ForwardEvent, Teller};
use crate::session::clock::until;
use crate::session::driver::{Channel, ChannelEvent, Command};

// Tuning.
/// For the agent to acknowledge the end of a connection, and what was sent before it, while it can be reached.
const SETTLED: Duration = Duration::from_secs(60);

/// Carries connections, one after the other, to the end of the session.
pub(super) async fn carry(
    channel: &mut Channel,
    accepted: &mut mpsc::Receiver<Accepted>,
    waiting: Vec<Accepted>,
    work: Work<'_>,
) -> ForwardError {
    let Work {
        remote,
        container,
        carriage,
        teller,
    } = work;
    let mut waiting = waiting.into_iter();
    loop {
        let next = match waiting.next() {
            Some(next) => next,
            None => tokio::select! {
                next = accepted.recv() => match next {
                    Some(next) => next,
                    None => return ForwardError::Closed,
                },
                // Without a connection the agent has nothing to say but that it is over.
                event = channel.events.recv() => match end(event, container, remote) {
                    Some(error) => return error,
                    None => continue,
                },
                () = carriage.stop.cancelled() => return ForwardError::Closed,
            },
        };
        let mut carrier = Carrier::new(next, carriage, teller).await;
        let ended = carrier.run(channel, container, remote).await;
        let cause = ended.as_ref().map(ToString::to_string);
        carrier.closed(teller, cause).await;
        if let Some(error) = ended {
            return error;
        }
        // What is still on its way belongs to the connection that has ended.
        if channel
            .commands
            .send(Command::Flag(Flag::DisconnectToPort))
            .await
            .is_err()
        {
            return ForwardError::Ended {
                reason: String::new(),
            };
        }
        if let Some(error) = settle(channel, work).await {
            return error;
        }
    }
}

/// Waits until the end of a connection is acknowledged; an error is the session's end.
async fn settle(channel: &mut Channel, work: Work<'_>) -> Option<ForwardError> {
    // A lost connection to the service has a limit of its own.
    let mut due = Some(Instant::now() + SETTLED);
    loop {
        tokio::select! {
            event = channel.events.recv() => match event {
                Some(ChannelEvent::Settled) => return None,
                Some(ChannelEvent::Away) => due = None,
                Some(ChannelEvent::Back) => due = Some(Instant::now() + SETTLED),
                event => {
                    if let Some(error) = end(event, work.container, work.remote) {
                        return Some(error);
                    }
                }
            },
            () = until(due), if due.is_some() => {
                let limit = SETTLED.as_secs();
                let text = format!("it has not acknowledged the end of a connection after {limit} s");
                return Some(ForwardError::Protocol(text));
            }
            () = work.carriage.stop.cancelled() => return Some(ForwardError::Closed),
        }
    }
}

/// Whether this is the session's end.
fn end(event: Option<ChannelEvent>, container: &str, remote: &Remote) -> Option<ForwardError> {
    match event {
        None => Some(ForwardError::Ended {
            reason: String::new(),
        }),
        Some(ChannelEvent::Closed { output, .. }) => {
            Some(refusal(&output, container.to_owned(), remote))
        }
        Some(ChannelEvent::Lost(error)) => Some(error.into()),
        Some(_) => None,
    }
}

struct Carrier {
    pieces: mpsc::Sender<Bytes>,
    data: mpsc::Receiver<((), FromLocal)>,
    notes: mpsc::Receiver<()>,
    number: u64,
    since: Instant,
    sent: u64,
    received: u64,
    linger: Duration,
    stop: CancellationToken,
    broken: CancellationToken,
    _breaks: DropGuard,
}

impl Carrier {
    async fn new(accepted: Accepted, carriage: &Carriage, teller: &Teller) -> Self {
        let Accepted { stream, peer, held } = accepted;
        let number = teller.next_connection();
        let (pieces, from_us) = mpsc::channel(PIECES);
        let (to_us, data) = mpsc::channel(PIECES);
        let (note, notes) = mpsc::channel(PIECES);
        let broken = CancellationToken::new();
        let task = connection::converse((), stream, held, from_us, to_us, note, broken.clone());
        // It ends with `pieces` or `broken`, and a client that is told to finish waits for it.
        carriage.tasks.spawn(task);
        teller
            .tell(|forward| ForwardEvent::Opened {
                forward,
                connection: number,
                peer,
            })
            .await;
        Self {
            pieces,
            data,
            notes,
            number,
            since: Instant::now(),
            sent: 0,
            received: 0,
            linger: carriage.linger,
            stop: carriage.stop.clone(),
            _breaks: broken.clone().drop_guard(),
            broken,
        }
    }

    /// To the end of the connection, or of the session, which is an error.
    async fn run(
        &mut self,
        channel: &mut Channel,
        container: &str,
        remote: &Remote,
    ) -> Option<ForwardError> {
        let Channel {
            events, commands, ..
        } = channel;
        let (mut up, mut down): (Option<Bytes>, Option<Bytes>) = (None, None);
        let mut quiet: Option<Instant> = None;
        loop {
            // Every arm is cancel-safe: channels, permits that are used at once, a timer, a token.
            tokio::select! {
                () = self.stop.cancelled() => {
                    self.broken.cancel();
                    return Some(ForwardError::Closed);
                }
                permit = commands.reserve(), if up.is_some() => {
                    if let (Ok(permit), Some(bytes)) = (permit, up.take()) {
                        permit.send(Command::Write(bytes));
                    }
                }
                permit = self.pieces.reserve(), if down.is_some() => match (permit, down.take()) {
                    (Ok(permit), Some(bytes)) => permit.send(bytes),
                    _ => return None,
                },
                event = events.recv(), if down.is_none() => match event {
                    Some(ChannelEvent::Output(bytes)) => {
                        self.received += bytes.len() as u64;
                        quiet = quiet.map(|_| Instant::now() + self.linger);
                        down = Some(bytes);
                    }
                    event => {
                        if let Some(error) = end(event, container, remote) {
                            self.broken.cancel();
                            return Some(error);
                        }
                    }
                },
                said = self.data.recv(), if up.is_none() && quiet.is_none() => match said {
                    Some(((), FromLocal::Bytes(bytes))) => {
                        self.sent += bytes.len() as u64;
                        up = Some(bytes);
                    }
                    Some(((), FromLocal::HalfClosed)) if !self.linger.is_zero() => {
                        quiet = Some(Instant::now() + self.linger);
                    }
                    _ => return None,
                },
                Some(()) = self.notes.recv() => {}
                () = until(quiet), if quiet.is_some() => return None,
            }
        }
    }

    async fn closed(self, teller: &Teller, cause: Option<String>) {
        teller
            .tell(|forward| ForwardEvent::Closed {
                forward,
                connection: self.number,
                sent: self.sent,
                received: self.received,
                lasted: self.since.elapsed(),
                cause,
            })
            .await;
    }
}
