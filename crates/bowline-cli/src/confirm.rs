//! Asking before something is changed: a terminal is asked, anything else has to say `--yes`.

use crate::commands::Context;
use crate::error::{CommandError, ErrorKind};
use crate::prompt;

/// Says what is about to happen and asks whether it shall.
///
/// # Errors
/// Usage where nobody can be asked; that nothing was done if the answer is no.
pub(crate) async fn confirm(
    context: &Context,
    what: &[String],
    question: &str,
) -> Result<(), CommandError> {
    match agreed(context, what, question).await? {
        true => Ok(()),
        false => Err(CommandError::new(ErrorKind::Failed, "nothing was changed")),
    }
}

/// The same where a no is an answer like another.
///
/// # Errors
/// Usage where nobody can be asked.
pub(crate) async fn agreed(
    context: &Context,
    what: &[String],
    question: &str,
) -> Result<bool, CommandError> {
    if context.global.yes {
        return Ok(true);
    }
    check(context, &what.join("; "))?;
    for line in what {
        context.printer.note(line);
    }
    let answer = prompt::ask(format!("{question} [y/N] "))
        .await
        .map_err(|reason| {
            CommandError::new(ErrorKind::Failed, format!("nothing was changed: {reason}"))
        })?;
    Ok(matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Whether somebody can be asked, or need not be; for commands that have much to do before they ask.
///
/// # Errors
/// Usage, with what it would do.
pub(crate) fn check(context: &Context, what: &str) -> Result<(), CommandError> {
    if context.global.yes || prompt::can_ask() {
        return Ok(());
    }
    let text = format!("it would {what}, and there is no terminal to ask on");
    Err(CommandError::usage(text).hint("say --yes to do it without being asked"))
}
