//! ARNs of ECS tasks and services. The partition is kept: nothing here ever writes `arn:aws:` by itself.

use std::fmt;
use std::str::FromStr;

use super::{ClusterName, ParseTargetError, check_name};

/// The ARN of a task or a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EcsArn {
    /// `aws`, `aws-cn`, `aws-us-gov` …
    pub partition: String,
    /// The region.
    pub region: String,
    /// The account number.
    pub account: String,
    /// What it names.
    pub kind: ArnKind,
    /// The cluster; ARNs in the old format have none.
    pub cluster: Option<ClusterName>,
    /// The task's id or the service's name.
    pub name: String,
}

/// What an ARN names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ArnKind {
    /// A task.
    Task,
    /// A service.
    Service,
}

impl ArnKind {
    fn word(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Service => "service",
        }
    }
}

impl FromStr for EcsArn {
    type Err = ParseTargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = |reason| ParseTargetError::BadArn {
            text: text.to_owned(),
            reason,
        };
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", partition, "ecs", region, account, resource] = parts[..] else {
            return Err(bad("is not an ECS ARN"));
        };
        for (part, value) in [
            ("partition", partition),
            ("region", region),
            ("account", account),
        ] {
            check_name(part, value)
                .map_err(|_| bad("has an unusable partition, region or account"))?;
        }

        let segments: Vec<&str> = resource.split('/').collect();
        let (kind, cluster, name) = match segments[..] {
            [kind, name] => (kind, None, name),
            [kind, cluster, name] => (kind, Some(cluster), name),
            _ => return Err(bad("names neither a task nor a service")),
        };
        let kind = match kind {
            "task" => ArnKind::Task,
            "service" => ArnKind::Service,
            _ => return Err(bad("names neither a task nor a service")),
        };
        check_name("name", name)?;
        Ok(Self {
            partition: partition.to_owned(),
            region: region.to_owned(),
            account: account.to_owned(),
            kind,
            cluster: cluster.map(str::parse).transpose()?,
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for EcsArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "arn:{}:ecs:{}:{}:{}/",
            self.partition,
            self.region,
            self.account,
            self.kind.word()
        )?;
        if let Some(cluster) = &self.cluster {
            write!(f, "{cluster}/")?;
        }
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_formats_are_read() {
        let new: EcsArn = "arn:aws-cn:ecs:cn-north-1:123456789012:service/prod/web"
            .parse()
            .unwrap();
        assert_eq!(new.kind, ArnKind::Service);
        assert_eq!(new.cluster.as_ref().map(ClusterName::as_str), Some("prod"));
        assert_eq!(
            (new.partition.as_str(), new.name.as_str()),
            ("aws-cn", "web")
        );

        let old: EcsArn = "arn:aws:ecs:us-east-1:123456789012:task/1b2c"
            .parse()
            .unwrap();
        assert_eq!((old.kind, old.cluster), (ArnKind::Task, None));
    }

    #[test]
    fn other_resources_are_refused() {
        for text in [
            "arn:aws:ecs:us-east-1:1:cluster/prod",
            "arn:aws:ecs:us-east-1:1:task/a/b/c",
            "arn:aws:ecs:us-east-1:1:task/",
            "arn:aws:ecs:us-east-1:1",
            "arn:aws:iam::1:role/x",
        ] {
            assert!(text.parse::<EcsArn>().is_err(), "{text}");
        }
    }
}
