//! Ends every process that belongs to a container, wherever it went.
//!
//! Without a PID namespace there are two ways to know what belongs to a container. Whatever its main process started,
//! however often it forked or called setsid, is a descendant of the init, because the init is a child subreaper. What
//! a session started is a child of the sandbox instead, and is known by the container's metadata address in its
//! environment, which no other container has.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// The environment variable whose value is unique to a container.
pub(crate) const MARK: &str = "ECS_CONTAINER_METADATA_URI_V4";

/// A killed process is gone in well under a millisecond; one that hangs in the kernel is not waited for longer.
const LIMIT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_micros(500);

/// What to end.
pub(crate) struct Sweep {
    /// Descendants of this process belong to the container, the process itself does not.
    root: Option<Pid>,
    /// `NAME=value` as it stands in the environment of the container's processes.
    mark: Option<Vec<u8>>,
}

impl Sweep {
    /// Everything below `root`, and everything that carries `mark` as its [`MARK`].
    pub(crate) fn new(root: Option<Pid>, mark: Option<&str>) -> Self {
        let mark = mark.filter(|value| !value.is_empty());
        Self {
            root,
            mark: mark.map(|value| format!("{MARK}={value}").into_bytes()),
        }
    }

    /// Kills until nothing is left, calling `reap` after each round. Blocks, for at most two seconds.
    pub(crate) fn run(&self, mut reap: impl FnMut()) {
        let deadline = Instant::now() + LIMIT;
        loop {
            let found = self.find();
            // A zombie counts as gone for the loop, but is killed too: its leader may be dead and its threads alive.
            for process in &found {
                // Refused or already gone: the next round shows which.
                let _ = kill_process(process.pid, Signal::KILL);
            }
            reap();
            if found.iter().all(|process| process.zombie) || Instant::now() >= deadline {
                return;
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn find(&self) -> Vec<Process> {
        let own = rustix::process::getpid();
        let mut children: HashMap<Pid, Vec<Process>> = HashMap::new();
        let mut found = Vec::new();
        for process in processes().filter(|process| process.pid != own) {
            if self.is_marked(process.pid) {
                found.push(process);
            }
            children.entry(process.parent).or_default().push(process);
        }
        found.extend(
            self.root
                .and_then(|root| children.remove(&root))
                .unwrap_or_default(),
        );

        let mut seen = HashSet::new();
        let mut next = 0;
        while let Some(process) = found.get(next).copied() {
            next += 1;
            if seen.insert(process.pid) {
                found.extend(children.remove(&process.pid).unwrap_or_default());
            }
        }
        found
    }

    fn is_marked(&self, pid: Pid) -> bool {
        let Some(mark) = &self.mark else { return false };
        // Unreadable means another user's process, or one that just ended.
        let environment =
            fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap_or_default();
        environment
            .split(|&byte| byte == 0)
            .any(|entry| entry == mark)
    }
}

#[derive(Clone, Copy)]
struct Process {
    pid: Pid,
    parent: Pid,
    zombie: bool,
}

/// All processes that have a parent, as far as they could be read before they ended.
fn processes() -> impl Iterator<Item = Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read(entry.path().join("stat")).ok()?;
        parse_stat(pid, &stat)
    })
}

/// `pid (name) state parent …`; the name may itself hold spaces and parentheses (proc_pid_stat(5)).
fn parse_stat(pid: i32, stat: &[u8]) -> Option<Process> {
    let after_name = stat.iter().rposition(|&byte| byte == b')')? + 1;
    let mut fields = str::from_utf8(stat.get(after_name..)?)
        .ok()?
        .split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    Some(Process {
        pid: Pid::from_raw(pid)?,
        parent: Pid::from_raw(parent)?,
        zombie: matches!(state, "Z" | "X"),
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn stat_lines() {
        let process = parse_stat(7, b"7 (a) b (c) S 3 7 7 0 -1").unwrap();
        assert_eq!(
            (
                process.pid.as_raw_nonzero().get(),
                process.parent.as_raw_nonzero().get()
            ),
            (7, 3)
        );
        assert!(!process.zombie);
        assert!(parse_stat(7, b"7 (x) Z 3 7").unwrap().zombie);
        assert!(
            parse_stat(7, b"7 (x) S 0 7").is_none(),
            "no parent: nothing of ours"
        );
        assert!(parse_stat(7, b"").is_none());
    }

    #[test]
    fn only_what_carries_the_whole_mark_is_found() {
        let start = |value: &str| {
            let mut command = Command::new("sleep");
            command
                .arg("600")
                .env(MARK, value)
                .stdin(Stdio::null())
                .spawn()
                .unwrap()
        };
        let mark = format!("http://127.0.0.1/{}/sweep", std::process::id());
        let (mut marked, mut other) = (start(&mark), start(&format!("{mark}-other")));

        Sweep::new(None, Some(&mark)).run(|| ());

        let ended = marked.wait().unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&ended),
            Some(9)
        );
        assert!(
            other.try_wait().unwrap().is_none(),
            "another container's process was ended"
        );
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(
            Sweep::new(None, Some("")).mark.is_none(),
            "an empty mark would match strangers"
        );
    }
}
