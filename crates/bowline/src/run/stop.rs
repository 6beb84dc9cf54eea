//! StopTask for tasks that were started here: a call that fails for now is repeated, since the task goes on otherwise.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{AwsError, Client};

/// Between attempts; the SDK makes several in each.
pub(super) const PAUSE: Duration = Duration::from_secs(2);
/// ECS may not know a task that it has just started for so long.
const MISSING_LIMIT: Duration = Duration::from_secs(15);

/// Asks for the stop of each task, whatever became of the one before. Gives those that were not asked, and why.
pub(super) async fn stop(
    client: &Client,
    cluster: &str,
    tasks: Vec<String>,
    reason: &str,
) -> Vec<(String, AwsError)> {
    let mut failed = Vec::new();
    for task in tasks {
        let answer = client.ecs().stop_task(cluster, &task, Some(reason)).await;
        if let Err(error) = answer {
            failed.push((task, error));
        }
    }
    failed
}

/// Whether to ask again after an error, so long after the first time.
pub(super) fn may_pass(error: &AwsError, since: Duration) -> bool {
    let unknown =
        error.is("InvalidParameterException") && error.message.contains("task was not found");
    crate::logs::may_pass(error) || (unknown && since < MISSING_LIMIT)
}

impl Client {
    /// Stops a task that was just started: asks again, for up to `limit`, while ECS is too busy, out of reach, or does
    /// not know the task yet.
    ///
    /// # Errors
    /// The last answer. The task goes on.
    pub async fn stop_started(
        &self,
        cluster: &str,
        task: &str,
        reason: &str,
        limit: Duration,
    ) -> Result<(), AwsError> {
        let begun = Instant::now();
        loop {
            let failed = stop(self, cluster, vec![task.to_owned()], reason).await;
            let Some((_, error)) = failed.into_iter().next() else {
                return Ok(());
            };
            let since = begun.elapsed();
            if since + PAUSE > limit || !may_pass(&error, since) {
                return Err(error);
            }
            sleep(PAUSE).await;
        }
    }
}
