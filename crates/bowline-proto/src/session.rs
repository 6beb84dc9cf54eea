//! [`Session`]: one end of a data channel, the state machine that users drive.
//!
//! What both roles do is here, what they work on in `core.rs`; what an end makes of a payload is in `client.rs` and
//! `agent.rs`.

use bytes::Bytes;
use tracing::{debug, trace};

use crate::agent::Agent;
use crate::cipher::{DataKey, is_sealed};
use crate::client::Client;
use crate::config::{AgentConfig, ClientConfig};
use crate::core::Core;
use crate::error::ProtocolError;
use crate::event::Event;
use crate::frame::{DigestCheck, Frame, MessageType};
use crate::payload::{PayloadType, Receipt, Size, acknowledged};
use crate::recv::{Incoming, Place, Receiver};
use crate::send::{Resend, Sender, Window};
use crate::time::Timestamp;

// Tuning.
/// Undelivered bytes at which in-order messages are refused. Drivers stop reading long before.
const MAX_BACKLOG: usize = 16 << 20;
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
                if let Role::Client(client) = &mut self.role {
                    client.pay_size(now, &mut self.core);
                }
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
            // Whether the agent is silent cannot be said without a connection.
            Role::Client(client) if self.core.offline && !client.is_closing() => {}
            Role::Client(client) => {
                client.handle_timeout(now, self.receiver.has_gap(), &mut self.core);
            }
            Role::Agent(agent) => agent.handle_timeout(now, &mut self.core),
        }
    }

    /// The connection is gone. Numbers, windows and what was received are kept, writing goes on into the window;
    /// nothing is sent until [`Self::reconnected`].
    pub fn disconnected(&mut self) {
        self.core.disconnected();
    }

    /// There is a new connection to the same session. Everything not acknowledged is sent again, the oldest first and
    /// the more of it the more is acknowledged: on a path that breaks again and again each connection must get
    /// something across. Neither end of the reference resets anything here (data-channel specification §9.1).
    pub fn reconnected(&mut self, now: Timestamp) {
        if let Role::Client(client) = &mut self.role {
            client.reconnected(now);
        }
        self.core.reconnected(now);
    }

    /// The service closed the channel. What still arrives within the grace, and what is in the events, follows.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        match &self.role {
            Role::Client(client) => client.is_closing(),
            Role::Agent(_) => self.core.closed,
        }
    }

    /// Client: what the agent said of the session's type in the handshake, as it came.
    #[must_use]
    pub fn properties(&self) -> Option<&serde_json::Value> {
        match &self.role {
            Role::Client(client) => client.properties(),
            Role::Agent(_) => None,
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
        if self.core.offline {
            return self.poll_timeout_blocked();
        }
        let ack = self.core.acks.front().map(|(due, _)| *due);
        let resend = self.core.sender.deadline().filter(|_| !self.core.paused);
        [self.poll_timeout_blocked(), ack, resend]
            .into_iter()
            .flatten()
            .min()
    }

    /// When [`Self::handle_timeout`] should be called next by a caller whose socket takes nothing at the moment: what
    /// has to be sent is due already, and waits for the socket.
    #[must_use]
    pub fn poll_timeout_blocked(&self) -> Option<Timestamp> {
        match &self.role {
            Role::Client(client) if self.core.offline && !client.is_closing() => None,
            Role::Client(client) => client.deadline(),
            Role::Agent(agent) => agent.deadline(),
        }
    }

    /// Grows with everything that gets across: a message delivered in order, one acknowledged for the first time.
    #[must_use]
    pub fn progress(&self) -> u64 {
        self.core.progress
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
        self.core.progress += 1;
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
            // A copy of its own: a few bytes that wait here must not keep alive all that the socket read along with
            // them, which a WebSocket library hands out as parts of one buffer.
            frame.payload = Bytes::copy_from_slice(&frame.payload);
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
