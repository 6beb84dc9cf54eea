//! Faults on demand: what can go wrong with the API, with sockets and with the messages of sessions.
//!
//! [`Faults`] is a set of words, from a command line or from the control call `SetFaults` (`faults/words.rs`). The set
//! that is in force is in [`Switch`]; requests and sessions ask it what becomes of them. Chance is a function of the
//! seed and of what it is about, never of time (`faults/dice.rs`): the same seed gives the fifth message of the
//! second session the same fate in every run.
//!
//! Of a session, `faults/session.rs` counts messages and bytes and says when a socket is cut, `faults/lane.rs` holds
//! messages back, and `faults/wire.rs` is the socket that loses bytes and pongs.

mod api;
mod dice;
pub(crate) mod lane;
pub(crate) mod session;
mod switch;
pub(crate) mod wire;
mod words;

use std::time::Duration;

pub(crate) use switch::Switch;
pub(crate) use words::time;
pub use words::{FaultError, Faults};

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the client to the agent.
    Up,
    /// From the agent to the client.
    Down,
}

/// One value for each direction.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Both<T> {
    up: T,
    down: T,
}

impl<T> Both<T> {
    pub(crate) fn of(&self, direction: Direction) -> &T {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }

    pub(crate) fn of_mut(&mut self, direction: Direction) -> &mut T {
        match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        }
    }
}

/// What becomes of the messages of one direction. Chances are between 0 and 1.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Frames {
    delay: Option<Span>,
    loss: f64,
    duplicate: f64,
    reorder: f64,
    /// Bytes per second.
    bandwidth: Option<u64>,
    cut: Option<Mark>,
    cut_every: Option<Mark>,
    cuts: Option<Cuts>,
}

/// A length of time, fixed or by chance between two.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Span {
    min: Duration,
    max: Duration,
}

/// A place in the traffic of a direction: so many messages or bytes have passed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mark {
    Frame(u64),
    Byte(u64),
}

/// So many cuts at random places of the first so many bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cuts {
    count: u64,
    bytes: u64,
}

/// When the service says "Bye".
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bye {
    After(Duration),
    Frame(u64),
}

/// The service says that the other end is away.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pause {
    pub(crate) span: Duration,
    /// After so many messages to the client.
    frame: u64,
}

/// What ResumeSession answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Resume {
    /// A new token, as long as there is something to come back to.
    #[default]
    Allowed,
    /// AccessDeniedException; the session lives on.
    Denied,
    /// A session ends with its socket, and is then unknown.
    Gone,
    /// An answer without a token, which is how the service says that a session has timed out.
    NoToken,
}

/// A rule about API calls: of one operation, or of all.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rule<T> {
    operation: Option<String>,
    what: T,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Throttle {
    /// By chance.
    Chance(f64),
    /// The first so many calls.
    First(u64),
}

/// A token bucket: so many calls a second, and so many at once after a rest.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rate {
    per_second: f64,
    burst: f64,
}
