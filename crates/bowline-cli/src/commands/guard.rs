//! Guarded places: a warning before a command enters one, and a question where the guard asks for it.

use bowline::ResolvedTarget;
use bowline::config::{Colour, Confirm, Guard, GuardedPlace, Setting};

use super::Context;
use crate::error::{CommandError, ErrorKind};
use crate::{prompt, terminal};

/// Warns and asks before something is done in a container, if a guard covers its place.
pub(crate) async fn check(context: &Context, target: &ResolvedTarget) -> Result<(), CommandError> {
    let account = account(&target.cluster.arn).or_else(|| account(&target.task.arn));
    let cluster = &target.cluster.name;
    check_place(context, account, cluster, &target.to_string()).await
}

/// The same for a verb that changes something else than a container; `what` names it in the warning.
pub(crate) async fn check_place(
    context: &Context,
    account: Option<&str>,
    cluster: &str,
    what: &str,
) -> Result<(), CommandError> {
    let global = &context.global;
    let place = GuardedPlace {
        account,
        cluster,
        profile: global
            .profile
            .as_deref()
            .or(global.default_profile.as_deref()),
    };
    check_guarded(context, &place, what).await
}

/// The same for a place that is reached with a profile of its own.
pub(crate) async fn check_guarded(
    context: &Context,
    place: &GuardedPlace<'_>,
    what: &str,
) -> Result<(), CommandError> {
    let Some(guard) = context.config.guard(place) else {
        return Ok(());
    };
    let (account, cluster, global) = (place.account, place.cluster, &context.global);
    let account = account.map_or_else(String::new, |account| format!(" in account {account}"));
    let name = guard.value.name.as_deref().unwrap_or("guarded");
    let warning = format!("{}: {what}{account}", name.to_uppercase());
    context
        .printer
        .note(&coloured(&warning, guard.value.colour));
    match (guard.value.confirm, global.yes) {
        (Confirm::None, _) | (_, true) => Ok(()),
        (confirm, false) => confirmed(confirm, cluster, guard).await,
    }
}

async fn confirmed(
    confirm: Confirm,
    cluster: &str,
    guard: &Setting<Guard>,
) -> Result<(), CommandError> {
    let (question, wanted) = match confirm {
        Confirm::TypeName => (
            format!("type the cluster's name ({cluster}) to go on: "),
            cluster,
        ),
        _ => ("go on? (yes or no) ".to_owned(), "yes"),
    };
    let answer = prompt::ask(question).await.map_err(|reason| {
        let text = format!(
            "the guard at {} asks for confirmation, and {reason}",
            guard.origin
        );
        CommandError::usage(text).hint("add --yes if this is meant")
    })?;
    let short = confirm == Confirm::Yes && answer.eq_ignore_ascii_case("y");
    if short || answer.eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    Err(CommandError::new(
        ErrorKind::Interrupted,
        "not confirmed; nothing was done",
    ))
}

/// The account of an ARN.
pub(crate) fn account(arn: &str) -> Option<&str> {
    arn.split(':').nth(4).filter(|account| !account.is_empty())
}

fn coloured(text: &str, colour: Colour) -> String {
    let code = match colour {
        Colour::Red => 31,
        Colour::Green => 32,
        Colour::Yellow => 33,
        Colour::Blue => 34,
        Colour::Magenta => 35,
        Colour::Cyan => 36,
    };
    match terminal::stderr_has_colour() {
        true => format!("\x1b[1;{code}m{text}\x1b[0m"),
        false => text.to_owned(),
    }
}
