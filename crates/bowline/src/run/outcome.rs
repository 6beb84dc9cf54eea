//! Why a task ended, and which exit code that is.
//!
//! ECS names no container as the cause and gives no time for each one's end, so this is a set of rules. Absent is
//! never zero, and a container that ECS stopped after another is never the cause.

use crate::model::{Container, Task};

/// What a container shows after SIGKILL and SIGTERM, which is how ECS ends those that remain.
const KILLED: [i64; 2] = [SIGKILLED, 143];
const SIGKILLED: i64 = 137;
/// What ECS writes for a task that ended because of a container, in place of a stop code with older platforms.
const ESSENTIAL_EXITED: &str = "Essential container in task exited";

/// Whose exit code counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ExitFrom {
    /// The essential container that ended the task.
    #[default]
    Cause,
    /// Any container that failed, essential or not.
    Any,
    /// This container.
    Container(String),
}

/// What is known besides the task as it is at the end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Evidence<'a> {
    /// The essential containers by the task definition, in its order; empty when that is not known, and then all count.
    pub essential: &'a [String],
    /// Containers that were seen stopped while others still ran.
    pub stopped_first: &'a [String],
    /// The container that the task was started for, if that is known.
    pub main: Option<&'a str>,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// The exit code that counts, if a container has one. It may be any number (Windows).
    pub code: Option<i64>,
    /// The container it is from.
    pub container: Option<String>,
    /// Why the task ended.
    pub cause: Cause,
    /// In words, if there is more to say than the code.
    pub text: Option<String>,
}

/// Why a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// A container ended by itself.
    Exited,
    /// A container was killed for want of memory.
    OutOfMemory,
    /// An image could not be pulled.
    PullFailed,
    /// It did not start for another reason.
    StartFailed,
    /// Somebody stopped it.
    UserStopped,
    /// Spot capacity was taken back.
    SpotInterrupted,
    /// AWS or the host ended it: maintenance, a failed instance, a service that scaled.
    Infrastructure,
    /// The reason is not known.
    Unknown,
}

impl Outcome {
    /// Whether the command ran to its own end with code 0.
    pub fn is_success(&self) -> bool {
        self.cause == Cause::Exited && self.code == Some(0)
    }

    /// The code for a shell: the container's own where that says how the command ended. `None` is bowline's 125: no
    /// code, one outside of 0-255, or a zero of a container that was stopped and did not end by itself.
    pub fn shell_code(&self) -> Option<u8> {
        match (self.cause, self.code) {
            (Cause::Exited, code) => u8::try_from(code?).ok(),
            (_, Some(0)) => None,
            (_, code) => u8::try_from(code?).ok(),
        }
    }
}

/// Judges a STOPPED task.
#[must_use]
pub fn outcome(task: &Task, from: &ExitFrom, evidence: Evidence<'_>) -> Outcome {
    let (chosen, unclear) = match choose(task, from, evidence) {
        Choice::One(container) => (Some(container), None),
        Choice::Nobody => (None, None),
        Choice::Unclear(text) => (None, Some(text)),
    };
    let cause = cause(task, chosen);
    let code = chosen.and_then(|container| container.exit_code);
    let text = unclear.filter(|_| cause == Cause::Unknown);
    Outcome {
        code,
        container: chosen.map(|container| container.name.clone()),
        cause,
        text: text.or_else(|| words(task, from, chosen, cause)),
    }
}

/// Whose end was the task's.
enum Choice<'a> {
    One(&'a Container),
    /// There is no such container.
    Nobody,
    /// It could be one of several, and their codes do not mean the same. The text says which.
    Unclear(String),
}

impl<'a> From<Option<&'a Container>> for Choice<'a> {
    fn from(container: Option<&'a Container>) -> Self {
        container.map_or(Self::Nobody, Self::One)
    }
}

fn choose<'a>(task: &'a Task, from: &ExitFrom, evidence: Evidence<'_>) -> Choice<'a> {
    let own: Vec<&Container> = task
        .containers
        .iter()
        .filter(|container| !container.is_injected())
        .collect();
    let essential =
        |one: &&Container| evidence.essential.is_empty() || evidence.essential.contains(&one.name);
    let first = |one: &&Container| evidence.stopped_first.contains(&one.name);
    match from {
        ExitFrom::Container(name) => task.containers.iter().find(|one| one.name == *name).into(),
        ExitFrom::Any => {
            let failed = own.iter().copied().find(|one| has_failed(one));
            let killed_first = own.iter().copied().filter(first).find(|one| is_killed(one));
            let unknown = own.iter().copied().find(|one| one.exit_code.is_none());
            match failed.or(killed_first).or(unknown) {
                Some(container) => Choice::One(container),
                // Those that are left were killed or ended with 0.
                None => last_of(&own, essential, evidence),
            }
        }
        ExitFrom::Cause => {
            let mut candidates: Vec<&Container> = own.iter().copied().filter(essential).collect();
            if candidates.is_empty() {
                candidates = own;
            }
            let early: Vec<&Container> = candidates.iter().copied().filter(first).collect();
            if !early.is_empty() && early.len() < candidates.len() {
                candidates = early;
            }
            culprit(&candidates, evidence)
        }
    }
}

/// The container whose end was the task's, of those that could be.
fn culprit<'a>(candidates: &[&'a Container], evidence: Evidence<'_>) -> Choice<'a> {
    let find = |of: &dyn Fn(&Container) -> bool| candidates.iter().copied().find(|one| of(one));
    let certain = find(&is_out_of_memory)
        .or_else(|| find(&|one| one.exit_code.is_none() && one.reason.is_some()))
        .or_else(|| find(&|one| has_failed(one) && is_main(one, evidence)))
        .or_else(|| find(&has_failed));
    match certain {
        Some(container) => Choice::One(container),
        None => last_of(candidates, |_| true, evidence),
    }
}

/// The same where each was killed, ended with 0, or has no code. A zero may be the end of a command or what a container
/// makes of SIGTERM; a kill may be what ended the task, or what ECS did because of that.
fn last_of<'a>(
    containers: &[&'a Container],
    ends_tasks: impl Fn(&&'a Container) -> bool,
    evidence: Evidence<'_>,
) -> Choice<'a> {
    let all = || containers.iter().copied();
    let zero = all()
        .filter(&ends_tasks)
        .find(|one| one.exit_code == Some(0));
    let killed = all().find(|one| is_killed(one));
    let (zero, killed) = match (zero, killed) {
        (Some(zero), Some(killed)) => (zero, killed),
        (Some(one), None) | (None, Some(one)) => return Choice::One(one),
        (None, None) => return all().next().into(),
    };
    let seen = |one: &Container| evidence.stopped_first.contains(&one.name);
    if seen(zero) && !all().any(|one| is_killed(one) && seen(one)) {
        return Choice::One(zero);
    }
    if let Some(main) = all().filter(&ends_tasks).find(|one| is_main(one, evidence)) {
        return Choice::One(main);
    }
    // The definition's main container is most likely its first, which is good enough for a failure.
    if killed.exit_code == Some(SIGKILLED) && evidence.essential.first() == Some(&killed.name) {
        return Choice::One(killed);
    }
    // SIGTERM is how ECS ends the others, and hardly anybody else does that.
    if all().all(|one| one.exit_code != Some(SIGKILLED)) {
        return Choice::One(zero);
    }
    let code = |one: &Container| one.exit_code.unwrap_or_default();
    Choice::Unclear(format!(
        "it is not known which container ended the task: {} ended with {}, {} with {}; --exit-from says whose code counts",
        killed.name,
        code(killed),
        zero.name,
        code(zero),
    ))
}

/// It failed by itself.
fn has_failed(container: &Container) -> bool {
    let code = container.exit_code.filter(|code| *code != 0);
    code.is_some() && (is_out_of_memory(container) || !is_killed(container))
}

/// It has the code of a container that ECS ended.
fn is_killed(container: &Container) -> bool {
    container
        .exit_code
        .is_some_and(|code| KILLED.contains(&code))
}

fn is_main(container: &Container, evidence: Evidence<'_>) -> bool {
    evidence.main == Some(container.name.as_str())
}

fn cause(task: &Task, chosen: Option<&Container>) -> Cause {
    if chosen.is_some_and(is_out_of_memory) {
        return Cause::OutOfMemory;
    }
    let stopped = task.stopped_reason.as_deref().unwrap_or_default();
    let exited = || match chosen.and_then(|container| container.exit_code) {
        Some(_) => Cause::Exited,
        None => not_started(task).unwrap_or(Cause::Unknown),
    };
    match task.stop_code.as_deref() {
        Some("EssentialContainerExited") => exited(),
        Some("TaskFailedToStart") => not_started(task).unwrap_or(Cause::StartFailed),
        Some("UserInitiated") => Cause::UserStopped,
        Some("SpotInterruption") => Cause::SpotInterrupted,
        Some("TerminationNotice" | "InfrastructureHealth" | "ServiceSchedulerInitiated") => {
            Cause::Infrastructure
        }
        _ if stopped.starts_with(ESSENTIAL_EXITED) || stopped.is_empty() => exited(),
        _ if stopped.contains("Spot Task was interrupted") => Cause::SpotInterrupted,
        _ => not_started(task).unwrap_or(Cause::Unknown),
    }
}

fn not_started(task: &Task) -> Option<Cause> {
    let reason = start_error(task)?;
    Some(match reason.contains("CannotPull") {
        true => Cause::PullFailed,
        false => Cause::StartFailed,
    })
}

/// The words of whoever could not start a container.
fn start_error(task: &Task) -> Option<&str> {
    let of_container = task
        .containers
        .iter()
        .filter(|container| container.exit_code.is_none())
        .find_map(|container| container.reason.as_deref());
    let of_task = task
        .stopped_reason
        .as_deref()
        .filter(|reason| reason.contains("Error"));
    of_container.or(of_task)
}

fn is_out_of_memory(container: &Container) -> bool {
    let reason = container.reason.as_deref();
    reason.is_some_and(|reason| reason.contains("OutOfMemory"))
}

/// What there is to say. Nothing when a container ended by itself and its code says all.
fn words(task: &Task, from: &ExitFrom, chosen: Option<&Container>, cause: Cause) -> Option<String> {
    let name = chosen.map_or("a container", |container| container.name.as_str());
    let reason = task
        .stopped_reason
        .as_deref()
        .unwrap_or("no reason was given");
    let code = chosen.and_then(|container| container.exit_code);
    let before = match code {
        Some(code) => format!("; container {name} ended with {code}"),
        None => String::new(),
    };
    Some(match (cause, code) {
        (Cause::Exited, Some(code)) if u8::try_from(code).is_ok() => {
            return chosen.and_then(|container| container.reason.clone());
        }
        (Cause::Exited, Some(code)) => {
            format!("container {name} ended with {code}, which lies outside of 0-255")
        }
        (Cause::OutOfMemory, _) => format!(
            "container {name} was killed because it ran out of memory{}",
            code.map_or_else(String::new, |code| format!(" (code {code})"))
        ),
        (Cause::PullFailed, _) => {
            format!(
                "an image could not be pulled: {}",
                start_error(task).unwrap_or(reason)
            )
        }
        (Cause::StartFailed, _) => {
            format!(
                "the task did not start: {}",
                start_error(task).unwrap_or(reason)
            )
        }
        (Cause::UserStopped, _) => format!("the task was stopped by a user: {reason}{before}"),
        (Cause::SpotInterrupted, _) => {
            format!("the Spot capacity of the task was taken back: {reason}{before}")
        }
        (Cause::Infrastructure, _) => format!("AWS stopped the task: {reason}{before}"),
        (Cause::Exited | Cause::Unknown, _) => match (from, chosen) {
            (ExitFrom::Container(name), None) => format!("the task has no container {name}"),
            (_, Some(_)) => {
                format!("container {name} has no exit code; the task stopped: {reason}")
            }
            (_, None) => format!("the task stopped and has no containers: {reason}"),
        },
    })
}

#[cfg(test)]
mod tests;
