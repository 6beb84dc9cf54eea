//! A client's end of a data channel: the protocol crate over a socket of the test's own.

use std::time::{Duration, SystemTime};

use bowline_proto::{
    ClientConfig, Event, IdSource, OpenDataChannel, PayloadType, Session, Size, Timestamp,
};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

/// No wait of these tests takes longer, however busy the machine.
const LIMIT: Duration = Duration::from_secs(30);

/// What came before a session's end, and how it ended.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) output: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) exit_code: Option<i64>,
    /// The text of `channel_closed`.
    pub(crate) closed: Option<String>,
    /// The socket ended without it; true if there was a close frame.
    pub(crate) lost: Option<bool>,
}

impl Seen {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }
}

/// What the handshake of an encrypted session asks for.
#[derive(Debug)]
pub(crate) struct KeyWanted {
    pub(crate) key_id: String,
    pub(crate) challenge: Option<String>,
}

pub(crate) struct Channel {
    socket: WebSocketStream<TcpStream>,
    pub(crate) session: Session,
    pub(crate) seen: Seen,
    pub(crate) key_wanted: Option<KeyWanted>,
    established: bool,
    pong: bool,
}

impl Channel {
    /// Opens the channel of an answer of ExecuteCommand (its `session`) or StartSession.
    pub(crate) async fn open(answer: &Value) -> Self {
        Self {
            socket: connect(answer).await.unwrap(),
            session: Session::client(ClientConfig::new(2), now()),
            seen: Seen::default(),
            key_wanted: None,
            established: false,
            pong: false,
        }
    }

    /// Goes on with another socket, after ResumeSession. The error is the status of a refused upgrade.
    pub(crate) async fn reopen(&mut self, answer: &Value) -> Result<(), u16> {
        self.socket = connect(answer).await?;
        self.seen.lost = None;
        self.session.reconnected(now());
        Ok(())
    }

    /// Serves the channel to its end, whatever that is.
    pub(crate) async fn into_end(mut self) -> Seen {
        self.until("the end", |channel| {
            channel.seen.closed.is_some() || channel.seen.lost.is_some()
        })
        .await;
        self.seen
    }

    /// Serves the channel until so much output has come that it contains this.
    pub(crate) async fn until_output(&mut self, wanted: &str) {
        self.until(wanted, |channel| channel.seen.text().contains(wanted))
            .await;
    }

    pub(crate) async fn input(&mut self, bytes: &[u8]) {
        self.until("the session to be up", |channel| channel.established)
            .await;
        let taken = self.session.write(now(), PayloadType::Output, bytes);
        assert_eq!(taken, bytes.len());
        self.until("the input to be acknowledged", |channel| {
            channel.session.is_idle()
        })
        .await;
    }

    pub(crate) async fn resize(&mut self, cols: u32, rows: u32) {
        self.until("the session to be up", |channel| channel.established)
            .await;
        self.session.resize(now(), Size { cols, rows });
        self.until("the size to be acknowledged", |channel| {
            channel.session.is_idle()
        })
        .await;
    }

    /// Whether a ping is answered within a second, which is long on loopback.
    pub(crate) async fn is_alive(&mut self) -> bool {
        self.pong = false;
        // A socket that is gone is noticed by the next read.
        let _ = self.socket.send(Message::Ping("?".into())).await;
        let answered = async {
            while !self.pong {
                self.step().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(1), answered)
            .await
            .is_ok()
    }

    /// Whether this happens within a time.
    pub(crate) async fn within(&mut self, time: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let serving = async {
            while !done(self) {
                self.step().await;
            }
        };
        tokio::time::timeout(time, serving).await.is_ok()
    }

    pub(crate) async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let serving = async {
            while !done(self) {
                self.step().await;
            }
        };
        if tokio::time::timeout(LIMIT, serving).await.is_err() {
            panic!("not in time: {what}; seen {:?}", self.seen);
        }
    }

    pub(crate) async fn step(&mut self) {
        while let Some(message) = self.session.poll_transmit(now()) {
            // A socket that is gone is noticed by the next read.
            let _ = self.socket.send(Message::Binary(message)).await;
        }
        let wait = self
            .session
            .poll_timeout()
            .map_or(LIMIT, |at| at - now().min(at));
        tokio::select! {
            message = self.socket.next() => match message {
                Some(Ok(Message::Binary(frame))) => self.session.receive(now(), &frame).unwrap(),
                Some(Ok(Message::Close(_))) => self.seen.lost = Some(true),
                Some(Ok(Message::Pong(_))) => self.pong = true,
                Some(Ok(_)) => {}
                None | Some(Err(_)) => {
                    self.seen.lost.get_or_insert(false);
                }
            },
            () = tokio::time::sleep(wait) => self.session.handle_timeout(now()),
        }
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Established { .. } => self.established = true,
                Event::KeyWanted { key_id, challenge } => {
                    self.key_wanted = Some(KeyWanted { key_id, challenge });
                }
                Event::Output(bytes) => self.seen.output.extend_from_slice(&bytes),
                Event::StdErr(bytes) => self.seen.stderr.extend_from_slice(&bytes),
                Event::ExitCode(code) => self.seen.exit_code = Some(code),
                Event::Closed { output, complete } => {
                    assert!(complete, "messages are missing: {:?}", self.seen);
                    self.seen.closed = Some(output);
                }
                _ => {}
            }
        }
    }
}

async fn connect(answer: &Value) -> Result<WebSocketStream<TcpStream>, u16> {
    let member = |lower: &str, upper: &str| {
        let value = answer.get(lower).or_else(|| answer.get(upper));
        value.and_then(Value::as_str).unwrap().to_owned()
    };
    let url = member("streamUrl", "StreamUrl");
    let token = member("tokenValue", "TokenValue");
    let authority = url
        .strip_prefix("ws://")
        .unwrap()
        .split('/')
        .next()
        .unwrap();
    let stream = TcpStream::connect(authority).await.unwrap();
    let (mut socket, _) = match tokio_tungstenite::client_async(&url, stream).await {
        Err(Error::Http(answer)) => return Err(answer.status().as_u16()),
        other => other.unwrap(),
    };
    let mut ids = IdSource::new(1);
    let open = OpenDataChannel::client(&token, ids.next_id(), ids.next_id(), "1.2.896.0");
    // A socket that is cut at once is noticed by the next read.
    let _ = socket.send(Message::text(open.encode())).await;
    Ok(socket)
}

pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    Timestamp::from_epoch(since)
}
