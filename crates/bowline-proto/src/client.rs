//! The client's side of a session: when it may speak, and what it makes of the agent's payloads.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tracing::debug;

use crate::cipher::{Cipher, DataKey};
use crate::config::ClientConfig;
use crate::core::Core;
use crate::error::ProtocolError;
use crate::event::Event;
use crate::frame::Frame;
use crate::handshake::{
    HandshakeComplete, HandshakeRequest, HandshakeResponse, KeyAnswer, SessionType,
};
use crate::payload::{EncryptionChallenge, Flag, PayloadType, Size, exit_code, from_json, to_json};
use crate::time::Timestamp;

/// How long a missing message may still arrive after the channel was closed.
const CLOSE_GRACE: Duration = Duration::from_millis(500);
/// Actions of a handshake at most. Agents ask for one or two; each takes some hundred bytes of answer.
const MAX_ACTIONS: usize = 16;

#[derive(Debug)]
enum State {
    /// Nothing came yet: whether there will be a handshake is not known. It is taken not to come after the deadline.
    Opening {
        deadline: Option<Timestamp>,
    },
    /// Asked for encryption; the caller was asked for the key. Nothing is delivered meanwhile.
    AwaitingKey(HandshakeRequest),
    /// Answered; the agent throws input away until it has completed the handshake.
    Handshaking {
        version: String,
        session_type: Option<SessionType>,
        challenged: bool,
    },
    Running,
    /// The handshake failed; the agent or the service closes the channel.
    Refused,
    /// The channel was closed while a message was missing.
    Closing {
        output: String,
        deadline: Timestamp,
    },
    Closed,
}

pub(crate) struct Client {
    version: String,
    size: Option<Size>,
    state: State,
    /// The agent sent stream messages.
    heard: bool,
    /// Input was sent.
    wrote: bool,
    /// For the agent to say something, before it is taken to say nothing.
    patience: Option<Duration>,
    /// The size changed while the window was full.
    owes_size: bool,
    /// What the agent says about the session's type.
    properties: Option<Value>,
}

impl Client {
    pub(crate) fn new(config: ClientConfig, now: Timestamp, core: &mut Core) -> Self {
        let mut client = Self {
            version: config.client_version,
            size: None,
            state: State::Opening {
                deadline: config.speak_after.map(|patience| now + patience),
            },
            heard: false,
            wrote: false,
            patience: config.speak_after,
            owes_size: false,
            properties: None,
        };
        if let Some(size) = config.size {
            client.resize(now, size, core);
        }
        client
    }

    /// Input before the agent's first word is held back: were a handshake to follow, the agent would acknowledge
    /// and forget it.
    pub(crate) fn may_write(&self) -> bool {
        matches!(self.state, State::Running)
    }

    pub(crate) fn properties(&self) -> Option<&Value> {
        self.properties.as_ref()
    }

    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.state, State::Closing { .. } | State::Closed)
    }

    pub(crate) fn wrote(&mut self, bytes: usize) {
        self.wrote |= bytes > 0;
    }

    pub(crate) fn is_ready(&self) -> bool {
        !matches!(self.state, State::AwaitingKey(_))
    }

    pub(crate) fn resize(&mut self, now: Timestamp, size: Size, core: &mut Core) {
        self.size = Some(size);
        // A size sent too early is only lost to a handshake, after which it is sent again.
        if matches!(self.state, State::Opening { .. } | State::Running) {
            self.owes_size = !core.has_room();
            if !self.owes_size {
                core.send_stream(now, PayloadType::Size, to_json(&size));
            }
        }
    }

    /// There may be room for the size now.
    pub(crate) fn pay_size(&mut self, now: Timestamp, core: &mut Core) {
        if let Some(size) = self.size.filter(|_| self.owes_size) {
            self.resize(now, size, core);
        }
    }

    /// While there was no connection the agent could not say anything.
    pub(crate) fn reconnected(&mut self, now: Timestamp) {
        if let State::Opening { deadline } = &mut self.state {
            *deadline = self.patience.map(|patience| now + patience);
        }
    }

    pub(crate) fn deliver(
        &mut self,
        now: Timestamp,
        frame: &Frame,
        core: &mut Core,
    ) -> Result<(), ProtocolError> {
        let kind = PayloadType::from(frame.payload_type);
        let first = !std::mem::replace(&mut self.heard, true);
        // Spoken first, the agent may still ask.
        let may_ask = matches!(self.state, State::Opening { .. })
            || (first && matches!(self.state, State::Running));
        if matches!(self.state, State::Refused) {
            debug!(?kind, "passed over after a failed handshake");
            return Ok(());
        }
        match kind {
            PayloadType::HandshakeRequest if may_ask => self.asked(now, &frame.payload, core),
            PayloadType::HandshakeRequest => {
                Err(ProtocolError::Handshake("a second request".to_owned()))
            }
            PayloadType::EncChallengeRequest => self.challenge(now, &frame.payload, core),
            PayloadType::HandshakeComplete => self.complete(now, &frame.payload, core),
            PayloadType::Output => {
                self.established(None, None, core);
                core.event(Event::Output(frame.payload.clone()));
                Ok(())
            }
            PayloadType::StdErr => {
                self.established(None, None, core);
                core.event(Event::StdErr(frame.payload.clone()));
                Ok(())
            }
            PayloadType::ExitCode => {
                let code = exit_code(&frame.payload).ok_or_else(|| ProtocolError::Payload {
                    what: "exit code",
                    reason: "not of the form EXIT_CODE: n".to_owned(),
                })?;
                core.event(Event::ExitCode(code));
                Ok(())
            }
            PayloadType::Flag => {
                core.event(Event::Flag(Flag::decode(&frame.payload)?));
                Ok(())
            }
            other => {
                debug!(?other, "payload type passed over");
                Ok(())
            }
        }
    }

    pub(crate) fn channel_closed(
        &mut self,
        now: Timestamp,
        output: String,
        gap: bool,
        core: &mut Core,
    ) {
        match self.state {
            State::Closing { .. } | State::Closed => {}
            _ if gap => {
                self.state = State::Closing {
                    output,
                    deadline: now + CLOSE_GRACE,
                }
            }
            _ => self.close(output, true, core),
        }
    }

    /// What the agent sends does not open, however often it comes.
    pub(crate) fn give_up(&mut self, core: &mut Core) {
        if !matches!(self.state, State::Closed) {
            let output = "a message of the agent cannot be decrypted".to_owned();
            self.close(output, false, core);
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Timestamp, gap: bool, core: &mut Core) {
        match &mut self.state {
            State::Closing { output, deadline } if !gap || *deadline <= now => {
                let output = std::mem::take(output);
                self.close(output, !gap, core);
            }
            State::Opening {
                deadline: Some(deadline),
            } if *deadline <= now => self.established(None, None, core),
            _ => {}
        }
    }

    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        match self.state {
            State::Closing { deadline, .. } => Some(deadline),
            State::Opening { deadline } => deadline,
            _ => None,
        }
    }

    /// Answers at once, unless a key has to be fetched first.
    fn asked(
        &mut self,
        now: Timestamp,
        payload: &[u8],
        core: &mut Core,
    ) -> Result<(), ProtocolError> {
        let request: HandshakeRequest = from_json("handshake request", payload)?;
        let actions = request.requested_client_actions.len();
        if actions > MAX_ACTIONS {
            let reason = format!("the agent asks for {actions} actions");
            return Err(ProtocolError::Handshake(reason));
        }
        if self.wrote {
            // Only a client that was told to speak first gets here. The agent threw away what it said.
            let reason = "the agent asked for a handshake after input was sent";
            return self.refuse(now, &request, reason, core);
        }
        match request.encryption() {
            None => self.answer(now, &request, &KeyAnswer::Unsupported, core),
            Some(wish) if wish.key_id.is_empty() => {
                self.refuse(now, &request, "the agent names no KMS key", core)
            }
            // Another action fails already; no key is needed for that.
            Some(_) if request.session_type().is_none() => {
                self.answer(now, &request, &KeyAnswer::Unsupported, core)
            }
            Some(wish) => {
                self.state = State::AwaitingKey(request);
                core.event(Event::KeyWanted {
                    key_id: wish.key_id,
                    challenge: wish.challenge,
                });
                Ok(())
            }
        }
    }

    pub(crate) fn provide_key(
        &mut self,
        now: Timestamp,
        key: &DataKey,
        ciphertext: &[u8],
        core: &mut Core,
    ) {
        let Some(request) = self.awaited_key() else {
            return;
        };
        core.cipher = Some(Cipher::client(key, core.ids.bytes()));
        if let Err(error) = self.answer(now, &request, &KeyAnswer::Ciphertext(ciphertext), core) {
            debug!(%error, "refused although there is a key");
        }
    }

    pub(crate) fn refuse_key(&mut self, now: Timestamp, reason: &str, core: &mut Core) {
        if let Some(request) = self.awaited_key()
            && let Err(error) = self.refuse(now, &request, reason, core)
        {
            debug!(%error, "the agent was told");
        }
    }

    /// Taken once, by the first answer of the caller; none while no answer is waited for.
    fn awaited_key(&mut self) -> Option<HandshakeRequest> {
        match std::mem::replace(&mut self.state, State::Refused) {
            State::AwaitingKey(request) => Some(request),
            other => {
                debug!("an answer about a key that nobody waits for");
                self.state = other;
                None
            }
        }
    }

    fn refuse(
        &mut self,
        now: Timestamp,
        request: &HandshakeRequest,
        reason: &str,
        core: &mut Core,
    ) -> Result<(), ProtocolError> {
        let mut response = request.answer(&self.version, &KeyAnswer::Refused(reason));
        if response.errors.is_none() {
            response.fail(reason);
        }
        self.respond(now, request, response, core)
    }

    fn answer(
        &mut self,
        now: Timestamp,
        request: &HandshakeRequest,
        key: &KeyAnswer<'_>,
        core: &mut Core,
    ) -> Result<(), ProtocolError> {
        let response = request.answer(&self.version, key);
        self.respond(now, request, response, core)
    }

    /// Called once per session: a second response blocks the reference agent for ever.
    fn respond(
        &mut self,
        now: Timestamp,
        request: &HandshakeRequest,
        response: HandshakeResponse,
        core: &mut Core,
    ) -> Result<(), ProtocolError> {
        core.send_stream(now, PayloadType::HandshakeResponse, to_json(&response));
        if let Some(errors) = response.errors {
            self.state = State::Refused;
            let reason = errors.join("; ");
            core.event(Event::Refused(reason.clone()));
            return Err(ProtocolError::Handshake(reason));
        }
        self.properties = request.properties().cloned();
        self.state = State::Handshaking {
            version: request.agent_version.clone(),
            session_type: request.session_type(),
            challenged: false,
        };
        Ok(())
    }

    /// Decrypts the agent's challenge and sends it back, encrypted with the other half of the key.
    fn challenge(
        &mut self,
        now: Timestamp,
        payload: &[u8],
        core: &mut Core,
    ) -> Result<(), ProtocolError> {
        let (State::Handshaking { challenged, .. }, Some(cipher)) =
            (&mut self.state, &mut core.cipher)
        else {
            return Err(ProtocolError::Handshake(
                "a challenge without a key".to_owned(),
            ));
        };
        if std::mem::replace(challenged, true) {
            return Err(ProtocolError::Handshake("a second challenge".to_owned()));
        }
        let challenge: EncryptionChallenge = from_json("challenge", payload)?;
        let sealed = STANDARD.decode(challenge.challenge).unwrap_or_default();
        let Ok(plain) = cipher.open(&sealed) else {
            let reason = "the agent's challenge cannot be decrypted: it has another data key";
            self.state = State::Refused;
            core.event(Event::Refused(reason.to_owned()));
            return Err(ProtocolError::Handshake(reason.to_owned()));
        };
        let challenge = STANDARD.encode(cipher.seal(&plain));
        let response = to_json(&EncryptionChallenge { challenge });
        core.send_stream(now, PayloadType::EncChallengeResponse, response);
        Ok(())
    }

    fn complete(
        &mut self,
        now: Timestamp,
        payload: &[u8],
        core: &mut Core,
    ) -> Result<(), ProtocolError> {
        let State::Handshaking {
            version,
            session_type,
            ..
        } = &mut self.state
        else {
            return Err(ProtocolError::Handshake(
                "completed without a request".to_owned(),
            ));
        };
        let (version, session_type) = (std::mem::take(version), session_type.take());
        let complete: HandshakeComplete =
            from_json("handshake complete", payload).unwrap_or_default();
        self.established(Some(version), session_type, core);
        if let Some(size) = self.size {
            core.send_stream(now, PayloadType::Size, to_json(&size));
        }
        if !complete.customer_message.is_empty() {
            core.event(Event::Message(complete.customer_message));
        }
        Ok(())
    }

    fn established(
        &mut self,
        version: Option<String>,
        session_type: Option<SessionType>,
        core: &mut Core,
    ) {
        if matches!(
            self.state,
            State::Opening { .. } | State::Handshaking { .. }
        ) {
            self.state = State::Running;
            core.event(Event::Established {
                version,
                session_type,
            });
            core.wake_writer();
        }
    }

    fn close(&mut self, output: String, complete: bool, core: &mut Core) {
        self.state = State::Closed;
        core.event(Event::Closed { output, complete });
    }
}
