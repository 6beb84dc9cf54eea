//! The client's side of a session: when it may speak, and what it makes of the agent's payloads.

use std::time::Duration;

use tracing::debug;

use crate::error::ProtocolError;
use crate::frame::Frame;
use crate::handshake::{HandshakeComplete, HandshakeRequest, SessionType};
use crate::payload::{Flag, PayloadType, Size, exit_code, from_json, to_json};
use crate::session::{ClientConfig, Core, Event};
use crate::time::Timestamp;

/// How long a missing message may still arrive after the channel was closed.
const CLOSE_GRACE: Duration = Duration::from_millis(500);

#[derive(Debug)]
enum State {
    /// Nothing came yet: whether there will be a handshake is not known. It is taken not to come after the deadline.
    Opening {
        deadline: Option<Timestamp>,
    },
    /// Answered; the agent throws input away until it has completed the handshake.
    Handshaking {
        version: String,
        session_type: Option<SessionType>,
    },
    Running,
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
}

impl Client {
    pub(crate) fn new(config: ClientConfig, now: Timestamp, core: &mut Core) -> Self {
        let mut client = Self {
            version: config.client_version,
            size: None,
            state: State::Opening {
                deadline: config.speak_after.map(|patience| now + patience),
            },
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

    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.state, State::Closing { .. } | State::Closed)
    }

    pub(crate) fn resize(&mut self, now: Timestamp, size: Size, core: &mut Core) {
        self.size = Some(size);
        // A size sent too early is only lost to a handshake, after which it is sent again.
        if matches!(self.state, State::Opening { .. } | State::Running) && core.has_room() {
            core.send_stream(now, PayloadType::Size, to_json(&size));
        }
    }

    pub(crate) fn deliver(
        &mut self,
        now: Timestamp,
        frame: &Frame,
        core: &mut Core,
    ) -> Result<(), ProtocolError> {
        match PayloadType::from(frame.payload_type) {
            PayloadType::HandshakeRequest => self.answer(now, &frame.payload, core),
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

    /// Exactly one answer per session: a second one blocks the reference agent for ever.
    fn answer(
        &mut self,
        now: Timestamp,
        payload: &[u8],
        core: &mut Core,
    ) -> Result<(), ProtocolError> {
        if !matches!(self.state, State::Opening { .. }) {
            return Err(ProtocolError::Handshake("a second request".to_owned()));
        }
        let request: HandshakeRequest = from_json("handshake request", payload)?;
        let response = request.answer(&self.version);
        core.send_stream(now, PayloadType::HandshakeResponse, to_json(&response));
        self.state = State::Handshaking {
            version: request.agent_version.clone(),
            session_type: request.session_type(),
        };
        match response.errors {
            Some(errors) => Err(ProtocolError::Handshake(errors.join("; "))),
            None => Ok(()),
        }
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
