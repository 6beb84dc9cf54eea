//! EC2: the network of the demo world, shown and changed as far as ECS Exec depends on it.

use super::query::{Form, set, tag};
use crate::api::ApiError;
use crate::identifiers;
use crate::landscape::Landscape;
use crate::network::{
    CIDR, ENDPOINT_GROUP, Endpoint, Group, NAT_GATEWAY, Rule, SUBNET, SUBNET_CIDR, TASK_GROUP, VPC,
};
use crate::state::task::{Interface, Task};
use crate::state::{Shared, World};

/// Answers one request: the inside of its response.
pub(super) fn call(shared: &Shared, form: &Form) -> Result<String, ApiError> {
    match form.action() {
        "DescribeSubnets" => subnets(shared, form),
        "DescribeRouteTables" => route_tables(shared, form),
        "DescribeNatGateways" => nat_gateways(shared, form),
        "DescribeVpcEndpoints" => endpoints(shared, form),
        "DescribeSecurityGroups" => groups(shared, form),
        "DescribeNetworkInterfaces" => interfaces(shared, form),
        "CreateVpcEndpoint" => create_endpoint(shared, form),
        "ModifyVpcEndpoint" => modify_endpoint(shared, form),
        "AuthorizeSecurityGroupIngress" => authorize(shared, form, |group| &mut group.ingress),
        "AuthorizeSecurityGroupEgress" => authorize(shared, form, |group| &mut group.egress),
        "" => Err(ApiError::new("MissingAction", "the request has no Action")),
        action => Err(ApiError::new(
            "InvalidAction",
            format!("The action {action} is not valid for this web service."),
        )),
    }
}

/// DescribeRegions: those that the account has.
pub(super) fn regions(landscape: &Landscape) -> String {
    let regions = landscape.regions().into_iter().map(|region| {
        tag("regionName", &region)
            + &tag("regionEndpoint", &format!("ec2.{region}.amazonaws.com"))
            + &tag("optInStatus", "opt-in-not-required")
    });
    set("regionInfo", "item", regions)
}

fn subnets(shared: &Shared, form: &Form) -> Result<String, ApiError> {
    known(
        &form.list("SubnetId"),
        &[SUBNET],
        "InvalidSubnetID.NotFound",
        "subnet ID",
    )?;
    let shown = passes(form, &[("vpc-id", &[VPC]), ("subnet-id", &[SUBNET])])?.then(|| {
        tag("subnetId", SUBNET)
            + &tag("state", "available")
            + &tag("vpcId", VPC)
            + &tag("cidrBlock", SUBNET_CIDR)
            + &tag("availabilityZone", &format!("{}a", shared.account.region))
            + &tag("mapPublicIpOnLaunch", "false")
            + &tag("ownerId", &shared.account.id)
    });
    Ok(set("subnetSet", "item", shown))
}

fn route_tables(shared: &Shared, form: &Form) -> Result<String, ApiError> {
    let facts: [(&str, &[&str]); 4] = [
        ("vpc-id", &[VPC]),
        ("association.subnet-id", &[SUBNET]),
        ("association.main", &["false"]),
        ("route-table-id", &[ROUTE_TABLE]),
    ];
    if !passes(form, &facts)? {
        return Ok(set("routeTableSet", "item", None));
    }
    let nat = shared.world().network.nat;
    let local = tag("destinationCidrBlock", CIDR)
        + &tag("gatewayId", "local")
        + &tag("state", "active")
        + &tag("origin", "CreateRouteTable");
    let out = nat.then(|| {
        tag("destinationCidrBlock", "0.0.0.0/0")
            + &tag("natGatewayId", NAT_GATEWAY)
            + &tag("state", "active")
            + &tag("origin", "CreateRoute")
    });
    let association = tag("routeTableAssociationId", "rtbassoc-0a1b2c3d4e5f60001")
        + &tag("routeTableId", ROUTE_TABLE)
        + &tag("subnetId", SUBNET)
        + &tag("main", "false");
    let table = tag("routeTableId", ROUTE_TABLE)
        + &tag("vpcId", VPC)
        + &tag("ownerId", &shared.account.id)
        + &set("routeSet", "item", [local].into_iter().chain(out))
        + &set("associationSet", "item", [association]);
    Ok(set("routeTableSet", "item", [table]))
}

fn nat_gateways(shared: &Shared, form: &Form) -> Result<String, ApiError> {
    let there = shared.world().network.nat;
    let all: &[&str] = if there { &[NAT_GATEWAY] } else { &[] };
    known(
        &form.list("NatGatewayId"),
        all,
        "NatGatewayNotFound",
        "NAT gateway ID",
    )?;
    let facts: [(&str, &[&str]); 3] = [
        ("vpc-id", &[VPC]),
        ("nat-gateway-id", &[NAT_GATEWAY]),
        ("state", &["available"]),
    ];
    let shown = (there && passes(form, &facts)?).then(|| {
        tag("natGatewayId", NAT_GATEWAY)
            + &tag("state", "available")
            + &tag("vpcId", VPC)
            + &tag("subnetId", "subnet-0a1b2c3d4e5f60002")
            + &tag("connectivityType", "public")
    });
    Ok(set("natGatewaySet", "item", shown))
}

fn endpoints(shared: &Shared, form: &Form) -> Result<String, ApiError> {
    let world = shared.world();
    let asked = form.list("VpcEndpointId");
    let all: Vec<&str> = world
        .network
        .endpoints
        .iter()
        .map(|e| e.id.as_str())
        .collect();
    known(
        &asked,
        &all,
        "InvalidVpcEndpointId.NotFound",
        "Vpc Endpoint Id",
    )?;
    let mut shown = Vec::new();
    for endpoint in &world.network.endpoints {
        let facts: [(&str, &[&str]); 4] = [
            ("vpc-id", &[VPC]),
            ("service-name", &[&endpoint.service]),
            ("vpc-endpoint-type", &["Interface"]),
            ("vpc-endpoint-state", &["available"]),
        ];
        if passes(form, &facts)? && (asked.is_empty() || asked.contains(&endpoint.id.as_str())) {
            shown.push(show_endpoint(shared, endpoint));
        }
    }
    Ok(set("vpcEndpointSet", "item", shown))
}

fn show_endpoint(shared: &Shared, endpoint: &Endpoint) -> String {
    let group = |id: &String| {
        let name = if id == ENDPOINT_GROUP {
            "demo-endpoints"
        } else {
            "demo-tasks"
        };
        tag("groupId", id) + &tag("groupName", name)
    };
    tag("vpcEndpointId", &endpoint.id)
        + &tag("vpcEndpointType", "Interface")
        + &tag("vpcId", VPC)
        + &tag("serviceName", &endpoint.service)
        + &tag("state", "available")
        + &tag("privateDnsEnabled", &endpoint.private_dns.to_string())
        + &set(
            "subnetIdSet",
            "item",
            endpoint
                .subnets
                .iter()
                .map(|id| super::reply::escape_xml(id)),
        )
        + &set("groupSet", "item", endpoint.groups.iter().map(group))
        + &tag("ownerId", &shared.account.id)
}

fn groups(shared: &Shared, form: &Form) -> Result<String, ApiError> {
    let world = shared.world();
    let asked = form.list("GroupId");
    known(
        &asked,
        &[TASK_GROUP, ENDPOINT_GROUP],
        "InvalidGroup.NotFound",
        "security group",
    )?;
    let mut shown = Vec::new();
    for group in &world.network.groups {
        let facts: [(&str, &[&str]); 3] = [
            ("vpc-id", &[VPC]),
            ("group-id", &[&group.id]),
            ("group-name", &[&group.name]),
        ];
        if passes(form, &facts)? && (asked.is_empty() || asked.contains(&group.id.as_str())) {
            shown.push(
                tag("ownerId", &shared.account.id)
                    + &tag("groupId", &group.id)
                    + &tag("groupName", &group.name)
                    + &tag("groupDescription", &group.name)
                    + &tag("vpcId", VPC)
                    + &set(
                        "ipPermissions",
                        "item",
                        group.ingress.iter().map(|r| show_rule(shared, r)),
                    )
                    + &set(
                        "ipPermissionsEgress",
                        "item",
                        group.egress.iter().map(|r| show_rule(shared, r)),
                    ),
            );
        }
    }
    Ok(set("securityGroupInfo", "item", shown))
}

fn show_rule(shared: &Shared, rule: &Rule) -> String {
    let ports = rule.ports.map_or_else(String::new, |(from, to)| {
        tag("fromPort", &from.to_string()) + &tag("toPort", &to.to_string())
    });
    let group = |id: &String| tag("userId", &shared.account.id) + &tag("groupId", id);
    tag("ipProtocol", &rule.protocol)
        + &ports
        + &set("groups", "item", rule.groups.iter().map(group))
        + &set(
            "ipRanges",
            "item",
            rule.cidrs.iter().map(|cidr| tag("cidrIp", cidr)),
        )
        + "<ipv6Ranges/><prefixListIds/>"
}

fn interfaces(shared: &Shared, form: &Form) -> Result<String, ApiError> {
    let world = shared.world();
    let asked = form.list("NetworkInterfaceId");
    let all: Vec<&str> = with_interfaces(&world)
        .map(|(_, i)| i.id.as_str())
        .collect();
    known(
        &asked,
        &all,
        "InvalidNetworkInterfaceID.NotFound",
        "networkInterface ID",
    )?;
    let mut shown = Vec::new();
    for (task, interface) in with_interfaces(&world) {
        let facts: [(&str, &[&str]); 3] = [
            ("vpc-id", &[VPC]),
            ("subnet-id", &[&interface.subnet]),
            ("network-interface-id", &[&interface.id]),
        ];
        if passes(form, &facts)? && (asked.is_empty() || asked.contains(&interface.id.as_str())) {
            shown.push(
                tag("networkInterfaceId", &interface.id)
                    + &tag("subnetId", &interface.subnet)
                    + &tag("vpcId", VPC)
                    + &tag("ownerId", &shared.account.id)
                    + &tag("status", "in-use")
                    + &tag("macAddress", &interface.mac)
                    + &tag("privateIpAddress", &task.address.to_string())
                    + &set(
                        "groupSet",
                        "item",
                        [tag("groupId", TASK_GROUP) + &tag("groupName", "demo-tasks")],
                    ),
            );
        }
    }
    Ok(set("networkInterfaceSet", "item", shown))
}

fn with_interfaces(world: &World) -> impl Iterator<Item = (&Task, &Interface)> {
    world
        .tasks()
        .filter(|task| task.times.stopped.is_none())
        .filter_map(|task| Some((task, task.interface.as_ref()?)))
}

fn create_endpoint(shared: &Shared, form: &Form) -> Result<String, ApiError> {
    known(
        &[form.need("VpcId")?],
        &[VPC],
        "InvalidVpcID.NotFound",
        "vpc ID",
    )?;
    let service = form.need("ServiceName")?.to_owned();
    let prefix = format!("com.amazonaws.{}.", shared.account.region);
    if !service.starts_with(&prefix) {
        return Err(ApiError::new(
            "InvalidServiceName",
            format!("The Vpc Endpoint Service '{service}' does not exist"),
        ));
    }
    if form.get("VpcEndpointType") != Some("Interface") {
        return Err(ApiError::new(
            "UnsupportedOperation",
            "the sandbox has interface endpoints only",
        ));
    }
    let (subnets, groups) = (form.list("SubnetId"), form.list("SecurityGroupId"));
    known(&subnets, &[SUBNET], "InvalidSubnetId.NotFound", "subnet ID")?;
    known(
        &groups,
        &[TASK_GROUP, ENDPOINT_GROUP],
        "InvalidGroup.NotFound",
        "security group",
    )?;
    let endpoint = Endpoint {
        id: format!("vpce-0{}", identifiers::hex(16)),
        service,
        private_dns: form.get("PrivateDnsEnabled") == Some("true"),
        groups: groups.into_iter().map(str::to_owned).collect(),
        subnets: subnets.into_iter().map(str::to_owned).collect(),
    };
    shared.change(|world| {
        let taken = |other: &Endpoint| other.service == endpoint.service && other.private_dns;
        if endpoint.private_dns && world.network.endpoints.iter().any(taken) {
            return Err(ApiError::new(
                "InvalidParameter",
                "private-dns-enabled cannot be set because there is already a conflicting DNS domain",
            ));
        }
        let shown = format!("<vpcEndpoint>{}</vpcEndpoint>", show_endpoint(shared, &endpoint));
        world.network.endpoints.push(endpoint);
        Ok(shown)
    })
}

fn modify_endpoint(shared: &Shared, form: &Form) -> Result<String, ApiError> {
    let id = form.need("VpcEndpointId")?;
    shared.change(|world| {
        let mut endpoints = world.network.endpoints.iter_mut();
        let endpoint = endpoints.find(|endpoint| endpoint.id == id);
        let endpoint = endpoint.ok_or_else(|| {
            ApiError::new(
                "InvalidVpcEndpointId.NotFound",
                format!("The Vpc Endpoint Id '{id}' does not exist"),
            )
        })?;
        if let Some(enabled) = form.get("PrivateDnsEnabled") {
            endpoint.private_dns = enabled == "true";
        }
        Ok(tag("return", "true"))
    })
}

fn authorize(
    shared: &Shared,
    form: &Form,
    rules: impl Fn(&mut Group) -> &mut Vec<Rule>,
) -> Result<String, ApiError> {
    let id = form.need("GroupId")?;
    let permission = |name: &str| form.get(&format!("IpPermissions.1.{name}"));
    let port = |name: &str| permission(name).and_then(|port| port.parse().ok());
    let numbered = |list: &str, member: &str| -> Vec<String> {
        (1..)
            .map_while(|number| permission(&format!("{list}.{number}.{member}")))
            .map(str::to_owned)
            .collect()
    };
    let rule = Rule {
        protocol: form.need("IpPermissions.1.IpProtocol")?.to_owned(),
        ports: port("FromPort").zip(port("ToPort")),
        cidrs: numbered("IpRanges", "CidrIp"),
        groups: [
            numbered("Groups", "GroupId"),
            numbered("UserIdGroupPairs", "GroupId"),
        ]
        .concat(),
    };
    shared.change(|world| {
        let group = world.network.group_mut(id).ok_or_else(|| {
            ApiError::new(
                "InvalidGroup.NotFound",
                format!("The security group '{id}' does not exist"),
            )
        })?;
        let rules = rules(group);
        if rules.contains(&rule) {
            return Err(ApiError::new(
                "InvalidPermission.Duplicate",
                "the specified rule already exists",
            ));
        }
        rules.push(rule);
        Ok(tag("return", "true"))
    })
}

/// All ids that were asked for exist.
fn known(asked: &[&str], all: &[&str], code: &'static str, what: &str) -> Result<(), ApiError> {
    match asked.iter().find(|id| !all.contains(id)) {
        Some(id) => Err(ApiError::new(
            code,
            format!("The {what} '{id}' does not exist"),
        )),
        None => Ok(()),
    }
}

/// Whether something with these facts passes all filters of the request.
fn passes(form: &Form, facts: &[(&str, &[&str])]) -> Result<bool, ApiError> {
    for (name, values) in form.filters() {
        let fact = facts.iter().find(|(fact, _)| *fact == name);
        let (_, own) = fact.ok_or_else(|| {
            ApiError::new(
                "InvalidParameterValue",
                format!("The filter '{name}' is invalid"),
            )
        })?;
        if !values.iter().any(|value| own.contains(value)) {
            return Ok(false);
        }
    }
    Ok(true)
}

const ROUTE_TABLE: &str = "rtb-0a1b2c3d4e5f60001";
