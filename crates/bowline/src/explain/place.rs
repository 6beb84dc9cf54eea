//! Where calls are made, as far as that is known without asking.

/// Where calls are made. What is not known is `None`, and `*` in ARNs.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Place {
    /// The region.
    pub region: Option<String>,
    /// The account's number.
    pub account: Option<String>,
    /// The cluster's name.
    pub cluster: Option<String>,
    /// The service's name.
    pub service: Option<String>,
    /// The task's whole id.
    pub task: Option<String>,
    /// The container's name.
    pub container: Option<String>,
}

impl Place {
    /// One of which nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn arn(&self, service: &str, resource: &str) -> String {
        format!(
            "arn:{}:{service}:{}:{}:{resource}",
            self.partition(),
            or_any(self.region.as_deref()),
            or_any(self.account.as_deref())
        )
    }

    /// IAM is not in a region.
    pub(super) fn role(&self) -> String {
        let account = or_any(self.account.as_deref());
        format!("arn:{}:iam::{account}:role/*", self.partition())
    }

    /// One of AWS's own documents has no account.
    pub(super) fn document(&self, name: &str) -> String {
        let region = or_any(self.region.as_deref());
        format!("arn:{}:ssm:{region}::document/{name}", self.partition())
    }

    pub(super) fn cluster(&self) -> String {
        let cluster = or_any(self.cluster.as_deref());
        self.arn("ecs", &format!("cluster/{cluster}"))
    }

    pub(super) fn tasks(&self) -> String {
        let cluster = or_any(self.cluster.as_deref());
        let task = or_any(self.task.as_deref());
        self.arn("ecs", &format!("task/{cluster}/{task}"))
    }

    pub(super) fn services(&self) -> String {
        let cluster = or_any(self.cluster.as_deref());
        let service = or_any(self.service.as_deref());
        self.arn("ecs", &format!("service/{cluster}/{service}"))
    }

    pub(super) fn partition(&self) -> &'static str {
        match self.region.as_deref() {
            Some(region) if region.starts_with("cn-") => "aws-cn",
            Some(region) if region.starts_with("us-gov-") => "aws-us-gov",
            Some(region) if region.starts_with("eusc-") => "aws-eusc",
            Some(region) if region.starts_with("us-iso-") => "aws-iso",
            Some(region) if region.starts_with("us-isob-") => "aws-iso-b",
            Some(region) if region.starts_with("us-isof-") => "aws-iso-f",
            Some(region) if region.starts_with("eu-isoe-") => "aws-iso-e",
            _ => "aws",
        }
    }
}

fn or_any(known: Option<&str>) -> &str {
    known.unwrap_or("*")
}
