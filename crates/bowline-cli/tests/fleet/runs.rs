//! `run` on many targets: one fresh task of each, seen through to its end, and none left behind.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Finished, LATER, Running, SOON, Sandbox, post, run, wait_for};
use crate::{ECS, calls, events};

/// Services without a running task.
const SHOP: &str = r#"
families:
  - name: two
    containers:
      - {name: app, image: app, command: [sh, -c, "echo from two"]}
      - {name: side, image: side, command: [sleep, "1000"]}
  - name: good
    containers:
      - {name: app, image: app, command: [sh, -c, "echo same"]}
  - name: bad
    containers:
      - {name: app, image: app, command: [sh, -c, "echo same; exit 3"]}
clusters:
  - name: shop
    services:
      - {name: web-a, family: two, desired: 0}
      - {name: web-b, family: good, desired: 0}
      - {name: good, family: good, desired: 0}
      - {name: bad, family: bad, desired: 0}
  - name: stock
    services:
      - {name: good, family: good, desired: 0}
"#;

fn shop() -> (Sandbox, TempDir) {
    let folder = TempDir::new().unwrap();
    let world = folder.path().join("world.yaml");
    fs::write(&world, SHOP).unwrap();
    let options = [
        "--accept-any-credentials",
        "--world",
        world.to_str().unwrap(),
    ];
    (Sandbox::start(&options), folder)
}

fn stdout(finished: &Finished) -> String {
    String::from_utf8(finished.stdout.clone()).unwrap()
}

/// The tasks that nobody has asked to stop.
fn going(sandbox: &Sandbox, cluster: &str) -> Vec<Value> {
    let input = json!({"cluster": cluster, "desiredStatus": "RUNNING"});
    let listed = post(sandbox, ECS, "ListTasks", &input);
    listed["taskArns"].as_array().unwrap().clone()
}

/// How each ended, by its label.
fn ends(events: &[Value]) -> Vec<(String, String)> {
    let ended = events.iter().filter(|event| event["type"] == "ended");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut ends: Vec<_> = ended
        .map(|event| (text(&event["target"]), text(&event["outcome"])))
        .collect();
    ends.sort();
    ends
}

#[test]
fn each_service_stands_for_one_task_and_needs_none_that_runs() {
    let (sandbox, _folder) = shop();
    for (words, labels) in [
        (
            &["-c", "shop", "web-*"][..],
            &["shop/web-a", "shop/web-b"][..],
        ),
        (&["*/good"], &["shop/good", "stock/good"]),
        (&["shop/web-a", "shop/web-*"], &["shop/web-a", "shop/web-b"]),
        (
            &["family:shop/good", "family:shop/good:1", "shop/good"],
            &["shop/good", "shop/good:1"],
        ),
        (
            &["--all", "-c", "shop"],
            &["shop/bad", "shop/good", "shop/web-a", "shop/web-b"],
        ),
    ] {
        let words = [&["run", "--no-logs", "-o", "json"], words, &["--", "true"]].concat();
        let ends = ends(&events(&run(&mut sandbox.bowline(&words)).code(0)));
        let expected: Vec<(String, String)> = labels
            .iter()
            .map(|label| ((*label).to_owned(), "ok".to_owned()))
            .collect();
        assert_eq!(ends, expected, "{words:?}");
    }
    run(&mut sandbox.bowline(&["run", "-c", "shop", "nothing-*"]))
        .code(125)
        .stderr_has("no service of cluster shop matches nothing-*");
    run(&mut sandbox.bowline(&["run", "-c", "shop", "good", "true"]))
        .code(125)
        .stderr_has("neither a service true")
        .stderr_has("a command stands behind `--`");
    let before = calls(&sandbox, "RunTask");
    assert_eq!(before, 12, "nothing is started if a word is wrong");

    let words = ["run", "shop/web-a", "shop/web-b", "--log-wait", "1s"];
    let finished = run(&mut sandbox.bowline(&words)).code(0);
    let text = stdout(&finished);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        ["shop/web-a | app | from two", "shop/web-b | same"],
        "the container where there are several"
    );
    assert!(going(&sandbox, "shop").is_empty());
}

#[test]
fn what_failed_is_told_and_can_be_tried_again() {
    let (sandbox, folder) = shop();
    let file = folder.path().join("failed");
    let failed = file.to_str().unwrap();
    let words = ["run", "--log-wait", "1s", "--save-failed", failed];
    let targets = ["-c", "shop", "-o", "json", "good", "bad"];
    let finished = run(&mut sandbox.bowline(&[&words[..], &targets].concat()))
        .code(5)
        .stderr_has("2 targets: 1 ok, 1 failed");
    let seen = events(&finished);
    assert_eq!(
        (&seen[0]["type"], &seen[0]["targets"]),
        (&json!("fleet"), &json!(2))
    );
    let bad = seen
        .iter()
        .find(|event| event["type"] == "ended" && event["target"] == "shop/bad")
        .unwrap();
    assert_eq!(
        (
            &bad["outcome"],
            &bad["code"],
            &bad["service"],
            &bad["container"]
        ),
        (&json!("failed"), &json!(3), &json!("bad"), &json!("app"))
    );
    assert!(bad["taskArn"].as_str().unwrap().contains(":task/shop/"));
    assert!(bad["taskDefinition"].as_str().unwrap().ends_with("/bad:1"));
    let started = |event: &&Value| event["type"] == "started" && event["target"] == "shop/bad";
    assert_eq!(
        seen.iter().find(started).unwrap()["taskArn"],
        bad["taskArn"]
    );
    let output = |event: &&Value| event["type"] == "stdout" && event["target"] == "shop/bad";
    assert_eq!(seen.iter().find(output).unwrap()["text"], "same\n");
    let exit = json!({"type": "exit", "origin": "bowline", "code": 5});
    assert_eq!(seen.last(), Some(&exit));

    let kept = fs::read_to_string(&file).unwrap();
    let kept: Value = serde_json::from_str(&kept).unwrap();
    let again = json!({"target": "shop/bad", "run": "service:shop/bad", "region": "us-east-1"});
    assert_eq!(kept, again);
    run(&mut sandbox.bowline(&["exec", "--retry-failed", failed, "--", "true"]))
        .code(2)
        .stderr_has("line 1")
        .stderr_has("bowline run --retry-failed");
    run(&mut sandbox.bowline(&["run", "--retry-failed", failed, "--no-logs"]))
        .code(5)
        .stderr_has("1 target: 1 failed");
    run(&mut sandbox.bowline(&["run", "--retry-failed", failed, "--no-logs", "--", "true"]))
        .code(0)
        .stderr_has("1 target: 1 ok");

    let words = ["run", "-c", "shop", "--group", "--log-wait", "1s"];
    let targets = ["*/good", "web-b", "bad"];
    let finished = run(&mut sandbox.bowline(&[&words[..], &targets].concat())).code(5);
    let text = stdout(&finished);
    assert!(
        text.starts_with("== 3 targets, ok: shop/good, shop/web-b, stock/good\nsame\n"),
        "{text}"
    );
    assert!(
        text.contains("== 1 target, exit code 3: shop/bad\n"),
        "{text}"
    );
}

#[test]
fn an_account_that_refuses_does_not_keep_the_others_from_running() {
    let sandbox = Sandbox::start(&[
        "--accept-any-credentials",
        "--scenario",
        "accounts=3",
        "--scenario",
        "denied-account=2",
        "--scenario",
        "regions=eu-west-1",
    ]);
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("failed");
    let failed = file.to_str().unwrap();
    let words = [
        "run",
        "family:web",
        "--like",
        "web",
        "--accounts",
        "all",
        "--role",
        "operations",
        "--regions",
        "all",
        "--log-wait",
        "1s",
        "--save-failed",
        failed,
        "-o",
        "json",
        "--",
        "echo",
        "hi",
    ];
    let finished = run(&mut sandbox.bowline(&words)).code(5);
    let seen = events(&finished);
    let label = |account: &str, region: &str| format!("account-{account}:{region}:demo/web:1");
    let mut expected = Vec::new();
    for account in ["001", "003"] {
        for region in ["eu-west-1", "us-east-1"] {
            expected.push((label(account, region), "ok".to_owned()));
        }
    }
    assert_eq!(ends(&seen), expected);
    let problems = seen[0]["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].to_string().contains("AccessDenied"));

    let kept = fs::read_to_string(&file).unwrap();
    assert_eq!(kept.lines().count(), 2, "{kept}");
    let place: Value = serde_json::from_str(kept.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&place["run"], &place["patterns"]),
        (&json!(true), &json!(["family:web"]))
    );
    // Another account in its place is searched, and what is there is run.
    fs::write(&file, kept.replace("200000000002", "200000000003")).unwrap();
    let words = [
        "run",
        "--retry-failed",
        failed,
        "--like",
        "web",
        "--no-logs",
        "--",
        "true",
    ];
    run(&mut sandbox.bowline(&words))
        .code(0)
        .stderr_has("2 targets: 2 ok");
}

#[test]
fn what_was_not_started_is_told_from_what_may_have_been() {
    let (sandbox, folder) = shop();
    let control = |operation: &str, body: &Value| {
        post(&sandbox, "BowlineSandbox", operation, body);
    };
    control(
        "FailRunTask",
        &json!({"reason": "RESOURCE:CPU", "count": 1}),
    );
    let words = ["run", "--no-logs", "shop/good", "stock/good"];
    run(&mut sandbox.bowline(&[&words[..], &["--serial", "--fail-fast"]].concat()))
        .code(5)
        .stderr_has("unreachable shop/good")
        .stderr_has("2 targets: 1 unreachable, 1 skipped");
    // As many refusals as the SDK repeats a call.
    let throttled = json!({"operation": "RunTask", "code": "ThrottlingException", "count": 8});
    control("FailNext", &throttled);
    run(&mut sandbox.bowline(&["run", "--no-logs", "--group", "shop/good"]))
        .code(0)
        .stderr_has("it is tried again")
        .stderr_has("1 target: 1 ok");

    let file = folder.path().join("failed");
    let failed = file.to_str().unwrap();
    let lost = json!({"operation": "RunTask", "code": "ServerException", "count": 8});
    control("FailNext", &lost);
    let keep = ["run", "--no-logs", "stock/good", "--save-failed", failed];
    let finished = run(&mut sandbox.bowline(&keep))
        .code(5)
        .stderr_has("1 target: 1 unknown")
        .stderr_has("a task may have been started in stock, with client token ");
    let kept: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let token = kept["clientToken"].as_str().unwrap();
    assert!(finished.stderr.contains(token));
    let again = ["run", "--no-logs", "--retry-failed", failed];
    let before = calls(&sandbox, "RunTask");
    let first = run(&mut sandbox.bowline(&[&again[..], &["-o", "json"]].concat())).code(0);
    let second = run(&mut sandbox.bowline(&[&again[..], &["-o", "json"]].concat())).code(0);
    let arn = |finished: &Finished| {
        let seen = events(finished);
        let ended = seen.iter().find(|event| event["type"] == "ended").unwrap();
        ended["taskArn"].as_str().unwrap().to_owned()
    };
    assert_eq!(arn(&first), arn(&second), "the same token starts one task");
    assert_eq!(calls(&sandbox, "RunTask"), before + 2);
}

#[test]
fn a_task_that_takes_too_long_is_stopped() {
    let (sandbox, _folder) = shop();
    let words = [
        "run",
        "--no-logs",
        "--timeout",
        "2s",
        "-c",
        "shop",
        "web-b",
        "good",
        "--",
        "sh",
        "-c",
        "exec sleep 1000",
    ];
    run(&mut sandbox.bowline(&words))
        .code(5)
        .stderr_has("ended after 2 s")
        .stderr_has("2 targets: 2 timed-out");
    assert!(going(&sandbox, "shop").is_empty());
}

#[test]
fn an_interrupt_stops_every_task_and_starts_no_more() {
    let (sandbox, _folder) = shop();
    let words = [
        "run",
        "--all",
        "-c",
        "shop",
        "--max",
        "3",
        "-o",
        "json",
        "--",
        "sh",
        "-c",
        // It does not do what it is asked to.
        "trap '' TERM; while :; do sleep 1; done",
    ];
    let mut running = Running::start_lines(&mut sandbox.bowline(&words));
    let mut started = 0;
    while started < 3 {
        started += usize::from(running.line().1.contains("\"started\""));
    }
    running.signal("INT");
    let at = Instant::now();
    let finished = running.finish(SOON).code(130);
    assert!(at.elapsed() < Duration::from_secs(10), "{:?}", at.elapsed());
    finished.stderr_has("4 targets: 4 interrupted");
    wait_for("no task that goes on", LATER, || {
        going(&sandbox, "shop").is_empty().then_some(())
    });
    assert_eq!(calls(&sandbox, "RunTask"), 3);
}

#[test]
fn a_task_that_cannot_be_stopped_is_named() {
    let (sandbox, _folder) = shop();
    let words = [
        "run",
        "shop/good",
        "stock/good",
        "-o",
        "json",
        "--",
        "sh",
        "-c",
        "exec sleep 1000",
    ];
    let mut running = Running::start_lines(&mut sandbox.bowline(&words));
    let mut started = 0;
    while started < 2 {
        started += usize::from(running.line().1.contains("\"started\""));
    }
    let refused = json!({"operation": "StopTask", "code": "AccessDeniedException", "count": 100});
    post(&sandbox, "BowlineSandbox", "FailNext", &refused);
    running.signal("INT");
    let finished = running.finish(SOON).code(130);
    let finished = finished.stderr_has("2 targets: 2 unknown");
    for cluster in ["shop", "stock"] {
        let left = going(&sandbox, cluster);
        let arn = left[0].as_str().unwrap();
        assert!(
            finished.stderr.contains(&format!("{arn} may still run")),
            "{arn}"
        );
    }
}

#[test]
fn requests_are_printed_and_what_is_for_one_task_is_refused() {
    let (sandbox, folder) = shop();
    let words = ["run", "*/good", "--dry-run", "--env", "A=b", "--", "ls"];
    let finished = run(&mut sandbox.bowline(&words)).code(0);
    let requests: Vec<Value> = stdout(&finished)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let labels: Vec<&Value> = requests.iter().map(|one| &one["target"]).collect();
    assert_eq!(labels, ["shop/good", "stock/good"]);
    let request = &requests[1]["request"];
    assert_eq!(request["cluster"], "stock");
    let container = &request["overrides"]["containerOverrides"][0];
    assert_eq!(
        (&container["command"], &container["environment"][0]["name"]),
        (&json!(["ls"]), &json!("A"))
    );
    assert_ne!(
        request["clientToken"],
        requests[0]["request"]["clientToken"]
    );

    let file = folder.path().join("containers");
    let entry = json!({"target": "x", "taskArn": "arn:aws:ecs:us-east-1:1:task/demo/1",
        "container": "app", "region": "us-east-1"});
    fs::write(&file, format!("{entry}\n")).unwrap();
    for (words, reason) in [
        (&["-d", "*/good"][..], "-d is for one target"),
        (&["--count", "2", "*/good"], "--count is for one target"),
        (
            &["--client-token", "x", "*/good"],
            "each task has a token of its own",
        ),
        (&["--rm", "-it", "*/good"], "--rm -it is for one target"),
        (&["--all", "good"], "--all means every service"),
        (&["*/good/*"], "means every container"),
        (&["--accounts", "all", "good"], "--role"),
        (&["--group", "-o", "json", "*/good"], "--group"),
        (&["--regions", "us-east-1,eu-west-1"], "need a target"),
        (
            &["--exit-from", "nope", "*/good"],
            "shop/good: --exit-from names a container nope",
        ),
        (
            &["--retry-failed", file.to_str().unwrap()],
            "run starts fresh tasks",
        ),
    ] {
        let words = [&["run", "-c", "shop"], words].concat();
        run(&mut sandbox.bowline(&words)).code(2).stderr_has(reason);
    }
    assert_eq!(calls(&sandbox, "RunTask"), 0);
}

#[test]
fn many_are_asked_about_and_guards_hold() {
    let folder = TempDir::new().unwrap();
    let world = folder.path().join("world.yaml");
    let services: String = (0..11)
        .map(|number| format!("      - {{name: s{number}, family: good, desired: 0}}\n"))
        .collect();
    let text = format!(
        "families:\n  - name: good\n    containers:\n      - {{name: app, image: app, command: [echo]}}\n\
         clusters:\n  - name: shop\n    services:\n{services}"
    );
    fs::write(&world, text).unwrap();
    let options = [
        "--accept-any-credentials",
        "--world",
        world.to_str().unwrap(),
    ];
    let sandbox = Sandbox::start(&options);
    run(&mut sandbox.bowline(&["run", "--all", "--", "true"]))
        .code(2)
        .stderr_has("it would start 11 tasks with true (shop/s0, shop/s1,")
        .stderr_has("--yes");
    let guard = "[[guard]]\nname = \"production\"\ncluster = [\"shop\"]\nconfirm = \"yes\"\n";
    fs::write(folder.path().join(".bowline.toml"), guard).unwrap();
    let mut command = sandbox.bowline(&["run", "s1", "s2", "--", "true"]);
    run(command.current_dir(folder.path()))
        .code(2)
        .stderr_has("PRODUCTION: a fresh task of shop/s1");

    // Each on its own would ask every second.
    let words = ["run", "--all", "--yes", "--no-logs", "--", "sleep", "3"];
    run(&mut sandbox.bowline(&words))
        .code(0)
        .stderr_has("11 targets: 11 ok");
    let counted = post(&sandbox, "BowlineSandbox", "CountCalls", &json!({}));
    let busiest = counted["busiest"]["DescribeTasks"].as_u64().unwrap();
    assert!(busiest <= 3, "{counted}");
    assert_eq!(calls(&sandbox, "RunTask"), 11);
}
