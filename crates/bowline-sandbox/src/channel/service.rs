//! The messages that the service itself sends.

use bytes::Bytes;

use bowline_proto::{ChannelClosed, Flags, Frame, IdSource, MessageId, MessageType, Timestamp};

use crate::clock::Clock;
use crate::sessions::Link;

/// Makes the messages that the service itself sends.
pub(crate) struct Service {
    clock: Clock,
}

impl Service {
    pub(crate) fn new() -> Self {
        Self {
            clock: Clock::start(),
        }
    }

    pub(crate) fn channel_closed(&self, link: &Link, output: &str) -> Bytes {
        let (id, now) = (IdSource::new(self.clock.seed()).next_id(), self.clock.now());
        let closed = ChannelClosed {
            message_id: id.to_string(),
            created_date: now.as_millis().to_string(),
            destination_id: link.target.clone(),
            session_id: link.session_id.clone(),
            message_type: MessageType::ChannelClosed.as_str().to_owned(),
            schema_version: 1,
            output: Some(output.to_owned()),
        };
        let payload = serde_json::to_vec(&closed).unwrap_or_default();
        message(MessageType::ChannelClosed, id, now, payload)
    }

    pub(crate) fn publication(&self, kind: MessageType) -> Bytes {
        message(
            kind,
            IdSource::new(self.clock.seed()).next_id(),
            self.clock.now(),
            b"{}".to_vec(),
        )
    }
}

fn message(message_type: MessageType, id: MessageId, now: Timestamp, payload: Vec<u8>) -> Bytes {
    let frame = Frame {
        message_type,
        schema_version: 1,
        created_millis: now.as_millis(),
        sequence: 0,
        flags: Flags::NONE,
        id,
        payload_type: 0,
        payload: payload.into(),
    };
    frame.encode()
}
