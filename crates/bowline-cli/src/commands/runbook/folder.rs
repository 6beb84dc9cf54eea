//! The folder of a run: its document, its events, and what going on with it needs. Readable by its owner only.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use bowline_runbook::{Event, Snapshot};

use crate::error::{CommandError, ErrorKind};
use crate::kept::state_folder;
use crate::whole;

/// A run's folder.
pub(super) struct RunFolder {
    path: PathBuf,
    id: String,
}

impl RunFolder {
    /// A new one, with the document in it.
    pub(super) fn create(id: &str, source: &str) -> Result<Self, CommandError> {
        let path = root()?.join(id);
        let mut builder = fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&path);
        made.map_err(|error| unusable(&path, &error))?;
        let folder = Self {
            path,
            id: id.to_owned(),
        };
        folder.write("runbook", source)?;
        Ok(folder)
    }

    /// The folder of a run by its id.
    pub(super) fn open(id: &str) -> Result<Self, CommandError> {
        let is_id = id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let path = root()?.join(id);
        if !is_id || id.is_empty() || !path.is_dir() {
            return Err(CommandError::usage(format!("there is no run {id}"))
                .hint(format!("runs are kept in {}", root()?.display())));
        }
        Ok(Self {
            path,
            id: id.to_owned(),
        })
    }

    /// The document and the state of the run.
    pub(super) fn load(&self) -> Result<(String, Snapshot), CommandError> {
        let read = |name: &str| {
            fs::read_to_string(self.path.join(name)).map_err(|error| unusable(&self.path, &error))
        };
        let state = serde_json::from_str(&read("state.json")?).map_err(|error| {
            CommandError::usage(format!(
                "the run {} cannot be gone on with: {error}",
                self.id
            ))
        })?;
        Ok((read("runbook")?, state))
    }

    /// Writes down an event.
    pub(super) fn note(&self, event: &Event) -> Result<(), CommandError> {
        let path = self.path.join("events.ndjson");
        let mut line = serde_json::to_string(event)
            .map_err(|error| CommandError::new(ErrorKind::Unavailable, error))?;
        line.push('\n');
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path);
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .map_err(|error| unusable(&path, &error))
    }

    /// Writes down the state, whole or not at all.
    pub(super) fn keep(&self, state: &Snapshot) -> Result<(), CommandError> {
        let text = serde_json::to_string_pretty(state)
            .map_err(|error| CommandError::new(ErrorKind::Unavailable, error))?;
        self.write("state.json", &text)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    fn write(&self, name: &str, text: &str) -> Result<(), CommandError> {
        let path = self.path.join(name);
        whole::write(&path, text.as_bytes(), whole::PRIVATE)
            .map_err(|error| unusable(&path, &error))
    }
}

/// `$XDG_STATE_HOME/bowline/runbooks`, or below `~/.local/state`.
fn root() -> Result<PathBuf, CommandError> {
    match state_folder() {
        Some(state) => Ok(state.join("runbooks")),
        None => Err(
            CommandError::usage("there is no home folder to keep the run in")
                .hint("set HOME or XDG_STATE_HOME"),
        ),
    }
}

fn unusable(path: &Path, error: &io::Error) -> CommandError {
    CommandError::new(
        ErrorKind::Unavailable,
        format!("{}: {error}", path.display()),
    )
}
