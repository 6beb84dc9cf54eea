//! The session that `session-manager-plugin` was started for.

use std::error::Error;
use std::io;
use std::time::Duration;

use bowline::Client;
use bowline::config::Config;
use bowline::session::exec::{Exec, ExecError, ExecEvent, JoinRequest, Joined};
use bowline::session::{ChannelError, DEFAULT_RECONNECT, Size};
use bytes::Bytes;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{sleep, timeout};

use super::call::Call;
use super::ports;
use crate::cli::GlobalArgs;
use crate::commands::Context;
use crate::commands::follow::{self, Ended, Source};
use crate::error::CommandError;
use crate::escape::{EscapeChar, Escapes};
use crate::exit_code::ExitCode;
use crate::printer::Printer;
use crate::terminal;
use crate::writer::Stream;

/// What AWS's program says of a terminal that is none.
const NO_TERMINAL: Size = Size {
    cols: 300,
    rows: 100,
};
/// After this it is said that the agent is silent: one beyond its limit of sessions is, until another has ended.
const SILENCE: Duration = Duration::from_secs(15);
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
    let code = match join(&client, call).await {
        Some(Ok(joined)) => serve(joined, &session_id).await,
        Some(Err(error)) => {
            say(&starting(&session_id));
            explain(&chain(&error), &CommandError::from(ExecError::Open(error)))
        }
        None => {
            let ending = client.terminate_session(&session_id);
            // The caller may lack the permission: then there is nothing more to do.
            let _ = timeout(TERMINATE_LIMIT, ending).await;
            ExitCode::Interrupted
        }
    };
    client.finish().await;
    code
}

/// What the session turns out to be; nothing when somebody wants to leave before.
async fn join(client: &Client, call: Call) -> Option<Result<Joined, ChannelError>> {
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
                Printer.note(
                    "the session is open and the agent says nothing yet; ECS lets two sessions into a container at a time",
                );
            }
        }
    }
}

async fn serve(joined: Joined, session_id: &str) -> ExitCode {
    match joined {
        Joined::Command { exec, terminal } => {
            say(&starting(session_id));
            command(exec, terminal, session_id).await
        }
        // What ssh and its like read is the stream and nothing else.
        Joined::Port(port) if port.is_stream() => ports::stream(port).await,
        Joined::Port(port) => {
            say(&starting(session_id));
            ports::forward(port, session_id).await
        }
        Joined::Over { output } => {
            say(&starting(session_id));
            over(session_id, &output)
        }
    }
}

async fn command(exec: Exec, has_terminal: bool, session_id: &str) -> ExitCode {
    let context = Context::new(
        GlobalArgs::default(),
        Config::default(),
        Printer,
        Vec::new(),
    );
    let source = match has_terminal && terminal::stdin_is_terminal() {
        true => Source::Keys {
            escapes: Some(Escapes::new(escape_char())),
            banner: None,
        },
        false => Source::Stream,
    };
    let ended = match follow::follow(exec, &context, source, show).await {
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
        // The screen may be the remote side's.
        ExecEvent::Notice(text) if terminal::is_held() => Printer.note(&format!("\r{text}\r")),
        ExecEvent::Notice(text) => Printer.note(text),
        _ => {}
    }
    None
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
