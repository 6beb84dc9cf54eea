//! The AWS Session Manager data channel as a state machine, both ends, without I/O.
//!
//! [`Session`] is one end of a data channel: bytes and time go in, messages to send, events and one deadline
//! come out. It has no clock, no socket and no runtime, so a whole conversation with loss, duplication and
//! reordering runs in a test within microseconds. Driving it is the job of the crates above.
//!
//! ```
//! use bowline_proto::{ClientConfig, Event, AgentConfig, PayloadType, Session, Timestamp};
//!
//! let now = Timestamp::from_millis(1_700_000_000_000);
//! let mut client = Session::client(ClientConfig::new(1), now);
//! let mut agent = Session::agent(AgentConfig::new("session-1", 2), now);
//! agent.write(now, PayloadType::Output, b"hello\r\n");
//! while let Some(message) = agent.poll_transmit(now) {
//!     client.receive(now, &message)?;
//! }
//! let said: Vec<Event> = std::iter::from_fn(|| client.poll_event()).collect();
//! assert!(said.contains(&Event::Output("hello\r\n".into())));
//! # Ok::<(), bowline_proto::ProtocolError>(())
//! ```
//!
//! Wire facts come from the reference programs (session-manager-plugin and amazon-ssm-agent); byte-exact
//! vectors made by their serializers and recordings of them are in `tests/fixtures`.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod agent;
mod cipher;
mod client;
mod config;
mod control;
mod core;
mod error;
mod event;
mod frame;
#[cfg(feature = "sim")]
pub mod fuzz;
mod handshake;
mod id;
mod payload;
mod port;
mod recv;
mod send;
mod session;
#[cfg(feature = "sim")]
pub mod sim;
pub mod smux;
mod time;

pub use cipher::DataKey;
pub use config::{AgentConfig, ClientConfig};
pub use control::OpenDataChannel;
pub use error::{FrameError, ProtocolError};
pub use event::Event;
pub use frame::{DigestCheck, Flags, Frame, HEADER_LENGTH, MessageType};
pub use handshake::{
    ActionStatus, EncryptionRequest, HandshakeComplete, HandshakeRequest, HandshakeResponse,
    KeyAnswer, ProcessedAction, RequestedAction, SessionType,
};
pub use id::{IdSource, MessageId};
pub use payload::{
    Acknowledge, AgentSessionState, ChannelClosed, EncryptionChallenge, Flag, PayloadType, Size,
    exit_code,
};
pub use port::PortMode;
pub use send::Resend;
pub use session::Session;
pub use time::Timestamp;
