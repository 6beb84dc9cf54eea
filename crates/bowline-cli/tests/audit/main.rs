//! Recordings, what `--explain` says, and the logs of exec sessions: the built binary against sandboxes.
//!
//! Every wait has a deadline far beyond what a busy machine needs; none waits for luck.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod copies;
mod explained;
mod forced;
mod logs;
mod recorded;
#[path = "../exec/support/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "the harness is shared with the tests of exec, and each side leaves out some of it"
)]
mod support;

use std::path::PathBuf;

use support::Sandbox;
use tempfile::TempDir;

/// A folder for recordings, and the option that names it.
struct Folder {
    folder: TempDir,
    option: String,
}

impl Folder {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let option = format!("--record-dir={}", folder.path().display());
        Self { folder, option }
    }

    /// The recordings in it, oldest first.
    fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    #[track_caller]
    fn only(&self) -> PathBuf {
        let files = self.files();
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }
}

/// The user's configuration file of a command.
fn configured(sandbox: &Sandbox, text: &str, words: &[&str]) -> (TempDir, std::process::Command) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("config.toml");
    std::fs::write(&file, text).unwrap();
    let mut command = sandbox.bowline(words);
    command.env("BOWLINE_CONFIG", file);
    (folder, command)
}
