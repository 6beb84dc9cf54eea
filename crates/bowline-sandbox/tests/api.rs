//! The world behind the API: tasks are processes, services keep theirs, and nothing is left at the end.

#![expect(
    clippy::unwrap_used,
    reason = "the exemption for tests does not reach the functions they share"
)]

mod client;
#[path = "api/reset.rs"]
mod reset;
#[path = "api/world_file.rs"]
mod world_file;

use std::path::Path;
use std::time::{Duration, Instant};

use client::{Client, Request};
use serde_json::{Value, json};

/// Nothing here takes longer, however busy the machine.
const LIMIT: Duration = Duration::from_secs(30);

/// A call of an ECS operation that must succeed.
async fn call(client: &Client, operation: &str, body: Value) -> Value {
    let answer = client.send_signed(&Request::json(operation, &body)).await;
    assert_eq!(answer.status, 200, "{operation}: {answer:?}");
    answer.json()
}

/// One that must fail; answers the error's code.
async fn refused(client: &Client, operation: &str, body: Value) -> String {
    let answer = client.send_signed(&Request::json(operation, &body)).await;
    assert_eq!(answer.status, 400, "{operation}: {answer:?}");
    answer.code()
}

fn network() -> Value {
    json!({ "awsvpcConfiguration": { "subnets": ["subnet-0a1b2c3d4e5f60001"] } })
}

fn run_web(command: &[&str]) -> Value {
    json!({
        "cluster": "demo", "taskDefinition": "web", "launchType": "FARGATE", "networkConfiguration": network(),
        "overrides": { "containerOverrides": [{ "name": "app", "command": command }] },
    })
}

async fn describe(client: &Client, arn: &str) -> Value {
    let answer = call(
        client,
        "DescribeTasks",
        json!({ "cluster": "demo", "tasks": [arn] }),
    )
    .await;
    answer["tasks"][0].clone()
}

/// The task, as soon as it has this status.
async fn wait_for(client: &Client, arn: &str, status: &str) -> Value {
    let start = Instant::now();
    loop {
        let task = describe(client, arn).await;
        if task["lastStatus"] == status {
            return task;
        }
        assert!(start.elapsed() < LIMIT, "not {status}: {task:#}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn run(client: &Client, request: Value) -> String {
    let answer = call(client, "RunTask", request).await;
    answer["tasks"][0]["taskArn"].as_str().unwrap().to_owned()
}

async fn web_tasks(client: &Client) -> Vec<String> {
    let answer = call(
        client,
        "ListTasks",
        json!({ "cluster": "demo", "serviceName": "web" }),
    )
    .await;
    serde_json::from_value(answer["taskArns"].clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_world_runs_when_the_first_request_is_answered() {
    let sandbox = client::sandbox().await;
    let client = Client::of(&sandbox);
    let answer = call(
        &client,
        "DescribeServices",
        json!({ "cluster": "demo", "services": ["web"] }),
    )
    .await;
    let service = &answer["services"][0];
    assert_eq!(
        (
            &service["runningCount"],
            &service["deployments"][0]["rolloutState"]
        ),
        (&json!(2), &json!("COMPLETED"))
    );
    let mut addresses = Vec::new();
    for arn in web_tasks(&client).await {
        let task = describe(&client, &arn).await;
        let container = &task["containers"][0];
        assert_eq!(container["managedAgents"][0]["lastStatus"], "RUNNING");
        addresses.push(container["networkInterfaces"][0]["privateIpv4Address"].clone());
    }
    addresses.dedup();
    assert_eq!(addresses.len(), 2, "each task has an address of its own");
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_signals_and_start_failures_are_told_apart() {
    let sandbox = client::sandbox().await;
    let client = Client::of(&sandbox);
    let arn = run(&client, run_web(&["sh", "-c", "exit 3"])).await;
    let task = wait_for(&client, &arn, "STOPPED").await;
    assert_eq!(task["containers"][0]["exitCode"], 3);
    assert_eq!(task["stopCode"], "EssentialContainerExited");

    let arn = run(&client, run_web(&["sleep", "600"])).await;
    wait_for(&client, &arn, "RUNNING").await;
    call(
        &client,
        "StopTask",
        json!({ "cluster": "demo", "task": arn, "reason": "bye" }),
    )
    .await;
    let task = wait_for(&client, &arn, "STOPPED").await;
    assert_eq!(task["containers"][0]["exitCode"], 143);
    assert_eq!(
        (&task["stopCode"], &task["stoppedReason"]),
        (&json!("UserInitiated"), &json!("bye"))
    );

    let arn = run(&client, run_web(&["/no/such/program"])).await;
    let task = wait_for(&client, &arn, "STOPPED").await;
    assert_eq!(task["stopCode"], "TaskFailedToStart");
    assert_eq!(task["containers"][0].get("exitCode"), None);
    assert_eq!(task.get("startedAt"), None);
    let reason = task["containers"][0]["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("CannotStartContainerError: "),
        "{reason}"
    );
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_stopped_before_it_ran_never_runs() {
    let options = bowline_sandbox::Options {
        pace: LIMIT,
        ..client::options()
    };
    let sandbox = bowline_sandbox::Sandbox::start(options).await.unwrap();
    let client = Client::of(&sandbox);
    let arn = run(&client, run_web(&["sleep", "600"])).await;
    let answer = call(
        &client,
        "StopTask",
        json!({ "cluster": "demo", "task": arn }),
    )
    .await;
    assert_eq!(answer["task"]["desiredStatus"], "STOPPED");
    let task = wait_for(&client, &arn, "DEPROVISIONING").await;
    assert_eq!(task["stoppedReason"], "Task stopped by user");
    assert_eq!(
        (task.get("startedAt"), task["containers"][0].get("exitCode")),
        (None, None)
    );
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_replaces_a_stopped_task_and_follows_its_desired_count() {
    let sandbox = client::sandbox().await;
    let client = Client::of(&sandbox);
    let before = web_tasks(&client).await;
    call(
        &client,
        "StopTask",
        json!({ "cluster": "demo", "task": before[0] }),
    )
    .await;
    settled(&client, 2).await;
    let after = web_tasks(&client).await;
    assert!(
        after.contains(&before[1]) && !after.contains(&before[0]),
        "{before:?} {after:?}"
    );

    for count in [4, 1] {
        call(
            &client,
            "UpdateService",
            json!({ "cluster": "demo", "service": "web", "desiredCount": count }),
        )
        .await;
        settled(&client, count).await;
        assert_eq!(web_tasks(&client).await.len(), count);
    }
    let before = web_tasks(&client).await;
    let update = json!({ "cluster": "demo", "service": "web", "forceNewDeployment": true });
    call(&client, "UpdateService", update).await;
    let service = settled(&client, 1).await;
    let after = web_tasks(&client).await;
    assert_ne!(before, after);
    assert_eq!(
        describe(&client, &after[0]).await["startedBy"],
        service["deployments"][0]["id"]
    );
    sandbox.shutdown().await;
}

/// Waits until the service has one deployment, which is complete, and this many running tasks.
async fn settled(client: &Client, count: usize) -> Value {
    let start = Instant::now();
    loop {
        let answer = call(
            client,
            "DescribeServices",
            json!({ "cluster": "demo", "services": ["web"] }),
        )
        .await;
        let service = &answer["services"][0];
        let deployments = service["deployments"].as_array().unwrap();
        let complete = deployments.len() == 1 && deployments[0]["rolloutState"] == "COMPLETED";
        if complete && service["runningCount"] == count && web_tasks(client).await.len() == count {
            return service.clone();
        }
        assert!(start.elapsed() < LIMIT, "not settled: {service:#}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_waits_for_the_agent() {
    let options = bowline_sandbox::Options {
        agent_pending: LIMIT,
        ..client::options()
    };
    let sandbox = bowline_sandbox::Sandbox::start(options).await.unwrap();
    let client = Client::of(&sandbox);
    let arn = web_tasks(&client).await.remove(0);
    let task = describe(&client, &arn).await;
    assert_eq!(task["lastStatus"], "RUNNING");
    assert_eq!(
        task["containers"][0]["managedAgents"][0]["lastStatus"],
        "PENDING"
    );
    let exec = json!({ "cluster": "demo", "task": arn, "command": "true", "interactive": true });
    assert_eq!(
        refused(&client, "ExecuteCommand", exec).await,
        "InvalidParameterException"
    );
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_with_two_containers_ends_with_its_essential_one() {
    let sandbox = client::sandbox().await;
    let client = Client::of(&sandbox);
    let container = |name: &str, essential: bool, script: &str| json!({ "name": name, "image": "i", "essential": essential, "command": ["sh", "-c", script] });
    let definition = json!({
        "family": "pair", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"],
        "cpu": "256", "memory": "512", "taskRoleArn": "arn:aws:iam::123456789012:role/r",
        "containerDefinitions": [
            container("main", true, "until [ -e ../go ]; do sleep 0.01; done; exit 5"),
            container("aside", false, "exit 7"),
            container("helper", false, "exec sleep 600"),
        ],
    });
    call(&client, "RegisterTaskDefinition", definition).await;
    let request = json!({
        "cluster": "demo", "taskDefinition": "pair", "networkConfiguration": network(), "enableExecuteCommand": true,
    });
    let arn = run(&client, request).await;
    let task = wait_for(&client, &arn, "RUNNING").await;
    let exec = |container: Option<&str>| json!({ "cluster": "demo", "task": arn, "command": "touch ../go", "interactive": true, "container": container });
    assert_eq!(
        refused(&client, "ExecuteCommand", exec(Some("nope"))).await,
        "InvalidParameterException"
    );
    assert_eq!(
        refused(&client, "ExecuteCommand", exec(None)).await,
        "InvalidParameterException"
    );
    assert_eq!(
        task["launchType"], "FARGATE",
        "by the cluster's default strategy"
    );
    assert_eq!(
        call(&client, "ExecuteCommand", exec(Some("helper"))).await["containerName"],
        "helper"
    );

    let task = wait_for(&client, &arn, "STOPPED").await;
    let code = |index: usize| task["containers"][index]["exitCode"].clone();
    assert_eq!(
        [code(0), code(1), code(2)],
        [json!(5), json!(7), json!(143)]
    );
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_can_read_its_metadata_and_inherits_nothing() {
    let sandbox = client::sandbox().await;
    let client = Client::of(&sandbox);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("env");
    let script = format!(
        "env >{0}.part && mv {0}.part {0}; exec sleep 600",
        file.display()
    );
    let arn = run(&client, run_web(&["sh", "-c", &script])).await;
    let text = contents(&file).await;
    let value = |name: &str| {
        let found = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        found
            .unwrap_or_else(|| panic!("{name} is not in {text}"))
            .to_owned()
    };
    // Cargo sets this for every test.
    assert!(
        std::env::var_os("CARGO_MANIFEST_DIR").is_some() && !text.contains("CARGO_MANIFEST_DIR")
    );
    assert_eq!(value("AWS_EXECUTION_ENV"), "AWS_ECS_FARGATE");
    assert_eq!(value("AWS_REGION"), "us-east-1");

    let uri = value("ECS_CONTAINER_METADATA_URI_V4");
    let path = uri.strip_prefix(sandbox.endpoint()).unwrap();
    let get = async |path: &str| {
        let text = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
            client.authority
        );
        client.exchange(&text).await
    };
    assert_eq!(get(path).await.json()["Name"], "app");
    assert_eq!(
        get(&format!("{path}/task")).await.json()["TaskARN"],
        json!(arn)
    );
    assert_eq!(get("/v4/0123").await.status, 404);
    sandbox.shutdown().await;
}

async fn contents(file: &Path) -> String {
    let start = Instant::now();
    loop {
        if let Ok(text) = std::fs::read_to_string(file) {
            return text;
        }
        assert!(
            start.elapsed() < LIMIT,
            "{} does not appear",
            file.display()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_after_shutdown() {
    let sandbox = client::sandbox().await;
    let client = Client::of(&sandbox);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let script = format!(
        "trap '' TERM; pwd >{0}.part; echo $$ >>{0}.part; mv {0}.part {0}; sleep 600",
        file.display()
    );
    run(&client, run_web(&["sh", "-c", &script])).await;
    let text = contents(&file).await;
    let mut lines = text.lines();
    let (directory, pid) = (lines.next().unwrap(), lines.next().unwrap());
    assert!(Path::new(directory).exists());
    let start = Instant::now();
    sandbox.shutdown().await;
    // It ignores SIGTERM, which is not waited for when everything ends.
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    assert!(
        !Path::new(&format!("/proc/{pid}")).exists(),
        "process {pid} is still there"
    );
    assert!(!Path::new(directory).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_without_its_init_says_so_at_once() {
    let mut options = client::options();
    options.init.program = "/no/such/init".into();
    let start = Instant::now();
    let error = bowline_sandbox::Sandbox::start(options).await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the services do not come up: CannotStartContainerError: "),
        "{error}"
    );
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_in_use_are_an_error_that_names_the_port() {
    let sandbox = client::sandbox().await;
    let port: u16 = sandbox
        .endpoint()
        .rsplit(':')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let options = bowline_sandbox::Options {
        port,
        ..client::options()
    };
    let error = bowline_sandbox::Sandbox::start(options).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot listen on 127.0.0.1 port {port}")
    );
    sandbox.shutdown().await;
}
