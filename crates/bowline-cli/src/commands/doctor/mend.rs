//! Mending what was found: one change at a time, shown before it is made, then a new look.

use std::io::{self, BufRead};
use std::time::Duration;

use bowline::ResolvedTarget;
use bowline::doctor::{Check, Report, Request, Severity};
use tokio::time::{Instant, sleep};

use super::Patient;
use crate::commands::Context;
use crate::error::{CommandError, ErrorKind};
use crate::terminal;

/// The first look at what a change did comes after this …
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// … and the later ones not further apart than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Whether somebody can be asked, or need not be.
pub(in crate::commands) fn check_terminal(yes: bool) -> Result<(), CommandError> {
    if yes || (terminal::stdin_is_terminal() && terminal::stderr_is_terminal()) {
        return Ok(());
    }
    Err(
        CommandError::usage("there is no terminal to ask on before a change is made")
            .hint("add --yes to make it without asking"),
    )
}

/// Offers the calls for the likeliest cause, then for the next, as long as there are any that were not tried.
pub(super) async fn mend(
    patient: &Patient<'_>,
    mut target: ResolvedTarget,
    mut report: Report,
    yes: bool,
    wait: Duration,
) -> Result<(ResolvedTarget, Report), CommandError> {
    let mut tried: Vec<Key> = Vec::new();
    // Whoever is kept out has nothing changed besides what keeps him out.
    let notes = !report.has_problems();
    loop {
        let next = report
            .problems()
            .filter(|check| notes || check.severity != Some(Severity::Note))
            .find(|check| !check.requests.is_empty() && !tried.contains(&key(check)));
        let Some(check) = next.cloned() else {
            return Ok((target, report));
        };
        tried.push(key(&check));
        if !offer(patient.context, &check, yes)? {
            continue;
        }
        make(patient, &check.requests).await?;
        (target, report) = recover(patient, &check, wait).await?;
    }
}

/// Which problem: it may come again for another container.
type Key = (&'static str, Option<String>);

fn key(check: &Check) -> Key {
    (check.id, check.container.clone())
}

fn offer(context: &Context, check: &Check, yes: bool) -> Result<bool, CommandError> {
    context.printer.note(&check.what);
    if let Some(fix) = &check.fix {
        context.printer.note(&format!("fix: {fix}"));
    }
    show(context, &check.requests);
    confirm(context, yes)
}

/// The calls as they will be made.
pub(in crate::commands) fn show(context: &Context, requests: &[Request]) {
    for request in requests {
        let input = serde_json::to_string_pretty(&request.input).unwrap_or_default();
        context.printer.note(&format!("{} {input}", request.call));
    }
}

/// Asks, unless there is no need to.
pub(in crate::commands) fn confirm(context: &Context, yes: bool) -> Result<bool, CommandError> {
    if yes {
        return Ok(true);
    }
    context.printer.ask("make this change? [y/N] ");
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(
        answer.trim().to_ascii_lowercase().as_str(),
        "y" | "yes"
    ))
}

async fn make(patient: &Patient<'_>, requests: &[Request]) -> Result<(), CommandError> {
    for (index, request) in requests.iter().enumerate() {
        if let Err(error) = patient.client.make(request).await {
            let error = CommandError::from(error);
            return Err(match index {
                0 => error.hint("nothing was changed"),
                _ => {
                    let made: Vec<&str> =
                        requests[..index].iter().map(|r| r.call.as_str()).collect();
                    error.hint(format!("made before it: {}", made.join(", ")))
                }
            });
        }
        patient
            .context
            .printer
            .note(&format!("done: {}", request.call));
    }
    Ok(())
}

/// Looks again until the problem is gone and what runs has settled, or the time is over.
async fn recover(
    patient: &Patient<'_>,
    check: &Check,
    wait: Duration,
) -> Result<(ResolvedTarget, Report), CommandError> {
    let deadline = Instant::now() + wait;
    let mut pause = FIRST_PAUSE;
    let mut told = false;
    loop {
        let look = patient.look().await;
        match look {
            Ok((target, report)) => {
                let still = report.problems().any(|found| key(found) == key(check));
                // A new task comes up in steps that look like problems.
                let rising = report
                    .problems()
                    .any(|found| matches!(found.id, "task-running" | "agent"));
                if !still && !rising {
                    patient.context.printer.note("mended");
                    return Ok((target, report));
                }
                if Instant::now() + pause > deadline {
                    return Ok((target, report));
                }
            }
            // While tasks are replaced there may be none for a moment.
            Err(error)
                if error.kind() == ErrorKind::NotFound && Instant::now() + pause < deadline => {}
            Err(error) => return Err(error),
        }
        if !told {
            told = true;
            let limit = wait.as_secs();
            patient
                .context
                .printer
                .note(&format!("waiting for it to take effect (up to {limit} s)"));
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
