//! cp, script, jobs and op: the built binary against sandboxes with each shell, with and without tools.
//!
//! Every wait has a deadline far beyond what a busy machine needs; none waits for luck.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod copies;
mod hostile;
mod images;
mod jobs;
mod operations;
mod resume;
mod scripts;
#[path = "../exec/support/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "the harness is shared with the tests of exec, and each side leaves out some of it"
)]
mod support;
mod tree;
