//! Detached commands: they outlive whoever started them, and everything they said is heard once.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::{LATER, Running, Sandbox, Shared, post, run, run_unread, signal, wait_for};

/// Starts a job; its id.
#[track_caller]
fn start(sandbox: &Sandbox, command: &str) -> String {
    let finished =
        run(&mut sandbox.bowline(&["exec", "-d", "web", "--", "sh", "-c", command])).code(0);
    let id = String::from_utf8(finished.stdout).unwrap();
    assert!(id.starts_with("job-"), "{id}");
    id.trim_end().to_owned()
}

/// Where what is known here of jobs is kept.
fn records(sandbox: &Sandbox) -> PathBuf {
    let (_, home) = sandbox
        .environment()
        .find(|(name, _)| name == "HOME")
        .unwrap();
    Path::new(&home).join(".local/state/bowline/jobs")
}

#[test]
fn a_job_outlives_its_client_and_is_heard_once_and_whole() {
    let sandbox = Sandbox::start(&[]);
    let folder = TempDir::new().unwrap();
    let path = folder.path().to_str().unwrap();
    // It writes as the test lets it.
    let id = start(
        &sandbox,
        &format!(
            "for i in 1 2 3 4; do echo line $i; echo err $i >&2; while [ ! -e {path}/go$i ]; do sleep 0.05; done; done; exit 9"
        ),
    );
    let mut first = Running::start_lines(&mut sandbox.bowline(&["attach", &id]));
    assert_eq!(first.line().1, "line 1\n");
    fs::write(folder.path().join("go1"), "").unwrap();
    assert_eq!(first.line().1, "line 2\n");
    // What was delivered is written down right after it.
    wait_for("the offset", LATER, || {
        let records = fs::read_dir(records(&sandbox)).unwrap();
        let mut records =
            records.filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok());
        records
            .any(|text| text.contains("\"stdout\":14") && text.contains("\"stderr\":12"))
            .then_some(())
    });
    first.signal("KILL");
    let _ = first.wait(LATER);
    for step in ["go2", "go3"] {
        fs::write(folder.path().join(step), "").unwrap();
    }
    let mut again = sandbox.bowline(&["attach", &id]);
    let mut again = Running::start_lines(again.current_dir("/"));
    assert_eq!(again.line().1, "line 3\n");
    assert_eq!(again.line().1, "line 4\n");
    fs::write(folder.path().join("go4"), "").unwrap();
    let rest = again.finish(LATER).code(9);
    assert_eq!(String::from_utf8(rest.stdout).unwrap(), "line 3\nline 4\n");
    assert_eq!(rest.stderr, "err 3\nerr 4\n");
    run(&mut sandbox.bowline(&["attach", &id]))
        .code(9)
        .stdout("");
    run(&mut sandbox.bowline(&["attach", "--from-start", &id]))
        .code(9)
        .stdout("line 1\nline 2\nline 3\nline 4\n");
    run(&mut sandbox.bowline(&["jobs", "wait", &id])).code(9);
    let listed = run(&mut sandbox.bowline(&["jobs", "ls", "-o", "json"])).code(0);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(
        (&listed[0]["state"], &listed[0]["code"]),
        (&"ended".into(), &9.into())
    );
    run(&mut sandbox.bowline(&["jobs", "rm", &id])).code(0);
    run(&mut sandbox.bowline(&["attach", &id]))
        .code(125)
        .stderr_has("there is no job-");
    run(&mut sandbox.bowline(&["jobs", "ls"]))
        .code(0)
        .stdout("JOB  STATE  CONTAINER  COMMAND\n");
}

#[test]
fn a_job_can_be_ended_and_is_known_without_a_record() {
    let sandbox = Sandbox::start(&[]);
    let id = start(
        &sandbox,
        "trap 'echo ending; exit 5' TERM; echo on; while :; do sleep 0.1; done",
    );
    run(&mut sandbox.bowline(&["jobs", "rm", &id]))
        .code(1)
        .stderr_has("is running");
    // As on another machine: only the id is known.
    fs::remove_dir_all(records(&sandbox)).unwrap();
    run(&mut sandbox.bowline(&["jobs", "cancel", &id])).code(0);
    run(&mut sandbox.bowline(&["attach", &id]))
        .code(5)
        .stdout("on\nending\n");
    let stubborn = start(&sandbox, "trap '' TERM; while :; do sleep 0.1; done");
    run(&mut sandbox.bowline(&["jobs", "cancel", &stubborn])).code(0);
    run(&mut sandbox.bowline(&["jobs", "wait", &stubborn])).code(137);
    run(&mut sandbox.bowline(&["jobs", "wait", "job-00000000-000000"])).code(3);
    run(&mut sandbox.bowline(&["exec", "-d", "--sandbox", "web", "--", "true"]))
        .code(2)
        .stderr_has("bowline sandbox");
    let missing =
        run(&mut sandbox.bowline(&["exec", "-d", "web", "--", "no-such-program"])).code(0);
    let missing = String::from_utf8(missing.stdout).unwrap();
    run(&mut sandbox.bowline(&["attach", missing.trim_end()]))
        .code(127)
        .stderr_has("no-such-program");
}

#[test]
fn a_reader_that_leaves_a_job_is_no_success() {
    let sandbox = Shared::get();
    let id = start(&sandbox, "echo line; exit 0");
    for form in [
        &["attach", &id, "--from-start"][..],
        &["attach", &id, "--from-start", "-o", "json"],
    ] {
        run_unread(&mut sandbox.bowline(form)).code(141);
    }
}

#[test]
fn a_signal_leaves_a_job_and_says_so() {
    let sandbox = Sandbox::start(&[]);
    let id = start(&sandbox, "echo line; exec sleep 600");
    for (name, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let mut going =
            Running::start_lines(&mut sandbox.bowline(&["attach", "--from-start", &id]));
        assert_eq!(going.line().1, "line\n");
        going.signal(name);
        going.finish(LATER).code(code).stderr_has("goes on");
    }
    run(&mut sandbox.bowline(&["jobs", "cancel", &id])).code(0);
}

#[test]
fn a_container_that_does_not_answer_hides_no_other_jobs() {
    let sandbox = Sandbox::start(&["--accept-any-credentials"]);
    let listed = run(&mut sandbox.bowline(&["ls", "tasks", "-o", "json"])).code(0);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let tasks: Vec<String> = listed["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| {
            format!(
                "task:{}",
                task["taskArn"]
                    .as_str()
                    .unwrap()
                    .rsplit('/')
                    .next()
                    .unwrap()
            )
        })
        .collect();
    assert_eq!(tasks.len(), 2);
    for task in &tasks {
        run(&mut sandbox.bowline(&["exec", "-d", task, "--", "sleep", "600"])).code(0);
    }
    let refuse = |count: u32| {
        let body = serde_json::json!({"operation": "ExecuteCommand", "code": "AccessDeniedException", "count": count});
        post(&sandbox, "BowlineSandbox", "FailNext", &body);
    };
    let states = |stdout: &[u8]| {
        let text = std::str::from_utf8(stdout).unwrap().lines();
        let rows = text.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let mut states: Vec<String> = rows
            .map(|row| row["state"].as_str().unwrap().to_owned())
            .collect();
        states.sort();
        states
    };
    let words = ["jobs", "ls", "-o", "ndjson"];
    refuse(1);
    let one = run(&mut sandbox.bowline(&words))
        .code(0)
        .stderr_has("are not known: ");
    assert_eq!(states(&one.stdout), ["running", "unknown"]);
    refuse(2);
    let none = run(&mut sandbox.bowline(&words)).code(125);
    assert_eq!(states(&none.stdout), ["unknown", "unknown"]);
    let all = run(&mut sandbox.bowline(&words)).code(0);
    assert_eq!(states(&all.stdout), ["running", "running"]);
}

#[test]
fn a_guard_is_asked_before_jobs_are_removed() {
    let sandbox = Sandbox::start(&[]);
    let id = start(&sandbox, "true");
    let home = sandbox.environment().find(|(name, _)| name == "HOME");
    let home = Path::new(&home.unwrap().1).join(".config/bowline");
    fs::create_dir_all(&home).unwrap();
    let guard = "[[guard]]\nname = 'production'\ncluster = 'demo'\nconfirm = 'yes'\n";
    fs::write(home.join("config.toml"), guard).unwrap();
    run(&mut sandbox.bowline(&["jobs", "wait", &id])).code(0);
    run(&mut sandbox.bowline(&["jobs", "rm", &id]))
        .code(2)
        .stderr_has("PRODUCTION")
        .stderr_has("add --yes");
    run(&mut sandbox.bowline(&["jobs", "rm", &id, "--yes"])).code(0);
}

/// The pipe is full, and more is on its way in our memory: that comes again, and nothing else does.
#[test]
fn what_a_slow_reader_has_not_got_comes_again() {
    let sandbox = Sandbox::start(&[]);
    let id = start(&sandbox, "seq 1 100000; exit 0");
    run(&mut sandbox.bowline(&["jobs", "wait", &id])).code(0);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = sandbox.bowline(&["attach", &id]);
    let mut slow = command.stdin(Stdio::null()).stdout(writer).spawn().unwrap();
    drop(command);
    // Until nothing moves any more.
    let mut seen = (String::new(), Instant::now());
    wait_for("a reader that holds everything up", LATER, || {
        let file = records(&sandbox).join(format!("{id}.json"));
        let text = fs::read_to_string(file).unwrap();
        if text != seen.0 {
            seen = (text, Instant::now());
        }
        let stopped = !seen.0.contains("\"stdout\":0,");
        (stopped && seen.1.elapsed() > Duration::from_secs(2)).then_some(())
    });
    signal(slow.id(), "INT");
    assert_eq!(slow.wait().unwrap().code(), Some(130));
    let mut text = Vec::new();
    reader.read_to_end(&mut text).unwrap();
    let rest = run(&mut sandbox.bowline(&["attach", &id])).code(0);
    text.extend(rest.stdout);
    let lines: String = (1..=100_000).map(|line| format!("{line}\n")).collect();
    assert_eq!(text.len(), lines.len());
    assert!(text == lines.as_bytes());
}
