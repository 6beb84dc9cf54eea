//! How a command ends, and what the exit code says about it.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Process, Running, SOON, Sandbox, Shared, post, run, run_unread, wait_for};

#[test]
fn codes_pass_through_unchanged() {
    let sandbox = Shared::get();
    for code in [0, 1, 2, 3, 42, 124, 125, 130, 254, 255] {
        let script = format!("exit {code}");
        run(&mut sandbox.bowline(&["exec", "web", "--", "sh", "-c", &script]))
            .code(code)
            .stdout("");
    }
}

#[test]
fn a_program_that_is_not_there_is_127() {
    let sandbox = Shared::get();
    run(&mut sandbox.bowline(&["exec", "web", "--", "no-such-program"]))
        .code(127)
        .stdout("");
    run(&mut sandbox.bowline(&["exec", "web", "--", "/no/such/program"]))
        .code(127)
        .stdout("");
}

#[test]
fn a_file_that_cannot_be_executed_is_126() {
    let sandbox = Shared::get();
    run(&mut sandbox.bowline(&["exec", "web", "--", "/etc/passwd"]))
        .code(126)
        .stdout("");
    run(&mut sandbox.bowline(&["exec", "web", "--", "/tmp"]))
        .code(126)
        .stdout("");
}

#[test]
fn a_signal_is_128_and_its_number() {
    let sandbox = Shared::get();
    for (name, code) in [("TERM", 143), ("KILL", 137), ("INT", 130)] {
        let script = format!("echo before; kill -{name} $$; echo never");
        run(&mut sandbox.bowline(&["exec", "web", "--", "sh", "-c", &script]))
            .code(code)
            .stdout("before\n");
    }
}

/// A background child that keeps no stream open does not hold the command up.
#[test]
fn a_silent_background_child_does_not_delay_the_end() {
    let sandbox = Shared::get();
    let script = "sleep 600 >/dev/null 2>&1 & echo pid $!; exit 8";
    let finished = run(&mut sandbox.bowline(&["exec", "web", "--", "sh", "-c", script])).code(8);
    let text = String::from_utf8(finished.stdout).unwrap();
    let pid = text.trim().strip_prefix("pid ").unwrap().parse().unwrap();
    if Process::find(pid).is_some() {
        crate::support::signal(pid, "KILL");
    }
}

#[test]
fn a_reader_that_leaves_ends_the_remote() {
    let sandbox = Shared::get();
    let script = "echo pid $$; while :; do echo more output; done";
    let mut running =
        Running::start_lines(&mut sandbox.bowline(&["exec", "web", "--", "sh", "-c", script]));
    let remote = remote_process(&mut running);
    running.hang_up();
    running.finish(SOON).code(141);
    remote.wait_gone();
}

#[test]
fn exec_piped_into_head_ends_promptly() {
    let sandbox = Shared::get();
    let mut command = sandbox.command("bash");
    let script =
        "\"$0\" exec web -- sh -c 'while :; do echo y; done' | head -1; echo ${PIPESTATUS[0]}";
    command.args(["-c", script, crate::support::BOWLINE]);
    run(&mut command).code(0).stdout("y\n141\n");
}

/// The last line cannot be written either, and what is left is the code.
#[test]
fn events_that_nobody_reads_are_no_success() {
    let sandbox = Shared::get();
    for command in ["true", "false"] {
        let words = ["exec", "-o", "json", "web", "--", command];
        run_unread(&mut sandbox.bowline(&words)).code(141);
    }
}

#[test]
fn terminating_us_ends_the_remote() {
    for name in ["TERM", "HUP"] {
        let sandbox = Shared::get();
        let mut command = sandbox.bowline(&[
            "exec",
            "web",
            "--",
            "sh",
            "-c",
            "echo pid $$; exec sleep 600",
        ]);
        let mut running = Running::start_lines(command.stdin(Stdio::null()));
        let remote = remote_process(&mut running);
        running.signal(name);
        let status = running.wait(SOON);
        assert!(!status.success(), "{status}");
        remote.wait_gone();
    }
}

#[test]
fn a_second_interrupt_leaves_and_ends_the_remote() {
    let sandbox = Shared::get();
    let script = "trap '' INT; echo pid $$; while :; do sleep 0.1; done";
    let mut command = sandbox.bowline(&["exec", "web", "--", "sh", "-c", script]);
    let mut running = Running::start_lines(command.stdin(Stdio::null()));
    let remote = remote_process(&mut running);
    running.signal("INT");
    running.signal("INT");
    // Two signals sent back to back may merge into one: now and then one more until it has left.
    let mut last = Instant::now();
    wait_for("it leaves", SOON, || {
        if running.has_ended() {
            return Some(());
        }
        if last.elapsed() > Duration::from_secs(3) {
            running.signal("INT");
            last = Instant::now();
        }
        None
    });
    running.finish(SOON).code(130);
    remote.wait_gone();
}

/// A session that is on its way when its user leaves is ended when it comes.
#[test]
fn a_signal_while_the_session_is_asked_for_leaves_none() {
    let slow = "latency=ExecuteCommand:700ms";
    let sandbox = Sandbox::start(&["--accept-any-credentials", "--fault", slow]);
    let sessions = |state: &str| {
        let wanted = json!({ "State": state });
        let answer = post(&sandbox, "AmazonSSM", "DescribeSessions", &wanted);
        answer["Sessions"].as_array().unwrap().len()
    };
    let asked = || post(&sandbox, "BowlineSandbox", "CountCalls", &json!({}));
    for (number, (name, code)) in [("INT", 130), ("TERM", 143), ("HUP", 129)]
        .into_iter()
        .enumerate()
    {
        let mut command = sandbox.bowline(&["exec", "web", "--", "sleep", "600"]);
        let running = Running::start(command.stdin(Stdio::null()));
        wait_for("the call", SOON, || {
            let asked = asked();
            let count = asked["calls"]["ExecuteCommand"].as_u64();
            (count == Some(number as u64 + 1)).then_some(())
        });
        running.signal(name);
        running.finish(SOON).code(code);
        // Told to end, a session is active until its agent has let go of it.
        wait_for("the session's end", SOON, || {
            (sessions("Active") == 0).then_some(())
        });
        assert_eq!(sessions("History"), number + 1, "after {name}");
    }
}

/// An interrupt without a terminal: the remote command gets it and its last words still arrive.
#[test]
fn an_interrupt_reaches_the_remote_and_its_last_words_arrive() {
    let sandbox = Shared::get();
    let script = "sleep 600 >/dev/null 2>&1 & p=$!; trap 'echo last words; kill $p; exit 9' INT; echo ready; wait";
    let mut command = sandbox.bowline(&["exec", "web", "--", "sh", "-c", script]);
    let mut running = Running::start_lines(command.stdin(Stdio::null()));
    assert_eq!(running.line().1, "ready\n");
    running.signal("INT");
    running.finish(SOON).code(9).stdout("ready\nlast words\n");
}

/// The remote's first line says its process id; containers are processes of this machine.
#[track_caller]
fn remote_process(running: &mut Running) -> Process {
    let (_, line) = running.line();
    let pid = line.trim().strip_prefix("pid ").unwrap().parse().unwrap();
    Process::find(pid).unwrap()
}

#[test]
fn a_stderr_that_cannot_be_written_is_no_success() {
    let sandbox = Shared::get();
    let mut full = sandbox.command("/bin/sh");
    full.args([
        "-c",
        "exec \"$0\" \"$@\" 2>/dev/full",
        crate::support::BOWLINE,
    ]);
    full.args(["exec", "web", "--", "sh", "-c", "echo lost >&2"]);
    run(&mut full).code(125);
}

#[test]
fn a_stopped_reader_of_stderr_does_not_keep_us_from_leaving() {
    let sandbox = Shared::get();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = sandbox.bowline(&["exec", "web", "--", "sh", "-c", "echo on; yes >&2"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(writer)
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(child.stdout.take().unwrap()),
        &mut line,
    )
    .unwrap();
    assert_eq!(line, "on\n");
    crate::support::signal(child.id(), "TERM");
    let status = wait_for("bowline to leave", SOON, || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(143));
    drop(reader);
}
