//! Messages of one direction on their way: late, doubled, out of order, or at a limited pace.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::session::Fate;

/// Messages and bytes held at most; beyond it the source has to wait.
const MESSAGES: usize = 1024;
const BYTES: usize = 4 << 20;
/// Messages held at a limited pace: few, so that the source feels it.
const PACED_MESSAGES: usize = 32;
/// How long a message waits for those that shall overtake it, if they do not come.
const OVERTAKING: Duration = Duration::from_millis(50);

/// Holds the messages of one direction until they may go on.
pub(crate) struct Lane {
    /// By place: the number of the last message before it, and whether it belongs behind that one.
    held: BTreeMap<(u64, u64), Held>,
    bytes: usize,
    offered: u64,
    /// Nothing that keeps its order is due before this.
    last_due: Instant,
    /// The pace lets nothing more pass before this.
    free: Instant,
    paced: bool,
}

struct Held {
    message: Bytes,
    due: Instant,
    /// It goes on when so many messages have come.
    overtaken_at: u64,
}

impl Lane {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            held: BTreeMap::new(),
            bytes: 0,
            offered: 0,
            last_due: now,
            free: now,
            paced: false,
        }
    }

    /// Takes a message with its fate.
    pub(crate) fn offer(&mut self, message: &Bytes, fate: Fate, now: Instant) {
        let number = self.offered;
        self.offered += 1;
        self.paced = fate.bandwidth.is_some();
        for copy in 0..u64::from(fate.copies) {
            let mut due = now + fate.delay;
            if let Some(bandwidth) = fate.bandwidth {
                self.free = self.free.max(now)
                    + Duration::from_secs_f64(message.len() as f64 / bandwidth as f64);
                due = due.max(self.free);
            }
            if fate.overtaken_by == 0 {
                self.last_due = due.max(self.last_due);
                due = self.last_due;
            }
            let overtaken_at = match fate.overtaken_by {
                0 => 0,
                others => number + others + 1,
            };
            self.bytes += message.len();
            // Messages in order have even places, those overtaken stand behind the last one that overtook them.
            let place = match fate.overtaken_by {
                0 => (number, copy),
                others => (number + others, 2 + number * 2 + copy),
            };
            self.held.insert(
                place,
                Held {
                    message: message.clone(),
                    due,
                    overtaken_at,
                },
            );
        }
    }

    /// Whether it takes another message.
    pub(crate) fn has_room(&self) -> bool {
        let messages = if self.paced { PACED_MESSAGES } else { MESSAGES };
        self.held.len() < messages && self.bytes < BYTES
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// When [`Self::pop`] has something, if nothing else comes.
    pub(crate) fn due(&self) -> Option<Instant> {
        let held = self.held.values().next()?;
        Some(match held.overtaken_at <= self.offered {
            true => held.due,
            false => held.due + OVERTAKING,
        })
    }

    /// The next message that may go on.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Bytes> {
        if self.due()? > now {
            return None;
        }
        let (_, held) = self.held.pop_first()?;
        self.bytes -= held.message.len();
        Some(held.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ON: Fate = Fate {
        copies: 1,
        delay: Duration::ZERO,
        overtaken_by: 0,
        bandwidth: None,
    };

    fn message(number: u8) -> Bytes {
        Bytes::copy_from_slice(&[number])
    }

    fn passing(lane: &mut Lane, now: Instant) -> Vec<u8> {
        std::iter::from_fn(|| lane.pop(now)).map(|m| m[0]).collect()
    }

    #[test]
    fn order_is_kept_unless_it_is_not() {
        let now = Instant::now();
        let mut lane = Lane::new(now);
        let late = Fate {
            delay: Duration::from_millis(10),
            ..ON
        };
        for (number, fate) in [(0, ON), (1, late), (2, ON)] {
            lane.offer(&message(number), fate, now);
        }
        assert_eq!(passing(&mut lane, now), [0]);
        assert_eq!(passing(&mut lane, now + late.delay), [1, 2]);

        let overtaken = Fate {
            overtaken_by: 2,
            ..ON
        };
        let twice = Fate { copies: 2, ..ON };
        let lost = Fate { copies: 0, ..ON };
        let now = now + late.delay;
        for (number, fate) in [(3, overtaken), (4, twice), (5, lost), (6, ON)] {
            lane.offer(&message(number), fate, now);
        }
        assert_eq!(passing(&mut lane, now), [4, 4, 3, 6]);

        lane.offer(&message(7), overtaken, now);
        assert_eq!(passing(&mut lane, now), [0; 0]);
        assert_eq!(passing(&mut lane, now + OVERTAKING), [7]);
        assert!(lane.is_empty() && lane.bytes == 0);
    }

    #[test]
    fn a_pace_holds_few_messages_and_lets_them_go_in_time() {
        let now = Instant::now();
        let mut lane = Lane::new(now);
        let slow = Fate {
            bandwidth: Some(10),
            ..ON
        };
        for number in 0..u8::MAX {
            if lane.has_room() {
                lane.offer(&message(number), slow, now);
            }
        }
        assert_eq!(lane.held.len(), PACED_MESSAGES);
        let second = passing(&mut lane, now + Duration::from_millis(1001)).len();
        assert_eq!(second, 10);
    }
}
