//! A client of the data channel that means no good. What it can make the sandbox hold is measured on the whole process,
//! so there is one test here that does everything in turn.

#![expect(
    clippy::unwrap_used,
    reason = "the exemption for tests does not reach the functions they share"
)]

#[expect(dead_code, reason = "shared with tests that need more of it")]
mod channel;
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod client;

use std::time::Duration;

use bowline_proto::{Flags, Frame, IdSource, MessageType, PayloadType, Timestamp};
use bowline_sandbox::Sandbox;
use bytes::Bytes;
use channel::Channel;
use client::{Client, Request};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

/// What one session may hold: messages sent and not acknowledged (32 MB), those ahead of their turn (16 MiB), those
/// taken and not delivered (16 MiB), and its queues (10 MiB); with room for what the allocator keeps.
const BOUND: usize = 96 << 20;
/// No wait of these tests takes longer, however busy the machine.
const LIMIT: Duration = Duration::from_secs(30);

const FORM: &str = "application/x-www-form-urlencoded";

type Socket = WebSocketStream<TcpStream>;

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_client_cannot_crash_hang_or_grow_the_sandbox() {
    let sandbox = Sandbox::start(client::options()).await.unwrap();
    let client = Client::of(&sandbox);
    for round in [
        nonsense,
        absurd_numbers,
        a_flood_ahead_of_its_turn,
        a_flood_for_a_command_that_does_not_read,
    ] {
        let session = execute(&client, "sh -c 'sleep 600'").await;
        let mut socket = open(&session).await;
        let before = resident();
        tokio::time::timeout(4 * LIMIT, round(&mut socket))
            .await
            .expect("it is not made to hang");
        settled(before).await;
        works(&client).await;
        end(&client, &session).await;
    }

    // It never reads: the terminal gives more than all buffers hold.
    let session = execute(&client, "sh -c 'while :; do seq 1 1000000; done'").await;
    let before = resident();
    let socket = open(&session).await;
    settled(before).await;
    works(&client).await;
    drop(socket);
    end(&client, &session).await;

    // A message that is too long costs the socket, not the session.
    let session = execute(&client, "sh -c 'echo up; read line; echo got $line'").await;
    let mut socket = open(&session).await;
    let _ = socket
        .send(Message::Binary(vec![0; 200 * 1024].into()))
        .await;
    let lost = async { while let Some(Ok(_)) = socket.next().await {} };
    tokio::time::timeout(LIMIT, lost).await.unwrap();
    let resume = json!({ "SessionId": session["sessionId"] });
    let resumed = call(&client, "AmazonSSM.ResumeSession", resume).await;
    let mut channel = Channel::open(&resumed).await;
    channel.until_output("up").await;
    channel.input(b"it\n").await;
    assert!(channel.into_end().await.text().contains("got it"));

    // Sockets without a token are few.
    let session = execute(&client, "sh -c 'sleep 600'").await;
    let mut waiting = Vec::new();
    let refused = loop {
        match dial(&session).await {
            Ok(socket) => waiting.push(socket),
            Err(status) => break status,
        }
        assert!(waiting.len() < 100);
    };
    assert_eq!((refused, waiting.len()), (429, 8));
    drop(waiting);
    let again = async {
        while dial(&session).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, again).await.unwrap();
    end(&client, &session).await;
    // Names of operations that are made up are not kept.
    for number in 0..50 {
        for prefix in ["Made", "AmazonSSM.Made"] {
            let request = Request::json(&format!("{prefix}{number}"), &json!({}));
            assert_eq!(client.send_signed(&request).await.status, 400);
        }
        let query = Request {
            method: "POST",
            target: "/".to_owned(),
            service: "iam",
            headers: vec![("content-type".to_owned(), FORM.to_owned())],
            body: format!("Action=Made{number}&Version=2010-05-08"),
        };
        assert_eq!(client.send_signed(&query).await.status, 400);
    }
    for (operation, member) in [("CountActions", "actions"), ("CountCalls", "calls")] {
        let mut count = Request::json(&format!("BowlineSandbox.{operation}"), &json!({}));
        count.service = "ecs";
        let counted = client.send_signed(&count).await.json();
        let names: Vec<&String> = counted[member].as_object().unwrap().keys().collect();
        assert!(!names.is_empty());
        assert!(names.iter().all(|name| !name.contains("Made")), "{names:?}");
    }
    works(&client).await;
    sandbox.shutdown().await;
}

fn nonsense(socket: &mut Socket) -> Round<'_> {
    Box::pin(async move {
        for number in 0..6_000_u32 {
            let mut frame = input(i64::from(number), 100).to_vec();
            let bytes = (number.wrapping_mul(2_654_435_761)).to_be_bytes();
            match number % 6 {
                // Lengths of the header and of the payload that reach far out.
                0 => frame[..4].copy_from_slice(&[0xff; 4]),
                1 => frame[..4].copy_from_slice(&bytes),
                2 => frame[116..120].copy_from_slice(&[0xff; 4]),
                3 => frame.truncate(number as usize % 121),
                4 => frame[4..36].fill(bytes[0]),
                _ => frame[112..116].copy_from_slice(&bytes),
            }
            send(socket, frame.into()).await;
        }
    })
}

fn absurd_numbers(socket: &mut Socket) -> Round<'_> {
    Box::pin(async move {
        for number in [i64::MAX, i64::MIN, -1, 1 << 62, i64::MAX - 1] {
            for _ in 0..500 {
                send(socket, input(number, 1)).await;
                send(socket, acknowledgement(number)).await;
            }
        }
    })
}

fn a_flood_ahead_of_its_turn(socket: &mut Socket) -> Round<'_> {
    Box::pin(async move {
        let (long, short) = (input(0, 100 * 1024), input(0, 1));
        for number in 1..400 {
            send(socket, numbered(&long, number)).await;
        }
        for number in 1..15_000 {
            send(socket, numbered(&short, number)).await;
        }
    })
}

fn a_flood_for_a_command_that_does_not_read(socket: &mut Socket) -> Round<'_> {
    Box::pin(async move {
        let long = input(0, 100 * 1024);
        for number in 0..400 {
            send(socket, numbered(&long, number)).await;
        }
    })
}

type Round<'a> = std::pin::Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Sends, and takes what has come meanwhile: a client that never reads is another test.
async fn send(socket: &mut Socket, message: Bytes) {
    socket.feed(Message::Binary(message)).await.unwrap();
    tokio::select! {
        biased;
        _ = socket.next() => {}
        () = std::future::ready(()) => {}
    }
}

fn input(sequence: i64, length: usize) -> Bytes {
    frame(
        MessageType::InputStreamData,
        sequence,
        Bytes::from(vec![b'x'; length]),
    )
}

/// The same message with another number: cheaper than another digest.
fn numbered(message: &Bytes, sequence: i64) -> Bytes {
    let mut bytes = message.to_vec();
    bytes[48..56].copy_from_slice(&sequence.to_be_bytes());
    bytes.into()
}

fn acknowledgement(sequence: i64) -> Bytes {
    let payload = json!({
        "AcknowledgedMessageType": "output_stream_data", "AcknowledgedMessageId": "",
        "AcknowledgedMessageSequenceNumber": sequence, "IsSequentialMessage": true,
    });
    frame(MessageType::Acknowledge, 0, payload.to_string().into())
}

fn frame(message_type: MessageType, sequence: i64, payload: Bytes) -> Bytes {
    let frame = Frame {
        message_type,
        schema_version: 1,
        created_millis: Timestamp::from_millis(1).as_millis(),
        sequence,
        flags: Flags::NONE,
        id: IdSource::new(1).next_id(),
        payload_type: PayloadType::Output.into(),
        payload,
    };
    frame.encode()
}

async fn dial(session: &Value) -> Result<Socket, u16> {
    let url = session["streamUrl"].as_str().unwrap();
    let authority = url
        .strip_prefix("ws://")
        .unwrap()
        .split('/')
        .next()
        .unwrap();
    let stream = TcpStream::connect(authority).await.unwrap();
    match tokio_tungstenite::client_async(url, stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

async fn open(session: &Value) -> Socket {
    let mut socket = dial(session).await.unwrap();
    let token = json!({ "MessageSchemaVersion": "1.0", "RequestId": "", "TokenValue": session["tokenValue"] });
    socket.send(Message::text(token.to_string())).await.unwrap();
    socket
}

/// Waits until the process holds no more from one look to the next, and checks that it is not too much.
async fn settled(before: usize) {
    let mut last = 0;
    let mut calm = 0;
    let settling = async {
        while calm < 5 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = resident();
            assert!(now < before + BOUND, "from {before} to {now} bytes");
            calm = if now > last + (1 << 20) { 0 } else { calm + 1 };
            last = now;
        }
    };
    tokio::time::timeout(LIMIT, settling)
        .await
        .expect("it settles");
}

/// Memory of this process in bytes: the sandbox, and the client, which holds next to nothing.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = status.split(' ').nth(1).unwrap().parse().unwrap();
    // 4 KiB on all machines that this runs on.
    pages * 4096
}

async fn works(client: &Client) {
    let session = execute(client, "echo fine").await;
    let seen = Channel::open(&session).await.into_end().await;
    assert_eq!(seen.text(), "fine\r\n");
}

async fn execute(client: &Client, command: &str) -> Value {
    let service = json!({ "cluster": "demo", "serviceName": "web" });
    let tasks = call(client, "ListTasks", service).await;
    let request = json!({
        "cluster": "demo", "task": tasks["taskArns"][0], "command": command, "interactive": true,
    });
    call(client, "ExecuteCommand", request).await["session"].clone()
}

async fn end(client: &Client, session: &Value) {
    let id = json!({ "SessionId": session["sessionId"] });
    call(client, "AmazonSSM.TerminateSession", id).await;
}

async fn call(client: &Client, operation: &str, body: Value) -> Value {
    let answer = client.send_signed(&Request::json(operation, &body)).await;
    assert_eq!(answer.status, 200, "{operation}: {answer:?}");
    answer.json()
}
