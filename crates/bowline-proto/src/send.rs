//! The outgoing half: numbering, the window of unacknowledged messages, round-trip estimate, retransmission.
//!
//! Acknowledgements are selective. The reference programs resend only their oldest unacknowledged message every
//! 100 ms, which recovers about 10 KB/s; this sender resends everything overdue, a bounded number at a time.
//! [`Resend::OldestOnly`] and [`Window::forgets`] imitate the reference, for agents that should be bug-compatible.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::time::Timestamp;

// Tuning. Round-trip constants are the reference's (identical on both of its ends).
/// Assumed round-trip time before the first sample.
const INITIAL_RTT: Duration = Duration::from_millis(100);
/// Retransmission timeout before the first sample.
const INITIAL_RTO: Duration = Duration::from_millis(200);
/// The reference's upper bound of the retransmission timeout. A path whose round trip is longer sends everything twice
/// under it, so that it binds only senders that imitate the reference.
const REFERENCE_MAX_RTO: Duration = Duration::from_secs(1);
/// Ours.
const MAX_RTO: Duration = Duration::from_secs(4);
/// Repeated resends of one message are at least this far apart in the end, however quick the path was.
const SLOWEST_RESEND: Duration = Duration::from_secs(1);
/// Least slack above the round-trip time.
const MIN_SLACK: Duration = Duration::from_millis(10);
/// Pause between two rounds of retransmission.
const RESEND_ROUND: Duration = Duration::from_millis(10);
/// Messages resent in one round at most: with 1 KiB payloads and 10 ms rounds about 6 MB/s.
const RESENDS_PER_ROUND: usize = 64;
/// Pause between two resends of the reference.
const REFERENCE_ROUND: Duration = Duration::from_millis(100);

/// A message that was not acknowledged for so long means that the peer is gone (the reference: 3,000 resends, one each
/// 100 ms).
const GIVE_UP: Duration = Duration::from_secs(300);

/// What is sent again when it was not acknowledged in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resend {
    /// Everything overdue, 64 messages per 10 ms at most.
    Overdue,
    /// The single oldest message, every 100 ms, as the reference programs do. Also theirs: what was queued during a
    /// pause goes out at this pace after it, and answers to resent messages count as round trips.
    OldestOnly,
}

/// How much may be on its way at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) frames: usize,
    pub(crate) bytes: usize,
    /// Beyond the window, messages are sent but not remembered, so that a lost one is lost for good: the reference
    /// agent does not wait for acknowledgements.
    pub(crate) forgets: bool,
}

/// A message that waits to be sent for the first time.
#[derive(Debug)]
struct Unsent {
    message: Bytes,
    remembered: bool,
}

#[derive(Debug)]
struct Outstanding {
    message: Bytes,
    /// For the first time, over this connection.
    first: Timestamp,
    sent: Timestamp,
    /// For an acknowledgement, before it is sent again.
    wait: Duration,
    resends: u32,
}

/// Numbers and remembers stream messages until they are acknowledged.
#[derive(Debug)]
pub(crate) struct Sender {
    window: Window,
    resend: Resend,
    /// Sequence number of the front of `unacked`.
    base: i64,
    unacked: VecDeque<Option<Outstanding>>,
    /// Numbered, but not yet handed to the socket.
    unsent: VecDeque<Unsent>,
    /// Messages not acknowledged, sent or not.
    in_flight: usize,
    in_flight_bytes: usize,
    estimate: RoundTrip,
    /// No message is overdue before this moment.
    earliest: Option<Timestamp>,
    /// The highest number that was acknowledged, and when something was acknowledged last.
    heard: Option<(i64, Timestamp)>,
    /// When the timeout was last found too short.
    doubled: Option<Timestamp>,
}

impl Sender {
    pub(crate) fn new(window: Window, resend: Resend) -> Self {
        Self {
            window,
            resend,
            base: 0,
            unacked: VecDeque::new(),
            unsent: VecDeque::new(),
            in_flight: 0,
            in_flight_bytes: 0,
            estimate: RoundTrip::default(),
            earliest: None,
            heard: None,
            doubled: None,
        }
    }

    /// The number of the next stream message.
    pub(crate) fn next_sequence(&self) -> i64 {
        let queued = self.unacked.len() + self.unsent.len();
        self.base
            .saturating_add(i64::try_from(queued).unwrap_or(i64::MAX))
    }

    /// Whether the window has room for one more message.
    pub(crate) fn has_room(&self) -> bool {
        // The span counts too: one lost message must not let the queue behind it grow without bound.
        let span = self.unacked.len() + self.unsent.len() < self.window.frames.saturating_mul(4);
        let unsent = self.unsent.len() < self.window.frames;
        span && (self.remembers() || (self.window.forgets && unsent))
    }

    fn remembers(&self) -> bool {
        self.in_flight < self.window.frames && self.in_flight_bytes < self.window.bytes
    }

    /// Queues a message that carries [`Self::next_sequence`].
    pub(crate) fn queue(&mut self, message: Bytes) {
        let remembered = !self.window.forgets || self.remembers();
        if remembered {
            self.in_flight += 1;
            self.in_flight_bytes += message.len();
        }
        self.unsent.push_back(Unsent {
            message,
            remembered,
        });
    }

    /// The next message to send for the first time. Its clock starts now, not when it was queued: a socket that
    /// takes its time must not look like a lossy one.
    pub(crate) fn next_unsent(&mut self, now: Timestamp) -> Option<Bytes> {
        let Unsent {
            message,
            remembered,
        } = self.unsent.pop_front()?;
        self.unacked.push_back(remembered.then(|| Outstanding {
            message: message.clone(),
            first: now,
            sent: now,
            wait: self.estimate.rto,
            resends: 0,
        }));
        if remembered {
            self.earliest.get_or_insert(now + self.estimate.rto);
        }
        self.forget_settled();
        Some(message)
    }

    /// The service holds messages back: the reference books what it does not write as sent.
    pub(crate) fn paused(&mut self, now: Timestamp) {
        if self.resend == Resend::OldestOnly {
            while self.next_unsent(now).is_some() {}
        }
    }

    /// Takes an acknowledgement. If it was for a message still waiting for one, the message's length.
    pub(crate) fn acknowledged(&mut self, now: Timestamp, sequence: i64) -> Option<usize> {
        let offset = usize::try_from(sequence.checked_sub(self.base)?).ok()?;
        let done = self.unacked.get_mut(offset)?.take()?;
        self.in_flight -= 1;
        self.in_flight_bytes -= done.message.len();
        // The answer to a resent message could belong to either copy, so it says nothing about time.
        if done.resends == 0 || self.resend == Resend::OldestOnly {
            self.estimate.sample(now - done.sent);
            let most = match self.resend {
                Resend::Overdue => MAX_RTO,
                Resend::OldestOnly => REFERENCE_MAX_RTO,
            };
            self.estimate.rto = self.estimate.rto.min(most);
        }
        let highest = self
            .heard
            .map_or(sequence, |(highest, _)| highest.max(sequence));
        self.heard = Some((highest, now));
        self.forget_settled();
        if self.unacked.is_empty() {
            self.earliest = None;
        }
        Some(done.message.len())
    }

    fn forget_settled(&mut self) {
        while matches!(self.unacked.front(), Some(None)) {
            self.unacked.pop_front();
            self.base += 1;
        }
    }

    /// The messages to send again now.
    pub(crate) fn overdue(&mut self, now: Timestamp) -> Vec<Bytes> {
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return Vec::new();
        }
        let (limit, round) = match self.resend {
            Resend::Overdue => (RESENDS_PER_ROUND, RESEND_ROUND),
            Resend::OldestOnly => (1, REFERENCE_ROUND),
        };
        let rto = self.estimate.rto;
        let mut again = Vec::new();
        let mut earliest: Option<Timestamp> = None;
        let mut too_short = false;
        for (sequence, slot) in (self.base..).zip(&mut self.unacked) {
            let Some(outstanding) = slot else { continue };
            let due = match self.resend {
                Resend::Overdue => {
                    // While what was sent before is acknowledged bit by bit, the rest is on its way: a slow path, not
                    // a lossy one. Only what was passed over may be lost.
                    let since = match self.heard {
                        Some((highest, at)) if highest < sequence => outstanding.sent.max(at),
                        _ => outstanding.sent,
                    };
                    since + outstanding.wait
                }
                Resend::OldestOnly => outstanding.sent + rto,
            };
            if due <= now && again.len() < limit {
                too_short |= outstanding.resends == 0;
                outstanding.wait = (outstanding.wait * 2).min(SLOWEST_RESEND.max(outstanding.wait));
                outstanding.sent = now;
                outstanding.resends = outstanding.resends.saturating_add(1);
                again.push(outstanding.message.clone());
                continue;
            }
            earliest = Some(earliest.map_or(due, |other| other.min(due)));
            if self.resend == Resend::OldestOnly || again.len() == limit {
                break;
            }
        }
        if too_short && self.resend == Resend::Overdue {
            self.back_off(now);
        }
        let waiting = earliest.is_some() || !again.is_empty();
        self.earliest = waiting.then(|| earliest.unwrap_or(now + rto).max(now + round));
        again
    }

    /// Until an answer tells the round-trip time, new messages wait longer too: with a timeout below it everything would
    /// be sent twice, and no answer would ever belong to one copy only.
    fn back_off(&mut self, now: Timestamp) {
        let rto = self.estimate.rto;
        if self.doubled.is_none_or(|at| at + rto <= now) {
            self.doubled = Some(now);
            self.estimate.rto = (rto * 2).min(MAX_RTO.max(rto));
        }
    }

    /// The numbers of all messages that were sent and wait for their acknowledgement: over a new connection they are
    /// sent again, since whatever was on its way over the old one is gone.
    pub(crate) fn waiting(&mut self, now: Timestamp) -> VecDeque<i64> {
        self.earliest = (!self.unacked.is_empty()).then(|| now + self.estimate.rto);
        let slots = (self.base..).zip(&self.unacked);
        slots
            .filter(|(_, slot)| slot.is_some())
            .map(|(sequence, _)| sequence)
            .collect()
    }

    /// The message with this number to send again, if it still waits for its acknowledgement.
    pub(crate) fn again(&mut self, now: Timestamp, sequence: i64) -> Option<Bytes> {
        let offset = usize::try_from(sequence.checked_sub(self.base)?).ok()?;
        let outstanding = self.unacked.get_mut(offset)?.as_mut()?;
        (outstanding.first, outstanding.sent) = (now, now);
        outstanding.wait = self.estimate.rto;
        outstanding.resends = outstanding.resends.saturating_add(1);
        Some(outstanding.message.clone())
    }

    /// When [`Self::overdue`] should be asked again.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        self.earliest
    }

    /// Everything was acknowledged.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight == 0
    }

    /// Bytes of messages waiting for their acknowledgement.
    pub(crate) fn bytes_in_flight(&self) -> usize {
        self.in_flight_bytes
    }

    /// The oldest message has waited so long that the peer must be gone.
    pub(crate) fn is_hopeless(&self, now: Timestamp) -> bool {
        let mut waiting = self.unacked.iter().flatten();
        waiting
            .next()
            .is_some_and(|oldest| oldest.first + GIVE_UP <= now)
    }
}

/// The reference's estimator (data-channel specification §5.4), but fed only by messages sent once.
#[derive(Debug)]
struct RoundTrip {
    rtt: Duration,
    variation: Duration,
    rto: Duration,
}

impl Default for RoundTrip {
    fn default() -> Self {
        Self {
            rtt: INITIAL_RTT,
            variation: Duration::ZERO,
            rto: INITIAL_RTO,
        }
    }
}

impl RoundTrip {
    fn sample(&mut self, sample: Duration) {
        let error = self.rtt.abs_diff(sample);
        self.variation = (self.variation * 3 + error) / 4;
        self.rtt = (self.rtt * 7 + sample) / 8;
        self.rto = self.rtt + (self.variation * 4).max(MIN_SLACK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(resend: Resend) -> Sender {
        Sender::new(
            Window {
                frames: 1000,
                bytes: 2 << 20,
                forgets: false,
            },
            resend,
        )
    }

    fn message(n: u8) -> Bytes {
        Bytes::from(vec![n; 10])
    }

    #[test]
    fn all_overdue_messages_are_resent_and_only_once_per_timeout() {
        let (mut sender, start) = (sender(Resend::Overdue), Timestamp::from_millis(1000));
        for n in 0..10 {
            sender.queue(message(n));
            sender.next_unsent(start);
        }
        assert!(
            sender
                .overdue(start + Duration::from_millis(199))
                .is_empty()
        );
        assert_eq!(sender.overdue(start + Duration::from_millis(200)).len(), 10);
        assert!(
            sender
                .overdue(start + Duration::from_millis(300))
                .is_empty()
        );
    }

    #[test]
    fn the_reference_resends_one_message_per_round() {
        let (mut sender, start) = (sender(Resend::OldestOnly), Timestamp::from_millis(1000));
        for n in 0..10 {
            sender.queue(message(n));
            sender.next_unsent(start);
        }
        assert_eq!(
            sender.overdue(start + Duration::from_millis(250)),
            [message(0)]
        );
    }

    #[test]
    fn acknowledgements_are_selective_and_foreign_ones_change_nothing() {
        let (mut sender, start) = (sender(Resend::Overdue), Timestamp::from_millis(1000));
        for n in 0..3 {
            sender.queue(message(n));
            sender.next_unsent(start);
        }
        assert!(sender.acknowledged(start, 2).is_some());
        for foreign in [2, 3, -1, i64::MAX, i64::MIN] {
            assert!(sender.acknowledged(start, foreign).is_none(), "{foreign}");
        }
        assert_eq!(
            sender.overdue(start + Duration::from_millis(200)),
            [message(0), message(1)]
        );
        assert!(sender.acknowledged(start, 0).is_some() && sender.acknowledged(start, 1).is_some());
        assert!(sender.is_idle() && sender.deadline().is_none());
        assert_eq!(sender.next_sequence(), 3);
    }

    #[test]
    fn the_reference_sends_beyond_its_buffer_and_forgets() {
        let start = Timestamp::from_millis(1000);
        let window = Window {
            frames: 2,
            bytes: 1 << 20,
            forgets: true,
        };
        let mut sender = Sender::new(window, Resend::Overdue);
        for n in 0..3 {
            assert!(sender.has_room());
            sender.queue(message(n));
            assert_eq!(sender.next_unsent(start), Some(message(n)));
        }
        assert_eq!(
            sender.overdue(start + Duration::from_secs(1)),
            [message(0), message(1)]
        );
        assert!(sender.acknowledged(start, 0).is_some() && sender.acknowledged(start, 1).is_some());
        assert!(sender.acknowledged(start, 2).is_none() && sender.is_idle());
        assert_eq!(sender.next_sequence(), 3);
        sender.queue(message(3));
        sender.next_unsent(start);
        assert!(sender.acknowledged(start, 3).is_some() && sender.deadline().is_none());
    }

    #[test]
    fn a_burst_of_losses_is_recovered_within_a_second() {
        let (mut sender, mut now) = (sender(Resend::Overdue), Timestamp::from_millis(1000));
        let start = now;
        for _ in 0..1000 {
            sender.queue(Bytes::from(vec![0; 1024]));
            sender.next_unsent(now);
        }
        let mut again = 0;
        while again < 1000 {
            now = sender.deadline().unwrap();
            again += sender.overdue(now).len();
        }
        assert!(now - start < Duration::from_secs(1), "{:?}", now - start);
    }

    #[test]
    fn the_estimate_follows_the_reference_formula() {
        let mut trip = RoundTrip::default();
        trip.sample(Duration::from_millis(20));
        assert_eq!(trip.variation, Duration::from_millis(20));
        assert_eq!(trip.rtt, Duration::from_millis(90));
        assert_eq!(trip.rto, Duration::from_millis(170));
    }
}
