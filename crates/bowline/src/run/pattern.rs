//! Run patterns: one or several things to run in one word, for fleets.

use std::fmt;
use std::str::FromStr;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::plan::{PlanError, Planner, RunPlan, RunTarget, RunWish, Wanted};
use crate::aws::ecs::last_part;
use crate::target::several::clusters;
use crate::target::{ContainerPart, ParseTargetError, TargetGlob, TargetPattern, glob, in_cluster};
use crate::{Client, TargetOptions, TargetSpec};

/// Definitions that are asked for at once.
const AT_ONCE: usize = 8;

/// Something to run, or a pattern of services.
///
/// ```text
/// web  family:job:7        as for one task
/// web-*  prod/api-?  */web  each service by its name, whether it has running tasks or not
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunPattern {
    /// One, as everywhere.
    One(RunTarget),
    /// Services by their names, in clusters by their names.
    Glob(TargetGlob),
}

impl RunPattern {
    /// Whether it is more than a target.
    pub fn is_many(&self) -> bool {
        matches!(self, Self::Glob(_))
    }

    /// The target, unless it is a pattern.
    pub fn one(&self) -> Option<&RunTarget> {
        match self {
            Self::One(target) => Some(target),
            Self::Glob(_) => None,
        }
    }

    /// Whether it names a container for the command.
    pub fn names_container(&self) -> bool {
        matches!(self.container(), Some(ContainerPart::Named(_)))
    }

    /// Whether it means every container, which a command is never for.
    pub fn means_every_container(&self) -> bool {
        matches!(self.container(), Some(ContainerPart::Every))
    }

    fn container(&self) -> Option<ContainerPart> {
        match self {
            Self::One(RunTarget::Definition { container, .. }) => {
                container.clone().map(ContainerPart::Named)
            }
            Self::One(RunTarget::Spec(spec)) => spec.container.clone(),
            Self::Glob(glob) => glob.container.clone(),
        }
    }
}

impl From<RunTarget> for RunPattern {
    fn from(target: RunTarget) -> Self {
        Self::One(target)
    }
}

impl From<TargetSpec> for RunPattern {
    fn from(spec: TargetSpec) -> Self {
        Self::One(RunTarget::Spec(spec))
    }
}

impl FromStr for RunPattern {
    type Err = ParseTargetError;

    fn from_str(text: &str) -> Result<Self, ParseTargetError> {
        match text.parse() {
            Ok(TargetPattern::Glob(glob)) => Ok(Self::Glob(glob)),
            _ => text.parse().map(Self::One),
        }
    }
}

impl fmt::Display for RunPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(target) => target.fmt(f),
            Self::Glob(glob) => glob.fmt(f),
        }
    }
}

impl Client {
    /// Makes a request for everything that a pattern means in one account and region. Nothing is started.
    ///
    /// # Errors
    /// Also where it means nothing, and where one of its services cannot be run.
    pub async fn plan_runs(
        &self,
        pattern: Option<&RunPattern>,
        wish: &RunWish,
        options: &TargetOptions,
    ) -> Result<Vec<RunPlan>, PlanError> {
        let pattern = match pattern {
            Some(RunPattern::Glob(pattern)) => pattern,
            other => {
                let target = other.and_then(RunPattern::one);
                return Ok(vec![self.plan_run(target, wish, options).await?]);
            }
        };
        let container = pattern.container.as_ref().and_then(ContainerPart::name);
        let container = container.or(options.container.as_ref());
        let mut plans = Vec::new();
        let mut searched = pattern.cluster.clone();
        for cluster in clusters(self, pattern, options.cluster.as_ref()).await? {
            searched.get_or_insert_with(|| cluster.to_string());
            let listed = self.ecs().service_arns(cluster.as_str()).await;
            let mut arns = in_cluster(self, &cluster, listed).await?;
            arns.retain(|arn| glob(&pattern.name, last_part(arn)));
            let mut services = self.ecs().service_settings(cluster.as_str(), &arns).await?;
            services.sort_by(|a, b| a.name.cmp(&b.name));
            let planner = Planner {
                client: self,
                cluster,
            };
            let planned = stream::iter(services.into_iter().map(|service| {
                let planner = &planner;
                let definition = Wanted::Named(service.task_definition.clone());
                async move {
                    let planned = planner.complete(definition, Some(service), wish, container);
                    planned.await
                }
            }));
            let planned: Vec<RunPlan> = planned.buffered(AT_ONCE).try_collect().await?;
            plans.extend(planned);
        }
        match plans.is_empty() {
            true => Err(PlanError::NoMatch {
                pattern: pattern.to_string(),
                cluster: searched.unwrap_or_default(),
            }),
            false => Ok(plans),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_of_run_and_patterns_are_told_apart_and_print_back() {
        for (text, many, named) in [
            ("web", false, false),
            ("prod/web/app", false, true),
            ("family:job:7", false, false),
            ("family:prod/job/app", false, true),
            ("arn:aws:ecs:r:1:task-definition/job:7", false, false),
            ("web-*", true, false),
            ("*/web/app", true, true),
        ] {
            let pattern: RunPattern = text.parse().unwrap();
            assert_eq!(pattern.is_many(), many, "{text}");
            assert_eq!(pattern.names_container(), named, "{text}");
            assert_eq!(pattern.to_string(), text);
        }
        for text in ["family:job-*", "*/", "a b"] {
            assert!(text.parse::<RunPattern>().is_err(), "{text}");
        }
        let every: RunPattern = "*/web/*".parse().unwrap();
        assert!(every.means_every_container());
    }
}
