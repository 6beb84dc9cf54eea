//! ARNs of what a target can be. The partition is kept: nothing here ever writes `arn:aws:` by itself.

use std::fmt;
use std::str::FromStr;

use super::{ClusterName, ParseTargetError, TaskId, check_name};

/// The ARN of a task, a service, a container, a cluster or a task definition.
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
    /// The cluster; ARNs in the old format have none, and task definitions belong to no cluster.
    pub cluster: Option<ClusterName>,
    /// The task of a container; ARNs in the old format do not name it.
    pub task: Option<TaskId>,
    /// The last part: a task's or container's id, a service's or cluster's name, or `family:revision`.
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
    /// A container of a task.
    Container,
    /// A cluster: the only thing in it is meant.
    Cluster,
    /// One revision of a task definition: the tasks that run it.
    TaskDefinition,
}

impl ArnKind {
    fn word(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Service => "service",
            Self::Container => "container",
            Self::Cluster => "cluster",
            Self::TaskDefinition => "task-definition",
        }
    }
}

impl EcsArn {
    /// The family of a task definition; the name of everything else.
    pub(super) fn family(&self) -> &str {
        self.name.split(':').next().unwrap_or(&self.name)
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
        let (kind, cluster, task, name) = match segments[..] {
            ["task", name] => (ArnKind::Task, None, None, name),
            ["task", cluster, name] => (ArnKind::Task, Some(cluster), None, name),
            ["service", name] => (ArnKind::Service, None, None, name),
            ["service", cluster, name] => (ArnKind::Service, Some(cluster), None, name),
            ["container", name] => (ArnKind::Container, None, None, name),
            ["container", cluster, task, name] => {
                (ArnKind::Container, Some(cluster), Some(task), name)
            }
            ["cluster", name] => (ArnKind::Cluster, None, None, name),
            ["task-definition", name] => (ArnKind::TaskDefinition, None, None, name),
            ["container-instance", ..] => {
                return Err(bad(
                    "names a container instance, where unrelated tasks may run: name one of its tasks",
                ));
            }
            [
                "task-set"
                | "service-deployment"
                | "service-revision"
                | "daemon"
                | "daemon-task-definition"
                | "capacity-provider",
                ..,
            ] => return Err(bad("names nothing one can be in: name a service or a task")),
            _ => {
                return Err(bad(
                    "names no task, service, container, cluster or task definition",
                ));
            }
        };
        match (kind, name.split_once(':')) {
            (ArnKind::TaskDefinition, Some((family, revision))) => {
                check_name("family name", family)?;
                if revision.is_empty() || !revision.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(bad("has an unusable revision"));
                }
            }
            (ArnKind::TaskDefinition, None) => return Err(bad("has no revision")),
            _ => check_name("name", name)?,
        }
        Ok(Self {
            partition: partition.to_owned(),
            region: region.to_owned(),
            account: account.to_owned(),
            kind,
            cluster: match kind {
                ArnKind::Cluster => Some(name.parse()?),
                _ => cluster.map(str::parse).transpose()?,
            },
            task: task.map(str::parse).transpose()?,
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
        if let (Some(cluster), true) = (&self.cluster, self.kind != ArnKind::Cluster) {
            write!(f, "{cluster}/")?;
        }
        if let Some(task) = &self.task {
            write!(f, "{task}/")?;
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
        for (resource, kind, cluster) in [
            ("container/prod/1b2c/9d", ArnKind::Container, Some("prod")),
            ("container/9d", ArnKind::Container, None),
            ("cluster/prod", ArnKind::Cluster, Some("prod")),
            ("task-definition/job:12", ArnKind::TaskDefinition, None),
        ] {
            let text = format!("arn:aws:ecs:us-east-1:123456789012:{resource}");
            let arn: EcsArn = text.parse().unwrap();
            assert_eq!(
                (arn.kind, arn.cluster.as_ref().map(ClusterName::as_str)),
                (kind, cluster)
            );
            assert_eq!(arn.to_string(), text);
        }
    }

    #[test]
    fn other_resources_are_refused() {
        for text in [
            "arn:aws:ecs:us-east-1:1:cluster/prod/x",
            "arn:aws:ecs:us-east-1:1:container/prod/9d",
            "arn:aws:ecs:us-east-1:1:task-definition/job",
            "arn:aws:ecs:us-east-1:1:task-definition/job:x",
            "arn:aws:ecs:us-east-1:1:task-set/prod/web/x",
            "arn:aws:ecs:us-east-1:1:task/a/b/c",
            "arn:aws:ecs:us-east-1:1:task/",
            "arn:aws:ecs:us-east-1:1",
            "arn:aws:iam::1:role/x",
        ] {
            assert!(text.parse::<EcsArn>().is_err(), "{text}");
        }
    }
}
