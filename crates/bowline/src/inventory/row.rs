//! One row of an inventory: where something is, and the few facts one chooses by.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::aws::ecs::last_part;
use crate::model::{Cluster, Container, Readiness, Service, Task};

/// Where something is. A service's tasks are below the service; other tasks are below the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// The service's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Arc<str>>,
    /// The task's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Arc<str>>,
    /// The container's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Arc<str>>,
}

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RowKind {
    /// A cluster.
    Cluster,
    /// A service.
    Service,
    /// A task.
    Task,
    /// A container.
    Container,
}

/// One thing of an inventory. What is not known yet, or does not apply, is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Where it is.
    #[serde(flatten)]
    pub place: Place,
    /// ECS's word for its state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// HEALTHY or UNHEALTHY; UNKNOWN is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
    /// `family:revision` of the task definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
    /// The image of the container, for a task that of its first own one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// When it was started, for a service when it was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// Whether a command can be executed in it now, for a task in its first own container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<Readiness>,
    /// Tasks of a cluster or a service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// The newest events of a service, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// Whether it was seen since news were expected; not a fact about the thing itself.
    #[serde(skip)]
    pub(super) seen: bool,
}

/// How many tasks there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// That should run; absent for a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<i32>,
    /// That are RUNNING.
    pub running: i32,
    /// That are PENDING.
    pub pending: i32,
}

impl Place {
    /// A place.
    pub fn new(
        cluster: &str,
        service: Option<&str>,
        task: Option<&str>,
        container: Option<&str>,
    ) -> Self {
        Self {
            cluster: cluster.into(),
            service: service.map(Into::into),
            task: task.map(Into::into),
            container: container.map(Into::into),
        }
    }

    /// What stands there.
    pub fn kind(&self) -> RowKind {
        match self {
            Self {
                container: Some(_), ..
            } => RowKind::Container,
            Self { task: Some(_), .. } => RowKind::Task,
            Self {
                service: Some(_), ..
            } => RowKind::Service,
            _ => RowKind::Cluster,
        }
    }

    /// The service this place belongs to.
    pub fn of_service(&self) -> Option<Self> {
        let service = self.service.clone()?;
        Some(Self {
            cluster: Arc::clone(&self.cluster),
            service: Some(service),
            task: None,
            container: None,
        })
    }
}

/// By cluster; there its services with what belongs to them, then the tasks of no service.
impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        let stray = |place: &Self| place.service.is_none() && place.task.is_some();
        (self.cluster.cmp(&other.cluster))
            .then_with(|| stray(self).cmp(&stray(other)))
            .then_with(|| self.service.cmp(&other.service))
            .then_with(|| self.task.cmp(&other.task))
            .then_with(|| self.container.cmp(&other.container))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// For people and tests: `cluster/service/container task`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cluster)?;
        for part in [&self.service, &self.container].into_iter().flatten() {
            write!(f, "/{part}")?;
        }
        match &self.task {
            Some(task) => write!(f, " {task}"),
            None => Ok(()),
        }
    }
}

impl Row {
    /// A row of which only the place is known.
    pub fn at(place: Place) -> Self {
        Self {
            place,
            status: None,
            health: None,
            definition: None,
            image: None,
            started_at: None,
            exec: None,
            counts: None,
            events: Vec::new(),
            seen: false,
        }
    }

    /// The row of a cluster.
    pub fn of_cluster(cluster: &Cluster) -> Self {
        Self {
            status: cluster.status.clone(),
            counts: Some(Counts {
                desired: None,
                running: cluster.running_tasks_count,
                pending: cluster.pending_tasks_count,
            }),
            ..Self::at(Place::new(&cluster.cluster_name, None, None, None))
        }
    }

    /// The row of a service in this cluster, with its newest events.
    pub fn of_service(cluster: &Arc<str>, service: &Service, events: Vec<String>) -> Self {
        let definition = service.task_definition.as_deref();
        Self {
            status: service.status.clone(),
            definition: definition.map(|arn| last_part(arn).to_owned()),
            started_at: service.created_at,
            counts: Some(Counts {
                desired: Some(service.desired_count),
                running: service.running_count,
                pending: service.pending_count,
            }),
            events,
            ..Self::at(Place {
                cluster: Arc::clone(cluster),
                service: Some(service.service_name.as_str().into()),
                task: None,
                container: None,
            })
        }
    }

    /// The rows of a task in this cluster: its own, then one for each container that the user put there.
    pub fn of_task(cluster: &Arc<str>, task: &Task) -> Vec<Self> {
        let place = Place {
            cluster: Arc::clone(cluster),
            service: task.service_name.as_deref().map(Into::into),
            task: Some(task.task_id.as_str().into()),
            container: None,
        };
        let own = |container: &&Container| !container.is_injected();
        let first = task.containers.iter().find(own);
        let definition = task.task_definition_arn.as_deref();
        let whole = Self {
            status: task.last_status.clone(),
            health: known(task.health_status.as_deref()),
            definition: definition.map(|arn| last_part(arn).to_owned()),
            image: first.and_then(|container| container.image.clone()),
            started_at: task.started_at.or(task.created_at),
            exec: first.map(|container| task.readiness(container)),
            ..Self::at(place.clone())
        };
        let containers = task.containers.iter().filter(own).map(|container| Self {
            status: container.last_status.clone(),
            health: known(container.health_status.as_deref()),
            definition: whole.definition.clone(),
            image: container.image.clone(),
            started_at: whole.started_at,
            exec: Some(task.readiness(container)),
            ..Self::at(Place {
                container: Some(container.name.as_str().into()),
                ..place.clone()
            })
        });
        let containers: Vec<Self> = containers.collect();
        [whole].into_iter().chain(containers).collect()
    }

    /// What it is.
    pub fn kind(&self) -> RowKind {
        self.place.kind()
    }

    /// The family of the task definition.
    pub fn family(&self) -> Option<&str> {
        self.definition.as_deref()?.split(':').next()
    }

    /// Takes over what a newer row of the same place knows. A newer row that knows nothing but the place, as a list of
    /// names gives it, takes nothing away.
    pub(super) fn absorb(&mut self, newer: &Self) {
        let bare = newer.status.is_none() && newer.counts.is_none();
        if bare {
            self.seen |= newer.seen;
        } else {
            *self = newer.clone();
        }
    }
}

fn known(health: Option<&str>) -> Option<String> {
    health
        .filter(|health| *health != "UNKNOWN")
        .map(str::to_owned)
}
