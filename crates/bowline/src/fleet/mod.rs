//! One command in many containers, or in many fresh tasks: of one or several services, clusters, accounts and regions.
//!
//! [`places`] finds the accounts and regions, [`select`] the containers in them or [`plan`] the tasks to be started,
//! and [`Fleet::start`] or [`Fleet::start_tasks`] runs them all: a bounded number at a time, each in a task of its own
//! here, with one bounded queue of events.
//! Who runs when is decided by a state machine without I/O (`scheduler.rs`); how fast an account is asked by a token
//! bucket in front of its connections (`aws/pace.rs`).

mod accounts;
mod attempt;
mod follow;
mod fresh;
mod run;
mod scheduler;
mod select;
mod target;

pub use self::accounts::{FleetError, Paces, Place, PlaceOptions, Places, Problem, places};
pub use self::fresh::{plan, replan};
pub use self::run::{Fleet, FleetEvent, Outcome, Stream};
pub use self::scheduler::{Limits, MaxFailures};
pub use self::select::{Again, Failed, FailedPlace, FailedRun, Selection, reselect, select};
pub use self::target::{Aim, FleetTarget, FreshTask};
pub use crate::aws::pace::STARTS as USUAL_RATE;
