//! One command in many containers: of one or several services, clusters, accounts and regions.
//!
//! [`places`] finds the accounts and regions, [`select`] the containers in them, and [`Fleet::start`] runs a command in
//! all of them: a bounded number at a time, each in a session and a task of its own, with one bounded queue of events.
//! Who runs when is decided by a state machine without I/O (`scheduler.rs`); how fast an account is asked by a token
//! bucket in front of its connections (`aws/pace.rs`).

mod accounts;
mod run;
mod scheduler;
mod select;

pub use self::accounts::{FleetError, Paces, Place, PlaceOptions, Places, Problem, places};
pub use self::run::{Fleet, FleetEvent, Outcome, Stream};
pub use self::scheduler::{Limits, MaxFailures};
pub use self::select::{Again, Failed, FailedPlace, FleetTarget, Selection, reselect, select};
pub use crate::aws::pace::STARTS as USUAL_RATE;
