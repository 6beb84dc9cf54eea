//! When something between us and the command breaks: 125 and a reason, never 0, never a hang.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{Running, SOON, Sandbox, Shared, run};

/// Waits to be told, then kills the leader of the session: whatever the agent started on the terminal.
const KILL_WRAPPER: &str = "echo before; read go; read -r a b c d e leader rest </proc/$$/stat; \
                            kill -9 $leader; sleep 5";

#[test]
fn a_killed_wrapper_leaves_the_status_unknown() {
    let sandbox = Shared::get();
    let words = ["exec", "-i", "web", "--", "sh", "-c", KILL_WRAPPER];
    let mut command = sandbox.bowline(&words);
    let mut running = Running::start_lines(command.stdin(Stdio::piped()));
    assert_eq!(running.line().1, "before\n");
    running.stdin().write_all(b"go\n").unwrap();
    running.finish(SOON).code(125).stderr_has("status unknown");
}

#[test]
fn a_killed_sandbox_in_mid_output_is_incomplete_output() {
    let sandbox = Sandbox::start(&[]);
    let script = "i=0; while :; do i=$((i+1)); echo line $i; done";
    let mut running = Running::start_lines(&mut sandbox.bowline(&[
        "exec",
        "--reconnect-for",
        "2s",
        "web",
        "--",
        "sh",
        "-c",
        script,
    ]));
    for _ in 0..100 {
        running.line();
    }
    sandbox.kill();
    let killed = Instant::now();
    let finished = running
        .finish(SOON)
        .code(125)
        .stderr_has("output incomplete")
        .stderr_has("trying to restore the connection for up to 2 s")
        .stderr_has("the connection could not be restored within 2 s");
    assert!(
        killed.elapsed() < Duration::from_secs(15),
        "told only after {:?}",
        killed.elapsed()
    );
    // What did arrive is in order and whole up to where it was cut.
    let text = String::from_utf8(finished.stdout).unwrap();
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let expected = format!("line {}\n", number + 1);
        assert!(
            line == expected || (!line.ends_with('\n') && expected.starts_with(line)),
            "{line:?}"
        );
    }
}

#[test]
fn a_killed_sandbox_while_nothing_is_said_is_noticed_too() {
    let sandbox = Sandbox::start(&[]);
    let mut running = Running::start_lines(&mut sandbox.bowline(&[
        "exec",
        "--reconnect-for",
        "0",
        "web",
        "--",
        "sh",
        "-c",
        "echo up; sleep 600",
    ]));
    running.line();
    sandbox.kill();
    let killed = Instant::now();
    running.finish(SOON).code(125).stdout("up\n");
    assert!(
        killed.elapsed() < Duration::from_secs(15),
        "told only after {:?}",
        killed.elapsed()
    );
}

#[test]
fn a_third_session_is_told_why_it_is_silent() {
    let sandbox = Sandbox::start(&[]);
    let mut holders: Vec<Running> = (0..2)
        .map(|_| {
            let script = "echo holding; cat; exit 5";
            let mut command = sandbox.bowline(&["exec", "-i", "web", "--", "sh", "-c", script]);
            let mut running = Running::start_lines(command.stdin(Stdio::piped()));
            assert_eq!(running.line().1, "holding\n");
            running
        })
        .collect();

    let third = run(&mut sandbox.bowline(&["exec", "web", "--", "echo", "never"]));
    let third = third.code(125).stdout("").stderr_has("opened but silent");
    assert!(
        third
            .stderr
            .contains("2 sessions already active here (limit 2)"),
        "{}",
        third.stderr
    );
    // 15 s after the channel is up; the rest is this machine's own slowness.
    assert!(
        third.took < Duration::from_secs(25),
        "told only after {:?}",
        third.took
    );

    for mut holder in holders.drain(..) {
        holder.stdin().write_all(b"unharmed\n").unwrap();
        holder.finish(SOON).code(5).stdout("holding\nunharmed\n");
    }
    // The place is free again, and the one that gave up has not kept it.
    run(&mut sandbox.bowline(&["exec", "web", "--", "echo", "now"]))
        .code(0)
        .stdout("now\n");
}

#[test]
fn an_agent_that_is_not_ready_is_waited_for() {
    let sandbox = Sandbox::start(&["--agent-pending", "2s"]);
    run(&mut sandbox.bowline(&["exec", "web", "--", "echo", "up"]))
        .code(0)
        .stdout("up\n")
        .stderr_has("waiting for");
}

#[test]
fn a_target_that_is_not_there_is_125() {
    let sandbox = Shared::get();
    run(&mut sandbox.bowline(&["exec", "nobody", "--", "true"]))
        .code(125)
        .stdout("")
        .stderr_has("nobody");
    run(&mut sandbox.bowline(&["exec", "web", "--container", "sidecar", "--", "true"]))
        .code(125)
        .stdout("")
        .stderr_has("sidecar");
    run(&mut sandbox.bowline(&["exec", "--cluster", "elsewhere", "web", "--", "true"]))
        .code(125)
        .stdout("")
        .stderr_has("elsewhere");
}

#[test]
fn wrong_keys_are_125_and_never_shown() {
    let sandbox = Shared::get();
    let secret = "wrongSecretwrongSecretwrongSecretwrongSe";
    let mut command = sandbox.bowline(&["-vvv", "exec", "web", "--", "true"]);
    let finished = run(command.env("AWS_SECRET_ACCESS_KEY", secret))
        .code(125)
        .stdout("");
    assert!(
        !finished.stderr.contains(secret),
        "the secret is in the log"
    );
}

/// Kills the oldest process of this name among those that the session's leader started, then says more.
const KILL_TOOL: &str = "echo one; read go; read -r a b c d e leader rest </proc/$$/stat; \
                         for p in /proc/[0-9]*; do \
                         read -r name <$p/comm; [ \"$name\" = dd ] || continue; \
                         read -r i n s pp g l r <$p/stat; [ $l = $leader ] && kill -9 $i; \
                         done; echo two; echo three";

#[test]
fn a_tool_of_ours_that_is_killed_is_incomplete_output_and_no_success() {
    let sandbox = Shared::get();
    let mut command = sandbox.bowline(&["exec", "-i", "web", "--", "sh", "-c", KILL_TOOL]);
    let mut running = Running::start_lines(command.stdin(Stdio::piped()));
    assert_eq!(running.line().1, "one\n");
    running.stdin().write_all(b"go\n").unwrap();
    running
        .finish(SOON)
        .code(125)
        .stderr_has("output incomplete");
}

#[test]
fn a_command_that_signals_its_whole_group_leaves_the_wrapper_alone() {
    let sandbox = Shared::get();
    let script = "trap '' TERM; echo work; kill -TERM 0; exit 2";
    run(&mut sandbox.bowline(&["exec", "web", "--", "sh", "-c", script]))
        .code(2)
        .stdout("work\n");
}
