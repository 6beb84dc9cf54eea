//! Services: how many tasks of which definition shall run, and what happened to them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use serde_json::Value;

use crate::identifiers;
use crate::state::Tag;
use crate::state::definition::TaskDefinition;
use crate::state::task::Launch;

/// At most so many events are kept, as in ECS.
const EVENTS: usize = 100;

/// A service of a cluster.
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) status: ServiceStatus,
    pub(crate) desired_count: usize,
    pub(crate) exec_enabled: bool,
    /// False where a capacity provider strategy was given: `launchType` is absent then.
    pub(crate) by_launch_type: bool,
    pub(crate) launch: Launch,
    /// As given to CreateService.
    pub(crate) network: Option<Value>,
    pub(crate) created_at: SystemTime,
    /// The first is PRIMARY, the others are being drained.
    pub(crate) deployments: Vec<Deployment>,
    /// Newest first.
    pub(crate) events: VecDeque<Event>,
    pub(crate) tags: Vec<Tag>,
    /// Its tasks start no process until somebody needs them.
    pub(crate) lazy: bool,
    /// The desired tasks run and nothing else does.
    pub(crate) steady: bool,
    /// Tasks that ended before they were RUNNING for a while, without a good one in between.
    pub(crate) failures: u32,
    /// Not to start another one before this, because of such failures.
    pub(crate) not_before: Option<Instant>,
}

/// The life of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServiceStatus {
    Active,
    Draining,
    Inactive,
}

impl ServiceStatus {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Draining => "DRAINING",
            Self::Inactive => "INACTIVE",
        }
    }
}

/// One roll-out of a service.
pub(crate) struct Deployment {
    /// `ecs-svc/<number>`, which its tasks carry as `startedBy`.
    pub(crate) id: String,
    pub(crate) definition: Arc<TaskDefinition>,
    pub(crate) created_at: SystemTime,
    pub(crate) updated_at: SystemTime,
    pub(crate) completed: bool,
    pub(crate) failed_tasks: u32,
}

impl Deployment {
    /// A roll-out that begins now.
    pub(crate) fn new(definition: Arc<TaskDefinition>) -> Self {
        let now = SystemTime::now();
        Self {
            id: format!("ecs-svc/{}", identifiers::digits(19)),
            definition,
            created_at: now,
            updated_at: now,
            completed: false,
            failed_tasks: 0,
        }
    }
}

/// A line of a service's history.
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) at: SystemTime,
    pub(crate) message: String,
}

impl Service {
    /// Adds `(service NAME) …` to the history.
    pub(crate) fn note(&mut self, what: &str) {
        let message = format!("(service {}) {what}", self.name);
        self.events.push_front(Event {
            id: identifiers::uuid(),
            at: SystemTime::now(),
            message,
        });
        self.events.truncate(EVENTS);
    }
}
