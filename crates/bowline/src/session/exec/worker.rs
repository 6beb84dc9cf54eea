//! The task behind an [`Exec`](super::Exec): it joins the caller, the wrapper's protocol and the data channel.

use std::collections::VecDeque;
use std::time::Duration;

use base64::Engine as _;
use bowline_proto::Size;
use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::error::ExecError;
use super::framed::{self, Output};
use super::wrapper::{self, Kind};
use super::{Engine, ExecEvent, ExecRequest, marked, start};
use crate::model::SessionGrant;
use crate::session::driver::{Channel, ChannelEvent, Command};
use crate::{Client, ResolvedTarget};

// Tuning.
/// For the ready mark after the channel is up: the stock agent takes 1 s, one that is over its limit for ever.
const READY_LIMIT: Duration = Duration::from_millis(14_000);
/// After the command's end, for the service to close the channel. Nothing is lost if it takes longer.
const CLOSE_LIMIT: Duration = Duration::from_millis(300);
/// For ending a session by API when leaving early.
const TERMINATE_LIMIT: Duration = Duration::from_secs(2);
/// A piece of stdin in one answer to the wrapper, before base64.
const PIECE: usize = 45_000;
/// Events waiting for a slow reader; the data channel is not read while there are more.
const PENDING: usize = 64;
/// Ctrl-C.
const INTERRUPT: Bytes = Bytes::from_static(b"\x03");
/// Ctrl-D.
const END_OF_TEXT: Bytes = Bytes::from_static(b"\x04");

/// What a caller sends besides stdin.
#[derive(Debug)]
pub(super) enum Input {
    Interrupt,
    Resize(Size),
}

/// Runs the command to its end; the last event says how it went.
pub(super) async fn run(
    client: Client,
    mut target: ResolvedTarget,
    request: ExecRequest,
    reader: mpsc::Sender<ExecEvent>,
    inputs: mpsc::Receiver<Input>,
    stdin: mpsc::Receiver<Bytes>,
) {
    let mut session_id = None;
    let working = work(
        &client,
        &mut target,
        &request,
        &reader,
        inputs,
        stdin,
        &mut session_id,
    );
    let last = working
        .await
        .unwrap_or_else(|reason| Some(ExecEvent::Closed { reason }));
    let ended = matches!(last, Some(ExecEvent::Exit { .. }));
    if let Some(session_id) = session_id.filter(|_| !ended) {
        // The caller may lack the permission, and the session may be over: then there is nothing more to do.
        let _ = timeout(TERMINATE_LIMIT, client.terminate_session(&session_id)).await;
    }
    if let Some(last) = last {
        // The reader may have left.
        let _ = reader.send(last).await;
    }
}

/// `None` when the reader has left.
async fn work(
    client: &Client,
    target: &mut ResolvedTarget,
    request: &ExecRequest,
    reader: &mpsc::Sender<ExecEvent>,
    inputs: mpsc::Receiver<Input>,
    stdin: mpsc::Receiver<Bytes>,
    session_id: &mut Option<String>,
) -> Result<Option<ExecEvent>, ExecError> {
    if request.argv.is_empty() {
        return Err(ExecError::NoCommand);
    }
    let nonce = nonce();
    let kind = match request.engine {
        Engine::Framed => Kind::Framed {
            stdin: request.stdin,
        },
        Engine::Tty => Kind::Tty,
    };
    let line = wrapper::command_line(kind, &nonce, &request.argv);
    let starting = start::start(client, target, &line.line, request.wait, reader);
    let grant = tokio::select! {
        grant = starting => grant?,
        () = reader.closed() => return Ok(None),
    };
    *session_id = Some(grant.session_id.clone());
    let opening = Channel::open(client, &grant, request.size);
    let channel = tokio::select! {
        channel = opening => channel.map_err(ExecError::Open)?,
        () = reader.closed() => return Ok(None),
    };
    let worker = Worker {
        client,
        target,
        grant: &grant,
        reader,
        channel,
        inputs,
        stdin: Stdin {
            pieces: request.stdin.then_some(stdin),
            buffer: BytesMut::new(),
            wanted: false,
        },
        protocol: match request.engine {
            Engine::Framed => Protocol::Framed(framed::Decoder::new(&nonce)),
            Engine::Tty => Protocol::Tty(marked::Scanner::new(&nonce)),
        },
        later: line.later,
        pending: VecDeque::new(),
        outgoing: VecDeque::new(),
        delivered: 0,
        ready: false,
        status: None,
        done: false,
        deadline: Instant::now() + READY_LIMIT,
    };
    worker.serve().await
}

fn nonce() -> String {
    // Without random numbers marks could be guessed by accident only; a clock is enough then.
    let seed = getrandom::u64().unwrap_or_else(|_| std::process::id().into());
    format!("{seed:016x}")
}

enum Protocol {
    Framed(framed::Decoder),
    Tty(marked::Scanner),
}

struct Stdin {
    /// `None` after the end of the input.
    pieces: Option<mpsc::Receiver<Bytes>>,
    buffer: BytesMut,
    /// The wrapper asked for a piece.
    wanted: bool,
}

struct Worker<'a> {
    client: &'a Client,
    target: &'a ResolvedTarget,
    grant: &'a SessionGrant,
    reader: &'a mpsc::Sender<ExecEvent>,
    channel: Channel,
    inputs: mpsc::Receiver<Input>,
    stdin: Stdin,
    protocol: Protocol,
    later: Option<Vec<u8>>,
    pending: VecDeque<ExecEvent>,
    outgoing: VecDeque<Command>,
    delivered: u64,
    ready: bool,
    status: Option<i64>,
    /// Everything of the command was received.
    done: bool,
    deadline: Instant,
}

enum Turn {
    Reader(bool),
    Channel(Option<ChannelEvent>),
    Sent,
    Input(Option<Input>),
    Stdin(Option<Bytes>),
    Deadline,
}

impl Worker<'_> {
    async fn serve(mut self) -> Result<Option<ExecEvent>, ExecError> {
        loop {
            match self.turn().await {
                Turn::Reader(true) => {}
                Turn::Reader(false) => return Ok(None),
                Turn::Channel(Some(ChannelEvent::Output(bytes))) => {
                    if let Err(error) = self.output(&bytes) {
                        return self.fail(error).await;
                    }
                }
                Turn::Channel(Some(ChannelEvent::Message(text))) => {
                    self.pending.push_back(ExecEvent::Notice(text));
                }
                Turn::Channel(Some(ChannelEvent::Closed { output, complete })) => {
                    return self.closed(output, complete).await;
                }
                Turn::Channel(Some(ChannelEvent::Lost(_)) | None) if self.done => {
                    return self.finish().await;
                }
                Turn::Channel(Some(ChannelEvent::Lost(source))) => {
                    let delivered = self.delivered;
                    return self.fail(ExecError::Lost { delivered, source }).await;
                }
                Turn::Channel(None) => {
                    return self
                        .fail(ExecError::StatusUnknown {
                            output: String::new(),
                        })
                        .await;
                }
                Turn::Sent => {}
                Turn::Input(Some(Input::Interrupt)) => {
                    self.outgoing.push_front(Command::Write(INTERRUPT));
                }
                Turn::Input(Some(Input::Resize(size))) => {
                    self.outgoing.push_back(Command::Resize(size));
                }
                Turn::Input(None) => self.inputs.close(),
                Turn::Stdin(piece) => self.stdin(piece),
                Turn::Deadline if self.done => return self.finish().await,
                Turn::Deadline => {
                    let active = self.other_sessions().await;
                    return self.fail(ExecError::Silent { active }).await;
                }
            }
        }
    }

    async fn turn(&mut self) -> Turn {
        let Self {
            reader,
            channel,
            inputs,
            stdin,
            pending,
            outgoing,
            ready,
            done,
            deadline,
            ..
        } = self;
        let timed = !*ready || *done;
        let wants_stdin = *ready && !*done && outgoing.is_empty() && stdin.buffer.len() < PIECE;
        let Channel {
            events, commands, ..
        } = channel;
        // Every arm is cancel-safe: channels, permits that are used or given back, a timer.
        tokio::select! {
            permit = reader.reserve(), if !pending.is_empty() => Turn::Reader(match (permit, pending.pop_front()) {
                (Ok(permit), Some(event)) => {
                    permit.send(event);
                    true
                }
                (permit, _) => permit.is_ok(),
            }),
            () = reader.closed(), if pending.is_empty() => Turn::Reader(false),
            event = events.recv(), if pending.len() < PENDING => Turn::Channel(event),
            permit = commands.reserve(), if !outgoing.is_empty() => {
                // A session that is over says so through its events.
                if let (Ok(permit), Some(command)) = (permit, outgoing.pop_front()) {
                    permit.send(command);
                }
                Turn::Sent
            }
            input = inputs.recv(), if !inputs.is_closed() => Turn::Input(input),
            piece = receive(&mut stdin.pieces), if wants_stdin && stdin.pieces.is_some() => Turn::Stdin(piece),
            () = tokio::time::sleep_until(*deadline), if timed => Turn::Deadline,
        }
    }

    /// How many sessions besides ours are active in the container, if that can be found out.
    async fn other_sessions(&self) -> Option<usize> {
        let target = self.target.ssm_target()?;
        let active = timeout(TERMINATE_LIMIT, self.client.active_sessions(&target))
            .await
            .ok()?
            .ok()?;
        Some(active.saturating_sub(1))
    }

    fn output(&mut self, bytes: &[u8]) -> Result<(), ExecError> {
        match &mut self.protocol {
            Protocol::Framed(decoder) => {
                let mut items = Vec::new();
                let result = decoder.feed(bytes, &mut items);
                self.delivered = decoder.bytes_delivered();
                for item in items {
                    self.framed(item)?;
                }
                result.map_err(|damage| ExecError::damaged(&damage, self.delivered))
            }
            Protocol::Tty(scanner) => {
                let mut items = Vec::new();
                scanner.feed(bytes, &mut items);
                for item in items {
                    self.marked(item);
                }
                Ok(())
            }
        }
    }

    fn framed(&mut self, item: framed::Item) -> Result<(), ExecError> {
        match item {
            framed::Item::Ready { terminal } => {
                let what = if self.later.is_some() {
                    Some("so long a command")
                } else {
                    self.stdin.pieces.as_ref().map(|_| "stdin")
                };
                if let Some(what) = what.filter(|_| !terminal) {
                    return Err(ExecError::NoTerminal {
                        container: self.target.container.clone(),
                        what,
                    });
                }
                self.started();
            }
            framed::Item::Chunk(Output::Stdout, bytes) => {
                self.pending.push_back(ExecEvent::Stdout(bytes));
            }
            framed::Item::Chunk(Output::Stderr, bytes) | framed::Item::Stray(bytes) => {
                self.pending.push_back(ExecEvent::Stderr(bytes));
            }
            framed::Item::Want => {
                self.stdin.wanted = true;
                self.answer();
            }
            framed::Item::Status(status) => {
                self.status = Some(status);
                self.answer();
            }
            framed::Item::Done => {
                self.outgoing
                    .push_back(Command::Write(Bytes::from_static(b"\n")));
                self.finished();
            }
        }
        Ok(())
    }

    fn marked(&mut self, item: marked::Item) {
        match item {
            marked::Item::Ready => self.started(),
            marked::Item::Bytes(bytes) => {
                self.delivered += bytes.len() as u64;
                self.pending.push_back(ExecEvent::Stdout(bytes));
            }
            marked::Item::Status(status) => {
                self.status = Some(status);
                self.finished();
            }
        }
    }

    fn started(&mut self) {
        self.ready = true;
        if let Some(later) = self.later.take() {
            self.outgoing.push_back(Command::Write(later.into()));
        }
        self.pending.push_back(ExecEvent::Started {
            session_id: self.grant.session_id.clone(),
        });
    }

    fn finished(&mut self) {
        self.done = true;
        self.deadline = Instant::now() + CLOSE_LIMIT;
    }

    fn stdin(&mut self, piece: Option<Bytes>) {
        match (&self.protocol, piece) {
            (Protocol::Framed(_), Some(piece)) => self.stdin.buffer.extend_from_slice(&piece),
            (Protocol::Framed(_), None) => self.stdin.pieces = None,
            (Protocol::Tty(_), Some(piece)) => self.outgoing.push_back(Command::Write(piece)),
            (Protocol::Tty(_), None) => {
                self.stdin.pieces = None;
                self.outgoing.push_back(Command::Write(END_OF_TEXT));
            }
        }
        self.answer();
    }

    /// Answers the wrapper's wish for stdin if there is something to say.
    fn answer(&mut self) {
        let over =
            self.status.is_some() || (self.stdin.pieces.is_none() && self.stdin.buffer.is_empty());
        let something = over || !self.stdin.buffer.is_empty();
        if !(self.stdin.wanted && something) {
            return;
        }
        self.stdin.wanted = false;
        let answer = if over {
            "0\n".to_owned()
        } else {
            let piece = self
                .stdin
                .buffer
                .split_to(self.stdin.buffer.len().min(PIECE));
            let text = base64::engine::general_purpose::STANDARD.encode(piece);
            format!("{}\n{text}", text.len())
        };
        self.outgoing.push_back(Command::Write(answer.into()));
    }

    async fn closed(
        mut self,
        output: String,
        complete: bool,
    ) -> Result<Option<ExecEvent>, ExecError> {
        if self.done {
            return self.finish().await;
        }
        if let Protocol::Tty(scanner) = &mut self.protocol {
            let mut rest = Vec::new();
            scanner.finish(&mut rest);
            for item in rest {
                self.marked(item);
            }
        }
        let delivered = self.delivered;
        let error = if !self.ready && !output.trim().is_empty() {
            not_started(&output, &self.target.container)
        } else if complete {
            ExecError::StatusUnknown { output }
        } else {
            ExecError::Incomplete {
                delivered,
                damage: "messages before the end did not arrive".to_owned(),
            }
        };
        self.fail(error).await
    }

    /// All that arrived is delivered before the error is.
    async fn fail(mut self, error: ExecError) -> Result<Option<ExecEvent>, ExecError> {
        if self.hand_over().await {
            Err(error)
        } else {
            Ok(None)
        }
    }

    async fn finish(mut self) -> Result<Option<ExecEvent>, ExecError> {
        let code = self.status.unwrap_or_default();
        Ok(self.hand_over().await.then_some(ExecEvent::Exit { code }))
    }

    async fn hand_over(&mut self) -> bool {
        while let Some(event) = self.pending.pop_front() {
            if self.reader.send(event).await.is_err() {
                return false;
            }
        }
        true
    }
}

async fn receive(pieces: &mut Option<mpsc::Receiver<Bytes>>) -> Option<Bytes> {
    match pieces {
        Some(pieces) => pieces.recv().await,
        None => None,
    }
}

/// The agent's text when the wrapper itself could not be started.
fn not_started(output: &str, container: &str) -> ExecError {
    let text = output.replace("----------ERROR-------", "");
    let missing = text.contains("\"sh\": executable file not found");
    if missing {
        ExecError::NoShell {
            container: container.to_owned(),
        }
    } else {
        ExecError::NotStarted(text.trim().to_owned())
    }
}
