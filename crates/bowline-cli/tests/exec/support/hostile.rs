//! A service that means no good: API calls go through to a real sandbox, data channels are its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use bowline_proto::{Flags, Frame, MessageId, MessageType, PayloadType};
use tokio_tungstenite::tungstenite;

use super::servers::{join, serve};

/// What a hostile agent knows and does on one connection.
pub(crate) struct Attack {
    stream: TcpStream,
    /// With which the wrapper marks what it says; an agent reads it in the command.
    pub(crate) nonce: String,
}

/// Starts a service whose agents all do the same. It ends with the test.
pub(crate) fn hostile(
    sandbox: SocketAddr,
    attack: fn(&mut Attack) -> std::io::Result<()>,
) -> SocketAddr {
    let nonce = Arc::new(Mutex::new(String::new()));
    serve(move |client| {
        let mut first = [0; 4];
        // A request line is there at once or the client has left.
        if client.peek(&mut first).unwrap_or(0) < 4 {
            return;
        }
        if &first == b"GET " {
            let Ok(socket) = tungstenite::accept(client) else {
                return;
            };
            let stream = socket.get_ref().try_clone().unwrap();
            let nonce = nonce.lock().unwrap().clone();
            // Its end is the client leaving, as a rule.
            let _ = attack(&mut Attack { stream, nonce });
            return;
        }
        let Ok(server) = TcpStream::connect(sandbox) else {
            return;
        };
        let heard = Listening::new(client.try_clone().unwrap(), Arc::clone(&nonce));
        join(client, heard, server);
    })
}

/// What the client sends, on its way to the sandbox.
struct Listening {
    stream: TcpStream,
    heard: String,
    nonce: Arc<Mutex<String>>,
}

impl Listening {
    fn new(stream: TcpStream, nonce: Arc<Mutex<String>>) -> Self {
        Self {
            stream,
            heard: String::new(),
            nonce,
        }
    }
}

impl Read for Listening {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.heard
            .push_str(&String::from_utf8_lossy(&buffer[..count]));
        if let Some(at) = self.heard.find("\"command\"") {
            let words =
                self.heard[at..].split(|letter: char| !matches!(letter, '0'..='9' | 'a'..='f'));
            if let Some(nonce) = words.into_iter().find(|word| word.len() == 16) {
                *self.nonce.lock().unwrap() = nonce.to_owned();
            }
        }
        Ok(count)
    }
}

impl Attack {
    /// Reads what the client sends, so that only our own sending has to wait.
    pub(crate) fn hear_out(&self) {
        let mut stream = self.stream.try_clone().unwrap();
        std::thread::spawn(move || std::io::copy(&mut stream, &mut std::io::sink()));
    }

    /// Waits until the client has left.
    pub(crate) fn outstay(&mut self) -> std::io::Result<()> {
        std::io::copy(&mut self.stream, &mut std::io::sink()).map(drop)
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub(crate) fn message(&mut self, message: &[u8]) -> std::io::Result<()> {
        self.raw(&binary(message))
    }

    /// In order, as number 0: the wrapper says that the command is about to start.
    pub(crate) fn ready(&mut self) -> std::io::Result<()> {
        let line = format!("\x1e{}r64 1 64\n", self.nonce);
        self.message(&output(0, line.as_bytes()))
    }

    /// The same on a terminal.
    pub(crate) fn terminal_ready(&mut self) -> std::io::Result<()> {
        let mark = format!("\x1e{}r\x1e", self.nonce);
        self.message(&output(0, mark.as_bytes()))
    }

    /// Many at once, again and again, until the client has left. The first one has number 1.
    pub(crate) fn flood(&mut self, mut message: impl FnMut(i64) -> Vec<u8>) -> std::io::Result<()> {
        let mut number = 1;
        loop {
            let mut batch = Vec::new();
            while batch.len() < 64 * 1024 {
                batch.extend(message(number));
                number += 1;
            }
            self.raw(&batch)?;
        }
    }
}

/// One unmasked binary WebSocket message.
pub(crate) fn binary(message: &[u8]) -> Vec<u8> {
    let length = message.len();
    let mut bytes = vec![0x82];
    match u16::try_from(length) {
        Ok(short @ 0..126) => bytes.push(u8::try_from(short).unwrap()),
        Ok(middle) => {
            bytes.push(126);
            bytes.extend(middle.to_be_bytes());
        }
        Err(_) => {
            bytes.push(127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(message);
    bytes
}

pub(crate) fn output(sequence: i64, payload: &[u8]) -> Vec<u8> {
    frame(
        MessageType::OutputStreamData,
        sequence,
        PayloadType::Output,
        payload,
    )
}

pub(crate) fn frame(
    kind: MessageType,
    sequence: i64,
    payload_type: PayloadType,
    payload: &[u8],
) -> Vec<u8> {
    let frame = Frame {
        message_type: kind,
        schema_version: 1,
        created_millis: 1,
        sequence,
        flags: Flags::NONE,
        id: MessageId::from_bytes([6; 16]),
        payload_type: payload_type.into(),
        payload: payload.to_vec().into(),
    };
    frame.encode().to_vec()
}

/// The same message with another number: the digest is of the payload only.
pub(crate) fn numbered(message: &[u8], sequence: i64) -> Vec<u8> {
    let mut bytes = message.to_vec();
    bytes[48..56].copy_from_slice(&sequence.to_be_bytes());
    bytes
}
