//! Ctrl-C and other signals, at each phase: no task is left behind unless that is said.

use crate::control::{call, running, sandbox};
use crate::support::{LATER, Running, Sandbox, Terminal, signal, wait_for};

const SLEEPER: [&str; 8] = [
    "run",
    "family:job",
    "--log-wait",
    "1s",
    "--",
    "sh",
    "-c",
    "echo up; exec sleep 600",
];

#[track_caller]
fn none_left(sandbox: &Sandbox) {
    wait_for("no task", LATER, || {
        running(sandbox, "job").is_empty().then_some(())
    });
}

#[test]
fn without_a_terminal_a_signal_stops_the_task_at_once() {
    let sandbox = sandbox(&[]);
    for (name, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let mut going = Running::start_lines(&mut sandbox.bowline(&SLEEPER));
        assert_eq!(going.line().1, "up\n");
        signal(going.pid(), name);
        going
            .finish(LATER)
            .code(code)
            .stderr_has("stopping: bowline run: ");
        none_left(&sandbox);
    }
}

#[test]
fn a_second_signal_leaves_and_names_the_task() {
    let sandbox = sandbox(&[]);
    let script = "trap '' TERM; echo up; sleep 5";
    let words = [&SLEEPER[..7], &[script]].concat();
    let mut going = Running::start_lines(&mut sandbox.bowline(&words));
    assert_eq!(going.line().1, "up\n");
    signal(going.pid(), "TERM");
    none_left(&sandbox);
    signal(going.pid(), "INT");
    going
        .finish(LATER)
        .code(130)
        .stderr_has("left; asked to stop: arn:aws:ecs:");
}

/// While the image is pulled there is a task, and no process yet.
#[test]
fn a_signal_before_the_container_runs_leaves_nothing() {
    let sandbox = sandbox(&["--scenario", "pull=600"]);
    let going = Running::start_lines(&mut sandbox.bowline(&SLEEPER));
    wait_for("the task", LATER, || {
        (!running(&sandbox, "job").is_empty()).then_some(())
    });
    signal(going.pid(), "INT");
    going.finish(LATER).code(130).stderr_has("stopping: ");
    none_left(&sandbox);
}

#[test]
fn on_a_terminal_ctrl_c_asks() {
    let sandbox = sandbox(&[]);
    for (answer, code) in [("\r", 130), ("y\r", 130)] {
        let mut terminal = Terminal::bowline(&sandbox, &SLEEPER);
        terminal.until("up\r\n");
        terminal.press(b"\x03");
        terminal.until("stop the task? [Y/n]");
        terminal.press(answer.as_bytes());
        let (status, text) = terminal.end();
        assert_eq!(status.code(), Some(code), "{text}");
        none_left(&sandbox);
    }
    // No means no; and twice Ctrl-C leaves it, with the words to come back.
    let mut terminal = Terminal::bowline(&sandbox, &SLEEPER);
    terminal.until("up\r\n");
    terminal.press(b"\x03");
    terminal.until("stop the task? [Y/n]");
    terminal.press(b"n\r");
    terminal.until("it goes on; Ctrl-C asks again");
    assert_eq!(running(&sandbox, "job").len(), 1);
    terminal.press(b"\x03");
    terminal.until_nth("stop the task? [Y/n]", 2);
    terminal.press(b"\x03");
    let (status, text) = terminal.end();
    assert_eq!(status.code(), Some(130), "{text}");
    assert!(text.contains("left running: arn:aws:ecs:"), "{text}");
    let task = running(&sandbox, "job").pop().unwrap();
    call(
        &sandbox,
        "StopTask",
        &serde_json::json!({"cluster": "demo", "task": task}),
    );
    none_left(&sandbox);
}

#[test]
fn attach_leaves_what_it_did_not_start() {
    let sandbox = sandbox(&[]);
    let started = crate::support::run(&mut sandbox.bowline(&[
        "run",
        "family:job",
        "-d",
        "--",
        "sh",
        "-c",
        "echo up; exec sleep 600",
    ]));
    let arn = String::from_utf8(started.code(0).stdout).unwrap();
    let id = arn.trim().rsplit('/').next().unwrap();
    let mut going = Running::start_lines(&mut sandbox.bowline(&["attach", &id[..12]]));
    assert_eq!(going.line().1, "up\n");
    signal(going.pid(), "INT");
    going
        .finish(LATER)
        .code(130)
        .stderr_has("left running: arn:aws:ecs:");
    assert_eq!(running(&sandbox, "job").len(), 1);
    let mut going =
        Running::start_lines(&mut sandbox.bowline(&["attach", "--stop", "--log-wait", "1s", id]));
    assert_eq!(going.line().1, "up\n");
    signal(going.pid(), "INT");
    going.finish(LATER).code(130);
    none_left(&sandbox);
}

#[test]
fn a_signal_while_a_detached_task_is_asked_for_leaves_nothing() {
    let sandbox = sandbox(&["--fault", "latency=RunTask:3s"]);
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let mut terminal =
            Terminal::bowline(&sandbox, &["run", "family:job", "-d", "--", "sleep", "600"]);
        // The last word before RunTask.
        terminal.until("runs in the network of");
        signal(terminal.pid(), name);
        let (status, text) = terminal.end();
        assert_eq!(status.code(), Some(code), "{text}");
        assert!(text.contains("is being stopped"), "{text}");
        none_left(&sandbox);
    }
}

#[test]
fn the_question_of_a_guard_is_left_by_ctrl_c() {
    let sandbox = sandbox(&[]);
    let home = sandbox.environment().find(|(name, _)| name == "HOME");
    let home = std::path::Path::new(&home.unwrap().1).join(".config/bowline");
    std::fs::create_dir_all(&home).unwrap();
    let guard = "[[guard]]\nname = 'production'\ncluster = 'demo'\nconfirm = 'yes'\n";
    std::fs::write(home.join("config.toml"), guard).unwrap();
    let mut terminal = Terminal::bowline(&sandbox, &SLEEPER);
    terminal.until("go on? (yes or no)");
    terminal.press(b"\x03");
    let (status, text) = terminal.end();
    assert_eq!(status.code(), Some(130), "{text}");
    assert!(text.contains("nothing was started"), "{text}");
    none_left(&sandbox);
}

/// More refusals than one call makes attempts.
#[test]
fn a_stop_that_fails_for_now_is_asked_for_again() {
    let sandbox = sandbox(&[]);
    let fail = |code: &str, count: u32| {
        let body = serde_json::json!({"operation": "StopTask", "code": code, "count": count});
        call(&sandbox, "FailNext", &body);
    };
    let mut going = Running::start_lines(&mut sandbox.bowline(&SLEEPER));
    assert_eq!(going.line().1, "up\n");
    fail("ThrottlingException", 10);
    signal(going.pid(), "INT");
    going
        .finish(LATER)
        .code(130)
        .stderr_has("the task could not be asked to stop just now (ecs:StopTask: Rate exceeded");
    none_left(&sandbox);
    // What a permission would have to allow is said only where one is missing.
    let mut going = Running::start_lines(&mut sandbox.bowline(&SLEEPER));
    assert_eq!(going.line().1, "up\n");
    fail("AccessDeniedException", 1);
    signal(going.pid(), "INT");
    going
        .finish(LATER)
        .code(125)
        .stderr_has("it goes on: arn:aws:ecs:")
        .stderr_has("the caller needs the permission ecs:StopTask");
    assert_eq!(running(&sandbox, "job").len(), 1);
}
