//! run, attach and logs: the built binary against sandboxes whose tasks live, fail and log as those of ECS do.
//!
//! Every wait has a deadline far beyond what a busy machine needs; none waits for luck.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod bastion;
mod control;
mod endings;
mod interrupts;
mod lines;
mod refusals;
#[path = "../exec/support/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "the harness is shared with the tests of exec, and each side leaves out some of it"
)]
mod support;
