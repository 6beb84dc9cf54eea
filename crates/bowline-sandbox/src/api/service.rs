//! Which service a request is for.

use http::request::Parts;

use super::{Protocol, control, sts};
use crate::auth;

/// Who a request is for, by `X-Amz-Target`, else by credential scope.
#[derive(Clone, Copy)]
pub(super) enum Service<'a> {
    Ecs {
        operation: &'a str,
    },
    Ssm {
        operation: &'a str,
    },
    Logs {
        operation: &'a str,
    },
    Kms {
        operation: &'a str,
    },
    /// The sandbox's own calls.
    Control {
        operation: &'a str,
    },
    Secrets {
        operation: &'a str,
    },
    Organizations {
        operation: &'a str,
    },
    Sts,
    Iam,
    Ec2,
    Rds,
    Elasticache,
    /// By paths, not by targets.
    Lambda,
    /// By paths as well.
    S3,
    /// A JSON service that is not served, or no mark at all.
    Unknown {
        scope: &'a str,
    },
    /// A query service that is not served.
    UnknownQuery {
        scope: &'a str,
    },
}

impl<'a> Service<'a> {
    /// Whom it is for.
    pub(super) fn of(head: &'a Parts) -> Self {
        let scope = auth::scope_service(&head.headers);
        let Some(target) = head.headers.get("x-amz-target") else {
            let content_type = head.headers.get(http::header::CONTENT_TYPE);
            let form = content_type.is_some_and(|value| {
                value
                    .as_bytes()
                    .starts_with(b"application/x-www-form-urlencoded")
            });
            return match scope {
                Some("sts") => Self::Sts,
                Some("iam") => Self::Iam,
                Some("ec2") => Self::Ec2,
                Some("rds") => Self::Rds,
                Some("elasticache") => Self::Elasticache,
                Some("lambda") => Self::Lambda,
                Some("s3") => Self::S3,
                Some(scope) if form => Self::UnknownQuery { scope },
                Some(scope) => Self::Unknown { scope },
                None if form => Self::Sts,
                None => Self::Unknown { scope: "ecs" },
            };
        };
        match target.to_str().unwrap_or_default().split_once('.') {
            Some(("AmazonEC2ContainerServiceV20141113", operation)) => Self::Ecs { operation },
            Some(("AmazonSSM", operation)) => Self::Ssm { operation },
            Some(("Logs_20140328", operation)) => Self::Logs { operation },
            Some(("TrentService", operation)) => Self::Kms { operation },
            Some(("secretsmanager", operation)) => Self::Secrets { operation },
            Some(("AWSOrganizationsV20161128", operation)) => Self::Organizations { operation },
            Some((control::TARGET, operation)) => Self::Control { operation },
            _ => Self::Unknown {
                scope: scope.unwrap_or("ecs"),
            },
        }
    }

    /// The operation as the access log names it.
    pub(super) fn told_operation(self, head: &Parts, body: &[u8]) -> String {
        match self {
            Self::Ecs { operation }
            | Self::Ssm { operation }
            | Self::Logs { operation }
            | Self::Kms { operation }
            | Self::Control { operation }
            | Self::Secrets { operation }
            | Self::Organizations { operation } => operation.to_owned(),
            Self::Sts
            | Self::Iam
            | Self::Ec2
            | Self::Rds
            | Self::Elasticache
            | Self::UnknownQuery { .. } => sts::operation(body).to_owned(),
            Self::Lambda if head.method == http::Method::POST => "Invoke".to_owned(),
            Self::Lambda | Self::S3 | Self::Unknown { .. } => head.method.to_string(),
        }
    }

    /// The service in the scope of signatures.
    pub(super) fn scope(self) -> &'a str {
        match self {
            Self::Ecs { .. } | Self::Control { .. } => "ecs",
            Self::Ssm { .. } => "ssm",
            Self::Logs { .. } => "logs",
            Self::Kms { .. } => "kms",
            Self::Sts => "sts",
            Self::Iam => "iam",
            Self::Ec2 => "ec2",
            Self::Rds => "rds",
            Self::Elasticache => "elasticache",
            Self::Secrets { .. } => "secretsmanager",
            Self::Organizations { .. } => "organizations",
            Self::Lambda => "lambda",
            Self::S3 => "s3",
            Self::Unknown { scope } | Self::UnknownQuery { scope } => scope,
        }
    }

    /// How it answers.
    pub(super) fn protocol(self) -> Protocol {
        match self {
            Self::Ecs { .. }
            | Self::Kms { .. }
            | Self::Logs { .. }
            | Self::Control { .. }
            | Self::Lambda
            | Self::S3
            | Self::Unknown { .. } => Protocol::Json { message: "message" },
            Self::Ssm { .. } | Self::Secrets { .. } | Self::Organizations { .. } => {
                Protocol::Json { message: "Message" }
            }
            Self::Sts | Self::Rds | Self::Elasticache | Self::UnknownQuery { .. } => Protocol::STS,
            Self::Iam => Protocol::IAM,
            Self::Ec2 => Protocol::Ec2,
        }
    }
}
