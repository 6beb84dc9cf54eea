//! Output: complete, in order, however late and in whatever pieces it comes.

use std::fmt::Write as _;

use serde_json::Value;

use crate::control::{call, register, register_shared, running, sandbox};
use crate::support::{LATER, Running, Sandbox, Terminal, run, wait_for};

fn numbered(count: usize) -> String {
    (1..=count).fold(String::new(), |mut text, number| {
        writeln!(text, "line {number}").unwrap();
        text
    })
}

const COUNTING: &str = "i=1; while [ $i -le 2000 ]; do echo line $i; i=$((i+1)); done; exit 9";

#[test]
fn two_thousand_late_lines_come_once_and_in_order() {
    let sandbox = Sandbox::start(&[
        "--scenario",
        "log-delay=0.5-4",
        "--scenario",
        "log-pages=300",
    ]);
    let words = ["run", "family:job", "--", "sh", "-c", COUNTING];
    run(&mut sandbox.bowline(&words))
        .code(9)
        .stdout(numbered(2000));
}

#[test]
fn a_private_sandbox_shows_the_first_run_of_all() {
    let sandbox = Sandbox::start(&[]);
    let mut command =
        sandbox.bowline(&["--sandbox", "run", "family:job", "--", "sh", "-c", COUNTING]);
    run(&mut command).code(9).stdout(numbered(2000));
}

/// Nobody can know of lines that arrive later than anybody waits, but that there may be some is said.
#[test]
fn twenty_seconds_of_delay_are_said_or_waited_for() {
    let sandbox = Sandbox::start(&["--scenario", "log-delay=20"]);
    let words = [
        "run",
        "family:job",
        "--",
        "sh",
        "-c",
        "echo one; echo two; exit 9",
    ];
    let finished = run(&mut sandbox.bowline(&words)).code(9);
    assert!(finished.stdout.is_empty());
    finished.stderr_has("lines that come later: bowline logs task:");

    let patient = [&["run", "--log-wait", "40s"], &words[1..]].concat();
    let finished = Running::start(&mut sandbox.bowline(&patient)).finish(LATER);
    finished.code(9).stdout("one\ntwo\n");
}

#[test]
fn fifty_short_runs_each_give_their_line_and_their_code() {
    let sandbox = Sandbox::start(&["--fast-clock", "50"]);
    let one = |number: u32| {
        let millis = number * 37 % 200 + 1;
        let script = format!(
            "sleep 0.{millis:03}; echo run {number}; exit {}",
            number % 7
        );
        let words = [
            "run",
            "family:job",
            "--log-wait",
            "2s",
            "--",
            "sh",
            "-c",
            &script,
        ];
        let code = i32::try_from(number % 7).unwrap();
        run(&mut sandbox.bowline(&words))
            .code(code)
            .stdout(format!("run {number}\n"));
    };
    std::thread::scope(|scope| {
        for first in 0..10 {
            scope.spawn(move || (0..5).for_each(|round| one(first * 5 + round)));
        }
    });
}

#[test]
fn json_events_tell_the_whole_story() {
    let sandbox = Sandbox::start(&[]);
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let script = "echo hello; exit 3";
    let words = [
        "run",
        "family:job",
        "-o",
        "json",
        "--status-file",
        path,
        "--log-wait",
        "2s",
        "--",
        "sh",
        "-c",
        script,
    ];
    let finished = run(&mut sandbox.bowline(&words)).code(3);
    let text = String::from_utf8(finished.stdout).unwrap();
    let events: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let kinds: Vec<&str> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds.first(), Some(&"launched"), "{text}");
    let log = events.iter().find(|event| event["type"] == "log").unwrap();
    assert_eq!(
        (&log["message"], &log["container"]),
        (&"hello".into(), &"job".into())
    );
    let last = events.last().unwrap();
    assert_eq!(
        (&last["type"], &last["origin"], &last["code"]),
        (&"exit".into(), &"remote".into(), &3.into())
    );
    assert_eq!(last["tasks"][0]["exitCode"], 3);
    let status: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(&status, last);
}

#[test]
fn logs_show_what_there_was_and_follow_what_comes() {
    let sandbox = sandbox(&["--scenario", "log-delay=0.2-0.5"]);
    register(
        &sandbox,
        "talk",
        &[(
            "app",
            true,
            "echo first; echo other; sleep 3; echo second; exit 4",
        )],
    );
    let arn = run(&mut sandbox.bowline(&["run", "family:talk", "-d"])).code(0);
    let arn = String::from_utf8(arn.stdout).unwrap();
    let id = arn.trim().rsplit('/').next().unwrap();
    let target = format!("task:{id}");
    let mut following = Running::start_lines(&mut sandbox.bowline(&[
        "logs",
        "-f",
        "--no-prefix",
        "--exclude",
        "other",
        "--log-wait",
        "2s",
        &target,
    ]));
    assert_eq!(following.line().1, "first\n");
    assert_eq!(following.line().1, "second\n");
    // One task was named, so its end is the end.
    following.finish(LATER).code(0);

    let prefix = format!("{}/app ", &id[..8]);
    run(&mut sandbox.bowline(&["logs", "family:talk", "--tail", "2"]))
        .code(0)
        .stdout(format!("{prefix}other\n{prefix}second\n"))
        .stderr_has("no task runs; this is the last one that has stopped");
    run(&mut sandbox.bowline(&["logs", "family:talk", "--include", "^s", "--no-prefix"]))
        .code(0)
        .stdout("second\n");
    // To attach to what has ended is to hear all of it.
    run(&mut sandbox.bowline(&["attach", arn.trim()]))
        .code(4)
        .stdout("first\nother\nsecond\n");
    run(&mut sandbox.bowline(&["logs", "nope"]))
        .code(3)
        .stderr_has("nope was not found");
}

/// A service's tasks are replaced, and the reader does not notice.
#[test]
fn a_redeployment_is_followed() {
    let sandbox = sandbox(&["--scenario", "log-delay=0.1-0.3"]);
    register(&sandbox, "other", &[("app", true, "exec sleep 600")]);
    let subnets = serde_json::json!({"subnets": ["subnet-0a1b2c3d4e5f60001"]});
    let other = serde_json::json!({
        "cluster": "demo",
        "serviceName": "other",
        "taskDefinition": "other",
        "desiredCount": 1,
        "networkConfiguration": { "awsvpcConfiguration": subnets },
    });
    call(&sandbox, "CreateService", &other);
    let words = ["logs", "-f", "web", "other", "--log-wait", "2s"];
    let mut following = Running::start_lines(&mut sandbox.bowline(&words));
    let (one, two) = (following.line().1, following.line().1);
    assert!(
        one.contains("/app listening on") && two.contains("/app listening on"),
        "{one}{two}"
    );
    let before = running(&sandbox, "web");
    // That one of several targets disappears takes nothing away from the others.
    let body = serde_json::json!({"cluster": "demo", "service": "other", "force": true});
    call(&sandbox, "DeleteService", &body);
    call(
        &sandbox,
        "UpdateService",
        &serde_json::json!({"cluster": "demo", "service": "web", "forceNewDeployment": true}),
    );
    let mut fresh = Vec::new();
    while fresh.len() < 2 {
        let line = following.line().1;
        let id = line.split('/').next().unwrap().to_owned();
        let old = before.iter().any(|arn| arn.contains(&format!("/{id}")));
        if line.contains("listening on") && !old && !fresh.contains(&id) {
            fresh.push(id);
        }
    }
    crate::support::signal(following.pid(), "INT");
    following
        .finish(LATER)
        .code(130)
        .stderr_has("joins")
        .stderr_has("other is gone");
}

/// On EC2 all containers may write into one stream.
#[test]
fn a_stream_of_several_containers_is_read_until_the_last_has_ended() {
    let sandbox = sandbox(&[]);
    register_shared(
        &sandbox,
        "shared",
        &[
            ("side", false, "echo side"),
            ("app", true, "sleep 1; echo one; sleep 12; echo two; exit 4"),
        ],
    );
    let words = ["run", "family:shared", "--launch-type", "fargate"];
    run(&mut sandbox.bowline(&words))
        .code(4)
        .stdout("all side\nall one\nall two\n");
}

/// What cannot be read is not what was not written.
#[test]
fn reads_that_fail_are_said_and_are_no_empty_output() {
    let sandbox = sandbox(&[]);
    let fail = |code: &str, count: u32| {
        let body = serde_json::json!({"operation": "GetLogEvents", "code": code, "count": count});
        call(&sandbox, "FailNext", &body);
    };
    let faults = serde_json::json!({"throttle": ["GetLogEvents:100%"]});
    call(&sandbox, "SetFaults", &faults);
    let script = "echo hello; exit 9";
    let words = [
        "run",
        "family:job",
        "--log-wait",
        "4s",
        "--",
        "sh",
        "-c",
        script,
    ];
    run(&mut sandbox.bowline(&words))
        .code(9)
        .stderr_has("the output of container job could not be read to its end within 4 s");
    call(&sandbox, "SetFaults", &serde_json::json!({}));
    // Nothing of it, and a part of it.
    fail("AccessDeniedException", 2);
    run(&mut sandbox.bowline(&["logs", "web"]))
        .code(125)
        .stderr_has("nothing of the output could be read");
    fail("AccessDeniedException", 1);
    run(&mut sandbox.bowline(&["logs", "web"])).code(5);
    // What fails only at first is followed nevertheless.
    fail("ThrottlingException", 10);
    let arn = running(&sandbox, "web").pop().unwrap();
    let words = ["logs", "-f", arn.as_str(), "--since", "1h"];
    let mut following = Running::start_lines(&mut sandbox.bowline(&words));
    assert!(following.line().1.contains("listening on"));
    crate::support::signal(following.pid(), "INT");
    following.finish(LATER).code(130).stderr_has("still trying");
}

#[test]
fn more_streams_than_are_asked_one_by_one_are_followed_too() {
    let sandbox = sandbox(&["--scenario", "log-delay=0.1-0.3"]);
    let script = "echo up; while [ ! -e go ]; do sleep 0.1; done; i=0; while [ $i -lt 50 ]; do echo $i; i=$((i+1)); done; sleep 60";
    let script = script.replace("[ ! -e go ]", "false");
    let containers: Vec<(String, bool, String)> = (0..6)
        .map(|number| (format!("c{number}"), true, script.clone()))
        .collect();
    let containers: Vec<(&str, bool, &str)> = containers
        .iter()
        .map(|(name, essential, script)| (name.as_str(), *essential, script.as_str()))
        .collect();
    register(&sandbox, "many", &containers);
    let arn = run(&mut sandbox.bowline(&["run", "family:many", "-d"])).code(0);
    let arn = String::from_utf8(arn.stdout).unwrap();
    wait_for("the task", LATER, || {
        (!running(&sandbox, "many").is_empty()).then_some(())
    });
    for extra in [&[][..], &["--live"]] {
        let words = [&["logs", "-f", "--tail", "all", arn.trim()], extra].concat();
        let mut following = Running::start_lines(&mut sandbox.bowline(&words));
        let mut last = std::collections::BTreeMap::new();
        for _ in 0..6 * 51 {
            let line = following.line().1;
            let (who, text) = line.trim_end().split_once(' ').unwrap();
            let expected = last.get(who).map_or_else(
                || "up".to_owned(),
                |before: &String| match before.as_str() {
                    "up" => "0".to_owned(),
                    number => (number.parse::<u32>().unwrap() + 1).to_string(),
                },
            );
            assert_eq!(text, expected, "{who}");
            last.insert(who.to_owned(), expected);
        }
        crate::support::signal(following.pid(), "INT");
        following.finish(LATER).code(130);
    }
    let id = arn.trim().rsplit('/').next().unwrap();
    call(
        &sandbox,
        "StopTask",
        &serde_json::json!({"cluster": "demo", "task": id}),
    );
}

#[test]
fn a_terminal_shows_who_wrote_what_in_colour() {
    let sandbox = Sandbox::start(&[]);
    run(&mut sandbox.bowline(&["run", "family:job", "--log-wait", "2s"])).code(0);
    let words = ["logs", "family:job", "--highlight", "work"];
    let (status, text) = Terminal::bowline(&sandbox, &words).end();
    assert!(status.success(), "{text}");
    assert!(
        text.contains("/job\x1b[0m job: \x1b[1;7mwork\x1b[0ming\r\n"),
        "{text:?}"
    );
}
