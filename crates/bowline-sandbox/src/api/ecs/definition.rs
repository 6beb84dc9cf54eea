//! Task definitions.

use std::sync::Arc;
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{check_include, check_tags, includes, is_name};
use crate::api::pages::{PageRequest, page};
use crate::api::{ApiError, Call};
use crate::identifiers::Account;
use crate::lifecycle;
use crate::state::definition::{ContainerDefinition, Outline, TaskDefinition};
use crate::state::{Tag, World, seconds};

/// The definition that RunTask or a service shall use.
pub(super) fn to_run(
    world: &World,
    account: &Account,
    given: Option<&str>,
) -> Result<Arc<TaskDefinition>, ApiError> {
    let given = given.filter(|given| !given.is_empty());
    let given =
        given.ok_or_else(|| ApiError::invalid_parameter("TaskDefinition cannot be empty."))?;
    let found =
        find(world, account, given).ok_or_else(|| ApiError::client("TaskDefinition not found."))?;
    if found.active {
        Ok(Arc::clone(found))
    } else {
        Err(ApiError::client("TaskDefinition is inactive"))
    }
}

/// By `family` (its newest ACTIVE revision), `family:revision` or ARN.
fn find<'w>(world: &'w World, account: &Account, given: &str) -> Option<&'w Arc<TaskDefinition>> {
    let name = match given.starts_with("arn:") {
        true => account.within(given, "task-definition")?,
        false => given,
    };
    let Some((family, revision)) = name.split_once(':') else {
        return world.latest(name);
    };
    let revision: usize = revision.parse().ok()?;
    world.definitions.get(family)?.get(revision.checked_sub(1)?)
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Describe {
    task_definition: Option<String>,
    include: Vec<String>,
}

pub(super) fn describe(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Describe = call.input()?;
    check_include(&input.include, &["TAGS"])?;
    let account = &call.shared.account;
    let world = call.shared.world();
    let found = find(
        &world,
        account,
        input.task_definition.as_deref().unwrap_or_default(),
    );
    let found = found.ok_or_else(|| ApiError::client("Unable to describe task definition."))?;
    let tags = if includes(&input.include, "TAGS") {
        json!(found.tags)
    } else {
        json!([])
    };
    Ok(json!({ "taskDefinition": show(account, found), "tags": tags }))
}

#[derive(Deserialize, Default, Debug)]
#[serde(rename_all = "camelCase", default)]
struct List {
    family_prefix: Option<String>,
    status: Option<String>,
    sort: Option<String>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

pub(super) fn list(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: List = call.input()?;
    let active = match input.status.as_deref() {
        None | Some("ACTIVE") => true,
        Some("INACTIVE") => false,
        Some(other) => {
            return Err(ApiError::invalid_parameter(format!(
                "Invalid status: {other}"
            )));
        }
    };
    let account = &call.shared.account;
    let mut shown: Vec<(String, usize)> = {
        let world = call.shared.world();
        let all = world.definitions.values().flatten();
        let shown = all.filter(|definition| {
            // A whole family's name here, unlike in ListTaskDefinitionFamilies.
            definition.active == active
                && input
                    .family_prefix
                    .as_ref()
                    .is_none_or(|family| *family == definition.family)
        });
        shown
            .map(|definition| (definition.family.clone(), definition.revision))
            .collect()
    };
    shown.sort();
    // Pages compare texts: a key with a fixed number of digits keeps revision 10 behind revision 9.
    let descending = input.sort.as_deref() == Some("DESC");
    let order = |revision: usize| {
        if descending {
            9_999_999_999 - revision
        } else {
            revision
        }
    };
    let mut keys: Vec<String> = shown
        .iter()
        .map(|(family, revision)| format!("{family}:{:010}", order(*revision)))
        .collect();
    keys.sort();
    let filters = format!(
        "ListTaskDefinitions {:?} {active} {descending}",
        input.family_prefix
    );
    let (keys, next) = page(keys, &page_request(&input, &filters))?;
    let arns: Vec<String> = keys
        .iter()
        .filter_map(|key| key.rsplit_once(':'))
        .filter_map(|(family, digits)| {
            Some(account.definition(family, order(digits.parse().ok()?)))
        })
        .collect();
    Ok(json!({ "taskDefinitionArns": arns, "nextToken": next }))
}

pub(super) fn list_families(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: List = call.input()?;
    let prefix = input.family_prefix.as_deref().unwrap_or_default();
    let wanted = |active: bool| match input.status.as_deref() {
        None | Some("ACTIVE") => active,
        Some("INACTIVE") => !active,
        Some(_) => true,
    };
    let families: Vec<String> = {
        let world = call.shared.world();
        let names = world
            .definitions
            .keys()
            .filter(|family| family.starts_with(prefix));
        names
            .filter(|family| wanted(world.latest(family).is_some()))
            .cloned()
            .collect()
    };
    let filters = format!("ListTaskDefinitionFamilies {prefix:?} {:?}", input.status);
    let (families, next) = page(families, &page_request(&input, &filters))?;
    Ok(json!({ "families": families, "nextToken": next }))
}

fn page_request<'a>(input: &'a List, filters: &'a str) -> PageRequest<'a> {
    PageRequest {
        max_results: input.max_results,
        next_token: input.next_token.as_deref(),
        default: 100,
        limit: 100,
        filters,
    }
}

pub(super) fn register(call: &Call<'_>) -> Result<Value, ApiError> {
    let mut document = call.input.clone();
    let tags = document
        .as_object_mut()
        .and_then(|document| document.remove("tags"));
    let tags: Vec<Tag> = match tags {
        Some(tags) => {
            serde_json::from_value(tags).map_err(|e| ApiError::serialization(&e.to_string()))?
        }
        None => Vec::new(),
    };
    check_tags(&tags)?;
    if document
        .get("family")
        .and_then(Value::as_str)
        .is_none_or(|family| !is_name(family))
    {
        return Err(ApiError::client(
            "Family must have between 1 and 255 letters, digits, hyphens and underscores.",
        ));
    }
    let outline: Outline = serde_json::from_value(document.clone())
        .map_err(|error| ApiError::serialization(&error.to_string()))?;
    check_containers(&outline)?;
    let account = &call.shared.account;
    call.shared.change(|world| {
        let revisions = world.definitions.entry(outline.family.clone()).or_default();
        let definition = Arc::new(TaskDefinition {
            family: outline.family.clone(),
            revision: revisions.len() + 1,
            active: true,
            registered_at: SystemTime::now(),
            document,
            outline,
            tags,
        });
        revisions.push(Arc::clone(&definition));
        Ok(json!({ "taskDefinition": show(account, &definition), "tags": definition.tags }))
    })
}

pub(crate) fn check_containers(outline: &Outline) -> Result<(), ApiError> {
    let containers = &outline.container_definitions;
    if containers.is_empty() {
        return Err(ApiError::client("Container list cannot be empty."));
    }
    if !containers.iter().any(|container| container.is_essential()) {
        return Err(ApiError::client(
            "There should be at least one essential container in the task definition.",
        ));
    }
    for (index, container) in containers.iter().enumerate() {
        // The name is also a directory's: nothing but these characters, as in ECS.
        if !is_name(&container.name) {
            return Err(ApiError::client(
                "Container.name contains invalid characters.",
            ));
        }
        if containers[..index]
            .iter()
            .any(|other| other.name == container.name)
        {
            return Err(ApiError::client(format!(
                "Duplicate container name {}.",
                container.name
            )));
        }
        if container.image.as_deref().is_none_or(str::is_empty) {
            return Err(ApiError::client(
                "Container.image should not be null or empty.",
            ));
        }
    }
    lifecycle::check_dependencies(containers).map_err(ApiError::client)?;
    let fargate = outline
        .requires_compatibilities
        .iter()
        .any(|kind| kind == "FARGATE");
    let too_long = |container: &&ContainerDefinition| container.stop_timeout > Some(120);
    if let Some(container) = containers.iter().find(too_long).filter(|_| fargate) {
        return Err(ApiError::client(format!(
            "Invalid stopTimeout of container {}: at most 120 seconds on Fargate.",
            container.name
        )));
    }
    if fargate && !outline.is_awsvpc() {
        return Err(ApiError::client(
            "Fargate only supports network mode 'awsvpc'.",
        ));
    }
    if fargate && (outline.cpu.is_none() || outline.memory.is_none()) {
        return Err(ApiError::client(
            "Fargate requires that 'cpu' and 'memory' be defined at the task level.",
        ));
    }
    Ok(())
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Deregister {
    task_definition: String,
}

pub(super) fn deregister(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Deregister = call.input()?;
    let account = &call.shared.account;
    call.shared.change(|world| {
        let found = find(world, account, &input.task_definition)
            .filter(|_| input.task_definition.contains(':'));
        let found = found
            .ok_or_else(|| ApiError::client("The specified task definition does not exist."))?;
        let changed = Arc::new(TaskDefinition {
            family: found.family.clone(),
            active: false,
            document: found.document.clone(),
            outline: found.outline.clone(),
            tags: found.tags.clone(),
            ..**found
        });
        if let Some(slot) = world
            .definitions
            .get_mut(&changed.family)
            .and_then(|all| all.get_mut(changed.revision - 1))
        {
            *slot = Arc::clone(&changed);
        }
        Ok(json!({ "taskDefinition": show(account, &changed) }))
    })
}

fn show(account: &Account, definition: &TaskDefinition) -> Value {
    let mut shown = definition.document.clone();
    let fargate = definition
        .outline
        .requires_compatibilities
        .iter()
        .any(|kind| kind == "FARGATE");
    let more = json!({
        "taskDefinitionArn": account.definition(&definition.family, definition.revision),
        "revision": definition.revision,
        "status": if definition.active { "ACTIVE" } else { "INACTIVE" },
        "compatibilities": if fargate { json!(["EC2", "FARGATE"]) } else { json!(["EC2"]) },
        "registeredAt": seconds(definition.registered_at),
        "registeredBy": account.caller(),
    });
    if let (Value::Object(shown), Value::Object(more)) = (&mut shown, more) {
        shown.extend(more);
        for list in ["volumes", "placementConstraints", "requiresAttributes"] {
            shown.entry(list).or_insert_with(|| json!([]));
        }
    }
    shown
}
