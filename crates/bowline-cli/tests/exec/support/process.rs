//! Processes as the kernel shows them.

use std::process::Command;

use super::{SOON, wait_for};

/// Sends a signal to one process.
pub(crate) fn signal(pid: u32, name: &str) {
    let status = Command::new("/bin/sh")
        .args(["-c", "kill -s \"$0\" \"$1\"", name, &pid.to_string()])
        .status();
    assert!(status.unwrap().success(), "kill -s {name} {pid}");
}

/// A process as the kernel names it: its id and when it started, so that a reused id is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    parent: u32,
    began: String,
}

impl Process {
    /// The running process with this id.
    pub(crate) fn find(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything; the state follows its last parenthesis.
        let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
        let gone = matches!(fields[0], "Z" | "X");
        (!gone).then(|| Self {
            pid,
            parent: fields[1].parse().unwrap(),
            began: fields[19].to_owned(),
        })
    }

    /// All processes below this one.
    pub(crate) fn descendants(root: u32) -> Vec<Self> {
        let all: Vec<Self> = std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
            .filter_map(Self::find)
            .collect();
        let mut found: Vec<Self> = Vec::new();
        let mut parents = vec![root];
        while let Some(parent) = parents.pop() {
            for process in all.iter().filter(|process| process.parent == parent) {
                parents.push(process.pid);
                found.push(process.clone());
            }
        }
        found
    }

    pub(crate) fn is_running(&self) -> bool {
        Self::find(self.pid).is_some_and(|now| now.began == self.began)
    }

    #[track_caller]
    pub(crate) fn wait_gone(&self) {
        wait_for(&format!("process {} gone", self.pid), SOON, || {
            (!self.is_running()).then_some(())
        });
    }
}
