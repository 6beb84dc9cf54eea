//! In which order containers start: `dependsOn`.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{Event, Life, START_TIMEOUT};
use crate::state::definition::{Condition, ContainerDefinition};
use crate::state::task::{Container, ContainerStatus, Health, Task};

/// Whether a container can start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Prospect {
    Now,
    Later,
    /// What it depends on cannot come true any more.
    Never(String),
}

/// The prospect of one container that has not started yet.
pub(super) fn prospect(task: &Task, index: usize) -> Prospect {
    let outline = &task.definition.outline;
    let mut found = Prospect::Now;
    for dependency in &outline.container_definitions[index].depends_on {
        let name = &dependency.container_name;
        let Some(other) = outline.container(name).map(|index| &task.containers[index]) else {
            return Prospect::Never(format!("there is no container {name}"));
        };
        match (holds(dependency.condition, other), found) {
            (None, _) => {
                return Prospect::Never(format!(
                    "its dependency on container {name} did not come true: {:?}",
                    dependency.condition
                ));
            }
            (Some(true), so_far) => found = so_far,
            (Some(false), _) => found = Prospect::Later,
        }
    }
    found
}

/// None if it never will.
fn holds(condition: Condition, other: &Container) -> Option<bool> {
    let failed = other.status == ContainerStatus::Stopped && other.exit_code.is_none();
    match condition {
        _ if failed => None,
        Condition::Start => Some(other.status != ContainerStatus::Pending),
        Condition::Complete => Some(other.exit_code.is_some()),
        Condition::Success => match other.exit_code {
            None => Some(false),
            Some(0) => Some(true),
            Some(_) => None,
        },
        Condition::Healthy => match other.health {
            _ if other.status == ContainerStatus::Stopped => None,
            Some(Health::Healthy) => Some(true),
            Some(Health::Unknown) => Some(false),
            Some(Health::Unhealthy) | None => None,
        },
    }
}

/// What is wrong with the dependencies of a definition, if something is.
pub(crate) fn check(containers: &[ContainerDefinition]) -> Result<(), String> {
    let find = |name: &str| containers.iter().find(|container| container.name == name);
    for container in containers {
        for dependency in &container.depends_on {
            let name = &dependency.container_name;
            let other = find(name).ok_or_else(|| {
                format!(
                    "Invalid container dependency: {} depends on the unknown container {name}.",
                    container.name
                )
            })?;
            let ends = matches!(
                dependency.condition,
                Condition::Complete | Condition::Success
            );
            if ends && other.is_essential() {
                return Err(format!(
                    "Invalid container dependency: the condition COMPLETE or SUCCESS on {name}, which is essential."
                ));
            }
            if dependency.condition == Condition::Healthy && other.health_check.is_none() {
                return Err(format!(
                    "Invalid container dependency: the condition HEALTHY on {name}, which has no health check."
                ));
            }
        }
    }
    // Without a circle, each round finds containers that depend only on those found before.
    let mut found: Vec<&str> = Vec::new();
    for _ in containers {
        for container in containers {
            let known = |name: &str| found.contains(&name);
            let free = container
                .depends_on
                .iter()
                .all(|on| known(&on.container_name));
            if free && !known(&container.name) {
                found.push(&container.name);
            }
        }
    }
    if found.len() < containers.len() {
        return Err("Invalid container dependency: the dependencies form a circle.".to_owned());
    }
    Ok(())
}

impl Life {
    /// Ends the patience of a container that depends on others.
    pub(super) fn start_limit(&self, index: usize) -> Option<BoxFuture<'static, Event>> {
        let definition = &self.definition.outline.container_definitions[index];
        if definition.depends_on.is_empty() {
            return None;
        }
        let limit = definition
            .start_timeout
            .map_or(START_TIMEOUT, Duration::from_secs);
        let clock = self.shared.clock.clone();
        Some(Box::pin(async move {
            clock.sleep(limit).await;
            Event::WaitedTooLong(index)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_and_impossible_conditions_are_refused() {
        let check = |text: &str| {
            let containers: Vec<ContainerDefinition> = serde_json::from_str(text).unwrap();
            check(&containers)
        };
        let good = r#"[{"name":"a","dependsOn":[{"containerName":"b","condition":"SUCCESS"}]},
            {"name":"b","essential":false,"dependsOn":[{"containerName":"c","condition":"HEALTHY"}]},
            {"name":"c","healthCheck":{"command":["CMD","true"]}}]"#;
        assert_eq!(check(good), Ok(()));
        for bad in [
            r#"[{"name":"a","dependsOn":[{"containerName":"x","condition":"START"}]}]"#,
            r#"[{"name":"a","dependsOn":[{"containerName":"a","condition":"START"}]}]"#,
            r#"[{"name":"a","dependsOn":[{"containerName":"b","condition":"START"}]},
                {"name":"b","dependsOn":[{"containerName":"a","condition":"START"}]}]"#,
            r#"[{"name":"a","dependsOn":[{"containerName":"b","condition":"SUCCESS"}]},{"name":"b"}]"#,
            r#"[{"name":"a","dependsOn":[{"containerName":"b","condition":"HEALTHY"}]},{"name":"b"}]"#,
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
