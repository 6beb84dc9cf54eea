//! Agents with the faults of the real ones, one at a time.

#![expect(
    clippy::unwrap_used,
    reason = "the exemption for tests does not reach the functions they share"
)]

#[expect(dead_code, reason = "shared with tests that need more of it")]
mod channel;
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod client;

use std::time::{Duration, Instant};

use bowline_proto::PayloadType;
use bowline_sandbox::Sandbox;
use channel::Channel;
use client::{Client, Request};
use serde_json::{Value, json};

async fn sandbox(agent: &str) -> (Sandbox, Client) {
    let mut options = client::options();
    options.agent = agent.parse().unwrap();
    let sandbox = Sandbox::start(options).await.unwrap();
    let client = Client::of(&sandbox);
    (sandbox, client)
}

async fn call(client: &Client, operation: &str, body: Value) -> Value {
    let mut request = Request::json(operation, &body);
    if operation.starts_with("BowlineSandbox.") {
        request.service = "ecs";
    }
    let answer = client.send_signed(&request).await;
    assert_eq!(answer.status, 200, "{operation}: {answer:?}");
    answer.json()
}

async fn task(client: &Client) -> Value {
    let service = json!({ "cluster": "demo", "serviceName": "web" });
    let tasks = call(client, "ListTasks", service).await;
    let describe = json!({ "cluster": "demo", "tasks": [tasks["taskArns"][0]] });
    call(client, "DescribeTasks", describe).await["tasks"][0].clone()
}

async fn execute(client: &Client, command: &str) -> Value {
    let request = json!({
        "cluster": "demo", "task": task(client).await["taskArn"], "command": command, "interactive": true,
    });
    call(client, "ExecuteCommand", request).await["session"].clone()
}

async fn without_terminal(client: &Client, command: &str) -> Value {
    let mut request = target(client).await;
    request["Parameters"] = json!({ "command": [command] });
    call(client, "AmazonSSM.StartSession", request).await
}

/// A StartSession without its parameters.
async fn target(client: &Client) -> Value {
    let task = task(client).await;
    let target = format!(
        "ecs:demo_{}_{}",
        task["taskArn"]
            .as_str()
            .unwrap()
            .rsplit('/')
            .next()
            .unwrap(),
        task["containers"][0]["runtimeId"].as_str().unwrap()
    );
    json!({ "Target": target, "DocumentName": "AWS-StartNonInteractiveCommand" })
}

/// Loses the socket, and comes back with another one.
async fn lose_and_resume(client: &Client, session: &Value, channel: &mut Channel) {
    let id = session
        .get("sessionId")
        .or_else(|| session.get("SessionId"))
        .unwrap();
    call(
        client,
        "BowlineSandbox.CutSession",
        json!({ "sessionId": id }),
    )
    .await;
    channel
        .until("the cut", |channel| channel.seen.lost.is_some())
        .await;
    let resume = json!({ "SessionId": id });
    let resumed = call(client, "AmazonSSM.ResumeSession", resume).await;
    channel.reopen(&resumed).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn input_is_refused_until_the_command_is_ready_and_comes_again() {
    let (sandbox, client) = sandbox("fast,ready-delay=700ms").await;
    let session = execute(&client, "sh -c 'echo up; read line; echo got $line'").await;
    let start = Instant::now();
    let mut channel = Channel::open(&session).await;
    channel.until_output("up").await;
    let early = start.elapsed() < Duration::from_millis(700);
    channel.input(b"x\n").await;
    // A machine that was slow to begin with proves nothing.
    assert!(!early || start.elapsed() >= Duration::from_millis(500));
    assert!(channel.into_end().await.text().ends_with("got x\r\n"));
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_agent_acknowledges_once_and_never_again() {
    for (agent, arrives) in [("fast", true), ("fast,no-reack", false)] {
        let (sandbox, client) = sandbox(agent).await;
        let session = execute(
            &client,
            "sh -c 'echo up; read line; echo got $line; sleep 600'",
        )
        .await;
        let mut channel = Channel::open(&session).await;
        channel.until_output("up").await;
        call(
            &client,
            "BowlineSandbox.SetFaults",
            json!({ "no-acks": true }),
        )
        .await;
        assert_eq!(
            channel
                .session
                .write(channel::now(), PayloadType::Output, b"x\n"),
            2
        );
        channel.until_output("got x").await;
        // The first acknowledgement follows the output within milliseconds.
        let acknowledged = |channel: &Channel| channel.session.is_idle();
        let heard = channel.within(Duration::from_millis(500), acknowledged);
        assert!(!heard.await);
        // It is lost; copies of the message go on arriving.
        call(&client, "BowlineSandbox.SetFaults", json!({})).await;
        let acknowledged = channel
            .within(Duration::from_secs(2), |channel| channel.session.is_idle())
            .await;
        assert_eq!(acknowledged, arrives, "{agent}");
        sandbox.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn output_without_a_terminal_ends_for_good_at_a_pause_of_a_stock_agent() {
    for (agent, survives) in [("fast", true), ("stock,start-delay=0", false)] {
        let (sandbox, client) = sandbox(agent).await;
        let command = "sh -c 'echo up; while [ ! -e go ]; do sleep 0.02; done; echo after; exit 5'";
        let session = without_terminal(&client, command).await;
        let mut channel = Channel::open(&session).await;
        channel.until_output("up").await;
        lose_and_resume(&client, &session, &mut channel).await;
        let mut go = Channel::open(&execute(&client, "touch go").await).await;
        go.until("the end", |channel| channel.seen.closed.is_some())
            .await;
        let seen = channel.into_end().await;
        let wanted = if survives { "up\nafter\n" } else { "up\n" };
        assert_eq!(seen.text(), wanted, "{agent}");
        assert_eq!(seen.exit_code, Some(5), "{agent}");
        sandbox.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_of_either_agent_survives_an_outage() {
    for agent in ["fast", "stock,start-delay=0"] {
        let (sandbox, client) = sandbox(agent).await;
        let session = execute(
            &client,
            "sh -c 'seq 1 3000; read line; echo got $line; seq 1 3000'",
        )
        .await;
        let mut channel = Channel::open(&session).await;
        channel.until_output("10\r\n").await;
        lose_and_resume(&client, &session, &mut channel).await;
        channel.input(b"it\n").await;
        let numbers: String = (1..=3000).map(|number| format!("{number}\r\n")).collect();
        let text = channel.into_end().await.text();
        let rest = text.replacen("it\r\n", "", 1);
        assert!(
            rest == format!("{numbers}got it\r\n{numbers}"),
            "{agent}: {} bytes",
            text.len()
        );
        sandbox.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn joined_output_comes_after_the_end_and_without_a_code() {
    let (sandbox, client) = sandbox("fast").await;
    let mut request = target(&client).await;
    let command = "sh -c 'echo out; echo err >&2; seq 1 50000; exit 3'";
    request["Parameters"] = json!({ "command": [command], "separateOutputStream": ["false"] });
    let session = call(&client, "AmazonSSM.StartSession", request).await;
    let seen = Channel::open(&session).await.into_end().await;
    let numbers: String = (1..=50_000).map(|number| format!("{number}\n")).collect();
    assert!(seen.text() == format!("out\nerr\n{numbers}"));
    assert_eq!((seen.stderr, seen.exit_code), (Vec::new(), None));
    assert_eq!(seen.closed.as_deref(), Some(""));
    sandbox.shutdown().await;
}
