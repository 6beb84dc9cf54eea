//! A session that another program started: its data channel, what it turns out to be, and its command as an [`Exec`].

use std::collections::VecDeque;
use std::time::Duration;

use bowline_proto::{SessionType, Size};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::error::ExecError;
use super::recorded;
use super::worker::{Caller, Input};
use super::{EVENTS, Exec, ExecEvent, ExecStdin, INPUTS, STDIN};
use crate::Client;
use crate::forward::GrantedPort;
use crate::model::SessionGrant;
use crate::record::{RecordError, RecordPlan};
use crate::session::ChannelError;
use crate::session::clock::until;
use crate::session::driver::{BACKLOG, Channel, ChannelEvent, ChannelOptions, Command};

// Tuning.
/// A command on a terminal that waits for its input says nothing; after this it is taken to listen.
const PATIENCE: Duration = Duration::from_secs(2);
/// For the program on the terminal to be there when the input has ended before its first word.
const FIRST_WORD: Duration = Duration::from_millis(1500);
/// The pauses between the ends of input. A shell that sets up its terminal turns one that came before into another
/// character, so that one is not enough.
const END_PAUSES: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];
/// For ending a session by API when leaving early.
const TERMINATE_LIMIT: Duration = Duration::from_secs(2);
/// Ctrl-C and Ctrl-D.
const INTERRUPT: Bytes = Bytes::from_static(b"\x03");
const END_OF_TEXT: Bytes = Bytes::from_static(b"\x04");
const END_WITHIN_LINE: Bytes = Bytes::from_static(b"\x04\x04");
const NEWLINE_AND_END: Bytes = Bytes::from_static(b"\n\x04");

/// A session that was granted to somebody else, and how to take part in it.
#[derive(Clone, Debug)]
pub struct JoinRequest {
    /// Id, URL and token, as AWS gave them.
    pub grant: SessionGrant,
    /// The SSM target it was started on. Only an encrypted session needs it; empty if it is not known.
    pub target: String,
    /// It is known to be a command on a terminal, which may say nothing until it is spoken to.
    pub terminal: bool,
    /// Size of the remote terminal in characters.
    pub size: Size,
    /// For how long a lost connection is tried to be restored; zero never tries.
    pub reconnect_for: Duration,
    /// Has it recorded, if it is a command. One that cannot be recorded is ended before anything of it is shown, and its
    /// only event says why.
    pub record: Option<RecordPlan>,
}

/// What the session is. Dropping it ends the session.
#[derive(Debug)]
pub enum Joined {
    /// A shell or a command. Its last event is [`ExecEvent::Exit`] if the agent tells the code, else
    /// [`ExecEvent::Closed`] with [`ExecError::StatusUnknown`].
    Command {
        /// Its streams and its end.
        exec: Exec,
        /// It has a terminal; without one it has no stdin either.
        terminal: bool,
        /// The agent has introduced itself. One that has no room for the session says nothing, and no more does an old one
        /// before its command.
        greeted: bool,
    },
    /// A port of the target, or one that it reaches.
    Port(GrantedPort),
    /// It was over before it began, in the service's words.
    Over {
        /// Often why a command could not be started.
        output: String,
    },
}

impl std::fmt::Debug for Exec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exec").finish_non_exhaustive()
    }
}

impl Client {
    /// Opens the data channel of a session that another program started, and waits until the agent says what it is. An
    /// agent that has no room for a further session says nothing, for as long as that is so.
    ///
    /// # Errors
    /// When the channel cannot be opened, or is lost before the agent has spoken.
    pub async fn join(&self, request: JoinRequest) -> Result<Joined, ChannelError> {
        let JoinRequest {
            grant,
            target,
            terminal,
            size,
            reconnect_for,
            record,
        } = request;
        let options = ChannelOptions {
            size: Some(size),
            max_payload: None,
            keep_alive: None,
            speak_after: terminal.then_some(PATIENCE),
            backlog: BACKLOG,
            reconnect_for,
            target: target.clone(),
        };
        let mut channel = Channel::open(self, &grant, &options).await?;
        loop {
            match channel.events.recv().await {
                Some(ChannelEvent::Established {
                    version,
                    session_type: Some(SessionType::Port),
                    properties,
                }) => {
                    let version = version.unwrap_or_default();
                    let port = GrantedPort::new(self, grant, channel, &version, &properties);
                    return Ok(Joined::Port(port));
                }
                Some(ChannelEvent::Established {
                    session_type,
                    version,
                    ..
                }) => {
                    let terminal = session_type != Some(SessionType::NonInteractiveCommands);
                    let record = record.map(|plan| JoinedRecord {
                        plan,
                        target,
                        terminal: terminal.then_some(size),
                    });
                    let exec = self.command(grant, channel, terminal, record);
                    return Ok(Joined::Command {
                        exec,
                        terminal,
                        greeted: version.is_some(),
                    });
                }
                Some(ChannelEvent::Closed { output, .. }) => return Ok(Joined::Over { output }),
                Some(ChannelEvent::Lost(error)) => return Err(error),
                Some(_) => {}
                None => {
                    let output = String::new();
                    return Ok(Joined::Over { output });
                }
            }
        }
    }

    fn command(
        &self,
        grant: SessionGrant,
        channel: Channel,
        has_stdin: bool,
        record: Option<JoinedRecord>,
    ) -> Exec {
        let (to_reader, events) = mpsc::channel(EVENTS);
        let (inputs, from_caller) = mpsc::channel(INPUTS);
        let (pieces, stdin) = mpsc::channel(STDIN);
        let caller = Caller {
            reader: to_reader,
            inputs: from_caller,
            stdin,
        };
        let command = JoinedCommand {
            pending: VecDeque::from([ExecEvent::Started {
                session_id: grant.session_id.clone(),
            }]),
            outgoing: VecDeque::new(),
            stdin_open: true,
            in_line: false,
            has_stdin,
            heard: false,
            ends: VecDeque::new(),
            delivered: 0,
            status: None,
        };
        let client = self.clone();
        let (tap, recorded) = recorded::pair(record.is_some());
        let opener = tap.clone();
        let task = self.sessions().spawn(async move {
            let begun = match record {
                Some(record) => record.begin(&client, &opener).await,
                None => Ok(()),
            };
            drop(opener);
            let over = match begun {
                Ok(()) => command.run(caller, channel).await,
                Err(error) => {
                    let reason = ExecError::Unrecorded(error);
                    // The reader may have left.
                    let _ = caller.reader.send(ExecEvent::Closed { reason }).await;
                    false
                }
            };
            if !over {
                let ending = client.terminate_session(&grant.session_id);
                // The caller may lack the permission: then there is nothing more to do.
                let _ = timeout(TERMINATE_LIMIT, ending).await;
            }
        });
        Exec {
            events,
            inputs,
            stdin: Some(ExecStdin { pieces, tap }),
            recorded,
            task,
        }
    }
}

/// How a joined command is recorded.
struct JoinedRecord {
    plan: RecordPlan,
    target: String,
    terminal: Option<Size>,
}

impl JoinedRecord {
    async fn begin(self, client: &Client, tap: &recorded::Tap) -> Result<(), RecordError> {
        let begun = self.plan.of_joined(client, &self.target, self.terminal);
        tap.open(begun.await?);
        Ok(())
    }
}

struct JoinedCommand {
    pending: VecDeque<ExecEvent>,
    outgoing: VecDeque<Command>,
    /// More input may come.
    stdin_open: bool,
    /// What was sent last did not end a line.
    in_line: bool,
    /// The command reads its input, from a terminal.
    has_stdin: bool,
    /// The command has said something.
    heard: bool,
    /// When the terminal is to be told that the input has ended.
    ends: VecDeque<Instant>,
    delivered: u64,
    status: Option<i64>,
}

impl JoinedCommand {
    /// True if the session is over, false if its reader has left before.
    async fn run(mut self, caller: Caller, mut channel: Channel) -> bool {
        let Caller {
            reader,
            mut inputs,
            mut stdin,
        } = caller;
        let last = loop {
            let end = self.ends.front().copied();
            let Channel {
                events, commands, ..
            } = &mut channel;
            // Every arm is cancel-safe: channels, permits that are used at once, a timer.
            tokio::select! {
                permit = reader.reserve(), if !self.pending.is_empty() => match (permit, self.pending.pop_front()) {
                    (Ok(permit), Some(event)) => permit.send(event),
                    _ => return false,
                },
                () = reader.closed(), if self.pending.is_empty() => return false,
                event = events.recv(), if self.pending.is_empty() => {
                    if let Some(last) = self.said(event) {
                        break last;
                    }
                }
                permit = commands.reserve(), if !self.outgoing.is_empty() => {
                    // A session that is over says so through its events.
                    if let (Ok(permit), Some(command)) = (permit, self.outgoing.pop_front()) {
                        permit.send(command);
                    }
                }
                input = inputs.recv(), if !inputs.is_closed() => match input {
                    Some(Input::Interrupt) => self.outgoing.push_front(Command::Write(INTERRUPT)),
                    Some(Input::Resize(size)) => {
                        // Only the last one counts.
                        self.outgoing.retain(|command| !matches!(command, Command::Resize(_)));
                        self.outgoing.push_back(Command::Resize(size));
                    }
                    None => inputs.close(),
                },
                piece = stdin.recv(), if self.stdin_open && self.outgoing.is_empty() => match piece {
                    Some(piece) if self.has_stdin => {
                        self.in_line = piece.last().is_some_and(|&last| last != b'\n');
                        self.outgoing.push_back(Command::Write(piece));
                    }
                    Some(_) => {}
                    None => self.input_ended(),
                },
                () = until(end), if end.is_some() => {
                    self.ends.pop_front();
                    let end = match (self.in_line, self.ends.len()) {
                        (false, _) => END_OF_TEXT,
                        // A program that edits lines itself waits for the end of this one.
                        (true, 0) => NEWLINE_AND_END,
                        // Within a line the first one only hands the line over.
                        (true, _) => END_WITHIN_LINE,
                    };
                    self.outgoing.push_back(Command::Write(end));
                }
            }
        };
        // The reader may have left; the session is over all the same unless its connection was lost.
        let over = !matches!(&last, ExecEvent::Closed { reason } if reason.is_lost());
        let _ = reader.send(last).await;
        over
    }

    /// The last event, if this is the end.
    fn said(&mut self, event: Option<ChannelEvent>) -> Option<ExecEvent> {
        let closed = |reason| Some(ExecEvent::Closed { reason });
        match event {
            Some(ChannelEvent::Output(bytes)) => {
                self.heard = true;
                self.delivered += bytes.len() as u64;
                self.pending.push_back(ExecEvent::Stdout(bytes));
            }
            Some(ChannelEvent::StdErr(bytes)) => {
                self.delivered += bytes.len() as u64;
                self.pending.push_back(ExecEvent::Stderr(bytes));
            }
            Some(ChannelEvent::ExitCode(code)) => self.status = Some(code),
            Some(ChannelEvent::Message(text)) => self.pending.push_back(ExecEvent::Notice(text)),
            Some(ChannelEvent::Closed {
                complete: false, ..
            }) => {
                return closed(ExecError::Incomplete {
                    delivered: self.delivered,
                    damage: "messages before the end did not arrive".to_owned(),
                });
            }
            Some(ChannelEvent::Closed { output, .. }) => {
                return match self.status {
                    Some(code) => Some(ExecEvent::Exit { code }),
                    None => closed(ExecError::StatusUnknown { output }),
                };
            }
            Some(ChannelEvent::Lost(source)) => {
                let delivered = self.delivered;
                return closed(ExecError::Lost { delivered, source });
            }
            None => {
                let output = String::new();
                return closed(ExecError::StatusUnknown { output });
            }
            Some(_) => {}
        }
        None
    }

    fn input_ended(&mut self) {
        self.stdin_open = false;
        if !self.has_stdin {
            return;
        }
        let mut at = Instant::now();
        if !self.heard {
            at += FIRST_WORD;
        }
        self.ends.push_back(at);
        for pause in END_PAUSES {
            at += pause;
            self.ends.push_back(at);
        }
    }
}
