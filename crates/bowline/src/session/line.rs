//! One connected socket of a data channel: frames in and out without waiting, and whether the path is still alive.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{FutureExt, Sink, Stream};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, Message};

use super::connect::{self, ChannelError, Connection, Transport};

// Tuning.
/// A path that is idle is probed this often …
const PING: Duration = Duration::from_secs(30);
/// … and given up when nothing at all came for this long.
const SILENCE: Duration = Duration::from_secs(75);
/// How often it is looked whether this machine was asleep.
const WATCH: Duration = Duration::from_secs(10);
/// A wall clock that ran so much further than the monotonic one means that the machine slept.
const NAP: Duration = Duration::from_secs(15);
/// After a sleep the path is probed at once and has this long to answer.
const AFTER_NAP: Duration = Duration::from_secs(5);

/// A connection that is up.
pub(crate) struct Line {
    socket: WebSocketStream<Box<dyn Transport>>,
    host: String,
    /// Messages were given to the socket and are not all on their way yet.
    flushing: bool,
    /// The socket takes nothing more until some of that is.
    blocked: bool,
    pulse: Pulse,
}

/// What a message of the other side is to the session.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A frame of the session.
    Frame(Bytes),
    /// A pong, or that all was sent: the path lives.
    Life,
}

impl Line {
    pub(crate) fn new(connection: Connection) -> Self {
        Self {
            socket: connection.socket,
            host: connection.host,
            flushing: false,
            blocked: false,
            pulse: Pulse::new(Instant::now(), SystemTime::now()),
        }
    }

    /// Waits for the next message, or for what was sent to be on its way. Cancel-safe: the state is in the socket.
    pub(crate) async fn turn(&mut self, listening: bool) -> Result<Heard, ChannelError> {
        if !listening {
            // Silence is ours then.
            self.pulse.heard(Instant::now());
        }
        let Self {
            socket,
            flushing,
            blocked,
            ..
        } = self;
        let message = poll_fn(|cx| {
            if *flushing && let Poll::Ready(result) = Pin::new(&mut *socket).poll_flush(cx) {
                (*flushing, *blocked) = (false, false);
                return Poll::Ready(result.map(|()| None).map_err(Some));
            }
            if !listening {
                return Poll::Pending;
            }
            match Pin::new(&mut *socket).poll_next(cx) {
                Poll::Ready(Some(message)) => Poll::Ready(message.map(Some).map_err(Some)),
                Poll::Ready(None) => Poll::Ready(Err(None)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        match message {
            Ok(None) => Ok(Heard::Life),
            Ok(Some(message)) => self.heard(message),
            Err(error) => Err(self.lost(error)),
        }
    }

    /// The next message, if one has arrived already.
    pub(crate) fn try_next(&mut self) -> Option<Result<Heard, ChannelError>> {
        let message = poll_fn(|cx| Pin::new(&mut self.socket).poll_next(cx)).now_or_never()?;
        Some(match message {
            Some(Ok(message)) => self.heard(message),
            Some(Err(error)) => Err(self.lost(Some(error))),
            None => Err(self.lost(None)),
        })
    }

    /// Gives the socket what there is to send, as far as it takes it without waiting.
    pub(crate) fn transmit(
        &mut self,
        mut next: impl FnMut() -> Option<Bytes>,
    ) -> Result<(), ChannelError> {
        self.try_transmit(&mut next)
            .map_err(|error| self.lost(Some(error)))
    }

    fn try_transmit(
        &mut self,
        next: &mut impl FnMut() -> Option<Bytes>,
    ) -> Result<(), tungstenite::Error> {
        loop {
            match poll_fn(|cx| Pin::new(&mut self.socket).poll_ready(cx)).now_or_never() {
                Some(ready) => ready?,
                None => {
                    (self.flushing, self.blocked) = (true, true);
                    return Ok(());
                }
            }
            let message = if self.pulse.wants_ping(Instant::now()) {
                Message::Ping(Bytes::from_static(b"keepalive"))
            } else {
                match next() {
                    Some(message) => Message::Binary(message),
                    None => return Ok(()),
                }
            };
            Pin::new(&mut self.socket).start_send(message)?;
            self.flushing = true;
        }
    }

    /// Whether the socket takes nothing at the moment: [`Self::turn`] returns when it does again.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// When [`Self::check`] and [`Self::transmit`] should be called next.
    pub(crate) fn deadline(&self) -> Instant {
        self.pulse.deadline(!self.blocked)
    }

    /// An error when the path is dead.
    pub(crate) fn check(&mut self) -> Result<(), ChannelError> {
        match self.pulse.is_dead(Instant::now(), SystemTime::now()) {
            true => Err(ChannelError::Silent {
                host: self.host.clone(),
            }),
            false => Ok(()),
        }
    }

    fn heard(&mut self, message: Message) -> Result<Heard, ChannelError> {
        self.pulse.heard(Instant::now());
        match message {
            Message::Binary(frame) => Ok(Heard::Frame(frame)),
            Message::Close(frame) => Err(ChannelError::Closed {
                reason: frame.map_or_else(String::new, |frame| {
                    format!("{} {}", frame.code, frame.reason)
                        .trim_end()
                        .to_owned()
                }),
            }),
            _ => Ok(Heard::Life),
        }
    }

    fn lost(&self, error: Option<tungstenite::Error>) -> ChannelError {
        connect::lost(
            &self.host,
            error.unwrap_or(tungstenite::Error::ConnectionClosed),
        )
    }
}

/// Whether a path is alive: what was heard, what was asked, and whether this machine slept in between.
#[derive(Debug)]
struct Pulse {
    last_heard: Instant,
    last_ping: Instant,
    /// The path is dead if nothing is heard until then; set after a sleep.
    answer_by: Option<Instant>,
    /// Both clocks at the last look; they part while the machine sleeps.
    watched: (Instant, SystemTime),
}

impl Pulse {
    fn new(now: Instant, wall: SystemTime) -> Self {
        Self {
            last_heard: now,
            last_ping: now,
            answer_by: None,
            watched: (now, wall),
        }
    }

    fn heard(&mut self, now: Instant) {
        self.last_heard = now;
        self.answer_by = None;
    }

    /// True when a ping is due; it counts as sent then.
    fn wants_ping(&mut self, now: Instant) -> bool {
        let due = now.duration_since(self.last_ping) >= PING;
        if due {
            self.last_ping = now;
        }
        due
    }

    fn deadline(&self, can_ping: bool) -> Instant {
        let silence = self.last_heard + SILENCE;
        [
            Some(self.last_ping + PING).filter(|_| can_ping),
            Some(self.watched.0 + WATCH),
            self.answer_by,
        ]
        .into_iter()
        .flatten()
        .fold(silence, Instant::min)
    }

    fn is_dead(&mut self, now: Instant, wall: SystemTime) -> bool {
        let (then, wall_then) = std::mem::replace(&mut self.watched, (now, wall));
        // A wall clock that was set back says nothing.
        let passed = wall.duration_since(wall_then).unwrap_or_default();
        let ran = now.duration_since(then);
        // The machine slept, or this process was stopped: what came meanwhile has not been read yet.
        if passed > ran + NAP || ran > WATCH + NAP {
            self.last_heard = now;
            self.last_ping = now.checked_sub(PING).unwrap_or(now);
            self.answer_by = Some(now + AFTER_NAP);
        }
        now.duration_since(self.last_heard) >= SILENCE
            || self.answer_by.is_some_and(|limit| limit <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// Looks as often as the driver does.
    fn is_dead(pulse: &mut Pulse, start: Instant, wall: SystemTime, until: u64) -> bool {
        let begun = pulse.watched.0.duration_since(start).as_secs() + 1;
        (begun..=until).fold(false, |_, second| {
            pulse.is_dead(start + seconds(second), wall + seconds(second))
        })
    }

    #[test]
    fn a_process_that_was_stopped_looks_again_before_it_gives_up() {
        let (start, wall) = (Instant::now(), SystemTime::UNIX_EPOCH);
        let mut pulse = Pulse::new(start, wall);
        let (awake, at) = (start + seconds(80), wall + seconds(80));
        assert!(!pulse.is_dead(awake, at));
        assert!(pulse.wants_ping(awake));
        assert!(pulse.is_dead(awake + seconds(5), at + seconds(5)));
    }

    #[test]
    fn a_quiet_path_is_probed_and_then_given_up() {
        let (start, wall) = (Instant::now(), SystemTime::UNIX_EPOCH);
        let mut pulse = Pulse::new(start, wall);
        assert!(!pulse.wants_ping(start + seconds(29)));
        assert!(pulse.wants_ping(start + seconds(30)));
        assert!(!pulse.wants_ping(start + seconds(31)));
        assert!(!is_dead(&mut pulse, start, wall, 74));
        assert!(is_dead(&mut pulse, start, wall, 75));
        pulse.heard(start + seconds(75));
        assert!(!pulse.is_dead(start + seconds(76), wall + seconds(76)));
    }

    #[test]
    fn after_a_sleep_the_path_has_to_answer_at_once() {
        let (start, wall) = (Instant::now() + seconds(3600), SystemTime::UNIX_EPOCH);
        let mut pulse = Pulse::new(start, wall);
        let awake = start + seconds(10);
        assert!(!pulse.is_dead(awake, wall + seconds(7200)));
        assert!(pulse.wants_ping(awake));
        assert!(!pulse.is_dead(awake + seconds(4), wall + seconds(7204)));
        assert!(pulse.is_dead(awake + seconds(5), wall + seconds(7205)));
        pulse.heard(awake + seconds(5));
        assert!(!pulse.is_dead(awake + seconds(6), wall + seconds(7206)));
    }

    #[test]
    fn a_wall_clock_that_is_set_back_is_no_sleep() {
        let (start, wall) = (Instant::now(), SystemTime::UNIX_EPOCH + seconds(1_000_000));
        let mut pulse = Pulse::new(start, wall);
        assert!(!pulse.is_dead(start + seconds(10), wall - seconds(5000)));
        assert!(pulse.answer_by.is_none());
    }
}
