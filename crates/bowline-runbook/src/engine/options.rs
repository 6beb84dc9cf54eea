//! How a run is driven.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::outputs::masked;
use super::status::Status;
use crate::reference::Reference;

/// Choices of a run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The pause before the second attempt, doubled each time up to ten seconds. \[X\]
    pub retry_delay: Duration,
    /// The pause between two looks, instead of 2 s growing to 15 s. \[X\]
    pub poll_interval: Option<Duration>,
    /// Sleeps are this many times shorter, for rehearsals.
    pub fast_sleep: u32,
    /// Cap `timeoutSeconds` as the service does.
    pub service_limits: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            retry_delay: Duration::from_secs(1),
            poll_interval: None,
            fast_sleep: 1,
            service_limits: false,
        }
    }
}

/// What system references stand for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Surroundings {
    /// `automation:EXECUTION_ID`.
    pub execution_id: String,
    /// `global:REGION`.
    pub region: String,
    /// `global:AWS_PARTITION`.
    pub partition: String,
    /// `global:ACCOUNT_ID`; asked for when it is first needed.
    pub account: Option<String>,
}

impl Surroundings {
    /// What a system reference in a default stands for, as far as it is known before the run.
    pub fn stands_for(&self, reference: &Reference) -> Option<String> {
        match reference {
            Reference::Global(name) => match name.as_str() {
                "REGION" => Some(self.region.clone()),
                "AWS_PARTITION" => Some(self.partition.clone()),
                "ACCOUNT_ID" => self.account.clone(),
                _ => None,
            },
            Reference::Automation(_) => Some(self.execution_id.clone()),
            _ => None,
        }
    }
}

/// A run that can be gone on with: what has happened, and the step that is next.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// What system references stand for.
    pub surroundings: Surroundings,
    /// The values that the run was started with.
    pub parameters: BTreeMap<String, Value>,
    /// Variables with a value.
    pub variables: BTreeMap<String, Value>,
    /// Outputs by step.
    pub outputs: BTreeMap<String, Map<String, Value>>,
    /// The same for showing, of steps with secrets that the names of their outputs do not tell.
    #[serde(default)]
    pub shown: BTreeMap<String, Map<String, Value>>,
    /// Statuses by step; those not reached are absent.
    pub statuses: BTreeMap<String, Status>,
    /// Critical failures in their order: step, status, message.
    pub failures: Vec<(String, Status, String)>,
    /// The step to go on with; none at the end.
    pub next: Option<String>,
    /// How the run stands.
    pub status: Status,
}

impl Snapshot {
    /// Without secrets in the outputs: for a run that nobody goes on with.
    #[must_use]
    pub fn masked(mut self) -> Self {
        for (step, outputs) in &mut self.outputs {
            *outputs = match self.shown.remove(step) {
                Some(shown) => shown,
                None => masked(outputs),
            };
        }
        self
    }
}
