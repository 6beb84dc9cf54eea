//! Resets: what they leave, and what one that fails does.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use bowline_sandbox::{Sandbox, StartError, WorldFile};
use serde_json::json;

use super::client::{self, Client};
use super::{LIMIT, call};

/// A program that the service of the world runs.
fn install(program: &Path) {
    fs::write(program, "#!/bin/sh\necho up\nexec sleep 600\n").unwrap();
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_that_fails_is_not_the_last_and_one_that_does_not_leaves_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program");
    install(&program);
    let logs = json!({ "group": "/g" });
    let world = json!({
        "start": "eager",
        "families": [{ "name": "f", "containers": [{ "name": "a", "image": "x", "command": [program], "logs": logs }] }],
        "clusters": [{ "name": "demo", "services": [{ "name": "f", "desired": 1 }] }],
    });
    let mut options = client::options();
    options.world = Some(WorldFile::parse(&world.to_string(), "world.json").unwrap());
    let sandbox = Sandbox::start(options).await.unwrap();
    let root = sandbox.logs().parent().unwrap().to_owned();
    // Its task, and the stream that it writes to.
    let start = Instant::now();
    while names(&root).len() < 2 {
        assert!(start.elapsed() < LIMIT, "{:?}", names(&root));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    sandbox.reset().await.unwrap();
    assert_eq!(names(&root), ["set-1"]);
    fs::remove_file(&program).unwrap();
    let failed = sandbox.reset().await.unwrap_err();
    assert!(matches!(failed, StartError::NotReady { .. }), "{failed}");
    assert_eq!(names(&root), ["set-1"]);
    let tasks = call(
        &Client::of(&sandbox),
        "ListTasks",
        json!({ "cluster": "demo" }),
    )
    .await;
    assert_eq!(tasks["taskArns"].as_array().unwrap().len(), 1);

    install(&program);
    sandbox.reset().await.unwrap();
    assert_eq!(names(&root), ["set-3"]);

    // A task that is over leaves nothing either.
    let set = root.join("set-3");
    let tasks = || {
        names(&set)
            .into_iter()
            .filter(|name| name.len() == 32)
            .collect::<Vec<_>>()
    };
    let first = tasks();
    assert_eq!(first.len(), 1);
    call(
        &Client::of(&sandbox),
        "StopTask",
        json!({ "cluster": "demo", "task": first[0] }),
    )
    .await;
    let start = Instant::now();
    while tasks().contains(&first[0]) {
        assert!(start.elapsed() < LIMIT, "{:?}", tasks());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sandbox.shutdown().await;
}
