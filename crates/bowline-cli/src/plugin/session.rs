//! The session that `session-manager-plugin` was started for.

use std::cell::Cell;
use std::error::Error;
use std::io;
use std::time::Duration;

use bowline::Client;
use bowline::record::{End, RecordPlan, ssm_target};
use bowline::session::exec::{Exec, ExecError, ExecEvent, JoinRequest, Joined};
use bowline::session::{ChannelError, DEFAULT_RECONNECT, Size};
use bytes::Bytes;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{sleep, timeout};

use super::call::Call;
use super::ports;
use crate::cli::GlobalArgs;
use crate::commands::Context;
use crate::commands::config;
use crate::commands::follow::{self, Ended, Source};
use crate::error::CommandError;
use crate::escape::{EscapeChar, Escapes};
use crate::exit_code::ExitCode;
use crate::printer::Printer;
use crate::recording;
use crate::terminal;
use crate::writer::Stream;

/// What AWS's program says of a terminal that is none.
const NO_TERMINAL: Size = Size {
    cols: 300,
    rows: 100,
};
/// After this it is said that the agent is silent: one beyond its limit of sessions is, until another has ended.
const SILENCE: Duration = Duration::from_secs(15);
const SILENT: &str = "the session is open and the agent says nothing yet; ECS lets two sessions into a container at a time";
/// For ending a session that nobody waits for any more.
const TERMINATE_LIMIT: Duration = Duration::from_secs(2);
/// The character for `~.` and its like, or `none`.
const ESCAPE_VARIABLE: &str = "BOWLINE_ESCAPE_CHAR";

/// Takes part in the session to its end.
pub(super) async fn run(call: Call) -> ExitCode {
    let session_id = call.grant.session_id.clone();
    let client = match Client::connect(call.client.clone()).await {
        Ok(client) => client,
        Err(error) => {
            say(&starting(&session_id));
            return explain(&chain(&error), &CommandError::from(error));
        }
    };
    let code = match prepare(&call) {
        Ok((context, record)) => {
            let session = Session {
                target: call.target.clone(),
                id: session_id,
                record: record.clone(),
                client: &client,
                context: &context,
            };
            let code = session.run(call, record).await;
            // A recording that is not whole is said, and a copy of it made, when all is over.
            let finished = recording::finish(&context, Ok(code)).await;
            finished.unwrap_or_else(|error| {
                Printer.error(&error);
                ExitCode::Failed
            })
        }
        Err(error) => {
            say(&starting(&session_id));
            leave(&client, &session_id).await;
            explain(&error.to_string(), &error)
        }
    };
    client.finish().await;
    code
}

/// What the configuration forces: its other settings are for bowline's own verbs, and the caller says the rest.
fn prepare(call: &Call) -> Result<(Context, Option<RecordPlan>), CommandError> {
    let global = GlobalArgs {
        region: call.client.region.clone(),
        profile: call.client.profile.clone(),
        endpoint_url: call.client.endpoint_url.clone(),
        ..GlobalArgs::default()
    };
    let config = config::load_files(&global)?;
    let context = Context::new(global, config, Printer, Vec::new());
    let record = context.recording(super::NAME)?;
    Ok((context, record))
}

/// Ends a session that nobody is in.
async fn leave(client: &Client, session_id: &str) {
    // The caller may lack the permission: then there is nothing more to do.
    let _ = timeout(TERMINATE_LIMIT, client.terminate_session(session_id)).await;
}

/// What is known of the session while it lasts.
struct Session<'a> {
    client: &'a Client,
    context: &'a Context,
    id: String,
    target: String,
    record: Option<RecordPlan>,
}

impl Session<'_> {
    async fn run(&self, call: Call, record: Option<RecordPlan>) -> ExitCode {
        match join(self.client, call, record).await {
            Some(Ok(joined)) => self.serve(joined).await,
            Some(Err(error)) => {
                say(&starting(&self.id));
                explain(&chain(&error), &CommandError::from(ExecError::Open(error)))
            }
            None => {
                leave(self.client, &self.id).await;
                ExitCode::Interrupted
            }
        }
    }

    async fn serve(&self, joined: Joined) -> ExitCode {
        match joined {
            Joined::Command {
                exec,
                terminal,
                greeted,
            } => {
                say(&starting(&self.id));
                command(exec, terminal, greeted, self).await
            }
            // What ssh and its like read is the stream and nothing else.
            Joined::Port(port) if port.is_stream() => self.recorded(ports::stream(port)).await,
            Joined::Port(port) => {
                say(&starting(&self.id));
                self.recorded(ports::forward(port, &self.id)).await
            }
            Joined::Over { output } => {
                say(&starting(&self.id));
                over(&self.id, &output)
            }
        }
    }

    /// Carries a port, with a record of when and where to; what goes through it is in none.
    async fn recorded(&self, carrying: impl Future<Output = ExitCode>) -> ExitCode {
        let Some(plan) = &self.record else {
            return carrying.await;
        };
        let target = ssm_target(&self.target);
        let recorder = match plan.begin(Some(self.client), Vec::new(), target).await {
            Ok(recorder) => recorder,
            Err(error) => {
                leave(self.client, &self.id).await;
                let error = recording::unwritable(&error);
                Printer.error(&error);
                return ExitCode::Failed;
            }
        };
        let event = json!({ "type": "session", "sessionId": self.id });
        // What is wrong with it shows when it is closed.
        let _ = recorder.event(event).await;
        let code = carrying.await;
        let _ = recorder.end(End::because("the port was closed")).await;
        code
    }
}

/// What the session turns out to be; nothing when somebody wants to leave before.
async fn join(
    client: &Client,
    call: Call,
    record: Option<RecordPlan>,
) -> Option<Result<Joined, ChannelError>> {
    let size = match terminal::stdin_is_terminal() || terminal::stdout_width().is_some() {
        true => terminal::size(),
        false => NO_TERMINAL,
    };
    let request = JoinRequest {
        grant: call.grant,
        target: call.target,
        terminal: call.terminal,
        size,
        reconnect_for: DEFAULT_RECONNECT,
        record,
    };
    let Ok(mut leave) = Leave::listen() else {
        return None;
    };
    let mut joining = std::pin::pin!(client.join(request));
    let mut told = false;
    loop {
        // Every arm is cancel-safe: the joining is pinned, signals are kept.
        tokio::select! {
            joined = &mut joining => return Some(joined),
            () = leave.wanted() => return None,
            () = sleep(SILENCE), if !told => {
                told = true;
                Printer.note(SILENT);
            }
        }
    }
}

async fn command(exec: Exec, has_terminal: bool, greeted: bool, session: &Session<'_>) -> ExitCode {
    let session_id = session.id.as_str();
    let source = match has_terminal && terminal::stdin_is_terminal() {
        true => Source::Keys {
            escapes: Some(Escapes::new(escape_char())),
            banner: None,
        },
        false => Source::Stream,
    };
    let heard = Cell::new(greeted);
    let following = follow::follow(exec, session.context, source, |event| {
        heard.set(heard.get() || !matches!(event, ExecEvent::Started { .. }));
        show(event)
    });
    let mut following = std::pin::pin!(following);
    // A command on a terminal is taken to be there before its agent has said a word.
    let first = tokio::select! {
        ended = &mut following => Some(ended),
        () = sleep(SILENCE) => None,
    };
    let ended = match first {
        Some(ended) => ended,
        None => {
            if !heard.get() {
                note(SILENT);
            }
            following.await
        }
    };
    let ended = match ended {
        Ok(ended) => ended,
        Err(error) => {
            Printer.error(&CommandError::from(error));
            return ExitCode::Failed;
        }
    };
    match ended {
        Ended::Exit(code) => {
            say(&format!("EXIT_CODE: {code}"));
            over(session_id, "");
            // An agent says -1 of a command that a signal has ended.
            ExitCode::Remote(u8::try_from(code).unwrap_or(u8::MAX))
        }
        Ended::Closed {
            reason: ExecError::StatusUnknown { output },
            ..
        } => over(session_id, &output),
        Ended::Closed {
            reason:
                ExecError::Lost {
                    source: ChannelError::Ended { .. },
                    ..
                },
            ..
        } => {
            say(&format!("Session: {session_id} timed out.\n"));
            ExitCode::Failed
        }
        Ended::Closed { reason, .. } => {
            Printer.error(&CommandError::from(reason));
            over(session_id, "");
            ExitCode::Failed
        }
        Ended::Escape | Ended::Gone => over(session_id, ""),
        Ended::Signal(code) => {
            over(session_id, "");
            code
        }
        // Whoever read our output has what he wants.
        Ended::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::Success,
        Ended::Output(error) => {
            Printer.error(&follow::unwritten(&error));
            ExitCode::Failed
        }
    }
}

fn show(event: &ExecEvent) -> Option<(Stream, Bytes)> {
    match event {
        ExecEvent::Stdout(bytes) => return Some((Stream::Stdout, bytes.clone())),
        ExecEvent::Stderr(bytes) => return Some((Stream::Stderr, bytes.clone())),
        ExecEvent::Notice(text) => note(text),
        _ => {}
    }
    None
}

/// The screen may be the remote side's.
fn note(text: &str) {
    match terminal::is_held() {
        true => Printer.note(&format!("\r{text}\r")),
        false => Printer.note(text),
    }
}

fn escape_char() -> EscapeChar {
    let asked = std::env::var(ESCAPE_VARIABLE).ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn starting(session_id: &str) -> String {
    format!("\nStarting session with SessionId: {session_id}\n")
}

/// The last words of a session, and what they mean: the service speaks of failures only.
pub(super) fn over(session_id: &str, output: &str) -> ExitCode {
    if output.trim().is_empty() {
        say(&format!(
            "\n\nExiting session with sessionId: {session_id}.\n\n"
        ));
        return ExitCode::Success;
    }
    say(&format!("\n\nSessionId: {session_id} : {output}\n\n"));
    ExitCode::Failed
}

/// Why there is no session.
pub(super) fn explain(text: &str, error: &CommandError) -> ExitCode {
    say(&format!("Cannot perform start session: {text}\n"));
    for hint in error.hints() {
        Printer.note(&format!("hint: {hint}"));
    }
    ExitCode::Failed
}

pub(super) fn say(text: &str) {
    // Whoever read our stdout may have left; the session goes on.
    let _ = Printer.document(text);
}

/// An error and what is behind it, in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let said = source.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = source.source();
    }
    text
}

/// The signals by which somebody leaves; those of the keyboard are meant for a terminal's session, and are here only
/// where there is none.
pub(super) struct Leave {
    signals: [Signal; 5],
}

impl Leave {
    pub(super) fn listen() -> io::Result<Self> {
        // AWS's program ends a forward at Ctrl-Z too, and the AWS CLI above it ignores the signal.
        let stop = rustix::process::Signal::TSTP.as_raw();
        Ok(Self {
            signals: [
                signal(SignalKind::interrupt())?,
                signal(SignalKind::quit())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
                signal(SignalKind::from_raw(stop))?,
            ],
        })
    }

    /// Cancel-safe: signals are kept until they are received.
    pub(super) async fn wanted(&mut self) {
        let [interrupt, quit, terminate, hangup, stop] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = quit.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
            _ = stop.recv() => {}
        }
    }
}
