//! Gathering the facts: read-only calls, as many at a time as possible, none beyond the deadline.

mod network;
mod rights;

use futures_util::future::join_all;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::Scope;
use super::facts::{Caller, Facts, Known, Unknown, role_arn};
use crate::aws::call::{Api, list, text};
use crate::aws::regions::dns_suffix;
use crate::network::{Destination, DialError, dial, is_loopback_host};
use crate::target::ResolvedTarget;
use crate::{AwsError, AwsErrorKind, Client};

/// Makes calls that must be over by the deadline.
#[derive(Clone, Debug)]
struct Asker {
    api: Api,
    deadline: Instant,
}

impl Asker {
    async fn ask(&self, service: &str, operation: &str, input: Value) -> Known<Value> {
        let answer = self.api.call(service, operation, &input, self.deadline);
        answer.await.map_err(|error| why(&error))
    }
}

/// Gathers all there is to know about a task.
pub(super) async fn gather(
    client: &Client,
    target: &ResolvedTarget,
    scope: Scope,
    deadline: Instant,
) -> Result<Facts, AwsError> {
    let api = client.api();
    let asker = Asker {
        api: api.clone(),
        deadline,
    };
    let cluster = target.cluster.name.as_str();
    let input = json!({ "cluster": cluster, "tasks": [target.task.id] });
    // What does not depend on the task is asked meanwhile.
    let (answer, caller, configuration, reach) = tokio::join!(
        api.call("ecs", "DescribeTasks", &input, deadline),
        caller(&asker),
        configuration(&asker, cluster),
        reach(client, deadline),
    );
    let answer = answer?;
    let Some(task) = list(&answer, "tasks").first().cloned() else {
        return Err(AwsError::missing("ecs:DescribeTasks", "such task"));
    };
    let mut arn = target.task.arn.split(':');
    let (partition, account) = (arn.nth(1), arn.nth(2));
    let (partition, account) = (partition.unwrap_or("aws"), account.unwrap_or_default());
    let place = rights::Place {
        partition,
        region: client.region(),
        account,
        cluster_arn: &target.cluster.arn,
        task_arn: &target.task.arn,
        container: &target.container,
    };
    let containers = containers(&task, target, scope);
    let (service, (definition, role), instance, network, sessions, of_caller) = tokio::join!(
        service(&asker, cluster, &task),
        async {
            let definition = definition(&asker, &task).await;
            let role = match role_arn(&task, &definition) {
                Ok(Some(role)) => {
                    rights::of_role(&asker, role, &definition, &configuration, &place).await
                }
                Ok(None) => rights::RoleRights::unknown(&Unknown::new("the task has no role")),
                Err(why) => rights::RoleRights::unknown(&why),
            };
            (definition, role)
        },
        instance(&asker, cluster, &task),
        network::gather(&asker, &task, account, client.region()),
        join_all(
            containers
                .iter()
                .map(|name| sessions(&asker, target, &task, name))
        ),
        rights::of_caller(&asker, &caller, &configuration, &place),
    );
    Ok(Facts {
        region: client.region().to_owned(),
        partition: partition.to_owned(),
        account: account.to_owned(),
        cluster: cluster.to_owned(),
        age: age(&task),
        task,
        containers,
        service,
        configuration,
        definition,
        instance,
        caller,
        rights: of_caller.with(role),
        network,
        sessions,
        reach,
        skew: api.skew(),
    })
}

/// Why a call told nothing.
fn why(error: &AwsError) -> Unknown {
    let name = &error.operation;
    Unknown(match error.kind {
        _ if error.is_access_denied() => format!("the caller may not {name}"),
        _ if error.is_throttled() => format!("AWS throttled {name}"),
        AwsErrorKind::TimedOut => format!("{name} was not answered in time"),
        _ => error.to_string(),
    })
}

async fn caller(asker: &Asker) -> Known<Caller> {
    let answer = asker.ask("sts", "GetCallerIdentity", json!({})).await?;
    match (text(&answer, "Arn"), text(&answer, "UserId")) {
        (Some(arn), Some(user_id)) => Ok(Caller {
            arn: arn.to_owned(),
            user_id: user_id.to_owned(),
        }),
        _ => Err(Unknown::new("sts:GetCallerIdentity names nobody")),
    }
}

async fn configuration(asker: &Asker, cluster: &str) -> Known<Value> {
    let input = json!({ "clusters": [cluster], "include": ["CONFIGURATIONS"] });
    let answer = asker.ask("ecs", "DescribeClusters", input).await?;
    let cluster = list(&answer, "clusters")
        .first()
        .ok_or_else(|| Unknown::new("ecs:DescribeClusters does not know the cluster"))?;
    let configuration = cluster.pointer("/configuration/executeCommandConfiguration");
    Ok(configuration.cloned().unwrap_or_else(|| json!({})))
}

async fn service(asker: &Asker, cluster: &str, task: &Value) -> Known<Option<Value>> {
    let group = text(task, "group").unwrap_or_default();
    let Some(name) = group.strip_prefix("service:") else {
        return Ok(None);
    };
    let input = json!({ "cluster": cluster, "services": [name] });
    let answer = asker.ask("ecs", "DescribeServices", input).await?;
    Ok(list(&answer, "services").first().cloned())
}

async fn definition(asker: &Asker, task: &Value) -> Known<Value> {
    let input = json!({ "taskDefinition": task["taskDefinitionArn"], "include": ["TAGS"] });
    let answer = asker.ask("ecs", "DescribeTaskDefinition", input).await?;
    match answer.get("taskDefinition") {
        Some(definition) => Ok(with_tags(definition, list(&answer, "tags"))),
        None => Err(Unknown::new(
            "ecs:DescribeTaskDefinition answered without one",
        )),
    }
}

/// The definition with its tags as a member, as registering takes them; those that AWS keeps for itself it does not take.
fn with_tags(definition: &Value, tags: &[Value]) -> Value {
    let own = |tag: &&Value| !text(tag, "key").is_some_and(|key| key.starts_with("aws:"));
    let tags: Vec<&Value> = tags.iter().filter(own).collect();
    let mut definition = definition.clone();
    if !tags.is_empty() {
        definition["tags"] = json!(tags);
    }
    definition
}

async fn instance(asker: &Asker, cluster: &str, task: &Value) -> Known<Option<Value>> {
    let Some(arn) = text(task, "containerInstanceArn") else {
        return Ok(None);
    };
    let input = json!({ "cluster": cluster, "containerInstances": [arn] });
    let answer = asker
        .ask("ecs", "DescribeContainerInstances", input)
        .await?;
    Ok(list(&answer, "containerInstances").first().cloned())
}

async fn sessions(
    asker: &Asker,
    target: &ResolvedTarget,
    task: &Value,
    container: &str,
) -> Known<Vec<Value>> {
    let mut containers = list(task, "containers").iter();
    let runtime_id = containers
        .find(|found| text(found, "name") == Some(container))
        .and_then(|found| text(found, "runtimeId"))
        .ok_or_else(|| Unknown::new("the container does not run yet"))?;
    let name = format!(
        "ecs:{}_{}_{runtime_id}",
        target.cluster.name, target.task.id
    );
    let input = json!({ "State": "Active", "Filters": [{ "key": "Target", "value": name }] });
    let answer = asker.ask("ssm", "DescribeSessions", input).await?;
    Ok(list(&answer, "Sessions").to_vec())
}

/// Whether the host of the data channel takes a connection from here.
async fn reach(client: &Client, deadline: Instant) -> Known<Result<String, String>> {
    let (secure, authority) = match (client.stream_host(), client.endpoint()) {
        (Some(host), endpoint) => {
            let plain = endpoint.is_some_and(|url| url.starts_with("http:"));
            (!plain, host.as_str().to_owned())
        }
        (None, Some(url)) if client.endpoint_is_loopback() => {
            let secure = url.starts_with("https:");
            let uri: http::Uri = url.parse().unwrap_or_default();
            let authority = uri
                .authority()
                .map(|authority| authority.as_str().to_owned());
            (secure, authority.unwrap_or_default())
        }
        (None, Some(_)) => {
            return Err(Unknown::new(
                "with an endpoint of your own, the host of sessions is known only once there is one",
            ));
        }
        (None, None) => {
            let region = client.region();
            (true, format!("ssmmessages.{region}.{}", dns_suffix(region)))
        }
    };
    let Ok(parsed) = authority.parse::<http::uri::Authority>() else {
        return Err(Unknown(format!("{authority:?} is no host")));
    };
    let host = parsed.host().trim_matches(['[', ']']).to_owned();
    let scheme = if secure { "https" } else { "http" };
    if !secure && !is_loopback_host(&host) {
        return Err(Unknown::new(
            "nothing is sent to another machine without TLS",
        ));
    }
    let destination = Destination {
        secure,
        port: parsed.port_u16().unwrap_or(if secure { 443 } else { 80 }),
        proxy: client
            .proxies()
            .on_the_way_to(&format!("{scheme}://{authority}/")),
        host,
    };
    match timeout_at(deadline, dial(&destination, client.roots())).await {
        Err(_) => Err(Unknown(format!(
            "{} did not answer in time",
            destination.authority()
        ))),
        Ok(Ok(_)) => Ok(Ok(destination.authority())),
        Ok(Err(DialError::Network(error))) => Ok(Err(error.to_string())),
        Ok(Err(DialError::Trust(error))) => Ok(Err(error.to_string())),
    }
}

/// The containers to look at: what AWS put into the task is nobody's concern.
fn containers(task: &Value, target: &ResolvedTarget, scope: Scope) -> Vec<String> {
    if scope == Scope::Container {
        return vec![target.container.clone()];
    }
    let injected = |name: &str| {
        name.starts_with("ecs-service-connect-") || name.starts_with("aws-guardduty-agent")
    };
    list(task, "containers")
        .iter()
        .filter_map(|container| text(container, "name"))
        .filter(|name| !injected(name))
        .map(str::to_owned)
        .collect()
}

fn age(task: &Value) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds are meant")]
    let started = task.get("startedAt")?.as_f64()? as i64;
    Some(Timestamp::now().as_second() - started)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_has_the_tags_that_may_be_given_to_another() {
        let tag = |key: &str| json!({ "key": key, "value": "x" });
        let definition = json!({ "family": "web" });
        assert_eq!(
            with_tags(
                &definition,
                &[tag("team"), tag("aws:cloudformation:stack-id")]
            ),
            json!({ "family": "web", "tags": [tag("team")] })
        );
        assert_eq!(with_tags(&definition, &[tag("aws:x")]), definition);
    }
}
