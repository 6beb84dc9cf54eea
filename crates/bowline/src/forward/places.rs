//! In which tasks there is room for another session: ECS allows two in a container at a time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;

use super::Again;
use crate::target::{TargetOptions, TargetSpec};
use crate::{Client, ResolvedTarget, TargetError};

/// Sessions in a container at a time, unless ECS tells its agents another number.
const LIMIT: usize = 2;
/// For the question how many there are; without an answer only our own are known.
const COUNT: Duration = Duration::from_secs(3);

/// What our sessions take, shared by all forwards of a command.
#[derive(Clone, Default)]
pub(super) struct Places {
    taken: Arc<Mutex<HashMap<String, Taken>>>,
}

#[derive(Default)]
struct Taken {
    /// Sessions that were there before the first of ours.
    others: usize,
    ours: usize,
}

/// A place of a session, until it is given back.
#[must_use]
pub(super) struct Place {
    pub(super) target: ResolvedTarget,
    name: String,
}

impl Places {
    /// A place in `preferred` or, if that is full, in another task that `again` matches. Where all are full it is one in
    /// `preferred` nevertheless: the limit may be another one there, and the agent has the last word.
    pub(super) async fn find(
        &self,
        client: &Client,
        preferred: ResolvedTarget,
        again: &Again,
    ) -> Place {
        let mut taken = self.taken.lock().await;
        if has_room(&mut taken, client, &preferred).await {
            return take(&mut taken, preferred);
        }
        let tasks = match &again.spec {
            Ok(spec) => client.matching_tasks(spec, &again.options).await,
            Err(_) => return take(&mut taken, preferred),
        };
        let tasks = tasks.map(|matching| matching.tasks).unwrap_or_default();
        for task in tasks {
            if task.task_id == preferred.task.id {
                continue;
            }
            let other = other(client, &preferred, &task.task_id).await;
            if let Ok(other) = other
                && has_room(&mut taken, client, &other).await
            {
                return take(&mut taken, other);
            }
        }
        take(&mut taken, preferred)
    }

    /// Its session is over.
    pub(super) async fn give_back(&self, place: Place) {
        let mut taken = self.taken.lock().await;
        if let Some(of_target) = taken.get_mut(&place.name) {
            of_target.ours = of_target.ours.saturating_sub(1);
            if of_target.ours == 0 {
                // Counted anew the next time.
                taken.remove(&place.name);
            }
        }
    }
}

async fn has_room(
    taken: &mut HashMap<String, Taken>,
    client: &Client,
    target: &ResolvedTarget,
) -> bool {
    let name = target.ssm_target().unwrap_or_default();
    if !taken.contains_key(&name) {
        let count = timeout(COUNT, client.active_sessions(&name)).await;
        let others = count.ok().and_then(Result::ok).unwrap_or(0);
        let ours = 0;
        taken.insert(name.clone(), Taken { others, ours });
    }
    taken
        .get(&name)
        .is_some_and(|of_target| of_target.others + of_target.ours < LIMIT)
}

fn take(taken: &mut HashMap<String, Taken>, target: ResolvedTarget) -> Place {
    let name = target.ssm_target().unwrap_or_default();
    taken.entry(name.clone()).or_default().ours += 1;
    Place { target, name }
}

/// The same container of another task.
async fn other(
    client: &Client,
    target: &ResolvedTarget,
    task: &str,
) -> Result<ResolvedTarget, TargetError> {
    let text = format!("task:{}/{task}/{}", target.cluster.name, target.container);
    let spec: TargetSpec = text.parse().map_err(|_| TargetError::NotFound {
        target: text.clone(),
        cluster: target.cluster.name.clone(),
        kind: "tasks",
        suggestions: Vec::new(),
        candidates: Vec::new(),
    })?;
    client.resolve(&spec, &TargetOptions::default()).await
}
