//! Sessions of all kinds, and the worlds of the scenarios in which they fail.

#![expect(
    clippy::unwrap_used,
    reason = "the exemption for tests does not reach the functions they share"
)]

#[expect(dead_code, reason = "shared with tests that need more of it")]
mod channel;
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod client;

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use bowline_sandbox::{Sandbox, Scenario};
use channel::Channel;
use client::{Answer, Client, Request};
use serde_json::{Value, json};

/// Nothing here takes longer, however busy the machine.
const LIMIT: Duration = Duration::from_secs(30);

async fn sandbox(scenarios: &[&str]) -> (Sandbox, Client) {
    let mut options = client::options();
    options.scenarios = scenarios
        .iter()
        .map(|name| name.parse::<Scenario>().unwrap())
        .collect();
    let sandbox = Sandbox::start(options).await.unwrap();
    let client = Client::of(&sandbox);
    (sandbox, client)
}

async fn send(client: &Client, operation: &str, body: Value) -> Answer {
    client.send_signed(&Request::json(operation, &body)).await
}

async fn call(client: &Client, operation: &str, body: Value) -> Value {
    let answer = send(client, operation, body).await;
    assert_eq!(answer.status, 200, "{operation}: {answer:?}");
    answer.json()
}

/// One of the sandbox's own calls, which are signed as those of ECS are.
async fn control(client: &Client, operation: &str, body: Value) -> Answer {
    let mut request = Request::json(&format!("BowlineSandbox.{operation}"), &body);
    request.service = "ecs";
    client.send_signed(&request).await
}

async fn advance(client: &Client, seconds: u32) {
    let answer = control(client, "AdvanceClock", json!({ "seconds": seconds })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// One task of service `web`.
async fn web_task(client: &Client) -> Value {
    let service = json!({ "cluster": "demo", "serviceName": "web" });
    let tasks = call(client, "ListTasks", service).await;
    let arns = json!({ "cluster": "demo", "tasks": [tasks["taskArns"][0]] });
    call(client, "DescribeTasks", arns).await["tasks"][0].clone()
}

async fn execute_answer(client: &Client, command: &str) -> Answer {
    let task = web_task(client).await;
    let request = json!({
        "cluster": "demo", "task": task["taskArn"], "command": command, "interactive": true,
    });
    send(client, "ExecuteCommand", request).await
}

/// Starts a command by ExecuteCommand; the session's id and its channel.
async fn execute(client: &Client, command: &str) -> (String, Channel) {
    let answer = execute_answer(client, command).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let session = &answer.json()["session"];
    let id = session["sessionId"].as_str().unwrap().to_owned();
    (id, Channel::open(session).await)
}

/// The terminal's output of a command that ends by itself.
async fn output_of(client: &Client, command: &str) -> String {
    let (_, channel) = execute(client, command).await;
    channel.into_end().await.text()
}

/// Starts a command without a terminal.
async fn non_interactive(client: &Client, command: &str) -> Channel {
    let task = web_task(client).await;
    let (id, runtime_id) = (
        task["taskArn"]
            .as_str()
            .unwrap()
            .rsplit('/')
            .next()
            .unwrap(),
        task["containers"][0]["runtimeId"].as_str().unwrap(),
    );
    let request = json!({
        "Target": format!("ecs:demo_{id}_{runtime_id}"),
        "DocumentName": "AWS-StartNonInteractiveCommand",
        "Parameters": { "command": [command] },
    });
    Channel::open(&call(client, "AmazonSSM.StartSession", request).await).await
}

async fn session_status(client: &Client, state: &str, id: &str) -> Option<String> {
    let filters = json!({ "State": state, "Filters": [{ "key": "SessionId", "value": id }] });
    let found = call(client, "AmazonSSM.DescribeSessions", filters).await;
    let status = found["Sessions"][0]["Status"].as_str();
    status.map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_without_a_program_lacks_it_under_every_name() {
    let (sandbox, client) = sandbox(&["no-base64", "no-stty"]).await;
    let script =
        "sh -c 'for p in base64 stty /usr/bin/base64 cat; do command -v $p; done; echo end'";
    let output = output_of(&client, script).await;
    // A shell that runs can still reach what it names by its path.
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines.len(), 3, "{output}");
    assert_eq!(lines[0], "/usr/bin/base64");
    assert!(lines[1].ends_with("/app.bin/cat"), "{output}");

    let (_, channel) = execute(&client, "/usr/bin/base64 x").await;
    let closed = channel.into_end().await.closed.unwrap();
    assert!(
        closed.contains("fork/exec /usr/bin/base64: no such file or directory"),
        "{closed}"
    );
    assert_eq!(output_of(&client, "/bin/echo hi").await, "hi\r\n");
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_an_empty_image_only_the_built_in_server_runs() {
    let (sandbox, client) = sandbox(&["no-tools"]).await;
    for (command, text) in [
        ("/bin/sh", "fork/exec /bin/sh: no such file or directory"),
        ("sh", "exec: \"sh\": executable file not found in $PATH"),
    ] {
        let (_, channel) = execute(&client, command).await;
        let closed = channel.into_end().await.closed.unwrap();
        assert!(closed.contains(text), "{command}: {closed}");
    }
    let run = json!({
        "cluster": "demo", "taskDefinition": "web", "launchType": "FARGATE",
        "networkConfiguration": { "awsvpcConfiguration": { "subnets": ["subnet-0a1b2c3d4e5f60001"] } },
        "overrides": { "containerOverrides": [{ "name": "app", "command": ["/bin/sleep", "9"] }] },
    });
    let task = call(&client, "RunTask", run).await["tasks"][0]["taskArn"].clone();
    let describe = json!({ "cluster": "demo", "tasks": [task] });
    let reason = loop {
        let task = call(&client, "DescribeTasks", describe.clone()).await["tasks"][0].clone();
        if task["lastStatus"] == "STOPPED" {
            break task["containers"][0]["reason"].as_str().unwrap().to_owned();
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(
        reason,
        "CannotStartContainerError: fork/exec /bin/sleep: no such file or directory"
    );
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_has_one_shell_or_none() {
    let script = "sh -c 'command -v bash dash busybox ash; echo ${BASH_VERSION:+is-bash}'";
    let (bash, client) = sandbox(&["bash"]).await;
    let output = output_of(&client, script).await;
    assert!(output.ends_with("/app.bin/bash\r\nis-bash\r\n"), "{output}");
    assert_eq!(output.lines().count(), 2, "{output}");
    bash.shutdown().await;

    let (none, client) = sandbox(&["no-shell"]).await;
    let (_, channel) = execute(&client, "sh").await;
    let closed = channel.into_end().await.closed.unwrap();
    assert!(
        closed.contains("\"sh\": executable file not found"),
        "{closed}"
    );
    assert_eq!(output_of(&client, "echo there").await, "there\r\n");
    none.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busybox_image_needs_busybox_on_this_machine() {
    let mut options = client::options();
    options.scenarios = vec!["busybox".parse().unwrap(), "no-base64".parse().unwrap()];
    let present = ["/usr/bin/busybox", "/bin/busybox", "/usr/local/bin/busybox"]
        .iter()
        .any(|path| std::path::Path::new(path).exists());
    let started = Sandbox::start(options).await;
    if !present {
        let text = started.map(drop).unwrap_err().to_string();
        assert!(
            text.contains("wants busybox, and this machine has none"),
            "{text}"
        );
        return;
    }
    let sandbox = started.unwrap();
    let client = Client::of(&sandbox);
    let script = "sh -c 'command -v base64; command -v python3; busybox | head -n 1; ls -d /'";
    let output = output_of(&client, script).await;
    let lines: Vec<&str> = output.lines().collect();
    assert!(lines[0].starts_with("BusyBox v"), "{output}");
    assert_eq!(lines[1..], ["/"], "{output}");
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_nobody_understands_keeps_the_container_from_starting() {
    let (sandbox, client) = sandbox(&[]).await;
    let definition = json!({
        "family": "odd", "requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc",
        "cpu": "256", "memory": "512",
        "containerDefinitions": [{ "name": "app", "image": "x", "command": ["true"],
            "dockerLabels": { "bowline.sandbox.tools": "alpine" } }],
    });
    call(&client, "RegisterTaskDefinition", definition).await;
    let run = json!({
        "cluster": "demo", "taskDefinition": "odd", "launchType": "FARGATE",
        "networkConfiguration": { "awsvpcConfiguration": { "subnets": ["subnet-0a1b2c3d4e5f60001"] } },
    });
    let task = call(&client, "RunTask", run).await["tasks"][0]["taskArn"].clone();
    let describe = json!({ "cluster": "demo", "tasks": [task] });
    loop {
        let task = call(&client, "DescribeTasks", describe.clone()).await["tasks"][0].clone();
        if task["lastStatus"] == "STOPPED" {
            let reason = task["containers"][0]["reason"].as_str().unwrap();
            let start = "CannotStartContainerError: label bowline.sandbox.tools: \"alpine\"";
            assert!(reason.starts_with(start), "{reason}");
            break;
        }
        tokio::task::yield_now().await;
    }
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_fails_in_the_ways_of_the_scenarios() {
    let (disabled, client) = sandbox(&["exec-disabled"]).await;
    assert_eq!(web_task(&client).await["enableExecuteCommand"], false);
    let answer = execute_answer(&client, "true").await;
    assert_eq!(answer.code(), "InvalidParameterException", "{answer:?}");
    disabled.shutdown().await;

    let (stopped, client) = sandbox(&["agent-stopped=certificate expired"]).await;
    let agent = web_task(&client).await["containers"][0]["managedAgents"][0].clone();
    assert_eq!(
        (&agent["lastStatus"], &agent["reason"]),
        (&json!("STOPPED"), &json!("certificate expired"))
    );
    let answer = execute_answer(&client, "true").await;
    assert_eq!(answer.code(), "TargetNotConnectedException", "{answer:?}");
    stopped.shutdown().await;

    let (empty, client) = sandbox(&["no-tasks"]).await;
    let services = json!({ "cluster": "demo", "services": ["web"] });
    let service = call(&client, "DescribeServices", services).await["services"][0].clone();
    assert_eq!(
        (&service["desiredCount"], &service["runningCount"]),
        (&json!(0), &json!(0))
    );
    empty.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_agent_comes_up_on_the_sandboxs_clock() {
    let (sandbox, client) = sandbox(&["agent-pending=86400"]).await;
    let answer = execute_answer(&client, "true").await;
    assert_eq!(answer.code(), "InvalidParameterException", "{answer:?}");
    advance(&client, 86_400).await;
    while execute_answer(&client, "true").await.status != 200 {
        tokio::task::yield_now().await;
    }
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_stopped_ends_its_sessions_and_can_be_started_again() {
    let (sandbox, client) = sandbox(&[]).await;
    let (_, mut channel) = execute(&client, "sh -c 'echo up; sleep 600'").await;
    channel.until_output("up").await;
    let task = web_task(&client).await["taskArn"].clone();
    let state = |status: &str| json!({ "cluster": "demo", "task": task, "status": status });
    let mut stop = state("STOPPED");
    stop["reason"] = json!("gone");
    let answer = control(&client, "SetAgentState", stop).await;
    assert_eq!(answer.json(), json!({ "containers": ["app"] }));
    assert_eq!(channel.into_end().await.closed.as_deref(), Some(""));
    let answer = execute_answer(&client, "true").await;
    assert_eq!(answer.code(), "TargetNotConnectedException");

    control(&client, "SetAgentState", state("RUNNING")).await;
    assert_eq!(output_of(&client, "echo again").await, "again\r\n");

    let mut wrong = state("STOPPED");
    wrong["container"] = json!("nope");
    let answer = control(&client, "SetAgentState", wrong).await;
    assert_eq!(answer.code(), "InvalidParameterException");
    assert_eq!(
        control(&client, "SetAgentState", state("DREAMING"))
            .await
            .code(),
        "SerializationException"
    );
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_socket_ends_without_a_word_and_the_session_lives_on() {
    let (sandbox, client) = sandbox(&[]).await;
    let (id, mut channel) =
        execute(&client, "sh -c 'echo up; read line; echo \"got $line\"'").await;
    channel.until_output("up").await;
    let answer = control(&client, "CutSession", json!({ "sessionId": id })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = channel.into_end().await;
    assert_eq!((seen.closed, seen.lost), (None, Some(false)));

    while session_status(&client, "Active", &id).await.as_deref() != Some("Disconnected") {
        tokio::task::yield_now().await;
    }
    let answer = control(&client, "CutSession", json!({ "sessionId": id })).await;
    assert_eq!(answer.code(), "InvalidParameterException");
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn input_and_sizes_keep_a_session_alive_and_output_does_not() {
    let (sandbox, client) = sandbox(&[]).await;
    let chatter = "sh -c 'while echo tick; do sleep 0.05; done'";
    let (id, mut channel) = execute(&client, chatter).await;
    channel.until_output("tick").await;
    advance(&client, 1000).await;
    channel.resize(80, 24).await;
    advance(&client, 1000).await;
    channel.input(b"x").await;
    advance(&client, 1000).await;
    channel.seen.output.clear();
    channel.until_output("tick\r\ntick").await;
    assert!(session_status(&client, "Active", &id).await.is_some());
    advance(&client, 201).await;
    let closed = channel.into_end().await.closed.unwrap();
    assert_eq!(
        closed,
        "Your session timed out due to inactivity and has been terminated."
    );
    let status = session_status(&client, "History", &id).await;
    assert_eq!(status.as_deref(), Some("Terminated"));
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_fast_clock_the_idle_limit_comes_soon() {
    let mut options = client::options();
    options.clock_speed = NonZeroU32::new(10_000).unwrap();
    let sandbox = Sandbox::start(options).await.unwrap();
    let client = Client::of(&sandbox);
    // Twenty minutes are 120 ms.
    let (_, channel) = execute(&client, "sleep 600").await;
    let closed = channel.into_end().await.closed.unwrap();
    assert!(closed.contains("inactivity"), "{closed}");
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_sessions_are_logged_where_the_cluster_says() {
    for (scenario, group) in [
        ("exec-logging=/my/group", "%2Fmy%2Fgroup"),
        ("exec-logging=default", "%2Fecs%2Fweb"),
    ] {
        let (sandbox, client) = sandbox(&[scenario]).await;
        let (id, channel) = execute(&client, "sh -c 'seq 1 5000; printf \"a\\033[1mb\"'").await;
        let output = channel.into_end().await.output;
        assert!(output.ends_with(b"5000\r\na\x1b[1mb"));
        let log = std::fs::read(sandbox.logs().join(group).join(&id)).unwrap();
        assert!(log == output, "{scenario}: the log differs from the output");
        sandbox.shutdown().await;
    }
    let (sandbox, client) = sandbox(&[]).await;
    output_of(&client, "echo x").await;
    assert!(!sandbox.logs().exists(), "nobody wanted a log");
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_without_a_terminal_keeps_its_streams_apart_and_reports_its_code() {
    let (sandbox, client) = sandbox(&[]).await;
    let command = "sh -c 'cat; echo out; echo err >&2; test -t 1 || echo plain; exit 7'";
    let seen = non_interactive(&client, command).await.into_end().await;
    assert_eq!(seen.text(), "out\nplain\n");
    assert_eq!(seen.stderr, b"err\n");
    assert_eq!(
        (seen.exit_code, seen.closed.as_deref()),
        (Some(7), Some(""))
    );

    let seen = non_interactive(&client, "seq 1 100000")
        .await
        .into_end()
        .await;
    let wanted: String = (1..=100_000).map(|number| format!("{number}\n")).collect();
    assert!(
        seen.text() == wanted,
        "the output is not whole or not in order"
    );
    assert_eq!(seen.exit_code, Some(0));
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn control_bytes_are_signals_without_a_terminal() {
    let (sandbox, client) = sandbox(&[]).await;
    for (byte, trapped) in [(b"x\x03", "INT"), (b"y\x1c", "QUIT")] {
        // The shell waits and starts nothing: dash forgets a signal that comes just while it starts a program.
        let command = format!(
            "sh -c 'sleep 600 >/dev/null 2>&1 & p=$!; trap \"echo {trapped}; kill $p; exit 4\" {trapped}; echo up; wait'"
        );
        let mut channel = non_interactive(&client, &command).await;
        channel.until_output("up").await;
        channel.input(byte).await;
        let seen = channel.into_end().await;
        assert_eq!(seen.text(), format!("up\n{trapped}\n"));
        assert_eq!(seen.exit_code, Some(4));
    }
    let seen = non_interactive(&client, "sh -c 'kill -9 $$'")
        .await
        .into_end()
        .await;
    assert_eq!(seen.exit_code, Some(-1), "killed by a signal");
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_does_not_start_is_told_in_three_ways() {
    let (sandbox, client) = sandbox(&[]).await;
    let seen = non_interactive(&client, "/no/such x")
        .await
        .into_end()
        .await;
    let reason = "Unable to start command: fork/exec /no/such: no such file or directory";
    assert_eq!(String::from_utf8_lossy(&seen.stderr), reason);
    assert_eq!(seen.exit_code, Some(1));
    let closed = format!("\n----------ERROR-------\n{reason}\n\n");
    assert_eq!(seen.closed, Some(closed));
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_a_task_without_processes_end_with_it() {
    let (sandbox, client) = sandbox(&["fleet=1"]).await;
    let service = json!({ "cluster": "demo", "serviceName": "fleet" });
    let tasks = call(&client, "ListTasks", service).await;
    let task = &tasks["taskArns"][0];
    let request =
        json!({ "cluster": "demo", "task": task, "command": "sleep 600", "interactive": true });
    let session = call(&client, "ExecuteCommand", request).await;
    let id = session["session"]["sessionId"].as_str().unwrap();
    let _channel = Channel::open(&session["session"]).await;
    assert!(session_status(&client, "Active", id).await.is_some());
    call(
        &client,
        "StopTask",
        json!({ "cluster": "demo", "task": task }),
    )
    .await;
    let start = Instant::now();
    while session_status(&client, "Active", id).await.is_some() {
        assert!(start.elapsed() < LIMIT, "the session goes on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(session_status(&client, "History", id).await.is_some());
    sandbox.shutdown().await;
}
