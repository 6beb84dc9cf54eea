//! The harness: sandboxes that die with their test, and runs of the binary with a deadline.

mod control;
pub(crate) mod hostile;
mod process;
mod running;
pub(crate) mod servers;
mod terminal;

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub(crate) use self::control::post;
pub(crate) use self::process::{Process, signal};
pub(crate) use self::running::{Finished, Running, run, run_unread, run_with};
pub(crate) use self::terminal::Terminal;

/// The binary under test.
pub(crate) const BOWLINE: &str = env!("CARGO_BIN_EXE_bowline");
/// Enough for anything small on two busy cores with a debug build.
pub(crate) const SOON: Duration = Duration::from_secs(60);
/// Enough for megabytes through a debug build.
pub(crate) const LATER: Duration = Duration::from_secs(300);

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A running `bowline sandbox`, ended when dropped.
pub(crate) struct Sandbox {
    child: Mutex<Child>,
    env: Vec<(String, String)>,
    home: TempDir,
}

impl Sandbox {
    /// Starts one with no agent start delay and these further options.
    pub(crate) fn start(options: &[&str]) -> Self {
        let home = TempDir::new().unwrap();
        let env_file = home.path().join("sandbox-env");
        let log = home.path().join("sandbox-log");
        let mut child = clean(BOWLINE, home.path())
            .args(["sandbox", "--port", "0", "--agent-start-delay", "0"])
            .arg("--env-file")
            .arg(&env_file)
            .args(options)
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&log).unwrap())
            .stderr(std::fs::File::options().append(true).open(&log).unwrap())
            .spawn()
            .unwrap();
        let env = wait_for("the sandbox's env file", SOON, || {
            if let Some(status) = child.try_wait().unwrap() {
                let said = std::fs::read_to_string(&log).unwrap();
                panic!("the sandbox ended with {status}:\n{said}");
            }
            let env = exports(&std::fs::read_to_string(&env_file).unwrap_or_default());
            let complete = [
                "BOWLINE_ENDPOINT",
                "AWS_ENDPOINT_URL",
                "AWS_SECRET_ACCESS_KEY",
            ]
            .iter()
            .all(|name| env.iter().any(|(have, _)| have == name));
            complete.then_some(env)
        });
        Self {
            child: Mutex::new(child),
            env,
            home,
        }
    }

    /// A command with this sandbox's environment and nothing of ours.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = clean(program, self.home.path());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// `bowline` with these words.
    pub(crate) fn bowline(&self, words: &[&str]) -> Command {
        let mut command = self.command(BOWLINE);
        command.args(words);
        command
    }

    /// A variable of its environment.
    #[track_caller]
    pub(crate) fn variable(&self, name: &str) -> &str {
        let found = self.env.iter().find(|(have, _)| have == name);
        &found.unwrap_or_else(|| panic!("no {name}")).1
    }

    /// What `env` a foreign spawner (a PTY) has to set.
    pub(crate) fn environment(&self) -> impl Iterator<Item = (String, String)> + '_ {
        let base = [("PATH", PATH), ("LANG", "C.UTF-8")];
        let home = self.home.path().to_str().unwrap().to_owned();
        base.into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .chain([("HOME".to_owned(), home)])
            .chain(self.env.iter().cloned())
    }

    pub(crate) fn pid(&self) -> u32 {
        lock(&self.child).id()
    }

    /// SIGKILL, as a crash would be.
    pub(crate) fn kill(&self) {
        let mut child = lock(&self.child);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let mut child = lock(&self.child);
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// The sandbox all tests of this binary share. A container takes two sessions and every test enters
/// the same one, so no more than two tests hold it at a time.
pub(crate) struct Shared {
    sandbox: Arc<Sandbox>,
}

impl Shared {
    pub(crate) fn get() -> Self {
        let mut held = lock(&PLACES.0);
        while *held == 2 {
            held = PLACES.1.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        *held += 1;
        drop(held);
        let mut current = lock(&CURRENT);
        // A static is never dropped, a Weak in one lets the last user end the sandbox.
        let sandbox = current.upgrade().unwrap_or_else(|| {
            let started = Arc::new(Sandbox::start(&[]));
            *current = Arc::downgrade(&started);
            started
        });
        Self { sandbox }
    }
}

static CURRENT: Mutex<Weak<Sandbox>> = Mutex::new(Weak::new());
static PLACES: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

impl std::ops::Deref for Shared {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.sandbox
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        *lock(&PLACES.0) -= 1;
        PLACES.1.notify_one();
    }
}

/// A program with a known environment and its own home.
pub(crate) fn clean(program: impl AsRef<OsStr>, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", PATH)
        .env("LANG", "C.UTF-8")
        .env("HOME", home)
        .current_dir(home);
    command
}

/// Polls until there is something, with a deadline.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, limit: Duration, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn exports(text: &str) -> Vec<(String, String)> {
    text.lines()
        .filter_map(|line| line.strip_prefix("export ")?.split_once('='))
        .map(|(name, value)| (name.to_owned(), unquoted(value).to_owned()))
        .collect()
}

fn unquoted(value: &str) -> &str {
    value
        .strip_prefix('\'')
        .and_then(|value| value.strip_suffix('\''))
        .unwrap_or(value)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether this program is on this machine. CI has all of them; elsewhere a missing one is said.
#[expect(clippy::print_stdout, reason = "what is not tried has to be said")]
pub(crate) fn has_program(name: &str) -> bool {
    let there = ["/bin", "/usr/bin", "/usr/local/bin"]
        .iter()
        .any(|folder| Path::new(folder).join(name).exists());
    assert!(
        there || std::env::var_os("CI").is_none(),
        "CI installs {name}"
    );
    if !there {
        println!("not tried: there is no {name} on this machine");
    }
    there
}
