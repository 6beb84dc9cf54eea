//! The example, case by case.

use bowline_runbook::{Answer, Request, Status, Work};
use serde_json::{Value, json};

use super::{Run, called, refused};

const EXAMPLE: &str = include_str!("../../../../examples/runbooks/lambda-task-lambda.yaml");

fn function(ok: bool) -> Option<Answer> {
    match ok {
        true => called(json!({ "StatusCode": 200, "Payload": "\"fine\"", "LogResult": "bG9n" })),
        false => called(
            json!({ "StatusCode": 200, "FunctionError": "Unhandled", "Payload": "{\"errorType\": \"E\", \"errorMessage\": \"boom\"}" }),
        ),
    }
}

fn task(exit: i64) -> Option<Answer> {
    called(json!({ "tasks": [{ "containers": [{ "exitCode": exit }] }] }))
}

fn started() -> Option<Answer> {
    called(json!({ "tasks": [{ "taskArn": "arn:task" }], "failures": [] }))
}

fn run<'a>(script: impl Fn(&Request, usize) -> Option<Answer> + 'a) -> Run<'a> {
    let mut run = Run::new(EXAMPLE, script);
    run.finish();
    run
}

fn by_step(step: &str, other: Option<Answer>) -> impl Fn(&Request, usize) -> Option<Answer> {
    move |request, count| match request.step.as_str() {
        name if name == step => other.clone(),
        "ecs" => started(),
        "waitecscontainer1" if count == 0 => called(json!({ "tasks": [{ "containers": [{}] }] })),
        "waitecscontainer1" => task(0),
        _ => function(true),
    }
}

#[test]
fn all_is_well() {
    let run = run(by_step("none", None));
    assert_eq!(
        run.statuses(),
        ["Success", "Success", "Success", "Success", "Pending"]
    );
    assert_eq!(run.execution.status(), Status::Success);
    assert_eq!(
        run.inputs_of("waitecscontainer1")[0],
        json!({ "cluster": "test1", "tasks": ["arn:task"] })
    );
    let Work::Call {
        service,
        operation,
        input,
    } = &run.requests[0].work
    else {
        panic!()
    };
    assert_eq!((*service, operation.as_str()), ("lambda", "Invoke"));
    assert_eq!(
        Value::Object(input.clone()),
        json!({ "FunctionName": "test", "InvocationType": "RequestResponse", "LogType": "Tail" })
    );
    // A member that is null is left out.
    assert_eq!(run.inputs_of("ecs")[0].get("overrides"), None);
}

#[test]
fn the_first_function_fails() {
    let run = run(by_step("lambda1", function(false)));
    assert_eq!(
        run.statuses(),
        ["Failed", "Pending", "Pending", "Pending", "Success"]
    );
    assert_eq!(run.execution.status(), Status::Failed);
    assert_eq!(
        run.failure(),
        "step lambda1 (aws:invokeLambdaFunction): the function failed (Unhandled): E: boom"
    );
    assert_eq!(run.elapsed(), 3);
}

#[test]
fn the_revision_is_unknown() {
    let run = run(by_step("ecs", refused("ClientException")));
    assert_eq!(
        run.statuses(),
        ["Success", "Failed", "Pending", "Pending", "Success"]
    );
    assert_eq!(run.execution.status(), Status::Failed);
    assert_eq!(
        run.failure(),
        "step ecs (aws:executeAwsApi): An error occurred (ClientException) when calling the RunTask operation: no (request id r-1)"
    );
}

#[test]
fn the_container_exits_with_1() {
    let run = run(by_step("waitecscontainer1", task(1)));
    assert_eq!(
        run.statuses(),
        ["Success", "Success", "TimedOut", "Pending", "Success"]
    );
    assert_eq!(
        (run.execution.status(), run.elapsed()),
        (Status::TimedOut, 303)
    );
    assert_eq!(
        run.failure(),
        "step waitecscontainer1 (aws:waitForAwsResourceProperty): the step was not done after 300 seconds; the last value was 1"
    );
}

#[test]
fn the_second_function_fails() {
    let run = run(by_step("lambda2", function(false)));
    assert_eq!(
        run.statuses(),
        ["Success", "Success", "Success", "Failed", "Pending"]
    );
    assert_eq!(run.execution.status(), Status::Failed);
}

#[test]
fn there_is_no_capacity() {
    let run = run(by_step(
        "ecs",
        called(json!({ "tasks": [], "failures": [{ "reason": "RESOURCE" }] })),
    ));
    assert_eq!(
        run.statuses(),
        ["Success", "Success", "Failed", "Pending", "Success"]
    );
    assert_eq!(run.execution.status(), Status::Failed);
    assert_eq!(run.requests.len(), 2, "the wait makes no call");
    assert!(
        run.failure()
            .ends_with("ecs.taskArn has no value: selector $.tasks[0].taskArn matched nothing"),
        "{}",
        run.failure()
    );
}
