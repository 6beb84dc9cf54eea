//! The end of a task's containers: a signal, a period of grace, SIGKILL.

use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::{Life, Running};
use crate::process::Exit;
use crate::state::task::TaskStatus;

/// What Fargate gives a container between SIGTERM and SIGKILL, unless its definition says otherwise.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

impl Life {
    /// Stops what still runs, those that others depend on last; at once when the whole sandbox shuts down.
    pub(super) async fn stop(&self, running: &[Running]) {
        let started = !running.is_empty();
        self.change(|task| {
            if task.times.started.is_some() {
                task.status = TaskStatus::Deactivating;
            } else if started {
                task.status = TaskStatus::Stopping;
            }
            task.times.stopping = Some(SystemTime::now());
        });
        if self.look(|task| task.status) == Some(TaskStatus::Deactivating) {
            // The target groups and the service discovery forget it.
            tokio::select! {
                () = self.shared.clock.sleep(self.pace) => {}
                () = self.shared.stop.cancelled() => {}
            }
            self.change(|task| task.status = TaskStatus::Stopping);
        }
        let mut told = Vec::new();
        let mut ends = FuturesUnordered::new();
        loop {
            for one in running {
                let ready = self.is_alive(one.index) && !self.is_needed(one.index, running);
                if ready && !told.contains(&one.index) {
                    told.push(one.index);
                    ends.push(self.end(one));
                }
            }
            match ends.next().await {
                Some((index, exit)) => self.record_exit(index, exit),
                None => return,
            }
        }
    }

    /// A container that still runs depends on it.
    fn is_needed(&self, index: usize, running: &[Running]) -> bool {
        let definitions = &self.definition.outline.container_definitions;
        let name = &definitions[index].name;
        running.iter().any(|other| {
            let on = definitions[other.index].depends_on.iter();
            on.map(|on| &on.container_name).any(|on| on == name) && self.is_alive(other.index)
        })
    }

    async fn end(&self, running: &Running) -> (usize, Exit) {
        let definition = &self.definition.outline.container_definitions[running.index];
        let grace = definition
            .stop_timeout
            .map_or(STOP_TIMEOUT, Duration::from_secs);
        running.process.stop(definition.stop_signal().as_raw());
        tokio::select! {
            exit = running.process.wait() => return (running.index, exit),
            () = tokio::time::sleep(grace) => {}
            () = self.shared.stop.cancelled() => {}
        }
        running.process.kill();
        (running.index, running.process.wait().await)
    }
}
