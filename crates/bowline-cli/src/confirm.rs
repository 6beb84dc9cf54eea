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
    if context.global.yes {
        return Ok(());
    }
    if !prompt::can_ask() {
        let error = CommandError::usage(format!(
            "it would {}, and there is no terminal to ask on",
            what.join("; ")
        ));
        return Err(error.hint("say --yes to do it without being asked"));
    }
    for line in what {
        context.printer.note(line);
    }
    let answer = prompt::ask(format!("{question} [y/N] "))
        .await
        .map_err(|reason| {
            CommandError::new(ErrorKind::Failed, format!("nothing was changed: {reason}"))
        })?;
    match answer.to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(CommandError::new(ErrorKind::Failed, "nothing was changed")),
    }
}
