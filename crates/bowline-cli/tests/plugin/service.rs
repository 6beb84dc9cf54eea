//! The service's side of a recorded session: it sends what was sent then, each message when the client has said as much as
//! the recorded one had, and answers ResumeSession.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use bowline_proto::{Acknowledge, DigestCheck, Flags, Frame, MessageId, MessageType, PayloadType};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

use crate::support::SOON;

/// How the next step is told from the one before: nobody has said anything for so long.
const QUIET: Duration = Duration::from_millis(20);
const ID: [u8; 16] = [7; 16];

/// What the recorded service did.
#[derive(Debug)]
enum Step {
    /// Sends this when the client has said so many bytes, and so much of the handshake.
    Send {
        frame: Frame,
        after_bytes: usize,
        after_handshake: bool,
    },
    /// Cuts the connection.
    Reset,
}

pub(crate) struct Service {
    pub(crate) port: u16,
    heard: Receiver<Heard>,
    input: Receiver<()>,
}

/// What the client has said.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// The bytes of its stream.
    pub(crate) input: Vec<u8>,
    /// Its last terminal size.
    pub(crate) size: Value,
    /// The flags it sent.
    pub(crate) flags: Vec<u8>,
    /// The tokens it came with.
    pub(crate) tokens: Vec<String>,
}

impl Service {
    /// Replays a recording by its name. `resume` is what ResumeSession answers.
    pub(crate) fn replay(name: &str, resume: Option<(u16, Value)>) -> Self {
        Self::start(steps(name), resume)
    }

    /// One that opens the channel and says nothing, as an agent does that has no room for a further session.
    pub(crate) fn silent() -> Self {
        Self::start(Vec::new(), None)
    }

    fn start(steps: Vec<Step>, resume: Option<(u16, Value)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (told, heard) = channel();
        let (spoken, input) = channel();
        thread::spawn(move || serve(&listener, port, steps, resume.as_ref(), &told, &spoken));
        Self { port, heard, input }
    }

    /// As AWS answers StartSession.
    pub(crate) fn response(&self) -> String {
        let url = format!("ws://127.0.0.1:{}/v1/data-channel/x", self.port);
        json!({"SessionId": "s", "TokenValue": "TOKEN-1", "StreamUrl": url}).to_string()
    }

    /// Waits until something is said.
    #[track_caller]
    pub(crate) fn until_input(&self) {
        self.input.recv_timeout(SOON).unwrap();
    }

    /// All that was said, once the client is gone.
    #[track_caller]
    pub(crate) fn heard(self) -> Heard {
        self.heard.recv_timeout(SOON).unwrap()
    }
}

fn serve(
    listener: &TcpListener,
    port: u16,
    steps: Vec<Step>,
    resume: Option<&(u16, Value)>,
    told: &Sender<Heard>,
    spoken: &Sender<()>,
) {
    let mut steps = steps.into_iter().peekable();
    let mut heard = Heard::default();
    let mut pieces: BTreeMap<i64, Bytes> = BTreeMap::new();
    let mut handshake = false;
    for stream in listener.incoming().flatten() {
        let mut first = [0; 4];
        if stream.peek(&mut first).is_ok() && &first == b"POST" {
            let (status, mut answer) = resume.cloned().unwrap_or_else(|| (500, json!({})));
            if answer.get("TokenValue").is_some() {
                answer["StreamUrl"] = format!("ws://127.0.0.1:{port}/v1/data-channel/y").into();
            }
            answer_call(stream, status, &answer);
            if status != 200 || answer.get("TokenValue").is_none() {
                break;
            }
            continue;
        }
        stream.set_read_timeout(Some(QUIET)).unwrap();
        let mut socket = tungstenite::accept(stream).unwrap();
        let mut reset = false;
        let begun = Instant::now();
        while begun.elapsed() < SOON {
            let said: usize = pieces.values().map(Bytes::len).sum();
            match steps.next_if(|step| match step {
                Step::Send {
                    after_bytes,
                    after_handshake,
                    ..
                } => said >= *after_bytes && (handshake || !after_handshake),
                Step::Reset => !heard.size.is_null(),
            }) {
                Some(Step::Send { frame, .. }) => {
                    let _ = socket.send(Message::Binary(frame.encode()));
                    continue;
                }
                Some(Step::Reset) => {
                    reset = true;
                    break;
                }
                None => {}
            }
            match socket.read() {
                Ok(Message::Text(text)) => {
                    let opening: Value = serde_json::from_str(&text).unwrap();
                    let token = opening["TokenValue"].as_str().unwrap();
                    heard.tokens.push(token.to_owned());
                }
                Ok(Message::Binary(message)) => {
                    let frame = Frame::decode(&message, DigestCheck::Enforce).unwrap();
                    if frame.message_type == MessageType::InputStreamData {
                        acknowledge(&mut socket, &frame);
                        let kind = PayloadType::from(frame.payload_type);
                        match kind {
                            PayloadType::Output => {
                                pieces.insert(frame.sequence, frame.payload);
                                let _ = spoken.send(());
                            }
                            PayloadType::Size => {
                                heard.size = serde_json::from_slice(&frame.payload).unwrap();
                            }
                            PayloadType::HandshakeResponse => handshake = true,
                            PayloadType::Flag if !heard.flags.ends_with(&frame.payload[3..]) => {
                                heard.flags.extend(&frame.payload[3..]);
                            }
                            _ => {}
                        }
                    }
                }
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) if is_quiet(&error) => {}
                Err(_) => break,
            }
        }
        drop(socket);
        if !reset {
            break;
        }
    }
    heard.input = pieces.into_values().flatten().collect();
    // The test may not care.
    let _ = told.send(heard);
}

fn is_quiet(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    matches!(error.kind(), TimedOut | WouldBlock)
}

fn acknowledge(socket: &mut WebSocket<TcpStream>, of: &Frame) {
    let acknowledgement = Frame {
        message_type: MessageType::Acknowledge,
        flags: Flags::SYN_FIN,
        id: MessageId::from_bytes(ID),
        sequence: 0,
        payload_type: 0,
        payload: serde_json::to_vec(&Acknowledge::of(of)).unwrap().into(),
        ..of.clone()
    };
    let _ = socket.send(Message::Binary(acknowledgement.encode()));
}

fn answer_call(mut stream: TcpStream, status: u16, answer: &Value) {
    stream.set_read_timeout(Some(QUIET)).unwrap();
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    while !String::from_utf8_lossy(&request).contains("\"SessionId\"") {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => request.extend(&piece[..length]),
            Err(error) if is_quiet(&error) => {}
            Err(_) => return,
        }
    }
    let request = String::from_utf8_lossy(&request).to_lowercase();
    assert!(request.contains("amazonssm.resumesession"), "{request}");
    let body = answer.to_string();
    let _ = write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
}

fn steps(name: &str) -> Vec<Step> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../bowline-proto/tests/fixtures/transcripts")
        .join(format!("{name}.json"));
    let recording: Value = serde_json::from_slice(&fs::read(folder).unwrap()).unwrap();
    let (mut said, mut handshake) = (BTreeMap::new(), false);
    let mut steps = Vec::new();
    for event in recording["events"].as_array().unwrap() {
        if event["ws"] == "tcp reset" {
            steps.push(Step::Reset);
        }
        if event["ws"] != "binary" {
            continue;
        }
        let message = Bytes::from(hex::decode(event["hex"].as_str().unwrap()).unwrap());
        let mut frame = Frame::decode(&message, DigestCheck::Enforce).unwrap();
        let kind = PayloadType::from(frame.payload_type);
        if frame.message_type == MessageType::InputStreamData {
            handshake |= kind == PayloadType::HandshakeResponse;
            if kind == PayloadType::Output {
                said.insert(frame.sequence, frame.payload.len());
            }
        } else if frame.message_type != MessageType::Acknowledge {
            if kind == PayloadType::HandshakeRequest {
                // The recorded port may be taken here.
                let text = String::from_utf8(frame.payload.to_vec()).unwrap();
                let mut request: Value = serde_json::from_str(&text).unwrap();
                for action in request["RequestedClientActions"].as_array_mut().unwrap() {
                    let properties = &mut action["ActionParameters"]["Properties"];
                    if properties.get("localPortNumber").is_some() {
                        properties["localPortNumber"] = "0".into();
                    }
                }
                frame.payload = request.to_string().into();
            }
            steps.push(Step::Send {
                frame,
                after_bytes: said.values().sum(),
                after_handshake: handshake,
            });
        }
    }
    steps
}
