//! One command on many targets: the built binary against sandboxes of simulated tasks, accounts and regions.
//!
//! Every wait has a deadline far beyond what a busy machine needs; none waits for luck. A thousand targets are the
//! business of `cargo xtask bench fleet`.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod ends;
mod places;
mod runs;
mod shown;
#[path = "../exec/support/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "the harness is shared with the tests of exec, and each side leaves out some of it"
)]
mod support;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Finished, Sandbox, post};

const ECS: &str = "AmazonEC2ContainerServiceV20141113";

/// A sandbox that can be looked behind, with a service of simulated tasks.
fn sandbox(fleet: &str, more: &[&str]) -> Sandbox {
    let scenario = format!("fleet={fleet}");
    let mut options = vec!["--accept-any-credentials", "--scenario", &scenario];
    options.extend(more);
    Sandbox::start(&options)
}

/// The JSON lines of a run.
fn events(finished: &Finished) -> Vec<Value> {
    let text = std::str::from_utf8(&finished.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// How each target ended, by its task's ARN.
fn outcomes(events: &[Value]) -> BTreeMap<String, String> {
    let ended = events.iter().filter(|event| event["type"] == "ended");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    ended
        .map(|event| (text(&event["taskArn"]), text(&event["outcome"])))
        .collect()
}

/// How each task of the sandbox was told to fare, by its ARN.
fn fates(sandbox: &Sandbox) -> BTreeMap<String, String> {
    let mut fates = BTreeMap::new();
    let mut next = Value::Null;
    loop {
        let mut input = json!({"cluster": "demo", "serviceName": "fleet", "maxResults": 100});
        if next.is_string() {
            input["nextToken"] = next;
        }
        let listed = post(sandbox, ECS, "ListTasks", &input);
        let input = json!({"cluster": "demo", "tasks": listed["taskArns"], "include": ["TAGS"]});
        let described = post(sandbox, ECS, "DescribeTasks", &input);
        for task in described["tasks"].as_array().unwrap() {
            let tags = task["tags"].as_array().unwrap();
            let fate = tags
                .iter()
                .find(|tag| tag["key"] == "bowline.sandbox.fate")
                .unwrap();
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            fates.insert(text(&task["taskArn"]), text(&fate["value"]));
        }
        next = listed["nextToken"].clone();
        if !next.is_string() {
            return fates;
        }
    }
}

fn active_sessions(sandbox: &Sandbox) -> usize {
    let sessions = post(
        sandbox,
        "AmazonSSM",
        "DescribeSessions",
        &json!({"State": "Active"}),
    );
    sessions["Sessions"].as_array().unwrap().len()
}

fn calls(sandbox: &Sandbox, operation: &str) -> u64 {
    let calls = post(sandbox, "BowlineSandbox", "CountCalls", &json!({}));
    calls["calls"][operation].as_u64().unwrap_or_default()
}
