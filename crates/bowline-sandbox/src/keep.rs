//! What is kept from one start to the next, in one file.
//!
//! A line with the form's name, its version and a checksum, then a document. It is written beside and renamed, so there is
//! always a whole one; what is damaged, or of another version, is refused before anything has started. Tasks are not
//! kept: those of services start anew.

mod form;
mod logs;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use form::Form;
pub(crate) use form::Kept;

use crate::stage::Stage;
use crate::state::Shared;

/// What the first line begins with.
const NAME: &str = "bowline sandbox state";
/// Of the form; another one is refused.
const VERSION: u32 = 1;
/// The file in a folder that was named.
const FILE: &str = "sandbox-state";
/// How long what has changed may wait to be written.
const EVERY: Duration = Duration::from_secs(5);
/// Larger files are none of ours.
const LIMIT: u64 = 512 << 20;
/// The first line is shorter.
const HEAD_ROOM: u64 = 1024;

/// Why what is kept cannot be read or written. The file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The system refuses.
    #[error("cannot {what} the state in {}: {source}", path.display())]
    File {
        /// `read`, `write` or `lock`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no state of a sandbox, or not all of it.
    #[error("{} is damaged, or no state of a sandbox: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Another version of bowline wrote it.
    #[error("{} has version {version} of the form, and this bowline knows version {VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// A sandbox that runs keeps its state there.
    #[error("another sandbox keeps its state in {}", path.display())]
    Taken {
        /// The file.
        path: PathBuf,
    },
}

#[derive(Serialize, Deserialize)]
struct Head {
    form: String,
    version: u32,
    sha256: String,
}

/// The file, for nobody else as long as this is there.
pub(crate) struct Keeper {
    path: PathBuf,
    /// What was written last.
    written: Option<Digest>,
    /// What was looked at last, and its changes then.
    seen: Option<(Weak<Shared>, [u64; 2])>,
    _lock: File,
}

type Digest = [u8; 32];

impl Keeper {
    /// Locks the file, and reads it if it is there. A folder stands for a file in it.
    pub(crate) fn open(path: PathBuf) -> Result<(Self, Option<Kept>), StateError> {
        // Relative to where the sandbox was started, wherever it goes.
        let path = std::path::absolute(&path).unwrap_or(path);
        let path = match path.is_dir() {
            true => path.join(FILE),
            false => path,
        };
        // The file that a link leads to is replaced, not the link.
        let path = fs::canonicalize(&path).unwrap_or(path);
        let lock = lock(&path)?;
        let kept = match read(&path)? {
            Some(body) => Some(Kept::read(&body).map_err(|reason| damaged(&path, reason))?),
            None => None,
        };
        let keeper = Self {
            path,
            written: None,
            seen: None,
            _lock: lock,
        };
        Ok((keeper, kept))
    }

    /// Writes what changes, every few seconds, until [`Keeping::finish`].
    pub(crate) fn keep(mut self, stage: Arc<Stage>) -> Keeping {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            while stopped
                .run_until_cancelled(tokio::time::sleep(EVERY))
                .await
                .is_some()
            {
                let landscape = stage.landscape();
                let saving = tokio::task::spawn_blocking(move || {
                    let result = self.look(&landscape.home);
                    (self, result)
                });
                match saving.await {
                    Ok((keeper, result)) => {
                        self = keeper;
                        if let Err(error) = result {
                            tracing::warn!(%error, "the state is not kept");
                        }
                    }
                    Err(error) => {
                        tracing::error!(%error, "the state is not kept any more");
                        return None;
                    }
                }
            }
            Some(self)
        });
        Keeping {
            stop,
            task: AbortOnDropHandle::new(task),
        }
    }

    /// Writes what there is, if anything may have changed.
    fn look(&mut self, shared: &Arc<Shared>) -> Result<(), StateError> {
        let now = [shared.changes(), shared.logs.groups().changes];
        let is_known = |(seen, then): &(Weak<Shared>, [u64; 2])| {
            std::ptr::eq(seen.as_ptr(), Arc::as_ptr(shared)) && *then == now
        };
        if self.seen.as_ref().is_some_and(is_known) && self.path.exists() {
            return Ok(());
        }
        self.save(&Form::of(shared))?;
        self.seen = Some((Arc::downgrade(shared), now));
        Ok(())
    }

    fn save(&mut self, form: &Form) -> Result<(), StateError> {
        let failed = |source| StateError::File {
            what: "write",
            path: self.path.clone(),
            source,
        };
        let body = serde_json::to_vec(form).map_err(|error| failed(error.into()))?;
        if body.len() as u64 + HEAD_ROOM > LIMIT {
            return Err(failed(io::Error::other("it would be larger than 512 MiB")));
        }
        let digest: Digest = Sha256::digest(&body).into();
        if self.written == Some(digest) && self.path.exists() {
            return Ok(());
        }
        let head = Head {
            form: NAME.to_owned(),
            version: VERSION,
            sha256: hex::encode(digest),
        };
        let head = serde_json::to_string(&head).map_err(|error| failed(error.into()))?;
        let folder = folder(&self.path);
        let write = || {
            // For its owner only: there are secrets in it.
            let mut file = NamedTempFile::new_in(folder)?;
            writeln!(file, "{head}")?;
            file.write_all(&body)?;
            file.as_file().sync_all()?;
            file.persist(&self.path).map_err(|error| error.error)?;
            File::open(folder)?.sync_all()
        };
        write().map_err(failed)?;
        self.written = Some(digest);
        Ok(())
    }
}

/// The task that keeps.
#[derive(Debug)]
pub(crate) struct Keeping {
    stop: CancellationToken,
    task: AbortOnDropHandle<Option<Keeper>>,
}

impl Keeping {
    /// Writes what there is at the end.
    pub(crate) async fn finish(self, stage: &Stage) -> Result<(), StateError> {
        self.stop.cancel();
        match self.task.await {
            Ok(Some(mut keeper)) => keeper.save(&Form::of(&stage.home())),
            // It was said.
            Ok(None) | Err(_) => Ok(()),
        }
    }
}

fn folder(path: &Path) -> &Path {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or_else(|| Path::new("."))
}

/// A file beside, as the file itself is another one each time. It stays: removing it would let two in.
fn lock(path: &Path) -> Result<File, StateError> {
    let failed = |source| StateError::File {
        what: "lock",
        path: path.to_owned(),
        source,
    };
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let file = File::options()
        .create(true)
        .append(true)
        .open(beside)
        .map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StateError::Taken {
            path: path.to_owned(),
        }),
        Err(error) => Err(failed(error.into())),
    }
}

/// The document, if there is a file, and it is whole.
fn read(path: &Path) -> Result<Option<Vec<u8>>, StateError> {
    let failed = |source| StateError::File {
        what: "read",
        path: path.to_owned(),
        source,
    };
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > LIMIT => {
            return Err(damaged(path, "it is larger than 512 MiB".to_owned()));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    }
    let mut bytes = fs::read(path).map_err(failed)?;
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let end = end.ok_or_else(|| damaged(path, "it has no first line".to_owned()))?;
    let body = bytes.split_off(end + 1);
    let head: Head = serde_json::from_slice(&bytes)
        .ok()
        .filter(|head: &Head| head.form == NAME)
        .ok_or_else(|| damaged(path, "its first line is not that of a state".to_owned()))?;
    if head.version != VERSION {
        return Err(StateError::Version {
            path: path.to_owned(),
            version: head.version,
        });
    }
    if hex::encode(Sha256::digest(&body)) != head.sha256 {
        return Err(damaged(path, "its checksum is another".to_owned()));
    }
    Ok(Some(body))
}

fn damaged(path: &Path, reason: String) -> StateError {
    StateError::Damaged {
        path: path.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeper(path: &Path) -> Keeper {
        Keeper::open(path.to_owned()).unwrap().0
    }

    #[test]
    fn every_damage_is_found_and_the_file_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        keeper(&path).save(&Form::default()).unwrap();
        let whole = fs::read(&path).unwrap();
        assert!(Keeper::open(path.clone()).unwrap().1.is_some());
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(Keeper::open(path.clone()).is_err(), "cut to {length}");
            let mut flipped = whole.clone();
            flipped[length] ^= 1;
            fs::write(&path, &flipped).unwrap();
            assert!(Keeper::open(path.clone()).is_err(), "byte {length}");
            assert_eq!(fs::read(&path).unwrap(), flipped);
        }
    }

    #[test]
    fn one_sandbox_has_the_file_and_it_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let mut first = keeper(folder.path());
        first.save(&Form::default()).unwrap();
        let taken = Keeper::open(folder.path().to_owned()).map(|_| ());
        assert!(matches!(taken, Err(StateError::Taken { .. })), "{taken:?}");
        let mode = fs::metadata(&first.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(first);
        assert!(Keeper::open(folder.path().to_owned()).unwrap().1.is_some());
    }
}
