//! Actions that are several calls, other runbooks, and loops.

use bowline_runbook::{Answer, Child, Ended, Event, Request, Status, Work};
use serde_json::{Map, Value, json};

use super::{Run, a, book, called, refused};

/// Answers by operation; each is asked in turn, and the last one stays.
fn by_operation(answers: Value) -> impl FnMut(&Request, usize) -> Option<Answer> {
    let mut asked: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
    move |request, _| {
        let Work::Call { operation, .. } = &request.work else {
            panic!("{request:?}");
        };
        let list = answers[operation].as_array()?;
        let count = asked.entry(operation.clone()).or_default();
        let answer = list.get(*count).or_else(|| list.last())?;
        *count += 1;
        match answer.as_str() {
            Some(code) => refused(code),
            None => called(answer.clone()),
        }
    }
}

fn operations(run: &Run<'_>) -> Vec<String> {
    let named = run.requests.iter().map(|request| match &request.work {
        Work::Call { operation, .. } => operation.clone(),
        other => format!("{other:?}"),
    });
    named.collect()
}

const COMMAND: &str = "action: aws:runCommand, inputs: {DocumentName: AWS-RunShellScript, InstanceIds: [i-1], Parameters: {commands: 'uptime', executionTimeout: ['60']}, TimeoutSeconds: '30'}";
const STATE: &str =
    "action: aws:changeInstanceState, inputs: {InstanceIds: [i-1, i-2], DesiredState: running}";
const STACK: &str = "action: aws:createStack, inputs: {StackName: s, TemplateBody: '{}', TimeoutInMinutes: '5', Tags: [{Key: a, Value: b}]}";
const GONE: &str = "action: aws:deleteStack, inputs: {StackName: s}";
const MACHINE: &str =
    "action: aws:executeStateMachine, inputs: {stateMachineArn: 'arn:m', input: '{}'}";
const CHILD: &str = "action: aws:executeAutomation, inputs: {DocumentName: Other, RuntimeParameters: {A: x, L: [y, z]}}";

#[test]
fn a_command_is_sent_and_seen_through() {
    let busy = json!({ "CommandInvocations": [{ "InstanceId": "i-1", "Status": "InProgress" }] });
    let plugin = |code: i64, text: &str| json!([{ "ResponseCode": code, "Output": text }]);
    let well = json!({ "CommandInvocations": [{ "InstanceId": "i-1", "Status": "Success", "CommandPlugins": plugin(0, "up 3 days") }] });
    let sent = json!({ "Command": { "CommandId": "c-1" } });
    let answers = json!({ "SendCommand": [sent], "ListCommandInvocations": [busy, "InvalidCommandId.NotFound", well] });
    let text = book(&[("S", COMMAND, "")]) + "outputs: [S.Output, S.ResponseCode, S.CommandId]\n";
    let mut run = Run::new(&text, by_operation(answers));
    run.finish();
    assert_eq!(run.execution.status(), Status::Success, "{}", run.failure());
    assert_eq!(
        Value::Object(run.execution.results()),
        json!({ "S.Output": ["up 3 days"], "S.ResponseCode": ["0"], "S.CommandId": ["c-1"] })
    );
    let is_told = |event: &Event| matches!(event, Event::StepNote { note, .. } if note.contains("(InvalidCommandId.NotFound)"));
    assert!(run.events.iter().any(is_told));
    let input = &run.inputs_of("S")[0];
    assert_eq!(input["TimeoutSeconds"], 30);
    assert_eq!(
        input["Parameters"],
        json!({ "commands": ["uptime"], "executionTimeout": ["60"] })
    );

    let bad = json!({ "CommandInvocations": [{ "InstanceId": "i-1", "Status": "Failed", "StatusDetails": "Failed", "CommandPlugins": plugin(3, "no such file") }] });
    let answers = json!({ "SendCommand": [sent], "ListCommandInvocations": [bad] });
    let mut run = Run::new(&book(&[("S", COMMAND, "")]), by_operation(answers));
    run.finish();
    assert_eq!(run.execution.status(), Status::Failed);
    let failure = run.failure();
    assert!(
        failure.contains("the command c-1 is Failed on i-1, code 3\nno such file"),
        "{failure}"
    );

    // Targets that match nothing have no invocations: the command says how it ended.
    let answers = json!({ "SendCommand": [sent], "ListCommandInvocations": [{ "CommandInvocations": [] }], "ListCommands": [{ "Commands": [{ "Status": "Pending" }] }, { "Commands": [{ "Status": "Success" }] }] });
    let mut run = Run::new(&book(&[("S", COMMAND, "")]), by_operation(answers));
    run.finish();
    assert_eq!(run.execution.status(), Status::Success, "{}", run.failure());
}

#[test]
fn a_command_for_targets_has_ended_when_it_says_so() {
    let sent = json!({ "Command": { "CommandId": "c-1" } });
    let page = |id: &str, status: &str, next: Option<&str>| json!({ "CommandInvocations": [{ "InstanceId": id, "Status": status }], "NextToken": next });
    let command = |status: &str| json!({ "Commands": [{ "Status": status }] });
    let targets = COMMAND.replace(
        "InstanceIds: [i-1]",
        "Targets: [{Key: 'tag:a', Values: [b]}]",
    );
    // The first instance is done before the others have the command; the second page has the one that fails.
    let answers = json!({
        "SendCommand": [sent],
        "ListCommandInvocations": [page("i-1", "Success", None), page("i-1", "Success", Some("p2")), page("i-2", "InProgress", None), page("i-1", "Success", Some("p2")), page("i-2", "Failed", None), page("i-1", "Success", Some("p2")), page("i-2", "Failed", None)],
        "ListCommands": [command("InProgress"), command("Failed")],
    });
    let mut run = Run::new(&book(&[("S", &targets, "")]), by_operation(answers));
    run.finish();
    assert!(run.failure().contains("on i-2"), "{}", run.failure());
    let tokens = run.inputs_of("S");
    let tokens: Vec<_> = tokens
        .iter()
        .filter_map(|it| it["NextToken"].as_str())
        .collect();
    assert_eq!(tokens, ["p2", "p2", "p2"]);
}

#[test]
fn an_instance_that_is_named_twice_is_waited_for_once() {
    let state = STATE.replace("[i-1, i-2]", "[i-1, i-1]");
    let well = json!({ "InstanceStatuses": [{ "InstanceState": { "Name": "running" }, "InstanceId": "i-1", "InstanceStatus": { "Status": "ok" }, "SystemStatus": { "Status": "ok" } }] });
    let answers = json!({ "StartInstances": [{}], "DescribeInstanceStatus": [well] });
    let mut run = Run::new(&book(&[("S", &state, "")]), by_operation(answers));
    run.finish();
    assert_eq!(run.execution.status(), Status::Success, "{}", run.failure());
}

#[test]
fn instances_are_running_when_their_checks_are_passed() {
    let status = |state: &str, check: &str| json!({ "InstanceState": { "Name": state }, "InstanceId": "i", "InstanceStatus": { "Status": check }, "SystemStatus": { "Status": "ok" } });
    let answers = json!({ "StartInstances": [{}], "DescribeInstanceStatus": [
        { "InstanceStatuses": [status("running", "ok")] },
        { "InstanceStatuses": [status("running", "ok"), status("running", "initializing")] },
        { "InstanceStatuses": [status("running", "ok"), status("running", "ok")] },
    ] });
    let mut run = Run::new(&book(&[("S", STATE, "")]), by_operation(answers));
    run.finish();
    assert_eq!(run.execution.status(), Status::Success, "{}", run.failure());
    assert_eq!(operations(&run).len(), 4);

    let answers = json!({ "StartInstances": [{}], "DescribeInstanceStatus": [{ "InstanceStatuses": [status("terminated", "ok"), status("running", "ok")] }] });
    let mut run = Run::new(&book(&[("S", STATE, "")]), by_operation(answers));
    run.finish();
    assert!(
        run.failure()
            .contains("is terminated and cannot become running"),
        "{}",
        run.failure()
    );

    let only = "action: aws:changeInstanceState, timeoutSeconds: 5, inputs: {InstanceIds: [i-1], DesiredState: stopped, CheckStateOnly: true}";
    let answers =
        json!({ "DescribeInstanceStatus": [{ "InstanceStatuses": [status("running", "ok")] }] });
    let mut run = Run::new(&book(&[("S", only, "")]), by_operation(answers));
    run.finish();
    assert_eq!(
        run.execution.status(),
        Status::TimedOut,
        "{}",
        run.failure()
    );
    assert!(
        operations(&run)
            .iter()
            .all(|it| it == "DescribeInstanceStatus")
    );
}

#[test]
fn stacks_are_made_and_removed() {
    let stack = |status: &str| json!({ "Stacks": [{ "StackId": "arn:s", "StackStatus": status, "StackStatusReason": "why" }] });
    let answers = json!({ "CreateStack": [{ "StackId": "arn:s" }], "DescribeStacks": [stack("CREATE_IN_PROGRESS"), stack("CREATE_COMPLETE")] });
    let text = book(&[("S", STACK, "")]) + "outputs: [S.StackId, S.StackStatus]\n";
    let mut run = Run::new(&text, by_operation(answers));
    run.finish();
    assert_eq!(
        Value::Object(run.execution.results()),
        json!({ "S.StackId": ["arn:s"], "S.StackStatus": ["CREATE_COMPLETE"] })
    );
    assert_eq!(run.inputs_of("S")[0]["TimeoutInMinutes"], 5);

    let answers = json!({ "CreateStack": [{ "StackId": "arn:s" }], "DescribeStacks": [stack("ROLLBACK_IN_PROGRESS"), stack("ROLLBACK_COMPLETE")] });
    let mut run = Run::new(&book(&[("S", STACK, "")]), by_operation(answers));
    run.finish();
    assert!(
        run.failure()
            .contains("the stack is ROLLBACK_COMPLETE: why"),
        "{}",
        run.failure()
    );

    let answers = json!({ "DescribeStacks": [stack("CREATE_COMPLETE"), stack("DELETE_IN_PROGRESS"), stack("DELETE_COMPLETE")], "DeleteStack": [{}] });
    let mut run = Run::new(&book(&[("S", GONE, "")]), by_operation(answers));
    run.finish();
    assert_eq!(run.execution.status(), Status::Success, "{}", run.failure());
    assert_eq!(
        operations(&run),
        [
            "DescribeStacks",
            "DeleteStack",
            "DescribeStacks",
            "DescribeStacks"
        ]
    );
    // Looked up by its id from then on: the name may mean another stack.
    assert_eq!(run.inputs_of("S")[2]["StackName"], "arn:s");
}

#[test]
fn images_tags_and_machines() {
    let text = book(&[
        (
            "Make",
            "action: aws:createImage, inputs: {InstanceId: i-1, ImageName: n, NoReboot: true}",
            "",
        ),
        (
            "Tag",
            "action: aws:createTags, inputs: {ResourceIds: ['{{ Make.ImageId }}'], Tags: [{Key: a, Value: b}]}",
            "",
        ),
        (
            "Name",
            "action: aws:createTags, inputs: {ResourceIds: [mi-1, mi-2], ResourceType: ManagedInstance, Tags: [{Key: a, Value: b}]}",
            "",
        ),
        (
            "Drop",
            "action: aws:deleteImage, inputs: {ImageId: '{{ Make.ImageId }}'}",
            "",
        ),
        (
            "Run",
            "action: aws:runInstances, inputs: {ImageId: ami-1, MinInstanceCount: 2, IamInstanceProfileName: p}",
            "",
        ),
        ("Go", MACHINE, ""),
    ]) + "outputs: [Run.InstanceIds, Go.output]\n";
    let well = |id: &str| json!({ "InstanceId": id, "InstanceState": { "Name": "running" }, "InstanceStatus": { "Status": "ok" }, "SystemStatus": { "Status": "ok" } });
    let image = |state: &str| json!({ "Images": [{ "ImageId": "ami-1", "State": state, "BlockDeviceMappings": [{ "Ebs": { "SnapshotId": "snap-1" } }, { "VirtualName": "x" }, { "Ebs": { "SnapshotId": "snap-2" } }] }] });
    let answers = json!({
        "CreateImage": [{ "ImageId": "ami-1" }], "DescribeImages": [image("pending"), image("available")],
        "CreateTags": [{}], "AddTagsToResource": [{}], "DeregisterImage": [{}], "DeleteSnapshot": [{}],
        "RunInstances": [{ "Instances": [{ "InstanceId": "i-7" }, { "InstanceId": "i-8" }] }],
        "DescribeInstanceStatus": [{ "InstanceStatuses": [well("i-7"), well("i-8")] }],
        "StartExecution": [{ "executionArn": "arn:e" }], "DescribeExecution": [{ "status": "RUNNING" }, { "status": "SUCCEEDED", "output": "{\"a\":1}", "executionArn": "arn:e" }],
    });
    let mut run = Run::new(&text, by_operation(answers));
    run.finish();
    assert_eq!(run.execution.status(), Status::Success, "{}", run.failure());
    assert_eq!(
        operations(&run),
        [
            "CreateImage",
            "DescribeImages",
            "DescribeImages",
            "CreateTags",
            "AddTagsToResource",
            "AddTagsToResource",
            "DescribeImages",
            "DeregisterImage",
            "DeleteSnapshot",
            "DeleteSnapshot",
            "RunInstances",
            "DescribeInstanceStatus",
            "StartExecution",
            "DescribeExecution",
            "DescribeExecution"
        ]
    );
    assert_eq!(
        run.inputs_of("Make")[0],
        json!({ "InstanceId": "i-1", "Name": "n", "NoReboot": true })
    );
    assert_eq!(run.inputs_of("Tag")[0]["Resources"], json!(["ami-1"]));
    assert_eq!(
        run.inputs_of("Run")[0],
        json!({ "ImageId": "ami-1", "MinCount": 2, "MaxCount": 2, "IamInstanceProfile": { "Name": "p" } })
    );
    assert_eq!(
        Value::Object(run.execution.results()),
        json!({ "Run.InstanceIds": ["i-7", "i-8"], "Go.output": ["{\"a\":1}"] })
    );
}

#[test]
fn a_child_that_fails_fails_its_step() {
    let ended = |status, failure: Option<&str>| {
        let outputs = json!({ "a.b": ["1", "2"], "c.d": null });
        let Value::Object(outputs) = outputs else {
            unreachable!()
        };
        Some(Answer::Ended(Ended {
            execution_id: "id-2".to_owned(),
            status,
            shown: outputs.clone(),
            outputs,
            failure: failure.map(str::to_owned),
        }))
    };
    let text = book(&[("S", CHILD, "")]) + "outputs: [S.Output, S.Status, S.ExecutionId]\n";
    let mut run = Run::new(&text, |_, _| ended(Status::Success, None));
    run.finish();
    let Work::Automation(child) = &run.requests[0].work else {
        panic!()
    };
    let parameters = json!({ "A": "x", "L": ["y", "z"] });
    let Value::Object(parameters) = parameters else {
        unreachable!()
    };
    assert_eq!(
        *child,
        Child {
            document: "Other".to_owned(),
            version: None,
            parameters
        }
    );
    assert_eq!(run.execution.results()["S.Output"], json!(["1", "2", ""]));

    for status in [Status::Failed, Status::TimedOut, Status::Cancelled] {
        let mut run = Run::new(&text, |_, _| ended(status, Some("step x failed")));
        run.finish();
        assert_eq!(run.execution.status(), Status::Failed);
        assert!(
            run.failure().contains(&format!(
                "the automation id-2 ended as {status}: step x failed"
            )),
            "{}",
            run.failure()
        );
    }
    let mut run = Run::new(&text, |_, _| {
        refused("AutomationDefinitionNotFoundException")
    });
    run.finish();
    assert!(
        run.failure()
            .contains("(AutomationDefinitionNotFoundException)"),
        "{}",
        run.failure()
    );
}

#[test]
fn secrets_are_not_shown_under_other_names() {
    let secret = "action: aws:executeAwsApi, inputs: {Service: secretsmanager, Api: GetSecretValue, SecretId: s}";
    let text = book(&[
        (
            "G",
            secret,
            "outputs: [{Name: x, Selector: $.SecretString, Type: String}, {Name: name, Selector: $.Name, Type: String}]",
        ),
        (
            "C",
            CHILD,
            "outputs: [{Name: first, Selector: '$.Output[0]', Type: String}]",
        ),
    ]) + "outputs: [G.x, G.name, G.OutputPayload, C.Output, C.first]\n";
    let answer = |request: &Request| match request.step.as_str() {
        "G" => called(json!({ "Name": "n", "SecretString": "{\"user\": \"hunter2\"}" })),
        _ => {
            let of = |text: &str| Map::from_iter([("g.Password".to_owned(), json!([text]))]);
            Some(Answer::Ended(Ended {
                execution_id: "id-2".to_owned(),
                status: Status::Success,
                outputs: of("hunter2"),
                shown: of("[masked]"),
                failure: None,
            }))
        }
    };
    let mut run = Run::new(&text, |request, _| answer(request));
    run.finish();
    let shown = format!("{:?}", run.events);
    assert!(!shown.contains("hunter2"), "{shown}");
    assert_eq!(
        run.outputs(),
        json!({
            "G.x": ["[masked]"], "G.name": ["n"], "G.OutputPayload": ["{\"Name\":\"n\",\"SecretString\":\"[masked]\"}"],
            "C.Output": ["[masked]"], "C.first": ["[masked]"],
        })
    );
    assert_eq!(run.execution.results()["C.first"], json!(["hunter2"]));
    let kept = serde_json::to_string(&run.execution.snapshot().masked()).unwrap();
    assert!(!kept.contains("hunter2"), "{kept}");
}

#[test]
fn a_cancelled_loop_follows_the_on_cancel_of_its_own_step() {
    let pause = "action: aws:sleep, inputs: {Duration: PT30S}";
    let api = "action: aws:executeAwsApi, inputs: {Service: ecs, Api: ListClusters}";
    let text = |target: &str| {
        let body = format!(
            "    - {{name: Quick, {api}}}\n    - {{name: Slow, {pause}{target}}}\n    - {{name: Tidy, {api}}}\n"
        );
        let after = super::step("Undo", api, "isEnd: true");
        let first = super::step("First", api, "onCancel: 'step:Undo'");
        let second = super::step("Second", api, "onCancel: 'step:Undo'");
        let text = looped("Iterators: '{{ Items }}'", &body, &after);
        text.replace("mainSteps:\n", &format!("mainSteps:\n{first}{second}"))
    };
    for (target, wanted) in [
        ("", vec!["END:onCancel"]),
        (
            ", onCancel: 'step:Tidy'",
            vec!["Tidy:onCancel", "END:sequence"],
        ),
        (
            ", onCancel: 'step:Undo'",
            vec!["Undo:onCancel", "END:isEnd"],
        ),
    ] {
        let mut run = Run::new(&text(target), a);
        run.until(5);
        let before = run.jumps().len();
        run.cancel().finish();
        assert_eq!(run.jumps()[before..], wanted, "{target}");
        assert_eq!(run.execution.status(), Status::Cancelled, "{target}");
        assert_eq!(run.statuses()[2], "Cancelled", "{target}");
    }
}

#[test]
fn what_was_begun_is_stopped_when_the_run_is_cancelled() {
    let sent = json!({ "Command": { "CommandId": "c-1" } });
    let busy = json!({ "CommandInvocations": [{ "InstanceId": "i-1", "Status": "InProgress" }] });
    let state = json!({ "InstanceStatuses": [] });
    let stack = json!({ "Stacks": [{ "StackId": "arn:s", "StackStatus": "CREATE_IN_PROGRESS" }] });
    let image = json!({ "Images": [{ "State": "pending" }] });
    let answers = json!({
        "SendCommand": [sent], "ListCommandInvocations": [busy], "CancelCommand": [{}],
        "StartInstances": [{}], "DescribeInstanceStatus": [state],
        "CreateStack": [{ "StackId": "arn:s" }], "DescribeStacks": [stack], "DeleteStack": [{}],
        "CreateImage": [{ "ImageId": "ami-1" }], "DescribeImages": [image],
        "RunInstances": [{ "Instances": [{ "InstanceId": "i-7" }] }],
        "StartExecution": [{ "executionArn": "arn:e" }], "DescribeExecution": [{ "status": "RUNNING" }], "StopExecution": [{}],
    });
    let image = "action: aws:createImage, inputs: {InstanceId: i-1, ImageName: n}";
    let run_instances = "action: aws:runInstances, inputs: {ImageId: ami-1}";
    for (kind, last) in [
        (COMMAND, "CancelCommand"),
        (MACHINE, "StopExecution"),
        (STATE, "DescribeInstanceStatus"),
        (STACK, "DescribeStacks"),
        (GONE, "DescribeStacks"),
        (image, "DescribeImages"),
        (run_instances, "DescribeInstanceStatus"),
    ] {
        let text = book(&[
            ("S", kind, "onCancel: 'step:Clean'"),
            (
                "Clean",
                "action: aws:executeAwsApi, inputs: {Service: ecs, Api: ListClusters}",
                "isEnd: true",
            ),
        ]);
        let mut answers = by_operation(answers.clone());
        let mut run = Run::new(&text, move |request, count| match request.step.as_str() {
            "Clean" => called(json!({})),
            _ => answers(request, count),
        });
        run.until(30);
        assert!(!run.execution.is_ended(), "{kind}");
        run.cancel().finish();
        assert_eq!(run.execution.status(), Status::Cancelled, "{kind}");
        assert_eq!(run.statuses(), ["Cancelled", "Success"], "{kind}");
        let made = operations(&run);
        assert_eq!(made[made.len() - 2], last, "{kind}: {made:?}");
    }
    // A child is not waited for.
    let mut run = Run::new(&book(&[("S", CHILD, "")]), |_, _| None);
    run.until(5);
    run.cancel().finish();
    assert_eq!(
        (run.execution.status(), run.elapsed()),
        (Status::Cancelled, 5)
    );
    // The call that stops a command may hang: after five seconds the run ends.
    let answers = json!({ "SendCommand": [sent], "ListCommandInvocations": [busy] });
    let mut run = Run::new(&book(&[("S", COMMAND, "")]), by_operation(answers));
    run.until(30);
    run.cancel().finish();
    assert_eq!(
        (run.execution.status(), run.elapsed()),
        (Status::Cancelled, 35)
    );
}

fn looped(inputs: &str, body: &str, after: &str) -> String {
    format!(
        "schemaVersion: '0.3'\nparameters: {{Items: {{type: StringList, default: [x, y, z]}}}}\nmainSteps:\n- name: L\n  action: aws:loop\n  inputs:\n    {inputs}\n    Steps:\n{body}{after}"
    )
}

const INNER: &str = "    - {name: In, action: 'aws:executeAwsApi', inputs: {Service: ecs, Api: DescribeTasks, cluster: '{{ L.CurrentIteratorValue }}', tasks: ['n{{ L.CurrentIteration }}']}, outputs: [{Name: t, Selector: '$.failures[0].reason', Type: String}], isEnd: true}\n";
const AFTER: &str = "- {name: After, action: 'aws:executeAwsApi', inputs: {Service: ecs, Api: ListClusters}}\noutputs: [In.t]\n";

#[test]
fn a_loop_goes_through_its_items() {
    let text = looped("Iterators: '{{ Items }}'", INNER, AFTER);
    let mut run = Run::new(&text, |_, count| {
        called(json!({ "failures": [{ "reason": format!("r{count}") }] }))
    });
    run.finish();
    assert_eq!(run.execution.status(), Status::Success, "{}", run.failure());
    assert_eq!(
        run.inputs_of("In"),
        [
            json!({ "cluster": "x", "tasks": ["n1"] }),
            json!({ "cluster": "y", "tasks": ["n2"] }),
            json!({ "cluster": "z", "tasks": ["n3"] })
        ]
    );
    assert_eq!(run.statuses(), ["Success", "Success"]);
    assert_eq!(run.execution.results()["In.t"], json!(["r2"]));
    let ends = run.events.iter().filter_map(|event| match event {
        Event::StepEnd { step, .. } => Some(step.as_str()),
        _ => None,
    });
    assert_eq!(
        ends.collect::<Vec<_>>(),
        ["L[1].In", "L[2].In", "L[3].In", "L", "After"]
    );

    // No items: the body does not run.
    let mut run = Run::with(
        &text,
        &[("Items", json!([]))],
        bowline_runbook::Options::default(),
        |_, _| called(json!({})),
    );
    run.finish();
    assert_eq!(
        (run.execution.status(), run.inputs_of("In").len()),
        (Status::Success, 0)
    );
    let many: Vec<String> = (0..101).map(|it| it.to_string()).collect();
    let mut run = Run::with(
        &text,
        &[("Items", json!(many))],
        bowline_runbook::Options::default(),
        |_, _| called(json!({})),
    );
    run.finish();
    assert!(
        run.failure().contains("100 rounds at most"),
        "{}",
        run.failure()
    );
}

#[test]
fn a_loop_ends_early() {
    // The condition no longer holds.
    let body = INNER.replace("{{ L.CurrentIteratorValue", "c{{ loop.CurrentIteration");
    let condition =
        "LoopCondition: {Variable: '{{ In.t }}', StringEquals: again}\n    MaxIterations: 5";
    let text = looped(condition, &body, AFTER);
    let mut run = Run::new(&text, |_, count| {
        called(json!({ "failures": [{ "reason": if count < 2 { "again" } else { "enough" } }] }))
    });
    run.finish();
    assert_eq!(
        (run.execution.status(), run.inputs_of("In").len()),
        (Status::Success, 3),
        "{}",
        run.failure()
    );
    // It always holds: the loop stops at its limit, without a failure.
    let mut run = Run::new(&text, |_, _| {
        called(json!({ "failures": [{ "reason": "again" }] }))
    });
    run.finish();
    assert_eq!(
        (run.execution.status(), run.inputs_of("In").len()),
        (Status::Success, 5),
        "{}",
        run.failure()
    );

    // A step leads out of the loop.
    let out = "    - {name: In, action: 'aws:executeAwsApi', inputs: {Service: ecs, Api: ListClusters}, onFailure: 'step:After', isCritical: false}\n";
    let text = looped("Iterators: '{{ Items }}'", out, AFTER);
    let mut run = Run::new(&text, |request, count| {
        match (request.step.as_str(), count) {
            ("In", 1) => refused("Nope"),
            _ => called(json!({})),
        }
    });
    run.finish();
    assert_eq!(run.execution.status(), Status::Success, "{}", run.failure());
    assert_eq!(run.statuses(), ["Exited", "Success"]);
    assert_eq!(run.inputs_of("In").len(), 2);

    // A step fails for good.
    let bad = out.replace(", onFailure: 'step:After', isCritical: false", "");
    let text = looped("Iterators: '{{ Items }}'", &bad, AFTER);
    let mut run = Run::new(&text, |_, _| refused("Nope"));
    run.finish();
    assert_eq!(run.execution.status(), Status::Failed);
    assert_eq!(run.statuses(), ["Failed", "Pending"]);
    assert!(
        run.failure().starts_with("step In (aws:executeAwsApi)"),
        "{}",
        run.failure()
    );

    // It is cancelled, and its time is up.
    let text = looped("Iterators: '{{ Items }}'", &bad, AFTER);
    let mut run = Run::new(&text, |_, _| None);
    run.until(1);
    run.cancel().finish();
    assert_eq!(run.execution.status(), Status::Cancelled);
    assert_eq!(run.statuses(), ["Cancelled", "Pending"]);
    let short = text.replace(
        "  action: aws:loop",
        "  action: aws:loop\n  timeoutSeconds: 3",
    );
    let mut run = Run::new(&short, |_, _| None);
    run.finish();
    assert_eq!(
        (run.execution.status(), run.elapsed()),
        (Status::TimedOut, 3)
    );
    assert_eq!(run.statuses(), ["TimedOut", "Pending"]);
}

#[test]
fn a_loop_that_was_broken_off_begins_anew() {
    let text = looped("Iterators: '{{ Items }}'", INNER, AFTER);
    let mut run = Run::new(
        &text,
        |_, count| if count == 1 { None } else { called(json!({})) },
    );
    run.until(1);
    let snapshot = run.execution.snapshot();
    assert_eq!(snapshot.next.as_deref(), Some("L"));
    let mut run = Run::resume(&text, snapshot, |_, _| called(json!({})));
    run.finish();
    assert_eq!(
        (run.execution.status(), run.inputs_of("In").len()),
        (Status::Success, 3)
    );
    let _: Map<String, Value> = run.execution.results();
}
