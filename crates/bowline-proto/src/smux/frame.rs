//! The eight bytes in front of everything, and reading them out of pieces of any length.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Length of a header: version, command, length (u16) and stream (u32), little-endian.
pub(super) const HEADER: usize = 8;
const VERSION: u8 = 1;

const SYN: u8 = 0x0;
const FIN: u8 = 0x1;
const PSH: u8 = 0x2;
const NOP: u8 = 0x3;

/// What a peer says that is not smux version 1. Nothing after it can be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SmuxError {
    /// Another version.
    #[error("smux version {0} instead of 1")]
    Version(u8),
    /// A command that version 1 does not have.
    #[error("unknown smux command {0}")]
    Command(u8),
}

/// A header that is well formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) command: Command,
    pub(super) stream: u32,
    /// Of the data behind it. The reference reads it for every command.
    pub(super) length: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Open,
    Finish,
    Push,
    Nothing,
}

impl Header {
    pub(super) fn encode(self, into: &mut BytesMut) {
        into.put_u8(VERSION);
        into.put_u8(match self.command {
            Command::Open => SYN,
            Command::Finish => FIN,
            Command::Push => PSH,
            Command::Nothing => NOP,
        });
        into.put_u16_le(self.length);
        into.put_u32_le(self.stream);
    }

    fn decode(bytes: [u8; HEADER]) -> Result<Self, SmuxError> {
        let mut bytes = &bytes[..];
        let version = bytes.get_u8();
        if version != VERSION {
            return Err(SmuxError::Version(version));
        }
        let command = match bytes.get_u8() {
            SYN => Command::Open,
            FIN => Command::Finish,
            PSH => Command::Push,
            NOP => Command::Nothing,
            other => return Err(SmuxError::Command(other)),
        };
        let length = bytes.get_u16_le();
        let stream = bytes.get_u32_le();
        Ok(Self {
            command,
            stream,
            length,
        })
    }
}

/// What comes next in the sequence.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    Header(Header),
    /// Data of the last push, or a part of it.
    Data {
        stream: u32,
        bytes: Bytes,
    },
}

/// Takes the sequence apart, wherever it is cut.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The beginning of a header.
    partial: BytesMut,
    /// Data still to come, and whose it is. Nobody's belongs to another command.
    data: Option<(Option<u32>, usize)>,
}

impl Decoder {
    /// The next item of `input`, which is consumed. Data comes as it is there, not as a whole.
    pub(super) fn next(&mut self, input: &mut Bytes) -> Result<Option<Item>, SmuxError> {
        loop {
            if let Some((stream, left)) = &mut self.data {
                if input.is_empty() {
                    return Ok(None);
                }
                let bytes = input.split_to(input.len().min(*left));
                *left -= bytes.len();
                let stream = *stream;
                if *left == 0 {
                    self.data = None;
                }
                if let Some(stream) = stream {
                    return Ok(Some(Item::Data { stream, bytes }));
                }
                continue;
            }
            let missing = HEADER.saturating_sub(self.partial.len());
            let piece = input.split_to(input.len().min(missing));
            self.partial.extend_from_slice(&piece);
            let Ok(bytes) = <[u8; HEADER]>::try_from(&self.partial[..]) else {
                return Ok(None);
            };
            self.partial.clear();
            let header = Header::decode(bytes)?;
            if header.length > 0 {
                let stream = (header.command == Command::Push).then_some(header.stream);
                self.data = Some((stream, header.length.into()));
            }
            return Ok(Some(Item::Header(header)));
        }
    }
}
