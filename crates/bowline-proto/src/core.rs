//! What both roles work on: the way out, the acknowledgements, and the events.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use crate::cipher::{Cipher, is_sealed};
use crate::event::Event;
use crate::frame::{Flags, Frame, MessageType};
use crate::id::{IdSource, MessageId};
use crate::payload::{PayloadType, Receipt, to_json};
use crate::send::Sender;
use crate::time::Timestamp;

// Tuning.
/// Never acknowledge sooner: the reference agent books a message after sending it and misses an acknowledgement
/// that overtakes its own bookkeeping, which costs resends and up to 2 s at the end.
const ACK_DELAY: Duration = Duration::from_millis(1);
/// Acknowledgements fall due on this grid, so that those of a burst leave together.
const ACK_GRID: Duration = Duration::from_micros(500);
/// Acknowledgements waiting to be sent, at most; the oldest go first, their messages come again.
const MAX_ACKS: usize = 20_000;
/// Bytes sent over a new connection before the first acknowledgement, but always one message.
const FIRST_CREDIT: usize = 10_000;

/// The part of a session that does not know its role.
pub(crate) struct Core {
    pub(crate) ids: IdSource,
    /// Of an encrypted session, once data may flow.
    pub(crate) cipher: Option<Cipher>,
    pub(crate) sender: Sender,
    pub(crate) stream_type: MessageType,
    pub(crate) max_payload: usize,
    /// Messages outside of the stream, sent before everything else.
    pub(crate) control: VecDeque<Bytes>,
    pub(crate) acks: VecDeque<(Timestamp, Receipt)>,
    resends: VecDeque<Bytes>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) backlog: usize,
    pub(crate) starved: bool,
    pub(crate) paused: bool,
    pub(crate) stalled: bool,
    pub(crate) closed: bool,
    /// There is no connection to send over.
    pub(crate) offline: bool,
    /// Counts what has got across, either way.
    pub(crate) progress: u64,
    /// What a new connection is tried with.
    probe: Option<Probe>,
}

/// The first messages over a new connection.
struct Probe {
    /// Sent before, not acknowledged then.
    again: VecDeque<i64>,
    /// So many bytes may be sent now, by the last message also more; each acknowledgement adds twice what it is for.
    credit: usize,
}

impl Core {
    pub(crate) fn new(
        seed: u64,
        sender: Sender,
        stream_type: MessageType,
        max_payload: usize,
    ) -> Self {
        Self {
            ids: IdSource::new(seed),
            cipher: None,
            sender,
            stream_type,
            max_payload: max_payload.max(1),
            control: VecDeque::new(),
            acks: VecDeque::new(),
            resends: VecDeque::new(),
            events: VecDeque::new(),
            backlog: 0,
            starved: false,
            paused: false,
            stalled: false,
            closed: false,
            offline: false,
            progress: 0,
            probe: None,
        }
    }

    pub(crate) fn event(&mut self, event: Event) {
        // Nothing follows the end, whatever becomes due or is asked for later.
        if self.closed {
            return;
        }
        self.closed |= matches!(event, Event::Closed { .. });
        self.backlog += event.weight();
        self.events.push_back(event);
    }

    /// The writer was told to wait and may try again.
    pub(crate) fn wake_writer(&mut self) {
        if std::mem::take(&mut self.starved) {
            self.event(Event::Writable);
        }
    }

    /// Sends a payload of data, encrypted if the session is.
    pub(crate) fn send_data(&mut self, now: Timestamp, kind: PayloadType, bytes: &[u8]) {
        let payload = match &mut self.cipher {
            Some(cipher) if is_sealed(kind) => cipher.seal(bytes),
            _ => Bytes::copy_from_slice(bytes),
        };
        self.send_stream(now, kind, payload);
    }

    pub(crate) fn send_stream(&mut self, now: Timestamp, kind: PayloadType, payload: Bytes) {
        // Neither reference serializer can produce an empty payload.
        if payload.is_empty() {
            return;
        }
        let sequence = self.sender.next_sequence();
        let first_of_agent = sequence == 0 && self.stream_type == MessageType::OutputStreamData;
        let frame = Frame {
            sequence,
            payload_type: kind.into(),
            ..Frame::control(
                self.stream_type.clone(),
                if first_of_agent {
                    Flags::SYN
                } else {
                    Flags::NONE
                },
                self.ids.next_id(),
                now,
                payload,
            )
        };
        self.sender.queue(frame.encode());
    }

    pub(crate) fn send_control(&mut self, now: Timestamp, kind: MessageType, payload: Bytes) {
        let frame = Frame::control(kind, Flags::SYN_FIN, self.ids.next_id(), now, payload);
        self.control.push_back(frame.encode());
    }

    /// Whether the send window has room for one more message.
    pub(crate) fn has_room(&self) -> bool {
        self.sender.has_room()
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.sender.is_idle()
    }

    pub(crate) fn set_paused(&mut self, paused: bool) {
        if self.paused == paused {
            return;
        }
        self.paused = paused;
        // A service that changes its mind all the time must not fill the queue: what was not seen is taken back.
        match self
            .events
            .pop_back_if(|last| matches!(last, Event::Paused(_)))
        {
            Some(unseen) => self.backlog -= unseen.weight(),
            None => self.event(Event::Paused(paused)),
        }
    }

    pub(crate) fn acknowledge(&mut self, now: Timestamp, receipt: Receipt) {
        if self.acks.len() >= MAX_ACKS {
            self.acks.pop_front();
        }
        self.acks
            .push_back(((now + ACK_DELAY).round_up(ACK_GRID), receipt));
    }

    pub(crate) fn acknowledged(&mut self, now: Timestamp, sequence: i64, may_write: bool) {
        if let Some(bytes) = self.sender.acknowledged(now, sequence) {
            if let Some(probe) = &mut self.probe {
                probe.credit += 2 * bytes;
            }
            self.progress += 1;
            self.stalled &= !self.sender.is_idle();
            if may_write && self.sender.has_room() {
                self.wake_writer();
            }
        }
    }

    pub(crate) fn disconnected(&mut self) {
        self.offline = true;
        self.resends.clear();
        self.probe = None;
    }

    pub(crate) fn reconnected(&mut self, now: Timestamp) {
        self.offline = false;
        self.set_paused(false);
        self.probe(now);
    }

    pub(crate) fn poll_transmit(&mut self, now: Timestamp) -> Option<Bytes> {
        if self.offline {
            return None;
        }
        if let Some(message) = self.control.pop_front() {
            return Some(message);
        }
        if let Some(&(_, receipt)) = self.acks.front().filter(|(due, _)| *due <= now) {
            self.acks.pop_front();
            return Some(self.acknowledgement(now, receipt));
        }
        if self.paused {
            self.sender.paused(now);
            return None;
        }
        if self.probe.is_some() {
            return self.probing(now);
        }
        if self.resends.is_empty() {
            self.resends.extend(self.sender.overdue(now));
            if self.sender.is_hopeless(now) && !self.stalled {
                self.stalled = true;
                self.event(Event::Stalled);
            }
        }
        self.resends
            .pop_front()
            .or_else(|| self.sender.next_unsent(now))
    }

    fn probe(&mut self, now: Timestamp) {
        self.probe = Some(Probe {
            again: self.sender.waiting(now),
            credit: FIRST_CREDIT,
        });
    }

    fn probing(&mut self, now: Timestamp) -> Option<Bytes> {
        if self
            .sender
            .deadline()
            .is_some_and(|deadline| deadline <= now)
        {
            // The first ones were lost: from the beginning.
            self.probe(now);
        }
        let probe = self.probe.as_mut()?;
        if probe.credit == 0 {
            return None;
        }
        while let Some(sequence) = probe.again.pop_front() {
            if let Some(message) = self.sender.again(now, sequence) {
                probe.credit = probe.credit.saturating_sub(message.len());
                return Some(message);
            }
        }
        // All of it is on its way; what is lost now is found as ever.
        self.probe = None;
        self.sender.next_unsent(now)
    }

    fn acknowledgement(&mut self, now: Timestamp, receipt: Receipt) -> Bytes {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Ack {
            acknowledged_message_type: &'static str,
            acknowledged_message_id: MessageId,
            acknowledged_message_sequence_number: i64,
            is_sequential_message: bool,
        }
        let ack = Ack {
            // What this end receives is what the other end's stream is called.
            acknowledged_message_type: match self.stream_type {
                MessageType::InputStreamData => "output_stream_data",
                _ => "input_stream_data",
            },
            acknowledged_message_id: receipt.id,
            acknowledged_message_sequence_number: receipt.sequence,
            is_sequential_message: true,
        };
        Frame::control(
            MessageType::Acknowledge,
            Flags::SYN_FIN,
            self.ids.next_id(),
            now,
            to_json(&ack),
        )
        .encode()
    }
}
