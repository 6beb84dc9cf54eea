//! SSM Automation runbooks: reading, checking, planning, and running them as a state machine.
//!
//! Nothing here does I/O or looks at a clock. [`check()`] reads a text and finds what is wrong with it; [`plan`] says
//! what a run would do; [`Execution`] is a run: it asks for calls, is told their answers and the time, and says
//! what happened.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod action;
mod document;
mod finding;
mod node;
mod reader;
mod reference;
mod selector;
mod source;
mod value;

pub use action::{Action, Tier};
pub use document::{Document, Named, OnFailure, OutputDeclaration, Parameter, Step};
pub use finding::{Code, Finding, Severity};
pub use node::{Entry, Kind, Node};
pub use reader::{ReadError, read};
pub use source::{Span, excerpt};
pub use value::Type;
