//! Where a task is in its network.

use serde_json::{Value, json};

use super::Asker;
use crate::aws::call::{list, pairs, text};
use crate::doctor::facts::{Known, Network, Unknown};

pub(super) async fn gather(
    asker: &Asker,
    task: &Value,
    account: &str,
    region: &str,
) -> Known<Network> {
    let attachment = list(task, "attachments")
        .iter()
        .find(|attachment| text(attachment, "type") == Some("ElasticNetworkInterface"))
        .ok_or_else(|| Unknown::new("the task uses the network of its host"))?;
    let details = pairs(list(attachment, "details"));
    let subnet_id = *details
        .get("subnetId")
        .ok_or_else(|| Unknown::new("ECS does not name the task's subnet yet"))?;
    let interface_id = details.get("networkInterfaceId").copied();
    let (subnet, interface) = tokio::join!(
        asker.ask("ec2", "DescribeSubnets", json!({ "SubnetId": [subnet_id] })),
        interface(asker, interface_id),
    );
    let subnet = subnet?;
    let subnet = list(&subnet, "subnetSet")
        .first()
        .ok_or_else(|| Unknown::new("ec2:DescribeSubnets does not know the subnet"))?;
    if text(subnet, "ownerId").is_some_and(|owner| owner != account) {
        return Err(Unknown(format!(
            "subnet {subnet_id} belongs to another account"
        )));
    }
    let vpc_id = text(subnet, "vpcId").unwrap_or_default();
    let group_ids: Known<Vec<String>> = interface.as_ref().map_err(Clone::clone).map(|found| {
        let groups = list(found, "groupSet").iter();
        groups
            .filter_map(|group| text(group, "groupId"))
            .map(str::to_owned)
            .collect()
    });
    let (table, groups, (endpoints, endpoint_groups)) = tokio::join!(
        table(asker, subnet_id, vpc_id),
        groups(asker, group_ids),
        async {
            let endpoints = endpoints(asker, vpc_id).await;
            let ids = endpoints
                .as_ref()
                .map_err(Clone::clone)
                .map(|all| group_ids_of(all, region));
            (endpoints, groups(asker, ids).await)
        },
    );
    Ok(Network {
        subnet_id: subnet_id.to_owned(),
        vpc_id: vpc_id.to_owned(),
        cidr: text(subnet, "cidrBlock").map(str::to_owned),
        table,
        endpoints,
        groups,
        endpoint_groups,
        public: interface.map(|interface| text(&interface["association"], "publicIp").is_some()),
    })
}

async fn interface(asker: &Asker, id: Option<&str>) -> Known<Value> {
    let id = id.ok_or_else(|| Unknown::new("ECS does not name the task's network interface"))?;
    let input = json!({ "NetworkInterfaceId": [id] });
    let answer = asker.ask("ec2", "DescribeNetworkInterfaces", input).await?;
    let found = list(&answer, "networkInterfaceSet").first().cloned();
    found.ok_or_else(|| Unknown::new("the task's network interface is gone"))
}

/// The table that is associated with the subnet, else the VPC's main one.
async fn table(asker: &Asker, subnet_id: &str, vpc_id: &str) -> Known<Value> {
    let filter = |name: &str, value: &str| json!({ "Name": name, "Value": [value] });
    let own = json!({ "Filter": [filter("association.subnet-id", subnet_id)] });
    let answer = asker.ask("ec2", "DescribeRouteTables", own).await?;
    if let Some(table) = list(&answer, "routeTableSet").first() {
        return Ok(table.clone());
    }
    let main = json!({ "Filter": [filter("vpc-id", vpc_id), filter("association.main", "true")] });
    let answer = asker.ask("ec2", "DescribeRouteTables", main).await?;
    let found = list(&answer, "routeTableSet").first().cloned();
    found.ok_or_else(|| Unknown::new("the subnet's route table was not found"))
}

async fn endpoints(asker: &Asker, vpc_id: &str) -> Known<Vec<Value>> {
    let input = json!({ "Filter": [{ "Name": "vpc-id", "Value": [vpc_id] }] });
    let answer = asker.ask("ec2", "DescribeVpcEndpoints", input).await?;
    Ok(list(&answer, "vpcEndpointSet").to_vec())
}

/// The security groups of the endpoint for Session Manager.
fn group_ids_of(endpoints: &[Value], region: &str) -> Vec<String> {
    let service = format!("com.amazonaws.{region}.ssmmessages");
    let endpoint = endpoints
        .iter()
        .filter(|endpoint| text(endpoint, "serviceName") == Some(&service));
    endpoint
        .flat_map(|endpoint| list(endpoint, "groupSet"))
        .filter_map(|group| text(group, "groupId"))
        .map(str::to_owned)
        .collect()
}

async fn groups(asker: &Asker, ids: Known<Vec<String>>) -> Known<Vec<Value>> {
    let ids = ids?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let input = json!({ "GroupId": ids });
    let answer = asker.ask("ec2", "DescribeSecurityGroups", input).await?;
    Ok(list(&answer, "securityGroupInfo").to_vec())
}
