//! How tasks can end, and what that is for a shell.

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
    judge_for(None, task, from, essential, first)
}

fn judge_for(
    main: Option<&str>,
    task: &Task,
    from: &str,
    essential: &[&str],
    first: &[&str],
) -> Outcome {
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
        main,
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

type Mixed<'a> = (
    &'a [&'a str],
    &'a str,
    &'a [&'a str],
    &'a [&'a str],
    Option<&'a str>,
    Option<u8>,
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

/// A container that was killed, and another that makes 0 of SIGTERM, or the other way round: which came first?
#[test]
fn a_kill_beside_a_zero_is_never_taken_for_success() {
    let both = &["a", "b"][..];
    let unclear = None;
    // containers, --exit-from, essential, seen stopped first, started for, shell code
    let cases: [Mixed<'_>; 17] = [
        (&["a=0", "b=137"], "", both, &[], None, unclear),
        (&["b=137", "a=0"], "", both, &[], None, unclear),
        (&["b=0", "a=137"], "", both, &[], None, Some(137)),
        (&["a=137", "b=0"], "", both, &["a"], None, Some(137)),
        (&["a=137", "b=0"], "", both, &["b"], None, Some(0)),
        (&["b=0", "a=137"], "", both, &[], Some("a"), Some(137)),
        (&["b=137", "a=0"], "", both, &[], Some("a"), Some(0)),
        // One that is not essential is no reason for the task's end.
        (&["a=137", "b=0"], "", &["a"], &[], Some("b"), Some(137)),
        // Each failed by itself: the one that matters, or any.
        (&["b=2", "a=3"], "", both, &[], Some("a"), Some(3)),
        (&["b=2", "a=0"], "", both, &[], Some("a"), Some(2)),
        // `any` does not count what ECS ended after another …
        (&["b=143", "a=0"], "any", both, &[], None, Some(0)),
        (&["b=137", "a=0"], "any", both, &["a"], None, Some(0)),
        (&["b=137", "a=0"], "any", &["a"], &[], Some("a"), Some(0)),
        // … but what was killed before.
        (&["b=143", "a=0"], "any", both, &["b"], None, Some(143)),
        (&["b=0", "a=137"], "any", both, &[], Some("a"), Some(137)),
        (&["b=137", "a=0"], "any", both, &[], None, unclear),
        (&["b=0", "a=143"], "any", &["a"], &[], None, Some(143)),
    ];
    for (containers, from, essential, first, main, code) in cases {
        let task = task(EXITED, ESSENTIAL_EXITED, containers);
        let outcome = judge_for(main, &task, from, essential, first);
        let what = format!("{containers:?} {from} {first:?} {main:?}");
        assert_eq!(outcome.shell_code(), code, "{what}");
        assert_eq!(outcome.is_success(), code == Some(0), "{what}");
    }
    let task = task(EXITED, ESSENTIAL_EXITED, &["b=137", "a=0"]);
    assert_eq!(
        judge(&task, "", both, &[]).text.as_deref(),
        Some(
            "it is not known which container ended the task: b ended with 137, a with 0; --exit-from says whose code \
             counts"
        )
    );
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
