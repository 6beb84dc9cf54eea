//! RunTask: everything that can be refused is refused before anything starts.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{capacity, check_tags, cluster_name, definition, fargate, find_cluster, service, task};
use crate::api::{ApiError, Call};
use crate::identifiers;
use crate::lifecycle::{self, Order};
use crate::mishaps::Placement;
use crate::state::definition::TaskDefinition;
use crate::state::task::{Launch, Overrides};
use crate::state::{ClientToken, Cluster, StrategyItem, Tag, TaskKey, World};

/// The longest `overrides`, as JSON.
const OVERRIDES_LIMIT: usize = 8192;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Input {
    cluster: Option<String>,
    task_definition: Option<String>,
    count: Option<i64>,
    launch_type: Option<String>,
    capacity_provider_strategy: Vec<StrategyItem>,
    platform_version: Option<String>,
    network_configuration: Option<Value>,
    overrides: Overrides,
    enable_execute_command: bool,
    started_by: Option<String>,
    group: Option<String>,
    propagate_tags: Option<String>,
    #[serde(rename = "enableECSManagedTags")]
    enable_ecs_managed_tags: bool,
    placement_constraints: Vec<Value>,
    placement_strategy: Vec<Value>,
    tags: Vec<Tag>,
    client_token: Option<String>,
}

pub(super) fn run(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Input = call.input()?;
    let account = &call.shared.account;
    let cluster = cluster_name(account, input.cluster.as_deref())?;
    call.shared.change(|world| {
        let found = find_cluster(world, account, Some(cluster))?;
        let parameters = digest(&call.input);
        let now = call.shared.clock.now();
        if let Some(earlier) = earlier(found, input.client_token.as_deref(), now) {
            return answer_again(call, found, earlier, &parameters);
        }
        let (count, order) = order(call, world, found, &input)?;
        let providers = strategy(found, &input).to_vec();
        let (mut keys, mut failures) = (Vec::new(), Vec::new());
        for index in 0..count {
            if let Some(placement) = call.shared.mishaps.of_placement() {
                failures.push(show_failure(call, cluster, &placement));
                continue;
            }
            let mut order = order.clone();
            if input.launch_type.is_none() {
                order.launch.capacity_provider = capacity::provider(&providers, index);
            }
            order.start_failure = call.shared.mishaps.of_start(false);
            keys.push(lifecycle::launch(call.shared, world, order));
        }
        // After nothing but failures the token is still good for another try.
        if let (Some(token), Some(cluster), false) = (
            &input.client_token,
            world.clusters.get_mut(cluster),
            keys.is_empty(),
        ) {
            let first = ClientToken {
                parameters,
                tasks: keys.iter().map(|key: &TaskKey| key.id.clone()).collect(),
                at: call.shared.clock.now(),
            };
            cluster.client_tokens.insert(token.clone(), first);
        }
        let shown = keys.iter().filter_map(|key| world.task(key));
        let tags = ["TAGS".to_owned()];
        let tasks: Vec<Value> = shown.map(|task| task::show(account, task, &tags)).collect();
        Ok(json!({ "tasks": tasks, "failures": failures }))
    })
}

fn show_failure(call: &Call<'_>, cluster: &str, placement: &Placement) -> Value {
    let instance = || {
        let id = identifiers::hex(32);
        call.shared.account.container_instance(cluster, &id)
    };
    let about_one = placement.is_about_an_instance();
    let arn = placement.arn.clone().or_else(|| about_one.then(instance));
    json!({ "arn": arn, "reason": placement.reason, "detail": placement.detail })
}

fn order(
    call: &Call<'_>,
    world: &World,
    cluster: &Cluster,
    input: &Input,
) -> Result<(i64, Order), ApiError> {
    let count = input.count.unwrap_or(1);
    if !(1..=10).contains(&count) {
        return Err(ApiError::invalid_parameter(
            "Count must be between 1 and 10.",
        ));
    }
    check_words(input)?;
    check_tags(&input.tags)?;
    if input.placement_constraints.len() > 10 || input.placement_strategy.len() > 5 {
        return Err(ApiError::invalid_parameter(
            "At most 10 placement constraints and 5 placement strategies are allowed.",
        ));
    }
    let definition = definition::to_run(
        world,
        &call.shared.account,
        input.task_definition.as_deref(),
    )?;
    check_overrides(input, &definition, call.input.get("overrides"))?;
    let launch = launch(cluster, input)?;
    fargate::check(
        &definition,
        &input.overrides,
        &launch,
        input.enable_execute_command,
    )?;
    let subnet = subnet(&definition, input.network_configuration.as_ref())?;
    let mut tags = input.tags.clone();
    if input.propagate_tags.as_deref() == Some("TASK_DEFINITION") {
        let missing = definition
            .tags
            .iter()
            .filter(|tag| input.tags.iter().all(|own| own.key != tag.key));
        tags.extend(missing.cloned());
    }
    if input.enable_ecs_managed_tags {
        tags.push(Tag {
            key: "aws:ecs:clusterName".to_owned(),
            value: cluster.name.clone(),
        });
    }
    Ok((
        count,
        Order {
            cluster: cluster.name.clone(),
            group: input
                .group
                .clone()
                .unwrap_or_else(|| format!("family:{}", definition.family)),
            definition,
            started_by: input.started_by.clone(),
            launch,
            overrides: input.overrides.clone(),
            exec_enabled: input.enable_execute_command,
            tags,
            subnet,
            pace: call.shared.pace,
            pull: call.shared.pull.unwrap_or(call.shared.pace),
            start_failure: None,
            visible_from: call
                .shared
                .clock
                .now()
                .saturating_add(call.shared.mishaps.late_tasks()),
            lazy: false,
        },
    ))
}

fn check_words(input: &Input) -> Result<(), ApiError> {
    if let Some(by) = &input.started_by
        && (by.len() > 128
            || !by
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_/".contains(&byte)))
    {
        return Err(ApiError::invalid_parameter(
            "startedBy can have up to 128 letters, digits, hyphens, underscores and slashes.",
        ));
    }
    if input
        .group
        .as_deref()
        .is_some_and(|group| group.starts_with("service:"))
    {
        return Err(ApiError::invalid_parameter("Invalid namespace for group."));
    }
    if let Some(token) = &input.client_token
        && (token.len() > 64 || !token.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        return Err(ApiError::invalid_parameter(
            "clientToken can have up to 64 characters in the ASCII range 33-126.",
        ));
    }
    match input.propagate_tags.as_deref() {
        None | Some("TASK_DEFINITION" | "NONE") => Ok(()),
        Some("SERVICE") => Err(ApiError::invalid_parameter(
            "The SERVICE value for propagateTags is not valid for RunTask.",
        )),
        Some(other) => Err(ApiError::invalid_parameter(format!(
            "Invalid propagateTags: {other}"
        ))),
    }
}

fn check_overrides(
    input: &Input,
    definition: &TaskDefinition,
    raw: Option<&Value>,
) -> Result<(), ApiError> {
    if raw.is_some_and(|raw| raw.to_string().len() > OVERRIDES_LIMIT) {
        return Err(ApiError::invalid_parameter(
            "Overrides cannot be longer than 8192 characters.",
        ));
    }
    for change in &input.overrides.container_overrides {
        let name = change.name.as_deref().unwrap_or_default();
        if definition.outline.container(name).is_none() {
            return Err(ApiError::invalid_parameter(format!(
                "Override for container named {name} is not a container in the TaskDefinition."
            )));
        }
    }
    let overridden = input.overrides.task_role_arn.as_ref();
    let has_role =
        overridden.is_some_and(|role| !role.is_empty()) || definition.outline.has_task_role();
    if input.enable_execute_command && !has_role {
        return Err(service::without_role("created"));
    }
    Ok(())
}

fn launch(cluster: &Cluster, input: &Input) -> Result<Launch, ApiError> {
    if input.launch_type.is_some() && !input.capacity_provider_strategy.is_empty() {
        return Err(ApiError::invalid_parameter(
            "Specify either Launch Type or Capacity Provider Strategy, but not both.",
        ));
    }
    let providers = strategy(cluster, input);
    capacity::check(cluster, providers)?;
    let launch_type = match &input.launch_type {
        Some(launch_type) => launch_type,
        None if providers.is_empty() => "EC2",
        None => "FARGATE",
    };
    let mut launch = platform(launch_type, input.platform_version.as_deref())?;
    if input.launch_type.is_none() {
        launch.capacity_provider = capacity::provider(providers, 0);
    }
    Ok(launch)
}

/// The strategy of the request, or else of the cluster; none where a launch type is given.
fn strategy<'i>(cluster: &'i Cluster, input: &'i Input) -> &'i [StrategyItem] {
    match (&input.launch_type, &input.capacity_provider_strategy[..]) {
        (Some(_), _) => &[],
        (None, []) => &cluster.default_strategy,
        (None, given) => given,
    }
}

/// Fargate with this platform version: nothing else can run anything here.
pub(super) fn platform(launch_type: &str, version: Option<&str>) -> Result<Launch, ApiError> {
    match launch_type {
        "FARGATE" => {}
        "EC2" => {
            return Err(ApiError::invalid_parameter(
                "No Container Instances were found in your cluster.",
            ));
        }
        other => {
            return Err(ApiError::invalid_parameter(format!(
                "Invalid launchType: {other}"
            )));
        }
    }
    let mut launch = Launch::fargate();
    match version {
        None | Some("LATEST") => {}
        Some(version @ ("1.3.0" | "1.4.0")) => version.clone_into(&mut launch.platform_version),
        Some(_) => {
            return Err(ApiError::new(
                "PlatformUnknownException",
                "The specified platform does not exist.",
            ));
        }
    }
    Ok(launch)
}

/// The first subnet of the network configuration, which awsvpc definitions need and others must not have.
pub(super) fn subnet(
    definition: &TaskDefinition,
    network: Option<&Value>,
) -> Result<Option<String>, ApiError> {
    let given = network.and_then(|network| network.get("awsvpcConfiguration"));
    if !definition.outline.is_awsvpc() {
        return match given {
            None => Ok(None),
            Some(_) => Err(ApiError::invalid_parameter(
                "Network Configuration is not valid for the given networkMode of this task definition.",
            )),
        };
    }
    let given = given.ok_or_else(|| {
        ApiError::invalid_parameter(
            "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
        )
    })?;
    let words = |name: &str| -> Vec<&str> {
        let list = given.get(name).and_then(Value::as_array);
        list.map(|list| list.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default()
    };
    let subnets = words("subnets");
    if subnets.is_empty() || subnets.len() > 16 {
        return Err(ApiError::invalid_parameter(
            "subnets must have between 1 and 16 entries.",
        ));
    }
    if words("securityGroups").len() > 5 {
        return Err(ApiError::invalid_parameter(
            "securityGroups can have at most 5 entries.",
        ));
    }
    if let Some(bad) = subnets.iter().find(|subnet| !subnet.starts_with("subnet-")) {
        return Err(ApiError::invalid_parameter(format!(
            "Error retrieving subnet information for [{bad}]: The subnet ID '{bad}' does not exist"
        )));
    }
    Ok(Some(subnets[0].to_owned()))
}

fn earlier<'c>(
    cluster: &'c Cluster,
    token: Option<&str>,
    now: Duration,
) -> Option<&'c ClientToken> {
    let first = cluster.client_tokens.get(token?)?;
    first.is_good(now).then_some(first)
}

fn answer_again(
    call: &Call<'_>,
    cluster: &Cluster,
    earlier: &ClientToken,
    parameters: &[u8],
) -> Result<Value, ApiError> {
    let account = &call.shared.account;
    if earlier.parameters != parameters {
        let arns: Vec<String> = earlier
            .tasks
            .iter()
            .map(|id| account.task(&cluster.name, id))
            .collect();
        let error = ApiError::new(
            "ConflictException",
            "The clientToken was used with other parameters.",
        );
        return Err(ApiError {
            extra: Some(("resourceIds", json!(arns))),
            ..error
        });
    }
    let tasks = earlier.tasks.iter().filter_map(|id| cluster.tasks.get(id));
    let tags = ["TAGS".to_owned()];
    let tasks: Vec<Value> = tasks.map(|task| task::show(account, task, &tags)).collect();
    Ok(json!({ "tasks": tasks, "failures": [] }))
}

/// All parameters but the token itself. Members are sorted, so their order in the request plays no part.
fn digest(input: &Value) -> Vec<u8> {
    let mut input = input.clone();
    if let Some(input) = input.as_object_mut() {
        input.remove("clientToken");
    }
    Sha256::digest(input.to_string()).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(network_mode: &str) -> TaskDefinition {
        let document = json!({
            "family": "f", "networkMode": network_mode, "containerDefinitions": [{ "name": "app" }],
        });
        TaskDefinition {
            family: "f".to_owned(),
            revision: 1,
            active: true,
            registered_at: std::time::SystemTime::now(),
            outline: serde_json::from_value(document.clone()).unwrap(),
            document,
            tags: Vec::new(),
        }
    }

    #[test]
    fn awsvpc_needs_a_network_and_others_refuse_one() {
        let network = json!({ "awsvpcConfiguration": { "subnets": ["subnet-1", "subnet-2"] } });
        assert_eq!(
            subnet(&definition("awsvpc"), Some(&network))
                .unwrap()
                .as_deref(),
            Some("subnet-1")
        );
        assert!(subnet(&definition("awsvpc"), None).is_err());
        assert!(subnet(&definition("bridge"), Some(&network)).is_err());
        assert_eq!(subnet(&definition("bridge"), None).unwrap(), None);
        let many = json!({ "awsvpcConfiguration": { "subnets": vec!["subnet-1"; 17] } });
        assert!(subnet(&definition("awsvpc"), Some(&many)).is_err());
    }

    #[test]
    fn overrides_are_limited_in_size_and_to_known_containers() {
        let definition = definition("awsvpc");
        let input = |overrides: &Value| Input {
            overrides: serde_json::from_value(overrides.clone()).unwrap(),
            ..Input::default()
        };
        let good = json!({ "containerOverrides": [{ "name": "app", "command": ["true"] }] });
        assert!(check_overrides(&input(&good), &definition, Some(&good)).is_ok());
        let unknown = json!({ "containerOverrides": [{ "name": "nope" }] });
        assert!(check_overrides(&input(&unknown), &definition, Some(&unknown)).is_err());
        let long =
            json!({ "containerOverrides": [{ "name": "app", "command": ["x".repeat(8192)] }] });
        assert!(check_overrides(&input(&long), &definition, Some(&long)).is_err());
    }

    #[test]
    fn a_client_token_covers_all_other_parameters() {
        let digest = |text: &str| digest(&serde_json::from_str(text).unwrap());
        assert_eq!(
            digest(r#"{"a":1,"b":2,"clientToken":"x"}"#),
            digest(r#"{"b":2,"a":1}"#)
        );
        assert_ne!(digest(r#"{"a":1}"#), digest(r#"{"a":2}"#));
    }
}
