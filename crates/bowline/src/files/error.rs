//! Why a copy failed.

use std::io;
use std::path::PathBuf;

use super::names::Refusal;
use crate::session::exec::ExecError;

/// Refused entries that an error lists.
const LISTED: usize = 10;

/// Why a copy failed. What was not published is not under its final name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// A session could not be had, or was lost too often.
    #[error(transparent)]
    Session(Box<ExecError>),
    /// There is nothing under this path in the container.
    #[error("there is no {path} in container {container}")]
    NotFound {
        /// The path or pattern, fit to be shown.
        path: String,
        /// The container.
        container: String,
    },
    /// A step in the container failed.
    #[error("{step} failed in container {container}{}", behind(.said))]
    Remote {
        /// What was being done.
        step: &'static str,
        /// The container.
        container: String,
        /// What its tools said, fit to be shown.
        said: String,
    },
    /// The container sent what is not written here.
    #[error("{} refused, so nothing was copied: {}", counted(.entries.len(), "entry is", "entries are"), listed(.entries))]
    Refused {
        /// Names, fit to be shown, and why.
        entries: Vec<(String, Refusal)>,
    },
    /// The destination does not fit the source.
    #[error("{0}")]
    Destination(String),
    /// Something cannot be read or written here.
    #[error("cannot {action} {}: {source}", .path.display())]
    Local {
        /// What was to be done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is not enough room for it here.
    #[error("the copy needs {needed} bytes and there is room for {free}")]
    NoRoom {
        /// Bytes of the copy.
        needed: u64,
        /// Bytes there are.
        free: u64,
    },
    /// Files have another digest than they should: they were changed meanwhile, or damaged.
    #[error("{} not what was read: {}", counted(.names.len(), "file is", "files are"), quoted(.names))]
    Changed {
        /// Their names, fit to be shown.
        names: Vec<String>,
    },
    /// Nobody takes what is read any more.
    #[error("nobody reads the copy any more")]
    Unwanted(#[source] io::Error),
}

impl From<ExecError> for CopyError {
    fn from(error: ExecError) -> Self {
        Self::Session(Box::new(error))
    }
}

impl CopyError {
    pub(crate) fn local(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Local {
            action,
            path,
            source,
        }
    }
}

fn behind(said: &str) -> String {
    match said.trim() {
        "" => String::new(),
        said => format!(": {said}"),
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        count => format!("{count} {many}"),
    }
}

fn listed(entries: &[(String, Refusal)]) -> String {
    let lines = entries
        .iter()
        .map(|(name, why)| format!("\"{name}\": {why}"));
    shortened(lines.collect())
}

fn quoted(names: &[String]) -> String {
    shortened(names.iter().map(|name| format!("\"{name}\"")).collect())
}

fn shortened(mut all: Vec<String>) -> String {
    let more = all.len().saturating_sub(LISTED);
    all.truncate(LISTED);
    let mut text = all.join("; ");
    if more > 0 {
        text = format!("{text}; and {more} more");
    }
    text
}
