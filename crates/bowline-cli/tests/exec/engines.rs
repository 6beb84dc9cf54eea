//! The engines by name, time limits, the status file, and what the service does to idle sessions.

use std::fs;

use crate::support::{Sandbox, Shared, run};

const OUT_ERR_7: &str = "echo out; echo err >&2; exit 7";

#[test]
fn plain_keeps_the_streams_apart_and_undoes_the_agents_damage() {
    let sandbox = Sandbox::start(&["--agent", "stock"]);
    let script = "printf 'a\\357\\277\\275b\\n'; echo err >&2; exit 7";
    run(&mut sandbox.bowline(&["exec", "--engine", "plain", "web", "--", "sh", "-c", script]))
        .code(7)
        .stdout("a\u{fffd}b\n")
        .stderr_has("err\n");
}

#[test]
fn plain_delivers_much_text_whole_and_in_order() {
    let sandbox = Shared::get();
    let expected: String = (1..=200_000).map(|n| format!("{n}\n")).collect();
    run(&mut sandbox.bowline(&["exec", "--engine", "plain", "web", "--", "seq", "200000"]))
        .code(0)
        .stdout(expected);
}

#[test]
fn native_brings_both_streams_and_the_code_from_the_agent() {
    let sandbox = Shared::get();
    run(&mut sandbox.bowline(&["exec", "--via", "ssm", "web", "--", "sh", "-c", OUT_ERR_7]))
        .code(7)
        .stdout("out\n")
        .stderr_has("err\n");
}

#[test]
fn contradictions_are_usage_errors_with_the_way_out() {
    let sandbox = Shared::get();
    for flags in [
        &["--engine", "plain", "-i"][..],
        &["--engine", "framed", "-t"],
        &["--via", "ssm", "-i"],
    ] {
        let words = [&["exec"][..], flags, &["web", "--", "true"]].concat();
        run(&mut sandbox.bowline(&words))
            .code(2)
            .stdout("")
            .stderr_has("hint: ");
    }
}

#[test]
fn a_time_limit_is_124_and_the_status_file_says_whose_code_it_is() {
    let sandbox = Shared::get();
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("status");
    let path = file.to_str().unwrap();
    let words = [
        "exec",
        "--timeout",
        "1s",
        "--status-file",
        path,
        "web",
        "--",
        "sh",
        "-c",
        "echo on; sleep 600",
    ];
    run(&mut sandbox.bowline(&words))
        .code(124)
        .stdout("on\n")
        .stderr_has("did not end within 1 s");
    assert!(
        fs::read_to_string(&file)
            .unwrap()
            .contains(r#""origin":"bowline""#)
    );
    run(&mut sandbox.bowline(&[
        "exec",
        "--status-file",
        path,
        "web",
        "--",
        "sh",
        "-c",
        "exit 125",
    ]))
    .code(125);
    let said = fs::read_to_string(&file).unwrap();
    assert!(
        said.contains(r#""code":125"#) && said.contains(r#""origin":"remote""#),
        "{said}"
    );
}

/// 45 minutes of silence on a clock that runs a thousand times as fast.
#[test]
fn a_silent_command_is_kept_alive_and_without_that_its_end_is_explained() {
    let sandbox = Sandbox::start(&["--fast-clock", "1000"]);
    let silent = ["web", "--", "sh", "-c", "sleep 2.7; exit 7"];
    let kept = [&["exec", "--keep-alive", "300ms"][..], &silent].concat();
    run(&mut sandbox.bowline(&kept)).code(7);
    let left = [&["exec", "--keep-alive", "0"][..], &silent].concat();
    run(&mut sandbox.bowline(&left))
        .code(125)
        .stderr_has("status unknown")
        .stderr_has("--keep-alive prevents that");
}
