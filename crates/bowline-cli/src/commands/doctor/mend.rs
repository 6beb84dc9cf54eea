//! Mending what was found: one change at a time, shown before it is made, then a new look.

use std::time::Duration;

use bowline::doctor::{Check, Report, Request, Severity};
use bowline::{AwsError, ResolvedTarget};
use tokio::time::{Instant, sleep};

use super::Patient;
use crate::commands::{Context, guard};
use crate::confirm;
use crate::error::{CommandError, ErrorKind};

/// The first look at what a change did comes after this …
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// … and the later ones not further apart than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Offers the calls for the likeliest cause, then for the next, as long as there are any that were not tried.
pub(super) async fn mend(
    patient: &Patient<'_>,
    mut target: ResolvedTarget,
    mut report: Report,
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
        if tried.is_empty() {
            guard::check(patient.context, &target).await?;
        }
        tried.push(key(&check));
        if !offer(patient.context, &check).await? {
            continue;
        }
        if carries_definition(&check.requests) {
            // Somebody may have deployed another one while the question stood there.
            (target, report) = patient.look().await?;
            if !report
                .problems()
                .any(|found| found.requests == check.requests)
            {
                patient.context.printer.note(
                    "the service or its task definition has changed meanwhile, so nothing was done about it",
                );
                continue;
            }
        }
        make(patient, &check.requests).await?;
        (target, report) = recover(patient, &check, wait).await?;
    }
}

/// Whether a revision is registered that takes back whatever came after the look.
fn carries_definition(requests: &[Request]) -> bool {
    let mut calls = requests.iter().map(|request| request.call.as_str());
    calls.any(|call| call == "ecs:RegisterTaskDefinition")
}

/// Which problem: it may come again for another container.
type Key = (&'static str, Option<String>);

fn key(check: &Check) -> Key {
    (check.id, check.container.clone())
}

async fn offer(context: &Context, check: &Check) -> Result<bool, CommandError> {
    context.printer.note(&check.what);
    if let Some(fix) = &check.fix {
        context.printer.note(&format!("fix: {fix}"));
    }
    show(context, &check.requests);
    confirm::agreed(context, &[], "make this change?").await
}

/// The calls as they will be made, without values that look like secrets.
pub(in crate::commands) fn show(context: &Context, requests: &[Request]) {
    for request in requests {
        let input = serde_json::to_string_pretty(&request.shown()).unwrap_or_default();
        context.printer.note(&format!("{} {input}", request.call));
    }
}

async fn make(patient: &Patient<'_>, requests: &[Request]) -> Result<(), CommandError> {
    let mut before = None;
    for (index, request) in requests.iter().enumerate() {
        match patient.client.make(request, before.as_ref()).await {
            Ok(answer) => before = Some(answer),
            Err(error) => return Err(failed(error, &requests[..index], &request.call)),
        }
        patient
            .context
            .printer
            .note(&format!("done: {}", request.call));
    }
    Ok(())
}

/// The failure of a call, with what has been changed by then.
fn failed(error: AwsError, made: &[Request], call: &str) -> CommandError {
    let refused = error.changed_nothing();
    let mut error = CommandError::from(error);
    if !refused {
        error = error.hint(format!(
            "whether {call} had its effect is not known; doctor without --fix shows how things are"
        ));
    }
    let made: Vec<&str> = made.iter().map(|request| request.call.as_str()).collect();
    match made.as_slice() {
        [] if refused => error.hint("nothing was changed"),
        [] => error,
        made => error.hint(format!("made before it: {}", made.join(", "))),
    }
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
