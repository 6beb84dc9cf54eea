//! Listings and descriptions in every form.

use serde_json::Value;

use crate::support::Terminal;
use crate::{bowline, json, reference, scrubbed, stdout, world};

#[test]
fn a_service_is_described_without_its_secrets() {
    let sandbox = world("shop.yaml");
    let text = stdout(&sandbox, &["-c", "shop-prod", "describe", "web"]);
    insta::assert_snapshot!(scrubbed(&text), @r"
    service web in shop-prod
      status       ACTIVE
      tasks        2 of 2 running, 0 pending
      deployments  PRIMARY  COMPLETED  web:1  2/2  9d ago
      launch       FARGATE LATEST
      exec         on for new tasks
      created      TIME (9d ago)
      tags         env=prod
      arn          arn:aws:ecs:us-east-1:123456789012:service/shop-prod/web

    tasks
      TASK          SERVICE  STATUS   HEALTH   EXEC   AGE  CONTAINERS
      ID  web      RUNNING  HEALTHY  ready  9d   app,router
      ID  web      RUNNING  HEALTHY  ready  9d   app,router

    definition web:1
      size         512 CPU units, 1024 MiB
      network      awsvpc
      task role    arn:aws:iam::123456789012:role/shop-task
      exec. role   arn:aws:iam::123456789012:role/shop-execution

    container app
      image        registry.example/shop/web:1.42
      command      bowline-demo-web
      user         1000:1000
      directory    /srv
      limits       128 CPU units, 512 MiB, 256 MiB reserved
      ports        8080/tcp
                   9000/tcp
                   53/udp
      environment  LOG_LEVEL=info
                   SHOP_TOKEN (masked)
      secrets      DATABASE_PASSWORD from arn:aws:secretsmanager:us-east-1:123456789012:secret:web/database
      mounts       /srv/uploads from uploads: EFS fs-0a1b2c3d4e5f60001, access point fsap-0a1b2c3d4e5f60001, IAM, encrypted in transit
                   /scratch from scratch: storage of the task, read-only
      health       CMD-SHELL 'wget -q -O- http://localhost:8080/'
      logs         awslogs awslogs-group=/ecs/web awslogs-region=us-east-1 awslogs-stream-prefix=ecs
      labels       bowline.sandbox.tools=-curl

    container router (not essential)
      image        registry.example/shop/router:7
      entry point  sh -c
      command      'while :; do sleep 60; done'
      logs         awslogs awslogs-group=/shop/router awslogs-region=us-east-1 awslogs-stream-prefix=router mode=non-blocking

    events, newest first
      AGE  EVENT
      9d   (service web) has reached a steady state.
      9d   (service web) has started 2 tasks: (task ID) (task ID).
    ");
    let shown = stdout(
        &sandbox,
        &["-c", "shop-prod", "describe", "web", "--show-values"],
    );
    assert!(shown.contains("SHOP_TOKEN=not-a-real-token"), "{shown}");
    for form in ["json", "ndjson", "wide", "name"] {
        let text = stdout(&sandbox, &["describe", "shop-prod/web", "-o", form]);
        assert!(!text.contains("not-a-real-token"), "{form}: {text}");
    }
    assert_eq!(
        stdout(&sandbox, &["describe", "shop-prod/web", "-o", "name"]),
        "shop-prod/web\n"
    );
}

#[test]
fn a_task_is_described_with_what_it_runs_and_why_it_stopped() {
    let sandbox = world("shop.yaml");
    let tasks = json(&sandbox, &["ls", "tasks", "shop-prod/web"]);
    let id = tasks["tasks"][0]["taskId"].as_str().unwrap();
    let text = stdout(&sandbox, &["describe", &format!("shop-prod/{id}/app")]);
    insta::assert_snapshot!(scrubbed(&text), @r"
    task ID in shop-prod
      service      web
      status       RUNNING
      health       HEALTHY
      definition   web:1
      launch       FARGATE 1.4.0 us-east-1a
      exec         on
      started by   ecs-svc/ID
      created      TIME (9d ago)
      started      TIME (9d ago)
      arn          arn:aws:ecs:us-east-1:123456789012:task/shop-prod/ID

    definition web:1
      size         512 CPU units, 1024 MiB
      network      awsvpc
      task role    arn:aws:iam::123456789012:role/shop-task
      exec. role   arn:aws:iam::123456789012:role/shop-execution

    container app
      status       RUNNING, HEALTHY
      exec         ready; ExecuteCommandAgent is RUNNING, started 9d ago
      address      ADDRESS
      runtime id   ID-ID
      image        registry.example/shop/web:1.42
      command      bowline-demo-web
      user         1000:1000
      directory    /srv
      limits       128 CPU units, 512 MiB, 256 MiB reserved
      ports        8080/tcp
                   9000/tcp
                   53/udp
      environment  LOG_LEVEL=info
                   SHOP_TOKEN (masked)
      secrets      DATABASE_PASSWORD from arn:aws:secretsmanager:us-east-1:123456789012:secret:web/database
      mounts       /srv/uploads from uploads: EFS fs-0a1b2c3d4e5f60001, access point fsap-0a1b2c3d4e5f60001, IAM, encrypted in transit
                   /scratch from scratch: storage of the task, read-only
      health       CMD-SHELL 'wget -q -O- http://localhost:8080/'
      logs         awslogs awslogs-group=/ecs/web awslogs-region=us-east-1 awslogs-stream-prefix=ecs
      labels       bowline.sandbox.tools=-curl

    events, newest first
      AGE  EVENT
      9d   (service web) has reached a steady state.
      9d   (service web) has started 2 tasks: (task ID) (task ID).
    ");

    // Also one that has stopped, which no listing shows.
    bowline(
        &sandbox,
        &[
            "stop",
            &format!("shop-prod/{id}"),
            "--yes",
            "--reason",
            "seen enough",
        ],
    )
    .code(0);
    crate::support::wait_for("the task to stop", crate::support::SOON, || {
        let task = json(&sandbox, &["describe", &format!("shop-prod/{id}")]);
        (task["tasks"][0]["lastStatus"] == "STOPPED").then_some(())
    });
    let text = stdout(&sandbox, &["describe", "task", &format!("shop-prod/{id}")]);
    assert!(
        text.contains("stopped      UserInitiated: seen enough"),
        "{text}"
    );
    assert!(text.contains("STOPPED, exit code 143"), "{text}");
}

#[test]
fn clusters_and_families_are_described() {
    let sandbox = world("shop.yaml");
    insta::assert_snapshot!(stdout(&sandbox, &["describe", "cluster", "shop-prod"]), @r"
    cluster shop-prod
      status       ACTIVE
      services     4 active
      tasks        8 running, 0 pending
      capacity     FARGATE FARGATE_SPOT
      exec         logged, log group /shop/exec
      tags         env=prod
      arn          arn:aws:ecs:us-east-1:123456789012:cluster/shop-prod
    ");
    let text = stdout(&sandbox, &["describe", "family", "nightly"]);
    insta::assert_snapshot!(scrubbed(&text), @r"
    definition nightly:1
      status       ACTIVE
      registered   TIME (AGE ago)
      size         256 CPU units, 512 MiB
      network      awsvpc
      task role    arn:aws:iam::123456789012:role/ecs-task
      exec. role   arn:aws:iam::123456789012:role/ecs-execution
      arn          arn:aws:ecs:us-east-1:123456789012:task-definition/nightly:1

    container job
      image        registry.example/shop/nightly:3
      command      sleep infinity
    ");
    // A word that is neither a service nor a task.
    let text = stdout(&sandbox, &["-c", "shop-prod", "describe", "nightly"]);
    assert!(text.contains("definition nightly:1"), "{text}");
}

#[test]
fn what_is_not_there_is_3_and_names_what_is() {
    let sandbox = world("shop.yaml");
    for (words, expected) in [
        (&["describe", "shop-prod/wbe"][..], "did you mean web?"),
        (
            &["describe", "service", "shop-prod/wbe"],
            "did you mean web?",
        ),
        (
            &["describe", "shop-prod/web/nope"],
            "its containers are app, router",
        ),
        (
            &["describe", "family", "nope"],
            "task definition nope was not found",
        ),
        (
            &["describe", "cluster", "nope"],
            "cluster nope was not found",
        ),
        (&["describe", "-c", "shop-prod"], "name one of them"),
        (&["service", "events", "shop-prod/wbe"], "did you mean web?"),
        (&["stop", "shop-prod/nope", "--yes"], "nope was not found"),
    ] {
        bowline(&sandbox, words)
            .code(3)
            .stdout("")
            .stderr_has(expected);
    }
    bowline(&sandbox, &["describe", "web", "app"]).code(2);
    for verb in ["describe", "stop", "ls"] {
        let words = [verb, "shop-prod/web", "--service", "api-1"];
        bowline(&sandbox, &words)
            .code(2)
            .stderr_has("are both targets");
    }
    bowline(&sandbox, &["ls", "--query", "tasks[?"])
        .code(2)
        .stderr_has("--query");
    bowline(&sandbox, &["ls", "-o", "name", "--query", "tasks"]).code(2);
}

#[test]
fn a_query_takes_a_part_of_the_document() {
    let sandbox = world("shop.yaml");
    let counts = "services[].{name: serviceName, wants: desiredCount}";
    let text = stdout(
        &sandbox,
        &["ls", "services", "-c", "shop-test", "--query", counts],
    );
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value[1], serde_json::json!({ "name": "api-2", "wants": 1 }));
    let text = stdout(
        &sandbox,
        &[
            "describe",
            "shop-prod/web",
            "--query",
            "taskDefinitions[0].volumes[0].efs.accessPointId",
        ],
    );
    assert_eq!(text, "\"fsap-0a1b2c3d4e5f60001\"\n");
}

#[test]
fn thousands_are_listed_in_full() {
    let sandbox = world("large.yaml");
    assert_eq!(
        stdout(&sandbox, &["ls", "clusters", "-o", "name"])
            .lines()
            .count(),
        60
    );
    assert_eq!(
        stdout(
            &sandbox,
            &["ls", "services", "-c", "shop-prod", "-o", "name"]
        )
        .lines()
        .count(),
        25
    );
    assert_eq!(
        stdout(
            &sandbox,
            &["ls", "tasks", "-c", "shop-prod", "--query", "length(tasks)"]
        ),
        "84\n"
    );
}

#[test]
fn a_terminal_gets_lines_that_fit() {
    let sandbox = world("large.yaml");
    for words in [
        &["ls", "-c", "shop-prod"][..],
        &["ls", "containers", "-c", "shop-prod"],
        &["ls", "clusters"],
    ] {
        let size = "stty cols 60; \"$@\"";
        let words = [&["-c", size, "sh", env!("CARGO_BIN_EXE_bowline")], words].concat();
        let (status, text) = Terminal::start(&sandbox, "/bin/sh", &words).end();
        assert_eq!(status.code(), Some(0), "{text}");
        let longest = text
            .lines()
            .map(|line| line.trim_end().chars().count())
            .max();
        assert!(longest <= Some(60), "{longest:?}: {text}");
    }
}

/// Each member of each object that the commands print has a line in its section of the reference.
#[test]
fn every_member_is_documented() {
    let sandbox = world("shop.yaml");
    let web = "shop-prod/web";
    let tasks = json(&sandbox, &["ls", "tasks", web]);
    let task = format!(
        "shop-prod/{}",
        tasks["tasks"][0]["taskId"].as_str().unwrap()
    );
    let documents = [
        json(&sandbox, &["ls", "clusters"]),
        json(&sandbox, &["ls", "-c", "shop-prod"]),
        json(&sandbox, &["ls", "containers", web]),
        json(&sandbox, &["describe", "cluster", "shop-prod"]),
        json(&sandbox, &["describe", web]),
        json(&sandbox, &["describe", "task", &task]),
    ];
    let mut seen = 0;
    for document in &documents {
        for (list, section) in [
            ("clusters", "Cluster"),
            ("services", "Service"),
            ("tasks", "Task"),
            ("containers", "Container"),
            ("taskDefinitions", "Task definition"),
        ] {
            for item in document[list].as_array().into_iter().flatten() {
                seen += 1;
                check(item, section);
            }
        }
    }
    assert!(seen > 20, "{seen}");
    let events = json(&sandbox, &["service", "events", web]);
    check(&events["events"][0], "Event");
}

/// Lists with a section of their own.
const SECTIONS: [(&str, &str); 4] = [
    ("deployments", "Deployment"),
    ("events", "Event"),
    ("containers", "Container"),
    ("containerDefinitions", "Container definition"),
];

fn check(item: &Value, section: &str) {
    let heading = format!("\n## {section}\n");
    let text = reference().split_once(&heading).expect(section).1;
    let text = text.split("\n## ").next().unwrap();
    for (name, value) in item.as_object().unwrap() {
        assert!(
            text.contains(&format!("`{name}`")),
            "{section} does not say what {name} is"
        );
        // Their names are the user's.
        if ["tags", "dockerLabels", "options"].contains(&name.as_str()) {
            continue;
        }
        let of_list = SECTIONS.iter().find(|(list, _)| list == name);
        let within = of_list.map_or(section, |(_, section)| section);
        for inner in value.as_array().into_iter().flatten().chain([value]) {
            if inner.is_object() {
                check(inner, within);
            }
        }
    }
}
