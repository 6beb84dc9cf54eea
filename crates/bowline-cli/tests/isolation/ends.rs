//! What is left of isolated tasks: nothing.

use std::fs;

use crate::support::{Process, SOON, Sandbox, run, signal, wait_for};
use crate::{inside, isolated, tasks};

/// A process that forgets everything that could lead back to its container. Its session stays until it has done so, or
/// would take it along.
const STRAY: &str = "env -i setsid sh -c 'trap \"\" HUP TERM; : >astray; sleep 600 & sleep 600' </dev/null >/dev/null 2>&1 & \
                     until [ -e astray ]; do sleep 0.02; done";

fn mounts() -> usize {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    mounts
        .lines()
        .filter(|line| line.contains("bowline-sandbox"))
        .count()
}

/// All processes below the sandbox, strays among them.
fn busy(sandbox: &Sandbox) -> Vec<Process> {
    for task in tasks(sandbox) {
        inside(sandbox, &task, STRAY).code(0);
    }
    wait_for("the strays", SOON, || {
        let all = Process::descendants(sandbox.pid());
        let strays = all.iter().filter(|process| {
            let line = fs::read(format!("/proc/{}/cmdline", process.pid));
            line.is_ok_and(|line| line == b"sleep\x00600\x00")
        });
        (strays.count() == 4).then_some(all)
    })
}

#[test]
fn nothing_outlives_a_sandbox_that_ends() {
    let Some(sandbox) = isolated(&[]) else { return };
    let all = busy(&sandbox);
    signal(sandbox.pid(), "TERM");
    all.iter().for_each(Process::wait_gone);
    assert_eq!(mounts(), 0);
}

#[test]
fn nothing_outlives_a_sandbox_that_is_killed() {
    let Some(sandbox) = isolated(&[]) else { return };
    let all = busy(&sandbox);
    sandbox.kill();
    all.iter().for_each(Process::wait_gone);
    assert_eq!(mounts(), 0);
}

/// Also what a session left behind, which in shared mode nobody could find.
#[test]
fn nothing_outlives_its_task() {
    let Some(sandbox) = isolated(&[]) else { return };
    let [one, other] = tasks(&sandbox);
    let before = busy(&sandbox);
    run(&mut sandbox.bowline(&["stop", &one, "--yes"])).code(0);
    wait_for("one task's processes to end", SOON, || {
        let left = before.iter().filter(|process| process.is_running()).count();
        (left == before.len() / 2).then_some(())
    });
    inside(&sandbox, &other, "true").code(0);
}

/// The first process of the namespaces is the machine's to kill as any other.
#[test]
fn a_task_whose_namespaces_are_gone_is_replaced() {
    let Some(sandbox) = isolated(&[]) else { return };
    let old = tasks(&sandbox);
    let space = Process::descendants(sandbox.pid())[0].pid;
    signal(space, "KILL");
    wait_for("another task", SOON, || {
        let listed = run(&mut sandbox.bowline(&["ls", "tasks", "-o", "name"]));
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        let known = old.iter().filter(|id| text.contains(&id[..12])).count();
        (text.lines().count() == 2 && known == 1).then_some(())
    });
}
