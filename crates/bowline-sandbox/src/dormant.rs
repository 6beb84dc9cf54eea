//! Tasks whose containers start on first need: what makes a world of thousands of tasks cheap.
//!
//! Such a task is RUNNING for every API, with its agents, from the beginning. Its processes start when a session with
//! one of its containers is asked for, be it a command, a shell or a port. What else would need them has to call
//! [`rouse`] first. A connection to the task's address past the APIs starts nothing.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::lifecycle::Life;
use crate::state::task::Health;
use crate::state::{Shared, TaskKey};

/// How long somebody waits for the processes; they need some tens of milliseconds.
const ROUSE_LIMIT: Duration = Duration::from_secs(10);

/// The exit code of containers that were stopped before anybody needed them: that of SIGTERM, which ends most programs.
const TERMINATED: i32 = 143;

/// What joins a dormant task with those who need it.
#[derive(Clone, Default)]
pub(crate) struct Dormant {
    needed: CancellationToken,
    /// The processes run, or never will.
    settled: CancellationToken,
}

impl Dormant {
    /// The processes run now.
    pub(crate) fn settle(&self) {
        self.settled.cancel();
    }
}

/// Has the processes of a task started, if they are not; returns when they run or cannot.
pub(crate) async fn rouse(shared: &Shared, key: &TaskKey) {
    let dormant = {
        let world = shared.world();
        world.task(key).and_then(|task| task.dormant.clone())
    };
    let Some(dormant) = dormant else { return };
    dormant.needed.cancel();
    let settled = tokio::time::timeout(ROUSE_LIMIT, dormant.settled.cancelled());
    if settled.await.is_err() {
        tracing::warn!(task = key.id, "a dormant task's containers do not start");
    }
}

/// The rest of the life of a dormant task that is RUNNING.
pub(crate) async fn live(life: Life, dormant: Dormant) {
    // Whoever waits is told also when this ends early.
    let _settled = dormant.settled.clone().drop_guard();
    // Nothing runs that a check could find wrong.
    life.change(|task| {
        for health in task
            .containers
            .iter_mut()
            .flat_map(|container| &mut container.health)
        {
            *health = Health::Healthy;
        }
    });
    if !sleep(&life, &dormant).await {
        return;
    }
    let halted = life.halt.is_cancelled();
    if halted {
        life.change(|task| {
            for container in &mut task.containers {
                container.exit_code = Some(TERMINATED);
            }
        });
    }
    // Boxed, as a whole life is some kilobytes and most dormant tasks never need it.
    Box::pin(life.go_on(!halted)).await;
}

/// Until the task is needed or shall stop. False if the whole sandbox stops: nothing is left to be done then.
async fn sleep(life: &Life, dormant: &Dormant) -> bool {
    let pending = life.shared.agents.pending;
    if !pending.is_zero() {
        let agents = life.shared.clock.sleep(pending);
        tokio::select! {
            () = agents => life.start_agents(),
            () = dormant.needed.cancelled() => return true,
            () = life.halt.cancelled() => return true,
            () = life.shared.stop.cancelled() => return false,
        }
    }
    tokio::select! {
        () = dormant.needed.cancelled() => true,
        () = life.halt.cancelled() => true,
        () = life.shared.stop.cancelled() => false,
    }
}
