//! How a connection is made, for AWS's APIs and the data channel alike: the way it takes, its time limits, and one
//! plain text for each way in which it fails.
//!
//! The SDK brings its own HTTP client; it is given the same proxy variables and trust roots, and its failures are
//! put into the same words.

mod dial;
mod error;
mod proxy;

pub(crate) use self::dial::{Destination, DialError, Transport, dial};
pub(crate) use self::error::find;
pub use self::error::{NetworkError, NetworkProblem, Stage};
pub(crate) use self::proxy::{Proxies, Proxy, is_loopback_host};
