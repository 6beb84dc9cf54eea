//! What the two ends of a session need to know.

use std::time::Duration;

use crate::handshake::HandshakeRequest;
use crate::payload::Size;
use crate::send::Resend;

/// The payload size of both reference programs.
const PAYLOAD: usize = 1024;
/// How long the reference agent waits for each answer of the handshake; 1 to 60 s in agents of 2026.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(15);

/// What a client end needs to know.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Seeds the message ids.
    pub seed: u64,
    /// Announced in the handshake; four parts. Decides features on the agent's side.
    pub client_version: String,
    /// Largest payload of one message in bytes.
    pub max_payload: usize,
    /// The terminal size to announce as soon as the channel is open.
    pub size: Option<Size>,
    /// Speak after so long even if the agent said nothing yet; a command that waits for its stdin says nothing.
    pub speak_after: Option<Duration>,
}

impl ClientConfig {
    /// The defaults: 1,024-byte payloads as the reference plugin, no terminal size.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            client_version: "1.2.896.0".to_owned(),
            max_payload: PAYLOAD,
            size: None,
            speak_after: None,
        }
    }
}

/// What an agent end needs to know.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// Seeds the message ids.
    pub seed: u64,
    /// The session's id, told to the service.
    pub session_id: String,
    /// The handshake to begin with; terminal sessions without encryption have none.
    pub handshake: Option<HandshakeRequest>,
    /// What is resent when acknowledgements do not come.
    pub resend: Resend,
    /// Largest payload of one message in bytes.
    pub max_payload: usize,
    /// Messages on their way at most.
    pub window: usize,
    /// Keep to the window by sending without remembering what is beyond it, as the reference agent does (its buffer
    /// holds 100,000 messages): [`Session::write`](crate::Session::write) then takes everything. Off by default.
    pub forgets: bool,
    /// Acknowledge again what arrives again. Agents before 3.2.1041.0 do not: a client whose acknowledgement was lost
    /// resends for ever. On by default.
    pub reacknowledge: bool,
    /// How long the client has for its answer to the handshake, and again for its answer to the challenge, and the
    /// caller for [`Session::provide_key`](crate::Session::provide_key). 15 s by default.
    pub handshake_wait: Duration,
    /// Refuse clients that do not acknowledge the challenge of the handshake (`RequireKMSChallengeResponse` of the
    /// reference agent). Off by default.
    pub require_challenge: bool,
    /// The bytes that the client has to decrypt and send back; made from the seed if absent. They need not be secret:
    /// what counts is that the answer is encrypted with the other half of the key.
    pub challenge: Option<[u8; 64]>,
}

impl AgentConfig {
    /// The defaults: no handshake, 1,024-byte payloads.
    #[must_use]
    pub fn new(session_id: &str, seed: u64) -> Self {
        Self {
            seed,
            session_id: session_id.to_owned(),
            handshake: None,
            resend: Resend::Overdue,
            max_payload: PAYLOAD,
            window: 4000,
            forgets: false,
            reacknowledge: true,
            handshake_wait: HANDSHAKE_WAIT,
            require_challenge: false,
            challenge: None,
        }
    }
}
