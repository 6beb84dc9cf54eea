//! `runbook check`, `plan` and `run`: the built binary, without AWS and against sandboxes.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../exec/support/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "the harness of tests/exec serves here in part"
)]
mod support;

mod check;
mod corpus;
mod remote;
mod run;

use std::path::{Path, PathBuf};

use support::{BOWLINE, Finished, clean, run as finish};
use tempfile::TempDir;

const EXAMPLE: &str = include_str!("../../../../examples/runbooks/lambda-task-lambda.yaml");

/// A folder with a runbook in it.
fn written(text: &str) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("book.yaml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

/// `bowline runbook` without AWS, in the folder of the runbook.
fn offline(folder: &Path, words: &[&str]) -> Finished {
    finish(clean(BOWLINE, folder).arg("runbook").args(words))
}
