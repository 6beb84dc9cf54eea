//! What an agent sees of the file system: the host's, but for its own state, its log and `/etc/hosts`.
//!
//! The real agent keeps its state and its sockets in one fixed folder, and looks for its programs' other processes
//! there, so two agents need two views. `unshare(1)` gives a process mounts of its own, and this makes the view from
//! inside before it becomes the agent; the commands of sessions have the same view. Runs as the container init's hidden
//! word, with the folder that [`super::program`] has prepared.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{MountFlags, mount, mount_bind_recursive};

/// The word after the hidden subcommand.
pub(crate) const WORD: &str = "agent-view";
/// The agent's program within the folder.
pub(super) const PROGRAM: &str = "amazon-ssm-agent";
/// Folders of the agent that nothing can move, and where they lie within the prepared one.
pub(super) const FIXED: [(&str, &str); 2] = [
    ("/var/lib/amazon/ssm", "state"),
    ("/var/log/amazon/ssm", "log"),
];
/// Names, within the folder.
pub(super) const HOSTS: &str = "hosts";
/// Where the folders are kept that are rebuilt around what is not there.
const KEPT: &str = "kept";

/// Makes the view and becomes the agent; returns only with an error.
pub(crate) fn enter(mut arguments: impl Iterator<Item = OsString>) -> io::Result<()> {
    let folder = arguments.next().map(PathBuf::from);
    let folder = folder.ok_or_else(|| io::Error::other("agent-view wants a folder"))?;
    for (fixed, own) in FIXED {
        place(Path::new(fixed), &folder.join(own), &folder.join(KEPT)).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot make {fixed}: {error}"))
        })?;
    }
    let hosts = folder.join(HOSTS);
    if hosts.exists() && Path::new("/etc/hosts").exists() {
        mount_bind_recursive(&hosts, "/etc/hosts")?;
    }
    let program = folder.join(PROGRAM);
    Err(Command::new(&program).arg0(&program).exec())
}

/// Puts `own` in the place of `fixed`. A part of that path that is missing cannot be made on the host: its parent is
/// then rebuilt from what it holds, with the part in it.
fn place(fixed: &Path, own: &Path, kept: &Path) -> io::Result<()> {
    if !fixed.is_dir() {
        let there = fixed.ancestors().find(|part| part.is_dir());
        let there = there.ok_or(io::ErrorKind::NotFound)?;
        rebuild(there, &kept.join(own.file_name().unwrap_or_default()))?;
        std::fs::create_dir_all(fixed)?;
    }
    mount_bind_recursive(own, fixed)?;
    Ok(())
}

/// The same folder once more, in memory, with everything in it still being the host's.
fn rebuild(folder: &Path, kept: &Path) -> io::Result<()> {
    std::fs::create_dir_all(kept)?;
    mount_bind_recursive(folder, kept)?;
    mount("tmpfs", folder, "tmpfs", MountFlags::NOSUID, c"mode=0755")?;
    for entry in kept.read_dir()? {
        let entry = entry?;
        let (from, to) = (entry.path(), folder.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            std::os::unix::fs::symlink(from.read_link()?, to)?;
            continue;
        }
        if kind.is_dir() {
            std::fs::create_dir(&to)?;
        } else {
            std::fs::write(&to, "")?;
        }
        mount_bind_recursive(&from, &to)?;
    }
    Ok(())
}
