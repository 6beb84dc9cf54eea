//! How steps and runs stand.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a step or a run stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// Not reached, or not yet.
    #[default]
    Pending,
    /// At work.
    InProgress,
    /// Waiting for somebody.
    Waiting,
    /// Done.
    Success,
    /// It did not work.
    Failed,
    /// Its time was up.
    TimedOut,
    /// Asked to stop.
    Cancelling,
    /// Stopped on demand.
    Cancelled,
    /// A loop that one of its steps has led out of.
    Exited,
}

impl Status {
    /// As the service writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::InProgress => "InProgress",
            Self::Waiting => "Waiting",
            Self::Success => "Success",
            Self::Failed => "Failed",
            Self::TimedOut => "TimedOut",
            Self::Cancelling => "Cancelling",
            Self::Cancelled => "Cancelled",
            Self::Exited => "Exited",
        }
    }

    /// Whether it stays so.
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Success | Self::Failed | Self::TimedOut | Self::Cancelled | Self::Exited
        )
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What happens while a runbook runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Event {
    /// The run begins.
    #[serde(rename = "run.start")]
    RunStart {
        /// Its id.
        execution_id: String,
        /// The steps in their order.
        steps: Vec<String>,
    },
    /// An attempt begins.
    #[serde(rename = "step.start")]
    StepStart {
        /// The step.
        step: String,
        /// Its action.
        action: &'static str,
        /// From 1.
        attempt: u32,
        /// Attempts in total.
        attempts: u32,
        /// Seconds that it may take.
        #[serde(skip_serializing_if = "Option::is_none")]
        limit: Option<u64>,
    },
    /// The step waits for somebody, or sleeps.
    #[serde(rename = "step.waiting")]
    StepWaiting {
        /// The step.
        step: String,
        /// For what.
        r#for: String,
    },
    /// A look at a value that is waited for.
    #[serde(rename = "step.poll")]
    StepPoll {
        /// The step.
        step: String,
        /// The value, as it is compared; none where nothing was selected.
        value: Option<String>,
        /// What is wanted.
        desired: Vec<String>,
        /// Seconds since the attempt began.
        elapsed: u64,
    },
    /// The attempt failed and there will be another.
    #[serde(rename = "step.retry")]
    StepRetry {
        /// The step.
        step: String,
        /// What went wrong.
        error: String,
        /// Milliseconds until then.
        delay: u64,
    },
    /// Something happened in the runbook that the step runs.
    #[serde(rename = "step.child")]
    StepChild {
        /// The step.
        step: String,
        /// What.
        event: Box<Self>,
    },
    /// Worth knowing.
    #[serde(rename = "step.note")]
    StepNote {
        /// The step.
        step: String,
        /// What.
        note: String,
    },
    /// The step ended.
    #[serde(rename = "step.end")]
    StepEnd {
        /// The step.
        step: String,
        /// How.
        status: Status,
        /// Its outputs; secrets are masked.
        outputs: serde_json::Map<String, serde_json::Value>,
        /// Why it failed.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// Another step is next.
    #[serde(rename = "step.jump")]
    StepJump {
        /// From here.
        from: String,
        /// To there; none for the end.
        to: Option<String>,
        /// `sequence`, `nextStep`, `branch:N`, `branch:default`, `onFailure`, `onCancel`, `isEnd`.
        why: String,
    },
    /// The run ended.
    #[serde(rename = "run.end")]
    RunEnd {
        /// How.
        status: Status,
        /// The outputs of the document.
        outputs: serde_json::Map<String, serde_json::Value>,
        /// Why it failed.
        #[serde(skip_serializing_if = "Option::is_none")]
        failure: Option<String>,
    },
}
