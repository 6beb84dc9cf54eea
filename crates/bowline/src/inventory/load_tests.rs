//! Walks against servers on loopback that answer as ECS does, with its pages, refusals and limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::*;
use crate::aws::error::AwsErrorKind;
use crate::aws::wire_tests::{Server, response};

const SOON: Duration = Duration::from_secs(60);

fn arn(kind: &str, name: &str) -> String {
    format!("arn:aws:ecs:eu-west-1:1:{kind}/{name}")
}

/// `prod` has `web` with two tasks, on two pages; of `dark` nothing may be seen; `bare` is empty.
fn answer(operation: &str, body: &Value) -> Value {
    let cluster = body["cluster"].as_str().unwrap_or_default();
    let task = |id: &str| {
        json!({"taskArn": arn("task/prod", id), "clusterArn": arn("cluster", "prod"), "group": "service:web",
               "lastStatus": "RUNNING", "desiredStatus": "RUNNING", "enableExecuteCommand": true,
               "containers": [{"name": "app", "image": "shop:7", "lastStatus": "RUNNING", "runtimeId": "r",
                               "managedAgents": [{"name": "ExecuteCommandAgent", "lastStatus": "RUNNING"}]},
                              {"name": "ecs-service-connect-x1", "lastStatus": "RUNNING"}]})
    };
    match (operation, cluster, body["nextToken"].as_str()) {
        ("ListClusters", ..) => {
            let arns = ["prod", "dark", "bare"].map(|name| arn("cluster", name));
            json!({"clusterArns": arns})
        }
        ("DescribeClusters", ..) => json!({"clusters": [
            {"clusterName": "prod", "activeServicesCount": 1, "runningTasksCount": 2},
            {"clusterName": "dark", "activeServicesCount": 1, "runningTasksCount": 1},
            {"clusterName": "bare"}]}),
        (_, "dark", _) => json!({"__type": "AccessDeniedException", "message": "no"}),
        ("ListServices", "prod", _) => json!({"serviceArns": [arn("service/prod", "web")]}),
        ("ListTasks", "prod", None) => {
            json!({"taskArns": [arn("task/prod", "1")], "nextToken": "more"})
        }
        ("ListTasks", "prod", Some(_)) => json!({"taskArns": [arn("task/prod", "2")]}),
        ("DescribeTasks", ..) => {
            let asked = body["tasks"].as_array().unwrap().iter();
            let ids = asked.map(|arn| arn.as_str().unwrap().rsplit('/').next().unwrap());
            json!({"tasks": ids.map(task).collect::<Vec<_>>()})
        }
        ("DescribeServices", ..) => json!({"services": [
            {"serviceName": "web", "status": "ACTIVE", "desiredCount": 2, "runningCount": 2,
             "events": [{"message": "newest"}, {"message": "older"}]}]}),
        _ => panic!("{operation} of {cluster}"),
    }
}

/// What a call runs into.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    Throttled,
    /// The connection is closed without an answer.
    Cut,
}

/// Throttles the calls that `throttles` says, by their number.
async fn server(throttles: fn(usize) -> bool) -> Server {
    faulty(move |number, _| match throttles(number) {
        true => Fault::Throttled,
        false => Fault::None,
    })
    .await
}

/// Answers with the faults of calls, by their number and operation.
async fn faulty(fault: impl Fn(usize, &str) -> Fault + Send + 'static) -> Server {
    let count = Arc::new(AtomicUsize::new(0));
    Server::start(move |request| {
        let (operation, rest) = request.split_once(' ').unwrap();
        // The signature follows the body.
        let mut values = serde_json::Deserializer::from_str(rest).into_iter();
        let body: Value = values.next().unwrap().unwrap();
        let body = match fault(count.fetch_add(1, Ordering::SeqCst), operation) {
            Fault::Cut => return String::new(),
            Fault::Throttled => {
                json!({"__type": "ThrottlingException", "message": "Rate exceeded"})
            }
            Fault::None => answer(operation, &body),
        };
        let status = match body.get("__type") {
            Some(_) => "400 Bad Request",
            None => "200 OK",
        };
        response(status, "application/x-amz-json-1.1", &body.to_string())
    })
    .await
}

/// Everything until the walk is done, with what was refused.
async fn walk(load: &mut InventoryLoad) -> (Inventory, Vec<String>, LoadFigures) {
    let mut inventory = Inventory::of(vec![
        Row::at(Place::new("prod", Some("gone"), None, None)),
        Row::at(Place::new("dark", Some("kept"), None, None)),
        Row::at(Place::new("lost", None, None, None)),
    ]);
    inventory.expect_news();
    let mut problems = Vec::new();
    loop {
        match timeout(SOON, load.next()).await.unwrap().unwrap() {
            InventoryEvent::Rows(rows) => inventory.put(rows),
            InventoryEvent::Complete(extent) => inventory.complete(&extent),
            InventoryEvent::Problem { cluster, error } => {
                problems.push(format!("{}: {}", cluster.unwrap(), error.operation));
            }
            InventoryEvent::Failed(error) => panic!("{error}"),
            InventoryEvent::Done(figures) => return (inventory, problems, figures),
        }
    }
}

fn places(inventory: &Inventory) -> Vec<String> {
    let rows = inventory.rows().iter();
    rows.map(|row| row.place.to_string()).collect()
}

const WHOLE: [&str; 9] = [
    "bare",
    "dark",
    "dark/kept",
    "prod",
    "prod/web",
    "prod/web 1",
    "prod/web/app 1",
    "prod/web 2",
    "prod/web/app 2",
];

#[tokio::test]
async fn everything_that_may_be_seen_is_found_and_what_is_gone_goes() {
    let server = server(|_| false).await;
    let mut load = server.client().await.inventory(InventoryOptions::default());
    let (inventory, mut problems, figures) = walk(&mut load).await;
    assert_eq!(places(&inventory), WHOLE);
    problems.sort();
    assert_eq!(problems, ["dark: ecs:ListServices", "dark: ecs:ListTasks"]);
    assert_eq!(figures.calls, 9);
    assert!(figures.peak <= 10);
    let task = inventory.row(&Place::new("prod", Some("web"), Some("1"), None));
    assert_eq!(task.unwrap().image.as_deref(), Some("shop:7"));

    // A service is described when somebody looks at it, also after the end, and once.
    let web = Place::new("prod", Some("web"), None, None);
    load.describe(&web);
    load.describe(&web);
    let InventoryEvent::Rows(rows) = timeout(SOON, load.next()).await.unwrap().unwrap() else {
        panic!("not rows");
    };
    assert_eq!(rows[0].events, ["newest", "older"]);
}

#[tokio::test]
async fn throttling_costs_time_and_nothing_else() {
    let server = server(|call| matches!(call, 0 | 3)).await;
    let mut load = server.client().await.inventory(InventoryOptions::default());
    let (inventory, _, figures) = walk(&mut load).await;
    assert_eq!(places(&inventory), WHOLE);
    assert_eq!((figures.calls, figures.throttled), (11, 2));
}

#[tokio::test]
async fn a_broken_connection_costs_a_call_and_what_stays_broken_its_part() {
    let server = faulty(|number, _| match number {
        3 | 4 => Fault::Cut,
        _ => Fault::None,
    })
    .await;
    let mut load = server.client().await.inventory(InventoryOptions::default());
    let (inventory, problems, figures) = walk(&mut load).await;
    assert_eq!(places(&inventory), WHOLE);
    assert_eq!((problems.len(), figures.calls), (2, 11));

    let server = faulty(|_, operation| match operation {
        "ListServices" => Fault::Cut,
        _ => Fault::None,
    })
    .await;
    let mut load = server.client().await.inventory(InventoryOptions::default());
    let (inventory, mut problems, _) = walk(&mut load).await;
    assert!(places(&inventory).contains(&"prod/web/app 2".to_owned()));
    problems.sort();
    let expected = [
        "dark: ecs:ListServices",
        "dark: ecs:ListTasks",
        "prod: ecs:ListServices",
    ];
    assert_eq!(problems, expected);
}

#[tokio::test]
async fn a_walk_to_nobody_ends_at_once() {
    let server = faulty(|_, _| Fault::Cut).await;
    let options = InventoryOptions {
        only: Some("prod".parse().unwrap()),
        ..InventoryOptions::default()
    };
    let mut load = server.client().await.inventory(options);
    let first = timeout(SOON, load.next()).await.unwrap();
    assert!(
        matches!(first, Some(InventoryEvent::Failed(error)) if error.kind == AwsErrorKind::Unreachable)
    );
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn only_one_cluster_is_asked_about_if_only_one_is_wanted() {
    let server = server(|_| false).await;
    let options = InventoryOptions {
        only: Some("prod".parse().unwrap()),
        ..InventoryOptions::default()
    };
    let mut load = server.client().await.inventory(options);
    walk(&mut load).await;
    assert!(!server.operations().contains(&"ListClusters".to_owned()));
}

#[tokio::test]
async fn a_walk_that_cannot_begin_says_why() {
    let server = Server::answering(
        "400 Bad Request",
        "application/x-amz-json-1.1",
        r#"{"__type":"ExpiredTokenException","message":"expired"}"#,
    )
    .await;
    let mut load = server.client().await.inventory(InventoryOptions::default());
    let first = timeout(SOON, load.next()).await.unwrap();
    assert!(
        matches!(first, Some(InventoryEvent::Failed(error)) if error.is_rejected_credentials())
    );
    assert!(timeout(SOON, load.next()).await.unwrap().is_none());
}
