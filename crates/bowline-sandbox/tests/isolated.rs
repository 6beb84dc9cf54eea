//! Isolated tasks with several containers and health checks, and where overlays are refused, which the built binary
//! shows only on machines that refuse them.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[expect(dead_code, reason = "the client of other tests serves here in part")]
mod client;

use std::num::NonZeroU32;
use std::time::Duration;

use bowline_sandbox::{Isolated, Isolation, Options, Sandbox, StartError};
use client::{Client, Request};
use serde_json::{Value, json};

/// A busy machine needs a second or two.
const LIMIT: Duration = Duration::from_secs(60);
/// Writes where a container may, and tries to where it may not; the code tells what was wrong.
const SCRIPT: &str = "touch /etc/x /tmp/x /var/tmp/x /root/x /run/x || exit 11
    grep -q localhost /etc/hosts && rm /etc/hosts || exit 12
    for folder in $READ_ONLY; do touch $folder/x 2>/dev/null && exit 13; done
    exit 42";

/// Those of the machine's folders that have no mounts below: the others are made anew, of what is in them.
fn whole_folders() -> String {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points: Vec<&str> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .collect();
    let is_whole = |folder: &&str| !points.iter().any(|point| point.starts_with(*folder));
    let whole: Vec<&str> = ["/usr/", "/var/", "/opt/"]
        .into_iter()
        .filter(is_whole)
        .collect();
    assert!(!whole.is_empty(), "{points:?}");
    whole.join(" ")
}

#[tokio::test]
async fn without_overlays_the_machine_is_read_only() {
    let Some(sandbox) = isolated(true).await else {
        return;
    };
    let client = Client::of(&sandbox);
    let environment = json!([{ "name": "READ_ONLY", "value": whole_folders() }]);
    let command =
        json!([{ "name": "job", "command": ["sh", "-c", SCRIPT], "environment": environment }]);
    let overrides = json!({ "containerOverrides": command });
    let task = run(&client, "job", &overrides).await;
    assert_eq!(task["containers"][0]["exitCode"], 42, "{task}");
    sandbox.shutdown().await;
}

/// They share a network, and no files. The check of the first runs in its container, and the second waits for it.
#[tokio::test]
async fn containers_of_a_task_share_its_localhost() {
    let Some(sandbox) = isolated(false).await else {
        return;
    };
    let client = Client::of(&sandbox);
    let check = "grep -q ' 00000000:1F90 ' /proc/net/tcp && touch /tmp/seen";
    let look = "test ! -e /tmp/seen && grep -q ' 00000000:1F90 ' /proc/net/tcp && exit 9";
    let definition = json!({ "family": "pair", "networkMode": "awsvpc", "containerDefinitions": [
        { "name": "server", "image": "none", "command": ["bowline-demo-web"],
          "healthCheck": { "command": ["CMD-SHELL", check], "interval": 5 } },
        { "name": "client", "image": "none", "command": ["sh", "-c", look],
          "dependsOn": [{ "containerName": "server", "condition": "HEALTHY" }] },
    ] });
    call(&client, "RegisterTaskDefinition", &definition).await;
    let task = run(&client, "pair", &json!({})).await;
    let containers = task["containers"].as_array().unwrap();
    let client = containers.iter().find(|it| it["name"] == "client").unwrap();
    assert_eq!(client["exitCode"], 9, "{task}");
    sandbox.shutdown().await;
}

/// A sandbox with isolated tasks. `None` where the machine refuses them, which has been asserted then.
async fn isolated(without_overlays: bool) -> Option<Sandbox> {
    let options = |isolation| Options {
        isolation,
        without_overlays,
        clock_speed: NonZeroU32::new(20).unwrap(),
        ..client::options()
    };
    match Sandbox::start(options(Isolation::On)).await {
        Ok(sandbox) => {
            assert_eq!(*sandbox.isolated(), Isolated::Yes);
            Some(sandbox)
        }
        // The reason is named, and `Auto` goes on without.
        Err(StartError::Isolation { reason }) => {
            assert!(reason.contains("cannot"), "{reason}");
            let sandbox = Sandbox::start(options(Isolation::Auto)).await.unwrap();
            assert!(matches!(sandbox.isolated(), Isolated::No(Some(_))));
            sandbox.shutdown().await;
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Runs a task to its end.
async fn run(client: &Client, family: &str, overrides: &Value) -> Value {
    let network = json!({ "awsvpcConfiguration": { "subnets": ["subnet-0a1b2c3d4e5f60001"] } });
    let order = json!({ "taskDefinition": family, "cluster": "demo", "launchType": "FARGATE",
        "networkConfiguration": network, "overrides": overrides });
    let ran = call(client, "RunTask", &order).await;
    let arn = ran["tasks"][0]["taskArn"].as_str().unwrap().to_owned();
    let described = json!({ "cluster": "demo", "tasks": [arn] });
    let ended = async {
        loop {
            let answer = call(client, "DescribeTasks", &described).await;
            let task = answer["tasks"][0].clone();
            if task["lastStatus"] == "STOPPED" {
                return task;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, ended).await.unwrap()
}

async fn call(client: &Client, operation: &str, input: &Value) -> Value {
    let answer = client.send_signed(&Request::json(operation, input)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}
