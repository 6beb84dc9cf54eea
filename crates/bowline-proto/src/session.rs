//! [`Session`]: one end of a data channel, the state machine that users drive.
//!
//! What both roles share is here; what an end makes of a payload is in `client.rs` and `agent.rs`.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tracing::{debug, trace};

use crate::agent::Agent;
use crate::cipher::{Cipher, DataKey, is_sealed};
use crate::client::Client;
use crate::config::{AgentConfig, ClientConfig};
use crate::error::ProtocolError;
use crate::event::Event;
use crate::frame::{DigestCheck, Flags, Frame, MessageType};
use crate::id::{IdSource, MessageId};
use crate::payload::{PayloadType, Receipt, Size, acknowledged, to_json};
use crate::recv::{Incoming, Place, Receiver};
use crate::send::{Resend, Sender, Window};
use crate::time::Timestamp;

// Tuning.
/// Never acknowledge sooner: the reference agent books a message after sending it and misses an acknowledgement
/// that overtakes its own bookkeeping, which costs resends and up to 2 s at the end.
const ACK_DELAY: Duration = Duration::from_millis(1);
/// Acknowledgements fall due on this grid, so that those of a burst leave together.
const ACK_GRID: Duration = Duration::from_micros(500);
/// Acknowledgements waiting to be sent, at most; the oldest go first, their messages come again.
const MAX_ACKS: usize = 20_000;
/// Undelivered bytes at which in-order messages are refused. Drivers stop reading long before.
const MAX_BACKLOG: usize = 16 << 20;
/// Messages sent over a new connection before the first acknowledgement.
const FIRST_CREDIT: usize = 8;
/// Copies of one message that may fail to open before the client gives up: so often nobody changes it on its way.
const UNREADABLE_COPIES: u32 = 10;

pub(crate) enum Role {
    Client(Client),
    Agent(Agent),
}

/// One end of a data channel.
pub struct Session {
    role: Role,
    core: Core,
    receiver: Receiver,
    reacknowledge: bool,
    /// How often the expected message did not open.
    unreadable: u32,
}

/// What both roles work on: the way out, and the events.
pub(crate) struct Core {
    pub(crate) ids: IdSource,
    /// Of an encrypted session, once data may flow.
    pub(crate) cipher: Option<Cipher>,
    sender: Sender,
    stream_type: MessageType,
    max_payload: usize,
    /// Messages outside of the stream, sent before everything else.
    control: VecDeque<Bytes>,
    acks: VecDeque<(Timestamp, Receipt)>,
    resends: VecDeque<Bytes>,
    events: VecDeque<Event>,
    backlog: usize,
    starved: bool,
    paused: bool,
    stalled: bool,
    closed: bool,
    /// There is no connection to send over.
    offline: bool,
    /// What a new connection is tried with.
    probe: Option<Probe>,
}

/// The first messages over a new connection.
struct Probe {
    /// Sent before, not acknowledged then.
    again: VecDeque<i64>,
    /// So many messages may be sent now; each acknowledgement adds two.
    credit: usize,
}

impl Session {
    /// The client end, just connected; the open message is sent by the driver.
    #[must_use]
    pub fn client(config: ClientConfig, now: Timestamp) -> Self {
        let window = Window {
            frames: 1000,
            bytes: 1 << 20,
            forgets: false,
        };
        let sender = Sender::new(window, Resend::Overdue);
        let mut core = Core::new(
            config.seed,
            sender,
            MessageType::InputStreamData,
            config.max_payload,
        );
        let client = Client::new(config, now, &mut core);
        Self {
            role: Role::Client(client),
            core,
            receiver: Receiver::default(),
            reacknowledge: true,
            unreadable: 0,
        }
    }

    /// The agent end, just connected.
    #[must_use]
    pub fn agent(config: AgentConfig, now: Timestamp) -> Self {
        let window = Window {
            frames: config.window,
            bytes: 64 << 20,
            forgets: config.forgets,
        };
        let sender = Sender::new(window, config.resend);
        let mut core = Core::new(
            config.seed,
            sender,
            MessageType::OutputStreamData,
            config.max_payload,
        );
        let reacknowledge = config.reacknowledge;
        let agent = Agent::new(config, now, &mut core);
        Self {
            role: Role::Agent(agent),
            core,
            receiver: Receiver::default(),
            reacknowledge,
            unreadable: 0,
        }
    }

    /// Takes one WebSocket message from the peer or the service.
    ///
    /// # Errors
    /// When the message is unusable. The session goes on; callers log it.
    pub fn receive(&mut self, now: Timestamp, message: &Bytes) -> Result<(), ProtocolError> {
        if self.core.closed {
            return Ok(());
        }
        let check = match self.role {
            Role::Client(_) => DigestCheck::Enforce,
            // The reference agent never looks at the digest.
            Role::Agent(_) => DigestCheck::Ignore,
        };
        let frame = Frame::decode(message, check)?;
        trace!(
            kind = frame.message_type.as_str(),
            sequence = frame.sequence,
            length = frame.payload.len(),
            "received"
        );
        match (&frame.message_type, &self.role) {
            (MessageType::OutputStreamData, Role::Client(_))
            | (MessageType::InputStreamData, Role::Agent(_)) => {
                self.core.set_paused(false);
                self.stream(now, frame)
            }
            (MessageType::Acknowledge, _) => {
                let sequence = acknowledged(&frame.payload)?;
                self.core.set_paused(false);
                let may_write = self.may_write();
                self.core.acknowledged(now, sequence, may_write);
                // An agent that drains may just have been acknowledged its last message.
                self.handle_timeout(now);
                Ok(())
            }
            (MessageType::PausePublication, _) => {
                self.core.set_paused(true);
                Ok(())
            }
            (MessageType::StartPublication, _) => {
                self.core.set_paused(false);
                Ok(())
            }
            (MessageType::ChannelClosed, _) => {
                self.channel_closed(now, &frame);
                Ok(())
            }
            // Unknown types are logged and passed over by both reference programs.
            _ => Ok(()),
        }
    }

    /// Queues bytes as stream messages and says how many it took. Less than all of them, or none, means that the
    /// window is full or the peer not ready: wait for [`Event::Writable`] or [`Event::Established`].
    pub fn write(&mut self, now: Timestamp, kind: PayloadType, bytes: &[u8]) -> usize {
        if !self.may_write() {
            self.core.starved = true;
            return 0;
        }
        let mut taken = 0;
        for chunk in bytes.chunks(self.core.max_payload) {
            if !self.core.sender.has_room() {
                self.core.starved = true;
                break;
            }
            self.core.send_data(now, kind, chunk);
            taken += chunk.len();
        }
        if let Role::Client(client) = &mut self.role {
            client.wrote(taken);
        }
        taken
    }

    /// Answers [`Event::KeyWanted`] or [`Event::KeyOffered`] with the session's data key. `ciphertext` is what KMS
    /// returned along with it; an agent received it from the client and ignores it here. Only the first answer to an
    /// event counts: later ones, and ones that nobody asked for, change nothing.
    pub fn provide_key(&mut self, now: Timestamp, key: &DataKey, ciphertext: &[u8]) {
        match &mut self.role {
            Role::Client(client) => client.provide_key(now, key, ciphertext, &mut self.core),
            Role::Agent(agent) => agent.provide_key(now, key, &mut self.core),
        }
        self.key_settled(now);
    }

    /// Answers [`Event::KeyWanted`] or [`Event::KeyOffered`]: there is no key, and no session. The client tells the
    /// agent why. [`Event::Refused`] follows.
    pub fn refuse_key(&mut self, now: Timestamp, reason: &str) {
        match &mut self.role {
            Role::Client(client) => client.refuse_key(now, reason, &mut self.core),
            Role::Agent(agent) => agent.refuse_key(reason, &mut self.core),
        }
        self.key_settled(now);
    }

    /// Client: announces the terminal size, also unchanged: the service counts it as activity.
    pub fn resize(&mut self, now: Timestamp, size: Size) {
        if let Role::Client(client) = &mut self.role {
            client.resize(now, size, &mut self.core);
        }
    }

    /// Agent: whether input can be taken. While it cannot, input is neither acknowledged nor kept.
    pub fn set_ready(&mut self, ready: bool) {
        if let Role::Agent(agent) = &mut self.role {
            agent.set_ready(ready);
        }
    }

    /// Agent: all output was written. [`Event::Finished`] follows when it was acknowledged, within 2 s.
    pub fn finish(&mut self, now: Timestamp) {
        if let Role::Agent(agent) = &mut self.role {
            agent.finish(now);
            agent.handle_timeout(now, &mut self.core);
        }
    }

    /// Tells the session that a deadline of [`Self::poll_timeout`] has passed.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        match &mut self.role {
            Role::Client(client) => {
                client.handle_timeout(now, self.receiver.has_gap(), &mut self.core);
            }
            Role::Agent(agent) => agent.handle_timeout(now, &mut self.core),
        }
    }

    /// The connection is gone. Numbers, windows and what was received are kept, writing goes on into the window;
    /// nothing is sent until [`Self::reconnected`].
    pub fn disconnected(&mut self) {
        self.core.offline = true;
        self.core.resends.clear();
        self.core.probe = None;
    }

    /// There is a new connection to the same session. Everything not acknowledged is sent again, the oldest first and
    /// the more of it the more is acknowledged: on a path that breaks again and again each connection must get
    /// something across. Neither end of the reference resets anything here (data-channel specification §9.1).
    pub fn reconnected(&mut self, now: Timestamp) {
        self.core.offline = false;
        self.core.set_paused(false);
        self.core.probe(now);
    }

    /// The service closed the channel. What still arrives within the grace, and what is in the events, follows.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        match &self.role {
            Role::Client(client) => client.is_closing(),
            Role::Agent(_) => self.core.closed,
        }
    }

    /// The next message to send, as one binary WebSocket message.
    pub fn poll_transmit(&mut self, now: Timestamp) -> Option<Bytes> {
        self.core.poll_transmit(now)
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.core.events.pop_front()?;
        self.core.backlog -= event.weight();
        Some(event)
    }

    /// When [`Self::handle_timeout`] and [`Self::poll_transmit`] should be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let role = match &self.role {
            Role::Client(client) => client.deadline(),
            Role::Agent(agent) => agent.deadline(),
        };
        if self.core.offline {
            return role;
        }
        let ack = self.core.acks.front().map(|(due, _)| *due);
        let resend = self.core.sender.deadline().filter(|_| !self.core.paused);
        [role, ack, resend].into_iter().flatten().min()
    }

    /// Bytes in events not yet taken. A driver stops reading its socket while this is large.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.core.backlog
    }

    /// Bytes held in all buffers of this end.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.core.backlog + self.core.sender.bytes_in_flight() + self.receiver.bytes_held()
    }

    /// Everything written was acknowledged.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.core.sender.is_idle()
    }

    /// The service said that the other end is away.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.core.paused
    }

    fn may_write(&self) -> bool {
        match &self.role {
            Role::Client(client) => client.may_write(),
            Role::Agent(agent) => agent.may_write(),
        }
    }

    fn stream(&mut self, now: Timestamp, frame: Frame) -> Result<(), ProtocolError> {
        if frame.sequence < 0 {
            return Err(ProtocolError::Sequence(frame.sequence));
        }
        let receipt = Receipt {
            id: frame.id,
            sequence: frame.sequence,
        };
        match self.receiver.place(&frame) {
            Place::Refused => return Err(ProtocolError::Overflow),
            Place::Delivered if !self.reacknowledge => return Ok(()),
            Place::Delivered | Place::Kept => {
                self.core.acknowledge(now, receipt);
                return Ok(());
            }
            Place::Ahead => {
                // Opened now: once it is acknowledged, an intact copy would no longer come.
                let incoming = self.open(frame)?;
                self.receiver.keep(incoming);
                self.core.acknowledge(now, receipt);
                return Ok(());
            }
            Place::InOrder if self.core.backlog > MAX_BACKLOG => {
                return Err(ProtocolError::Overflow);
            }
            Place::InOrder if !self.is_ready() => return Ok(()),
            Place::InOrder => {}
        }
        let incoming = match self.open(frame) {
            Ok(incoming) => incoming,
            Err(error) => {
                self.expected_is_unreadable();
                return Err(error);
            }
        };
        self.core.acknowledge(now, receipt);
        let delivered = self.deliver(now, incoming);
        let kept = self.deliver_kept(now);
        // What a close was waiting for may just have arrived.
        self.handle_timeout(now);
        delivered.and(kept)
    }

    /// While the key was missing, nothing was delivered.
    fn key_settled(&mut self, now: Timestamp) {
        if let Err(error) = self.deliver_kept(now) {
            debug!(%error, "unusable message that was kept until the key came");
        }
        self.handle_timeout(now);
    }

    fn deliver_kept(&mut self, now: Timestamp) -> Result<(), ProtocolError> {
        let mut result = Ok(());
        while self.is_ready()
            && let Some(next) = self.receiver.next_in_order()
        {
            let delivered = self.deliver(now, next);
            result = result.and(delivered);
        }
        result
    }

    /// A message counts as received even if its payload is bad: without that nothing after it would ever arrive.
    fn deliver(&mut self, now: Timestamp, incoming: Incoming) -> Result<(), ProtocolError> {
        self.receiver.advance();
        self.unreadable = 0;
        // What came before there was a key was kept as it was.
        let frame = match incoming.opened {
            true => incoming.frame,
            false => self.open(incoming.frame)?.frame,
        };
        match &mut self.role {
            Role::Client(client) => client.deliver(now, &frame, &mut self.core),
            Role::Agent(agent) => agent.deliver(now, &frame, &mut self.core),
        }
    }

    /// Decrypts the payload if it is one of an encrypted session. What does not open is treated as lost on the way,
    /// as a wrong digest is: it is not acknowledged, and the sender's next copy may be intact.
    fn open(&self, mut frame: Frame) -> Result<Incoming, ProtocolError> {
        let kind = PayloadType::from(frame.payload_type);
        let Some(cipher) = self.core.cipher.as_ref().filter(|_| is_sealed(kind)) else {
            let opened = false;
            return Ok(Incoming { frame, opened });
        };
        frame.payload = cipher
            .open(&frame.payload)
            .map_err(|_| ProtocolError::Decrypt(frame.sequence))?;
        let opened = true;
        Ok(Incoming { frame, opened })
    }

    /// The agent resends for ever, and nothing after the message can be delivered: after some copies that is the end.
    fn expected_is_unreadable(&mut self) {
        self.unreadable += 1;
        if let Role::Client(client) = &mut self.role
            && self.unreadable == UNREADABLE_COPIES
        {
            client.give_up(&mut self.core);
        }
    }

    fn is_ready(&self) -> bool {
        match &self.role {
            Role::Client(client) => client.is_ready(),
            Role::Agent(agent) => agent.is_ready(),
        }
    }

    fn channel_closed(&mut self, now: Timestamp, frame: &Frame) {
        // A payload that cannot be read still closes the channel.
        let closed: crate::ChannelClosed =
            serde_json::from_slice(&frame.payload).unwrap_or_default();
        let output = closed.output.unwrap_or_default();
        match &mut self.role {
            Role::Client(client) => {
                client.channel_closed(now, output, self.receiver.has_gap(), &mut self.core);
            }
            Role::Agent(_) => self.core.event(Event::Closed {
                output,
                complete: true,
            }),
        }
    }
}

impl Core {
    fn new(seed: u64, sender: Sender, stream_type: MessageType, max_payload: usize) -> Self {
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
            probe: None,
        }
    }

    pub(crate) fn event(&mut self, event: Event) {
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
    fn send_data(&mut self, now: Timestamp, kind: PayloadType, bytes: &[u8]) {
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

    fn set_paused(&mut self, paused: bool) {
        if self.paused != paused {
            self.paused = paused;
            self.event(Event::Paused(paused));
        }
    }

    fn acknowledge(&mut self, now: Timestamp, receipt: Receipt) {
        if self.acks.len() >= MAX_ACKS {
            self.acks.pop_front();
        }
        self.acks
            .push_back(((now + ACK_DELAY).round_up(ACK_GRID), receipt));
    }

    fn acknowledged(&mut self, now: Timestamp, sequence: i64, may_write: bool) {
        if self.sender.acknowledged(now, sequence) {
            if let Some(probe) = &mut self.probe {
                probe.credit += 2;
            }
            self.stalled &= !self.sender.is_idle();
            if may_write && self.sender.has_room() {
                self.wake_writer();
            }
        }
    }

    fn poll_transmit(&mut self, now: Timestamp) -> Option<Bytes> {
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
            if self.sender.is_hopeless() && !self.stalled {
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
        let credit = probe.credit.checked_sub(1)?;
        while let Some(sequence) = probe.again.pop_front() {
            if let Some(message) = self.sender.again(now, sequence) {
                probe.credit = credit;
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
