//! The way from the task to Session Manager.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::Looked;
use crate::aws::call::{list, text};
use crate::doctor::facts::{Facts, Known, Network, Unknown};
use crate::doctor::fix;
use crate::doctor::{Check, Severity};

const SUBJECT: &str = "whether the task reaches Session Manager";

/// How a task's traffic to Session Manager goes.
enum Way<'f> {
    /// By an endpoint that answers to the service's name.
    Endpoint(&'f Value),
    /// By the default route to what leads to the internet.
    Internet(String),
    /// The endpoint there is does not answer to the service's name, and there is no other way.
    NoDns(&'f Value),
    /// The route leads to an internet gateway, and the task has no address there.
    NoAddress,
    /// There is none.
    None,
}

pub(super) fn route(facts: &Facts) -> Vec<Check> {
    const LOOK: Looked = Looked::new(
        "route",
        7,
        "ec2:DescribeSubnets, DescribeRouteTables and DescribeVpcEndpoints",
    );
    let network = match &facts.network {
        Ok(network) => network,
        Err(why) => return LOOK.unknown(SUBJECT, why),
    };
    let subnet = &network.subnet_id;
    match way(facts, network) {
        Err(why) => LOOK.unknown(SUBJECT, &why),
        Ok(Way::Endpoint(endpoint)) => LOOK.ok(format!(
            "subnet {subnet} reaches Session Manager by the endpoint {}",
            id(endpoint)
        )),
        Ok(Way::Internet(by)) => LOOK.ok(format!("subnet {subnet} has a route out, by {by}")),
        Ok(Way::NoDns(endpoint)) => LOOK.problem(
            Severity::Blocks,
            format!(
                "the endpoint {} for Session Manager has no private DNS, so the exec agent does not find it, and subnet \
                 {subnet} has no other way",
                id(endpoint)
            ),
            "turn private DNS on for the endpoint",
            vec![fix::private_dns(id(endpoint))],
        ),
        Ok(Way::NoAddress) => LOOK.problem(
            Severity::Blocks,
            format!(
                "subnet {subnet} leads to an internet gateway, and the task has no public address to use it with"
            ),
            "set assignPublicIp to ENABLED, or make an endpoint for Session Manager in the VPC; an endpoint costs money \
             for every hour",
            fix::new_endpoint(facts, network),
        ),
        Ok(Way::None) => {
            let others = network.endpoints.as_ref().is_ok_and(|all| !all.is_empty());
            let what = match others {
                true => format!(
                    "subnet {subnet} has no route out, and of the endpoints of {} none is for Session Manager",
                    network.vpc_id
                ),
                false => format!("subnet {subnet} has no route out and no endpoint for Session Manager"),
            };
            LOOK.problem(
                Severity::Blocks,
                what,
                format!(
                    "make an endpoint for com.amazonaws.{}.ssmmessages in {}, or a route to a NAT gateway; an endpoint \
                     costs money for every hour",
                    facts.region, network.vpc_id
                ),
                fix::new_endpoint(facts, network),
            )
        }
    }
}

pub(super) fn security_groups(facts: &Facts) -> Vec<Check> {
    const LOOK: Looked = Looked::new("security-groups", 8, "ec2:DescribeSecurityGroups");
    let Ok(network) = &facts.network else {
        return Vec::new();
    };
    let endpoint = match way(facts, network) {
        Ok(Way::Endpoint(endpoint)) => Some(endpoint),
        Ok(Way::Internet(_)) => None,
        _ => return Vec::new(),
    };
    let own = match &network.groups {
        Ok(own) if own.is_empty() => return Vec::new(),
        Ok(own) => own,
        Err(why) => return LOOK.unknown("what the security groups let through", why),
    };
    let mut checks = Vec::new();
    let theirs = match endpoint.map(|_| &network.endpoint_groups) {
        Some(Err(why)) => return LOOK.unknown("what the security groups let through", why),
        Some(Ok(theirs)) => Some(theirs.as_slice()),
        None => None,
    };
    let first = group_id(&own[0]);
    let out = match theirs {
        Some(theirs) => passes(own, "ipPermissionsEgress", theirs, network.cidr.as_deref()),
        None => passes_out(own),
    };
    if out == Pass::No {
        let peer = match theirs.and_then(|theirs| theirs.first()) {
            Some(group) => json!({ "Groups": [{ "GroupId": group_id(group) }] }),
            None => json!({ "IpRanges": [{ "CidrIp": "0.0.0.0/0" }] }),
        };
        checks.extend(LOOK.problem(
            Severity::Blocks,
            format!("the task's security group {first} lets nothing out to port 443"),
            format!("let {first} out to TCP port 443"),
            vec![fix::open_port("AuthorizeSecurityGroupEgress", first, peer)],
        ));
    }
    let into = theirs.map_or(Pass::Yes, |theirs| {
        passes(theirs, "ipPermissions", own, network.cidr.as_deref())
    });
    if into == Pass::No {
        let gate = theirs
            .and_then(|theirs| theirs.first())
            .map_or("", group_id);
        checks.extend(LOOK.problem(
            Severity::Blocks,
            format!(
                "the security group {gate} of the endpoint {} does not let the task in on port 443",
                endpoint.map_or("", id)
            ),
            format!("let {first} into {gate} on TCP port 443"),
            vec![fix::open_port(
                "AuthorizeSecurityGroupIngress",
                gate,
                json!({ "Groups": [{ "GroupId": first }] }),
            )],
        ));
    }
    if checks.is_empty() {
        return match (out, into) {
            (Pass::Yes, Pass::Yes) => LOOK.ok("the security groups let the exec agent through"),
            _ => {
                let why =
                    Unknown::new("their rules name addresses that cannot be compared from here");
                LOOK.unknown(
                    "whether the security groups let the exec agent through",
                    &why,
                )
            }
        };
    }
    checks
}

fn way<'f>(facts: &Facts, network: &'f Network) -> Known<Way<'f>> {
    let endpoints = network.endpoints.as_ref().map_err(Clone::clone)?;
    let service = format!("com.amazonaws.{}.ssmmessages", facts.region);
    let mut ours = endpoints.iter().filter(|endpoint| {
        text(endpoint, "serviceName") == Some(&service)
            && text(endpoint, "state").is_none_or(|state| state == "available")
    });
    let named = ours
        .clone()
        .find(|endpoint| text(endpoint, "privateDnsEnabled") == Some("true"));
    if let Some(endpoint) = named {
        return Ok(Way::Endpoint(endpoint));
    }
    let table = network.table.as_ref().map_err(Clone::clone)?;
    let mut default = list(table, "routeSet").iter().filter(|route| {
        ["destinationCidrBlock", "destinationIpv6CidrBlock"]
            .iter()
            .any(|member| matches!(text(route, member), Some("0.0.0.0/0" | "::/0")))
            && text(route, "state").is_none_or(|state| state == "active")
    });
    let Some(route) = default.next() else {
        if list(table, "routeSet").iter().any(leads_elsewhere) {
            return Err(Unknown(format!(
                "routes of subnet {} lead to other networks, where no API shows what follows",
                network.subnet_id
            )));
        }
        return Ok(ours.next().map_or(Way::None, Way::NoDns));
    };
    if let Some(nat) = text(route, "natGatewayId") {
        return Ok(Way::Internet(nat.to_owned()));
    }
    match text(route, "gatewayId") {
        Some(gateway) if gateway.starts_with("igw-") => match &network.public {
            Ok(true) => Ok(Way::Internet(gateway.to_owned())),
            Ok(false) => Ok(Way::NoAddress),
            Err(why) => Err(why.clone()),
        },
        _ => Err(Unknown(format!(
            "the default route of subnet {} leads where no API shows what follows",
            network.subnet_id
        ))),
    }
}

/// Whether a route leaves the VPC, if only for some addresses: an endpoint may be behind it, or a proxy. Those of gateway
/// endpoints lead to S3 and DynamoDB only.
fn leads_elsewhere(route: &Value) -> bool {
    const TARGETS: [&str; 9] = [
        "carrierGatewayId",
        "coreNetworkArn",
        "egressOnlyInternetGatewayId",
        "instanceId",
        "localGatewayId",
        "natGatewayId",
        "networkInterfaceId",
        "transitGatewayId",
        "vpcPeeringConnectionId",
    ];
    let by_gateway = text(route, "gatewayId")
        .is_some_and(|gateway| gateway != "local" && !gateway.starts_with("vpce-"));
    text(route, "state").is_none_or(|state| state == "active")
        && (by_gateway || TARGETS.iter().any(|target| text(route, target).is_some()))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Pass {
    No,
    Maybe,
    Yes,
}

/// Whether rules of `groups` let TCP 443 through between them and `others` in a subnet.
fn passes(groups: &[Value], rules: &str, others: &[Value], cidr: Option<&str>) -> Pass {
    let others: Vec<&str> = others.iter().map(group_id).collect();
    let each = groups
        .iter()
        .flat_map(|group| list(group, rules))
        .filter(|rule| has_https(rule))
        .map(|rule| {
            let named = |group: &Value| others.contains(&group_id(group));
            if list(rule, "groups").iter().any(named) {
                return Pass::Yes;
            }
            let ranges = list(rule, "ipRanges").iter();
            let by_address = ranges
                .filter_map(|range| text(range, "cidrIp"))
                .map(|range| covers(range, cidr))
                .max();
            let listed = match list(rule, "prefixListIds").is_empty() {
                true => Pass::No,
                false => Pass::Maybe,
            };
            by_address.unwrap_or(Pass::No).max(listed)
        });
    each.max().unwrap_or(Pass::No)
}

/// Whether rules of `groups` let TCP 443 out to the internet.
fn passes_out(groups: &[Value]) -> Pass {
    let rules = groups
        .iter()
        .flat_map(|group| list(group, "ipPermissionsEgress"))
        .filter(|rule| has_https(rule));
    let each = rules.map(|rule| {
        let everywhere = list(rule, "ipRanges")
            .iter()
            .any(|range| text(range, "cidrIp") == Some("0.0.0.0/0"));
        match everywhere {
            true => Pass::Yes,
            // Part of the internet, IPv6, or a list: what of it is AWS's changes.
            false => Pass::Maybe,
        }
    });
    each.max().unwrap_or(Pass::No)
}

fn has_https(rule: &Value) -> bool {
    let port = |name: &str| text(rule, name).and_then(|port| port.parse::<i64>().ok());
    match text(rule, "ipProtocol") {
        Some("-1") => true,
        Some("tcp" | "6") => match (port("fromPort"), port("toPort")) {
            (Some(from), Some(to)) => (from..=to).contains(&443),
            _ => true,
        },
        _ => false,
    }
}

/// Whether a range has all addresses of a subnet, some, or none.
fn covers(range: &str, subnet: Option<&str>) -> Pass {
    let Some((range, subnet)) = parse(range).zip(subnet.and_then(parse)) else {
        return Pass::Maybe;
    };
    let same = |bits: u32| {
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        range.0 & mask == subnet.0 & mask
    };
    if range.1 <= subnet.1 && same(range.1) {
        return Pass::Yes;
    }
    // Partly the subnet, or another one of the VPC, where the other end may have its addresses.
    match same(range.1.min(subnet.1)) || Ipv4Addr::from(range.0).is_private() {
        true => Pass::Maybe,
        false => Pass::No,
    }
}

fn parse(cidr: &str) -> Option<(u32, u32)> {
    let (address, bits) = cidr.split_once('/')?;
    let address: Ipv4Addr = address.parse().ok()?;
    let bits: u32 = bits.parse().ok()?;
    (bits <= 32).then_some((address.into(), bits))
}

fn group_id(group: &Value) -> &str {
    text(group, "groupId").unwrap_or_default()
}

fn id(endpoint: &Value) -> &str {
    text(endpoint, "vpcEndpointId").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(id: &str, rules: &Value) -> Vec<Value> {
        vec![json!({ "groupId": id, "ipPermissions": rules, "ipPermissionsEgress": rules })]
    }

    #[test]
    fn only_a_rule_that_cannot_apply_counts_as_closed() {
        let task = group("sg-task", &json!([]));
        let pass = |rules: &Value| {
            passes(
                &group("sg-end", rules),
                "ipPermissions",
                &task,
                Some("10.0.1.0/24"),
            )
        };
        let tcp = |from: &str, to: &str, peer: Value| {
            let mut rule = json!({ "ipProtocol": "tcp", "fromPort": from, "toPort": to });
            for (name, value) in peer.as_object().unwrap() {
                rule[name] = value.clone();
            }
            json!([rule])
        };
        let range = |cidr: &str| json!({ "ipRanges": [{ "cidrIp": cidr }] });
        assert_eq!(pass(&json!([])), Pass::No);
        assert_eq!(pass(&tcp("80", "80", range("0.0.0.0/0"))), Pass::No);
        assert_eq!(pass(&tcp("443", "443", range("0.0.0.0/0"))), Pass::Yes);
        assert_eq!(pass(&tcp("0", "65535", range("10.0.0.0/16"))), Pass::Yes);
        assert_eq!(
            pass(&tcp("443", "443", range("10.0.1.128/25"))),
            Pass::Maybe
        );
        assert_eq!(pass(&tcp("443", "443", range("203.0.113.0/24"))), Pass::No);
        let by_group = |id: &str| json!({ "groups": [{ "groupId": id }] });
        assert_eq!(pass(&tcp("443", "443", by_group("sg-task"))), Pass::Yes);
        assert_eq!(pass(&tcp("443", "443", by_group("sg-other"))), Pass::No);
        let listed = json!({ "prefixListIds": [{ "prefixListId": "pl-1" }] });
        assert_eq!(pass(&tcp("443", "443", listed)), Pass::Maybe);
    }
}
