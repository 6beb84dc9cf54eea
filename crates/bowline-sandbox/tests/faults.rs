//! Faults on demand, seen by a client of the data channel and of the API.

#![expect(
    clippy::unwrap_used,
    reason = "the exemption for tests does not reach the functions they share"
)]

#[expect(dead_code, reason = "shared with tests that need more of it")]
mod channel;
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod client;

use std::time::{Duration, Instant};

use bowline_sandbox::Sandbox;
use channel::Channel;
use client::{Answer, Client, Request};
use serde_json::{Value, json};

/// No session of these tests takes longer, however busy the machine.
const LIMIT: Duration = Duration::from_secs(60);

async fn sandbox(faults: &str) -> (Sandbox, Client) {
    let mut options = client::options();
    if !faults.is_empty() {
        options.faults = faults.parse().unwrap();
    }
    let sandbox = Sandbox::start(options).await.unwrap();
    let client = Client::of(&sandbox);
    (sandbox, client)
}

async fn send(client: &Client, operation: &str, body: &Value) -> Answer {
    let mut request = Request::json(operation, body);
    if operation.starts_with("BowlineSandbox.") {
        request.service = "ecs";
    }
    client.send_signed(&request).await
}

async fn call(client: &Client, operation: &str, body: Value) -> Value {
    let answer = send(client, operation, &body).await;
    assert_eq!(answer.status, 200, "{operation}: {answer:?}");
    answer.json()
}

/// The `session` of an ExecuteCommand.
async fn execute(client: &Client, command: &str) -> Value {
    let service = json!({ "cluster": "demo", "serviceName": "web" });
    let tasks = call(client, "ListTasks", service).await;
    let request = json!({
        "cluster": "demo", "task": tasks["taskArns"][0], "command": command, "interactive": true,
    });
    call(client, "ExecuteCommand", request).await["session"].clone()
}

async fn resume(client: &Client, session: &Value) -> Answer {
    let id = json!({ "SessionId": session["sessionId"] });
    send(client, "AmazonSSM.ResumeSession", &id).await
}

/// Serves a session to its end over as many sockets as it takes; how many those were.
async fn to_the_end(client: &Client, session: &Value, channel: &mut Channel) -> usize {
    for sockets in 1.. {
        channel
            .until("the end", |channel| {
                channel.seen.closed.is_some() || channel.seen.lost.is_some()
            })
            .await;
        if channel.seen.closed.is_some() {
            return sockets;
        }
        let answer = resume(client, session).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        channel.reopen(&answer.json()).await.unwrap();
    }
    unreachable!()
}

async fn active(client: &Client) -> usize {
    let sessions = call(
        client,
        "AmazonSSM.DescribeSessions",
        json!({ "State": "Active" }),
    )
    .await;
    sessions["Sessions"].as_array().unwrap().len()
}

async fn happened(client: &Client, what: &str) -> u64 {
    let state = call(client, "BowlineSandbox.GetFaults", json!({})).await;
    state["happened"][what].as_u64().unwrap()
}

fn numbers(last: u32) -> String {
    (1..=last).map(|number| format!("{number}\r\n")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_survives_a_cut_at_every_message_in_either_direction() {
    let (sandbox, client) = sandbox("").await;
    for direction in ["up", "down"] {
        let mut at = 0;
        loop {
            let faults = json!({ format!("cut-{direction}"): format!("frame:{at}") });
            call(&client, "BowlineSandbox.SetFaults", faults).await;
            let session =
                execute(&client, "sh -c 'echo up; read line; seq 1 50; echo $line'").await;
            let mut channel = Channel::open(&session).await;
            let input = bowline_proto::PayloadType::Output;
            let mut written = false;
            let serving = async {
                while channel.seen.closed.is_none() {
                    written = written || channel.session.write(channel::now(), input, b"end\n") > 0;
                    channel.step().await;
                    if channel.seen.lost.is_some() && channel.seen.closed.is_none() {
                        let answer = resume(&client, &session).await;
                        channel.reopen(&answer.json()).await.unwrap();
                    }
                }
            };
            tokio::time::timeout(LIMIT, serving)
                .await
                .expect("an end in time");
            let output = channel.seen.text();
            assert!(
                output.ends_with(&format!("{}end\r\n", numbers(50))),
                "{direction} {at}: {output}"
            );
            assert_eq!(
                output.matches("\r\n").count(),
                53,
                "{direction} {at}: {output}"
            );
            if happened(&client, "cut").await == 0 {
                break;
            }
            at += 1;
        }
        assert!(at > 2, "{direction}: {at} cuts");
    }
    assert_eq!(active(&client).await, 0);
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_survives_cuts_at_random_bytes() {
    let (sandbox, client) = sandbox("cuts-down=40/1MB,cuts-up=10/20KB,seed=5").await;
    let session = execute(&client, "seq 1 150000").await;
    let mut channel = Channel::open(&session).await;
    let sockets = to_the_end(&client, &session, &mut channel).await;
    assert!(
        channel.seen.text() == numbers(150_000),
        "the output is not whole"
    );
    let cuts = happened(&client, "cut").await;
    assert!(cuts >= 40, "{cuts} cuts");
    assert!(sockets > 40, "{sockets} sockets");
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_lost_doubled_late_and_out_of_order_come_in_the_end() {
    let faults = "loss=10%,duplicate=10%,reorder=20%,delay=0ms..3ms,seed=11";
    let (sandbox, client) = sandbox(faults).await;
    let session = execute(&client, "seq 1 100000").await;
    let mut channel = Channel::open(&session).await;
    channel
        .until("all", |channel| {
            channel.seen.output.len() >= numbers(100_000).len()
        })
        .await;
    assert!(channel.seen.text() == numbers(100_000));
    for what in ["lost", "duplicated", "reordered"] {
        assert!(happened(&client, what).await > 0, "{what}");
    }
    let state = call(&client, "BowlineSandbox.SetFaults", json!({})).await;
    assert_eq!(state["faults"], json!({}));
    let seen = channel.into_end().await;
    assert_eq!(seen.closed.as_deref(), Some(""));
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resuming_follows_the_policy_and_old_addresses_are_refused() {
    let (sandbox, client) = sandbox("").await;
    let session = execute(&client, "sh -c 'echo up; read line'").await;
    let mut channel = Channel::open(&session).await;
    channel.until_output("up").await;
    let resumed = resume(&client, &session).await.json();
    let mut old = resumed.clone();
    old["StreamUrl"] = session["streamUrl"].clone();
    assert_ne!(old["StreamUrl"], resumed["StreamUrl"]);
    assert_eq!(channel.reopen(&old).await, Err(404));
    let url = resumed["StreamUrl"].as_str().unwrap();
    for mark in ["+", "/", "="] {
        assert!(
            url.split_once("cell-number=").unwrap().1.contains(mark),
            "{url}"
        );
    }
    let mut encoded = resumed.clone();
    encoded["StreamUrl"] = url.replace('+', "%2B").into();
    assert_eq!(channel.reopen(&encoded).await, Err(404));
    channel.reopen(&resumed).await.unwrap();
    channel.input(b"x").await;

    for (policy, code) in [
        ("denied", "AccessDeniedException"),
        ("gone", "DoesNotExistException"),
    ] {
        call(
            &client,
            "BowlineSandbox.SetFaults",
            json!({ "resume": policy }),
        )
        .await;
        assert_eq!(resume(&client, &session).await.code(), code);
    }
    call(
        &client,
        "BowlineSandbox.SetFaults",
        json!({ "resume": "no-token" }),
    )
    .await;
    let answer = resume(&client, &session).await.json();
    assert_eq!(answer, json!({ "SessionId": session["sessionId"] }));

    // Under this policy a session ends with its socket.
    call(
        &client,
        "BowlineSandbox.SetFaults",
        json!({ "resume": "gone" }),
    )
    .await;
    call(
        &client,
        "BowlineSandbox.CutSession",
        json!({ "sessionId": session["sessionId"] }),
    )
    .await;
    while active(&client).await > 0 {
        tokio::task::yield_now().await;
    }
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_away_is_told_of_the_end_once() {
    let (sandbox, client) = sandbox("").await;
    let session = execute(&client, "sh -c 'echo up; sleep 600'").await;
    let mut channel = Channel::open(&session).await;
    channel.until_output("up").await;
    let cut = json!({ "sessionId": session["sessionId"] });
    call(&client, "BowlineSandbox.CutSession", cut).await;
    channel
        .until("the cut", |channel| channel.seen.lost.is_some())
        .await;
    // The idle limit passes.
    call(
        &client,
        "BowlineSandbox.AdvanceClock",
        json!({ "seconds": 1201 }),
    )
    .await;
    while active(&client).await > 0 {
        tokio::task::yield_now().await;
    }
    let resumed = resume(&client, &session).await;
    assert_eq!(resumed.status, 200, "{resumed:?}");
    channel.reopen(&resumed.json()).await.unwrap();
    let closed = channel.into_end().await.closed.unwrap();
    assert!(closed.contains("inactivity"), "{closed}");
    while resume(&client, &session).await.status == 200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        resume(&client, &session).await.code(),
        "DoesNotExistException"
    );
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_fall_silent_say_bye_refuse_tokens_and_leave_pings_unanswered() {
    let (sandbox, client) = sandbox("black-hole=1").await;
    let session = execute(&client, "sh -c 'echo up; read line; echo got $line'").await;
    let mut channel = Channel::open(&session).await;
    channel
        .session
        .write(channel::now(), bowline_proto::PayloadType::Output, b"x");
    assert!(!channel.is_alive().await, "one message, then silence");
    assert_eq!(channel.seen.lost, None);
    channel
        .reopen(&resume(&client, &session).await.json())
        .await
        .unwrap();
    assert!(channel.is_alive().await);
    channel.until_output("up").await;

    call(
        &client,
        "BowlineSandbox.SetFaults",
        json!({ "no-pong": true }),
    )
    .await;
    assert!(!channel.is_alive().await);
    channel.input(b"y\n").await;
    call(
        &client,
        "BowlineSandbox.SetFaults",
        json!({ "bye": "frame:1" }),
    )
    .await;
    let session = execute(&client, "sh -c 'echo up; sleep 600'").await;
    let mut channel = Channel::open(&session).await;
    channel
        .until("bye", |channel| channel.seen.lost.is_some())
        .await;
    assert_eq!(channel.seen.lost, Some(true), "a close frame");

    let faults = json!({ "token-refused": 2, "double-close": true, "late-close": "100ms" });
    call(&client, "BowlineSandbox.SetFaults", faults).await;
    let session = execute(&client, "echo last").await;
    let mut sockets = 0;
    loop {
        let mut channel = Channel::open(&session).await;
        channel
            .until("an end", |channel| {
                channel.seen.closed.is_some() || channel.seen.lost.is_some()
            })
            .await;
        sockets += 1;
        if channel.seen.closed.is_some() {
            assert_eq!(channel.seen.text(), "last\r\n");
            break;
        }
    }
    assert_eq!(sockets, 3);
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_both_directions_for_its_time() {
    let (sandbox, client) = sandbox("pause=700ms@1").await;
    let session = execute(&client, "sh -c 'echo up; read line; echo got $line'").await;
    let mut channel = Channel::open(&session).await;
    channel.until_output("up").await;
    let start = Instant::now();
    assert!(channel.session.is_paused() || start.elapsed() < Duration::from_millis(700));
    channel.input(b"x\n").await;
    assert!(
        start.elapsed() > Duration::from_millis(500),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(channel.into_end().await.closed.as_deref(), Some(""));
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_is_throttled_and_slow_on_demand_and_own_calls_never() {
    let (sandbox, client) =
        sandbox("throttle=ListClusters:2,rate=ListTasks:1/s:2,latency=DescribeClusters:300ms")
            .await;
    for expected in [400, 400, 200] {
        let answer = send(&client, "ListClusters", &json!({})).await;
        assert_eq!(answer.status, expected, "{answer:?}");
        if expected == 400 {
            assert_eq!(answer.code(), "ThrottlingException");
            assert_eq!(answer.json()["message"], "Rate exceeded");
        }
    }
    let mut throttled = 0;
    for _ in 0..10 {
        throttled += usize::from(
            send(&client, "ListTasks", &json!({ "cluster": "demo" }))
                .await
                .status
                == 400,
        );
    }
    assert!((1..=8).contains(&throttled), "{throttled}");
    let start = Instant::now();
    call(&client, "DescribeClusters", json!({})).await;
    assert!(start.elapsed() >= Duration::from_millis(300));

    let wrong = send(
        &client,
        "BowlineSandbox.SetFaults",
        &json!({ "lossy": "1%" }),
    )
    .await;
    assert_eq!(wrong.code(), "InvalidParameterException");
    let message = wrong.json()["message"].as_str().unwrap().to_owned();
    assert!(
        message.starts_with("there is no fault \"lossy\"; there are delay"),
        "{message}"
    );
    call(
        &client,
        "BowlineSandbox.SetFaults",
        json!({ "throttle": "100%" }),
    )
    .await;
    assert_eq!(send(&client, "ListClusters", &json!({})).await.status, 400);
    call(&client, "BowlineSandbox.SetFaults", json!({})).await;
    call(&client, "ListClusters", json!({})).await;
    sandbox.shutdown().await;
}
