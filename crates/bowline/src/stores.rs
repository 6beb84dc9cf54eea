//! Databases and caches of the account, with where they answer: what one forwards to.
//!
//! RDS and ElastiCache have no SDK crate here; the calls are signed by `crate::aws::call`.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::aws::call::text;
use crate::{AwsError, Client};

/// For all calls of one listing together.
const LIMIT: Duration = Duration::from_secs(30);
/// Pages of 100 that are read at most.
const PAGES: usize = 50;

/// A database or a cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Store {
    /// Its identifier; a reader endpoint has `/reader` behind it.
    pub name: String,
    /// `postgres`, `mysql`, `redis` …, in the service's words.
    pub engine: String,
    /// Where it answers, within its network.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl Client {
    /// The databases of RDS (`rds:DescribeDBClusters`, `rds:DescribeDBInstances`), by name. Instances of a cluster are
    /// left out: its endpoint leads to the right one.
    pub async fn databases(&self) -> Result<Vec<Store>, AwsError> {
        let mut stores = Vec::new();
        let clusters = self.listed("rds", "DescribeDBClusters", "DBClusters", "DBCluster");
        for cluster in clusters.await? {
            let port = number(cluster.get("Port"));
            let name = text(&cluster, "DBClusterIdentifier").unwrap_or_default();
            let engine = text(&cluster, "Engine").unwrap_or_default();
            for (name, endpoint) in [
                (name.to_owned(), "Endpoint"),
                (format!("{name}/reader"), "ReaderEndpoint"),
            ] {
                let host = text(&cluster, endpoint);
                stores.extend(store(&name, engine, host, port));
            }
        }
        let instances = self.listed("rds", "DescribeDBInstances", "DBInstances", "DBInstance");
        for instance in instances.await? {
            if text(&instance, "DBClusterIdentifier").is_some() {
                continue;
            }
            let name = text(&instance, "DBInstanceIdentifier").unwrap_or_default();
            let engine = text(&instance, "Engine").unwrap_or_default();
            stores.extend(at(name, engine, instance.get("Endpoint")));
        }
        stores.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(stores)
    }

    /// The caches of ElastiCache (`elasticache:DescribeReplicationGroups`, `DescribeCacheClusters`,
    /// `DescribeServerlessCaches`), by name.
    pub async fn caches(&self) -> Result<Vec<Store>, AwsError> {
        let service = "elasticache";
        let mut stores = Vec::new();
        let groups = self.listed(
            service,
            "DescribeReplicationGroups",
            "ReplicationGroups",
            "ReplicationGroup",
        );
        for group in groups.await? {
            let name = text(&group, "ReplicationGroupId").unwrap_or_default();
            let engine = text(&group, "Engine").unwrap_or("redis");
            let nodes = items(&group, "NodeGroups", "NodeGroup");
            let primary = nodes.first().and_then(|node| node.get("PrimaryEndpoint"));
            let endpoint = group.get("ConfigurationEndpoint").or(primary);
            stores.extend(at(name, engine, endpoint));
        }
        let clusters = self.listed(
            service,
            "DescribeCacheClusters",
            "CacheClusters",
            "CacheCluster",
        );
        for cluster in clusters.await? {
            if text(&cluster, "ReplicationGroupId").is_some() {
                continue;
            }
            let name = text(&cluster, "CacheClusterId").unwrap_or_default();
            let engine = text(&cluster, "Engine").unwrap_or_default();
            let nodes = items(&cluster, "CacheNodes", "CacheNode");
            let node = nodes.first().and_then(|node| node.get("Endpoint"));
            let endpoint = cluster.get("ConfigurationEndpoint").or(node);
            stores.extend(at(name, engine, endpoint));
        }
        let serverless = "DescribeServerlessCaches";
        // Its list has plain members, and regions without it do not know the call.
        let serverless = self
            .listed(service, serverless, "ServerlessCaches", "member")
            .await;
        for cache in serverless.unwrap_or_default() {
            let name = text(&cache, "ServerlessCacheName").unwrap_or_default();
            let engine = text(&cache, "Engine").unwrap_or_default();
            stores.extend(at(name, engine, cache.get("Endpoint")));
        }
        stores.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(stores)
    }

    async fn listed(
        &self,
        service: &str,
        operation: &str,
        list: &str,
        item: &str,
    ) -> Result<Vec<Value>, AwsError> {
        let deadline = Instant::now() + LIMIT;
        let mut found = Vec::new();
        let mut marker: Option<String> = None;
        for _ in 0..PAGES {
            let mut input = match operation {
                "DescribeCacheClusters" => json!({ "ShowCacheNodeInfo": true }),
                _ => json!({}),
            };
            if let Some(marker) = &marker {
                input["Marker"] = json!(marker);
            }
            let answer = self
                .api()
                .call(service, operation, &input, deadline)
                .await?;
            found.extend(items(&answer, list, item));
            marker = text(&answer, "Marker").map(str::to_owned);
            if marker.is_none() {
                break;
            }
        }
        Ok(found)
    }
}

/// The items of `<List><Item>…</Item></List>`: one alone looks like no list.
fn items(value: &Value, list: &str, item: &str) -> Vec<Value> {
    match value.get(list) {
        Some(Value::Array(items)) => items.clone(),
        Some(Value::Object(members)) => match members.get(item) {
            Some(Value::Array(items)) => items.clone(),
            Some(one) => vec![one.clone()],
            None => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// A store whose endpoint has an address and a port. One that is being made has none.
fn at(name: &str, engine: &str, endpoint: Option<&Value>) -> Option<Store> {
    let endpoint = endpoint?;
    store(
        name,
        engine,
        text(endpoint, "Address"),
        number(endpoint.get("Port")),
    )
}

fn store(name: &str, engine: &str, host: Option<&str>, port: Option<u16>) -> Option<Store> {
    Some(Store {
        name: name.to_owned(),
        engine: engine.to_owned(),
        host: host?.to_owned(),
        port: port?,
    })
}

fn number(value: Option<&Value>) -> Option<u16> {
    value?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_alone_is_a_list_too() {
        let one = json!({ "L": { "I": { "a": "1" } } });
        let two = json!({ "L": { "I": [{ "a": "1" }, { "a": "2" }] } });
        assert_eq!(items(&one, "L", "I").len(), 1);
        assert_eq!(items(&two, "L", "I").len(), 2);
        assert_eq!(items(&json!({ "L": "" }), "L", "I").len(), 0);
        assert_eq!(items(&json!({ "L": [{}, {}] }), "L", "member").len(), 2);
    }
}
