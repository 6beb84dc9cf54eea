//! Sessions that other programs start are recorded too where the configuration asks for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::link;
use crate::support::{Finished, Running, SOON, Sandbox, post, run, wait_for};

const ECS: &str = "AmazonEC2ContainerServiceV20141113";

/// A task of the sandbox's service `web`: its id and its runtime's.
fn task(sandbox: &Sandbox) -> (String, String) {
    let wish = json!({"cluster": "demo", "serviceName": "web"});
    let arn = post(sandbox, ECS, "ListTasks", &wish)["taskArns"][0].clone();
    let wish = json!({"cluster": "demo", "tasks": [arn]});
    let task = &post(sandbox, ECS, "DescribeTasks", &wish)["tasks"][0];
    let runtime = task["containers"][0]["runtimeId"].as_str().unwrap();
    let id = arn.as_str().unwrap().rsplit('/').next().unwrap();
    (id.to_owned(), runtime.to_owned())
}

/// The plugin as the AWS CLI starts it for such a session, recording forced.
fn plugin(sandbox: &Sandbox, folder: &Path, grant: &Value, request: &Value) -> Command {
    let config = folder.join("config.toml");
    let recordings = folder.join("recordings");
    let text = format!(
        "[record]\nalways = true\ndir = '{}'\n",
        recordings.display()
    );
    if !config.exists() {
        fs::write(&config, text).unwrap();
    }
    let mut command = sandbox.command(link(folder));
    command
        .args([&grant.to_string(), "us-east-1", "StartSession", ""])
        .args([&request.to_string(), sandbox.variable("AWS_ENDPOINT_URL")])
        .env("BOWLINE_CONFIG", config)
        .stdin(Stdio::null());
    command
}

fn exec(sandbox: &Sandbox, folder: &Path, command: &str) -> Finished {
    let (task, runtime) = task(sandbox);
    let wish = json!({"cluster": "demo", "task": task, "container": "app", "interactive": true,
        "command": command});
    let grant = &post(sandbox, ECS, "ExecuteCommand", &wish)["session"];
    let request = json!({"Target": format!("ecs:demo_{task}_{runtime}")});
    run(&mut plugin(sandbox, folder, grant, &request))
}

fn recordings(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder.join("recordings")).unwrap();
    files.map(|file| file.unwrap().path()).collect()
}

fn active(sandbox: &Sandbox) -> usize {
    let wish = json!({"State": "Active"});
    let sessions = post(sandbox, "AmazonSSM", "DescribeSessions", &wish);
    sessions["Sessions"].as_array().unwrap().len()
}

#[test]
fn a_command_is_recorded_as_by_exec_and_does_not_run_unrecorded() {
    let sandbox = Sandbox::start(&["--accept-any-credentials"]);
    let folder = TempDir::new().unwrap();
    let command = "sh -c 'echo key AKIAIOSFODNN7EXAMPLE'";
    let finished = exec(&sandbox, folder.path(), command).code(0);
    let shown = String::from_utf8(finished.stdout).unwrap();
    assert!(shown.contains("key AKIAIOSFODNN7EXAMPLE"), "{shown}");
    let files = recordings(folder.path());
    assert_eq!(files.len(), 1, "{files:?}");
    let path = files[0].to_str().unwrap();
    assert!(
        path.contains("session-manager-plugin") && path.ends_with(".cast"),
        "{path}"
    );
    run(&mut sandbox.bowline(&["record", "verify", path])).code(0);
    let text = fs::read_to_string(path).unwrap();
    let head: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let start = &head["bowline"];
    assert_eq!(start["target"]["cluster"], "demo");
    assert_eq!(start["account"], "123456789012");
    assert!(
        start["forced"].as_str().unwrap().contains("config.toml:1"),
        "{start}"
    );
    assert!(
        text.contains("key [redacted:aws-key-id]") && text.contains("sessionId"),
        "{text}"
    );
    assert!(!text.contains("AKIAIOSFODNN7EXAMPLE"), "{text}");

    let other = TempDir::new().unwrap();
    let text = "[record]\nalways = true\ndir = '/dev/null/recordings'\n";
    fs::write(other.path().join("config.toml"), text).unwrap();
    let refused = exec(&sandbox, other.path(), command).code(1);
    assert!(
        refused.stderr.contains("no session without its recording"),
        "{}",
        refused.stderr
    );
    let shown = String::from_utf8(refused.stdout).unwrap();
    assert!(!shown.contains("AKIA"), "{shown}");
    wait_for("the end of the session", SOON, || {
        (active(&sandbox) == 0).then_some(())
    });
}

#[test]
fn of_a_port_it_is_recorded_that_it_was_open() {
    let sandbox = Sandbox::start(&["--accept-any-credentials"]);
    let folder = TempDir::new().unwrap();
    let (task, runtime) = task(&sandbox);
    let request = json!({
        "Target": format!("ecs:demo_{task}_{runtime}"),
        "DocumentName": "AWS-StartPortForwardingSession",
        "Parameters": {"portNumber": ["80"], "localPortNumber": ["0"]},
    });
    let grant = post(&sandbox, "AmazonSSM", "StartSession", &request);
    let mut command = plugin(&sandbox, folder.path(), &grant, &request);
    let mut running = Running::start_lines(&mut command);
    while !running.line().1.contains("opened for sessionId") {}
    running.signal("TERM");
    running.finish(SOON).code(0);
    let files = recordings(folder.path());
    assert_eq!(files.len(), 1, "{files:?}");
    let path = files[0].to_str().unwrap();
    run(&mut sandbox.bowline(&["record", "verify", path])).code(0);
    let text = fs::read_to_string(path).unwrap();
    assert!(
        text.contains(&task) && text.contains("the port was closed"),
        "{text}"
    );
}
