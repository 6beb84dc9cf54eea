//! Why a container cannot be entered, and what mends it.
//!
//! [`Client::diagnose`] gathers facts with read-only calls, all at once and each with a deadline, and judges them with
//! plain functions. A fact that cannot be had (no permission, throttled, no API) leaves its checks unknown and never
//! makes a finding.

mod checks;
mod facts;
mod fix;
mod gather;
mod request;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

pub use self::fix::enable_exec;
pub use self::request::Request;
use crate::target::ResolvedTarget;
use crate::{AwsError, Client};

/// What was found about one task.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Report {
    /// The cluster's name.
    pub cluster: String,
    /// The task's id.
    pub task_id: String,
    /// The service the task belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
    /// Problems first, the likeliest cause foremost; then what is unknown; then what is right.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Check {
    /// Its name, which stays.
    pub id: &'static str,
    /// The container it is about; absent for what concerns the whole task or the caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// What came of it.
    pub state: State,
    /// How much a problem matters; absent unless it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// What was found, or why it is not known.
    pub what: String,
    /// How it was looked at.
    pub how: String,
    /// What mends a problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// The calls that mend it, in order, if calls can.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<Request>,
    #[serde(skip)]
    rank: u8,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Something is wrong.
    Problem,
    /// It could not be found out.
    Unknown,
    /// It is as it has to be.
    Ok,
}

/// How much a problem matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The container cannot be entered like this.
    Blocks,
    /// The container may not be entered like this.
    MayBlock,
    /// The container can be entered; something else is worth knowing.
    Note,
}

impl Report {
    /// Whether anything was found that keeps, or may keep, somebody out.
    pub fn has_problems(&self) -> bool {
        self.problems()
            .any(|check| check.severity != Some(Severity::Note))
    }

    /// The findings, the likeliest cause foremost.
    pub fn problems(&self) -> impl Iterator<Item = &Check> {
        self.checks
            .iter()
            .filter(|check| check.state == State::Problem)
    }
}

impl Client {
    /// Looks at everything that keeps somebody out of a container, or out of all containers of the task. Every call
    /// ends within `limit`, all of them together shortly after it.
    ///
    /// # Errors
    /// If the task itself cannot be looked at.
    pub async fn diagnose(
        &self,
        target: &ResolvedTarget,
        scope: Scope,
        limit: Duration,
    ) -> Result<Report, AwsError> {
        let facts = gather::gather(self, target, scope, Instant::now() + limit).await?;
        Ok(checks::report(&facts))
    }
}

/// Which containers of a task to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The resolved one.
    Container,
    /// All that are the user's own.
    Task,
}

/// For one change, repeated while AWS throttles it.
const CHANGE_LIMIT: Duration = Duration::from_secs(30);
