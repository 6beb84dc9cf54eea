//! What a peer can do wrong.

/// A message that is not a well-formed frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Shorter than the fixed header.
    #[error("frame of {length} bytes is shorter than its 120-byte header")]
    Short {
        /// Bytes received.
        length: usize,
    },
    /// The header length points outside of the message.
    #[error("header length {header_length} does not fit a frame of {length} bytes")]
    HeaderLength {
        /// As received.
        header_length: u32,
        /// Bytes received.
        length: usize,
    },
    /// The message type is blank or not ASCII.
    #[error("message type is blank or not ascii")]
    MessageType,
    /// The creation date is zero, which both reference programs refuse.
    #[error("frame carries no creation date")]
    CreatedDate,
    /// The payload does not have the digest that the header names.
    #[error("payload digest does not match")]
    Digest,
}

/// A message that a session cannot use. The session stays as it was; the message counts as lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// Not a frame.
    #[error("malformed frame")]
    Frame(#[from] FrameError),
    /// A payload that should be JSON of a known shape is not.
    #[error("malformed {what} payload: {reason}")]
    Payload {
        /// Which payload.
        what: &'static str,
        /// What the parser says, without the payload's text.
        reason: String,
    },
    /// The peer asks for something this end does not do.
    #[error("handshake cannot be completed: {0}")]
    Handshake(String),
    /// A payload of an encrypted session that does not open. The frame was not acknowledged: if it was changed on its
    /// way, it comes again as it was.
    #[error("message {0} cannot be decrypted")]
    Decrypt(i64),
    /// A negative sequence number.
    #[error("sequence number {0} is negative")]
    Sequence(i64),
    /// More undelivered bytes than this end is ready to hold; the frame was not acknowledged.
    #[error("receive buffer is full")]
    Overflow,
}
