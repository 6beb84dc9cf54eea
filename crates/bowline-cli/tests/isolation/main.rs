//! Isolated tasks with the built binary: what they cannot touch, what they share with nobody, what they still reach, and
//! that nothing of them stays. On a machine that refuses namespaces each test asserts the refusal instead.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../exec/support/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "the harness of tests/exec serves here in part"
)]
mod support;

mod ends;
mod machine;
mod network;

use std::process::{Command, Stdio};
use std::sync::OnceLock;

use support::{BOWLINE, Finished, Sandbox, clean, run};
use tempfile::TempDir;

/// A sandbox with isolated tasks. `None` where the machine refuses them, which has been asserted then.
#[track_caller]
fn isolated(options: &[&str]) -> Option<Sandbox> {
    static ALLOWED: OnceLock<bool> = OnceLock::new();
    let allowed = ALLOWED.get_or_init(|| {
        let home = TempDir::new().unwrap();
        let finished = run(&mut started_alone(clean(BOWLINE, home.path()), "on"));
        let allowed = finished.status.code() == Some(0);
        if !allowed {
            refused(finished);
        }
        allowed
    });
    allowed.then(|| Sandbox::start(&[&["--isolation", "on"], options].concat()))
}

/// A sandbox that ends as soon as it is ready.
fn started_alone(mut command: Command, isolation: &str) -> Command {
    command
        .args(["sandbox", "--private", "--isolation", isolation])
        .stdin(Stdio::null());
    command
}

#[track_caller]
fn refused(finished: Finished) -> Finished {
    finished
        .code(125)
        .stderr_has("error: tasks cannot be isolated on this machine: ")
        .stderr_has("--isolation off")
}

/// Runs a script in the container of one task of service web.
#[track_caller]
fn inside(sandbox: &Sandbox, task: &str, script: &str) -> Finished {
    run(&mut sandbox.bowline(&["exec", task, "--", "sh", "-c", script]))
}

/// The ids of the tasks of service web.
fn tasks(sandbox: &Sandbox) -> [String; 2] {
    let listed = run(&mut sandbox.bowline(&["ls", "tasks", "-o", "json"])).code(0);
    let document: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let all = document.to_string();
    let mut ids: Vec<String> = all
        .split("task/demo/")
        .skip(1)
        .map(|rest| rest[..32].to_owned())
        .collect();
    ids.sort();
    ids.dedup();
    ids.try_into().unwrap()
}
