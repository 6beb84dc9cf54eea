//! `--sandbox`: a world of its own for one command, with nothing left behind.

use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::{BOWLINE, Process, Running, SOON, clean, run, run_with, wait_for};

struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// `bowline --sandbox` with settings around it that would break any other command.
    fn bowline(&self, words: &[&str]) -> Command {
        let mut command = clean(BOWLINE, self.0.path());
        command.arg("--sandbox").args(words).envs([
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
            ("AWS_ENDPOINT_URL_ECS", "http://127.0.0.1:9"),
            ("AWS_PROFILE", "no-such-profile"),
            ("AWS_ACCESS_KEY_ID", "wrong"),
            ("AWS_SECRET_ACCESS_KEY", "wrong"),
            ("AWS_SESSION_TOKEN", "wrong"),
            ("AWS_REGION", "nowhere-1"),
        ]);
        command
    }
}

#[test]
fn the_first_command_of_all() {
    let home = Home::new();
    run(&mut home.bowline(&[
        "exec",
        "web",
        "--",
        "sh",
        "-c",
        "echo out; echo err >&2; exit 7",
    ]))
    .code(7)
    .stdout("out\n")
    .stderr_has("err\n");
}

#[test]
fn with_input() {
    let home = Home::new();
    let mut command = home.bowline(&["exec", "-i", "web", "--", "sh", "-c", "cat; exit 3"]);
    run_with(&mut command, b"a\0b\xff".to_vec(), SOON)
        .code(3)
        .stdout(b"a\0b\xff");
}

#[test]
fn without_a_terminal_and_without_input() {
    let home = Home::new();
    let mut command = clean("setsid", home.0.path());
    command.args([
        "--wait",
        "/bin/sh",
        "-c",
        "exec \"$0\" \"$@\" <&-",
        BOWLINE,
        "--sandbox",
    ]);
    command.args(["exec", "web", "--", "sh", "-c", "echo out; exit 7"]);
    run(&mut command).code(7).stdout("out\n");
}

#[test]
fn it_lists_its_world() {
    let home = Home::new();
    for word in ["ls", "list"] {
        let finished = run(&mut home.bowline(&[word, "services", "-o", "json"])).code(0);
        let text = String::from_utf8(finished.stdout).unwrap();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(
            document.to_string().contains(r#""serviceName":"web""#),
            "{text}"
        );
    }
}

#[test]
fn nothing_is_left_when_it_ends() {
    let home = Home::new();
    let script = "sleep 600 >/dev/null 2>&1 & echo pid $!; read answer; exit 6";
    let mut command = home.bowline(&["exec", "-i", "web", "--", "sh", "-c", script]);
    let mut running = Running::start_lines(command.stdin(Stdio::piped()));
    let everything = family(&mut running);
    running.finish(SOON).code(6);
    for process in everything {
        process.wait_gone();
    }
}

#[test]
fn nothing_is_left_when_it_is_killed() {
    let home = Home::new();
    let script = "sleep 600 >/dev/null 2>&1 & echo pid $!; exec sleep 600";
    let mut running =
        Running::start_lines(&mut home.bowline(&["exec", "web", "--", "sh", "-c", script]));
    let everything = family(&mut running);
    running.signal("KILL");
    running.wait(SOON);
    for process in everything {
        process.wait_gone();
    }
}

#[test]
fn nothing_is_left_when_it_is_interrupted() {
    let home = Home::new();
    let script = "echo pid $$; exec sleep 600";
    let mut running =
        Running::start_lines(&mut home.bowline(&["exec", "web", "--", "sh", "-c", script]));
    let everything = family(&mut running);
    running.signal("TERM");
    running.wait(SOON);
    for process in everything {
        process.wait_gone();
    }
}

/// The process named by the first line, and every process below ours.
#[track_caller]
fn family(running: &mut Running) -> Vec<Process> {
    let (_, line) = running.line();
    let pid = line.trim().strip_prefix("pid ").unwrap().parse().unwrap();
    let named = Process::find(pid).unwrap();
    let mut everything = wait_for("a sandbox and its containers below us", SOON, || {
        let found = Process::descendants(running.pid());
        (found.len() >= 2).then_some(found)
    });
    if !everything.contains(&named) {
        everything.push(named);
    }
    everything
}
