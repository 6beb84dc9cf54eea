//! The services that can be called: how each is spoken to, and where it is.

use super::Lists;
use super::hosts::host;
use crate::aws::config::Settings;
use crate::aws::regions::partition;

/// One service.
#[derive(Debug)]
pub(super) struct Service {
    /// In signatures and host names.
    pub(super) name: &'static str,
    /// In the names of endpoint settings.
    id: &'static str,
    pub(super) protocol: Protocol,
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
    },
    Service {
        name: "secretsmanager",
        id: "SECRETS_MANAGER",
        protocol: Protocol::Json {
            target: "secretsmanager",
            version: "1.1",
        },
    },
    Service {
        name: "rds",
        id: "RDS",
        protocol: Protocol::Query {
            version: "2014-10-31",
            lists: Lists::Member,
        },
    },
    Service {
        name: "elasticache",
        id: "ELASTICACHE",
        protocol: Protocol::Query {
            version: "2015-02-02",
            lists: Lists::Member,
        },
    },
    Service {
        name: "ecs",
        id: "ECS",
        protocol: Protocol::Json {
            target: "AmazonEC2ContainerServiceV20141113",
            version: "1.1",
        },
    },
    Service {
        name: "ssm",
        id: "SSM",
        protocol: Protocol::Json {
            target: "AmazonSSM",
            version: "1.1",
        },
    },
    Service {
        name: "sts",
        id: "STS",
        protocol: Protocol::Query {
            version: "2011-06-15",
            lists: Lists::Member,
        },
    },
    Service {
        name: "iam",
        id: "IAM",
        protocol: Protocol::Query {
            version: "2010-05-08",
            lists: Lists::Member,
        },
    },
    Service {
        name: "ec2",
        id: "EC2",
        protocol: Protocol::Query {
            version: "2016-11-15",
            lists: Lists::Flat,
        },
    },
];

impl Service {
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        SERVICES.iter().find(|service| service.name == name)
    }

    /// The URL to post to and the region to sign for. AWS's own hosts of global services want one region of their
    /// partition; at an endpoint of the user's it is that of the caller, as with botocore.
    pub(super) fn place(&self, settings: &Settings) -> (String, String) {
        let region = settings.region.as_str();
        let (url, signed_for) = match settings.endpoint(self.id) {
            Some(url) => (url, region),
            None => {
                let (host, signed_for) = self.host(region);
                (format!("https://{host}"), signed_for)
            }
        };
        let url = format!("{}/", url.trim_end_matches('/'));
        (url, signed_for.to_owned())
    }

    fn host<'r>(&self, region: &'r str) -> (String, &'r str) {
        match (self.name, partition(region)) {
            ("iam", "aws") => ("iam.amazonaws.com".to_owned(), "us-east-1"),
            _ => host(self.name, self.name, region),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As botocore 1.44 places them.
    #[test]
    fn global_services_are_where_their_partition_has_them() {
        for (name, region, expected, signed_for) in [
            ("iam", "eu-west-1", "iam.amazonaws.com", "us-east-1"),
            (
                "iam",
                "cn-northwest-1",
                "iam.cn-north-1.amazonaws.com.cn",
                "cn-north-1",
            ),
            (
                "iam",
                "us-gov-east-1",
                "iam.us-gov.amazonaws.com",
                "us-gov-west-1",
            ),
            (
                "iam",
                "us-iso-east-1",
                "iam.us-iso-east-1.c2s.ic.gov",
                "us-iso-east-1",
            ),
            (
                "organizations",
                "eu-west-1",
                "organizations.us-east-1.amazonaws.com",
                "us-east-1",
            ),
            (
                "organizations",
                "cn-north-1",
                "organizations.cn-northwest-1.amazonaws.com.cn",
                "cn-northwest-1",
            ),
            (
                "organizations",
                "us-gov-east-1",
                "organizations.us-gov-west-1.amazonaws.com",
                "us-gov-west-1",
            ),
            (
                "organizations",
                "eusc-de-east-1",
                "organizations.eusc-de-east-1.amazonaws.eu",
                "eusc-de-east-1",
            ),
            (
                "ssm",
                "eu-west-1",
                "ssm.eu-west-1.amazonaws.com",
                "eu-west-1",
            ),
        ] {
            let service = Service::named(name).unwrap();
            let expected = (expected.to_owned(), signed_for);
            assert_eq!(service.host(region), expected, "{name} {region}");
        }
    }
}
