//! The binary message: header layout, digest check, encode and decode.
//!
//! One WebSocket message is one frame. All integers are big-endian:
//!
//! ```text
//!   0  4  HeaderLength   116: the offset of PayloadLength, not of the payload
//!   4 32  MessageType    ASCII, padded with spaces (receivers also strip NULs)
//!  36  4  SchemaVersion  1
//!  40  8  CreatedDate    milliseconds since the Unix epoch
//!  48  8  SequenceNumber
//!  56  8  Flags          bit 0 SYN, bit 1 FIN
//!  64 16  MessageId      a UUID with its 8-byte halves swapped
//!  80 32  PayloadDigest  SHA-256 of the payload
//! 112  4  PayloadType
//! 116  4  PayloadLength
//! 120  n  Payload
//! ```

use bytes::{BufMut, Bytes, BytesMut};
use sha2::{Digest, Sha256};

use crate::error::FrameError;
use crate::id::MessageId;
use crate::time::Timestamp;

/// The value of the HeaderLength field of every frame made by the reference programs.
pub const HEADER_LENGTH: u32 = 116;

/// Length in bytes of everything before the payload.
const PREFIX: usize = 120;
/// Width of the message type field.
const TYPE_WIDTH: usize = 32;

/// The kind of a message, a text on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// Client to agent, sequenced.
    InputStreamData,
    /// Agent to client, sequenced.
    OutputStreamData,
    /// Acknowledges one sequenced message.
    Acknowledge,
    /// The service ends the session.
    ChannelClosed,
    /// The service says that the peer is there (again).
    StartPublication,
    /// The service says that the peer is away.
    PausePublication,
    /// Agent to service: connected or terminating.
    AgentSessionState,
    /// Anything else; kept as it came, at most 32 bytes of ASCII.
    Other(Box<str>),
}

impl MessageType {
    /// The text on the wire, without padding.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::InputStreamData => "input_stream_data",
            Self::OutputStreamData => "output_stream_data",
            Self::Acknowledge => "acknowledge",
            Self::ChannelClosed => "channel_closed",
            Self::StartPublication => "start_publication",
            Self::PausePublication => "pause_publication",
            Self::AgentSessionState => "agent_session_state",
            Self::Other(name) => name,
        }
    }

    /// The reference strips NULs, then white space, from both ends.
    fn from_wire(field: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(field)
            .ok()
            .filter(|text| text.is_ascii())?;
        let name = text.trim_matches('\0').trim();
        Some(match name {
            "" => return None,
            "input_stream_data" => Self::InputStreamData,
            "output_stream_data" => Self::OutputStreamData,
            "acknowledge" => Self::Acknowledge,
            "channel_closed" => Self::ChannelClosed,
            "start_publication" => Self::StartPublication,
            "pause_publication" => Self::PausePublication,
            "agent_session_state" => Self::AgentSessionState,
            other => Self::Other(other.into()),
        })
    }

    /// The service's start and pause messages come with fields left blank.
    fn is_publication(&self) -> bool {
        matches!(self, Self::StartPublication | Self::PausePublication)
    }
}

/// The flag bits that the reference programs send. Nobody reads them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u64);

impl Flags {
    /// Stream data after the first.
    pub const NONE: Self = Self(0);
    /// The agent's first stream message.
    pub const SYN: Self = Self(0x1);
    /// Acknowledgements and `agent_session_state`: SYN and FIN.
    pub const SYN_FIN: Self = Self(0x3);
}

/// Whether a wrong payload digest makes a frame unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestCheck {
    /// As the reference client does.
    Enforce,
    /// As the reference agent does.
    Ignore,
}

/// One well-formed message of the data channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What kind of message this is.
    pub message_type: MessageType,
    /// 1 so far.
    pub schema_version: u32,
    /// Milliseconds since the Unix epoch; never zero but in start and pause.
    pub created_millis: u64,
    /// Position in its direction's stream; 0 outside of it.
    pub sequence: i64,
    /// See [`Flags`].
    pub flags: Flags,
    /// Echoed by acknowledgements.
    pub id: MessageId,
    /// What the payload is; see [`crate::PayloadType`].
    pub payload_type: u32,
    /// The payload, encrypted if the session is.
    pub payload: Bytes,
}

impl Frame {
    /// A message outside of the stream: sequence number 0, payload type 0.
    pub(crate) fn control(
        message_type: MessageType,
        flags: Flags,
        id: MessageId,
        now: Timestamp,
        payload: Bytes,
    ) -> Self {
        Self {
            message_type,
            schema_version: 1,
            created_millis: now.as_millis(),
            sequence: 0,
            flags,
            id,
            payload_type: 0,
            payload,
        }
    }

    /// The frame as one WebSocket message.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(PREFIX + self.payload.len());
        out.put_u32(HEADER_LENGTH);
        let name = self.message_type.as_str().as_bytes();
        let name = name.get(..TYPE_WIDTH).unwrap_or(name);
        out.put_slice(name);
        out.put_bytes(b' ', TYPE_WIDTH - name.len());
        out.put_u32(self.schema_version);
        out.put_u64(self.created_millis);
        out.put_i64(self.sequence);
        out.put_u64(self.flags.0);
        out.put_slice(&self.id.to_wire());
        out.put_slice(&Sha256::digest(&self.payload));
        out.put_u32(self.payload_type);
        // A payload is at most a WebSocket message, far below 4 GiB.
        out.put_u32(u32::try_from(self.payload.len()).unwrap_or(u32::MAX));
        out.put_slice(&self.payload);
        out.freeze()
    }

    /// Reads one WebSocket message. The payload shares the message's memory.
    ///
    /// # Errors
    /// When the message is not a frame; nothing of it may be used then.
    pub fn decode(message: &Bytes, check: DigestCheck) -> Result<Self, FrameError> {
        let length = message.len();
        let short = FrameError::Short { length };
        let mut fields = Fields(message.get(..PREFIX).ok_or(short)?);
        let header_length = fields.u32();
        let message_type =
            MessageType::from_wire(fields.take(TYPE_WIDTH)).ok_or(FrameError::MessageType)?;
        let publication = message_type.is_publication();
        let payload = match usize::try_from(header_length)
            .ok()
            .and_then(|header| header.checked_add(4))
        {
            // The reference cuts the payload at the received header length, not at PayloadLength.
            Some(PREFIX) => message.slice(PREFIX..),
            // Copied, so that a few bytes of payload do not keep a long header in memory.
            Some(start) if start > PREFIX && start <= length => {
                Bytes::copy_from_slice(message.get(start..).unwrap_or_default())
            }
            _ if publication => Bytes::new(),
            _ => {
                return Err(FrameError::HeaderLength {
                    header_length,
                    length,
                });
            }
        };
        let schema_version = fields.u32();
        let created_millis = fields.u64();
        if created_millis == 0 && !publication {
            return Err(FrameError::CreatedDate);
        }
        let sequence = fields.u64().cast_signed();
        let flags = Flags(fields.u64());
        let id = MessageId::from_wire(fields.array());
        let digest: [u8; 32] = fields.array();
        let payload_type = fields.u32();
        let payload_length = fields.u32();
        let checked = check == DigestCheck::Enforce && payload_length != 0 && !publication;
        if checked && Sha256::digest(&payload).as_slice() != digest {
            return Err(FrameError::Digest);
        }
        Ok(Self {
            message_type,
            schema_version,
            created_millis,
            sequence,
            flags,
            id,
            payload_type,
            payload,
        })
    }
}

/// Reads fixed fields off the front of a slice that is known to be long enough.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at_checked(count).unwrap_or((self.0, &[]));
        self.0 = tail;
        head
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        self.take(N).try_into().unwrap_or([0; N])
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.array())
    }

    fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.array())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Frame {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let id = MessageId::from_bytes([7; 16]);
        Frame::control(
            MessageType::Acknowledge,
            Flags::SYN_FIN,
            id,
            now,
            Bytes::from_static(b"payload"),
        )
    }

    #[test]
    fn nul_padding_of_the_type_is_accepted() {
        let mut wire = sample().encode().to_vec();
        wire[4 + 11..36].fill(0);
        let frame = Frame::decode(&wire.into(), DigestCheck::Enforce).unwrap();
        assert_eq!(frame.message_type, MessageType::Acknowledge);
    }

    #[test]
    fn a_header_length_beyond_the_frame_is_one_bad_frame() {
        for bad in [0_u32, 115, 124, u32::MAX] {
            let mut wire = sample().encode().to_vec();
            wire[..4].copy_from_slice(&bad.to_be_bytes());
            let refused = Frame::decode(&wire.into(), DigestCheck::Enforce).unwrap_err();
            assert!(
                matches!(refused, FrameError::HeaderLength { .. }),
                "{bad}: {refused}"
            );
        }
    }

    #[test]
    fn a_wrong_digest_counts_only_where_it_is_checked() {
        let mut wire = sample().encode().to_vec();
        *wire.last_mut().unwrap() ^= 1;
        let wire = Bytes::from(wire);
        assert_eq!(
            Frame::decode(&wire, DigestCheck::Enforce),
            Err(FrameError::Digest)
        );
        assert!(Frame::decode(&wire, DigestCheck::Ignore).is_ok());
    }

    proptest! {
        #[test]
        fn decode_never_panics(message in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Frame::decode(&message.into(), DigestCheck::Enforce);
        }

        #[test]
        fn what_is_encoded_is_decoded(
            sequence in any::<i64>(), flags in any::<u64>(), id in any::<[u8; 16]>(),
            payload_type in any::<u32>(), payload in prop::collection::vec(any::<u8>(), 0..2000),
            created_millis in 1..u64::MAX, name in "[a-z_]{1,32}",
        ) {
            let message_type = MessageType::from_wire(name.as_bytes()).unwrap();
            let frame = Frame {
                message_type, schema_version: 1, created_millis, sequence, flags: Flags(flags),
                id: MessageId::from_bytes(id), payload_type, payload: payload.into(),
            };
            prop_assert_eq!(Frame::decode(&frame.encode(), DigestCheck::Enforce), Ok(frame));
        }
    }
}
