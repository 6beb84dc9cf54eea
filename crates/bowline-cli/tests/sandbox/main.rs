//! `bowline sandbox up|down|status|env|load|reset`, what is kept, the access log and the page: the built binary, as a user
//! has it.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../exec/support/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "the harness of tests/exec serves here in part"
)]
mod support;

mod access;
mod background;
mod page;
mod state;
mod world;

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use support::{BOWLINE, Finished, clean, run};
use tempfile::TempDir;

/// A user with sandboxes under names; all of them end with this.
pub(crate) struct User {
    pub(crate) home: TempDir,
}

impl User {
    pub(crate) fn new() -> Self {
        let home = TempDir::new().unwrap();
        std::fs::create_dir(home.path().join("run")).unwrap();
        Self { home }
    }

    /// `bowline` as this user has it.
    pub(crate) fn bowline(&self, words: &[&str]) -> Command {
        let mut command = clean(BOWLINE, self.home.path());
        command
            .env("XDG_RUNTIME_DIR", self.home.path().join("run"))
            .args(words);
        command
    }

    /// `bowline sandbox` with these words.
    #[track_caller]
    pub(crate) fn sandbox(&self, words: &[&str]) -> Finished {
        run(&mut self.bowline(&[&["sandbox"], words].concat()))
    }

    /// The one that runs under the usual name, as `status` has it.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        let told = self.sandbox(&["status", "--name", "default", "-o", "json"]);
        let all: Value = serde_json::from_slice(&told.code(0).stdout).unwrap();
        all[0].clone()
    }

    /// A command in a shell that `env` has led to it.
    #[track_caller]
    pub(crate) fn led(&self, words: &[&str]) -> Finished {
        let told = self.sandbox(&["env", "-o", "json"]).code(0);
        let environment: Value = serde_json::from_slice(&told.stdout).unwrap();
        let mut command = self.bowline(words);
        for (name, value) in environment.as_object().unwrap() {
            match value.as_str() {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        run(&mut command)
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.home.path().join("run/bowline/sandboxes/default")
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let Ok(names) = std::fs::read_dir(self.home.path().join("run/bowline/sandboxes")) else {
            return;
        };
        for name in names.flatten() {
            let name = name.file_name();
            let words = ["sandbox", "down", "--name", name.to_str().unwrap()];
            // Most have ended already.
            let _ = self.bowline(&words).output();
        }
    }
}
