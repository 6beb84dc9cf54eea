//! `session-manager-plugin`: the built binary by that name, against the recorded sessions of AWS's own program, and how it
//! is installed.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../exec/support/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "the harness of tests/exec serves here in part"
)]
mod support;

mod install;
mod recorded;
mod service;
mod transcripts;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use support::BOWLINE;

/// A link to the binary under test, by the name of AWS's program.
pub(crate) fn link(directory: &Path) -> PathBuf {
    let link = directory.join("session-manager-plugin");
    symlink(BOWLINE, &link).unwrap();
    link
}
