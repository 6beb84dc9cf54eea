//! `bowline forward`, the built binary: ports of this machine that lead to tasks of a sandbox and to what stands behind
//! them, through lost connections, replaced tasks, old agents and readers that stop reading.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../exec/support/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "the harness of tests/exec serves here in part"
)]
mod support;

mod agents;
mod healing;
mod local;
mod server;
mod sets;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use serde_json::Value;
use support::{Running, SOON, Sandbox};

/// A running forward, with what it says as JSON.
pub(crate) struct Forwarding {
    running: Running,
    /// The events that were read, all of them.
    pub(crate) events: Vec<Value>,
    /// By the number of the spec.
    pub(crate) ports: Vec<u16>,
}

impl Forwarding {
    /// Starts one, and waits until all of it is ready.
    #[track_caller]
    pub(crate) fn start(sandbox: &Sandbox, words: &[&str]) -> Self {
        let line = [&["forward", "-o", "json"], words].concat();
        let mut command = sandbox.bowline(&line);
        let running = Running::start_lines(command.stdin(Stdio::null()));
        let specs = words.iter().filter(|word| word.starts_with("0:")).count();
        let mut forwarding = Self {
            running,
            events: Vec::new(),
            ports: vec![0; specs],
        };
        for _ in 0..specs {
            let ready = forwarding.event("ready");
            let number = usize::try_from(ready["forward"].as_u64().unwrap()).unwrap();
            forwarding.ports[number] = u16::try_from(ready["port"].as_u64().unwrap()).unwrap();
        }
        forwarding
    }

    /// The next event of this type; others before it are kept.
    #[track_caller]
    pub(crate) fn event(&mut self, kind: &str) -> Value {
        loop {
            let (_, line) = self.running.line();
            let event: Value = serde_json::from_str(&line).unwrap();
            self.events.push(event.clone());
            if event["type"] == kind {
                return event;
            }
            assert!(event["type"] != "exit", "{event}");
        }
    }

    #[track_caller]
    pub(crate) fn connect(&self, number: usize) -> TcpStream {
        connect(self.ports[number])
    }

    /// Ends it as Ctrl-C does.
    #[track_caller]
    pub(crate) fn interrupt(self) {
        self.running.signal("INT");
        self.running.finish(SOON).code(130);
    }
}

#[track_caller]
pub(crate) fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

/// What the demo world's web server answers; it names its task.
#[track_caller]
pub(crate) fn get(port: u16) -> String {
    ask(connect(port)).unwrap()
}

pub(crate) fn ask(mut stream: TcpStream) -> std::io::Result<String> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.trim());
    body.map(str::to_owned)
        .ok_or_else(|| std::io::Error::other(format!("no answer: {answer:?}")))
}
