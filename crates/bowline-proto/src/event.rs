//! What a session tells its user.

use bytes::Bytes;

use crate::handshake::SessionType;
use crate::payload::{Flag, Size};

/// What happened, in the order in which it happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Data can flow. Version and type are known only after a handshake.
    Established {
        /// The peer's version.
        version: Option<String>,
        /// The session's type.
        session_type: Option<SessionType>,
    },
    /// Client: bytes of the remote terminal or of its stdout.
    Output(Bytes),
    /// Client: bytes of the remote stderr, from agents that keep it apart.
    StdErr(Bytes),
    /// Client: the remote exit code, from agents that report one; -1 for a death by signal.
    ExitCode(i64),
    /// Client: a text of the agent for the user.
    Message(String),
    /// Agent: bytes for the command's stdin.
    Input(Bytes),
    /// Agent: the client's terminal size.
    Size(Size),
    /// A signal of the other end.
    Flag(Flag),
    /// There is room in the send window again after a short write.
    Writable,
    /// The service says whether the other end is away.
    Paused(bool),
    /// One message went unacknowledged for about five minutes.
    Stalled,
    /// Client: the agent wants the session encrypted. Call `kms:GenerateDataKey` for [`DataKey::LENGTH`](crate::DataKey::LENGTH) bytes and
    /// answer with [`Session::provide_key`](crate::Session::provide_key) or [`Session::refuse_key`](crate::Session::refuse_key); the agent waits 15 s as a rule.
    KeyWanted {
        /// The key, as the agent names it; an ARN as a rule.
        key_id: String,
        /// If there is one, it has to be in the encryption context as `aws:ssm:RandomChallenge`.
        challenge: Option<String>,
    },
    /// Agent: the client's data key. Call `kms:Decrypt` and answer with [`Session::provide_key`](crate::Session::provide_key) or
    /// [`Session::refuse_key`](crate::Session::refuse_key).
    KeyOffered {
        /// For KMS.
        ciphertext: Bytes,
        /// The challenge of the handshake is in the encryption context.
        challenge_acknowledged: bool,
    },
    /// The handshake failed, and the session with it. Agent: the text for the task's failure. Client: why; the
    /// service closes the channel soon.
    Refused(String),
    /// Agent: after [`Session::finish`](crate::Session::finish), everything was acknowledged or the time for it is over.
    Finished,
    /// The service closed the channel; nothing follows.
    Closed {
        /// Empty after a normal end.
        output: String,
        /// False if messages before the end never arrived.
        complete: bool,
    },
}

impl Event {
    /// What it weighs in memory, roughly: many small ones must count too.
    pub(crate) fn weight(&self) -> usize {
        let bytes = match self {
            Self::Output(bytes) | Self::StdErr(bytes) | Self::Input(bytes) => bytes.len(),
            Self::Message(text) | Self::Refused(text) => text.len(),
            Self::KeyWanted { key_id, challenge } => {
                key_id.len() + challenge.as_ref().map_or(0, String::len)
            }
            Self::KeyOffered { ciphertext, .. } => ciphertext.len(),
            _ => 0,
        };
        bytes + size_of::<Self>()
    }
}
