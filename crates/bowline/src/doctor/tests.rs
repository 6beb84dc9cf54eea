//! Every check on facts that are made up, also those that no sandbox has; and all texts in one snapshot.

mod restraint;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::checks::report;
use super::facts::{Caller, Facts, Known, Network, Rights, Unknown, Verdict};
use super::{Check, Report, Severity, State};
use crate::explain::{Deed, Place, explain};

/// A task without any fault, on Fargate, in a service, behind a NAT gateway.
fn healthy() -> Facts {
    let nothing = || Ok(Verdict::default());
    Facts {
        region: "eu-west-1".to_owned(),
        partition: "aws".to_owned(),
        account: "123456789012".to_owned(),
        cluster: "prod".to_owned(),
        task: json!({
            "taskArn": "arn:aws:ecs:eu-west-1:123456789012:task/prod/t1",
            "taskDefinitionArn": "arn:aws:ecs:eu-west-1:123456789012:task-definition/web:7",
            "group": "service:web",
            "lastStatus": "RUNNING",
            "desiredStatus": "RUNNING",
            "platformVersion": "1.4.0",
            "platformFamily": "Linux",
            "enableExecuteCommand": true,
            "containers": [{
                "name": "app",
                "lastStatus": "RUNNING",
                "managedAgents": [{ "name": "ExecuteCommandAgent", "lastStatus": "RUNNING" }],
            }],
        }),
        containers: vec!["app".to_owned()],
        service: Ok(Some(json!({
            "serviceName": "web",
            "enableExecuteCommand": true,
            "taskDefinition": "arn:aws:ecs:eu-west-1:123456789012:task-definition/web:7",
        }))),
        configuration: Ok(json!({})),
        definition: Ok(json!({
            "family": "web",
            "revision": 7,
            "taskDefinitionArn": "arn:aws:ecs:eu-west-1:123456789012:task-definition/web:7",
            "taskRoleArn": "arn:aws:iam::123456789012:role/path/web-task",
            "containerDefinitions": [{
                "name": "app",
                "linuxParameters": { "initProcessEnabled": true },
            }],
        })),
        instance: Ok(None),
        caller: Ok(Caller {
            arn: "arn:aws:iam::123456789012:user/me".to_owned(),
            user_id: "AIDA".to_owned(),
        }),
        rights: Rights {
            execute: nothing(),
            open: nothing(),
            sessions: nothing(),
            start: nothing(),
            caller_key: nothing(),
            channel: nothing(),
            logging: nothing(),
            key: nothing(),
        },
        network: Ok(network()),
        sessions: vec![Ok(Vec::new())],
        reach: Ok(Ok("ssmmessages.eu-west-1.amazonaws.com:443".to_owned())),
        skew: Some(1),
        age: Some(4000),
    }
}

fn network() -> Network {
    let all = json!([{ "ipProtocol": "-1", "ipRanges": [{ "cidrIp": "0.0.0.0/0" }] }]);
    Network {
        subnet_id: "subnet-1".to_owned(),
        vpc_id: "vpc-1".to_owned(),
        cidr: Some("10.0.1.0/24".to_owned()),
        table: Ok(json!({ "routeSet": [
            { "destinationCidrBlock": "0.0.0.0/0", "natGatewayId": "nat-1", "state": "active" },
        ] })),
        endpoints: Ok(Vec::new()),
        groups: Ok(vec![
            json!({ "groupId": "sg-task", "ipPermissionsEgress": all }),
        ]),
        endpoint_groups: Ok(vec![json!({ "groupId": "sg-end", "ipPermissions": all })]),
        public: Ok(false),
    }
}

fn endpoint(private_dns: &str) -> Value {
    json!({
        "vpcEndpointId": "vpce-1",
        "serviceName": "com.amazonaws.eu-west-1.ssmmessages",
        "state": "available",
        "privateDnsEnabled": private_dns,
        "groupSet": [{ "groupId": "sg-end" }],
    })
}

fn denied(actions: &[&str], explicit: bool) -> Known<Verdict> {
    Ok(Verdict {
        denied: actions.iter().map(|action| (*action).to_owned()).collect(),
        explicit,
        nobody: false,
    })
}

fn definition(facts: &mut Facts) -> &mut Value {
    facts.definition.as_mut().unwrap()
}

fn service(facts: &mut Facts) -> &mut Value {
    facts.service.as_mut().unwrap().as_mut().unwrap()
}

fn routes(routes: &Value) -> Known<Value> {
    Ok(json!({ "routeSet": routes }))
}

/// What is wrong, under a name, and the id of the check that has to be named first.
type Case = (&'static str, &'static str, fn(&mut Facts));

const CASES: [Case; 44] = [
    ("pending task", "task-running", |f| {
        f.task["lastStatus"] = json!("PENDING");
    }),
    ("stopping task", "task-running", |f| {
        f.task["desiredStatus"] = json!("STOPPED");
    }),
    ("exec off", "exec-enabled", |f| {
        f.task["enableExecuteCommand"] = json!(false);
        service(f)["enableExecuteCommand"] = json!(false);
    }),
    ("exec on for newer tasks", "exec-enabled", |f| {
        f.task["enableExecuteCommand"] = json!(false);
    }),
    ("exec off, no service", "exec-enabled", |f| {
        f.task["enableExecuteCommand"] = json!(false);
        f.service = Ok(None);
    }),
    ("old platform", "platform-version", |f| {
        f.task["platformVersion"] = json!("1.3.0");
    }),
    ("old ECS agent", "ecs-agent", |f| {
        f.task.as_object_mut().unwrap().remove("platformVersion");
        f.task["containerInstanceArn"] = json!("arn:aws:ecs:r:1:container-instance/prod/i1");
        f.instance = Ok(Some(json!({
            "containerInstanceArn": "arn:aws:ecs:r:1:container-instance/prod/i1",
            "versionInfo": { "agentVersion": "1.50.1" },
        })));
    }),
    ("no role", "task-role", |f| {
        definition(f).as_object_mut().unwrap().remove("taskRoleArn");
    }),
    // ECS refuses to turn ECS Exec on where there is no role.
    ("no role and exec off", "task-role", |f| {
        definition(f).as_object_mut().unwrap().remove("taskRoleArn");
        f.task["enableExecuteCommand"] = json!(false);
        service(f)["enableExecuteCommand"] = json!(false);
    }),
    ("role gone", "role-channel", |f| {
        f.rights.channel = Ok(Verdict {
            nobody: true,
            ..Verdict::default()
        });
    }),
    ("role not allowed", "role-channel", |f| {
        f.rights.channel = denied(&["ssmmessages:OpenDataChannel"], false);
    }),
    ("role forbidden", "role-channel", |f| {
        f.rights.channel = denied(&["ssmmessages:OpenDataChannel"], true);
    }),
    ("role without the key", "role-kms", |f| {
        f.configuration = Ok(json!({ "kmsKeyId": "arn:aws:kms:eu-west-1:1:key/k" }));
        f.rights.key = denied(&["kms:Decrypt"], false);
    }),
    ("role without the log", "role-logging", |f| {
        f.configuration = Ok(json!({ "logging": "OVERRIDE" }));
        f.rights.logging = denied(&["logs:CreateLogStream", "logs:PutLogEvents"], false);
    }),
    ("role without the bucket", "role-logging", |f| {
        f.configuration = Ok(json!({ "logging": "OVERRIDE" }));
        f.rights.logging = denied(&["s3:PutObject"], false);
    }),
    ("no route", "route", |f| {
        f.network.as_mut().unwrap().table = routes(&json!([]));
    }),
    ("other endpoints only", "route", |f| {
        let network = f.network.as_mut().unwrap();
        network.table = routes(&json!([]));
        network.endpoints = Ok(vec![
            json!({ "serviceName": "x", "groupSet": [{ "groupId": "sg-x" }] }),
        ]);
    }),
    ("dead route", "route", |f| {
        f.network.as_mut().unwrap().table = routes(&json!([
            { "destinationCidrBlock": "0.0.0.0/0", "natGatewayId": "nat-1", "state": "blackhole" },
        ]));
    }),
    ("no public address", "route", |f| {
        f.network.as_mut().unwrap().table =
            routes(&json!([{ "destinationCidrBlock": "0.0.0.0/0", "gatewayId": "igw-1" }]));
    }),
    ("no private DNS", "route", |f| {
        let network = f.network.as_mut().unwrap();
        network.table = routes(&json!([]));
        network.endpoints = Ok(vec![endpoint("false")]);
    }),
    ("egress closed", "security-groups", |f| {
        f.network.as_mut().unwrap().groups = Ok(vec![json!({ "groupId": "sg-task" })]);
    }),
    ("endpoint closed", "security-groups", |f| {
        let network = f.network.as_mut().unwrap();
        network.endpoints = Ok(vec![endpoint("true")]);
        network.endpoint_groups = Ok(vec![json!({ "groupId": "sg-end" })]);
    }),
    ("caller not allowed", "caller-execute", |f| {
        f.rights.execute = denied(&["ecs:ExecuteCommand"], false);
    }),
    ("caller forbidden", "caller-execute", |f| {
        f.rights.execute = denied(&["ecs:ExecuteCommand"], true);
    }),
    ("caller without channels", "caller-open", |f| {
        f.rights.open = denied(&["ssmmessages:OpenDataChannel"], false);
    }),
    ("caller without the key", "caller-kms", |f| {
        f.rights.caller_key = denied(&["kms:GenerateDataKey"], false);
    }),
    ("caller without resuming", "caller-sessions", |f| {
        f.rights.sessions = denied(&["ssm:ResumeSession"], false);
    }),
    ("slow clock", "clock", |f| f.skew = Some(20 * 60)),
    ("fast clock", "clock", |f| f.skew = Some(-6 * 60)),
    ("out of reach", "reach", |f| {
        f.reach = Ok(Err("x:443 refused the connection".to_owned()));
    }),
    ("pending container", "agent", |f| {
        f.task["containers"][0]["lastStatus"] = json!("PENDING");
    }),
    ("agent stopped", "agent", |f| {
        let agent = &mut f.task["containers"][0]["managedAgents"][0];
        agent["lastStatus"] = json!("STOPPED");
        agent["reason"] = json!("exited with exit code: 1");
    }),
    ("agent starting", "agent", |f| {
        f.task["containers"][0]["managedAgents"][0]["lastStatus"] = json!("PENDING");
        f.age = Some(20);
    }),
    ("agent starting for long", "agent", |f| {
        f.task["containers"][0]["managedAgents"][0]["lastStatus"] = json!("PENDING");
    }),
    ("no agent", "agent", |f| {
        f.task["containers"][0]["managedAgents"] = json!([]);
    }),
    ("read-only root", "read-only-root", |f| {
        definition(f)["containerDefinitions"][0]["readonlyRootFilesystem"] = json!(true);
        f.task["containers"][0]["managedAgents"][0]["lastStatus"] = json!("STOPPED");
    }),
    ("access keys", "credentials-in-environment", |f| {
        definition(f)["containerDefinitions"][0]["secrets"] =
            json!([{ "name": "AWS_SECRET_ACCESS_KEY", "valueFrom": "x" }]);
    }),
    ("proxy", "proxy-in-environment", |f| {
        f.task["overrides"] = json!({ "containerOverrides": [
            { "name": "app", "environment": [{ "name": "HTTPS_PROXY", "value": "http://p" }] },
        ] });
    }),
    ("proxy that others pass by", "proxy-in-environment", |f| {
        definition(f)["containerDefinitions"][0]["environment"] = json!([
            { "name": "https_proxy", "value": "http://p" },
            { "name": "NO_PROXY", "value": "localhost,.internal,s3.eu-west-1.amazonaws.com" },
        ]);
    }),
    ("shared processes", "pid-mode", |f| {
        let definition = definition(f);
        definition["pidMode"] = json!("task");
        let second = json!({ "name": "second" });
        definition["containerDefinitions"]
            .as_array_mut()
            .unwrap()
            .push(second);
    }),
    ("shared processes, second container", "pid-mode", |f| {
        let definition = definition(f);
        definition["pidMode"] = json!("task");
        let second = json!({ "name": "second" });
        definition["containerDefinitions"]
            .as_array_mut()
            .unwrap()
            .push(second);
        f.task["containers"][0]["managedAgents"][0]["lastStatus"] = json!("STOPPED");
    }),
    ("sessions taken", "session-limit", |f| {
        f.sessions = vec![Ok(vec![
            json!({ "SessionId": "s2", "Owner": "arn:b", "StartDate": 2.0 }),
            json!({ "SessionId": "s1", "Owner": "arn:a", "StartDate": 1.0 }),
        ])];
    }),
    ("no init process", "init-process", |f| {
        definition(f)["containerDefinitions"][0]["linuxParameters"] = Value::Null;
    }),
    ("roll-out under way", "task-definition", |f| {
        service(f)["taskDefinition"] =
            json!("arn:aws:ecs:eu-west-1:123456789012:task-definition/web:8");
    }),
];

#[test]
fn every_cause_is_named_first() {
    for (name, id, spoil) in CASES {
        let mut facts = healthy();
        spoil(&mut facts);
        let report = report(&facts);
        let first = report.problems().next().map(|check| check.id);
        assert_eq!(first, Some(id), "{name}: {report:#?}");
    }
}

/// What `doctor --fix --explain` says and what it does come from different places.
#[test]
fn every_call_that_mends_something_is_explained() {
    let explained = explain(&[Deed::Doctor { fix: true }], &Place::new());
    let explained: Vec<&str> = explained.calls.iter().map(|call| &*call.action).collect();
    let mut asked = BTreeSet::new();
    for (_, _, spoil) in CASES {
        let mut facts = healthy();
        spoil(&mut facts);
        for check in report(&facts).checks {
            asked.extend(check.requests.into_iter().map(|request| request.call));
        }
    }
    let missing = asked.iter().filter(|call| !explained.contains(&&***call));
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(asked.len(), 10, "{asked:?}");
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    let report = report(&healthy());
    assert_eq!(report.problems().count(), 0, "{report:#?}");
    assert!(!report.has_problems());
}

/// Throttled, denied, late: whatever keeps facts away, nothing is made of it.
#[test]
fn what_is_not_known_is_never_a_problem() {
    let why = || Unknown::new("AWS throttled it");
    let facts = Facts {
        service: Err(why()),
        configuration: Err(why()),
        definition: Err(why()),
        instance: Err(why()),
        caller: Err(why()),
        rights: Rights::unknown(&why()),
        network: Err(why()),
        sessions: vec![Err(why())],
        reach: Err(why()),
        skew: None,
        age: None,
        ..healthy()
    };
    let report = report(&facts);
    assert_eq!(report.problems().count(), 0, "{report:#?}");
    let unknown = |check: &&Check| check.state == State::Unknown;
    assert!(report.checks.iter().filter(unknown).count() > 15);

    let parts = Facts {
        network: Ok(Network {
            table: Err(why()),
            endpoints: Err(why()),
            groups: Err(why()),
            endpoint_groups: Err(why()),
            public: Err(why()),
            ..network()
        }),
        ..healthy()
    };
    assert_eq!(super::checks::report(&parts).problems().count(), 0);
}

#[test]
fn a_fix_is_the_smallest_request_and_keeps_the_rest_of_a_definition() {
    let mut facts = healthy();
    let app = &mut definition(&mut facts)["containerDefinitions"][0];
    app["readonlyRootFilesystem"] = json!(true);
    app["futureMember"] = json!({ "kept": true });
    let report = report(&facts);
    let requests = &report.problems().next().unwrap().requests;
    assert_eq!(requests[0].call, "ecs:RegisterTaskDefinition");
    let revised = &requests[0].input;
    assert!(revised.get("revision").is_none() && revised.get("taskDefinitionArn").is_none());
    let app = &revised["containerDefinitions"][0];
    assert_eq!(app["readonlyRootFilesystem"], json!(false));
    assert_eq!(app["futureMember"], json!({ "kept": true }));
    assert_eq!(
        requests[1].input,
        json!({
            "cluster": "prod",
            "service": "web",
            "taskDefinition": "(ARN of the new revision)",
            "forceNewDeployment": true,
        })
    );
}

/// Everything that doctor can say, to be read as prose.
#[test]
fn texts() {
    let mut text = String::new();
    for (name, id, spoil) in CASES {
        let mut facts = healthy();
        spoil(&mut facts);
        let report = report(&facts);
        let _ = writeln!(text, "== {name}");
        for check in report.problems().filter(|check| check.id == id) {
            text.push_str(&told(check));
        }
    }
    text.push_str("== unknown\n");
    let why = || Unknown::new("the caller may not ec2:DescribeSubnets");
    let facts = Facts {
        rights: Rights::unknown(&Unknown::new("AWS throttled iam:SimulatePrincipalPolicy")),
        network: Err(why()),
        configuration: Ok(json!({ "logging": "DEFAULT" })),
        reach: Err(Unknown::new("x:443 did not answer in time")),
        skew: None,
        ..healthy()
    };
    list(&mut text, &report(&facts), State::Unknown);
    text.push_str("== ok\n");
    list(&mut text, &report(&healthy()), State::Ok);
    insta::assert_snapshot!(text);
}

fn told(check: &Check) -> String {
    let severity = match check.severity {
        Some(Severity::Blocks) => "blocks",
        Some(Severity::MayBlock) => "may block",
        Some(Severity::Note) => "note",
        None => "-",
    };
    let calls: Vec<&str> = check.requests.iter().map(|one| one.call.as_str()).collect();
    format!(
        "{severity}: {}\n  fix: {}\n  by: {}\n  how: {}\n",
        check.what,
        check.fix.as_deref().unwrap_or("-"),
        if calls.is_empty() {
            "hand".to_owned()
        } else {
            calls.join(", ")
        },
        check.how
    )
}

fn list(text: &mut String, report: &Report, state: State) {
    for check in report.checks.iter().filter(|check| check.state == state) {
        let _ = writeln!(text, "{}: {}", check.id, check.what);
    }
}
