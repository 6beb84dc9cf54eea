//! Real agents beside the containers of a task, if the sandbox starts them.

use std::sync::{Arc, Mutex, PoisonError};

use super::Life;
use crate::attached::program::{Running, Wanted};

/// The agents of one task.
#[derive(Default)]
pub(super) struct Escort {
    agents: Mutex<Vec<Running>>,
}

impl Escort {
    /// Ends all of them.
    pub(super) async fn end(&self) {
        let agents =
            std::mem::take(&mut *self.agents.lock().unwrap_or_else(PoisonError::into_inner));
        for agent in agents {
            agent.end().await;
        }
    }
}

impl Life {
    /// Starts the agent of a container; nothing if agents come from elsewhere.
    pub(super) fn start_outside(&self, index: usize) {
        let Some(programs) = &self.shared.programs else {
            return;
        };
        let wanted = self.look(|task| {
            let container = &task.containers[index];
            let name = format!("{}.agent", container.name);
            Wanted {
                init: self.shared.init.clone(),
                region: self.shared.account.region.clone(),
                task: task.key.id.clone(),
                address: task.address,
                environment: container.place.environment.clone(),
                directory: container.place.directory.clone(),
                folder: self.shared.root.join(&task.key.id).join(name),
                opened: self.shared.sessions.outside().opened(),
            }
        });
        let Some(wanted) = wanted else { return };
        let (shared, key) = (Arc::clone(&self.shared), self.key.clone());
        let running = programs.start(wanted, move |reason| {
            shared.change_task(&key, |task| {
                if let Some(agent) = &mut task.containers[index].agent {
                    agent.stop(&reason);
                }
            });
        });
        let mut agents = self
            .escort
            .agents
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        agents.push(running);
    }
}
