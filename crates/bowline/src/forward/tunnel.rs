//! One forward: its listener, which never closes, and its session, which is replaced when it is lost.

use std::collections::VecDeque;
use std::time::Duration;

use bowline_proto::PortMode;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::error::ForwardError;
use super::listener::{Accepted, Listener};
use super::places::{Place, Places};
use super::session::{PortSession, is_unresolved};
use super::spec::Remote;
use super::{Again, Carriage, ForwardEvent, Teller, many, single};
use crate::session::chain;
use crate::session::clock::until;
use crate::{Client, ResolvedTarget};

// Tuning.
/// The pause after the first attempt that failed; it doubles …
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// … up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// The pause after a failed accept, which would otherwise fail again at once (out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections that wait for a session. Further ones wait in the system's queue.
const WAITING: usize = 512;
/// While a connection waits, the next attempt comes no later than this.
const HURRY: Duration = Duration::from_secs(1);
/// A session that ended sooner was of no use: the next one is not started at once.
const USEFUL: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub(super) struct Tunnel {
    pub(super) client: Client,
    pub(super) remote: Remote,
    /// How to find the target when its task is gone.
    pub(super) again: Again,
    pub(super) places: Places,
    pub(super) carriage: Carriage,
    pub(super) teller: Teller,
    /// One of a proxy: that it cannot be had concerns nobody but its connections.
    pub(super) on_demand: bool,
}

/// Accepts until it is stopped, or nobody wants connections any more.
pub(super) async fn accept(
    listener: Listener,
    to_tunnel: mpsc::Sender<Accepted>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => if to_tunnel.send(accepted).await.is_err() {
                    return;
                },
                Err(error) => {
                    tracing::debug!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            () = to_tunnel.closed() => return,
            () = stop.cancelled() => return,
        }
    }
}

impl Tunnel {
    /// Keeps a session and serves connections until there are no more of them to come. Only the first session may fail.
    /// It leads through `first`, if that is known to be there.
    pub(super) async fn run(
        self,
        first: Option<ResolvedTarget>,
        mut accepted: mpsc::Receiver<Accepted>,
    ) {
        let mut target = first;
        let mut ready_before = false;
        let mut pauses = Pauses::default();
        let mut waiting = Waiting::new(self.carriage.wait);
        let mut down: Option<Instant> = None;
        loop {
            let starting = self.start(target.take());
            let started = waiting.work_on(starting, &mut accepted).await;
            let (mut session, place) = match started {
                Ok(started) => started,
                Err(ForwardError::Closed) => return,
                Err(error) if !ready_before => return self.give_up(error, accepted).await,
                Err(error) => {
                    let reason = chain(&error);
                    tracing::debug!(reason, "no session yet");
                    if pauses.is_first() {
                        self.tell(|forward| ForwardEvent::Down { forward, reason })
                            .await;
                    }
                    let pause = pauses.next();
                    if waiting
                        .pause(pause, &mut accepted, &self.carriage.stop)
                        .await
                        .is_none()
                    {
                        return;
                    }
                    continue;
                }
            };
            let again = std::mem::replace(&mut ready_before, true);
            self.ready(&session, again, down.take()).await;
            let begun = Instant::now();
            let error = self
                .serve(&mut session, &mut accepted, waiting.take())
                .await;
            self.places.give_back(place).await;
            match error {
                // The service has ended it.
                ForwardError::Ended { .. } => drop(session),
                _ => session.end(&self.client).await,
            }
            if matches!(error, ForwardError::Closed) {
                return;
            }
            if !again && is_verdict(&error) {
                return self.give_up(error, accepted).await;
            }
            down = Some(Instant::now());
            let reason = chain(&error);
            let unneeded = is_idle_end(&reason);
            self.tell(|forward| ForwardEvent::Down { forward, reason })
                .await;
            if unneeded && !waiting.any(&mut accepted).await {
                return;
            }
            if begun.elapsed() < USEFUL {
                let pause = pauses.next();
                if waiting
                    .pause(pause, &mut accepted, &self.carriage.stop)
                    .await
                    .is_none()
                {
                    return;
                }
            } else {
                pauses = Pauses::default();
            }
        }
    }

    /// There will be no session.
    async fn give_up(&self, error: ForwardError, mut accepted: mpsc::Receiver<Accepted>) {
        if !self.on_demand {
            self.tell(|forward| ForwardEvent::Failed { forward, error })
                .await;
            return;
        }
        let text = format!("{}: {}", self.remote, chain(&error));
        let minor = false;
        self.tell(|forward| ForwardEvent::Notice {
            forward,
            text,
            minor,
        })
        .await;
        // Those that come before this is known are broken off too.
        accepted.close();
        while let Some(accepted) = accepted.recv().await {
            accepted.stream.break_off();
        }
    }

    async fn start(
        &self,
        known: Option<ResolvedTarget>,
    ) -> Result<(PortSession, Place), ForwardError> {
        let target = match known {
            Some(target) => target,
            None => self.again.resolve(&self.client).await?,
        };
        let place = self.places.find(&self.client, target, &self.again).await;
        let started = PortSession::start(
            &self.client,
            place.target.clone(),
            &self.remote,
            &self.carriage,
            &self.teller,
        );
        match started.await {
            Ok(session) => Ok((session, place)),
            Err(error) => {
                self.places.give_back(place).await;
                Err(error)
            }
        }
    }

    async fn ready(&self, session: &PortSession, again: bool, down: Option<Instant>) {
        self.tell(|forward| ForwardEvent::Ready {
            forward,
            session_id: session.grant.session_id.clone(),
            task: session.target.task.id.clone(),
            container: session.target.container.clone(),
            again,
            after: down.map(|since| since.elapsed()),
            single: session.mode == PortMode::Single,
        })
        .await;
    }

    async fn serve(
        &self,
        session: &mut PortSession,
        accepted: &mut mpsc::Receiver<Accepted>,
        waiting: Vec<Accepted>,
    ) -> ForwardError {
        let work = Work {
            remote: &self.remote,
            container: &session.target.container,
            carriage: &self.carriage,
            teller: &self.teller,
        };
        let channel = &mut session.channel;
        match session.mode {
            PortMode::Multiplexed { keep_alive } => {
                many::carry(channel, keep_alive, accepted, waiting, work).await
            }
            PortMode::Single => single::carry(channel, accepted, waiting, work).await,
        }
    }

    async fn tell(&self, event: impl FnOnce(usize) -> ForwardEvent) {
        self.teller.tell(event).await;
    }
}

/// What the work of a session needs to know.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) remote: &'a Remote,
    pub(super) container: &'a str,
    pub(super) carriage: &'a Carriage,
    pub(super) teller: &'a Teller,
}

/// Connections that wait for a session, each no longer than it may.
struct Waiting {
    queue: VecDeque<(Instant, Accepted)>,
    limit: Duration,
}

impl Waiting {
    fn new(limit: Duration) -> Self {
        Self {
            queue: VecDeque::new(),
            limit,
        }
    }

    fn take(&mut self) -> Vec<Accepted> {
        self.queue.drain(..).map(|(_, accepted)| accepted).collect()
    }

    fn push(&mut self, accepted: Accepted) {
        self.queue
            .push_back((Instant::now() + self.limit, accepted));
    }

    /// Whether there is a connection, when there is one. False: none will come.
    async fn any(&mut self, accepted: &mut mpsc::Receiver<Accepted>) -> bool {
        if !self.queue.is_empty() {
            return true;
        }
        match accepted.recv().await {
            Some(next) => {
                self.push(next);
                true
            }
            None => false,
        }
    }

    /// Does some work while connections come, and when none come any more.
    async fn work_on<T>(
        &mut self,
        work: impl Future<Output = T>,
        accepted: &mut mpsc::Receiver<Accepted>,
    ) -> T {
        let mut work = std::pin::pin!(work);
        let mut come = true;
        loop {
            let due = self.queue.front().map(|(due, _)| *due);
            tokio::select! {
                done = &mut work => return done,
                next = accepted.recv(), if come && self.queue.len() < WAITING => match next {
                    Some(next) => self.push(next),
                    None => come = false,
                },
                () = until(due) => {
                    if let Some((_, accepted)) = self.queue.pop_front() {
                        accepted.stream.break_off();
                    }
                }
            }
        }
    }

    /// Waits, but not for long while somebody is waiting.
    async fn pause(
        &mut self,
        pause: Duration,
        accepted: &mut mpsc::Receiver<Accepted>,
        stop: &CancellationToken,
    ) -> Option<()> {
        let end = Instant::now() + pause;
        let soon = end.min(Instant::now() + HURRY);
        if self.queue.is_empty() {
            tokio::select! {
                next = accepted.recv() => self.push(next?),
                () = sleep_until(end) => {}
            }
        }
        tokio::select! {
            () = self.work_on(sleep_until(soon), accepted) => Some(()),
            () = stop.cancelled() => None,
        }
    }
}

#[derive(Default)]
struct Pauses {
    last: Option<Duration>,
}

impl Pauses {
    fn is_first(&self) -> bool {
        self.last.is_none()
    }

    fn next(&mut self) -> Duration {
        let next = self.last.map_or(FIRST_PAUSE, |last| last * 2);
        *self.last.insert(next.min(LONGEST_PAUSE))
    }
}

/// The agent looks at the host once, right after the handshake: another session would end in the same way.
fn is_verdict(error: &ForwardError) -> bool {
    match error {
        ForwardError::Forbidden { .. } => true,
        ForwardError::Refused { reason, .. } => is_unresolved(reason),
        _ => false,
    }
}

/// Whether the service ended the session because nothing went through it.
fn is_idle_end(reason: &str) -> bool {
    reason.contains("inactivity") || reason.contains("idle")
}

impl Drop for Waiting {
    fn drop(&mut self) {
        for (_, accepted) in self.queue.drain(..) {
            accepted.stream.break_off();
        }
    }
}
