//! The demo world: what a sandbox holds before anybody has changed it.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::api;
use crate::functions::Function;
use crate::iam::{self, Iam};
use crate::identifiers::Account;
use crate::image;
use crate::network::{self, Network};
use crate::scenario::{ExecLogging, Plan, Prerequisite};
use crate::simulated;
use crate::state::definition::{Outline, TaskDefinition};
use crate::state::service::{CircuitBreaker, Deployment, Service, ServiceStatus};
use crate::state::store::Stores;
use crate::state::task::Launch;
use crate::state::{Cluster, Shared, StrategyItem, World};

const CLUSTER: &str = "demo";
const BUCKET: &str = "demo-bucket";

/// Puts who may do what, and the tasks' network, into an empty world: the demo world's and those of world files.
pub(crate) fn found(world: &mut World, account: &Account, plan: &Plan) {
    let wrong = &plan.prerequisites;
    world.iam = Iam::demo(account, &wrong.caller_denied(), &wrong.role_denied());
    world.network = Network::demo(account, wrong.flaw());
    world.stores = Stores::demo();
    world.buckets.insert(BUCKET.to_owned(), BTreeMap::new());
}

/// Puts only the service of simulated tasks into the cluster `demo`, or in its place `web` without a process: the worlds
/// of other accounts and regions.
pub(crate) fn furnish_sparsely(world: &mut World, account: &Account, plan: &Plan) {
    let mut cluster = Cluster::new(CLUSTER);
    cluster.capacity_providers = vec!["FARGATE".to_owned()];
    if plan.fleet.tasks == 0 {
        let definition = define(world, web(account));
        let mut service = service("web", definition);
        service.lazy = true;
        cluster.services.insert("web".to_owned(), service);
    } else {
        add_fleet(world, &mut cluster, account, plan);
    }
    world.clusters.insert(CLUSTER.to_owned(), cluster);
}

/// The service of simulated tasks.
fn add_fleet(world: &mut World, cluster: &mut Cluster, account: &Account, plan: &Plan) {
    let mut document = web(account);
    document["family"] = json!("fleet");
    let container = &mut document["containerDefinitions"][0];
    container["dockerLabels"] = json!({ simulated::LABEL: "yes" });
    container["logConfiguration"] = Value::Null;
    api::prune(&mut document);
    let definition = define(world, document);
    let mut service = service("fleet", definition);
    service.desired_count = plan.fleet.tasks;
    service.lazy = true;
    cluster.services.insert("fleet".to_owned(), service);
}

/// Puts cluster `demo`, service `web` and family `job` into an empty world, with what is wrong according to plan.
pub(crate) fn furnish(world: &mut World, account: &Account, plan: &Plan) {
    let labelled = |mut definition: Value| {
        if let Some(tools) = &plan.tools {
            definition["containerDefinitions"][0]["dockerLabels"] = json!({ image::LABEL: tools });
        }
        definition
    };
    let wrong = &plan.prerequisites;
    let mut document = web(account);
    wrong.spoil(&mut document);
    let web = define(world, labelled(document));
    define(world, labelled(job(account)));

    let mut cluster = Cluster::new(CLUSTER);
    cluster.capacity_providers = vec!["FARGATE".to_owned(), "FARGATE_SPOT".to_owned()];
    // RunTask without launch type then means Fargate; there are no instances to run anything on.
    cluster.default_strategy = vec![StrategyItem {
        capacity_provider: "FARGATE".to_owned(),
        weight: 1,
        base: 0,
    }];
    cluster.configuration = configuration(plan);
    let mut service = service("web", web);
    service.exec_enabled = !plan.exec_disabled && !wrong.has(&Prerequisite::ExecEnabledLater);
    if wrong.has(&Prerequisite::OldPlatform) {
        "1.3.0".clone_into(&mut service.launch.platform_version);
    }
    if plan.no_tasks {
        service.desired_count = 0;
    }
    cluster.services.insert("web".to_owned(), service);
    if plan.fleet.tasks > 0 {
        add_fleet(world, &mut cluster, account, plan);
    }
    world.clusters.insert(CLUSTER.to_owned(), cluster);
    for name in ["test", "test2"] {
        let function = Arc::new(Function::fine(name));
        world.functions.insert(name.to_owned(), function);
    }
}

/// What can only go wrong once the tasks run.
pub(crate) fn finish(shared: &Shared, plan: &Plan) {
    if plan.prerequisites.has(&Prerequisite::ExecEnabledLater) {
        shared.change(|world| {
            let services = world
                .clusters
                .values_mut()
                .flat_map(|cluster| cluster.services.values_mut());
            services.for_each(|service| service.exec_enabled = true);
        });
    }
    if plan.prerequisites.has(&Prerequisite::SessionsFull) {
        api::fill_sessions(shared);
    }
}

/// How the cluster wants sessions logged and encrypted.
fn configuration(plan: &Plan) -> Option<Value> {
    let mut exec = match &plan.exec_logging {
        None => json!({}),
        Some(ExecLogging::Container) => json!({ "logging": "DEFAULT" }),
        Some(ExecLogging::Group(group)) => json!({
            "logging": "OVERRIDE",
            "logConfiguration": { "cloudWatchLogGroupName": group, "cloudWatchEncryptionEnabled": false },
        }),
    };
    if let Some(key) = &plan.kms_key {
        exec["kmsKeyId"] = json!(key);
    }
    let configured = exec.as_object().is_some_and(|exec| !exec.is_empty());
    configured.then(|| json!({ "executeCommandConfiguration": exec }))
}

pub(crate) fn service(name: &str, definition: Arc<TaskDefinition>) -> Service {
    Service {
        name: name.to_owned(),
        status: ServiceStatus::Active,
        desired_count: 2,
        exec_enabled: true,
        by_launch_type: true,
        launch: Launch::fargate(),
        network: Some(json!({ "awsvpcConfiguration": {
            "subnets": [network::SUBNET],
            "securityGroups": [network::TASK_GROUP],
            "assignPublicIp": "DISABLED",
        } })),
        created_at: SystemTime::now(),
        breaker: CircuitBreaker::default(),
        deployments: vec![Deployment::new(definition)],
        events: VecDeque::new(),
        tags: Vec::new(),
        lazy: false,
        steady: false,
        failures: 0,
        not_before: None,
        over_since: None,
    }
}

fn define(world: &mut World, document: Value) -> Arc<TaskDefinition> {
    let outline: Outline =
        serde_json::from_value(document.clone()).expect("the demo definitions are well formed");
    let revisions = world.definitions.entry(outline.family.clone()).or_default();
    let definition = Arc::new(TaskDefinition {
        family: outline.family.clone(),
        revision: revisions.len() + 1,
        active: true,
        registered_at: SystemTime::now(),
        document,
        outline,
        tags: Vec::new(),
    });
    revisions.push(Arc::clone(&definition));
    definition
}

/// One container `app`, an HTTP server on port 8080 inside this very program.
fn web(account: &Account) -> Value {
    fargate(
        account,
        "web",
        &json!({
            "name": "app",
            "image": "bowline/demo-web:latest",
            "cpu": 0,
            "essential": true,
            "command": ["bowline-demo-web"],
            "portMappings": [{ "containerPort": 8080, "hostPort": 8080, "protocol": "tcp" }],
            "linuxParameters": { "initProcessEnabled": true },
            "environment": [],
            "mountPoints": [],
            "volumesFrom": [],
            "logConfiguration": awslogs(account, "/ecs/web"),
        }),
    )
}

/// Prints a few lines and succeeds.
fn job(account: &Account) -> Value {
    fargate(
        account,
        "job",
        &json!({
            "name": "job",
            "image": "bowline/demo-job:latest",
            "cpu": 0,
            "essential": true,
            "command": ["sh", "-c", "echo 'job: starting'; echo 'job: working'; echo 'job: done'"],
            "environment": [],
            "mountPoints": [],
            "volumesFrom": [],
            "logConfiguration": awslogs(account, "/ecs/job"),
        }),
    )
}

fn fargate(account: &Account, family: &str, container: &Value) -> Value {
    json!({
        "family": family,
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "256",
        "memory": "512",
        "taskRoleArn": account.role(iam::DEMO_TASK),
        "executionRoleArn": account.role(iam::DEMO_EXECUTION),
        "containerDefinitions": [container],
        "volumes": [],
        "placementConstraints": [],
    })
}

fn awslogs(account: &Account, group: &str) -> Value {
    json!({ "logDriver": "awslogs", "options": {
        "awslogs-group": group,
        "awslogs-region": account.region,
        "awslogs-stream-prefix": "ecs",
    } })
}
