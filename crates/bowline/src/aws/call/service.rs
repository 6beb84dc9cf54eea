//! The services that can be called: how each is spoken to, and where it is.

use super::Lists;
use crate::aws::config::Settings;
use crate::aws::regions::dns_suffix;

/// One service.
#[derive(Debug)]
pub(super) struct Service {
    /// In signatures and host names.
    pub(super) name: &'static str,
    /// In the names of endpoint settings.
    id: &'static str,
    pub(super) protocol: Protocol,
    /// One endpoint for a whole partition.
    global: bool,
}

/// How a service is spoken to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Protocol {
    /// awsJson: the operation in a header, a JSON object as body.
    Json {
        target: &'static str,
        version: &'static str,
    },
    /// awsQuery and ec2Query: a form as body, XML as answer.
    Query { version: &'static str, lists: Lists },
}

const SERVICES: [Service; 9] = [
    Service {
        name: "organizations",
        id: "ORGANIZATIONS",
        protocol: Protocol::Json {
            target: "AWSOrganizationsV20161128",
            version: "1.1",
        },
        global: true,
    },
    Service {
        name: "secretsmanager",
        id: "SECRETS_MANAGER",
        protocol: Protocol::Json {
            target: "secretsmanager",
            version: "1.1",
        },
        global: false,
    },
    Service {
        name: "rds",
        id: "RDS",
        protocol: Protocol::Query {
            version: "2014-10-31",
            lists: Lists::Member,
        },
        global: false,
    },
    Service {
        name: "elasticache",
        id: "ELASTICACHE",
        protocol: Protocol::Query {
            version: "2015-02-02",
            lists: Lists::Member,
        },
        global: false,
    },
    Service {
        name: "ecs",
        id: "ECS",
        protocol: Protocol::Json {
            target: "AmazonEC2ContainerServiceV20141113",
            version: "1.1",
        },
        global: false,
    },
    Service {
        name: "ssm",
        id: "SSM",
        protocol: Protocol::Json {
            target: "AmazonSSM",
            version: "1.1",
        },
        global: false,
    },
    Service {
        name: "sts",
        id: "STS",
        protocol: Protocol::Query {
            version: "2011-06-15",
            lists: Lists::Member,
        },
        global: false,
    },
    Service {
        name: "iam",
        id: "IAM",
        protocol: Protocol::Query {
            version: "2010-05-08",
            lists: Lists::Member,
        },
        global: true,
    },
    Service {
        name: "ec2",
        id: "EC2",
        protocol: Protocol::Query {
            version: "2016-11-15",
            lists: Lists::Flat,
        },
        global: false,
    },
];

impl Service {
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        SERVICES.iter().find(|service| service.name == name)
    }

    /// The URL to post to and the region to sign for. Global services are signed for one region of their partition,
    /// also at an endpoint of the user's, as the SDKs do it.
    pub(super) fn place(&self, settings: &Settings) -> (String, String) {
        let region = settings.region.as_str();
        let suffix = dns_suffix(region);
        let (host, signed_for) = match (self.global, region) {
            (false, _) => (format!("{}.{region}.{suffix}", self.name), region),
            (true, _)
                if self.name == "organizations"
                    && !region.starts_with("cn-")
                    && !region.starts_with("us-gov-") =>
            {
                (format!("{}.us-east-1.{suffix}", self.name), "us-east-1")
            }
            (true, _) if region.starts_with("cn-") => {
                (format!("{}.cn-north-1.{suffix}", self.name), "cn-north-1")
            }
            (true, _) if region.starts_with("us-gov-") => {
                (format!("{}.us-gov.{suffix}", self.name), "us-gov-west-1")
            }
            (true, _)
                if ["us-iso", "eu-iso", "eusc-"]
                    .iter()
                    .any(|p| region.starts_with(p)) =>
            {
                (format!("{}.{region}.{suffix}", self.name), region)
            }
            (true, _) => (format!("{}.{suffix}", self.name), "us-east-1"),
        };
        let url = match settings.endpoint(self.id) {
            Some(url) => url,
            None => format!("https://{host}"),
        };
        (
            format!("{}/", url.trim_end_matches('/')),
            signed_for.to_owned(),
        )
    }
}
