//! The network that tasks are in, as EC2 shows it, and whether it leads to Session Manager.

use serde::{Deserialize, Serialize};

use crate::identifiers::{self, Account};

pub(crate) const VPC: &str = "vpc-0a1b2c3d4e5f60001";
pub(crate) const SUBNET: &str = "subnet-0a1b2c3d4e5f60001";
/// The tasks' security group.
pub(crate) const TASK_GROUP: &str = "sg-0a1b2c3d4e5f60001";
/// The security group of the endpoints there are.
pub(crate) const ENDPOINT_GROUP: &str = "sg-0a1b2c3d4e5f60002";
pub(crate) const NAT_GATEWAY: &str = "nat-0a1b2c3d4e5f60001";
pub(crate) const CIDR: &str = "10.0.0.0/16";
pub(crate) const SUBNET_CIDR: &str = "10.0.1.0/24";
const HTTPS: i64 = 443;

/// What is wrong with the demo network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Nothing leads out, and there are no endpoints.
    NoRoute,
    /// Nothing leads out, and there are endpoints, but not for Session Manager.
    NoEndpoint,
    /// The endpoint's security group lets nobody in.
    EndpointClosed,
    /// The endpoint does not answer to the service's name.
    EndpointWithoutDns,
    /// The tasks' security group lets nothing out.
    EgressClosed,
}

/// The demo network: one subnet with one route table.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct Network {
    /// The default route leads to a NAT gateway.
    pub(crate) nat: bool,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) groups: Vec<Group>,
}

/// An interface endpoint.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct Endpoint {
    pub(crate) id: String,
    pub(crate) service: String,
    pub(crate) private_dns: bool,
    pub(crate) groups: Vec<String>,
    pub(crate) subnets: Vec<String>,
}

/// A security group.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct Group {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) ingress: Vec<Rule>,
    pub(crate) egress: Vec<Rule>,
}

/// What a security group lets through.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Rule {
    /// `tcp`, or `-1` for everything.
    pub(crate) protocol: String,
    pub(crate) ports: Option<(i64, i64)>,
    pub(crate) cidrs: Vec<String>,
    pub(crate) groups: Vec<String>,
}

impl Rule {
    fn everything() -> Self {
        Self {
            protocol: "-1".to_owned(),
            ports: None,
            cidrs: vec!["0.0.0.0/0".to_owned()],
            groups: Vec::new(),
        }
    }

    fn within(group: &str) -> Self {
        Self {
            cidrs: Vec::new(),
            groups: vec![group.to_owned()],
            ..Self::everything()
        }
    }

    fn https_from_the_vpc() -> Self {
        Self {
            protocol: "tcp".to_owned(),
            ports: Some((HTTPS, HTTPS)),
            cidrs: vec![CIDR.to_owned()],
            groups: Vec::new(),
        }
    }

    /// TCP 443 with one of these at the other end.
    fn passes(&self, cidrs: &[&str], groups: &[String]) -> bool {
        let port = match self.protocol.as_str() {
            "-1" => true,
            "tcp" | "6" => self
                .ports
                .is_none_or(|(from, to)| (from..=to).contains(&HTTPS)),
            _ => false,
        };
        port && (self.cidrs.iter().any(|own| cidrs.contains(&own.as_str()))
            || self.groups.iter().any(|own| groups.contains(own)))
    }
}

impl Endpoint {
    /// One in the tasks' subnet, for a service such as `ssmmessages`.
    pub(crate) fn new(account: &Account, service: &str, private_dns: bool) -> Self {
        Self {
            id: format!("vpce-0{}", identifiers::hex(16)),
            service: format!("com.amazonaws.{}.{service}", account.region),
            private_dns,
            groups: vec![ENDPOINT_GROUP.to_owned()],
            subnets: vec![SUBNET.to_owned()],
        }
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::demo(&Account::new(""), None)
    }
}

impl Network {
    /// The demo network, with what is wrong with it.
    pub(crate) fn demo(account: &Account, flaw: Option<Flaw>) -> Self {
        let private_dns = flaw != Some(Flaw::EndpointWithoutDns);
        let endpoint = |service: &str| Endpoint::new(account, service, private_dns);
        let endpoints = match flaw {
            None | Some(Flaw::NoRoute | Flaw::EgressClosed) => Vec::new(),
            Some(Flaw::NoEndpoint) => vec![endpoint("ecr.api"), endpoint("logs")],
            Some(_) => vec![endpoint("logs"), endpoint("ssmmessages")],
        };
        let tasks = Group {
            id: TASK_GROUP.to_owned(),
            name: "demo-tasks".to_owned(),
            ingress: vec![Rule::within(TASK_GROUP)],
            egress: match flaw {
                Some(Flaw::EgressClosed) => Vec::new(),
                _ => vec![Rule::everything()],
            },
        };
        let of_endpoints = Group {
            id: ENDPOINT_GROUP.to_owned(),
            name: "demo-endpoints".to_owned(),
            ingress: match flaw {
                Some(Flaw::EndpointClosed) => Vec::new(),
                _ => vec![Rule::https_from_the_vpc()],
            },
            egress: vec![Rule::everything()],
        };
        Self {
            nat: matches!(flaw, None | Some(Flaw::EgressClosed)),
            endpoints,
            groups: vec![tasks, of_endpoints],
        }
    }

    /// Whether a task in the demo subnet reaches Session Manager.
    pub(crate) fn leads_to_session_manager(&self, account: &Account) -> bool {
        let service = format!("com.amazonaws.{}.ssmmessages", account.region);
        let endpoint = self
            .endpoints
            .iter()
            .find(|endpoint| endpoint.service == service && endpoint.private_dns);
        let own = [TASK_GROUP.to_owned()];
        let everywhere = ["0.0.0.0/0", CIDR, SUBNET_CIDR];
        match endpoint {
            // The service's name leads to the endpoint, whatever routes there are.
            Some(endpoint) => {
                self.any(&own, |group| &group.egress, &everywhere, &endpoint.groups)
                    && self.any(&endpoint.groups, |group| &group.ingress, &everywhere, &own)
            }
            None => self.nat && self.any(&own, |group| &group.egress, &everywhere[..1], &[]),
        }
    }

    fn any(
        &self,
        of: &[String],
        rules: impl Fn(&Group) -> &Vec<Rule>,
        cidrs: &[&str],
        groups: &[String],
    ) -> bool {
        self.groups
            .iter()
            .filter(|group| of.contains(&group.id))
            .flat_map(|group| rules(group).iter())
            .any(|rule| rule.passes(cidrs, groups))
    }

    /// The security group with this id.
    pub(crate) fn group_mut(&mut self, id: &str) -> Option<&mut Group> {
        self.groups.iter_mut().find(|group| group.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flaw_cuts_the_way_to_session_manager() {
        let account = Account::new("eu-west-1");
        assert!(Network::demo(&account, None).leads_to_session_manager(&account));
        for flaw in [
            Flaw::NoRoute,
            Flaw::NoEndpoint,
            Flaw::EndpointClosed,
            Flaw::EndpointWithoutDns,
            Flaw::EgressClosed,
        ] {
            let network = Network::demo(&account, Some(flaw));
            assert!(!network.leads_to_session_manager(&account), "{flaw:?}");
        }
    }
}
