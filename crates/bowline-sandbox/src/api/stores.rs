//! What stands beside tasks in every world: a database and a cache, for clients that look them up. RDS and ElastiCache
//! answer only as much as that needs.

use super::query::{Form, set, tag};
use crate::api::ApiError;
use crate::database;
use crate::state::Shared;

const CACHE: &str = "cache.demo.internal";

/// One call of RDS: the inside of its result.
pub(super) fn rds(_: &Shared, form: &Form) -> Result<String, ApiError> {
    let wanted = form
        .get("DBInstanceIdentifier")
        .or_else(|| form.get("DBClusterIdentifier"));
    let is_wanted = wanted.is_none_or(|wanted| wanted == "demo");
    match form.action() {
        "DescribeDBInstances" if !is_wanted => Err(ApiError::new(
            "DBInstanceNotFound",
            format!("DBInstance {} not found.", wanted.unwrap_or_default()),
        )),
        "DescribeDBInstances" => {
            let instance = [
                tag("DBInstanceIdentifier", "demo"),
                tag("Engine", "postgres"),
                tag("DBInstanceStatus", "available"),
                format!(
                    "<Endpoint>{}{}</Endpoint>",
                    tag("Address", database::HOST),
                    tag("Port", &database::PORT.to_string())
                ),
            ];
            Ok(set("DBInstances", "DBInstance", [instance.concat()]))
        }
        "DescribeDBClusters" => Ok("<DBClusters/>".to_owned()),
        _ => Err(unknown("RDS")),
    }
}

/// One call of ElastiCache: the inside of its result.
pub(super) fn elasticache(form: &Form) -> Result<String, ApiError> {
    match form.action() {
        "DescribeReplicationGroups" => {
            let endpoint = format!(
                "<PrimaryEndpoint>{}{}</PrimaryEndpoint>",
                tag("Address", CACHE),
                tag("Port", "6379")
            );
            let group = [
                tag("ReplicationGroupId", "demo-cache"),
                tag("Status", "available"),
                set("NodeGroups", "NodeGroup", [endpoint]),
            ];
            Ok(set(
                "ReplicationGroups",
                "ReplicationGroup",
                [group.concat()],
            ))
        }
        "DescribeCacheClusters" => Ok("<CacheClusters/>".to_owned()),
        "DescribeServerlessCaches" => Ok("<ServerlessCaches/>".to_owned()),
        _ => Err(unknown("ElastiCache")),
    }
}

fn unknown(service: &str) -> ApiError {
    ApiError::new(
        "InvalidAction",
        format!("the sandbox does not know this action of {service}"),
    )
}
