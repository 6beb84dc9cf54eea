//! What `--explain` says, judged by the calls that the sandbox counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::{Value, json};

use crate::support::{Sandbox, post, run};

/// A row of the table: when the caller makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Always,
    Perhaps,
}

/// The caller's calls by the table.
fn explained(sandbox: &Sandbox, words: &[&str]) -> BTreeMap<String, When> {
    let finished = run(sandbox.bowline(&["--explain"]).args(words)).code(0);
    let text = String::from_utf8(finished.stdout).unwrap();
    let (table, _) = text.split_once("\n\n").unwrap();
    let rows = table.lines().skip(1).map(|line| {
        let cells: Vec<&str> = line
            .split("  ")
            .map(str::trim)
            .filter(|it| !it.is_empty())
            .collect();
        let [call, whose, why] = cells[..] else {
            panic!("{line}")
        };
        let perhaps = why.starts_with("if ") || why.ends_with(')');
        let when = if perhaps { When::Perhaps } else { When::Always };
        (call.to_owned(), whose.to_owned(), when)
    });
    rows.filter(|(_, whose, _)| whose == "caller")
        .map(|(call, _, when)| (call, when))
        .collect()
}

fn counted(sandbox: &Sandbox) -> BTreeMap<String, u64> {
    let answer = post(sandbox, "BowlineSandbox", "CountActions", &json!({}));
    serde_json::from_value(answer["actions"].clone()).unwrap()
}

/// The calls of one command.
fn made(sandbox: &Sandbox, words: &[&str], code: i32) -> BTreeSet<String> {
    let before = counted(sandbox);
    run(&mut sandbox.bowline(words)).code(code);
    let is_new = |(action, count): &(String, u64)| before.get(action) != Some(count);
    counted(sandbox)
        .into_iter()
        .filter(is_new)
        .map(|(action, _)| action)
        .collect()
}

#[test]
fn every_call_is_among_those_explained_and_what_is_always_made_is() {
    let sandbox = Sandbox::start(&["--accept-any-credentials", "--scenario", "accounts=1"]);
    let folder = tempfile::TempDir::new().unwrap();
    let target = folder.path().join("hosts");
    let target = target.to_str().unwrap();
    let recordings = format!("--record-dir={}", folder.path().join("r").display());
    let runbook = folder.path().join("wait.yaml");
    let step = "{name: a, action: 'aws:sleep', inputs: {Duration: PT1S}}";
    fs::write(
        &runbook,
        format!("schemaVersion: '0.3'\nmainSteps:\n- {step}\n"),
    )
    .unwrap();
    let runbook = runbook.to_str().unwrap();
    let mut wrong = Vec::new();
    for (words, code) in [
        (&["exec", "web", "--", "true"][..], 0),
        (&["exec", "demo/web/app", "--", "true"], 0),
        (&["exec", "--regions", "all", "web", "--", "true"], 0),
        (
            &[
                "exec",
                "--accounts",
                "all",
                "--role",
                "operations",
                "web",
                "--",
                "true",
            ],
            0,
        ),
        (&["exec", "no-such-service", "--", "true"], 125),
        (&["exec", "--record", &recordings, "web", "--", "true"], 0),
        (&["exec", "--via", "ssm", "web", "--", "true"], 0),
        (&["cp", "web:/etc/hosts", target], 0),
        (&["run", "family:job", "--like", "web"], 0),
        (&["run", "web", "--tag", "a=b", "-d", "--", "true"], 0),
        (&["run", "w*", "family:job", "--", "true"], 0),
        (&["logs", "web"], 0),
        (&["ls"], 0),
        (&["ls", "clusters"], 0),
        (&["ls", "services"], 0),
        (&["ls", "tasks", "web"], 0),
        (&["describe", "cluster", "demo"], 0),
        (&["describe", "service", "web"], 0),
        (&["describe", "family", "job"], 0),
        (&["doctor", "web"], 0),
        (&["service", "events", "web"], 0),
        (&["service", "restart", "web", "--yes"], 0),
        (&["db", "ls"], 0),
        (&["jobs", "ls", "web"], 0),
        (&["runbook", "submit", runbook, "--poll-interval=100ms"], 0),
        (
            &["runbook", "submit", runbook, "--name=Wait", "--detach"],
            0,
        ),
        (
            &[
                "runbook",
                "submit",
                runbook,
                "--name=Wait",
                "--poll-interval=100ms",
            ],
            0,
        ),
        (&["runbook", "submit", "--document=Wait:1", "--detach"], 0),
        (&["runbook", "compare", runbook, "--poll-interval=100ms"], 0),
    ] {
        let explained = explained(&sandbox, words);
        let made = made(&sandbox, words, code);
        let unknown = made.iter().filter(|call| !explained.contains_key(*call));
        wrong.extend(unknown.map(|call| format!("{words:?} makes {call}, which is not explained")));
        let always = explained.iter().filter(|(_, when)| **when == When::Always);
        // What is done in another account is not counted in ours.
        let elsewhere = |call: &str| {
            words.contains(&"--accounts") && (call.starts_with("ecs:") || call.starts_with("ssmm"))
        };
        let missing =
            always.filter(|(call, _)| code == 0 && !made.contains(*call) && !elsewhere(call));
        wrong.extend(missing.map(|(call, _)| format!("{words:?} never makes {call}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn explaining_asks_nothing_and_does_nothing() {
    let sandbox = Sandbox::start(&["--accept-any-credentials"]);
    let before = counted(&sandbox);
    for words in [
        &["--explain", "stop", "web", "--yes"][..],
        &["exec", "--explain", "web", "--", "touch", "x"],
        &["run", "web", "--explain=task-role", "-o", "json"],
        &["forward", "web", "5432:{ssm:/prod/db}:5432", "--explain"],
        &["login", "--explain"],
    ] {
        run(&mut sandbox.bowline(words)).code(0);
    }
    assert_eq!(counted(&sandbox), before);
    // Nor are credentials needed.
    let mut command = sandbox.bowline(&["--explain", "exec", "web", "--", "x"]);
    command
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY");
    run(&mut command).code(0);
}

#[test]
fn the_policy_names_what_is_known() {
    let sandbox = Sandbox::start(&[]);
    let arn = "arn:aws:ecs:eu-west-1:123456789012:task/prod/0123456789abcdef0123456789abcdef";
    let words = [
        "--explain",
        "-o",
        "json",
        "exec",
        "-C",
        "app",
        arn,
        "--",
        "ls",
    ];
    let policy = run(&mut sandbox.bowline(&words)).code(0);
    let policy: Value = serde_json::from_slice(&policy.stdout).unwrap();
    assert_eq!(policy["Version"], "2012-10-17");
    let statements = policy["Statement"].as_array().unwrap();
    let of = |action: &str| {
        let has = |one: &&Value| one["Action"].as_array().unwrap().contains(&action.into());
        statements
            .iter()
            .find(has)
            .unwrap_or_else(|| panic!("no {action}"))
    };
    let execute = of("ecs:ExecuteCommand");
    assert_eq!(
        execute["Resource"],
        json!(["arn:aws:ecs:eu-west-1:123456789012:cluster/prod", arn])
    );
    assert_eq!(
        execute["Condition"]["StringEquals"]["ecs:container-name"],
        "app"
    );
    assert_eq!(of("ecs:DescribeTasks")["Resource"], json!([arn]));
    // Only what is needed: neither what may be refused nor what needs no permission.
    for other in [
        "sts:GetCallerIdentity",
        "ecs:ListServices",
        "ssm:DescribeSessions",
    ] {
        assert!(!policy.to_string().contains(other), "{other}");
    }
}
