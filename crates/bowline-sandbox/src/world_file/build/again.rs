//! World files that come to a world in use: what becomes of what is there already.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Builder, Mode, many};
use crate::state::service::Service;
use crate::state::task::{Stop, Task, TaskStatus};
use crate::state::{TaskKey, World};
use crate::world_file::schema::Cluster;
use crate::world_file::scope::Scope;

impl Builder<'_> {
    /// Tasks of no service have no name that says which of them is meant: those of the same family that a file has
    /// named before go.
    pub(super) fn clear(&mut self, name: &str, cluster: &Cluster, outer: &Scope) {
        if self.mode != Mode::InUse {
            return;
        }
        let mut families = BTreeSet::new();
        for task in &cluster.tasks {
            let many = many(task.repeat, task.each.as_ref());
            let scopes = self.copies(outer, &many, &task.family).unwrap_or_default();
            families.extend(scopes.iter().map(|scope| scope.fill(&task.family.value)));
        }
        let furnished = std::mem::take(&mut self.world.furnished);
        let (go, stay): (Vec<TaskKey>, Vec<TaskKey>) = furnished.into_iter().partition(|key| {
            let task = self.world.task(key);
            key.cluster == name
                && task.is_none_or(|task| families.contains(&task.definition.family))
        });
        self.world.furnished = stay;
        for key in go {
            if let Some(task) = self.world.task_mut(&key) {
                task.request_stop(Stop {
                    code: "UserInitiated",
                    reason: "Replaced by a world file".to_owned(),
                });
            }
        }
    }
}

/// A service that is there already becomes the one of the file: with a roll-out where its tasks would be others.
pub(super) fn take_over(made: &mut Service, mut known: Service) {
    made.created_at = known.created_at;
    made.breaker = known.breaker;
    made.events = std::mem::take(&mut known.events);
    let primary = known.deployments.first();
    let same = primary.is_some_and(|primary| {
        let definition = &made.deployments[0].definition;
        Arc::ptr_eq(&primary.definition, definition)
            && !primary.failed
            && known.exec_enabled == made.exec_enabled
            && known.lazy == made.lazy
            && known.launch.capacity_provider == made.launch.capacity_provider
    });
    match same {
        true => made.deployments = known.deployments,
        false => {
            let new = std::mem::replace(&mut made.deployments, known.deployments);
            new.into_iter().for_each(|it| made.roll_out(it));
        }
    }
}

/// Tasks that have processes.
pub(super) fn processes(world: &World) -> usize {
    let stopped = |task: &&Task| task.status == TaskStatus::Stopped;
    let tasks = world.tasks().filter(|task| !stopped(task));
    tasks.filter(|task| task.dormant.is_none()).count()
}
