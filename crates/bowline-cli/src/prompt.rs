//! Questions to the person at the terminal: never in a pipe, and never while the terminal is the remote side's.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::time::Duration;

use bowline::MfaPrompt;
use rustix::process::{getpgrp, getpid};
use rustix::termios::{isatty, tcgetpgrp};
use tokio::time::timeout;

use crate::terminal;

/// Nobody thinks about a question for longer; the terminal is then left alone.
const ANSWER_LIMIT: Duration = Duration::from_secs(300);

/// Asks at the controlling terminal, also while stdin or stdout is a pipe, and gives the line that is typed.
///
/// # Errors
/// Why nobody can be asked, or why no answer came.
pub(crate) async fn ask(question: String) -> Result<String, String> {
    if !can_ask() {
        return Err("there is no terminal to ask at".to_owned());
    }
    let asked = tokio::task::spawn_blocking(move || line(&question));
    match timeout(ANSWER_LIMIT, asked).await {
        Ok(Ok(answer)) => {
            answer.map_err(|error| format!("the terminal could not be read: {error}"))
        }
        Ok(Err(_)) => Err("the terminal could not be read".to_owned()),
        Err(_) => Err(format!(
            "no answer came within {} s",
            ANSWER_LIMIT.as_secs()
        )),
    }
}

/// The prompt for MFA codes. A code is of no use a minute later, so it may be seen while it is typed.
pub(crate) fn mfa() -> MfaPrompt {
    MfaPrompt::new(|request| {
        Box::pin(ask(format!(
            "MFA code of {} for profile {}: ",
            request.serial, request.profile
        )))
    })
}

/// Whether a person sees stderr and types at a terminal that is ours.
pub(crate) fn can_ask() -> bool {
    let Ok(tty) = open() else {
        return false;
    };
    // In the background a read would stop the program, unseen.
    let in_front = tcgetpgrp(&tty).is_ok_and(|group| group == getpgrp() || group == getpid());
    terminal::stderr_is_terminal() && isatty(&tty) && in_front && !terminal::is_held()
}

fn line(question: &str) -> io::Result<String> {
    let tty = open()?;
    (&tty).write_all(question.as_bytes())?;
    let mut answer = String::new();
    if BufReader::new(&tty).read_line(&mut answer)? == 0 {
        (&tty).write_all(b"\n")?;
    }
    Ok(answer.trim().to_owned())
}

fn open() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/tty")
}
