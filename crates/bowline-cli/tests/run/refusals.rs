//! Each error of RunTask, provoked, as a user reads it.

use std::fmt::Write as _;

use serde_json::json;

use crate::control::{call, sandbox};
use crate::support::run;

#[test]
fn each_refusal_reads_well() {
    let sandbox = sandbox(&[]);
    let mut prose = String::new();
    for code in [
        "ClientException",
        "InvalidParameterException",
        "ClusterNotFoundException",
        "UnsupportedFeatureException",
        "PlatformUnknownException",
        "PlatformTaskDefinitionIncompatibilityException",
        "AccessDeniedException",
        "BlockedException",
        "ExpiredTokenException",
    ] {
        call(
            &sandbox,
            "FailNext",
            &json!({ "operation": "RunTask", "code": code }),
        );
        let finished = run(&mut sandbox.bowline(&["run", "family:job", "--like", "web"])).code(125);
        let id = finished.stderr.split_once("request id ").unwrap().1;
        let id = &id[..id.find(')').unwrap()];
        prose.write_str(&finished.stderr.replace(id, "ID")).unwrap();
    }
    insta::assert_snapshot!(prose, @r#"
    error: ECS cannot do this as things are: ecs:RunTask: The sandbox was asked to answer RunTask with ClientException. (ClientException, HTTP 400, request id ID)
    hint: AWS's words say what is in the way; `--dry-run` shows the request
    error: ECS does not accept the request as it is: ecs:RunTask: The sandbox was asked to answer RunTask with InvalidParameterException. (InvalidParameterException, HTTP 400, request id ID)
    hint: `--dry-run` shows the request; compare it with the task definition
    error: the cluster does not exist in this account and region: ecs:RunTask: Cluster not found. (ClusterNotFoundException, HTTP 400, request id ID)
    hint: `bowline ls clusters` shows those there are; check --cluster, --region and --profile
    error: this region does not have a feature that the task needs: ecs:RunTask: The specified feature isn't supported in this Region. (UnsupportedFeatureException, HTTP 400, request id ID)
    hint: use another region, or leave the feature out of the task definition
    error: there is no such Fargate platform version: ecs:RunTask: The specified platform version doesn't exist. (PlatformUnknownException, HTTP 400, request id ID)
    hint: name another one with --platform-version, or update the service it was taken from to LATEST
    error: the Fargate platform version lacks something that the task definition needs: ecs:RunTask: The specified platform version doesn't satisfy the required capabilities of the task definition. (PlatformTaskDefinitionIncompatibilityException, HTTP 400, request id ID)
    hint: EFS, more disk, ARM and others need 1.4.0 or later: --platform-version LATEST, or update the service it was taken from
    error: the caller is not allowed to do this: ecs:RunTask: User: arn:aws:iam::123456789012:user/sandbox is not authorized to perform: ecs:RunTask on resource: * because no identity-based policy allows the ecs:RunTask action (AccessDeniedException, HTTP 400, request id ID)
    hint: the caller needs the permission ecs:RunTask
    error: AWS has blocked this account for new tasks: ecs:RunTask: Your AWS account was blocked. For more information, contact AWS Support. (BlockedException, HTTP 400, request id ID)
    hint: new or suspended accounts are blocked; AWS Support lifts it
    error: the credentials have expired: ecs:RunTask: The security token included in the request is expired (ExpiredTokenException, HTTP 400, request id ID)
    hint: sign in again (`aws sso login`, `aws login`), or fetch new ones
    "#);
}

/// The client token makes it safe to try again, and most of these pass.
#[test]
fn throttling_and_server_errors_pass_and_start_one_task() {
    let sandbox = sandbox(&[]);
    for code in ["ThrottlingException", "ServerException"] {
        call(
            &sandbox,
            "FailNext",
            &json!({ "operation": "RunTask", "code": code, "count": 2 }),
        );
        call(
            &sandbox,
            "FailNext",
            &json!({ "operation": "GetLogEvents", "code": "ThrottlingException", "count": 2 }),
        );
        run(&mut sandbox.bowline(&["run", "family:job", "--log-wait", "2s"]))
            .code(0)
            .stdout("job: starting\njob: working\njob: done\n");
    }
    call(
        &sandbox,
        "FailNext",
        &json!({ "operation": "GetLogEvents", "code": "AccessDeniedException", "count": 9 }),
    );
    run(&mut sandbox.bowline(&["run", "family:job", "--", "sh", "-c", "exit 4"]))
        .code(4)
        .stderr_has("the output of container job cannot be read");
}

/// Without an answer nobody knows what ECS has done.
#[test]
fn a_run_task_without_an_answer_may_have_started_one() {
    let sandbox = sandbox(&[]);
    let body = json!({ "operation": "RunTask", "code": "ServerException", "count": 20 });
    call(&sandbox, "FailNext", &body);
    let words = ["run", "family:job", "--client-token", "once", "-d"];
    run(&mut sandbox.bowline(&words)).code(125).stderr_has(
        "a task may have been started (`bowline ls tasks`); the same command with `--client-token once` starts no second one",
    );
}
