//! Sandboxes with the world of a file.

use std::time::Instant;

use bowline_sandbox::{Sandbox, StartError, WorldFile};
use serde_json::{Value, json};

use super::client::{self, Client};
use super::{LIMIT, call};

const SHOP: &str = include_str!("../../../../examples/worlds/shop.yaml");
const LARGE: &str = include_str!("../../../../examples/worlds/large.yaml");

async fn start(text: &str) -> Result<Sandbox, StartError> {
    let mut options = client::options();
    options.world = Some(WorldFile::parse(text, "world.yaml").unwrap());
    Sandbox::start(options).await
}

/// Everything that a list operation lists, page by page.
async fn all(client: &Client, operation: &str, mut body: Value, member: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    loop {
        let page = call(client, operation, body.clone()).await;
        let page_of: Vec<String> = serde_json::from_value(page[member].clone()).unwrap();
        found.extend(page_of);
        if page["nextToken"].is_null() {
            return found;
        }
        body["nextToken"] = page["nextToken"].clone();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_is_what_the_apis_show() {
    let sandbox = start(SHOP).await.unwrap();
    let client = Client::of(&sandbox);
    let clusters = all(&client, "ListClusters", json!({}), "clusterArns").await;
    let names: Vec<_> = clusters
        .iter()
        .map(|arn| arn.rsplit('/').next().unwrap())
        .collect();
    assert_eq!(names, ["shop-prod", "shop-test", "tools"]);

    let services = json!({ "cluster": "shop-prod", "services": ["web", "api-1", "api-2", "api-3"], "include": ["TAGS"] });
    let services = call(&client, "DescribeServices", services).await;
    let shown: Vec<_> = services["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|service| {
            json!([
                service["serviceName"],
                service["desiredCount"],
                service["runningCount"],
                service["enableExecuteCommand"],
                service["launchType"],
                service["deployments"][0]["rolloutState"],
                service["tags"],
            ])
        })
        .collect();
    assert_eq!(
        Value::from(shown),
        json!([
            ["web", 2, 2, true, "FARGATE", "COMPLETED", [{ "key": "env", "value": "prod" }]],
            ["api-1", 3, 3, true, null, "COMPLETED", []],
            ["api-2", 1, 1, false, null, "COMPLETED", []],
            ["api-3", 0, 0, true, null, "COMPLETED", []],
        ])
    );

    let definition = call(
        &client,
        "DescribeTaskDefinition",
        json!({ "taskDefinition": "web" }),
    )
    .await;
    let definition = &definition["taskDefinition"];
    assert_eq!(
        definition["taskRoleArn"],
        "arn:aws:iam::123456789012:role/shop-task"
    );
    let app = &definition["containerDefinitions"][0];
    assert_eq!(app["image"], "registry.example/shop/web:1.42");
    assert_eq!(
        app["secrets"][0]["valueFrom"],
        "arn:aws:secretsmanager:us-east-1:123456789012:secret:web/database"
    );
    assert_eq!(
        app["mountPoints"][1],
        json!({ "sourceVolume": "scratch", "containerPath": "/scratch", "readOnly": true })
    );
    assert_eq!(
        app["logConfiguration"]["options"]["awslogs-group"],
        "/ecs/web"
    );
    assert_eq!(
        definition["volumes"][0]["efsVolumeConfiguration"]["authorizationConfig"],
        json!({ "iam": "ENABLED", "accessPointId": "fsap-0a1b2c3d4e5f60001" })
    );

    let stopped = json!({ "cluster": "shop-prod", "desiredStatus": "STOPPED" });
    let stopped = all(&client, "ListTasks", stopped, "taskArns").await;
    let stopped = call(
        &client,
        "DescribeTasks",
        json!({ "cluster": "shop-prod", "tasks": stopped }),
    )
    .await;
    assert_eq!(stopped["tasks"][0]["stopCode"], "EssentialContainerExited");
    assert_eq!(stopped["tasks"][0]["containers"][0]["exitCode"], 137);
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lazy_task_has_processes_from_its_first_session_on() {
    let sandbox = start(SHOP).await.unwrap();
    let client = Client::of(&sandbox);
    let tasks = json!({ "cluster": "shop-prod", "serviceName": "web" });
    let tasks = all(&client, "ListTasks", tasks, "taskArns").await;
    let described = call(
        &client,
        "DescribeTasks",
        json!({ "cluster": "shop-prod", "tasks": [tasks[0]] }),
    )
    .await;
    let task = &described["tasks"][0];
    assert_eq!(task["lastStatus"], "RUNNING");
    assert_eq!(
        task["containers"][0]["managedAgents"][0]["lastStatus"],
        "RUNNING"
    );
    let address = task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"]
        .as_str()
        .unwrap();
    let server = format!("{address}:8080");
    assert!(
        tokio::net::TcpStream::connect(&server).await.is_err(),
        "it has a process already"
    );

    let exec = json!({ "cluster": "shop-prod", "task": tasks[0], "container": "router", "command": "true", "interactive": true });
    call(&client, "ExecuteCommand", exec).await;
    // The server is up some moments after its process.
    let start = Instant::now();
    while tokio::net::TcpStream::connect(&server).await.is_err() {
        assert!(
            start.elapsed() < LIMIT,
            "no container of the task was started"
        );
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }

    // The other one still has none, and stops like any.
    let stop = json!({ "cluster": "shop-prod", "task": tasks[1], "reason": "enough" });
    call(&client, "StopTask", stop).await;
    let start = Instant::now();
    loop {
        let task = json!({ "cluster": "shop-prod", "tasks": [tasks[1]] });
        let task = call(&client, "DescribeTasks", task).await["tasks"][0].clone();
        if task["lastStatus"] == "STOPPED" {
            assert_eq!(task["containers"][0]["exitCode"], 143);
            break;
        }
        assert!(start.elapsed() < LIMIT, "{task:#}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runbook_starts_the_processes_of_a_lazy_task_too() {
    let sandbox = start(SHOP).await.unwrap();
    let client = Client::of(&sandbox);
    let tasks = json!({ "cluster": "shop-prod", "serviceName": "web" });
    let tasks = all(&client, "ListTasks", tasks, "taskArns").await;
    let described = json!({ "cluster": "shop-prod", "tasks": [tasks[0]] });
    let described = call(&client, "DescribeTasks", described).await;
    let address = &described["tasks"][0]["containers"][0]["networkInterfaces"][0];
    let server = format!("{}:8080", address["privateIpv4Address"].as_str().unwrap());
    let book = json!({ "schemaVersion": "0.3", "mainSteps": [{ "name": "enter", "action": "aws:executeAwsApi", "inputs": {
        "Service": "ecs", "Api": "ExecuteCommand", "cluster": "shop-prod", "task": tasks[0], "container": "router",
        "command": "true", "interactive": true,
    } }] });
    let document = json!({ "Name": "Enter", "DocumentType": "Automation", "DocumentFormat": "JSON", "Content": book.to_string() });
    call(&client, "AmazonSSM.CreateDocument", document).await;
    let execution = json!({ "DocumentName": "Enter" });
    call(&client, "AmazonSSM.StartAutomationExecution", execution).await;
    let start = Instant::now();
    while tokio::net::TcpStream::connect(&server).await.is_err() {
        assert!(
            start.elapsed() < LIMIT,
            "no container of the task was started"
        );
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_world_of_thousands_is_listed_in_full() {
    let sandbox = start(LARGE).await.unwrap();
    let client = Client::of(&sandbox);
    let clusters = all(
        &client,
        "ListClusters",
        json!({ "maxResults": 7 }),
        "clusterArns",
    )
    .await;
    assert_eq!(clusters.len(), 60);
    let (mut services, mut tasks) = (0, Vec::new());
    for cluster in clusters {
        services += all(
            &client,
            "ListServices",
            json!({ "cluster": cluster }),
            "serviceArns",
        )
        .await
        .len();
        tasks.extend(
            all(
                &client,
                "ListTasks",
                json!({ "cluster": cluster, "maxResults": 50 }),
                "taskArns",
            )
            .await,
        );
    }
    assert_eq!((services, tasks.len()), (1500, 5040));
    tasks.sort();
    tasks.dedup();
    assert_eq!(tasks.len(), 5040);
    sandbox.shutdown().await;
}

#[tokio::test]
async fn names_that_do_not_exist_are_said_with_their_place() {
    let family = "families: [{name: f, containers: [{name: a, image: x}]}]\n";
    for (text, expected) in [
        (
            "clusters: [{name: a, services: [{name: b, family: nope}]}]",
            "world.yaml:2:51: there is no family nope in this file",
        ),
        (
            "clusters: [{name: 'a b'}]",
            "world.yaml:2:19: \"a b\" cannot be the name of a cluster: it needs letters, digits, hyphens and underscores",
        ),
        (
            "clusters: [{name: a, repeat: 2}]",
            "world.yaml:2:19: there are two clusters a",
        ),
        (
            "clusters: [{name: a, repeat: 99999999}]",
            "world.yaml:2:19: stands for more than 20000 copies",
        ),
        (
            "clusters: [{name: a, services: [{name: f, desired: 50001}]}]",
            "world.yaml:2:40: more than 50000 tasks",
        ),
        (
            "clusters: [{name: a, tasks: [{family: f, count: 201, start: eager}]}]",
            "world.yaml:2:39: more than 200 tasks with `start: eager`; each is processes of this machine",
        ),
    ] {
        let error = start(&format!("{family}{text}")).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}
