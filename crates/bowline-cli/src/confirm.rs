//! Asking before something is changed: a terminal is asked, anything else has to say `--yes`.

use std::io;

use crate::commands::Context;
use crate::error::{CommandError, ErrorKind};
use crate::terminal;

/// Says what is about to happen and asks whether it shall.
///
/// # Errors
/// Usage where nobody can be asked; that nothing was done if the answer is no.
pub(crate) async fn confirm(
    context: &Context,
    what: &[String],
    question: &str,
    yes: bool,
) -> Result<(), CommandError> {
    if yes {
        return Ok(());
    }
    if !terminal::stdin_is_terminal() || !terminal::stderr_is_terminal() {
        let error = CommandError::usage(format!(
            "it would {}, and there is no terminal to ask on",
            what.join("; ")
        ));
        return Err(error.hint("say --yes to do it without being asked"));
    }
    for line in what {
        context.printer.note(line);
    }
    context.printer.question(&format!("{question} [y/N]"));
    // A read of the terminal cannot be cancelled; Ctrl-C ends the program and the thread with it.
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map(|_| line)
    });
    let answer = answer
        .await
        .map_err(|error| CommandError::new(ErrorKind::Failed, error))??;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(CommandError::new(ErrorKind::Failed, "nothing was changed")),
    }
}
