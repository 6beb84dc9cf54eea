//! Where a named sandbox is known: a private folder of the user's, with a lock that is held as long as it runs.

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tokio::time::{Instant, sleep};

use super::control::{self, Question};
use crate::error::{CommandError, ErrorKind};
use crate::kept;

/// For a sandbox that was told to end, until it is gone: it allows its containers some seconds.
const END: Duration = Duration::from_secs(30);

/// What a sandbox is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name(String);

impl Default for Name {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        match (1..=32).contains(&text.len()) && text.bytes().all(is_plain) {
            true => Ok(Self(text.to_owned())),
            false => Err("a name has up to 32 letters, digits, hyphens and underscores".to_owned()),
        }
    }
}

/// The folder of one sandbox.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) name: Name,
    folder: PathBuf,
}

/// The same, and nobody else may be there.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) place: Place,
    _lock: File,
}

impl Place {
    pub(super) fn of(name: &Name) -> Result<Self, CommandError> {
        Ok(Self {
            name: name.clone(),
            folder: base()?.join(&name.0),
        })
    }

    /// Every place there is, by name; in most of them nobody runs.
    pub(super) fn all() -> Result<Vec<Self>, CommandError> {
        let Ok(entries) = fs::read_dir(base()?) else {
            return Ok(Vec::new());
        };
        let names = entries.flatten().filter_map(|entry| {
            let name = entry.file_name();
            name.to_str()?.parse::<Name>().ok()
        });
        let mut names: Vec<Name> = names.collect();
        names.sort_by(|a, b| a.0.cmp(&b.0));
        names.iter().map(Self::of).collect()
    }

    /// Where it is talked to.
    pub(super) fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    /// What it says in the background.
    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Makes the folder, and takes its lock.
    pub(super) async fn claim(self) -> Result<Claimed, CommandError> {
        self.make()?;
        let Some(lock) = self.lock()? else {
            return Err(self.taken().await);
        };
        // What one that was killed has left behind is wrong from now on.
        self.clear();
        Ok(Claimed {
            place: self,
            _lock: lock,
        })
    }

    /// Somebody runs here, or is about to.
    pub(super) async fn taken(&self) -> CommandError {
        let name = &self.name;
        let told = control::ask(self, &Question::Status).await;
        let text = match told {
            Ok(Some(told)) => format!(
                "a sandbox {name} runs already: process {} at {}",
                told.pid, told.endpoint
            ),
            _ => format!("a sandbox {name} is starting or ending at this moment"),
        };
        CommandError::new(ErrorKind::Failed, text)
            .hint("`bowline sandbox env` leads a shell to it, `bowline sandbox down` ends it")
            .hint("--name gives a second one a name of its own")
    }

    /// Whether nobody runs here.
    pub(super) fn is_free(&self) -> Result<bool, CommandError> {
        Ok(self.lock()?.is_some())
    }

    pub(super) async fn wait_until_free(&self) -> Result<(), CommandError> {
        let deadline = Instant::now() + END;
        while !self.is_free()? {
            if Instant::now() >= deadline {
                let text = format!(
                    "sandbox {} was told to end and has not done so after {} seconds",
                    self.name,
                    END.as_secs()
                );
                return Err(CommandError::new(ErrorKind::Failed, text));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// The files for people and scripts.
    pub(super) fn tell(&self, endpoint: &str) -> Result<(), CommandError> {
        let pid = std::process::id().to_string();
        for (file, text) in [("pid", pid.as_str()), ("endpoint", endpoint)] {
            let path = self.folder.join(file);
            let text = format!("{text}\n");
            fs::write(&path, text).map_err(|error| unusable(&path, &error))?;
        }
        Ok(())
    }

    /// Nobody is here any more. The lock and the log stay.
    pub(super) fn clear(&self) {
        for file in ["socket", "pid", "endpoint"] {
            // It need not be there.
            let _ = fs::remove_file(self.folder.join(file));
        }
    }

    /// The folder, for nobody else to look into.
    pub(super) fn make(&self) -> Result<(), CommandError> {
        let folder = &self.folder;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| unusable(folder, &error))?;
        let metadata = fs::symlink_metadata(folder).map_err(|error| unusable(folder, &error))?;
        let ours = metadata.uid() == rustix::process::geteuid().as_raw();
        if !metadata.is_dir() || !ours || metadata.mode() & 0o077 != 0 {
            let text = format!(
                "{} is not a folder that only you can enter",
                folder.display()
            );
            return Err(CommandError::new(ErrorKind::Failed, text)
                .hint(format!("remove it, or chmod 700 {}", folder.display())));
        }
        Ok(())
    }

    fn lock(&self) -> Result<Option<File>, CommandError> {
        let path = self.folder.join("lock");
        let file = File::options()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path);
        let file = match file {
            Ok(file) => file,
            Err(error) => return Err(unusable(&path, &error)),
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(unusable(&path, &error.into())),
        }
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        self.place.clear();
    }
}

/// In the runtime folder of the user's session, else among what is kept.
fn base() -> Result<PathBuf, CommandError> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let runtime = runtime.filter(|path| path.is_absolute() && path.is_dir());
    let base = match runtime {
        Some(runtime) => Some(runtime.join("bowline")),
        None => kept::folder("XDG_STATE_HOME", ".local/state"),
    };
    base.map(|base| base.join("sandboxes")).ok_or_else(|| {
        CommandError::new(
            ErrorKind::Failed,
            "there is no folder for what is known of sandboxes",
        )
        .hint("set XDG_RUNTIME_DIR or HOME")
    })
}

pub(super) fn unusable(path: &Path, error: &io::Error) -> CommandError {
    CommandError::new(
        ErrorKind::Failed,
        format!("cannot use {}: {error}", path.display()),
    )
}
