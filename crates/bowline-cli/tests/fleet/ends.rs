//! How runs end: exactly as their targets do, at the pace that was allowed, and at once when they are interrupted.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Running, SOON, Terminal, post, run, wait_for};
use crate::{active_sessions, calls, events, fates, outcomes, sandbox};

#[test]
fn exactly_what_was_made_to_fail_is_reported_and_no_call_is_throttled() {
    let sandbox = sandbox("60:3:2:1", &["--fault", "rate=ExecuteCommand:10/s:10"]);
    let mut command = sandbox.bowline(&[
        "exec",
        "--all",
        "--yes",
        "--timeout",
        "3s",
        "-o",
        "json",
        "fleet",
        "--",
        "hostname",
    ]);
    let finished = run(&mut command).code(5);
    let events = events(&finished);
    assert_eq!(
        (&events[0]["type"], &events[0]["schema"]),
        (&json!("fleet"), &json!(1))
    );
    assert_eq!(events[0]["targets"], 60);
    let expected = fates(&sandbox).into_iter().map(|(task, fate)| {
        let outcome = match fate.as_str() {
            "fine" => "ok",
            "fails" => "failed",
            "hangs" => "timed-out",
            other => other,
        };
        (task, outcome.to_owned())
    });
    assert_eq!(outcomes(&events), expected.collect());
    let [summary, exit] = &events[events.len() - 2..] else {
        panic!("no summary")
    };
    let counts = json!({"ok": 54, "failed": 3, "timed-out": 1, "unreachable": 2});
    assert_eq!(summary["counts"], counts);
    assert_eq!(
        exit,
        &json!({"type": "exit", "origin": "bowline", "code": 5})
    );
    let faults = post(&sandbox, "BowlineSandbox", "GetFaults", &json!({}));
    assert_eq!(faults["happened"]["throttled"], 0, "{faults}");
    assert!(
        finished
            .stderr
            .contains("60 targets: 54 ok, 3 failed, 1 timed-out, 2 unreachable"),
        "{}",
        finished.stderr
    );
    wait_for("the end of the session that hung", SOON, || {
        (active_sessions(&sandbox) == 0).then_some(())
    });
}

#[test]
fn an_interrupt_ends_every_session_and_starts_no_more() {
    let sandbox = sandbox("60", &[]);
    let mut command = sandbox.bowline(&[
        "exec", "--all", "--yes", "--rate", "20", "-o", "json", "fleet", "--", "sleep", "1000",
    ]);
    let mut running = Running::start_lines(&mut command);
    let mut started = 0;
    while started < 12 {
        started += usize::from(running.line().1.contains("\"started\""));
    }
    running.signal("INT");
    let at = Instant::now();
    let finished = running.finish(SOON).code(130);
    assert!(at.elapsed() < Duration::from_secs(10), "{:?}", at.elapsed());
    assert!(
        finished.stderr.contains("60 targets: 60 interrupted"),
        "{}",
        finished.stderr
    );
    wait_for("the end of all sessions", SOON, || {
        (active_sessions(&sandbox) == 0).then_some(())
    });
    assert!(calls(&sandbox, "ExecuteCommand") < 60);
}

#[test]
fn the_question_before_many_can_be_left() {
    let sandbox = sandbox("12", &[]);
    let words = ["exec", "--all", "fleet", "--", "true"];
    let mut terminal = Terminal::bowline(&sandbox, &words);
    terminal.until_shown("run it? [y/N]");
    terminal.press(b"\x03");
    let (status, _) = terminal.end();
    assert_eq!(status.code(), Some(130));
    assert_eq!(calls(&sandbox, "ExecuteCommand"), 0);
}

#[test]
fn enough_failures_end_it_and_what_failed_can_be_tried_again() {
    let sandbox = sandbox("8:8", &[]);
    let folder = tempfile::TempDir::new().unwrap();
    let failed = folder.path().join("failed");
    let failed = failed.to_str().unwrap();
    let words = [
        "exec",
        "--all",
        "--serial",
        "--fail-fast",
        "--save-failed",
        failed,
        "fleet",
        "--",
        "true",
    ];
    run(&mut sandbox.bowline(&words))
        .code(5)
        .stderr_has("8 targets: 1 failed, 7 skipped")
        .stderr_has("--retry-failed");
    assert_eq!(calls(&sandbox, "ExecuteCommand"), 1);
    assert_eq!(fs::read_to_string(failed).unwrap().lines().count(), 8);
    let again = [
        "exec",
        "--retry-failed",
        failed,
        "--max-fail",
        "50%",
        "--batch",
        "5",
        "--",
        "true",
    ];
    run(&mut sandbox.bowline(&again))
        .code(5)
        .stderr_has("8 targets: 5 failed, 3 skipped");
    assert_eq!(calls(&sandbox, "ExecuteCommand"), 6);
    fs::write(failed, "nonsense\n").unwrap();
    run(&mut sandbox.bowline(&again))
        .code(2)
        .stderr_has("line 1");
}

#[test]
fn throttled_starts_are_slowed_down_and_lose_nothing() {
    let sandbox = sandbox("20", &["--fault", "throttle=ExecuteCommand:8"]);
    let words = ["exec", "--all", "--yes", "fleet", "--", "true"];
    run(&mut sandbox.bowline(&words))
        .code(0)
        .stderr_has("20 targets: 20 ok");
}

#[test]
fn many_targets_need_a_word_where_nobody_can_be_asked() {
    let sandbox = sandbox("11", &[]);
    run(&mut sandbox.bowline(&["exec", "--all", "fleet", "--", "true"]))
        .code(2)
        .stderr_has("it would run true in 11 containers")
        .stderr_has("--yes");
    for (words, reason) in [
        (
            &["exec", "-i", "--all", "fleet", "--", "cat"][..],
            "-i is for one target",
        ),
        (
            &["exec", "-t", "--all", "fleet", "--", "top"],
            "-t is for one target",
        ),
        (
            &["exec", "--accounts", "all", "fleet", "--", "true"],
            "--role",
        ),
        (
            &["exec", "--role", "x", "--all", "fleet", "--", "true"],
            "--accounts",
        ),
        (&["exec", "--max", "0", "fleet", "--", "true"], "from 1 on"),
        (
            &["exec", "--max-fail", "200%", "fleet", "--", "true"],
            "percentage",
        ),
        (&["exec", "fleet", "true"], "behind `--`"),
        (
            &["exec", "--group", "-o", "json", "fleet", "--", "true"],
            "--group",
        ),
    ] {
        run(&mut sandbox.bowline(words)).code(2).stderr_has(reason);
    }
    assert_eq!(calls(&sandbox, "ExecuteCommand"), 0);
}
