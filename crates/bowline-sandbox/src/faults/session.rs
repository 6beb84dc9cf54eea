//! What goes wrong with the traffic of a session.
//!
//! Messages and bytes are counted for the session and for each of its sockets, from when a set of faults came into
//! force. What is left to chance depends on the session's number among all sessions of the sandbox, the direction and the
//! number of the message.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::switch::{Active, count};
use super::{Both, Bye, Direction, Mark, Switch};

/// The faults of one session, over all of its sockets.
pub(crate) struct SessionFaults {
    switch: Switch,
    /// Its number among the sessions of the sandbox.
    ordinal: u64,
    traffic: Mutex<Traffic>,
}

/// What has passed since the set of faults came into force.
#[derive(Default)]
struct Traffic {
    generation: Option<u64>,
    /// Messages that asked for their fate.
    offered: Both<u64>,
    /// Messages that went on.
    passed: Both<u64>,
    bytes: Both<u64>,
    /// The cut at one place was made.
    cut: Both<bool>,
    /// Places of random cuts still to come, in order.
    cuts: Both<VecDeque<u64>>,
    paused: bool,
    fell_silent: bool,
}

/// What becomes of one message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fate {
    /// 0 if it is lost, 2 if it comes twice.
    pub(crate) copies: u8,
    pub(crate) delay: Duration,
    /// So many later ones go first.
    pub(crate) overtaken_by: u64,
    /// Bytes per second.
    pub(crate) bandwidth: Option<u64>,
}

/// What happens because a message has passed, or because a socket was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Upshot {
    /// The socket is lost.
    pub(crate) cut: bool,
    /// The service says "Bye".
    pub(crate) bye: bool,
    /// Nothing goes either way for so long.
    pub(crate) pause: Option<Duration>,
}

impl SessionFaults {
    pub(crate) fn new(switch: Switch, ordinal: u64) -> Arc<Self> {
        Arc::new(Self {
            switch,
            ordinal,
            traffic: Mutex::default(),
        })
    }

    /// The set in force, and the counts that belong to it.
    fn traffic(&self) -> (Arc<Active>, MutexGuard<'_, Traffic>) {
        let active = self.switch.now();
        let mut traffic = self.traffic.lock().unwrap_or_else(PoisonError::into_inner);
        if traffic.generation != Some(active.generation) {
            *traffic = Traffic {
                generation: Some(active.generation),
                ..Traffic::default()
            };
            for direction in [Direction::Up, Direction::Down] {
                *traffic.cuts.of_mut(direction) = self.places(&active, direction);
            }
        }
        (active, traffic)
    }

    fn places(&self, active: &Active, direction: Direction) -> VecDeque<u64> {
        let Some(cuts) = active.faults.frames.of(direction).cuts else {
            return VecDeque::new();
        };
        let which = |index| [self.ordinal, direction as u64, index];
        let place = |index| active.dice.number("cuts", &which(index)) % cuts.bytes;
        let mut places: Vec<u64> = (0..cuts.count).map(place).collect();
        places.sort_unstable();
        places.into()
    }
}

/// The faults of one socket of a session.
pub(crate) struct SocketFaults {
    session: Arc<SessionFaults>,
    /// What has passed on this socket, whatever set of faults was in force.
    traffic: Mutex<(Both<u64>, Both<u64>)>,
    silent: AtomicBool,
    lost: CancellationToken,
}

impl SocketFaults {
    pub(crate) fn new(session: Arc<SessionFaults>) -> Arc<Self> {
        Arc::new(Self {
            session,
            traffic: Mutex::default(),
            silent: AtomicBool::new(false),
            lost: CancellationToken::new(),
        })
    }

    /// The fate of the next message.
    pub(crate) fn fate(&self, direction: Direction) -> Fate {
        let (active, mut traffic) = self.session.traffic();
        let offered = traffic.offered.of_mut(direction);
        let which = [self.session.ordinal, direction as u64, *offered];
        *offered += 1;
        let (frames, dice) = (active.faults.frames.of(direction), active.dice);
        let mut fate = Fate {
            copies: 1,
            delay: Duration::ZERO,
            overtaken_by: 0,
            bandwidth: frames.bandwidth,
        };
        if let Some(span) = frames.delay {
            fate.delay = dice.within(span, "delay", &which);
        }
        if dice.happens(frames.loss, "loss", &which) {
            count(&active.happened.lost);
            fate.copies = 0;
        } else if dice.happens(frames.duplicate, "duplicate", &which) {
            count(&active.happened.duplicated);
            fate.copies = 2;
        }
        if dice.happens(frames.reorder, "reorder", &which) {
            count(&active.happened.reordered);
            fate.overtaken_by = 1 + dice.number("overtaken", &which) % 8;
        }
        fate
    }

    /// The socket was opened: something may be due at once.
    pub(crate) fn opened(&self) -> Upshot {
        let up = self.upshot(Direction::Up, 0);
        let down = self.upshot(Direction::Down, 0);
        Upshot {
            cut: up.cut || down.cut,
            ..down
        }
    }

    /// A message went on.
    pub(crate) fn passed(&self, direction: Direction) -> Upshot {
        self.upshot(direction, 1)
    }

    fn upshot(&self, direction: Direction, messages: u64) -> Upshot {
        let (active, mut traffic) = self.session.traffic();
        let faults = &active.faults;
        let frames = faults.frames.of(direction);
        let here = {
            let mut own = self.own();
            let passed = own.0.of_mut(direction);
            *passed += messages;
            *passed
        };
        let passed = traffic.passed.of_mut(direction);
        *passed += messages;
        let passed = *passed;
        let mut upshot = Upshot::default();
        if matches!(frames.cut, Some(Mark::Frame(at)) if at <= passed)
            && !std::mem::replace(traffic.cut.of_mut(direction), true)
        {
            upshot.cut = true;
        }
        upshot.cut |= matches!(frames.cut_every, Some(Mark::Frame(at)) if at <= here);
        if upshot.cut {
            count(&active.happened.cut);
        }
        if direction == Direction::Down {
            upshot.bye = matches!(faults.bye, Some(Bye::Frame(at)) if at <= here);
            let due = faults.pause.filter(|pause| pause.frame <= passed);
            if let Some(pause) = due.filter(|_| !traffic.paused) {
                traffic.paused = true;
                upshot.pause = Some(pause.span);
            }
            let silent = faults.black_hole.is_some_and(|at| at <= passed);
            if silent && !std::mem::replace(&mut traffic.fell_silent, true) {
                self.silent.store(true, Ordering::Relaxed);
            }
        }
        upshot
    }

    /// How many more bytes may pass before the socket is cut; 0 if it is cut.
    pub(crate) fn allowance(&self, direction: Direction) -> u64 {
        if self.lost.is_cancelled() {
            return 0;
        }
        let (active, traffic) = self.session.traffic();
        let frames = active.faults.frames.of(direction);
        let passed = *traffic.bytes.of(direction);
        let once = match frames.cut {
            Some(Mark::Byte(at)) if !traffic.cut.of(direction) => Some(at),
            _ => None,
        };
        let random = traffic.cuts.of(direction).front().copied();
        let of_session = once
            .into_iter()
            .chain(random)
            .map(|at| at.saturating_sub(passed));
        let of_socket = match frames.cut_every {
            Some(Mark::Byte(at)) => Some(at.saturating_sub(*self.own().1.of(direction))),
            _ => None,
        };
        of_session.chain(of_socket).min().unwrap_or(u64::MAX)
    }

    /// So many bytes have passed. True if the socket is cut now.
    pub(crate) fn carried(&self, direction: Direction, bytes: u64) -> bool {
        {
            let (_, mut traffic) = self.session.traffic();
            *traffic.bytes.of_mut(direction) += bytes;
            *self.own().1.of_mut(direction) += bytes;
        }
        if self.allowance(direction) > 0 {
            return false;
        }
        if !self.lost.is_cancelled() {
            self.lost.cancel();
            self.cut_at_byte(direction);
        }
        true
    }

    /// Returns when the socket was cut at a byte.
    pub(crate) async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Marks the places that were reached, so that the next socket gets beyond them.
    fn cut_at_byte(&self, direction: Direction) {
        let (active, mut traffic) = self.session.traffic();
        count(&active.happened.cut);
        let passed = *traffic.bytes.of(direction);
        if matches!(active.faults.frames.of(direction).cut, Some(Mark::Byte(at)) if at <= passed) {
            *traffic.cut.of_mut(direction) = true;
        }
        let cuts = traffic.cuts.of_mut(direction);
        while cuts.front().is_some_and(|at| *at <= passed) {
            cuts.pop_front();
        }
    }

    /// Nothing passes any more, and nobody is told.
    pub(crate) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    /// Pings are to stay unanswered.
    pub(crate) fn mutes_pongs(&self) -> bool {
        self.is_silent() || self.session.switch.now().faults.no_pong
    }

    /// The agent's acknowledgements are to vanish.
    pub(crate) fn drops_acks(&self) -> bool {
        self.session.switch.now().faults.no_acks
    }

    /// When the service says "Bye", after the socket was opened.
    pub(crate) fn bye_after(&self) -> Option<Duration> {
        match self.session.switch.now().faults.bye {
            Some(Bye::After(span)) => Some(span),
            _ => None,
        }
    }

    /// How late channel_closed comes, and how often.
    pub(crate) fn farewell(&self) -> (Duration, usize) {
        let active = self.session.switch.now();
        let times = if active.faults.double_close { 2 } else { 1 };
        (active.faults.late_close, times)
    }

    fn own(&self) -> MutexGuard<'_, (Both<u64>, Both<u64>)> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(words: &str, ordinal: u64) -> Arc<SessionFaults> {
        SessionFaults::new(Switch::new(words.parse().unwrap()), ordinal)
    }

    #[test]
    fn fates_depend_on_the_seed_the_session_the_direction_and_the_number() {
        let fates = |seed, ordinal, direction| {
            let words = format!("loss=30%,duplicate=20%,reorder=20%,delay=1ms..9ms,seed={seed}");
            let socket = SocketFaults::new(session(&words, ordinal));
            (0..50)
                .map(|_| socket.fate(direction))
                .collect::<Vec<Fate>>()
        };
        let first = fates(1, 0, Direction::Up);
        assert_eq!(first, fates(1, 0, Direction::Up));
        for other in [
            fates(2, 0, Direction::Up),
            fates(1, 1, Direction::Up),
            fates(1, 0, Direction::Down),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn a_cut_comes_once_in_a_session_or_on_every_socket() {
        let once = session("cut-down=frame:2", 0);
        let socket = SocketFaults::new(Arc::clone(&once));
        assert!(!socket.opened().cut);
        assert!(!socket.passed(Direction::Up).cut && !socket.passed(Direction::Down).cut);
        assert!(socket.passed(Direction::Down).cut);
        let next = SocketFaults::new(once);
        assert!(!next.opened().cut && !next.passed(Direction::Down).cut);

        let every = session("cut-every-up=frame:1", 0);
        for _ in 0..3 {
            let socket = SocketFaults::new(Arc::clone(&every));
            assert!(!socket.opened().cut && socket.passed(Direction::Up).cut);
        }
        assert!(SocketFaults::new(session("cut=frame:0", 0)).opened().cut);
    }

    #[test]
    fn random_cuts_all_come_and_each_socket_gets_further() {
        let session = session("cuts-down=200/1MB,seed=3", 0);
        let (mut cuts, mut bytes) = (0, 0);
        while bytes < 1_000_000 {
            let socket = SocketFaults::new(Arc::clone(&session));
            // A place may be where the last one was.
            while bytes < 1_000_000 {
                let step = socket.allowance(Direction::Down).min(1_000);
                bytes += step;
                if socket.carried(Direction::Down, step) {
                    cuts += 1;
                    break;
                }
            }
        }
        assert!((190..=200).contains(&cuts), "{cuts}");
    }

    #[test]
    fn another_set_counts_from_its_start() {
        let session = session("cut-down=frame:1", 0);
        let socket = SocketFaults::new(Arc::clone(&session));
        assert!(socket.passed(Direction::Down).cut);
        session.switch.set("cut-down=frame:2".parse().unwrap());
        let socket = SocketFaults::new(session);
        assert!(!socket.passed(Direction::Down).cut);
        assert!(socket.passed(Direction::Down).cut);
    }
}
