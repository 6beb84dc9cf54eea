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
mod children;
mod corpus;
mod remote;
mod run;

use std::path::{Path, PathBuf};

use serde_json::Value;
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

/// The events of a run.
fn events(text: &[u8]) -> Vec<Value> {
    let lines = std::str::from_utf8(text).unwrap().lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Steps that ended, with their statuses.
fn ends(events: &[Value]) -> Vec<String> {
    let ends = events.iter().filter(|event| event["type"] == "step.end");
    let text = |event: &Value, name: &str| event[name].as_str().unwrap().to_owned();
    ends.map(|it| format!("{} {}", text(it, "step"), text(it, "status")))
        .collect()
}
