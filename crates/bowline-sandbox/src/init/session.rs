//! The init of a session in an isolated task or a container of an engine: one command where a container runs.
//!
//! It goes into the container's namespaces, starts the command, on a terminal of that namespace or with the outputs
//! it was given, and tells how it ended. What the command leaves running stays until the container ends, as with the real
//! agent; when the sandbox's end of the socket closes, the command is killed.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{fs, io};

use rustix::process::{Pid, PidfdFlags, Signal};
use rustix::thread::ThreadNameSpaceType;
use serde::{Deserialize, Serialize};
use tokio::io::{BufReader, Lines};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::signal::unix::{SignalKind, signal};

use super::{Report, Start, forward, reap, report, root};
use crate::{fds, image, terminal};

/// Where and how to run a command.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Session {
    /// The number of a process of the container, as this init sees it.
    pub(crate) container: i32,
    pub(crate) entry: Entry,
    pub(crate) kind: Kind,
}

/// What of a container a session enters.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// Its files; everything else is the task's, and the init is there already.
    Files,
    /// Everything in which it differs from this machine.
    Container,
}

/// What a command has for its output, and what ends with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// A terminal; the other side of it comes with [`Report::Started`].
    Terminal,
    /// Our own stdout and stderr.
    Pipes,
    /// The same, and its whole process group is killed if it is.
    Check,
}

/// Runs it to its end.
pub(super) async fn serve(
    mut requests: Lines<BufReader<OwnedReadHalf>>,
    mut reports: OwnedWriteHalf,
    start: &Start,
    session: Session,
) -> io::Result<()> {
    rustix::thread::set_name(c"session-init")?;
    let mut children = signal(SignalKind::child())?;
    let begun = enter(session).and_then(|()| execute(start, session.kind));
    let (main, terminal) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            let number = error.raw_os_error().unwrap_or_default();
            return report(&mut reports, &Report::Refused(number)).await;
        }
    };
    let files: Vec<_> = terminal.iter().map(AsFd::as_fd).collect();
    fds::send(reports.as_ref(), &Report::Started, &files).await?;
    // The ends of its outputs are seen by others only when we do not hold them.
    drop(terminal);
    let nowhere = fs::OpenOptions::new().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&nowhere)?;
    rustix::stdio::dup2_stderr(&nowhere)?;

    let mut end = None;
    while end.is_none() {
        // All are cancel-safe: `Lines::next_line` keeps a partial line, signals are only counted.
        tokio::select! {
            line = requests.next_line() => match line {
                Ok(Some(line)) => forward(main, &line),
                Ok(None) | Err(_) => {
                    // It may have ended already.
                    let _ = match session.kind {
                        Kind::Check => rustix::process::kill_process_group(main, Signal::KILL),
                        Kind::Terminal | Kind::Pipes => rustix::process::kill_process(main, Signal::KILL),
                    };
                    return Ok(());
                }
            },
            _ = children.recv() => reap(main, &mut end),
        }
    }
    match end {
        Some(end) => report(&mut reports, &end).await,
        None => Ok(()),
    }
}

/// Goes where the container is, with what its processes may do.
fn enter(session: Session) -> io::Result<()> {
    let container = Pid::from_raw(session.container).ok_or(rustix::io::Errno::SRCH)?;
    let process = rustix::process::pidfd_open(container, PidfdFlags::empty())?;
    let kinds = match session.entry {
        Entry::Files => ThreadNameSpaceType::MOUNT,
        Entry::Container => others(session.container)?,
    };
    rustix::thread::move_into_thread_name_spaces(process.as_fd(), kinds)?;
    root::drop_capabilities()
}

/// The namespaces that a process has not in common with us. Who enters them all at once needs no right to any but those
/// of the user namespace among them (setns(2)); commands are in the one for processes, this init is not.
fn others(process: i32) -> io::Result<ThreadNameSpaceType> {
    let kinds = [
        ("user", ThreadNameSpaceType::USER),
        ("mnt", ThreadNameSpaceType::MOUNT),
        ("pid", ThreadNameSpaceType::PROCESS_ID),
        ("ipc", ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION),
        ("uts", ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME),
        ("cgroup", ThreadNameSpaceType::CONTROL_GROUP),
        ("net", ThreadNameSpaceType::NETWORK),
    ];
    let mut found = ThreadNameSpaceType::empty();
    for (name, kind) in kinds {
        let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/{name}"));
        if of(&process.to_string())? != of("self")? {
            found |= kind;
        }
    }
    Ok(found)
}

fn execute(start: &Start, kind: Kind) -> io::Result<(Pid, Option<OwnedFd>)> {
    let (program, arguments) = start.argv.split_first().ok_or(io::ErrorKind::NotFound)?;
    let file = image::locate(start.programs.as_deref(), &start.directory, program);
    let file = file.ok_or(rustix::io::Errno::NOENT)?;
    match kind {
        Kind::Terminal => on_terminal(start, &file, program, arguments),
        Kind::Pipes | Kind::Check => {
            let child = Command::new(file)
                .arg0(program)
                .args(arguments)
                .env_clear()
                .envs(variables(start))
                .current_dir(&start.directory)
                .process_group(0)
                .stdin(Stdio::null())
                .spawn()?;
            Ok((Pid::from_child(&child), None))
        }
    }
}

fn on_terminal(
    start: &Start,
    file: &PathBuf,
    program: &str,
    arguments: &[String],
) -> io::Result<(Pid, Option<OwnedFd>)> {
    let (pty, pts) = pty_process::blocking::open().map_err(terminal::plain)?;
    let child = pty_process::blocking::Command::new(file)
        .arg0(program)
        .args(arguments)
        .env_clear()
        .envs(variables(start))
        .current_dir(&start.directory)
        .spawn(pts)
        .map_err(terminal::plain)?;
    let far = pty.as_fd().try_clone_to_owned()?;
    Ok((Pid::from_child(&child), Some(far)))
}

fn variables(start: &Start) -> impl Iterator<Item = (&str, &str)> {
    let variables = start.environment.iter();
    variables.map(|(name, value)| (name.as_str(), value.as_str()))
}
