//! The incoming half: order, duplicates, a bounded reorder buffer.

use std::collections::BTreeMap;

use crate::frame::Frame;

/// Messages held back for an earlier one, at most. The reference client has the same bound.
const REORDER_FRAMES: usize = 10_000;
/// And their bytes: the reference has no such bound, so 10,000 large frames would be hundreds of megabytes.
const REORDER_BYTES: usize = 16 << 20;

/// What became of a stream message.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// The expected one: deliver it, then whatever [`Receiver::next_in_order`] gives.
    InOrder(Frame),
    /// Ahead of its turn and kept: acknowledge it.
    Kept,
    /// Seen before: acknowledge it again, the first acknowledgement may have been lost.
    Duplicate,
    /// No room to keep it: do not acknowledge, it comes again.
    Refused,
}

/// Puts stream messages in order.
#[derive(Debug, Default)]
pub(crate) struct Receiver {
    expected: i64,
    ahead: BTreeMap<i64, Frame>,
    ahead_bytes: usize,
}

impl Receiver {
    /// Sorts in a message with a non-negative sequence number. A message in order does not count as received
    /// until [`Self::advance`].
    pub(crate) fn arrived(&mut self, frame: Frame) -> Arrival {
        if frame.sequence < self.expected || self.ahead.contains_key(&frame.sequence) {
            return Arrival::Duplicate;
        }
        if frame.sequence == self.expected {
            return Arrival::InOrder(frame);
        }
        let bytes = self.ahead_bytes.saturating_add(frame.payload.len());
        if self.ahead.len() >= REORDER_FRAMES || bytes > REORDER_BYTES {
            return Arrival::Refused;
        }
        self.ahead_bytes = bytes;
        self.ahead.insert(frame.sequence, frame);
        Arrival::Kept
    }

    /// The expected message was delivered.
    pub(crate) fn advance(&mut self) {
        self.expected = self.expected.saturating_add(1);
    }

    /// The expected message, if it arrived earlier.
    pub(crate) fn next_in_order(&mut self) -> Option<Frame> {
        let frame = self.ahead.remove(&self.expected)?;
        self.ahead_bytes -= frame.payload.len();
        Some(frame)
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

    fn deliver(receiver: &mut Receiver, sequence: i64, out: &mut Vec<i64>) {
        if let Arrival::InOrder(frame) = receiver.arrived(frame(sequence)) {
            out.push(frame.sequence);
            receiver.advance();
            while let Some(next) = receiver.next_in_order() {
                out.push(next.sequence);
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
            assert!(matches!(receiver.arrived(frame(sequence)), Arrival::Kept));
        }
        assert!(matches!(receiver.arrived(frame(10_001)), Arrival::Refused));
        assert!(matches!(
            receiver.arrived(frame(i64::MAX)),
            Arrival::Refused
        ));
        assert!(matches!(receiver.arrived(frame(0)), Arrival::InOrder(_)));
    }
}
