//! Whether and how sessions are recorded: `[record]`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::origin::{Origin, Setting};
use crate::record::{Destination, Patterns};

/// Whether and how sessions are recorded. A project's file may only ask for more: `always`, and `redact`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Section {
    /// Record every session, asked for or not; one that cannot be recorded is refused.
    #[serde(default)]
    pub(super) always: bool,
    /// The folder of the recordings, as an absolute path. Not in a project's file.
    pub(super) dir: Option<PathBuf>,
    /// Also record what is typed and sent. Not in a project's file.
    #[serde(default)]
    pub(super) input: bool,
    /// Regular expressions of what is taken out, besides the usual secrets; of a group that begins with `secret` only
    /// that part.
    #[serde(default)]
    pub(super) redact: Vec<String>,
    /// Where each recording is copied to when it is closed: `logs:GROUP` or `s3://BUCKET/PREFIX`. Not in a project's
    /// file.
    #[serde(default)]
    pub(super) copy: Vec<String>,
}

/// What both files say of recordings.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RecordSettings {
    /// Who wants every session recorded, if anybody does.
    pub always: Option<Origin>,
    /// The folder.
    pub folder: Option<PathBuf>,
    /// Whether input is recorded too.
    pub input: bool,
    /// Patterns besides the usual ones.
    pub redact: Vec<String>,
    /// Where copies go.
    pub copy: Vec<Destination>,
}

impl Section {
    /// Why it could never be meant, if so.
    pub(super) fn problem(&self) -> Option<String> {
        if let Some(folder) = self.dir.as_ref().filter(|folder| !folder.is_absolute()) {
            return Some(format!(
                "dir = {:?} is no absolute path",
                folder.display().to_string()
            ));
        }
        let patterns = Patterns::with(self.redact.iter().map(String::as_str));
        if let Err(error) = patterns {
            return Some(error.to_string());
        }
        let wrong = self
            .copy
            .iter()
            .find_map(|to| to.parse::<Destination>().err());
        wrong.map(|reason| format!("copy: {reason}"))
    }

    /// What of it may not come with a checkout.
    pub(super) fn forbidden(&self) -> Option<(&'static str, &'static str)> {
        let why = "where recordings go and what they hold is yours to decide";
        match self {
            Self { dir: Some(_), .. } => Some(("record.dir", why)),
            Self { input: true, .. } => Some(("record.input", why)),
            Self { copy, .. } if !copy.is_empty() => Some(("record.copy", why)),
            _ => None,
        }
    }
}

impl RecordSettings {
    /// Of the user's section and the project's.
    pub(super) fn join(sections: [Option<Setting<Section>>; 2]) -> Self {
        let mut joined = Self::default();
        for Setting { value, origin } in sections.into_iter().flatten() {
            if value.always {
                joined.always.get_or_insert(origin);
            }
            joined.folder = joined.folder.or(value.dir);
            joined.input |= value.input;
            joined.redact.extend(value.redact);
            // They were read once to be checked.
            joined
                .copy
                .extend(value.copy.iter().filter_map(|to| to.parse().ok()));
        }
        joined
    }
}
