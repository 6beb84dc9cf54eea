//! The calls that mend what was found: each the smallest that does, and shown before it is made.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Request;
use super::facts::{Facts, Network};
use crate::aws::call::{list, text};

/// Turns ECS Exec on for a service; with `redeploy` its tasks are replaced, for only new ones have it.
pub fn enable_exec(cluster: &str, service: &str, redeploy: bool) -> Request {
    let mut input = json!({ "cluster": cluster, "service": service, "enableExecuteCommand": true });
    if redeploy {
        input["forceNewDeployment"] = json!(true);
    }
    Request::new("ecs:UpdateService", input)
}

pub(super) fn enable(facts: &Facts) -> Vec<Request> {
    let service = deployable(facts).map(|name| enable_exec(&facts.cluster, name, true));
    service.into_iter().collect()
}

/// Nothing where the service deploys another definition: its tasks are being replaced as it is.
pub(super) fn redeploy(facts: &Facts) -> Vec<Request> {
    if facts.newer_definition().is_some() {
        return Vec::new();
    }
    update(facts, &json!({ "forceNewDeployment": true }))
}

pub(super) fn newest_platform(facts: &Facts) -> Vec<Request> {
    update(
        facts,
        &json!({ "platformVersion": "LATEST", "forceNewDeployment": true }),
    )
}

pub(super) fn update_agent(facts: &Facts, instance: &str) -> Vec<Request> {
    let input = json!({ "cluster": facts.cluster, "containerInstance": instance });
    let mut requests = vec![Request::new("ecs:UpdateContainerAgent", input)];
    requests.extend(redeploy(facts));
    requests
}

/// A new revision of the task definition, deployed. Nothing without a service (nobody would use it), and nothing unless
/// the service deploys what the task has: a revision made of an older one would take back what is newer.
pub(super) fn revise(facts: &Facts, change: impl FnOnce(&mut Value)) -> Vec<Request> {
    let (Ok(definition), None) = (&facts.definition, facts.newer_definition()) else {
        return Vec::new();
    };
    let deploy = update(facts, &json!({ "forceNewDeployment": true }));
    if deploy.is_empty() {
        return Vec::new();
    }
    let mut revised = definition.clone();
    if let Some(members) = revised.as_object_mut() {
        members.retain(|name, _| !ANSWERED_ONLY.contains(&name.as_str()));
    }
    change(&mut revised);
    let register = Request::new("ecs:RegisterTaskDefinition", revised);
    let deploy = deploy.into_iter().map(Request::with_new_revision);
    [register].into_iter().chain(deploy).collect()
}

/// A container of a task definition, to be changed.
pub(super) fn container<'d>(definition: &'d mut Value, name: &str) -> &'d mut Value {
    let index = list(definition, "containerDefinitions")
        .iter()
        .position(|container| text(container, "name") == Some(name));
    &mut definition["containerDefinitions"][index.unwrap_or_default()]
}

/// A policy of its own for a role, so that removing it undoes the fix. PutRolePolicy replaces a policy of the same name,
/// so the name is that of what it allows: an earlier fix keeps what it gave.
pub(super) fn allow(role: &str, check: &str, actions: &[String], resource: &str) -> Vec<Request> {
    let policy = policy(&json!({ "Effect": "Allow", "Action": actions, "Resource": resource }));
    let name = format!(
        "bowline-{check}-{}",
        digest(&format!("{} {resource}", actions.join(" ")))
    );
    let input = json!({ "RoleName": role, "PolicyName": name, "PolicyDocument": policy });
    vec![Request::new("iam:PutRolePolicy", input)]
}

/// A role for the task, and a revision that has it.
pub(super) fn new_role(facts: &Facts) -> Vec<Request> {
    let family = match &facts.definition {
        Ok(definition) => text(definition, "family").unwrap_or_default(),
        Err(_) => return Vec::new(),
    };
    let name = role_name(family);
    let arn = format!("arn:{}:iam::{}:role/{name}", facts.partition, facts.account);
    let deploy = revise(facts, |definition| definition["taskRoleArn"] = json!(arn));
    if deploy.is_empty() {
        return Vec::new();
    }
    let trust = policy(&json!({
        "Effect": "Allow",
        "Principal": { "Service": TASKS },
        "Action": "sts:AssumeRole",
    }));
    let create = json!({ "RoleName": name, "AssumeRolePolicyDocument": trust });
    let mut requests = vec![Request::new("iam:CreateRole", create)];
    let actions = CHANNEL_ACTIONS.map(str::to_owned);
    requests.extend(allow(&name, "role-channel", &actions, "*"));
    requests.extend(deploy);
    requests
}

pub(super) fn private_dns(endpoint: &str) -> Request {
    let input = json!({ "VpcEndpointId": endpoint, "PrivateDnsEnabled": true });
    Request::new("ec2:ModifyVpcEndpoint", input)
}

/// An endpoint for Session Manager in the task's subnet, with the security groups of the VPC's other endpoints, else
/// of the task.
pub(super) fn new_endpoint(facts: &Facts, network: &Network) -> Vec<Request> {
    let ids = |groups: &[Value]| -> Vec<String> {
        let ids = groups.iter().filter_map(|group| text(group, "groupId"));
        ids.map(str::to_owned).collect()
    };
    let others = network.endpoints.as_ref().ok().and_then(|all| {
        all.iter()
            .map(|endpoint| ids(list(endpoint, "groupSet")))
            .find(|ids| !ids.is_empty())
    });
    let own = || network.groups.as_ref().ok().map(|groups| ids(groups));
    let Some(groups) = others.or_else(own).filter(|groups| !groups.is_empty()) else {
        return Vec::new();
    };
    let service = format!("com.amazonaws.{}.ssmmessages", facts.region);
    vec![Request::new(
        "ec2:CreateVpcEndpoint",
        json!({
            "VpcId": network.vpc_id,
            "ServiceName": service,
            "VpcEndpointType": "Interface",
            "SubnetId": [network.subnet_id],
            "SecurityGroupId": groups,
            "PrivateDnsEnabled": true,
        }),
    )]
}

/// One rule for TCP 443.
pub(super) fn open_port(operation: &str, group: &str, peer: Value) -> Request {
    let mut rule = json!({ "IpProtocol": "tcp", "FromPort": 443, "ToPort": 443 });
    if let (Value::Object(rule), Value::Object(peer)) = (&mut rule, peer) {
        rule.extend(peer);
    }
    let input = json!({ "GroupId": group, "IpPermissions": [rule] });
    Request::new(&format!("ec2:{operation}"), input)
}

pub(super) fn end_session(id: &str) -> Request {
    Request::new("ssm:TerminateSession", json!({ "SessionId": id }))
}

fn update(facts: &Facts, change: &Value) -> Vec<Request> {
    let Some(name) = deployable(facts) else {
        return Vec::new();
    };
    let mut input = json!({ "cluster": facts.cluster, "service": name });
    if let (Value::Object(input), Value::Object(change)) = (&mut input, change) {
        input.extend(change.clone());
    }
    vec![Request::new("ecs:UpdateService", input)]
}

/// The service, unless its controller refuses these updates.
fn deployable(facts: &Facts) -> Option<&str> {
    text(facts.deployed_by_ecs()?, "serviceName")
}

/// A name of its own for each family. Names of roles have up to 64 characters, those of families up to 255.
fn role_name(family: &str) -> String {
    let name = format!("bowline-{family}-task");
    if name.len() <= 64 {
        return name;
    }
    let start: String = family.chars().take(42).collect();
    format!("bowline-{start}-{}-task", digest(family))
}

/// Eight digits that tell one text from another.
fn digest(text: &str) -> String {
    hex::encode(&Sha256::digest(text)[..4])
}

fn policy(statement: &Value) -> String {
    json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string()
}

/// Who takes a task's role.
pub(super) const TASKS: &str = "ecs-tasks.amazonaws.com";

/// Members of a described definition that registering one does not take.
const ANSWERED_ONLY: [&str; 9] = [
    "taskDefinitionArn",
    "revision",
    "status",
    "requiresAttributes",
    "compatibilities",
    "registeredAt",
    "registeredBy",
    "deregisteredAt",
    "deleteRequestedAt",
];

const CHANNEL_ACTIONS: [&str; 4] = [
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
];

#[cfg(test)]
mod tests {
    use super::*;

    /// PutRolePolicy replaces the policy of that name.
    #[test]
    fn what_an_earlier_fix_allowed_stays_allowed() {
        let name = |action: &str, resource: &str| {
            let requests = allow("web-task", "role-logging", &[action.to_owned()], resource);
            text(&requests[0].input, "PolicyName").unwrap().to_owned()
        };
        let first = name("logs:PutLogEvents", "*");
        assert!(first.starts_with("bowline-role-logging-"), "{first}");
        assert_eq!(first, name("logs:PutLogEvents", "*"));
        assert_ne!(first, name("s3:PutObject", "*"));
        assert_ne!(first, name("logs:PutLogEvents", "arn:aws:logs:x"));
    }

    #[test]
    fn families_do_not_share_a_role() {
        assert_eq!(role_name("web"), "bowline-web-task");
        let long = |end| format!("{}{end}", "a".repeat(80));
        let (one, other) = (role_name(&long("1")), role_name(&long("2")));
        assert!(one.len() <= 64, "{one}");
        assert_ne!(one, other);
    }
}
