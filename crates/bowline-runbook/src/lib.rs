//! SSM Automation runbooks: reading, checking, planning, and running them as a state machine.
//!
//! Nothing here does I/O or looks at a clock. [`check()`] reads a text and finds what is wrong with it; [`plan()`] says
//! what a run would do; [`Execution`] is a run: it asks for calls, is told their answers and the time, and says
//! what happened.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod action;
mod check;
mod document;
pub mod draw;
mod engine;
mod finding;
#[doc(hidden)]
pub mod fuzz;
mod node;
mod parameters;
mod plan;
mod reader;
mod reference;
mod selector;
mod source;
mod time;
mod value;

pub use action::{Action, Tier};
pub use check::{Edge, Graph, Report, Row, StepTypes, Types, Way, check};
pub use document::{Document, Named, OnFailure, OutputDeclaration, Parameter, Step};
pub use engine::{
    Answer, CallFailure, Child, Ended, Event, Execution, Options, Request, Script, Snapshot,
    Status, Surroundings, Work, masked,
};
pub use finding::{Code, Finding, Severity};
pub use node::{Entry, Kind, Node};
pub use parameters::{Given, Parameters};
pub use plan::{Onward, Plan, Planned, Runs, plan};
pub use reader::{ReadError, read};
pub use reference::Reference;
pub use source::{Span, excerpt};
pub use value::{Type, texts};
