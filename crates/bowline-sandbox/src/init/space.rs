//! What stands in a task's namespaces as long as the task: two processes of this binary.
//!
//! The first makes the namespaces and waits. The second is the first process of the PID namespace, so that all others
//! end with it; it starts the inits of containers and sessions where the sandbox cannot, and opens sockets in the
//! task's network for it. A namespace has no other door: whoever wants something inside asks here. Both end when the
//! sandbox's end of the socket closes, or with each other.
//!
//! No thread may exist while namespaces are made, and the process that makes a PID namespace is not in it. Hence two
//! processes, and nothing of tokio in the first.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddrV4, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Signal, WaitOptions};
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use super::{link, system_text};
use crate::fds::{self, Lines};

/// The word after the hidden subcommand for the first process.
pub(crate) const OUTER: &str = "space";
/// The word for the second.
pub(super) const INNER: &str = "space-init";

/// What the sandbox says once the ids of the user namespace are mapped.
#[derive(Serialize, Deserialize)]
pub(crate) struct Go {
    pub(crate) hostname: String,
}

/// What the sandbox asks for inside.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ask {
    /// The answer has it too: whoever asked may have gone meanwhile.
    pub(crate) id: u64,
    pub(crate) what: What,
}

/// The kinds of [`Ask`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum What {
    /// An init, with the three files of the line as its stdin, stdout and stderr.
    Init,
    /// A TCP socket of the task's network.
    Socket,
    /// One that listens.
    Listener(SocketAddrV4),
}

/// What comes back.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// There is a user namespace, and its ids are still to be mapped.
    Unmapped,
    /// All namespaces are there, and [`Ask`] is answered.
    Ready,
    /// Why there are none; nothing follows.
    Failed(String),
    /// The answer to an [`Ask`]; a socket comes as the file of the line.
    Done { id: u64, done: Done },
}

/// How an [`Ask`] went.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Done {
    /// The init's number in the PID namespace.
    Init(i32),
    Socket,
    /// The system's number of the error.
    Refused(i32),
}

/// The first process. Its stdin is the socket.
pub(super) fn outer() -> io::Result<()> {
    let mut socket = StdUnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    rustix::thread::set_name(c"task-space")?;
    // A Ctrl-C at the sandbox's terminal is for the sandbox.
    rustix::process::setsid()?;
    match make(&mut socket) {
        Ok(mut child) => child.wait().map(drop),
        Err(reason) => {
            socket.write_all(&fds::line(&Answer::Failed(reason))?)?;
            Ok(())
        }
    }
}

fn make(socket: &mut StdUnixStream) -> Result<std::process::Child, String> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| format!("{what}: {}", system_text(&error))
    };
    unshare(UnshareFlags::NEWUSER).map_err(failed("cannot make a user namespace"))?;
    let lost = failed("the sandbox is gone");
    let told = fds::line(&Answer::Unmapped).and_then(|line| socket.write_all(&line));
    told.map_err(&lost)?;
    let mut line = String::new();
    // Nothing follows until we are ready, so the reader cannot take what is for the second process.
    BufReader::new(&mut *socket)
        .read_line(&mut line)
        .map_err(&lost)?;
    let go: Go = serde_json::from_str(&line).map_err(|error| lost(error.into()))?;

    let flags = UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWIPC;
    unshare(flags).map_err(failed("cannot make namespaces"))?;
    rustix::system::sethostname(go.hostname.as_bytes())
        .map_err(|error| failed("cannot set the host name")(error.into()))?;
    link::raise_loopback().map_err(failed("cannot raise the loopback interface"))?;
    mount_change(
        "/",
        MountPropagationFlags::REC | MountPropagationFlags::PRIVATE,
    )
    .map_err(|error| failed("cannot make the mounts private")(error.into()))?;
    // Descriptors of stdin are shared with the child as they are.
    let mut command = own_command(1, Some(INNER));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
        .spawn()
        .map_err(failed("cannot start the first process"))
}

/// Leaves namespaces for new ones.
pub(super) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    #[expect(
        deprecated,
        reason = "only sharing of descriptors between threads makes it unsound, and FILES is never among the flags"
    )]
    let done = rustix::thread::unshare(flags);
    Ok(done?)
}

/// This binary again, with the arguments that led here, where the last `words` give way to `word`. The environment
/// is empty.
fn own_command(words: usize, word: Option<&str>) -> Command {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let kept = arguments.len().saturating_sub(words);
    // The link works also where the file is not to be seen, or was replaced.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("bowline").args(&arguments[..kept]).args(word);
    command.env_clear();
    command
}

/// The second process, number 1 of the PID namespace.
pub(super) async fn inner() -> io::Result<()> {
    // Whoever ends the first process ends the task.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::thread::set_name(c"task-init")?;
    let mut lines = Lines::new(super::control_socket()?);
    let mut children = signal(SignalKind::child())?;
    lines.send(&Answer::Ready, &[]).await?;
    loop {
        // Both are cancel-safe: see there, and signals are only counted.
        tokio::select! {
            line = lines.next() => match line? {
                Some(line) => answer(&mut lines, &line).await?,
                // With us everything else in the PID namespace ends.
                None => return Ok(()),
            },
            _ = children.recv() => {
                while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
            }
        }
    }
}

async fn answer(lines: &mut Lines, line: &[u8]) -> io::Result<()> {
    let Ask { id, what } = serde_json::from_slice(line)?;
    let (done, file) = match perform(lines, &what) {
        Ok((done, file)) => (done, file),
        Err(error) => {
            // Everything here is a call of the system.
            let number = error.raw_os_error().unwrap_or_default();
            (Done::Refused(number), None)
        }
    };
    let files: Vec<_> = file.iter().map(AsFd::as_fd).collect();
    lines.send(&Answer::Done { id, done }, &files).await
}

fn perform(lines: &mut Lines, what: &What) -> io::Result<(Done, Option<OwnedFd>)> {
    match what {
        What::Init => {
            let mut file = || lines.file().ok_or(io::ErrorKind::InvalidInput);
            let (input, output, errors) = (file()?, file()?, file()?);
            let mut command = own_command(1, None);
            command.stdin(input).stdout(output).stderr(errors);
            let child = command.spawn()?;
            Ok((Done::Init(child.id().try_into().unwrap_or_default()), None))
        }
        What::Socket => {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket =
                rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
            Ok((Done::Socket, Some(socket)))
        }
        What::Listener(address) => {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok((Done::Socket, Some(listener.into())))
        }
    }
}
