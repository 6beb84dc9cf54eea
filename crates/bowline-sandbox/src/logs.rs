//! CloudWatch Logs: log groups with their streams, and the files behind them.
//!
//! What sessions print is also kept as it came, as `<root>/logs/<group>/<session id>`.

mod lines;
mod page;
mod pattern;
mod rates;
mod store;
mod stream;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::fs::File;
use tokio::io::AsyncWriteExt;

pub(crate) use page::{Budget, Search, Span, backward, forward};
pub(crate) use pattern::Pattern;
pub(crate) use store::{Group as LogGroup, Groups, LogDelay, LogWriter, Logs, Missing};
pub(crate) use stream::{Event, Stream};

/// What CloudWatch Logs counts for an event besides its text, in bytes.
pub(crate) const OVERHEAD: usize = 26;

/// The name of the folder of all session logs.
pub(crate) const FOLDER: &str = "logs";

/// The folder of all session logs.
pub(crate) fn folder(root: &Path) -> PathBuf {
    root.join(FOLDER)
}

/// The folder of a log group. Group names have slashes in them, and may be `..`.
pub(crate) fn group_folder(root: &Path, group: &str) -> PathBuf {
    folder(root).join(group.replace('/', "%2F").replace('.', "%2E"))
}

/// Where a session is logged.
#[derive(Clone, Debug)]
pub(crate) struct SessionLog {
    /// [`group_folder`] of the group.
    pub(crate) folder: PathBuf,
    pub(crate) group: String,
    pub(crate) logs: Arc<Logs>,
}

/// The log of a session, while it is being written.
#[derive(Debug)]
pub(crate) struct LogStream {
    path: PathBuf,
    /// `None` after a failure: what follows is lost.
    file: Option<File>,
    /// The same as events.
    events: Option<LogWriter>,
}

impl LogStream {
    /// Opens the log of the session `name`, making its group if there is none.
    pub(crate) async fn open(log: &SessionLog, name: &str) -> Self {
        let folder = &log.folder;
        let path = folder.join(name);
        let opened = async {
            tokio::fs::create_dir_all(folder).await?;
            File::options().create(true).append(true).open(&path).await
        };
        let opened = opened.await;
        if let Err(error) = &opened {
            tracing::warn!(%error, log = %path.display(), "a session is not logged");
        }
        Self {
            file: opened.ok(),
            path,
            events: log.logs.writer(&log.group, name, true).ok(),
        }
    }

    /// Adds to the end.
    pub(crate) async fn append(&mut self, bytes: &[u8]) {
        if let Some(events) = &mut self.events {
            events.write(bytes);
        }
        let Some(file) = &mut self.file else { return };
        let written = async {
            file.write_all(bytes).await?;
            // A file of tokio reports the error of a write only here or at the next one.
            file.flush().await
        };
        if let Err(error) = written.await {
            tracing::warn!(%error, log = %self.path.display(), "the rest of a session is not logged");
            self.file = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::clock::SandboxClock;

    #[tokio::test]
    async fn no_group_leads_out_of_the_folder() {
        let root = tempfile::tempdir().unwrap();
        for group in ["/ecs/exec", "..", "../../x"] {
            let folder = group_folder(root.path(), group);
            let clock = SandboxClock::start(NonZeroU32::MIN);
            let log = SessionLog {
                folder: folder.clone(),
                group: group.to_owned(),
                logs: Arc::new(Logs::new(root.path().join("streams"), clock)),
            };
            assert_eq!(folder.parent(), Some(&*root.path().join("logs")), "{group}");
            let mut stream = LogStream::open(&log, "one").await;
            stream.append(b"a").await;
            stream.append(b"b").await;
            assert_eq!(std::fs::read(folder.join("one")).unwrap(), b"ab");
        }
    }
}
