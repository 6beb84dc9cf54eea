//! What this machine knows of the jobs it started: where they are, and how much of their output was delivered.
//!
//! A file for each, in the state folder of XDG. What cannot be read is not there; the container knows its jobs anyway.

use std::fs;
use std::path::PathBuf;

use bowline::jobs::{JobId, JobOffsets};
use bowline::{Client, ResolvedTarget};
use serde::{Deserialize, Serialize};

use crate::kept::state_folder;
use crate::whole;

/// One job.
#[derive(Clone, Debug)]
pub(crate) struct JobRecord {
    pub(crate) id: JobId,
    pub(crate) cluster: String,
    pub(crate) task: String,
    pub(crate) container: String,
    pub(crate) command: String,
    /// The region and endpoint it was started at.
    pub(crate) account: String,
    pub(crate) offsets: JobOffsets,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    id: String,
    cluster: String,
    task: String,
    container: String,
    command: String,
    account: String,
    stdout: u64,
    stderr: u64,
}

impl JobRecord {
    pub(crate) fn new(
        client: &Client,
        id: JobId,
        target: &ResolvedTarget,
        command: String,
    ) -> Self {
        Self {
            id,
            cluster: target.cluster.name.clone(),
            task: target.task.id.clone(),
            container: target.container.clone(),
            command,
            account: account(client),
            offsets: JobOffsets::default(),
        }
    }

    /// Writes it down; the error is for the log.
    pub(crate) fn write(&self) -> std::io::Result<()> {
        let Some(folder) = folder() else {
            return Ok(());
        };
        fs::create_dir_all(&folder)?;
        let document = Document {
            id: self.id.to_string(),
            cluster: self.cluster.clone(),
            task: self.task.clone(),
            container: self.container.clone(),
            command: self.command.clone(),
            account: self.account.clone(),
            stdout: self.offsets.stdout,
            stderr: self.offsets.stderr,
        };
        let path = folder.join(format!("{}.json", self.id));
        whole::write(&path, &serde_json::to_vec(&document)?, whole::PRIVATE)
    }
}

/// What is known of a job.
pub(crate) fn read(id: &JobId) -> Option<JobRecord> {
    of_text(&fs::read_to_string(folder()?.join(format!("{id}.json"))).ok()?)
}

/// All jobs that were started at this region and endpoint.
pub(crate) fn all(client: &Client) -> Vec<JobRecord> {
    let account = account(client);
    let entries = folder().and_then(|folder| fs::read_dir(folder).ok());
    let records = entries.into_iter().flatten().flatten();
    let records = records.filter_map(|entry| of_text(&fs::read_to_string(entry.path()).ok()?));
    let mut records: Vec<JobRecord> = records.filter(|record| record.account == account).collect();
    records.sort_by(|a, b| a.id.cmp(&b.id));
    records
}

/// Forgets a job.
pub(crate) fn remove(id: &JobId) {
    if let Some(folder) = folder() {
        // It may never have been known here.
        let _ = fs::remove_file(folder.join(format!("{id}.json")));
    }
}

fn of_text(text: &str) -> Option<JobRecord> {
    let document: Document = serde_json::from_str(text).ok()?;
    Some(JobRecord {
        id: document.id.parse().ok()?,
        cluster: document.cluster,
        task: document.task,
        container: document.container,
        command: document.command,
        account: document.account,
        offsets: JobOffsets {
            stdout: document.stdout,
            stderr: document.stderr,
        },
    })
}

fn account(client: &Client) -> String {
    format!(
        "{} {}",
        client.region(),
        client.endpoint().unwrap_or_default()
    )
}

fn folder() -> Option<PathBuf> {
    state_folder().map(|folder| folder.join("jobs"))
}
