//! The agent's side of a session: connected, handshake, running, draining.

use std::time::Duration;

use tracing::debug;

use crate::error::ProtocolError;
use crate::frame::{Frame, MessageType};
use crate::handshake::{ActionStatus, HandshakeComplete, HandshakeResponse};
use crate::payload::{AgentSessionState, Flag, PayloadType, Size, from_json, to_json};
use crate::session::{AgentConfig, Core, Event};
use crate::time::Timestamp;

/// How long the reference agent waits for acknowledgements at the end; what is lost then stays lost.
const DRAIN: Duration = Duration::from_secs(2);
/// How long the client has to answer the handshake.
const HANDSHAKE: Duration = Duration::from_secs(15);

#[derive(Debug)]
enum State {
    Handshaking { asked: Timestamp },
    Running,
    Draining { deadline: Timestamp },
    Finished,
}

pub(crate) struct Agent {
    session_id: String,
    ready: bool,
    state: State,
}

impl Agent {
    pub(crate) fn new(config: AgentConfig, now: Timestamp, core: &mut Core) -> Self {
        let mut agent = Self {
            session_id: config.session_id,
            ready: true,
            state: State::Running,
        };
        agent.announce(now, "Connected", core);
        if let Some(request) = config.handshake {
            core.send_stream(now, PayloadType::HandshakeRequest, to_json(&request));
            agent.state = State::Handshaking { asked: now };
        }
        agent
    }

    pub(crate) fn may_write(&self) -> bool {
        matches!(self.state, State::Running)
    }

    pub(crate) fn set_ready(&mut self, ready: bool) {
        self.ready = ready;
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready || matches!(self.state, State::Handshaking { .. })
    }

    pub(crate) fn finish(&mut self, now: Timestamp) {
        if matches!(self.state, State::Running | State::Handshaking { .. }) {
            self.state = State::Draining {
                deadline: now + DRAIN,
            };
        }
    }

    pub(crate) fn deliver(
        &mut self,
        now: Timestamp,
        frame: &Frame,
        core: &mut Core,
    ) -> Result<(), ProtocolError> {
        let kind = PayloadType::from(frame.payload_type);
        if let State::Handshaking { asked } = self.state {
            // Anything but the answer is acknowledged and thrown away, as the reference does.
            return match kind {
                PayloadType::HandshakeResponse => self.answered(now, asked, &frame.payload, core),
                _ => Ok(()),
            };
        }
        match kind {
            PayloadType::Output => core.event(Event::Input(frame.payload.clone())),
            PayloadType::Size => {
                core.event(Event::Size(from_json::<Size>("size", &frame.payload)?));
            }
            PayloadType::Flag => core.event(Event::Flag(Flag::decode(&frame.payload)?)),
            other => debug!(?other, "payload type passed over"),
        }
        Ok(())
    }

    pub(crate) fn handle_timeout(&mut self, now: Timestamp, core: &mut Core) {
        match self.state {
            State::Draining { deadline } if core.is_drained() || deadline <= now => {
                self.state = State::Finished;
                self.announce(now, "Terminating", core);
                core.event(Event::Finished);
            }
            State::Handshaking { asked } if asked + HANDSHAKE <= now => {
                self.state = State::Finished;
                core.event(Event::Refused("Handshake timed out. Please ensure that you have the latest version of the session manager plugin.".to_owned()));
            }
            _ => {}
        }
    }

    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        match self.state {
            State::Draining { deadline } => Some(deadline),
            State::Handshaking { asked } => Some(asked + HANDSHAKE),
            _ => None,
        }
    }

    fn announce(&self, now: Timestamp, state: &str, core: &mut Core) {
        let state = AgentSessionState {
            schema_version: 1,
            session_state: state.to_owned(),
            session_id: self.session_id.clone(),
        };
        core.send_control(now, MessageType::AgentSessionState, to_json(&state));
    }

    fn answered(
        &mut self,
        now: Timestamp,
        asked: Timestamp,
        payload: &[u8],
        core: &mut Core,
    ) -> Result<(), ProtocolError> {
        let response: HandshakeResponse = from_json("handshake response", payload)?;
        let failed = response
            .processed_client_actions
            .iter()
            .find(|action| action.action_status != ActionStatus::Success);
        if let Some(action) = failed {
            self.state = State::Finished;
            core.event(Event::Refused(format!(
                "{} failed on client with status {} error: {}",
                action.action_type,
                i64::from(action.action_status),
                action.error
            )));
            return Ok(());
        }
        let complete = HandshakeComplete {
            handshake_time_to_complete: i64::try_from((now - asked).as_nanos()).unwrap_or(i64::MAX),
            customer_message: String::new(),
        };
        core.send_stream(now, PayloadType::HandshakeComplete, to_json(&complete));
        self.state = State::Running;
        core.event(Event::Established {
            version: Some(response.client_version),
            session_type: None,
        });
        core.wake_writer();
        Ok(())
    }
}
