//! Accounts, regions and patterns: where a run goes, and what a place that refuses does to the others.

use std::collections::BTreeSet;
use std::fs;

use serde_json::json;
use tempfile::TempDir;

use crate::support::{Sandbox, run};
use crate::{events, outcomes, sandbox};

#[test]
fn an_account_that_refuses_is_reported_and_the_others_are_unaffected() {
    let options = [
        "--scenario",
        "accounts=4",
        "--scenario",
        "denied-account=3",
        "--scenario",
        "regions=eu-west-1",
    ];
    let sandbox = sandbox("2", &options);
    let words = [
        "exec",
        "--all",
        "--yes",
        "--accounts",
        "all",
        "--role",
        "operations",
        "--regions",
        "all",
        "-o",
        "json",
        "fleet",
        "--",
        "hostname",
    ];
    let finished = run(&mut sandbox.bowline(&words)).code(5);
    let events = events(&finished);
    let ends = outcomes(&events);
    assert_eq!(ends.len(), 3 * 2 * 2, "{ends:?}");
    assert!(ends.values().all(|outcome| outcome == "ok"), "{ends:?}");
    let places: BTreeSet<(&str, &str)> = ends
        .keys()
        .map(|arn| {
            let parts: Vec<&str> = arn.split(':').collect();
            (parts[4], parts[3])
        })
        .collect();
    assert_eq!(places.len(), 6, "{places:?}");
    let problems = events[0]["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 2);
    for problem in problems {
        let text = problem.to_string();
        assert!(
            text.contains("account-003") && text.contains("AccessDenied"),
            "{text}"
        );
    }

    let groups = TempDir::new().unwrap();
    let text = "[account]\nfirst = \"200000000001\"\n[group]\ngood = [\"first\", \"account-00?\"]\nown = [\"first\"]\n";
    fs::write(groups.path().join(".bowline.toml"), text).unwrap();
    for (accounts, code, targets) in [
        ("@own", 0, 1),
        ("200000000002,first", 0, 2),
        ("@good", 5, 3),
        ("@none", 2, 0),
        ("account-9*", 2, 0),
    ] {
        let words = [
            "exec",
            "--accounts",
            accounts,
            "--role",
            "operations",
            "--out-dir",
            "out",
            "fleet",
            "--",
            "true",
        ];
        let mut command = sandbox.bowline(&words);
        let finished = run(command.current_dir(groups.path())).code(code);
        if targets > 0 {
            let word = if targets == 1 { "target" } else { "targets" };
            finished.stderr_has(&format!("{targets} {word}: {targets} ok"));
        }
    }
}

#[test]
fn profiles_lead_to_their_accounts() {
    let sandbox = sandbox("1", &["--scenario", "accounts=1"]);
    let home = TempDir::new().unwrap();
    let (id, secret) = (
        sandbox.variable("AWS_ACCESS_KEY_ID"),
        sandbox.variable("AWS_SECRET_ACCESS_KEY"),
    );
    let keys = format!("aws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
    // Two lead to one account: what is there is done once.
    let role = "role_arn = arn:aws:iam::200000000001:role/operations\nsource_profile = other\n";
    let text = format!(
        "[profile prod-a]\n{keys}[profile prod-b]\n{keys}[profile prod-c]\n{role}[profile other]\n{keys}"
    );
    let file = home.path().join("config");
    fs::write(&file, text).unwrap();
    let words = ["exec", "--profiles", "prod-*", "fleet", "--", "true"];
    let mut command = sandbox.bowline(&words);
    command.env("AWS_CONFIG_FILE", &file);
    run(&mut command)
        .code(0)
        .stderr_has("prod-a:us-east-1:demo/fleet/")
        .stderr_has("prod-c:us-east-1:demo/fleet/")
        .stderr_has("2 targets: 2 ok");
}

#[test]
fn nothing_that_failed_is_forgotten() {
    let options = ["--scenario", "accounts=3", "--scenario", "denied-account=3"];
    let sandbox = sandbox("1", &options);
    let folder = TempDir::new().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (failed, again) = (file("failed"), file("again"));
    let words = [
        "exec",
        "--accounts",
        "all",
        "--role",
        "operations",
        "--save-failed",
        &failed,
        "fleet",
        "--",
        "true",
    ];
    run(&mut sandbox.bowline(&words))
        .code(5)
        .stderr_has("2 targets: 2 ok; 1 accounts or regions could not be searched");
    let place = fs::read_to_string(&failed).unwrap();
    assert_eq!(place.lines().count(), 1, "{place}");
    assert!(
        place.contains("200000000003") && place.contains("\"fleet\""),
        "{place}"
    );

    // What is there still, what runs no more, and what nobody can know of.
    let task = |account: &str| {
        let arn = format!(
            "arn:aws:ecs:us-east-1:{account}:task/demo/{}",
            "0".repeat(32)
        );
        json!({"target": "x", "taskArn": arn, "container": "app", "region": "us-east-1",
            "account": account, "role": "operations"})
    };
    let mut text = place.clone();
    for account in ["200000000001", "200000000003"] {
        text += &task(account).to_string();
        text.push('\n');
    }
    fs::write(&failed, text).unwrap();
    let words = [
        "exec",
        "--retry-failed",
        &failed,
        "--save-failed",
        &again,
        "--",
        "true",
    ];
    run(&mut sandbox.bowline(&words))
        .code(5)
        .stderr_has("1 accounts or regions could not be searched; 1 tasks run no more");
    let kept = fs::read_to_string(&again).unwrap();
    assert_eq!(kept.lines().count(), 2, "{kept}");
    assert!(!kept.contains("200000000001"), "{kept}");

    // A place that could not be searched is searched again.
    let place = place.replace("200000000003", "200000000002");
    fs::write(&failed, place).unwrap();
    run(&mut sandbox.bowline(&words))
        .code(0)
        .stderr_has("1 target: 1 ok");
    // And that a task is gone is no success.
    fs::write(&failed, format!("{}\n", task("200000000001"))).unwrap();
    run(&mut sandbox.bowline(&words))
        .code(5)
        .stderr_has("1 tasks run no more");
}

const SHOP: &str = r#"
families:
  - name: app
    containers:
      - {name: app, image: app, command: [sleep, "1000"]}
      - {name: side, image: side, command: [sleep, "1000"]}
clusters:
  - name: shop
    services:
      - {name: web-a, family: app, desired: 2}
      - {name: web-b, family: app, desired: 1}
      - {name: api, family: app, desired: 1}
  - name: stock
    services:
      - {name: api, family: app, desired: 1}
"#;

#[test]
fn patterns_mean_one_task_of_each_service_or_all_of_them() {
    let folder = TempDir::new().unwrap();
    let world = folder.path().join("world.yaml");
    fs::write(&world, SHOP).unwrap();
    let sandbox = Sandbox::start(&["--world", world.to_str().unwrap()]);
    for (words, count) in [
        (&["-c", "shop", "web-*"][..], 2),
        (&["-c", "shop", "--all", "web-*"], 3),
        (&["*/api"], 2),
        (&["--all", "*/*"], 5),
        (&["shop/web-a", "shop/api"], 2),
        (&["--all", "shop/web-a", "shop/web-*"], 3),
        (&["--all", "shop/api/*"], 2),
    ] {
        let mut all = vec!["exec"];
        all.extend(words);
        all.extend(["--", "sh", "-c", "printf '%s' \"$0\"", "x"]);
        run(&mut sandbox.bowline(&all))
            .code(0)
            .stderr_has(&format!("{count} targets: {count} ok"));
    }
    run(&mut sandbox.bowline(&["exec", "-c", "shop", "nothing-*", "--", "true"]))
        .code(125)
        .stderr_has("no running task matches");
}
