//! Sessions in a container: the data channel's socket and driver, and what is built on them.

mod clock;
mod connect;
mod driver;
pub mod exec;
mod key;
mod line;
mod resume;
pub mod shell;

pub use bowline_proto::Size;

pub use self::connect::ChannelError;
pub use self::resume::DEFAULT_RECONNECT;
