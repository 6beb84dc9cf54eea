//! The twelve scenarios: statuses of the steps, and of the whole.

use bowline_runbook::Status::{Failed, Pending, Success, TimedOut};
use bowline_runbook::{Answer, Event};
use serde_json::json;

use super::{Run, book, called, ends};

#[test]
fn s1_linear_success() {
    ends(
        &book(&[("A1", "A", ""), ("A2", "A", "")]),
        &[Success, Success],
        Success,
    );
}

#[test]
fn s2_a_failure_aborts() {
    ends(
        &book(&[("A1", "A", ""), ("F", "F", ""), ("A3", "A", "")]),
        &[Success, Failed, Pending],
        Failed,
    );
}

#[test]
fn s3_continue_does_not_count() {
    ends(
        &book(&[("F", "F", "onFailure: Continue"), ("A2", "A", "")]),
        &[Failed, Success],
        Success,
    );
}

#[test]
fn s4_continue_counts_if_critical() {
    ends(
        &book(&[
            ("F", "F", "onFailure: Continue, isCritical: true"),
            ("A2", "A", ""),
        ]),
        &[Failed, Success],
        Failed,
    );
}

#[test]
fn s5_a_handled_failure_is_a_failure() {
    let text = book(&[
        ("F", "F", "onFailure: 'step:H'"),
        ("A2", "A", "isEnd: true"),
        ("H", "A", ""),
    ]);
    ends(&text, &[Failed, Pending, Success], Failed);
}

#[test]
fn s6_a_handled_failure_that_is_not_critical_is_none() {
    let text = book(&[
        ("F", "F", "onFailure: 'step:H', isCritical: false"),
        ("A2", "A", "isEnd: true"),
        ("H", "A", ""),
    ]);
    ends(&text, &[Failed, Pending, Success], Success);
}

#[test]
fn s7_a_handled_timeout_is_a_timeout() {
    let text = book(&[
        ("T", "T", "onFailure: 'step:H'"),
        ("A2", "A", "isEnd: true"),
        ("H", "A", ""),
    ]);
    ends(&text, &[TimedOut, Pending, Success], TimedOut);
}

#[test]
fn s8_the_failure_route_goes_before_is_end() {
    let text = book(&[
        ("A1", "A", ""),
        ("F", "F", "isEnd: true, onFailure: 'step:H'"),
        ("H", "A", ""),
    ]);
    ends(&text, &[Success, Failed, Success], Failed);
}

#[test]
fn s9_a_later_attempt_succeeds() {
    let text = book(&[("R", "A", "maxAttempts: 3")]);
    let mut run = Run::new(&text, |_, count| {
        called(json!({ "nextToken": if count < 2 { "b" } else { "a" } }))
    });
    run.finish();
    assert_eq!(
        (run.statuses(), run.execution.status()),
        (vec!["Success"], Success)
    );
    let delays: Vec<u64> = run
        .events
        .iter()
        .filter_map(|it| match it {
            Event::StepRetry { delay, .. } => Some(*delay),
            _ => None,
        })
        .collect();
    assert_eq!(delays, [1000, 2000]);
}

#[test]
fn s10_a_number_is_compared_by_its_digits() {
    let text = book(&[(
        "W",
        "action: aws:waitForAwsResourceProperty, inputs: {Service: ecs, Api: DescribeTasks, tasks: [t], PropertySelector: 'tasks[0].containers[0].exitCode', DesiredValues: ['0']}",
        "",
    )]);
    let mut run = Run::new(&text, |_, count| match count {
        2 => called(json!({ "tasks": [{ "containers": [{ "exitCode": 0 }] }] })),
        _ => called(json!({ "tasks": [{ "containers": [{}] }] })),
    });
    run.finish();
    assert_eq!(
        (run.requests.len(), run.execution.status(), run.elapsed()),
        (3, Success, 5)
    );
}

#[test]
fn s11_a_string_under_a_numeric_operator_fails() {
    let lambda = "action: aws:invokeLambdaFunction, inputs: {FunctionName: f}, outputs: [{Name: Code, Selector: $.n, Type: String}]";
    let branch = "action: aws:branch, inputs: {Choices: [{NextStep: A, Variable: '{{ V }}', NumericEquals: 200}], Default: A}";
    // `check` reports it, so that the variable hides behind a parameter of the wrong type at run time: none is declared.
    let text = book(&[("Get", lambda, ""), ("B", branch, ""), ("A", "A", "")])
        .replace("'{{ V }}'", "'{{ Get.StatusCode }}'");
    let report = bowline_runbook::check(&text);
    let found: Vec<String> = report
        .findings
        .iter()
        .map(|it| it.code.to_string())
        .collect();
    assert!(found.contains(&"RB022".to_owned()), "{found:?}");
    let document = std::sync::Arc::new(report.document.unwrap());
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut execution = bowline_runbook::Execution::new(
        document,
        bowline_runbook::Parameters::default(),
        super::surroundings(),
        bowline_runbook::Options::default(),
        now,
    );
    let request = execution.poll_request().unwrap();
    let answer = json!({ "StatusCode": 200, "Payload": "{}" });
    execution.answer(now, request.id, Answer::Called(answer));
    let statuses: Vec<_> = execution.statuses().map(|it| it.1).collect();
    assert_eq!(
        (statuses, execution.status()),
        (vec![Success, Failed, Pending], Failed)
    );
    let failure = std::iter::from_fn(|| execution.poll_event()).find_map(|it| match it {
        Event::RunEnd { failure, .. } => failure,
        _ => None,
    });
    assert_eq!(
        failure.unwrap(),
        "step B (aws:branch): NumericEquals needs an Integer variable; Get.StatusCode is \"200\" (String)"
    );
}

#[test]
fn s12_a_branch_without_a_match_is_a_success() {
    let branch =
        "action: aws:branch, inputs: {Choices: [{NextStep: A2, Variable: x, StringEquals: y}]}";
    ends(
        &book(&[("B", branch, "isEnd: true"), ("A2", "A", "")]),
        &[Success, Pending],
        Success,
    );
}
