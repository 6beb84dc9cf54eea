//! Copies of recordings in S3 and CloudWatch Logs.

use std::fs;

use serde_json::json;

use crate::configured;
use crate::support::{Sandbox, post, run};

#[test]
fn recordings_are_copied_as_they_are_and_never_replaced() {
    let sandbox = Sandbox::start(&["--accept-any-credentials"]);
    let group = json!({ "logGroupName": "/audit" });
    post(&sandbox, "Logs_20140328", "CreateLogGroup", &group);
    let text = "[record]\nalways = true\ncopy = ['s3://demo-bucket/sessions', 'logs:/audit', 's3://no-such-bucket']\n";
    let (folder, mut command) = configured(&sandbox, text, &["exec", "web", "--", "echo", "hello"]);
    command.env("XDG_STATE_HOME", folder.path());
    // What cannot be copied is said, and is there still.
    run(&mut command).code(0).stderr_has("NoSuchBucket");
    let files: Vec<_> = fs::read_dir(folder.path().join("bowline/recordings"))
        .unwrap()
        .collect();
    let path = files[0].as_ref().unwrap().path();
    let name = path.file_name().unwrap().to_str().unwrap();
    let file = fs::read_to_string(&path).unwrap();

    let events = json!({ "logGroupName": "/audit", "logStreamName": name, "startFromHead": true });
    let body = post(&sandbox, "Logs_20140328", "GetLogEvents", &events);
    let copied: Vec<&str> = body["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["message"].as_str().unwrap())
        .collect();
    assert_eq!(copied, file.lines().collect::<Vec<_>>());

    let path = path.to_str().unwrap();
    let again = [
        "record",
        "export",
        path,
        "--to",
        "s3://demo-bucket/sessions",
    ];
    run(&mut sandbox.bowline(&again))
        .code(1)
        .stderr_has("PreconditionFailed");
    let elsewhere = [
        "record",
        "export",
        path,
        "--to",
        "s3://demo-bucket/elsewhere",
    ];
    run(&mut sandbox.bowline(&elsewhere)).code(0);
}
