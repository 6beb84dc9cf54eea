//! What a run asks its driver to do, and what it is told.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::status::Status;

/// Something to do. The run waits for its answer until the deadline.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Its number, for the answer.
    pub id: u64,
    /// The step that wants it.
    pub step: String,
    /// After this moment the answer is not waited for.
    pub deadline: Option<Timestamp>,
    /// What to do.
    pub work: Work,
}

/// Kinds of work.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Work {
    /// Call an operation of a service.
    Call {
        /// The client name.
        service: &'static str,
        /// The operation as the model spells it.
        operation: String,
        /// The input by the model's member names.
        input: Map<String, Value>,
    },
    /// Run a script.
    Script(Script),
    /// Ask somebody to approve.
    Approval {
        /// What is asked.
        message: String,
        /// Who may.
        approvers: Vec<String>,
        /// How many have to.
        needed: usize,
    },
    /// Wait until somebody says to go on.
    Pause,
    /// Run another runbook and wait for its end.
    Automation(Child),
}

/// A runbook that a step runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// The document's name.
    pub document: String,
    /// Its version; the default one if none is named.
    pub version: Option<String>,
    /// Its parameters: values of their types, or lists of texts.
    pub parameters: Map<String, Value>,
}

/// How such a runbook ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// The id of the execution.
    pub execution_id: String,
    /// Its status.
    pub status: Status,
    /// The outputs of the document.
    pub outputs: Map<String, Value>,
    /// The same for showing: secrets are masked.
    pub shown: Map<String, Value>,
    /// Why it failed.
    pub failure: Option<String>,
}

/// A script.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// `python3.11`, `PowerShell 7.4`.
    pub runtime: String,
    /// The function, for Python.
    pub handler: Option<String>,
    /// The source, if it is in the document.
    pub source: Option<String>,
    /// The attachment that holds it otherwise.
    pub attachment: Option<String>,
    /// The first argument.
    pub payload: Value,
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Answer {
    /// What an operation answered, by the model's member names, with `ResponseMetadata`.
    Called(Value),
    /// The call failed.
    CallFailed(CallFailure),
    /// What the script returned.
    Returned(Value),
    /// The script failed, with what it said.
    ScriptFailed(String),
    /// Somebody approved.
    Approved {
        /// Who.
        by: String,
    },
    /// Somebody rejected.
    Rejected {
        /// Who.
        by: String,
    },
    /// Somebody said to go on.
    Resumed,
    /// The other runbook ended.
    Ended(Ended),
}

/// Why a call failed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallFailure {
    /// The service's code; none where there was no answer of a service.
    pub code: Option<String>,
    /// What it says.
    pub message: String,
    /// The request's id at the service.
    pub request_id: Option<String>,
    /// Throttling, 5xx or the network: the same call may work later.
    pub is_transient: bool,
}

impl CallFailure {
    /// Whether a wait goes on after this failure. \[X\] What is not there yet may come; what is forbidden stays so.
    pub(crate) fn is_patient(&self) -> bool {
        let code = self.code.as_deref().unwrap_or_default();
        self.is_transient || code.contains("NotFound") || code.contains("DoesNotExist")
    }

    /// In the order of the Python SDK, so that search engines find it.
    pub(crate) fn text(&self, operation: &str) -> String {
        let mut text = match &self.code {
            Some(code) => format!(
                "An error occurred ({code}) when calling the {operation} operation: {}",
                self.message
            ),
            None => format!("{operation}: {}", self.message),
        };
        if let Some(id) = &self.request_id {
            text.push_str(" (request id ");
            text.push_str(id);
            text.push(')');
        }
        text
    }
}
