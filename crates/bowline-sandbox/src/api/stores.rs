//! What stands beside tasks in the demo world: a parameter, a secret, a database and a cache, for clients that look them
//! up. Secrets Manager, RDS and ElastiCache answer only as much as that needs.

use serde_json::{Value, json};

use super::query::{Form, set, tag};
use crate::api::{ApiError, Call};
use crate::database;
use crate::state::Shared;

const PARAMETERS: [(&str, &str); 2] =
    [("/demo/db/host", database::HOST), ("/demo/db/port", "5432")];
const SECRET: &str = "demo/db";
const CACHE: &str = "cache.demo.internal";

/// The value of a parameter, for the defaults of runbooks.
pub(crate) fn stored(name: &str) -> Option<Value> {
    let known = PARAMETERS.iter().find(|(known, _)| name == *known);
    known.map(|(_, value)| Value::from(*value))
}

/// `ssm:GetParameter`.
pub(super) fn parameter(call: &Call<'_>) -> Result<Value, ApiError> {
    let name = call.input.get("Name").and_then(Value::as_str);
    let name = name.unwrap_or_default();
    let account = &call.shared.account;
    // An ARN ends in the name.
    let known = PARAMETERS
        .iter()
        .find(|(known, _)| name == *known || name.ends_with(&format!(":parameter{known}")));
    match known {
        Some((name, value)) => Ok(json!({ "Parameter": {
            "Name": name,
            "Type": "String",
            "Value": value,
            "Version": 1,
            "DataType": "text",
            "ARN": format!("arn:aws:ssm:{}:{}:parameter{name}", account.region, account.id),
        } })),
        None => Err(ApiError::new(
            "ParameterNotFound",
            format!("Parameter {name} not found."),
        )),
    }
}

/// One call of Secrets Manager.
pub(super) fn secrets(call: &Call<'_>) -> Result<Value, ApiError> {
    if call.operation != "GetSecretValue" {
        return Err(ApiError::unknown_operation());
    }
    let id = call.input.get("SecretId").and_then(Value::as_str);
    let id = id.unwrap_or_default();
    if id != SECRET && !id.contains(&format!(":secret:{SECRET}")) {
        return Err(ApiError::new(
            "ResourceNotFoundException",
            "Secrets Manager can't find the specified secret.",
        ));
    }
    let account = &call.shared.account;
    let value = json!({
        "host": database::HOST,
        "port": database::PORT,
        "username": "demo",
        "password": "not a secret",
    });
    Ok(json!({
        "ARN": format!("arn:aws:secretsmanager:{}:{}:secret:{SECRET}-a1b2c3", account.region, account.id),
        "Name": SECRET,
        "SecretString": value.to_string(),
    }))
}

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
