//! Sessions in a container: the data channel's socket and driver, and what is built on them.

pub(crate) mod clock;
mod connect;
pub(crate) mod driver;
pub mod exec;
mod key;
mod line;
mod resume;
pub mod shell;

pub use bowline_proto::Size;

pub use self::connect::{CLIENT_VERSION, ChannelError};
pub use self::resume::DEFAULT_RECONNECT;
pub(crate) use self::resume::chain;
