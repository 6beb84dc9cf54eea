//! One session of a command: it joins the caller, the engine's protocol and the data channel.

use std::collections::VecDeque;
use std::time::Duration;

use bowline_proto::Size;
use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::error::ExecError;
use super::framed::Damage;
use super::protocol::{Protocol, Step};
use super::{ExecEvent, ExecRequest};
use crate::model::SessionGrant;
use crate::session::ChannelError;
use crate::session::clock::until;
use crate::session::driver::{Channel, ChannelEvent, Command};
use crate::{Client, ResolvedTarget};

// Tuning.
/// For ending a session by API when leaving early.
pub(super) const TERMINATE_LIMIT: Duration = Duration::from_secs(2);
/// For the ready mark after the channel is up: the stock agent takes 1 s, one that is over its limit for ever.
const READY_LIMIT: Duration = Duration::from_millis(14_000);
/// After the command's end, for the service to close the channel. Nothing is lost if it takes longer.
const CLOSE_LIMIT: Duration = Duration::from_millis(300);
/// Events waiting for a slow reader; the data channel is not read while there are more.
const PENDING: usize = 64;
/// And their bytes: a message may have a megabyte.
const PENDING_BYTES: usize = 1 << 20;
/// Commands waiting for the session. A wrapper asks for one thing at a time, so that more come from something else.
const OUTGOING: usize = 64;
const NEWLINE: Bytes = Bytes::from_static(b"\n");
/// Ctrl-C.
const INTERRUPT: Bytes = Bytes::from_static(b"\x03");
/// Ctrl-D.
const END_OF_TEXT: Bytes = Bytes::from_static(b"\x04");
const END_WITHIN_LINE: Bytes = Bytes::from_static(b"\x04\x04");

/// What a caller sends besides stdin.
#[derive(Debug)]
pub(super) enum Input {
    Interrupt,
    Resize(Size),
}

/// The caller's ends.
pub(super) struct Caller {
    pub(super) reader: mpsc::Sender<ExecEvent>,
    pub(super) inputs: mpsc::Receiver<Input>,
    pub(super) stdin: mpsc::Receiver<Bytes>,
}

/// How one session of a command ended.
pub(super) enum End {
    /// With this last event.
    Event(ExecEvent),
    /// The reader has left.
    Unwanted,
    /// Nothing was run because the image lacks what the framed engine needs.
    NoEncoder,
}

/// A session that is open.
pub(super) struct Session<'a> {
    pub(super) client: &'a Client,
    pub(super) target: &'a ResolvedTarget,
    pub(super) grant: &'a SessionGrant,
    pub(super) channel: Channel,
}

struct Stdin<'a> {
    pieces: &'a mut mpsc::Receiver<Bytes>,
    /// More may come.
    open: bool,
    buffer: BytesMut,
    /// The wrapper asked for a piece.
    wanted: bool,
    /// What a terminal was sent last did not end a line.
    in_line: bool,
}

/// What a session and its caller have left to do.
pub(super) struct Worker<'a> {
    client: &'a Client,
    target: &'a ResolvedTarget,
    grant: &'a SessionGrant,
    reader: &'a mpsc::Sender<ExecEvent>,
    channel: Channel,
    inputs: &'a mut mpsc::Receiver<Input>,
    stdin: Stdin<'a>,
    protocol: Protocol,
    later: Option<Vec<u8>>,
    /// Stdin may go through a terminal that edits lines.
    lines: bool,
    pending: VecDeque<ExecEvent>,
    pending_bytes: usize,
    outgoing: VecDeque<Command>,
    delivered: u64,
    ready: bool,
    /// The connection is being restored.
    away: bool,
    status: Option<i64>,
    /// Everything of the command was received.
    done: bool,
    deadline: Instant,
    /// Whatever happens to connections, the command has started by then.
    start_by: Instant,
    /// How long the command may run.
    limit: Option<Duration>,
    ends_at: Option<Instant>,
}

enum Turn {
    Reader(bool),
    Channel(Option<ChannelEvent>),
    Sent,
    Input(Option<Input>),
    Stdin(Option<Bytes>),
    Deadline,
    TimeLimit,
}

impl<'a> Worker<'a> {
    /// For a session whose channel is open. `later` is the argv that has to follow through the session.
    pub(super) fn new(
        session: Session<'a>,
        request: &ExecRequest,
        protocol: Protocol,
        later: Option<Vec<u8>>,
        caller: &'a mut Caller,
    ) -> Self {
        let Session {
            client,
            target,
            grant,
            channel,
        } = session;
        Worker {
            client,
            target,
            grant,
            reader: &caller.reader,
            channel,
            inputs: &mut caller.inputs,
            stdin: Stdin {
                pieces: &mut caller.stdin,
                open: request.stdin,
                buffer: request.first.clone().into(),
                wanted: false,
                in_line: false,
            },
            protocol,
            later,
            lines: request.lines,
            pending: VecDeque::new(),
            pending_bytes: 0,
            outgoing: VecDeque::new(),
            delivered: 0,
            ready: false,
            away: false,
            status: None,
            done: false,
            deadline: Instant::now() + READY_LIMIT,
            start_by: Instant::now() + READY_LIMIT + request.reconnect_for,
            limit: request.timeout,
            ends_at: None,
        }
    }

    /// Runs to the session's end.
    pub(super) async fn serve(mut self) -> Result<End, ExecError> {
        loop {
            match self.turn().await {
                Turn::Reader(true) | Turn::Sent => {}
                Turn::Reader(false) => return Ok(End::Unwanted),
                Turn::Channel(Some(ChannelEvent::Output(bytes))) => match self.output(&bytes) {
                    Ok(true) => {}
                    Ok(false) => return Ok(End::NoEncoder),
                    Err(error) => return self.fail(error).await,
                },
                Turn::Channel(Some(ChannelEvent::StdErr(bytes))) => {
                    self.bytes(ExecEvent::Stderr, bytes);
                }
                Turn::Channel(Some(ChannelEvent::ExitCode(code))) => self.status = Some(code),
                Turn::Channel(Some(ChannelEvent::Message(text))) => {
                    self.pending.push_back(ExecEvent::Notice(text));
                }
                Turn::Channel(Some(
                    ChannelEvent::Established { .. }
                    | ChannelEvent::Flag(_)
                    | ChannelEvent::Settled,
                )) => {}
                Turn::Channel(Some(ChannelEvent::Away)) => self.away = true,
                Turn::Channel(Some(ChannelEvent::Back)) => {
                    self.away = false;
                    if !self.ready {
                        self.deadline = self.start_by.min(Instant::now() + READY_LIMIT);
                    }
                }
                Turn::Channel(Some(ChannelEvent::Closed { output, complete })) => {
                    return self.closed(output, complete).await;
                }
                Turn::Channel(Some(ChannelEvent::Lost(_)) | None) if self.done => {
                    return self.finish().await;
                }
                Turn::Channel(Some(ChannelEvent::Lost(
                    source @ (ChannelError::NoKey { .. } | ChannelError::Handshake { .. }),
                ))) => {
                    return self.fail(ExecError::Open(source)).await;
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
                Turn::Input(Some(Input::Interrupt)) => {
                    self.outgoing.push_front(Command::Write(INTERRUPT));
                }
                Turn::Input(Some(Input::Resize(size))) => {
                    // Only the last one counts, and an outage may hold back many.
                    self.outgoing
                        .retain(|command| !matches!(command, Command::Resize(_)));
                    self.outgoing.push_back(Command::Resize(size));
                }
                Turn::Input(None) => self.inputs.close(),
                Turn::Stdin(piece) => self.take_stdin(piece),
                Turn::Deadline if self.done => return self.finish().await,
                Turn::Deadline => {
                    let active = self.other_sessions().await;
                    return self.fail(ExecError::Silent { active }).await;
                }
                Turn::TimeLimit => {
                    let limit = self.limit.unwrap_or_default();
                    return self.fail(ExecError::TimedOut { limit }).await;
                }
            }
        }
    }

    async fn turn(&mut self) -> Turn {
        let wants_stdin = self.wants_stdin();
        let Self {
            reader,
            channel,
            inputs,
            stdin,
            pending,
            pending_bytes,
            outgoing,
            ready,
            away,
            done,
            deadline,
            ends_at,
            ..
        } = self;
        let timed = (!*ready && !*away) || *done;
        let ends = ends_at.filter(|_| !*done);
        let Channel {
            events, commands, ..
        } = channel;
        // Every arm is cancel-safe: channels, permits that are used or given back, timers.
        tokio::select! {
            permit = reader.reserve(), if !pending.is_empty() => Turn::Reader(match (permit, pending.pop_front()) {
                (Ok(permit), Some(event)) => {
                    *pending_bytes -= weight(&event);
                    permit.send(event);
                    true
                }
                (permit, _) => permit.is_ok(),
            }),
            () = reader.closed(), if pending.is_empty() => Turn::Reader(false),
            event = events.recv(), if pending.len() < PENDING && *pending_bytes < PENDING_BYTES => Turn::Channel(event),
            permit = commands.reserve(), if !outgoing.is_empty() => {
                // A session that is over says so through its events.
                if let (Ok(permit), Some(command)) = (permit, outgoing.pop_front()) {
                    permit.send(command);
                }
                Turn::Sent
            }
            input = inputs.recv(), if !inputs.is_closed() => Turn::Input(input),
            piece = stdin.pieces.recv(), if wants_stdin => Turn::Stdin(piece),
            () = tokio::time::sleep_until(*deadline), if timed => Turn::Deadline,
            () = until(ends), if ends.is_some() => Turn::TimeLimit,
        }
    }

    /// Before the ready mark nothing is sent: an agent may throw early input away.
    fn wants_stdin(&self) -> bool {
        let room = self.stdin.buffer.len() < self.protocol.piece_limit();
        self.stdin.open && self.ready && !self.done && self.outgoing.is_empty() && room
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

    /// False if the engine cannot work here.
    fn output(&mut self, bytes: &Bytes) -> Result<bool, ExecError> {
        let mut steps = Vec::new();
        let result = self.protocol.feed(bytes, &mut steps);
        for step in steps {
            if !self.step(step)? {
                return Ok(false);
            }
        }
        result
            .map_err(|damage| ExecError::damaged(&damage, self.delivered))
            .map(|()| true)
    }

    fn step(&mut self, step: Step) -> Result<bool, ExecError> {
        match step {
            Step::NoEncoder => return Ok(false),
            // Said again, it would put off the time limit.
            Step::Ready { .. } if self.ready => {}
            Step::Want | Step::Waits if self.outgoing.len() >= OUTGOING => {
                return Err(ExecError::damaged(&Damage::Asks, self.delivered));
            }
            Step::Ready { terminal } => {
                let what = match (
                    &self.later,
                    self.stdin.open || !self.stdin.buffer.is_empty(),
                ) {
                    (Some(_), _) => Some("so long a command"),
                    (None, true) if self.lines && !terminal && self.protocol.edit_lines() => None,
                    (None, true) => Some("stdin"),
                    (None, false) => None,
                };
                if let Some(what) = what.filter(|_| !terminal) {
                    return Err(ExecError::NoTerminal {
                        container: self.target.container.clone(),
                        what,
                    });
                }
                self.started();
            }
            Step::Waits if self.later.is_some() => self.send_later(),
            Step::Waits => self.outgoing.push_back(Command::Write(NEWLINE)),
            Step::Stdout(bytes) => self.bytes(ExecEvent::Stdout, bytes),
            // After the end only the terminal itself can say something: an echo of our last newline.
            Step::Stderr(_) if self.done => {}
            Step::Stderr(bytes) => self.bytes(ExecEvent::Stderr, bytes),
            Step::Want => {
                self.stdin.wanted = true;
                self.answer();
            }
            Step::Status(status) => {
                self.status = Some(status);
                self.answer();
            }
            Step::Done { .. } if self.done => {}
            Step::Done { waits } => {
                if waits {
                    self.outgoing.push_back(Command::Write(NEWLINE));
                }
                self.done = true;
                self.deadline = Instant::now() + CLOSE_LIMIT;
            }
        }
        Ok(true)
    }

    fn bytes(&mut self, event: fn(Bytes) -> ExecEvent, bytes: Bytes) {
        if !bytes.is_empty() {
            self.delivered += bytes.len() as u64;
            self.pending_bytes += bytes.len();
            self.pending.push_back(event(bytes));
        }
    }

    pub(super) fn started(&mut self) {
        self.ready = true;
        self.ends_at = self.limit.map(|limit| Instant::now() + limit);
        self.send_later();
        self.pending.push_back(ExecEvent::Started {
            session_id: self.grant.session_id.clone(),
        });
    }

    fn send_later(&mut self) {
        if let Some(later) = self.later.take() {
            self.outgoing.push_back(Command::Write(later.into()));
        }
    }

    fn take_stdin(&mut self, piece: Option<Bytes>) {
        self.stdin.open = piece.is_some();
        if self.protocol.asks_for_stdin() {
            self.stdin
                .buffer
                .extend_from_slice(&piece.unwrap_or_default());
            self.answer();
        } else if let Some(piece) = piece {
            self.stdin.in_line = piece.last().is_some_and(|&last| last != b'\n');
            self.outgoing.push_back(Command::Write(piece));
        } else {
            // Within a line the first one only hands the line over.
            let end = if self.stdin.in_line {
                END_WITHIN_LINE
            } else {
                END_OF_TEXT
            };
            self.outgoing.push_back(Command::Write(end));
        }
    }

    /// Answers the wrapper's wish for stdin if there is something to say.
    fn answer(&mut self) {
        let over = self.status.is_some() || (!self.stdin.open && self.stdin.buffer.is_empty());
        let something = over || !self.stdin.buffer.is_empty();
        if !(self.stdin.wanted && something) {
            return;
        }
        self.stdin.wanted = false;
        let length = if over {
            0
        } else {
            self.stdin.buffer.len().min(self.protocol.piece_limit())
        };
        let piece = self.stdin.buffer.split_to(length);
        self.outgoing
            .push_back(Command::Write(self.protocol.piece(&piece).into()));
    }

    async fn closed(mut self, output: String, complete: bool) -> Result<End, ExecError> {
        let mut rest = Vec::new();
        self.protocol.finish(&mut rest);
        for step in rest {
            if let Err(error) = self.step(step) {
                return self.fail(error).await;
            }
        }
        if self.done
            || (complete && self.status.is_some() && matches!(self.protocol, Protocol::Raw))
        {
            return self.finish().await;
        }
        let delivered = self.delivered;
        let said = !output.trim().is_empty();
        let error = match &self.protocol {
            // The agent's end of a failed handshake: nothing was run.
            _ if output.contains("Encountered error while initiating handshake") => {
                not_started(&output, &self.target.container)
            }
            Protocol::Raw if said => match not_started_code(&output) {
                Some(code) => {
                    self.status = Some(code);
                    self.pending
                        .push_back(ExecEvent::Notice(agent_text(&output)));
                    return self.finish().await;
                }
                None => ExecError::StatusUnknown { output },
            },
            _ if !self.ready && said => not_started(&output, &self.target.container),
            _ if complete => ExecError::StatusUnknown { output },
            _ => ExecError::Incomplete {
                delivered,
                damage: "messages before the end did not arrive".to_owned(),
            },
        };
        self.fail(error).await
    }

    /// All that arrived is delivered before the error is.
    async fn fail(mut self, error: ExecError) -> Result<End, ExecError> {
        if self.hand_over().await {
            Err(error)
        } else {
            Ok(End::Unwanted)
        }
    }

    async fn finish(mut self) -> Result<End, ExecError> {
        let code = self.status.unwrap_or_default();
        Ok(if self.hand_over().await {
            End::Event(ExecEvent::Exit { code })
        } else {
            End::Unwanted
        })
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

/// The bytes of the command in an event.
fn weight(event: &ExecEvent) -> usize {
    match event {
        ExecEvent::Stdout(bytes) | ExecEvent::Stderr(bytes) => bytes.len(),
        _ => 0,
    }
}

/// The agent's words without its decoration.
fn agent_text(output: &str) -> String {
    output
        .replace("----------ERROR-------", "")
        .trim()
        .to_owned()
}

/// The agent's text when the wrapper itself could not be started.
fn not_started(output: &str, container: &str) -> ExecError {
    let text = agent_text(output);
    let no_shell = [
        "\"sh\": executable file not found",
        "fork/exec /bin/sh: no such file",
    ];
    if no_shell.iter().any(|sign| text.contains(sign)) {
        ExecError::NoShell {
            container: container.to_owned(),
        }
    } else {
        ExecError::NotStarted(text)
    }
}

/// What a shell would have returned for a program that the agent could not start.
fn not_started_code(output: &str) -> Option<i64> {
    let has = |sign: &str| output.contains(sign);
    if !has("Unable to start command") {
        None
    } else if has("permission denied") {
        Some(126)
    } else if has("no such file or directory") || has("executable file not found") {
        Some(127)
    } else {
        None
    }
}
