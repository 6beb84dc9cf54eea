//! Programs of ours in a container: started, fed and read through exec sessions.

use std::collections::VecDeque;
use std::future::pending;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::error::CopyError;
use super::names::shown;
use crate::session::exec::{Exec, ExecError, ExecEvent, ExecRequest, ExecStdin};
use crate::{Client, ResolvedTarget, boot};

/// More than any listing we would take.
const OUTPUT_LIMIT: usize = 512 << 20;
/// Of what tools say, which is for people.
const SAID_LIMIT: usize = 4096;

const TOOLS: &str = include_str!("scripts/tools.sh");

/// The programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// What there is, with digests.
    List,
    /// Content, piece by piece as it is asked for.
    Fetch,
    /// Digests of the beginnings of files.
    Again,
    /// What the destination is.
    Probe,
    /// One file.
    Put,
    /// Many files into a folder of their own.
    Unpack,
    /// That folder to its place.
    Commit,
}

/// One container, entered as often as it takes.
#[derive(Clone)]
pub(crate) struct Remote {
    pub(crate) client: Client,
    pub(crate) target: ResolvedTarget,
    pub(crate) wait: Duration,
    pub(crate) reconnect_for: Duration,
}

/// What a program printed, and its code.
pub(crate) struct Output {
    pub(crate) stdout: Vec<u8>,
    pub(crate) said: String,
    pub(crate) code: i64,
}

/// A running program and what is still to be sent to it.
pub(crate) struct Conversation {
    exec: Exec,
    stdin: Option<ExecStdin>,
    waiting: VecDeque<Bytes>,
    source: Option<mpsc::Receiver<Bytes>>,
    /// More may be pushed.
    held: bool,
    said: Vec<u8>,
}

impl Program {
    fn text(self) -> String {
        match self {
            Self::List => {
                let batch = format!("{TOOLS}{}", include_str!("scripts/batch.sh"));
                format!(
                    "P='{}'\n{}",
                    batch.replace('\'', r"'\''"),
                    include_str!("scripts/list.sh")
                )
            }
            Self::Fetch => format!("{TOOLS}{}", include_str!("scripts/fetch.sh")),
            Self::Again => format!("{TOOLS}{}", include_str!("scripts/again.sh")),
            Self::Probe => format!("{TOOLS}{}", include_str!("scripts/probe.sh")),
            Self::Put => format!("{TOOLS}{}", include_str!("scripts/put.sh")),
            Self::Unpack => include_str!("scripts/unpack.sh").to_owned(),
            Self::Commit => format!("{TOOLS}{}", include_str!("scripts/commit.sh")),
        }
    }

    /// How the request calls it, and errors what it did.
    fn name(self) -> (&'static str, &'static str) {
        match self {
            Self::List => ("bowline-list", "listing"),
            Self::Fetch => ("bowline-fetch", "reading"),
            Self::Again => ("bowline-digest", "checking"),
            Self::Probe => ("bowline-probe", "looking at the destination"),
            Self::Put => ("bowline-put", "writing"),
            Self::Unpack => ("bowline-unpack", "unpacking"),
            Self::Commit => ("bowline-commit", "moving the copy to its place"),
        }
    }
}

impl Remote {
    /// Starts a program. What comes from `source`, which ends it, is its input behind `input`.
    pub(crate) fn start(
        &self,
        program: Program,
        arguments: &[&[u8]],
        input: Vec<Bytes>,
        source: Option<mpsc::Receiver<Bytes>>,
    ) -> Conversation {
        self.start_text(&program.text(), program.name().0, arguments, input, source)
    }

    /// The same for a text in the language of POSIX shells.
    pub(crate) fn start_text(
        &self,
        program: &str,
        name: &str,
        arguments: &[&[u8]],
        input: Vec<Bytes>,
        source: Option<mpsc::Receiver<Bytes>>,
    ) -> Conversation {
        let request = ExecRequest {
            stdin: true,
            wait: self.wait,
            reconnect_for: self.reconnect_for,
            ..boot::request(program, name, arguments.iter().copied(), b"")
        };
        let mut exec = self.client.exec(self.target.clone(), request);
        Conversation {
            stdin: exec.take_stdin(),
            exec,
            waiting: input.into(),
            source,
            held: false,
            said: Vec::new(),
        }
    }

    /// Runs a program to its end.
    pub(crate) async fn collect(
        &self,
        program: Program,
        arguments: &[&[u8]],
        input: Vec<Bytes>,
    ) -> Result<Output, ExecError> {
        self.start(program, arguments, input, None).collect().await
    }

    /// The error for a program that failed.
    pub(crate) fn failed(&self, program: Program, said: &str) -> CopyError {
        CopyError::Remote {
            step: program.name().1,
            container: self.target.container.clone(),
            said: said.to_owned(),
        }
    }
}

impl Conversation {
    /// The next event; what the program says on stderr is kept for errors. Feeds it meanwhile. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<ExecEvent> {
        loop {
            if self.waiting.is_empty() && self.source.is_none() && !self.held {
                self.stdin = None;
            }
            tokio::select! {
                event = self.exec.next() => match event {
                    Some(ExecEvent::Stderr(bytes)) => self.hear(&bytes),
                    event => return event,
                },
                sent = send(self.stdin.as_ref(), self.waiting.front()) => {
                    self.waiting.pop_front();
                    if !sent {
                        (self.stdin, self.source) = (None, None);
                        self.waiting.clear();
                    }
                }
                piece = receive(&mut self.source), if self.waiting.is_empty() => match piece {
                    Some(piece) => self.waiting.push_back(piece),
                    None => self.source = None,
                },
            }
        }
    }

    /// Keeps the input open, to be pushed into until it is released.
    pub(crate) fn hold(&mut self, hold: bool) {
        self.held = hold;
    }

    /// More input.
    pub(crate) fn push(&mut self, piece: Bytes) {
        self.waiting.push_back(piece);
    }

    /// Runs to the end.
    pub(crate) async fn collect(mut self) -> Result<Output, ExecError> {
        let mut stdout = Vec::new();
        while let Some(event) = self.next().await {
            match event {
                ExecEvent::Stdout(bytes) => {
                    stdout.extend_from_slice(&bytes);
                    if stdout.len() > OUTPUT_LIMIT {
                        break;
                    }
                }
                ExecEvent::Exit { code } => {
                    return Ok(Output {
                        stdout,
                        said: self.said(),
                        code,
                    });
                }
                ExecEvent::Closed { reason } => return Err(reason),
                _ => {}
            }
        }
        let delivered = stdout.len() as u64;
        self.exec.terminate().await;
        Err(ExecError::Incomplete {
            delivered,
            damage: "it is longer than any listing".to_owned(),
        })
    }

    /// Ends it.
    pub(crate) async fn terminate(self) {
        self.exec.terminate().await;
    }

    /// What its tools said, for people.
    pub(crate) fn said(&self) -> String {
        let lines = self.said.split(|&byte| byte == b'\n');
        let lines = lines.filter(|line| !line.is_empty()).take(3).map(shown);
        lines.collect::<Vec<_>>().join("; ")
    }

    fn hear(&mut self, bytes: &[u8]) {
        let room = SAID_LIMIT.saturating_sub(self.said.len());
        self.said.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// Whether it was taken; never comes back without one.
async fn send(stdin: Option<&ExecStdin>, piece: Option<&Bytes>) -> bool {
    match (stdin, piece) {
        (Some(stdin), Some(piece)) => stdin.write(piece.clone()).await.is_ok(),
        _ => pending().await,
    }
}

async fn receive(source: &mut Option<mpsc::Receiver<Bytes>>) -> Option<Bytes> {
    match source {
        Some(source) => source.recv().await,
        None => pending().await,
    }
}
