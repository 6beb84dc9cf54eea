//! An agent's sockets: the control channel, and the data channel of a session.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::{Attached, Pass, message};

/// For the upgrade, and for the token to come.
const OPEN_LIMIT: Duration = Duration::from_secs(15);
/// For an agent to take a message; it reads all the time.
const SEND_LIMIT: Duration = Duration::from_secs(30);
/// The agent pings every 54 s, so one that is silent for longer than this is gone.
const SILENCE: Duration = Duration::from_secs(180);
/// The agent sends no larger ones than 142,000 bytes.
const MESSAGE_LIMIT: usize = 160 * 1024;
/// Messages either way that wait between an agent's socket and its client's.
const QUEUE: usize = 64;
/// The real agent enters a message in its table only after it was sent, and misses an acknowledgement that is there
/// before: it then repeats the message, and waits up to two seconds at the end. No network is so fast.
const PASSAGE: Duration = Duration::from_millis(1);

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// A socket with which an agent has come for a session.
pub(super) struct Caller {
    /// Messages to it, and when each may go.
    pub(super) messages: mpsc::Sender<(Instant, Bytes)>,
    /// What it says; ends with the socket.
    pub(super) words: mpsc::Receiver<Bytes>,
}

/// When a message that arrives now may go on to an agent.
pub(super) fn passage() -> Instant {
    Instant::now() + PASSAGE
}

/// The one message of text, with which an agent shows its token.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Opening {
    #[serde(default)]
    token_value: String,
    #[serde(default)]
    agent_version: String,
}

/// Serves a control channel as long as it lasts.
pub(super) async fn control(attached: &Attached, pass: &Pass, target: &str, pending: OnUpgrade) {
    let Some((mut socket, opening)) = open(pending).await else {
        return;
    };
    let Some((number, queue)) = attached.connected(pass, target, &opening.token_value) else {
        let _ = timeout(OPEN_LIMIT, socket.close(None)).await;
        return;
    };
    tracing::info!(
        target,
        version = opening.agent_version,
        "an agent is connected"
    );
    let (sink, stream) = socket.split();
    let (answers, answering) = mpsc::channel(QUEUE);
    tokio::select! {
        () = listen(attached, stream, answers) => {}
        () = speak(sink, queue, answering) => {}
    }
    tracing::info!(target, "an agent's control channel is gone");
    attached.disconnected(pass, target, number).await;
}

/// Serves a session's data channel as long as it lasts.
pub(super) async fn data(attached: &Attached, target: &str, session: &str, pending: OnUpgrade) {
    let Some((mut socket, opening)) = open(pending).await else {
        return;
    };
    let Some(door) = attached.entered(session, target, &opening.token_value) else {
        let _ = timeout(OPEN_LIMIT, socket.close(None)).await;
        return;
    };
    let (messages, outgoing) = mpsc::channel(QUEUE);
    let (incoming, words) = mpsc::channel(QUEUE);
    if door.send(Caller { messages, words }).await.is_err() {
        return;
    }
    let (sink, stream) = socket.split();
    tokio::select! {
        () = read(stream, incoming) => {}
        // Ends when the session does, with everything sent.
        () = write(sink, outgoing) => {}
    }
}

async fn open(pending: OnUpgrade) -> Option<(Socket, Opening)> {
    let opening = async {
        let upgraded = pending.await.ok()?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_LIMIT))
            .max_frame_size(Some(MESSAGE_LIMIT));
        let io = TokioIo::new(upgraded);
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        loop {
            match socket.next().await?.ok()? {
                Message::Text(text) => return Some((socket, serde_json::from_str(&text).ok()?)),
                Message::Ping(_) | Message::Pong(_) => {}
                _ => return None,
            }
        }
    };
    timeout(OPEN_LIMIT, opening).await.ok().flatten()
}

/// Takes what an agent says on its control channel. Each end of a session is answered, or it would come again.
async fn listen(
    attached: &Attached,
    mut stream: SplitStream<Socket>,
    answers: mpsc::Sender<Bytes>,
) {
    while let Ok(Some(Ok(said))) = timeout(SILENCE, stream.next()).await {
        match said {
            Message::Binary(bytes) => {
                if let Some((completion, answer)) = message::completion(&bytes) {
                    attached.completed(&completion.task_id, completion.output);
                    if answers.send(answer).await.is_err() {
                        return;
                    }
                }
            }
            Message::Close(_) => return,
            _ => {}
        }
    }
}

async fn speak(
    mut sink: SplitSink<Socket, Message>,
    mut queue: mpsc::Receiver<Bytes>,
    mut answers: mpsc::Receiver<Bytes>,
) {
    loop {
        let message = tokio::select! {
            message = queue.recv() => message,
            message = answers.recv() => message,
        };
        // Another socket has taken over, or the agent has gone.
        let Some(message) = message else { return };
        let sent = timeout(SEND_LIMIT, sink.send(Message::Binary(message))).await;
        if !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}

async fn read(mut stream: SplitStream<Socket>, words: mpsc::Sender<Bytes>) {
    while let Ok(Some(Ok(said))) = timeout(SILENCE, stream.next()).await {
        match said {
            Message::Binary(bytes) => {
                let over = words.send(bytes).await.is_err();
                if over {
                    // The rest of what the agent was told goes out meanwhile.
                    return std::future::pending().await;
                }
            }
            Message::Close(_) => return,
            _ => {}
        }
    }
}

async fn write(
    mut sink: SplitSink<Socket, Message>,
    mut messages: mpsc::Receiver<(Instant, Bytes)>,
) {
    let mut next = messages.recv().await;
    while let Some((at, message)) = next.take() {
        sleep_until(at).await;
        let sent = timeout(SEND_LIMIT, sink.feed(Message::Binary(message))).await;
        if !matches!(sent, Ok(Ok(()))) {
            return;
        }
        // What is there already may go with the same flush.
        next = messages.try_recv().ok();
        if next.as_ref().is_none_or(|(at, _)| *at > Instant::now()) {
            let flushed = timeout(SEND_LIMIT, sink.flush()).await;
            if !matches!(flushed, Ok(Ok(()))) {
                return;
            }
        }
        if next.is_none() {
            next = messages.recv().await;
        }
    }
}
