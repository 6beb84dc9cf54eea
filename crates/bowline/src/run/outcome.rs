//! Why a task ended, and which exit code that is.
//!
//! ECS names no container as the cause and gives no time for each one's end, so this is a set of rules. Absent is
//! never zero, and a container that ECS stopped after another is never the cause.

use crate::model::{Container, Task};

/// What a container shows after SIGKILL and SIGTERM, which is how ECS ends those that remain.
const KILLED: [i64; 2] = [137, 143];
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
    /// The essential containers by the task definition; empty when that is not known, and then all count.
    pub essential: &'a [String],
    /// Containers that were seen stopped while others still ran.
    pub stopped_first: &'a [String],
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
    let chosen = choose(task, from, evidence);
    let cause = cause(task, chosen);
    let code = chosen.and_then(|container| container.exit_code);
    Outcome {
        code,
        container: chosen.map(|container| container.name.clone()),
        cause,
        text: words(task, from, chosen, cause),
    }
}

fn choose<'a>(task: &'a Task, from: &ExitFrom, evidence: Evidence<'_>) -> Option<&'a Container> {
    let own: Vec<&Container> = task
        .containers
        .iter()
        .filter(|container| !container.is_injected())
        .collect();
    match from {
        ExitFrom::Container(name) => task.containers.iter().find(|one| one.name == *name),
        ExitFrom::Any => failed(&own)
            .or_else(|| own.iter().find(|one| one.exit_code.is_none()).copied())
            .or_else(|| own.first().copied()),
        ExitFrom::Cause => {
            let essential = |one: &&Container| evidence.essential.contains(&one.name);
            let mut candidates: Vec<&Container> = own.iter().copied().filter(essential).collect();
            if candidates.is_empty() {
                candidates = own;
            }
            let first: Vec<&Container> = candidates
                .iter()
                .copied()
                .filter(|one| evidence.stopped_first.contains(&one.name))
                .collect();
            if !first.is_empty() && first.len() < candidates.len() {
                candidates = first;
            }
            culprit(&candidates)
        }
    }
}

/// The container whose end was the task's, of those that could be.
fn culprit<'a>(candidates: &[&'a Container]) -> Option<&'a Container> {
    let ended = |one: &&&Container| one.exit_code.is_some_and(|code| !KILLED.contains(&code));
    candidates
        .iter()
        .find(|one| is_out_of_memory(one))
        .or_else(|| {
            candidates
                .iter()
                .find(|one| one.exit_code.is_none() && one.reason.is_some())
        })
        .or_else(|| {
            candidates
                .iter()
                .filter(ended)
                .find(|one| one.exit_code != Some(0))
        })
        .or_else(|| candidates.iter().find(ended))
        .or_else(|| candidates.iter().find(|one| one.exit_code.is_some()))
        .or_else(|| candidates.first())
        .copied()
}

/// The container that failed, of all; those that ECS killed come last.
fn failed<'a>(containers: &[&'a Container]) -> Option<&'a Container> {
    let nonzero = |one: &&&Container| one.exit_code.is_some_and(|code| code != 0);
    let killed = |one: &&Container| one.exit_code.is_some_and(|code| KILLED.contains(&code));
    containers
        .iter()
        .filter(nonzero)
        .find(|one| is_out_of_memory(one) || !killed(one))
        .or_else(|| containers.iter().find(nonzero))
        .copied()
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
mod tests {
    use super::*;

    /// `name=code` with `!reason`, `name=?` without a code.
    fn task(stop_code: &str, reason: &str, containers: &[&str]) -> Task {
        let container = |text: &&str| {
            let (text, reason) = match text.split_once('!') {
                Some((text, reason)) => (text, Some(reason.to_owned())),
                None => (*text, None),
            };
            let (name, code) = text.split_once('=').unwrap();
            Container {
                name: name.to_owned(),
                exit_code: code.parse().ok(),
                reason,
                ..Container::default()
            }
        };
        Task {
            stop_code: (!stop_code.is_empty()).then(|| stop_code.to_owned()),
            stopped_reason: (!reason.is_empty()).then(|| reason.to_owned()),
            containers: containers.iter().map(container).collect(),
            ..Task::default()
        }
    }

    fn judge(task: &Task, from: &str, essential: &[&str], first: &[&str]) -> Outcome {
        let owned = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        let from = match from {
            "" => ExitFrom::Cause,
            "any" => ExitFrom::Any,
            name => ExitFrom::Container(name.to_owned()),
        };
        let (essential, stopped_first) = (owned(essential), owned(first));
        let evidence = Evidence {
            essential: &essential,
            stopped_first: &stopped_first,
        };
        outcome(task, &from, evidence)
    }

    const EXITED: &str = "EssentialContainerExited";
    const OOM: &str = "OutOfMemoryError: Container killed due to memory usage";

    /// Stop code, reason, containers, cause, shell code.
    type Ending<'a> = (&'a str, &'a str, &'a [&'a str], Cause, Option<u8>);
    type Case<'a> = (
        &'a [&'a str],
        &'a str,
        &'a [&'a str],
        &'a [&'a str],
        Option<u8>,
        &'a str,
    );

    #[test]
    fn the_container_that_caused_the_stop_decides() {
        let oom = format!("a=137!{OOM}");
        let cases: [Case<'_>; 19] = [
            // containers, --exit-from, essential, seen stopped first, shell code, whose
            (&["a=0"], "", &["a"], &[], Some(0), "a"),
            (&["a=3"], "", &["a"], &[], Some(3), "a"),
            (&["a=?"], "", &["a"], &[], None, "a"),
            (&["a=-1"], "", &["a"], &[], None, "a"),
            (&["a=3221225786"], "", &["a"], &[], None, "a"),
            // The side car was stopped after the other, whatever its code.
            (&["a=0", "b=143"], "", &["a", "b"], &[], Some(0), "a"),
            (&["b=137", "a=9"], "", &["a", "b"], &[], Some(9), "a"),
            (&["b=0", "a=9"], "", &["a", "b"], &[], Some(9), "a"),
            (&["b=1", "a=0"], "", &["a", "b"], &["a"], Some(0), "a"),
            // One that is not essential never ends a task.
            (&["b=5", "a=0"], "", &["a"], &[], Some(0), "a"),
            (&["b=5", "a=0"], "", &["a"], &["b"], Some(0), "a"),
            (&["b=5", "a=0"], "any", &["a"], &[], Some(5), "b"),
            (&["b=143", "a=5"], "any", &["a"], &[], Some(5), "a"),
            (&["b=0", "a=?"], "any", &["a"], &[], None, "a"),
            (&["a=0", "b=0"], "any", &["a"], &[], Some(0), "a"),
            (&["b=5", "a=0"], "b", &["a"], &[], Some(5), "b"),
            (&["a=143"], "", &["a"], &[], Some(143), "a"),
            (&[&oom, "b=1"], "", &["a", "b"], &[], Some(137), "a"),
            // AWS's own containers never count.
            (
                &["ecs-service-connect-x=1", "a=0"],
                "",
                &[],
                &[],
                Some(0),
                "a",
            ),
        ];
        for (containers, from, essential, first, code, whose) in cases {
            let task = task(EXITED, ESSENTIAL_EXITED, containers);
            let outcome = judge(&task, from, essential, first);
            assert_eq!(outcome.shell_code(), code, "{containers:?} {from}");
            assert_eq!(
                outcome.container.as_deref(),
                Some(whose),
                "{containers:?} {from}"
            );
            assert_eq!(
                outcome.is_success(),
                code == Some(0),
                "{containers:?} {from}"
            );
        }
    }

    #[test]
    fn why_it_ended_is_said_and_a_zero_of_a_stopped_task_is_no_success() {
        let pull = "CannotPullContainerError: pull access denied";
        let cases: [Ending<'_>; 12] = [
            (EXITED, ESSENTIAL_EXITED, &["a=0"], Cause::Exited, Some(0)),
            ("", "", &["a=4"], Cause::Exited, Some(4)),
            (
                "UserInitiated",
                "Task stopped by user",
                &["a=0"],
                Cause::UserStopped,
                None,
            ),
            (
                "UserInitiated",
                "bye",
                &["a=143"],
                Cause::UserStopped,
                Some(143),
            ),
            (
                "SpotInterruption",
                "Your Spot Task was interrupted.",
                &["a=0"],
                Cause::SpotInterrupted,
                None,
            ),
            (
                "SpotInterruption",
                "Your Spot Task was interrupted.",
                &["a=143"],
                Cause::SpotInterrupted,
                Some(143),
            ),
            (
                "InfrastructureHealth",
                "Host EC2 (instance i-1) terminated.",
                &["a=?"],
                Cause::Infrastructure,
                None,
            ),
            ("TaskFailedToStart", pull, &["a=?"], Cause::PullFailed, None),
            (
                "TaskFailedToStart",
                "ResourceInitializationError: no secret",
                &["a=?"],
                Cause::StartFailed,
                None,
            ),
            (
                "TaskFailedToStart",
                "",
                &["a=?!CannotStartContainerError: no such file"],
                Cause::StartFailed,
                None,
            ),
            (
                EXITED,
                ESSENTIAL_EXITED,
                &[&format!("a=137!{OOM}")],
                Cause::OutOfMemory,
                Some(137),
            ),
            (EXITED, ESSENTIAL_EXITED, &["a=?"], Cause::Unknown, None),
        ];
        let mut said = String::new();
        for (stop_code, reason, containers, cause, code) in cases {
            let outcome = judge(&task(stop_code, reason, containers), "", &["a"], &[]);
            assert_eq!(outcome.cause, cause, "{stop_code} {reason}");
            assert_eq!(outcome.shell_code(), code, "{stop_code} {reason}");
            if let Some(text) = outcome.text {
                said.push_str(&text);
                said.push('\n');
            }
        }
        assert_eq!(
            said,
            "the task was stopped by a user: Task stopped by user; container a ended with 0\n\
             the task was stopped by a user: bye; container a ended with 143\n\
             the Spot capacity of the task was taken back: Your Spot Task was interrupted.; container a ended with 0\n\
             the Spot capacity of the task was taken back: Your Spot Task was interrupted.; container a ended with 143\n\
             AWS stopped the task: Host EC2 (instance i-1) terminated.\n\
             an image could not be pulled: CannotPullContainerError: pull access denied\n\
             the task did not start: ResourceInitializationError: no secret\n\
             the task did not start: CannotStartContainerError: no such file\n\
             container a was killed because it ran out of memory (code 137)\n\
             container a has no exit code; the task stopped: Essential container in task exited\n"
        );
    }

    #[test]
    fn a_container_that_is_not_there_is_no_success() {
        let outcome = judge(&task(EXITED, "", &["a=0"]), "nope", &["a"], &[]);
        assert_eq!(outcome.shell_code(), None);
        assert_eq!(
            outcome.text.as_deref(),
            Some("the task has no container nope")
        );
    }
}
