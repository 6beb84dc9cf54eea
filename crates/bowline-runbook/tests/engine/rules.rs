//! One rule each: what is documented, and what was seen on the real service.

use bowline_runbook::{Answer, CallFailure, Event, Options, Status, Work};
use serde_json::{Value, json};

use super::{Run, a, book, called, refused};

const API: &str = "action: aws:executeAwsApi, inputs: {Service: ecs, Api: ListClusters}";

fn api(inputs: &str) -> String {
    format!("action: aws:executeAwsApi, inputs: {{Service: ecs, {inputs}}}")
}

#[test]
fn attempts_are_counted_in_total_and_a_timeout_is_one() {
    let text = book(&[("S", API, "maxAttempts: 3, timeoutSeconds: 10")]);
    let mut run = Run::new(
        &text,
        |_, count| if count == 0 { None } else { refused("Nope") },
    );
    run.finish();
    assert_eq!(run.requests.len(), 3);
    assert_eq!(
        run.execution.status(),
        Status::Failed,
        "the last attempt decides"
    );
    assert!(
        run.failure().contains(
            "attempt 3/3: An error occurred (Nope) when calling the ListClusters operation"
        ),
        "{}",
        run.failure()
    );
    // 10 s for the first attempt, pauses of 1 and 2 s.
    assert_eq!(run.elapsed(), 13);
}

#[test]
fn the_default_limits_are_those_of_the_actions() {
    let lambda = "action: aws:invokeLambdaFunction, inputs: {FunctionName: f}";
    let script =
        "action: aws:executeScript, inputs: {Runtime: python3.11, Handler: f, Script: 'x'}";
    for (kind, seconds) in [(API, 25), (lambda, 300), (script, 600)] {
        let mut run = Run::new(&book(&[("S", kind, "")]), |_, _| None);
        run.finish();
        assert_eq!(
            (run.execution.status(), run.elapsed()),
            (Status::TimedOut, seconds),
            "{kind}"
        );
    }
}

#[test]
fn inputs_are_strict_and_are_not_tried_again() {
    let text = "schemaVersion: '0.3'\nparameters: {N: {type: StringMap, default: {}}}\nmainSteps:\n- {name: S, action: aws:executeAwsApi, maxAttempts: 3, inputs: {Service: ecs, Api: DescribeTasks, tasks: ['{{ G.x }}'], cluster: x}}\n";
    let text = text.replace("mainSteps:\n", "mainSteps:\n- {name: G, action: aws:executeAwsApi, inputs: {Service: ecs, Api: ListClusters}, outputs: [{Name: x, Selector: $.nextToken, Type: String}]}\n");
    let mut run = Run::new(&text, |_, _| called(json!({})));
    run.finish();
    assert_eq!(
        (run.requests.len(), run.statuses()),
        (1, vec!["Success", "Failed"])
    );
    assert!(
        run.failure()
            .contains("G.x has no value: selector $.nextToken matched nothing")
    );
}

#[test]
fn an_output_of_the_wrong_type_fails_after_the_call() {
    let text = book(&[(
        "S",
        API,
        "maxAttempts: 2, outputs: [{Name: n, Selector: $.nextToken, Type: Integer}]",
    )]);
    let mut run = Run::new(&text, a);
    run.finish();
    assert_eq!(
        (run.requests.len(), run.execution.status()),
        (1, Status::Failed)
    );
    assert!(
        run.failure()
            .ends_with("output n of type Integer: 'a' is no decimal number"),
        "{}",
        run.failure()
    );
}

#[test]
fn alternative_outputs_may_be_absent() {
    let text = book(&[
        (
            "S",
            API,
            "outputs: [{Name: x, Selector: $.nextToken, Type: String}, {Name: y, Selector: $.clusterArns, Type: StringList}]",
        ),
        (
            "B",
            "action: aws:branch, inputs: {Choices: [{NextStep: One, Not: {Variable: '{{ S.x }}', StringEquals: a}}]}",
            "isEnd: true",
        ),
        (
            "One",
            "action: aws:executeScript, inputs: {Runtime: python3.11, Handler: f, Script: x, InputPayload: {x: '{{ S.x }}', text: 'is {{ S.x }}.'}}",
            "",
        ),
    ]);
    let mut run = Run::new(&text, |request, _| match &request.work {
        Work::Script(_) => Some(Answer::Returned(json!({}))),
        _ => called(json!({})),
    });
    run.finish();
    assert_eq!(run.execution.status(), Status::Success, "{}", run.failure());
    assert_eq!(run.inputs_of("One"), [json!({ "x": null, "text": "is ." })]);
}

#[test]
fn dates_are_those_of_their_moment() {
    let inputs = "Api: DescribeTasks, cluster: '{{ global:DATE_TIME }} {{global:DATE}} {{ global:REGION }} {{ global:AWS_PARTITION }} {{automation:EXECUTION_ID}} {{ global:ACCOUNT_ID }}', tasks: [x]";
    let text = book(&[
        ("S", &api(inputs), ""),
        ("Z", "action: aws:sleep, inputs: {Duration: PT10S}", ""),
        ("E", &api(inputs), ""),
    ]);
    let mut run = Run::new(&text, |request, _| match &request.work {
        Work::Call { operation, .. } if operation == "GetCallerIdentity" => {
            called(json!({ "Account": "123456789012" }))
        }
        _ => called(json!({})),
    });
    run.finish();
    let clusters: Vec<Value> = ["S", "E"]
        .iter()
        .map(|it| run.inputs_of(it).pop().unwrap()["cluster"].clone())
        .collect();
    assert_eq!(
        clusters,
        [
            "2026-01-31_23.59.58 2026-01-31 eu-west-1 aws id-1 123456789012",
            "2026-02-01_00.00.08 2026-02-01 eu-west-1 aws id-1 123456789012"
        ]
    );
    assert_eq!(run.inputs_of("E").len(), 1, "the account is asked for once");
}

#[test]
fn booleans_are_compared_as_python_writes_them() {
    let wait = "action: aws:assertAwsResourceProperty, inputs: {Service: ec2, Api: DescribeVolumes, PropertySelector: '$.Volumes[0].Encrypted', DesiredValues: ['True']}";
    for (encrypted, status) in [(true, Status::Success), (false, Status::Failed)] {
        let mut run = Run::new(&book(&[("S", wait, "")]), move |_, _| {
            called(json!({ "Volumes": [{ "Encrypted": encrypted }] }))
        });
        run.finish();
        assert_eq!(run.execution.status(), status);
        if status == Status::Failed {
            assert!(
                run.failure()
                    .ends_with("$.Volumes[0].Encrypted is False, wanted one of ['True']"),
                "{}",
                run.failure()
            );
        }
    }
}

#[test]
fn a_wait_goes_on_after_some_errors_and_fails_after_others() {
    let wait = "action: aws:waitForAwsResourceProperty, inputs: {Service: ecs, Api: ListClusters, PropertySelector: '$.nextToken', DesiredValues: [a]}";
    let text = book(&[("W", wait, "")]);
    let mut run = Run::new(&text, |_, count| match count {
        0 => refused("ClusterNotFoundException"),
        1 => refused("DBInstanceDoesNotExist"),
        2 => Some(Answer::CallFailed(CallFailure::transport("reset"))),
        _ => a(
            &super::Request {
                id: 0,
                step: String::new(),
                deadline: None,
                work: Work::Pause,
            },
            0,
        ),
    });
    run.finish();
    assert_eq!(
        (run.requests.len(), run.execution.status()),
        (4, Status::Success)
    );
    let mut run = Run::new(&text, |_, _| refused("AccessDeniedException"));
    run.finish();
    assert_eq!(
        (run.requests.len(), run.execution.status()),
        (1, Status::Failed)
    );
}

#[test]
fn several_values_have_to_be_desired_all() {
    let wait = "action: aws:waitForAwsResourceProperty, inputs: {Service: ecs, Api: ListClusters, PropertySelector: '$..x', DesiredValues: [a, b]}";
    let mut run = Run::new(&book(&[("W", wait, "")]), |_, count| match count {
        0 => called(json!({})),
        1 => called(json!({ "l": [{ "x": "a" }, { "x": "c" }] })),
        _ => called(json!({ "l": [{ "x": "a" }, { "x": "b" }] })),
    });
    run.finish();
    assert_eq!(
        (run.requests.len(), run.execution.status()),
        (3, Status::Success)
    );
}

#[test]
fn variables_are_set_without_conversion() {
    let text = "schemaVersion: '0.3'\nvariables: {v: {type: Integer, default: 1}, w: {type: String}}\nmainSteps:\n- {name: U, action: aws:updateVariable, inputs: {Name: 'variable:v', Value: 2}}\n- {name: B, action: aws:branch, inputs: {Choices: [{NextStep: E, And: [{Variable: '{{ variable:v }}', NumericEquals: 2}, {Not: {Variable: '{{ variable:w }}', StringEquals: x}}]}]}, isEnd: true}\n- {name: E, action: aws:pause, inputs: {}}\noutputs: ['variable:v']\n";
    let mut run = Run::new(text, |_, _| Some(Answer::Resumed));
    run.finish();
    assert_eq!(run.statuses(), ["Success", "Success", "Success"]);
    assert_eq!(run.outputs(), json!({ "variable:v": ["2"] }));
}

#[test]
fn document_outputs_are_lists_of_texts() {
    let text = book(&[
        (
            "S",
            API,
            "outputs: [{Name: l, Selector: $.clusterArns, Type: StringList}, {Name: password, Selector: $.nextToken, Type: String}]",
        ),
        ("F", "F", ""),
        ("P", "A", ""),
    ]) + "outputs: [S.l, S.password, S.Output, P.x, F.Output]\n";
    let mut run = Run::new(&text, |_, _| {
        called(
            json!({ "clusterArns": ["a", "b"], "nextToken": "t", "ResponseMetadata": { "RequestId": "r" } }),
        )
    });
    run.finish();
    assert_eq!(
        run.outputs(),
        json!({ "S.l": ["a", "b"], "S.password": "[masked]", "S.Output": ["{\"clusterArns\":[\"a\",\"b\"],\"nextToken\":\"t\"}"], "P.x": null, "F.Output": null })
    );
}

#[test]
fn lambda_outputs_are_those_of_the_payload() {
    let lambda = "action: aws:invokeLambdaFunction, inputs: {FunctionName: f, Payload: '{}', InputPayload: {a: 1}}";
    let text = book(&[
        (
            "L",
            lambda,
            "outputs: [{Name: Retry, Selector: $.Retry, Type: Boolean}, {Name: Code, Selector: $.StatusCode, Type: String}]",
        ),
        (
            "B",
            "action: aws:branch, inputs: {Choices: [{NextStep: End, And: [{Variable: '{{ L.Retry }}', BooleanEquals: true}, {Variable: '{{ L.StatusCode }}', StringEquals: '200'}]}]}",
            "isEnd: true",
        ),
        (
            "End",
            "action: aws:sleep, inputs: {Timestamp: '2020-01-01T00:00:00Z'}",
            "",
        ),
    ]) + "outputs: [L.Code, L.Payload, L.LogResult]\n";
    let mut run = Run::new(&text, |_, _| {
        called(json!({ "StatusCode": 200, "Payload": "{\"Retry\": true}", "LogResult": "bG9n" }))
    });
    run.finish();
    assert_eq!(run.statuses(), ["Success", "Success", "Success"]);
    assert_eq!(run.inputs_of("L")[0]["Payload"], json!("{\"a\":1}"));
    assert_eq!(
        run.outputs(),
        json!({ "L.Code": ["200"], "L.Payload": ["{\"Retry\": true}"], "L.LogResult": ["bG9n"] })
    );
}

#[test]
fn one_rejection_ends_an_approval() {
    let approve = "action: aws:approve, maxAttempts: 3, inputs: {Approvers: [ann, bob, eve], MinRequiredApprovals: 2, Message: go?}";
    let text = book(&[("P", approve, "")]) + "outputs: [P.ApprovalStatus]\n";
    let mut run = Run::new(&text, |_, count| {
        Some(Answer::Approved {
            by: format!("u{count}"),
        })
    });
    run.finish();
    assert_eq!(
        (run.requests.len(), run.outputs()),
        (2, json!({ "P.ApprovalStatus": ["Approved"] }))
    );
    let mut run = Run::new(&text, |_, _| Some(Answer::Rejected { by: "eve".into() }));
    run.finish();
    assert_eq!(
        (run.requests.len(), run.execution.status()),
        (1, Status::Failed)
    );
    let mut run = Run::new(&text, |_, _| None);
    run.finish();
    assert_eq!(
        (run.elapsed(), run.execution.status()),
        (3 * 604_800 + 3, Status::TimedOut)
    );
}

#[test]
fn a_cancelled_step_cleans_up_and_the_run_is_cancelled() {
    let text = book(&[
        ("T", "T", "timeoutSeconds: 900, onCancel: 'step:C'").into_three(),
        ("N", "A", "isEnd: true"),
        ("C", "A", ""),
    ]);
    let mut run = Run::new(&text, a);
    run.until(10);
    run.execution.cancel(run.now);
    run.finish();
    assert_eq!(run.statuses(), ["Cancelled", "Pending", "Success"]);
    assert_eq!(run.execution.status(), Status::Cancelled);
    assert_eq!(run.jumps(), ["C:onCancel", "END:sequence"]);
}

trait IntoThree {
    fn into_three(self) -> (&'static str, &'static str, &'static str);
}

impl IntoThree for (&'static str, &'static str, &'static str) {
    /// The step that waits, without its own limit.
    fn into_three(self) -> (&'static str, &'static str, &'static str) {
        let wait = "action: aws:waitForAwsResourceProperty, inputs: {Service: ecs, Api: ListClusters, PropertySelector: '$.nextToken', DesiredValues: [b]}";
        (self.0, wait, self.2)
    }
}

#[test]
fn a_call_in_flight_is_given_five_seconds_and_a_clean_up_two_minutes() {
    let text = book(&[
        ("S", API, "timeoutSeconds: 900, onCancel: 'step:C'"),
        ("N", "A", "isEnd: true"),
        ("C", API, "timeoutSeconds: 900"),
    ]);
    let mut run = Run::new(&text, |_, _| None);
    run.until(1);
    run.execution.cancel(run.now);
    run.until(2);
    run.execution.cancel(run.now);
    assert_eq!(run.execution.status(), Status::Cancelling);
    run.finish();
    assert_eq!(run.statuses(), ["Cancelled", "Pending", "Cancelled"]);
    assert_eq!(
        (run.elapsed(), run.execution.status()),
        (1 + 5 + 120, Status::Cancelled)
    );
}

#[test]
fn stopping_after_the_step_lets_it_end() {
    let text = book(&[
        ("Z", "action: aws:sleep, inputs: {Duration: PT1H}", ""),
        ("N", "A", ""),
    ]);
    let mut run = Run::new(&text, a);
    run.until(10);
    run.execution.cancel_after_step(run.now);
    run.finish();
    assert_eq!(
        (run.statuses(), run.elapsed()),
        (vec!["Success", "Pending"], 3600)
    );
    assert_eq!(run.execution.status(), Status::Cancelled);
}

#[test]
fn what_was_broken_off_goes_on_where_it_was() {
    let text = book(&[
        (
            "S",
            API,
            "outputs: [{Name: t, Selector: $.nextToken, Type: String}]",
        ),
        ("F", &api("Api: DescribeTasks, tasks: ['{{ S.t }}']"), ""),
        ("N", "A", ""),
    ]);
    let mut run = Run::new(&text, |request, count| {
        if request.step == "F" {
            refused("Nope")
        } else {
            a(request, count)
        }
    });
    run.finish();
    let kept = serde_json::to_string(&run.execution.snapshot()).unwrap();
    let mut run = Run::resume(&text, serde_json::from_str(&kept).unwrap(), a);
    run.finish();
    assert_eq!(run.statuses(), ["Success", "Success", "Success"]);
    assert_eq!(run.execution.status(), Status::Success, "{}", run.failure());
    assert_eq!(run.inputs_of("F"), [json!({ "tasks": ["a"] })]);
    assert!(run.inputs_of("S").is_empty());
}

#[test]
fn a_rehearsal_sleeps_less_and_the_services_limits_can_be_kept() {
    let text = book(&[
        ("Z", "action: aws:sleep, inputs: {Duration: PT1H}", ""),
        ("S", API, "timeoutSeconds: 600"),
    ]);
    let options = Options {
        fast_sleep: 60,
        service_limits: true,
        ..Options::default()
    };
    let mut run = Run::with(&text, &[], options, |_, _| None);
    run.finish();
    assert_eq!(run.elapsed(), 60 + 25);
}

#[test]
fn a_ring_ends() {
    let text = book(&[
        ("A1", "A", ""),
        (
            "B",
            "action: aws:branch, inputs: {Choices: [{NextStep: A1, Variable: x, StringEquals: x}]}",
            "",
        ),
    ]);
    let mut run = Run::new(&text, a);
    run.finish();
    assert_eq!(run.execution.status(), Status::Failed);
    assert!(run.failure().contains("after 10000 steps"));
}

#[test]
fn unchanged_values_are_told_every_15_seconds() {
    let text = book(&[("T", "T", "")]).replace("timeoutSeconds: 2", "timeoutSeconds: 60");
    let mut run = Run::new(&text, a);
    run.finish();
    let polls: Vec<u64> = run
        .events
        .iter()
        .filter_map(|it| match it {
            Event::StepPoll { elapsed, .. } => Some(*elapsed),
            _ => None,
        })
        .collect();
    assert!(
        polls.len() >= 3 && polls.len() <= 5 && polls[0] == 0,
        "{polls:?}"
    );
    assert!(
        run.requests.len() >= 7 && run.elapsed() == 60,
        "{} {}",
        run.requests.len(),
        run.elapsed()
    );
}
