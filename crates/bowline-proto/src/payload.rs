//! Payload kinds and their bodies. Unknown kinds survive a round trip.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::ProtocolError;
use crate::frame::Frame;
use crate::id::MessageId;

/// What the payload of a stream message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PayloadType {
    /// 1: bytes of the terminal, in both directions: stdin is "output" too.
    Output,
    /// 3: [`Size`], from the client.
    Size,
    /// 5: from the agent.
    HandshakeRequest,
    /// 6: from the client.
    HandshakeResponse,
    /// 7: from the agent.
    HandshakeComplete,
    /// 8: from the agent, in encrypted sessions.
    EncChallengeRequest,
    /// 9: from the client, in encrypted sessions.
    EncChallengeResponse,
    /// 10: four bytes, see [`Flag`].
    Flag,
    /// 11: the command's stderr, where the agent keeps it apart.
    StdErr,
    /// 12: the text `EXIT_CODE: n`.
    ExitCode,
    /// Anything else.
    Other(u32),
}

impl From<u32> for PayloadType {
    fn from(value: u32) -> Self {
        match value {
            0x1 => Self::Output,
            0x3 => Self::Size,
            0x5 => Self::HandshakeRequest,
            0x6 => Self::HandshakeResponse,
            0x7 => Self::HandshakeComplete,
            0x8 => Self::EncChallengeRequest,
            0x9 => Self::EncChallengeResponse,
            0xa => Self::Flag,
            0xb => Self::StdErr,
            0xc => Self::ExitCode,
            other => Self::Other(other),
        }
    }
}

impl From<PayloadType> for u32 {
    fn from(kind: PayloadType) -> Self {
        match kind {
            PayloadType::Output => 0x1,
            PayloadType::Size => 0x3,
            PayloadType::HandshakeRequest => 0x5,
            PayloadType::HandshakeResponse => 0x6,
            PayloadType::HandshakeComplete => 0x7,
            PayloadType::EncChallengeRequest => 0x8,
            PayloadType::EncChallengeResponse => 0x9,
            PayloadType::Flag => 0xa,
            PayloadType::StdErr => 0xb,
            PayloadType::ExitCode => 0xc,
            PayloadType::Other(other) => other,
        }
    }
}

/// The payload of an `acknowledge` message. Receivers use the sequence number only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledge {
    /// Type of the acknowledged message.
    #[serde(rename = "AcknowledgedMessageType")]
    pub message_type: String,
    /// Its id, as text.
    #[serde(rename = "AcknowledgedMessageId")]
    pub message_id: String,
    /// Its sequence number.
    #[serde(rename = "AcknowledgedMessageSequenceNumber")]
    pub sequence: i64,
    /// Always true.
    #[serde(rename = "IsSequentialMessage", default)]
    pub sequential: bool,
}

impl Acknowledge {
    /// The acknowledgement of `frame`.
    #[must_use]
    pub fn of(frame: &Frame) -> Self {
        Self {
            message_type: frame.message_type.as_str().to_owned(),
            message_id: frame.id.to_string(),
            sequence: frame.sequence,
            sequential: true,
        }
    }
}

/// The payload of `channel_closed`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ChannelClosed {
    /// Id of the message.
    #[serde(default)]
    pub message_id: String,
    /// A text, unlike everywhere else.
    #[serde(default)]
    pub created_date: String,
    /// The target of the session.
    #[serde(default)]
    pub destination_id: String,
    /// The session.
    #[serde(default)]
    pub session_id: String,
    /// `channel_closed`.
    #[serde(default)]
    pub message_type: String,
    /// 1.
    #[serde(default)]
    pub schema_version: u32,
    /// Empty after a normal end, else the reason for people to read.
    #[serde(default)]
    pub output: Option<String>,
}

/// The payload of `agent_session_state`, from the agent to the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AgentSessionState {
    /// 1.
    pub schema_version: u32,
    /// `Connected` or `Terminating`.
    pub session_state: String,
    /// The session.
    pub session_id: String,
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Columns.
    pub cols: u32,
    /// Rows.
    pub rows: u32,
}

/// The payload of both challenge messages of an encrypted session. Only the value is encrypted, not the message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EncryptionChallenge {
    /// Base64 of 64 encrypted bytes; the same bytes both ways, each under the sender's key.
    pub challenge: String,
}

/// The signals of [`PayloadType::Flag`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// 1, client to agent: the local connection of a port session without multiplexing is gone.
    DisconnectToPort,
    /// 2, client to agent: end the session. Shell sessions ignore it.
    TerminateSession,
    /// 3, agent to client: the port could not be reached.
    ConnectToPortError,
    /// Anything else.
    Other(u32),
}

impl Flag {
    /// The four bytes on the wire.
    #[must_use]
    pub fn encode(self) -> [u8; 4] {
        let value: u32 = match self {
            Self::DisconnectToPort => 0x1,
            Self::TerminateSession => 0x2,
            Self::ConnectToPortError => 0x3,
            Self::Other(other) => other,
        };
        value.to_be_bytes()
    }

    /// Reads the four bytes.
    ///
    /// # Errors
    /// When there are not exactly four.
    pub fn decode(payload: &[u8]) -> Result<Self, ProtocolError> {
        let bytes: [u8; 4] = payload.try_into().map_err(|_| ProtocolError::Payload {
            what: "flag",
            reason: format!("{} bytes instead of 4", payload.len()),
        })?;
        Ok(match u32::from_be_bytes(bytes) {
            0x1 => Self::DisconnectToPort,
            0x2 => Self::TerminateSession,
            0x3 => Self::ConnectToPortError,
            other => Self::Other(other),
        })
    }
}

/// The number in the text of an exit code payload, `EXIT_CODE: n`; -1 is the agent's word for "killed by a signal".
#[must_use]
pub fn exit_code(payload: &[u8]) -> Option<i64> {
    std::str::from_utf8(payload)
        .ok()?
        .strip_prefix("EXIT_CODE: ")?
        .trim_end()
        .parse()
        .ok()
}

/// The JSON form of a payload of ours.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Bytes {
    // Serialising our own plain structs into memory cannot fail.
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// Reads a JSON payload. The error never quotes the payload.
pub(crate) fn from_json<'a, T: Deserialize<'a>>(
    what: &'static str,
    payload: &'a [u8],
) -> Result<T, ProtocolError> {
    serde_json::from_slice(payload).map_err(|error| ProtocolError::Payload {
        what,
        reason: format!("{:?} error at column {}", error.classify(), error.column()),
    })
}

/// The ids of acknowledged messages are only echoed, so a bad one is no reason to drop an acknowledgement.
pub(crate) fn acknowledged(payload: &[u8]) -> Result<i64, ProtocolError> {
    #[derive(Deserialize)]
    struct Sequence {
        #[serde(rename = "AcknowledgedMessageSequenceNumber")]
        sequence: i64,
    }
    from_json::<Sequence>("acknowledge", payload).map(|ack| ack.sequence)
}

/// What an acknowledgement needs to remember of a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receipt {
    pub(crate) id: MessageId,
    pub(crate) sequence: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_read_from_their_text() {
        assert_eq!(exit_code(b"EXIT_CODE: 3"), Some(3));
        assert_eq!(exit_code(b"EXIT_CODE: -1"), Some(-1));
        for bad in [&b"EXIT_CODE: "[..], b"exit 3", b"EXIT_CODE: 3x", b"\xff"] {
            assert_eq!(exit_code(bad), None);
        }
    }

    #[test]
    fn payload_types_survive_a_round_trip() {
        for value in 0..40 {
            assert_eq!(u32::from(PayloadType::from(value)), value);
        }
    }

    #[test]
    fn a_channel_closed_with_nothing_but_a_null_output_is_read() {
        let closed: ChannelClosed =
            from_json("channel_closed", b"{\"Output\":null,\"New\":1}").unwrap();
        assert_eq!(closed.output, None);
    }

    #[test]
    fn parse_errors_do_not_quote_the_payload() {
        let error = from_json::<Size>("size", b"{\"cols\":\"sekret\"}").unwrap_err();
        assert!(!error.to_string().contains("sekret"), "{error}");
    }
}
