//! Encrypted sessions: KMS, the handshake, and what happens when the key is refused.

#![expect(
    clippy::unwrap_used,
    reason = "the exemption for tests does not reach the functions they share"
)]

#[expect(dead_code, reason = "shared with tests that need more of it")]
mod channel;
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod client;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bowline_proto::DataKey;
use bowline_sandbox::Sandbox;
use channel::{Channel, KeyWanted};
use client::{Answer, Client, Request};
use serde_json::{Value, json};

async fn sandbox(agent: &str) -> (Sandbox, Client) {
    let mut options = client::options();
    options.scenarios = vec!["encrypted".parse().unwrap()];
    options.agent = agent.parse().unwrap();
    let sandbox = Sandbox::start(options).await.unwrap();
    let client = Client::of(&sandbox);
    (sandbox, client)
}

async fn kms(client: &Client, operation: &str, body: &Value) -> Answer {
    let mut request = Request::json(&format!("TrentService.{operation}"), body);
    request.service = "kms";
    client.send_signed(&request).await
}

/// A session of the demo service: its id, its target, its channel.
async fn execute(client: &Client, command: &str) -> (String, String, Channel) {
    let call = async |operation: &str, body: Value| {
        let answer = client.send_signed(&Request::json(operation, &body)).await;
        assert_eq!(answer.status, 200, "{operation}: {answer:?}");
        answer.json()
    };
    let service = json!({ "cluster": "demo", "serviceName": "web" });
    let tasks = call("ListTasks", service).await["taskArns"].clone();
    let task = &call(
        "DescribeTasks",
        json!({ "cluster": "demo", "tasks": [tasks[0]] }),
    )
    .await["tasks"][0];
    let request = json!({
        "cluster": "demo", "task": tasks[0], "command": command, "interactive": true,
    });
    let session = call("ExecuteCommand", request).await["session"].clone();
    let target = format!(
        "ecs:demo_{}_{}",
        tasks[0].as_str().unwrap().rsplit('/').next().unwrap(),
        task["containers"][0]["runtimeId"].as_str().unwrap()
    );
    let id = session["sessionId"].as_str().unwrap().to_owned();
    (id, target, Channel::open(&session).await)
}

/// Waits for the handshake and gets the key that it asks for, bound to `context`.
async fn fetch_key(
    client: &Client,
    channel: &mut Channel,
    context: impl FnOnce(&KeyWanted) -> Value,
) -> (Vec<u8>, DataKey) {
    channel
        .until("the handshake", |channel| channel.key_wanted.is_some())
        .await;
    let wanted = channel.key_wanted.take().unwrap();
    assert!(
        wanted.key_id.starts_with("arn:aws:kms:us-east-1:"),
        "{wanted:?}"
    );
    let request = json!({
        "KeyId": wanted.key_id, "NumberOfBytes": 64, "EncryptionContext": context(&wanted),
    });
    let answer = kms(client, "GenerateDataKey", &request).await.json();
    let bytes = |member: &str| STANDARD.decode(answer[member].as_str().unwrap()).unwrap();
    let key = DataKey::from_slice(&bytes("Plaintext")).unwrap();
    (bytes("CiphertextBlob"), key)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_session_carries_bytes_both_ways() {
    for agent in ["fast,require-challenge", "stock,start-delay=0"] {
        let (sandbox, client) = sandbox(agent).await;
        let (id, target, mut channel) = execute(&client, "sh -c 'read line; echo got $line'").await;
        let context = |wanted: &KeyWanted| {
            json!({
                "aws:ssm:SessionId": id, "aws:ssm:TargetId": target,
                "aws:ssm:RandomChallenge": wanted.challenge.clone().unwrap(),
            })
        };
        let (ciphertext, key) = fetch_key(&client, &mut channel, context).await;
        channel
            .session
            .provide_key(channel::now(), &key, &ciphertext);
        channel.input(b"secret\n").await;
        let seen = channel.into_end().await;
        assert_eq!(seen.text(), "secret\r\ngot secret\r\n", "{agent}");
        assert_eq!(seen.closed.as_deref(), Some(""));
        sandbox.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_for_another_target_ends_the_session_with_the_reason() {
    let (sandbox, client) = sandbox("fast").await;
    let (id, _, mut channel) = execute(&client, "echo never").await;
    let context = |wanted: &KeyWanted| {
        json!({
            "aws:ssm:SessionId": id, "aws:ssm:TargetId": "ecs:other",
            "aws:ssm:RandomChallenge": wanted.challenge.clone().unwrap(),
        })
    };
    let (ciphertext, key) = fetch_key(&client, &mut channel, context).await;
    channel
        .session
        .provide_key(channel::now(), &key, &ciphertext);
    let seen = channel.into_end().await;
    let closed = seen.closed.unwrap();
    assert!(
        closed.contains("initiating handshake") && closed.contains("InvalidCiphertextException"),
        "{closed}"
    );
    assert_eq!(seen.output, b"");
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_nobody_answers_ends_after_its_time() {
    let (sandbox, client) = sandbox("fast,handshake-wait=300ms,version=3.3.808.0").await;
    let (_, _, mut channel) = execute(&client, "echo never").await;
    channel
        .until("the handshake", |channel| channel.key_wanted.is_some())
        .await;
    let closed = channel.into_end().await.closed.unwrap();
    assert!(closed.contains("Handshake timed out"), "{closed}");
    sandbox.shutdown().await;
}
