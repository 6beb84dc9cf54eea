//! Port sessions of `session-manager-plugin`.

use bowline::forward::{BoundTo, Forward, ForwardError, ForwardEvent, GrantedPort};

use super::session::{Leave, chain, explain, over, say};
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::printer::Printer;

/// Listens, and carries connections until the session is over or somebody leaves, which is the usual end.
pub(super) async fn forward(port: GrantedPort, session_id: &str) -> ExitCode {
    let (forward, leave) = match (port.forward().await, Leave::listen()) {
        (Ok(forward), Ok(leave)) => (forward, leave),
        (Err(error), _) => return explain(&chain(&error), &CommandError::from(error)),
        (_, Err(error)) => return explain(&error.to_string(), &CommandError::from(error)),
    };
    let opened = match forward.bound().first() {
        Some(BoundTo::Unix(path)) => format!("Unix socket {}", path.display()),
        Some(BoundTo::Tcp(address)) => format!("Port {}", address.port()),
        None => String::new(),
    };
    let opened = format!("{opened} opened for sessionId {session_id}.\n");
    watch(forward, leave, &opened, session_id).await
}

async fn watch(mut forward: Forward, mut leave: Leave, opened: &str, session_id: &str) -> ExitCode {
    let (mut accepted, mut single) = (false, false);
    loop {
        // Both arms are cancel-safe: a channel, signals that are kept.
        let event = tokio::select! {
            event = forward.next() => event,
            () = leave.wanted() => {
                say("Terminate signal received, exiting.\n");
                return over(session_id, "");
            }
        };
        match event {
            Some(ForwardEvent::Ready {
                single: one_by_one, ..
            }) => {
                single = one_by_one;
                say(opened);
                if !single {
                    say("Waiting for connections...\n");
                }
            }
            Some(ForwardEvent::Opened { .. }) if single => {
                say(&format!("Connection accepted for session {session_id}.\n"));
            }
            Some(ForwardEvent::Opened { .. }) if !accepted => {
                accepted = true;
                say(&format!(
                    "\nConnection accepted for session [{session_id}]\n"
                ));
            }
            Some(ForwardEvent::Unreachable { .. }) => {
                say("\nConnection to destination port failed, check SSM Agent logs.\n");
            }
            Some(ForwardEvent::Notice { text, .. }) => Printer.note(&text),
            Some(ForwardEvent::Failed { error, .. }) => return failed(error, session_id),
            Some(_) => {}
            None => return over(session_id, ""),
        }
    }
}

/// Carries the one stream of the session. Nothing is said on stdout.
pub(super) async fn stream(port: GrantedPort) -> ExitCode {
    let (mut leave, mut forward) = match (Leave::listen(), port.stream().await) {
        (Ok(leave), Ok(forward)) => (leave, forward),
        (Err(error), _) | (_, Err(error)) => {
            Printer.error(&CommandError::from(error));
            return ExitCode::Failed;
        }
    };
    loop {
        let event = tokio::select! {
            event = forward.next() => event,
            () = leave.wanted() => return ExitCode::Success,
        };
        match event {
            Some(ForwardEvent::Failed {
                error: ForwardError::Ended { reason },
                ..
            }) if reason.trim().is_empty() => return ExitCode::Success,
            Some(ForwardEvent::Failed { error, .. }) => {
                Printer.error(&CommandError::from(error));
                return ExitCode::Failed;
            }
            Some(ForwardEvent::Notice { text, .. }) => Printer.note(&text),
            Some(_) => {}
            None => return ExitCode::Success,
        }
    }
}

fn failed(error: ForwardError, session_id: &str) -> ExitCode {
    match error {
        ForwardError::Ended { reason } => over(session_id, &reason),
        error => {
            Printer.error(&CommandError::from(error));
            over(session_id, "");
            ExitCode::Failed
        }
    }
}
