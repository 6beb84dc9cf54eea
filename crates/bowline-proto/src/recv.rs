//! The incoming half: order, duplicates, a bounded reorder buffer.

use std::collections::BTreeMap;

use crate::frame::Frame;

/// Messages held back for an earlier one, at most. The reference client has the same bound.
const REORDER_FRAMES: usize = 10_000;
/// And their bytes: the reference has no such bound, so 10,000 large frames would be hundreds of megabytes.
const REORDER_BYTES: usize = 16 << 20;

/// Where a stream message belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The expected one: deliver it, then whatever [`Receiver::next_in_order`] gives.
    InOrder,
    /// Ahead of its turn: [`Receiver::keep`] and acknowledge it.
    Ahead,
    /// Kept already: acknowledge it again.
    Kept,
    /// Delivered before: acknowledge it again, the first acknowledgement may have been lost.
    Delivered,
    /// No room to keep it: do not acknowledge, it comes again.
    Refused,
}

/// A stream message that arrived.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) frame: Frame,
    /// Its payload was decrypted.
    pub(crate) opened: bool,
}

/// Puts stream messages in order.
#[derive(Debug, Default)]
pub(crate) struct Receiver {
    expected: i64,
    ahead: BTreeMap<i64, Incoming>,
    ahead_bytes: usize,
}

impl Receiver {
    /// Says where a message with a non-negative sequence number belongs. A message in order does not count as
    /// received until [`Self::advance`].
    pub(crate) fn place(&self, frame: &Frame) -> Place {
        if frame.sequence < self.expected {
            return Place::Delivered;
        }
        if self.ahead.contains_key(&frame.sequence) {
            return Place::Kept;
        }
        if frame.sequence == self.expected {
            return Place::InOrder;
        }
        let bytes = self.ahead_bytes.saturating_add(frame.payload.len());
        match self.ahead.len() >= REORDER_FRAMES || bytes > REORDER_BYTES {
            true => Place::Refused,
            false => Place::Ahead,
        }
    }

    /// Keeps a message that is [`Place::Ahead`] until its turn.
    pub(crate) fn keep(&mut self, incoming: Incoming) {
        self.ahead_bytes += incoming.frame.payload.len();
        self.ahead.insert(incoming.frame.sequence, incoming);
    }

    /// The expected message was delivered.
    pub(crate) fn advance(&mut self) {
        self.expected = self.expected.saturating_add(1);
    }

    /// The expected message, if it arrived earlier.
    pub(crate) fn next_in_order(&mut self) -> Option<Incoming> {
        let incoming = self.ahead.remove(&self.expected)?;
        self.ahead_bytes -= incoming.frame.payload.len();
        Some(incoming)
    }

    /// Messages are waiting for one that did not arrive.
    pub(crate) fn has_gap(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Payload bytes held back.
    pub(crate) fn bytes_held(&self) -> usize {
        self.ahead_bytes
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::frame::{Flags, MessageType};
    use crate::id::MessageId;
    use crate::time::Timestamp;

    fn frame(sequence: i64) -> Frame {
        let now = Timestamp::from_millis(1);
        let id = MessageId::from_bytes([0; 16]);
        Frame {
            sequence,
            ..Frame::control(
                MessageType::OutputStreamData,
                Flags::NONE,
                id,
                now,
                Bytes::from_static(b"x"),
            )
        }
    }

    fn arrive(receiver: &mut Receiver, sequence: i64) -> Place {
        let frame = frame(sequence);
        let place = receiver.place(&frame);
        if place == Place::Ahead {
            let opened = false;
            receiver.keep(Incoming { frame, opened });
        }
        place
    }

    fn deliver(receiver: &mut Receiver, sequence: i64, out: &mut Vec<i64>) {
        if arrive(receiver, sequence) == Place::InOrder {
            out.push(sequence);
            receiver.advance();
            while let Some(next) = receiver.next_in_order() {
                out.push(next.frame.sequence);
                receiver.advance();
            }
        }
    }

    proptest! {
        #[test]
        fn any_order_with_duplicates_comes_out_once_and_in_order(mut arrivals in prop::collection::vec(0_i64..60, 0..200)) {
            arrivals.extend(0..60);
            let (mut receiver, mut out) = (Receiver::default(), Vec::new());
            for sequence in arrivals {
                deliver(&mut receiver, sequence, &mut out);
            }
            prop_assert_eq!(out, (0..60).collect::<Vec<_>>());
            prop_assert!(!receiver.has_gap());
            prop_assert_eq!(receiver.bytes_held(), 0);
        }
    }

    #[test]
    fn the_reorder_buffer_is_bounded() {
        let mut receiver = Receiver::default();
        for sequence in 1..=10_000 {
            assert_eq!(arrive(&mut receiver, sequence), Place::Ahead);
        }
        assert_eq!(arrive(&mut receiver, 10_000), Place::Kept);
        for ahead in [10_001, i64::MAX] {
            assert_eq!(arrive(&mut receiver, ahead), Place::Refused);
        }
        assert_eq!(arrive(&mut receiver, 0), Place::InOrder);
    }
}
