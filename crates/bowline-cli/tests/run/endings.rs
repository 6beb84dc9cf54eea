//! How tasks end, and which exit code that is.

use std::process::Stdio;

use serde_json::json;

use crate::control::{call, register, running, sandbox};
use crate::support::{LATER, Running, Sandbox, run, run_unread, run_with, wait_for};

#[test]
fn the_container_that_ends_the_task_gives_the_code() {
    let sandbox = sandbox(&[]);
    register(
        &sandbox,
        "two",
        &[
            ("main", true, "echo main; sleep 1; exit 7"),
            ("side", true, "echo side; exec sleep 600"),
            ("extra", false, "exit 5"),
        ],
    );
    for (option, code) in [
        (&[][..], 7),
        (&["--exit-from", "extra"], 5),
        (&["--exit-from", "side"], 143),
    ] {
        let words = [&["run", "family:two", "--log-wait", "1s"], option].concat();
        run(&mut sandbox.bowline(&words)).code(code);
    }
    let words = ["run", "family:two", "--exit-from", "nope"];
    run(&mut sandbox.bowline(&words))
        .code(2)
        .stderr_has("a container nope");
}

/// Nobody sees which of two containers ended first when both end at once.
#[test]
fn a_kill_is_no_success_because_another_container_ends_with_zero() {
    let sandbox = sandbox(&[]);
    let killed = ("app", true, "sleep 1; kill -9 $$");
    let obedient = ("side", true, "trap 'exit 0' TERM; sleep 600 & wait");
    register(&sandbox, "two", &[killed, obedient]);
    register(&sandbox, "last", &[obedient, killed]);
    run(&mut sandbox.bowline(&["run", "family:two", "--log-wait", "1s"])).code(137);
    let words = [
        "run",
        "family:last",
        "--container",
        "app",
        "--log-wait",
        "1s",
    ];
    run(&mut sandbox.bowline(&words)).code(137);
    let arn = run(&mut sandbox.bowline(&["run", "family:last", "-d"])).code(0);
    let arn = String::from_utf8(arn.stdout).unwrap();
    let task = json!({"cluster": "demo", "tasks": [arn.trim()]});
    wait_for("its end", LATER, || {
        let answer = call(&sandbox, "DescribeTasks", &task);
        (answer["tasks"][0]["lastStatus"] == "STOPPED").then_some(())
    });
    run(&mut sandbox.bowline(&["attach", arn.trim(), "--log-wait", "1s"]))
        .code(125)
        .stderr_has(
            "it is not known which container ended the task: app ended with 137, side with 0",
        );
    // What ECS ends after another is not what `any` is for.
    let side = ("side", true, "exec sleep 600");
    register(&sandbox, "any", &[("app", true, "sleep 1"), side]);
    let words = [
        "run",
        "family:any",
        "--exit-from",
        "any",
        "--log-wait",
        "1s",
    ];
    run(&mut sandbox.bowline(&words)).code(0);
}

#[test]
fn what_does_not_start_is_125_and_says_why() {
    let sandbox = sandbox(&[]);
    for (reason, text) in [
        (
            "pull",
            "an image could not be pulled: CannotPullContainerError",
        ),
        (
            "resources",
            "the task did not start: ResourceInitializationError",
        ),
        ("start", "the task did not start: CannotStartContainerError"),
    ] {
        call(&sandbox, "FailStart", &json!({ "reason": reason }));
        run(&mut sandbox.bowline(&["run", "family:job"]))
            .code(125)
            .stderr_has(text);
    }
    let words = ["run", "family:job", "--", "/no/such/program"];
    run(&mut sandbox.bowline(&words))
        .code(125)
        .stderr_has("CannotStartContainerError");
}

#[test]
fn a_task_that_is_killed_or_taken_away_says_so() {
    let sandbox = sandbox(&[]);
    let ends = [
        (
            "KillContainer",
            json!({"reason": "OutOfMemoryError: Container killed due to memory usage"}),
            137,
            "ran out of memory",
        ),
        (
            "EndTask",
            json!({"stopCode": "SpotInterruption", "reason": "Your Spot Task was interrupted."}),
            143,
            "Spot capacity",
        ),
        (
            "StopTask",
            json!({"reason": "bye"}),
            143,
            "stopped by a user: bye",
        ),
    ];
    for (operation, body, code, text) in ends {
        let words = [
            "run",
            "family:job",
            "--log-wait",
            "1s",
            "--",
            "sh",
            "-c",
            "echo up; exec sleep 600",
        ];
        let mut going = Running::start_lines(&mut sandbox.bowline(&words));
        assert_eq!(going.line().1, "up\n");
        let mut body = body;
        body["cluster"] = "demo".into();
        body["task"] = running(&sandbox, "job").pop().unwrap().into();
        if operation == "KillContainer" {
            body["container"] = "job".into();
        }
        call(&sandbox, operation, &body);
        going.finish(LATER).code(code).stderr_has(text);
    }
}

#[test]
fn a_time_limit_stops_the_task_with_124() {
    let sandbox = sandbox(&[]);
    let words = [
        "run",
        "family:job",
        "--timeout",
        "2s",
        "--log-wait",
        "1s",
        "--",
        "sleep",
        "600",
    ];
    let finished = run(&mut sandbox.bowline(&words)).code(124);
    finished.stderr_has("stopping: bowline: the time limit of 2 s was reached");
    assert_eq!(running(&sandbox, "job"), Vec::<String>::new());
}

#[test]
fn each_reason_for_no_place_is_explained_and_a_part_is_better_than_nothing() {
    let sandbox = sandbox(&[]);
    for (reason, text) in [
        (
            "RESOURCE:CPU",
            "no instance of the cluster has enough CPU free",
        ),
        ("RESOURCE:MEMORY", "enough memory free"),
        ("RESOURCE:ENI", "a network interface free"),
        ("RESOURCE:PORTS", "a host port of the task is taken"),
        ("AGENT", "the ECS agent of the instance is not connected"),
        ("ATTRIBUTE", "an attribute that the task definition needs"),
        ("LOCATION", "placement constraints"),
        ("capacity", "Fargate has no capacity at the moment"),
        ("quota", "the account's limit of tasks or vCPUs is reached"),
        (
            "EMPTY CAPACITY PROVIDER",
            "the capacity provider has no instances",
        ),
        ("NO ACTIVE INSTANCES", "the cluster has no active instances"),
    ] {
        call(&sandbox, "FailRunTask", &json!({ "reason": reason }));
        run(&mut sandbox.bowline(&["run", "family:job"]))
            .code(125)
            .stderr_has(text)
            .stderr_has("hint: ");
    }
    call(&sandbox, "FailRunTask", &json!({ "reason": "capacity" }));
    run(&mut sandbox.bowline(&["run", "family:job", "--count", "3", "--log-wait", "1s"]))
        .code(5)
        .stderr_has("1 of 3 tasks failed");
}

#[test]
fn a_long_task_is_waited_for_and_late_knowledge_is_no_error() {
    // 900 s of pulling on the sandbox's clock, and a task that ECS does not know at first.
    let sandbox = Sandbox::start(&[
        "--fast-clock",
        "200",
        "--scenario",
        "pull=900",
        "--scenario",
        "late-tasks=300",
    ]);
    run(&mut sandbox.bowline(&["run", "family:job"]))
        .code(0)
        .stdout("job: starting\njob: working\njob: done\n");
}

#[test]
fn a_detached_run_is_attached_to_by_what_it_prints() {
    let sandbox = sandbox(&[]);
    let run_task = call(
        &sandbox,
        "RunTask",
        &json!({
            "cluster": "demo",
            "taskDefinition": "job",
            "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-0a1b2c3d4e5f60001"]}},
            "overrides": {"containerOverrides": [{"name": "job", "command": ["sh", "-c", "echo piped; exit 6"]}]},
        }),
    );
    let mut command = sandbox.bowline(&["attach"]);
    run_with(&mut command, run_task.to_string().into_bytes(), LATER)
        .code(6)
        .stdout("piped\n");
    run(sandbox.bowline(&["attach"]).stdin(Stdio::null()))
        .code(2)
        .stderr_has("stdin names no task");
    // What was not started counts as it does for run.
    let mut partly = json!({"tasks": run_task["tasks"], "failures": [{"reason": "RESOURCE:CPU"}]});
    let mut command = sandbox.bowline(&["attach", "--log-wait", "1s"]);
    run_with(&mut command, partly.to_string().into_bytes(), LATER)
        .code(5)
        .stderr_has("2 of 2 tasks failed");
    partly["tasks"] = json!([]);
    let mut command = sandbox.bowline(&["attach"]);
    run_with(&mut command, partly.to_string().into_bytes(), LATER)
        .code(125)
        .stderr_has("no task was started: no instance of the cluster has enough CPU free");
    // A task that is named twice is one.
    let arn = run_task["tasks"][0]["taskArn"].as_str().unwrap();
    let id = arn.rsplit('/').next().unwrap();
    run(&mut sandbox.bowline(&["attach", arn, id]))
        .code(6)
        .stdout("piped\n");
    let mut private = sandbox.bowline(&["--sandbox", "run", "-d", "family:job"]);
    run(&mut private)
        .code(2)
        .stderr_has("a private sandbox ends with its command");
}

#[test]
fn options_reach_the_task() {
    let sandbox = sandbox(&[]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "# comment\nFROM_FILE=1\nBOTH=file\nCOPIED\n").unwrap();
    let json = r#"{"containerOverrides":[{"name":"job","command":["false"],"environment":[{"name":"FROM_JSON","value":"2"}]}]}"#;
    let mut command = sandbox.bowline(&[
        "run",
        "family:job:1",
        "--overrides",
        json,
        "--env-file",
        file.path().to_str().unwrap(),
        "--env",
        "BOTH=flag",
        "-e",
        "OURS",
        "--tag",
        "who=me",
        "--started-by",
        "ci/42",
        "--log-wait",
        "2s",
        "--like",
        "web",
        "--launch-type",
        "fargate",
        "--client-token",
        "once",
        "--",
        "sh",
        "-c",
        "echo $FROM_FILE $BOTH $FROM_JSON $OURS $COPIED \"$1\"",
        "sh",
        "a b",
    ]);
    command.env("OURS", "3").env("COPIED", "4");
    run(&mut command).code(0).stdout("1 flag 2 3 4 a b\n");
    let listed = call(
        &sandbox,
        "ListTasks",
        &json!({"cluster": "demo", "startedBy": "ci/42", "desiredStatus": "STOPPED"}),
    );
    assert_eq!(listed["taskArns"].as_array().unwrap().len(), 1);
    // The same token for another request: the first one's task is named.
    let words = [
        "run",
        "family:job:1",
        "--client-token",
        "once",
        "--like",
        "web",
    ];
    run(&mut sandbox.bowline(&words))
        .code(125)
        .stderr_has("bowline attach arn:aws:ecs:");
}

#[test]
fn dry_run_prints_what_would_be_asked_and_asks_nothing() {
    let sandbox = sandbox(&[]);
    let words = [
        "run",
        "web",
        "--dry-run",
        "--client-token",
        "t",
        "--capacity-provider",
        "FARGATE_SPOT:2",
        "--",
        "ls",
    ];
    let finished = run(&mut sandbox.bowline(&words)).code(0);
    let request: serde_json::Value = serde_json::from_slice(&finished.stdout).unwrap();
    let expected = json!({
        "cluster": "demo",
        "taskDefinition": "arn:aws:ecs:us-east-1:123456789012:task-definition/web:1",
        "count": 1,
        "capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT", "weight": 2, "base": 0}],
        "networkConfiguration": {"awsvpcConfiguration": {
            "subnets": ["subnet-0a1b2c3d4e5f60001"],
            "securityGroups": ["sg-0a1b2c3d4e5f60001"],
            "assignPublicIp": "DISABLED",
        }},
        "overrides": {"containerOverrides": [{"name": "app", "command": ["ls"]}]},
        "enableExecuteCommand": true,
        "clientToken": "t",
        "platformVersion": request["platformVersion"],
    });
    assert_eq!(request, expected);
    assert_eq!(running(&sandbox, "web").len(), 2);
    run(&mut sandbox.bowline(&["run", "task:123", "--", "ls"]))
        .code(2)
        .stderr_has("is a task");
    run(&mut sandbox.bowline(&["run", "nope"]))
        .code(125)
        .stderr_has("neither a service nope");
}

#[test]
fn a_reader_that_leaves_is_no_success() {
    let sandbox = sandbox(&[]);
    for form in [&[][..], &["-o", "json"]] {
        let words = [
            &["run", "family:job"],
            form,
            &["--", "sh", "-c", "echo up; exit 3"],
        ]
        .concat();
        run_unread(&mut sandbox.bowline(&words))
            .code(141)
            .stderr_has("left running: arn:aws:ecs:");
    }
    let started = run(&mut sandbox.bowline(&["run", "family:job", "-d", "--", "false"])).code(0);
    let arn = String::from_utf8(started.stdout).unwrap();
    run_unread(&mut sandbox.bowline(&["attach", "-o", "json", arn.trim()])).code(141);
}
