//! A service that costs next to nothing: one task, and sessions that send as fast as the socket takes it.
//!
//! The sandbox's agent reads a terminal and hashes every message, so with it the far end is the slower one. Here all
//! messages are copies of one, so that the client is what is measured. It answers just the calls of an `exec` of the
//! tty engine and retransmits nothing: the link is loopback.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::{Context, bail};
use bowline_proto::{Flags, Frame, MessageId, MessageType, PayloadType};
use futures_util::{Sink, SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, accept_async};

/// The one task there is.
pub(super) const TASK: &str =
    "arn:aws:ecs:us-east-1:123456789012:task/demo/0123456789abcdef0123456789abcdef";
const CLUSTER: &str = "arn:aws:ecs:us-east-1:123456789012:cluster/demo";
const CONTAINER: &str =
    "arn:aws:ecs:us-east-1:123456789012:container/demo/0123456789abcdef0123456789abcdef/app";
/// Where the sequence number stands in a message.
const SEQUENCE: std::ops::Range<usize> = 48..56;

/// A running service; it ends when this is dropped.
pub(super) struct Fake {
    address: String,
    script: Arc<Script>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What its sessions send.
struct Script {
    payload: usize,
    total: usize,
    /// The nonce of the command that was asked for last.
    nonce: Mutex<String>,
    /// When the last session began to send.
    spoke: Mutex<Option<Instant>>,
    address: String,
}

impl Fake {
    /// A service whose sessions send `total` bytes in messages with `payload` bytes each.
    pub(super) fn start(payload: usize, total: usize) -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?.to_string();
        let script = Arc::new(Script {
            payload,
            total,
            nonce: Mutex::default(),
            spoke: Mutex::default(),
            address: address.clone(),
        });
        let playing = Arc::clone(&script);
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    result = serve(listener, &playing) => if let Err(error) = result {
                        println!("the fake service failed: {error:#}");
                    },
                    _ = stopped => {}
                }
            });
        });
        Ok(Self {
            address,
            script,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The environment that leads there.
    pub(super) fn environment(&self) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT_URL", format!("http://{}", self.address)),
            ("AWS_ACCESS_KEY_ID", "bench".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "bench".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// A data channel's URL; any token will do.
    pub(super) fn stream_url(&self) -> String {
        stream_url(&self.address)
    }

    /// When the last session began to send.
    pub(super) fn spoke(&self) -> Option<Instant> {
        *lock(&self.script.spoke)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed.
            let _ = thread.join();
        }
    }
}

fn stream_url(address: &str) -> String {
    format!("ws://{address}/v1/data-channel/bench?role=publish_subscribe")
}

async fn serve(listener: std::net::TcpListener, script: &Arc<Script>) -> anyhow::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (tcp, _) = accepted?;
                tcp.set_nodelay(true)?;
                let script = Arc::clone(script);
                connections.spawn(async move {
                    let mut first = [0];
                    if tcp.peek(&mut first).await? == 1 && first == *b"G" {
                        play(accept_async(tcp).await?, &script).await
                    } else {
                        answer_calls(tcp, &script).await
                    }
                });
            }
            Some(ended) = connections.join_next() => {
                if let Ok(Err(error)) = ended {
                    println!("a connection of the fake service failed: {error:#}");
                }
            }
        }
    }
}

async fn answer_calls(tcp: TcpStream, script: &Script) -> anyhow::Result<()> {
    let mut tcp = BufReader::new(tcp);
    loop {
        let (mut operation, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if tcp.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let Some((name, value)) = line.trim_end().split_once(':') else {
                if line.trim_end().is_empty() {
                    break;
                }
                continue;
            };
            match name.to_ascii_lowercase().as_str() {
                "x-amz-target" => {
                    operation = value.rsplit('.').next().unwrap_or_default().to_owned();
                }
                "content-length" => length = value.trim().parse()?,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        tcp.read_exact(&mut body).await?;
        let answer = answer(&operation, &serde_json::from_slice(&body)?, script)?.to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        tcp.write_all((head + &answer).as_bytes()).await?;
    }
}

fn answer(operation: &str, request: &Value, script: &Script) -> anyhow::Result<Value> {
    Ok(match operation {
        "DescribeTasks" => json!({"failures": [], "tasks": [{
            "taskArn": TASK,
            "clusterArn": CLUSTER,
            "lastStatus": "RUNNING",
            "desiredStatus": "RUNNING",
            "enableExecuteCommand": true,
            "containers": [{
                "name": "app",
                "containerArn": CONTAINER,
                "runtimeId": "0123456789abcdef0123456789abcdef-1",
                "lastStatus": "RUNNING",
                "managedAgents": [{"name": "ExecuteCommandAgent", "lastStatus": "RUNNING"}],
            }],
        }]}),
        "ExecuteCommand" => {
            let command = request["command"].as_str().unwrap_or_default();
            let nonce = command
                .rsplit_once("' bowline ")
                .and_then(|(_, rest)| rest.split(' ').next())
                .context("no wrapper in the command")?;
            nonce.clone_into(&mut lock(&script.nonce));
            json!({
                "clusterArn": CLUSTER,
                "taskArn": TASK,
                "containerArn": CONTAINER,
                "containerName": "app",
                "interactive": true,
                "session": {
                    "sessionId": "ecs-execute-command-bench",
                    "streamUrl": stream_url(&script.address),
                    "tokenValue": "bench",
                },
            })
        }
        other => bail!("{other} is not among the calls this service knows"),
    })
}

/// One session, from the opening message until the client leaves.
async fn play(mut socket: WebSocketStream<TcpStream>, script: &Script) -> anyhow::Result<()> {
    socket.next().await.context("no opening message")??;
    let (to_client, mut from_client) = socket.split();
    // Both ways at once: two ends that only write would wait for each other for ever.
    let listen = async {
        while let Some(Ok(_)) = from_client.next().await {}
        anyhow::Ok(())
    };
    let (said, _) = tokio::join!(say(to_client, script), listen);
    said
}

async fn say(
    mut client: impl Sink<Message, Error = tungstenite::Error> + Unpin,
    script: &Script,
) -> anyhow::Result<()> {
    let nonce = lock(&script.nonce).clone();
    let ready = format!("\x1e{nonce}r\x1e");
    let end = format!("\x1e{nonce}x0\x1e");
    let mut sequence = 0;
    *lock(&script.spoke) = Some(Instant::now());
    client.feed(message(sequence, ready.as_bytes())).await?;
    let template = frame(&vec![b'x'; script.payload]);
    for _ in 0..script.total.div_ceil(script.payload) {
        sequence += 1;
        client.feed(numbered(&template, sequence)).await?;
    }
    client.feed(message(sequence + 1, end.as_bytes())).await?;
    let closed = Frame {
        message_type: MessageType::ChannelClosed,
        payload: r#"{"MessageType":"channel_closed","Output":""}"#.into(),
        ..template_frame(b"")
    };
    client.send(Message::Binary(closed.encode())).await?;
    Ok(())
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

fn message(sequence: i64, payload: &[u8]) -> Message {
    numbered(&frame(payload), sequence)
}

fn frame(payload: &[u8]) -> Vec<u8> {
    template_frame(payload).encode().to_vec()
}

fn template_frame(payload: &[u8]) -> Frame {
    Frame {
        message_type: MessageType::OutputStreamData,
        schema_version: 1,
        created_millis: 1_700_000_000_000,
        sequence: 0,
        flags: Flags::NONE,
        id: MessageId::from_bytes([7; 16]),
        payload_type: PayloadType::Output.into(),
        payload: payload.to_vec().into(),
    }
}

/// The digest is of the payload alone, so only the number has to be put in.
fn numbered(template: &[u8], sequence: i64) -> Message {
    let mut copy = template.to_vec();
    copy[SEQUENCE].copy_from_slice(&sequence.to_be_bytes());
    Message::Binary(copy.into())
}
