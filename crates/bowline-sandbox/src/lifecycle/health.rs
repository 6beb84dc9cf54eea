//! Health checks: a command in the container, again and again.

use std::process::Stdio;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command;

use super::{Event, Life};
use crate::image::{self, Place};
use crate::room::Asked;
use crate::state::definition::HealthCheck;
use crate::state::task::{Health, Stop};
use crate::terminal::variables;

/// The times of a health check that says nothing else.
const INTERVAL: u64 = 30;
const TIMEOUT: u64 = 5;
const RETRIES: u32 = 3;

/// What one check found, and how it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    healthy: bool,
    /// Checks in a row that failed, up to this one.
    failures: u32,
    /// When the container's start is over and failures count, on the sandbox's clock.
    counts_from: Duration,
}

impl Life {
    /// The next check of a container, after `last`. The interval is on the sandbox's clock.
    pub(super) fn next_check(
        &self,
        index: usize,
        last: Option<Verdict>,
    ) -> Option<BoxFuture<'static, Event>> {
        let definition = &self.definition.outline.container_definitions[index];
        let check = definition.health_check.as_ref()?;
        let words = words(check)?;
        let place = self.look(|task| task.containers[index].place.clone())?;
        let clock = self.shared.clock.clone();
        let interval = Duration::from_secs(check.interval.unwrap_or(INTERVAL));
        let timeout = Duration::from_secs(check.timeout.unwrap_or(TIMEOUT));
        let start = Duration::from_secs(check.start_period.unwrap_or(0));
        let first = || clock.now().saturating_add(start);
        let counts_from = last.map_or_else(first, |last| last.counts_from);
        Some(Box::pin(async move {
            clock.sleep(interval).await;
            let healthy = passes(&words, &place, timeout).await;
            let before = last.map_or(0, |last| last.failures);
            let failures = match healthy {
                true => 0,
                false if clock.now() < counts_from => before,
                false => before + 1,
            };
            Event::Checked(
                index,
                Verdict {
                    healthy,
                    failures,
                    counts_from,
                },
            )
        }))
    }

    /// Puts down what a check found. A service replaces tasks that are unhealthy.
    pub(super) fn judge(&self, index: usize, verdict: Verdict) {
        let definition = &self.definition.outline.container_definitions[index];
        let check = definition.health_check.as_ref();
        let retries = check.and_then(|check| check.retries).unwrap_or(RETRIES);
        let health = match verdict {
            Verdict { healthy: true, .. } => Health::Healthy,
            Verdict { failures, .. } if failures >= retries => Health::Unhealthy,
            _ => return,
        };
        self.change(|task| {
            task.containers[index].health = Some(health);
            if health == Health::Unhealthy && definition.is_essential() && task.service().is_some()
            {
                task.request_stop(Stop {
                    code: "ServiceSchedulerInitiated",
                    reason: "Task failed container health checks".to_owned(),
                });
            }
        });
    }
}

fn words(check: &HealthCheck) -> Option<Vec<String>> {
    let (kind, rest) = check.command.split_first()?;
    match kind.as_str() {
        "NONE" => None,
        "CMD-SHELL" => {
            let line = rest.first().cloned().unwrap_or_default();
            Some(vec!["/bin/sh".to_owned(), "-c".to_owned(), line])
        }
        "CMD" => Some(rest.to_vec()),
        // A bare line is for the shell.
        line => Some(vec!["/bin/sh".to_owned(), "-c".to_owned(), line.to_owned()]),
    }
}

async fn passes(words: &[String], place: &Place, timeout: Duration) -> bool {
    let Some((program, arguments)) = words.split_first() else {
        return false;
    };
    if let Some(room) = &place.room {
        let checked = async {
            let (mut started, _) = room.run(words, place, Asked::Check).await.ok()?;
            Some(started.wait().await.success())
        };
        // Dropping it kills what is too slow.
        let checked = tokio::time::timeout(timeout, checked).await;
        return matches!(checked, Ok(Some(true)));
    }
    let Some(file) = image::locate(place.programs.as_deref(), &place.directory, program) else {
        return false;
    };
    let child = Command::new(file)
        .arg0(program)
        .args(arguments)
        .env_clear()
        .envs(variables(&place.environment))
        .current_dir(&place.directory)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let Ok(mut child) = child else { return false };
    let group = child
        .id()
        .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let ended = tokio::time::timeout(timeout, child.wait()).await;
    if ended.is_err()
        && let Some(group) = group
    {
        // It may have ended at this very moment.
        let _ = kill_process_group(group, Signal::KILL);
    }
    matches!(ended, Ok(Ok(status)) if status.success())
}
