//! smux version 1: many streams over one ordered sequence of bytes, either end, without I/O.
//!
//! Port sessions carry it in their payloads (data-channel specification §8.2): the client is the smux client, the agent the
//! server. Bytes and the time go into a [`Mux`], bytes to send, events and one deadline come out. It knows nothing of
//! the rest of this crate but its timestamps.

mod frame;
mod mux;
mod stream;

pub use self::frame::SmuxError;
pub use self::mux::{BUDGET, Mux, MuxConfig, MuxEvent, MuxRole};
pub use self::stream::StreamId;
