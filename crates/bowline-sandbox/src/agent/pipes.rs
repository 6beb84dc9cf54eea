//! Sessions without a terminal: `NonInteractiveCommands`, with separate output or joined.
//!
//! A handshake always; then stdout and stderr as they come, each under its own payload type and without the pauses of
//! terminal sessions, and at the end the exit code. Joined, all output is kept in a file and sent after the end, and there
//! is no exit code. The command has no stdin: of the client's input only 0x03 and
//! 0x1C mean something, as signals. (Specification of the data channel, §7.2; of the agent, §8.)

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};

use bytes::BytesMut;
use rustix::process::Signal;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt};
use tokio::net::unix::pipe;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use bowline_proto::{Event, PayloadType, SessionType};

use super::handshake::Handshake;
use super::line::{Line, Turn};
use super::{AgentOptions, FromService, Job, start_failure};
use crate::image::{self, Place};
use crate::room::{Asked, Attached};
use crate::terminal::{failure, variables};
use crate::utf8::Utf8Filter;

/// What the agent reports for a command that could not be started; -1 is a death by signal.
const NOT_STARTED: i64 = 1;

/// Serves one session to its end.
pub(super) async fn serve(
    job: &Job,
    words: Result<Vec<String>, String>,
    separate: bool,
    options: AgentOptions,
    service: mpsc::Receiver<FromService>,
    cancel: CancellationToken,
) -> String {
    let kind = SessionType::NonInteractiveCommands;
    let (handshake, request) = Handshake::new(job, &kind, &options);
    let mut line = Line::new(&job.session_id, &options, request, service);
    if let Some(handshake) = handshake
        && let Err(reason) = handshake.shake(&mut line, &cancel).await
    {
        return reason;
    }
    let started = match words {
        Ok(words) => start(&words, &job.place, separate).await,
        Err(reason) => Err(reason),
    };
    match started {
        Ok((child, outputs)) => {
            let (stdout, stderr, joined) = match outputs {
                Outputs::Separate(stdout, stderr) => (Some(stdout), Some(stderr), None),
                Outputs::Joined(file) => (None, None, Some(file)),
            };
            let agent = Agent {
                line,
                child,
                stdout: Stream::new(PayloadType::Output, stdout, &options),
                stderr: Stream::new(PayloadType::StdErr, stderr, &options),
                ending: Ending::Running,
                joined,
                stock: options.stock,
            };
            agent.run(&cancel).await;
            String::new()
        }
        Err(reason) => fail(line, &reason, &options, &cancel).await,
    }
}

/// Where the command's output goes.
enum Outputs {
    Separate(pipe::Receiver, pipe::Receiver),
    Joined(File),
}

/// Starts the command without a shell. The error is the agent's text.
async fn start(
    words: &[String],
    place: &Place,
    separate: bool,
) -> Result<(Attached, Outputs), String> {
    let Some((program, _)) = words.split_first() else {
        return Err("Commands cannot be empty".to_owned());
    };
    if program.is_empty() {
        return Err("exec: no command".to_owned());
    }
    let pipe = || -> io::Result<(pipe::Receiver, io::PipeWriter)> {
        let (reader, writer) = io::pipe()?;
        Ok((pipe::Receiver::from_owned_fd(reader.into())?, writer))
    };
    let broken = |error: io::Error| format!("cannot make a pipe: {error}");
    let (stdout, stderr, outputs): (OwnedFd, OwnedFd, _) = if separate {
        let (stdout, stdout_writer) = pipe().map_err(broken)?;
        let (stderr, stderr_writer) = pipe().map_err(broken)?;
        let outputs = Outputs::Separate(stdout, stderr);
        (stdout_writer.into(), stderr_writer.into(), outputs)
    } else {
        let broken = |error: io::Error| format!("cannot make a file: {error}");
        let file = tempfile::tempfile().map_err(broken)?;
        let (stdout, stderr) = (file.try_clone(), file.try_clone());
        let outputs = Outputs::Joined(file.into());
        (
            stdout.map_err(broken)?.into(),
            stderr.map_err(broken)?.into(),
            outputs,
        )
    };
    let started = match &place.room {
        None => start_here(words, place, stdout, stderr),
        Some(room) => {
            let outputs = Asked::Pipes(stdout.as_fd(), stderr.as_fd());
            let started = room.run(words, place, outputs).await;
            started.map(|(started, _)| Attached::Inside(started))
        }
    };
    let child = started.map_err(|error| failure(program, &error))?;
    Ok((child, outputs))
}

fn start_here(
    words: &[String],
    place: &Place,
    stdout: OwnedFd,
    stderr: OwnedFd,
) -> io::Result<Attached> {
    let (program, arguments) = words.split_first().ok_or(io::ErrorKind::NotFound)?;
    let file = image::locate(place.programs.as_deref(), &place.directory, program);
    let child = Command::new(file.ok_or(io::ErrorKind::NotFound)?)
        .arg0(program)
        .args(arguments)
        .env_clear()
        .envs(variables(&place.environment))
        .current_dir(&place.directory)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .kill_on_drop(true)
        .spawn()?;
    Ok(Attached::Here(child))
}

/// Tells the client why nothing runs: on stderr, by the exit code, and at the end of the session. The real agent
/// takes a second before the first and another before the last.
async fn fail(
    mut line: Line,
    reason: &str,
    options: &AgentOptions,
    cancel: &CancellationToken,
) -> String {
    let text = format!("Unable to start command: {reason}");
    let mut stderr = BytesMut::from(text.as_bytes());
    let mut exit_code = exit_code(NOT_STARTED);
    let speak = Instant::now() + options.start_delay;
    let leave = speak + options.start_delay;
    loop {
        let now = Instant::now();
        if now >= speak {
            line.write(PayloadType::StdErr, &mut stderr);
        }
        if stderr.is_empty() {
            line.write(PayloadType::ExitCode, &mut exit_code);
        }
        if exit_code.is_empty() && now >= leave {
            line.finish();
        }
        line.transmit();
        while let Some(event) = line.session.poll_event() {
            if matches!(event, Event::Finished) {
                line.transmit();
                return start_failure(reason);
            }
            if matches!(event, Event::Closed { .. }) {
                return String::new();
            }
        }
        let wake = [speak, leave].into_iter().find(|at| *at > now);
        if line.turn(wake, cancel).await != Turn::Served {
            return String::new();
        }
    }
}

struct Agent {
    line: Line,
    child: Attached,
    stdout: Stream,
    stderr: Stream,
    ending: Ending,
    /// All output, to be sent after the end of the command.
    joined: Option<File>,
    stock: bool,
}

/// How far the end of the command has come.
enum Ending {
    Running,
    /// The payload with its exit code, as far as the session has not taken it.
    Ended(BytesMut),
}

/// What happened first.
enum Step {
    Line(Turn),
    Read,
    Exited(io::Result<ExitStatus>),
}

impl Agent {
    async fn run(mut self, cancel: &CancellationToken) {
        loop {
            self.pump_output();
            self.line.transmit();
            if self.handle_events() {
                return;
            }
            match self.step(cancel).await {
                Step::Line(Turn::Served) | Step::Read => {}
                // Dropping the child kills it; no exit code is sent.
                Step::Line(Turn::Cancelled | Turn::Gone) => return,
                Step::Exited(status) => {
                    let code = status.map_or(NOT_STARTED, code_of);
                    self.ending = Ending::Ended(match self.joined.take() {
                        None => exit_code(code),
                        Some(mut file) => {
                            // What cannot be read is an end without output.
                            let rewound = file.rewind().await.is_ok();
                            self.stdout.reader = rewound.then(|| Box::new(file) as Reader);
                            BytesMut::new()
                        }
                    });
                }
            }
        }
    }

    async fn step(&mut self, cancel: &CancellationToken) -> Step {
        let wanted = self.line.takes_output();
        // Both pipes are read to their ends first, as the agent does: a child of the command may still hold them.
        let wait = self.stdout.has_ended()
            && self.stderr.has_ended()
            && matches!(self.ending, Ending::Running);
        // All are cancel-safe: the line (see there), single reads into a buffer, waiting for a child.
        tokio::select! {
            turn = self.line.turn(None, cancel) => Step::Line(turn),
            () = self.stdout.read(), if wanted && self.stdout.is_hungry() => Step::Read,
            () = self.stderr.read(), if wanted && self.stderr.is_hungry() => Step::Read,
            status = self.child.wait(), if wait => Step::Exited(status),
        }
    }

    fn pump_output(&mut self) {
        for stream in [&mut self.stdout, &mut self.stderr] {
            self.line.write(stream.kind, &mut stream.buffer);
        }
        let flushed = self.stdout.buffer.is_empty() && self.stderr.buffer.is_empty();
        let flushed = flushed && self.stdout.has_ended();
        if let Ending::Ended(exit_code) = &mut self.ending
            && flushed
        {
            self.line.write(PayloadType::ExitCode, exit_code);
            if exit_code.is_empty() {
                self.line.finish();
            }
        }
    }

    /// True when the session is over.
    fn handle_events(&mut self) -> bool {
        while let Some(event) = self.line.session.poll_event() {
            match event {
                Event::Input(bytes) => self.signal(&bytes),
                // The real agent's pumps take a pause for a failure and never read again; a command that still writes
                // then waits for ever (specification §5.5).
                Event::Paused(true) if self.stock => {
                    self.stdout.stopped = true;
                    self.stderr.stopped = true;
                }
                Event::Finished => {
                    self.line.transmit();
                    return true;
                }
                Event::Closed { .. } => return true,
                _ => {}
            }
        }
        false
    }

    /// Only the first of the two bytes in a message counts; everything else is taken and dropped.
    fn signal(&self, input: &[u8]) {
        let signal = input.iter().find_map(|byte| match byte {
            0x03 => Some(Signal::INT),
            0x1c => Some(Signal::QUIT),
            _ => None,
        });
        if let Some(signal) = signal
            && let Err(error) = self.child.signal(signal)
        {
            tracing::debug!(%error, "a client's signal did not reach the command");
        }
    }
}

type Reader = Box<dyn AsyncRead + Send + Unpin>;

/// One of the command's two outputs.
struct Stream {
    kind: PayloadType,
    /// `None` after its end.
    reader: Option<Reader>,
    chunk: usize,
    /// Of the stock agent only.
    filter: Option<Utf8Filter>,
    /// Not yet taken by the session.
    buffer: BytesMut,
    /// It is open and is never read again.
    stopped: bool,
}

impl Stream {
    fn new(kind: PayloadType, reader: Option<pipe::Receiver>, options: &AgentOptions) -> Self {
        Self {
            kind,
            reader: reader.map(|reader| Box::new(reader) as Reader),
            chunk: options.chunk(),
            filter: options.stock.then(Utf8Filter::default),
            buffer: BytesMut::new(),
            stopped: false,
        }
    }

    fn has_ended(&self) -> bool {
        self.reader.is_none() || self.stopped
    }

    fn is_hungry(&self) -> bool {
        !self.has_ended() && self.buffer.is_empty()
    }

    /// One read into the empty buffer.
    async fn read(&mut self) {
        let Some(reader) = &mut self.reader else {
            return std::future::pending().await;
        };
        self.buffer.reserve(self.chunk);
        let mut limited = reader.take(self.chunk as u64);
        let read = limited.read_buf(&mut self.buffer).await;
        match (&mut self.filter, read) {
            (_, Ok(0) | Err(_)) => self.reader = None,
            (Some(filter), Ok(_)) => self.buffer = BytesMut::from(&filter.pass(&self.buffer)[..]),
            (None, Ok(_)) => {}
        }
    }
}

fn code_of(status: ExitStatus) -> i64 {
    match status.signal() {
        Some(_) => -1,
        None => status.code().map_or(NOT_STARTED, i64::from),
    }
}

fn exit_code(code: i64) -> BytesMut {
    BytesMut::from(format!("EXIT_CODE: {code}").as_bytes())
}
