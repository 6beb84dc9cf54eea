//! The agent's side of a session: connected, handshake, running, draining.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tracing::debug;

use crate::cipher::{Cipher, DataKey};
use crate::config::AgentConfig;
use crate::core::Core;
use crate::error::ProtocolError;
use crate::event::Event;
use crate::frame::{Frame, MessageType};
use crate::handshake::{ActionStatus, HandshakeComplete, HandshakeResponse, OfferedKey};
use crate::payload::{
    AgentSessionState, EncryptionChallenge, Flag, PayloadType, Size, from_json, to_json,
};
use crate::time::Timestamp;

/// How long the reference agent waits for acknowledgements at the end; what is lost then stays lost.
const DRAIN: Duration = Duration::from_secs(2);
/// What the reference agent says when an answer does not come.
const TIMED_OUT: &str = "Handshake timed out. Please ensure that you have the latest version of the session manager plugin.";
/// Shown by the client.
const ENCRYPTED: &str = "This session is encrypted using AWS KMS.";

#[derive(Debug)]
enum State {
    Handshaking {
        asked: Timestamp,
        step: Step,
        deadline: Timestamp,
    },
    Running,
    Draining {
        deadline: Timestamp,
    },
    Finished,
}

/// What the handshake waits for.
#[derive(Debug)]
enum Step {
    Response,
    /// The caller was given the client's data key. Nothing is delivered meanwhile.
    Key {
        client_version: String,
    },
    ChallengeResponse {
        client_version: String,
        cipher: Cipher,
    },
}

pub(crate) struct Agent {
    session_id: String,
    ready: bool,
    state: State,
    handshake_wait: Duration,
    encryption: Option<Encryption>,
}

/// What the client was asked for.
struct Encryption {
    challenge: [u8; 64],
    must_acknowledge: bool,
}

impl Agent {
    pub(crate) fn new(config: AgentConfig, now: Timestamp, core: &mut Core) -> Self {
        let mut agent = Self {
            session_id: config.session_id,
            ready: true,
            state: State::Running,
            handshake_wait: config.handshake_wait,
            encryption: None,
        };
        agent.announce(now, "Connected", core);
        if let Some(request) = config.handshake {
            let encryption = request.encryption();
            agent.encryption = encryption.map(|wish| Encryption {
                challenge: config.challenge.unwrap_or_else(|| core.ids.bytes()),
                must_acknowledge: config.require_challenge && wish.challenge.is_some(),
            });
            core.send_stream(now, PayloadType::HandshakeRequest, to_json(&request));
            agent.wait_for(now, now, Step::Response);
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
        match &self.state {
            State::Handshaking { step, .. } => !matches!(step, Step::Key { .. }),
            _ => self.ready,
        }
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
        if let State::Handshaking { asked, step, .. } = &self.state {
            // Anything but the answer is acknowledged and thrown away, as the reference does.
            return match (step, kind) {
                (Step::Response, PayloadType::HandshakeResponse) => {
                    self.answered(now, *asked, &frame.payload, core)
                }
                (Step::ChallengeResponse { .. }, PayloadType::EncChallengeResponse) => {
                    self.challenge_answered(now, &frame.payload, core)
                }
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
            State::Handshaking { deadline, .. } if deadline <= now => {
                self.refuse(TIMED_OUT.to_owned(), core);
            }
            _ => {}
        }
    }

    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        match self.state {
            State::Draining { deadline } | State::Handshaking { deadline, .. } => Some(deadline),
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

    fn wait_for(&mut self, now: Timestamp, asked: Timestamp, step: Step) {
        self.state = State::Handshaking {
            asked,
            step,
            deadline: now + self.handshake_wait,
        };
    }

    fn refuse(&mut self, reason: String, core: &mut Core) {
        self.state = State::Finished;
        core.event(Event::Refused(reason));
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
            let reason = format!(
                "{} failed on client with status {} error: {}",
                action.action_type,
                i64::from(action.action_status),
                action.error
            );
            self.refuse(reason, core);
            return Ok(());
        }
        let Some(encryption) = &self.encryption else {
            self.complete(now, asked, response.client_version, "", core);
            return Ok(());
        };
        match response.offered_key() {
            None => self.refuse(
                "KMSEncryption: the client sent no data key".to_owned(),
                core,
            ),
            Some(key) if encryption.must_acknowledge && !key.challenge_acknowledged => {
                let reason = "KMSEncryption: the client did not acknowledge the challenge";
                self.refuse(reason.to_owned(), core);
            }
            Some(OfferedKey {
                ciphertext,
                challenge_acknowledged,
            }) => {
                let client_version = response.client_version;
                self.wait_for(now, asked, Step::Key { client_version });
                core.event(Event::KeyOffered {
                    ciphertext: Bytes::from(ciphertext),
                    challenge_acknowledged,
                });
            }
        }
        Ok(())
    }

    pub(crate) fn provide_key(&mut self, now: Timestamp, key: &DataKey, core: &mut Core) {
        let (
            State::Handshaking {
                asked,
                step: Step::Key { client_version },
                ..
            },
            Some(encryption),
        ) = (&mut self.state, &self.encryption)
        else {
            debug!("a key that nobody waits for");
            return;
        };
        let (asked, client_version) = (*asked, std::mem::take(client_version));
        let mut cipher = Cipher::agent(key, core.ids.bytes());
        let challenge = STANDARD.encode(cipher.seal(&encryption.challenge));
        let request = to_json(&EncryptionChallenge { challenge });
        core.send_stream(now, PayloadType::EncChallengeRequest, request);
        let step = Step::ChallengeResponse {
            client_version,
            cipher,
        };
        self.wait_for(now, asked, step);
    }

    pub(crate) fn refuse_key(&mut self, reason: &str, core: &mut Core) {
        if let State::Handshaking {
            step: Step::Key { .. },
            ..
        } = &self.state
        {
            self.refuse(reason.to_owned(), core);
        }
    }

    /// A wrong answer is not told to the client: as with the reference, it has until the deadline for a right one.
    fn challenge_answered(
        &mut self,
        now: Timestamp,
        payload: &[u8],
        core: &mut Core,
    ) -> Result<(), ProtocolError> {
        let answer: EncryptionChallenge = from_json("challenge response", payload)?;
        let answer = STANDARD.decode(answer.challenge).unwrap_or_default();
        let right = |cipher: &Cipher| {
            let plain = cipher.open(&answer).unwrap_or_default();
            matches!(&self.encryption, Some(asked) if plain == asked.challenge[..])
        };
        match std::mem::replace(&mut self.state, State::Finished) {
            State::Handshaking {
                asked,
                step:
                    Step::ChallengeResponse {
                        client_version,
                        cipher,
                    },
                ..
            } if right(&cipher) => {
                core.cipher = Some(cipher);
                self.complete(now, asked, client_version, ENCRYPTED, core);
                Ok(())
            }
            waiting => {
                self.state = waiting;
                let reason = "the answer to the challenge is wrong";
                Err(ProtocolError::Handshake(reason.to_owned()))
            }
        }
    }

    fn complete(
        &mut self,
        now: Timestamp,
        asked: Timestamp,
        client_version: String,
        message: &str,
        core: &mut Core,
    ) {
        let complete = HandshakeComplete {
            handshake_time_to_complete: i64::try_from((now - asked).as_nanos()).unwrap_or(i64::MAX),
            customer_message: message.to_owned(),
        };
        core.send_stream(now, PayloadType::HandshakeComplete, to_json(&complete));
        self.state = State::Running;
        core.event(Event::Established {
            version: Some(client_version),
            session_type: None,
        });
        core.wake_writer();
    }
}
