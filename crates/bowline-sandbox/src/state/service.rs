//! Services: how many tasks of which definition shall run, and what happened to them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::identifiers;
use crate::state::Tag;
use crate::state::definition::TaskDefinition;
use crate::state::task::Launch;

/// So many deployments are kept until the newest is through, with the last good one besides.
const DEPLOYMENTS: usize = 20;

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
    /// Gives up deployments whose tasks fail.
    pub(crate) breaker: CircuitBreaker,
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
    /// Not to start another one before this time of the sandbox's clock, because of such failures.
    pub(crate) not_before: Option<Duration>,
    /// Since when it was seen to be INACTIVE, on the sandbox's clock.
    pub(crate) over_since: Option<Duration>,
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
    /// Given up by the circuit breaker.
    pub(crate) failed: bool,
    pub(crate) failed_tasks: u32,
}

/// `deploymentConfiguration.deploymentCircuitBreaker`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct CircuitBreaker {
    enable: bool,
    rollback: bool,
}

impl CircuitBreaker {
    /// As many failed tasks end a deployment: half of the desired ones, but 3 to 200, by the ECS developer guide.
    fn threshold(desired: usize) -> u32 {
        u32::try_from(desired.div_ceil(2)).map_or(200, |half| half.clamp(3, 200))
    }
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
            failed: false,
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
    /// A task of the deployment with this id has failed; the circuit breaker may have enough then.
    pub(crate) fn note_failed_task(&mut self, deployment: Option<&str>) {
        let limit = CircuitBreaker::threshold(self.desired_count);
        let index = self
            .deployments
            .iter()
            .position(|d| Some(d.id.as_str()) == deployment);
        let Some(index) = index else { return };
        let breaks = self.breaker.enable && index == 0;
        let failing = &mut self.deployments[index];
        failing.failed_tasks += 1;
        if !breaks || failing.completed || failing.failed || failing.failed_tasks < limit {
            return;
        }
        failing.failed = true;
        failing.updated_at = SystemTime::now();
        let what = format!(
            "(deployment {}) deployment failed: tasks failed to start.",
            failing.id
        );
        self.note(&what);
        let good = self.deployments.iter().position(|d| d.completed);
        if let Some(good) = good.filter(|_| self.breaker.rollback) {
            let back = self.deployments.remove(good);
            let what = format!("rolling back to (deployment {}).", back.id);
            self.deployments.insert(0, back);
            self.note(&what);
        }
    }

    /// Begins a roll-out. Of those that it supersedes the oldest are forgotten, but for the one to go back to.
    pub(crate) fn roll_out(&mut self, deployment: Deployment) {
        self.deployments.insert(0, deployment);
        let good = self.deployments.iter().position(|it| it.completed);
        let mut index = 0;
        self.deployments.retain(|_| {
            index += 1;
            index <= DEPLOYMENTS || Some(index - 1) == good
        });
    }

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
