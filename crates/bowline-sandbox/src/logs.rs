//! What CloudWatch Logs would receive, kept as files: `<root>/logs/<group>/<stream>`.
//!
//! Nothing serves them as an API yet, so there is nothing but the bytes, in the order in which they came.

use std::path::{Path, PathBuf};

use tokio::fs::File;
use tokio::io::AsyncWriteExt;

/// The folder of all log groups.
pub(crate) fn folder(root: &Path) -> PathBuf {
    root.join("logs")
}

/// The folder of a log group. Group names have slashes in them, and may be `..`.
pub(crate) fn group_folder(root: &Path, group: &str) -> PathBuf {
    folder(root).join(group.replace('/', "%2F").replace('.', "%2E"))
}

/// A log stream that is being written.
#[derive(Debug)]
pub(crate) struct LogStream {
    path: PathBuf,
    /// `None` after a failure: what follows is lost.
    file: Option<File>,
}

impl LogStream {
    /// Opens a stream, making its group if there is none.
    pub(crate) async fn open(folder: &Path, name: &str) -> Self {
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
        }
    }

    /// Adds to the end.
    pub(crate) async fn append(&mut self, bytes: &[u8]) {
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
    use super::*;

    #[tokio::test]
    async fn no_group_leads_out_of_the_folder() {
        let root = tempfile::tempdir().unwrap();
        for group in ["/ecs/exec", "..", "../../x"] {
            let folder = group_folder(root.path(), group);
            assert_eq!(folder.parent(), Some(&*root.path().join("logs")), "{group}");
            let mut stream = LogStream::open(&folder, "one").await;
            stream.append(b"a").await;
            stream.append(b"b").await;
            assert_eq!(std::fs::read(folder.join("one")).unwrap(), b"ab");
        }
    }
}
