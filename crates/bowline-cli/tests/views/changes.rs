//! stop, service restart, service events: what they ask, do and say.

use crate::support::{Running, SOON, Sandbox, Terminal, wait_for};
use crate::{bowline, json, stdout, world};

fn ids(sandbox: &Sandbox) -> Vec<String> {
    let tasks = json(sandbox, &["ls", "tasks", "shop-prod/web"]);
    let tasks = tasks["tasks"].as_array().unwrap();
    tasks
        .iter()
        .map(|task| task["taskId"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn stop_asks_first_and_the_service_replaces_the_task() {
    let sandbox = world("shop.yaml");
    let before = ids(&sandbox);
    let target = format!("shop-prod/{}", before[0]);

    // Nobody to ask.
    bowline(&sandbox, &["stop", &target])
        .code(2)
        .stdout("")
        .stderr_has("will start a new one")
        .stderr_has("say --yes");
    // Two tasks.
    bowline(&sandbox, &["stop", "shop-prod/web", "--yes"])
        .code(3)
        .stderr_has(&before[1]);

    let mut terminal = Terminal::bowline(&sandbox, &["stop", &target]);
    terminal.until("[y/N]");
    let asked = terminal.text();
    assert!(
        asked.contains("of service web in cluster shop-prod (us-east-1), running for 9d"),
        "{asked}"
    );
    assert!(
        asked.contains("service web wants 2 tasks and will start a new one"),
        "{asked}"
    );
    terminal.press(b"n\r");
    let (status, text) = terminal.end();
    assert_eq!(status.code(), Some(1), "{text}");
    assert_eq!(ids(&sandbox), before);

    let mut terminal = Terminal::bowline(&sandbox, &["stop", &target, "--reason", "seen enough"]);
    terminal.until("[y/N]");
    terminal.press(b"y\r");
    let (status, text) = terminal.end();
    assert_eq!(status.code(), Some(0), "{text}");
    wait_for("another task", SOON, || {
        let now = ids(&sandbox);
        (now.len() == 2 && !now.contains(&before[0])).then_some(())
    });
    bowline(&sandbox, &["stop", &target, "--yes"])
        .code(1)
        .stderr_has("already");
    let stopped = json(
        &sandbox,
        &["stop", &format!("shop-prod/{}", before[1]), "--yes"],
    );
    assert_eq!(stopped["tasks"][0]["desiredStatus"], "STOPPED");
}

#[test]
fn restart_replaces_all_tasks_and_waits_for_it() {
    let sandbox = world("shop.yaml");
    let before = ids(&sandbox);
    bowline(&sandbox, &["service", "restart", "shop-prod/web"])
        .code(2)
        .stderr_has("say --yes");
    let done = bowline(
        &sandbox,
        &["service", "restart", "shop-prod/web", "--yes", "--wait"],
    )
    .code(0)
    .stdout("");
    assert!(
        done.stderr.contains("has started 2 tasks"),
        "{}",
        done.stderr
    );
    assert!(
        done.stderr.contains("service web has new tasks"),
        "{}",
        done.stderr
    );
    let after = ids(&sandbox);
    assert_eq!(after.len(), 2);
    assert!(
        after.iter().all(|id| !before.contains(id)),
        "{before:?} {after:?}"
    );

    let restarted = json(
        &sandbox,
        &[
            "service",
            "restart",
            "-s",
            "web",
            "-c",
            "shop-prod",
            "--yes",
        ],
    );
    assert_eq!(
        restarted["services"][0]["deployments"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    bowline(
        &sandbox,
        &[
            "service",
            "restart",
            "shop-prod/web",
            "--yes",
            "--wait",
            "--timeout",
            "0s",
        ],
    )
    .code(124)
    .stderr_has("bowline describe shop-prod/web");
}

#[test]
fn events_go_on_until_they_are_interrupted() {
    let sandbox = world("shop.yaml");
    let events = stdout(&sandbox, &["service", "events", "shop-prod/web"]);
    assert_eq!(events.lines().count(), 2, "{events}");
    assert!(
        events
            .lines()
            .nth(1)
            .unwrap()
            .ends_with("(service web) has reached a steady state."),
        "{events}"
    );

    let mut follow = Running::start_lines(&mut sandbox.bowline(&[
        "service",
        "events",
        "shop-prod/web",
        "-f",
        "-o",
        "ndjson",
    ]));
    let old: serde_json::Value = serde_json::from_str(&follow.line().1).unwrap();
    assert_eq!(old["kind"], "event");
    follow.line();
    bowline(&sandbox, &["service", "restart", "shop-prod/web", "--yes"]).code(0);
    let (_, new) = follow.line();
    assert!(new.contains("has started 2 tasks"), "{new}");
    follow.signal("INT");
    assert_eq!(follow.wait(SOON).code(), Some(130));
}
