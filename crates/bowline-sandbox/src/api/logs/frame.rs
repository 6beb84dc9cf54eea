//! The frames of an event stream (`application/vnd.amazon.eventstream`), as far as StartLiveTail needs them.

use bytes::{BufMut, Bytes, BytesMut};
use crc::{CRC_32_ISO_HDLC, Crc};

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// Two lengths and their checksum.
const PRELUDE: usize = 12;
const CHECKSUM: usize = 4;

/// The only type of header value used: a string.
const STRING: u8 = 7;

/// An event with a JSON payload.
pub(super) fn event(kind: &str, payload: &str) -> Bytes {
    frame("event", ":event-type", kind, payload)
}

/// An error in the middle of the stream.
pub(super) fn exception(kind: &str, payload: &str) -> Bytes {
    frame("exception", ":exception-type", kind, payload)
}

fn frame(message_type: &str, name: &str, kind: &str, payload: &str) -> Bytes {
    let mut headers = BytesMut::new();
    for (name, value) in [
        (":message-type", message_type),
        (name, kind),
        (":content-type", "application/json"),
    ] {
        headers.put_u8(u8::try_from(name.len()).expect("header names here are short"));
        headers.put_slice(name.as_bytes());
        headers.put_u8(STRING);
        headers.put_u16(u16::try_from(value.len()).expect("header values here are short"));
        headers.put_slice(value.as_bytes());
    }
    let total = PRELUDE + headers.len() + payload.len() + CHECKSUM;
    let mut frame = BytesMut::with_capacity(total);
    // Updates are cut at 500 events of at most 256 KiB: 4 GiB are never reached.
    frame.put_u32(u32::try_from(total).unwrap_or(u32::MAX));
    frame.put_u32(u32::try_from(headers.len()).unwrap_or(u32::MAX));
    frame.put_u32(CRC.checksum(&frame));
    frame.put_slice(&headers);
    frame.put_slice(payload.as_bytes());
    frame.put_u32(CRC.checksum(&frame));
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_its_lengths_and_checksums() {
        let frame = event("sessionUpdate", "{}");
        let number = |at: usize| u32::from_be_bytes(frame[at..at + 4].try_into().unwrap());
        assert_eq!(number(0) as usize, frame.len());
        let headers = number(4) as usize;
        // CRC-32 as zlib computes it, which is what the format asks for.
        assert_eq!(CRC.checksum(b"123456789"), 0xcbf4_3926);
        assert_eq!(number(8), CRC.checksum(&frame[..8]));
        assert_eq!(&frame[12..27], b"\x0d:message-type\x07");
        assert_eq!(&frame[12 + headers..frame.len() - 4], b"{}");
        let end = frame.len() - 4;
        assert_eq!(number(end), CRC.checksum(&frame[..end]));
    }
}
