//! A command on a pseudo-terminal, started as the agent does it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use bytes::BytesMut;
use rustix::fs::OFlags;
use rustix::termios::Winsize;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use bowline_proto::Size;

use crate::image::{self, Place};
use crate::init;
use crate::room::{Asked, Attached};

/// One read of a terminal never gives more than this.
const READ: usize = 4096;

/// A running command and the far side of its terminal.
pub(crate) struct Terminal {
    child: Attached,
    far: Far,
}

impl Terminal {
    /// Starts `words` on a terminal of size 0×0. The error is the agent's text.
    pub(crate) async fn start(words: &[String], place: &Place) -> Result<Self, String> {
        let Some((program, _)) = words.split_first() else {
            return Err("Commands cannot be empty".to_owned());
        };
        if program.is_empty() {
            return Err("Failed to start pty: exec: no command".to_owned());
        }
        let started = match &place.room {
            None => start_here(words, place),
            Some(room) => match room.run(words, place, Asked::Terminal).await {
                Ok((child, Some(terminal))) => Ok((Attached::Inside(child), terminal)),
                Ok((_, None)) => Err(io::ErrorKind::InvalidData.into()),
                Err(error) => Err(error),
            },
        };
        let begun = started.and_then(|(child, terminal)| {
            let far = Far::new(terminal)?;
            Ok(Self { child, far })
        });
        begun.map_err(|error| format!("Failed to start pty: {}", failure(program, &error)))
    }

    /// Waits until some of `input` can be written or something can be read into the buffer, and does it: as much as
    /// one read gives, or if `greedy` all that is there up to the limit.
    ///
    /// Cancel-safe: a write that did not complete wrote nothing, and what was read is in the buffer.
    pub(crate) async fn exchange(
        &mut self,
        input: Option<&[u8]>,
        output: Option<(&mut BytesMut, usize, bool)>,
    ) -> Exchange {
        let far = &self.far;
        let write = async {
            match input {
                Some(bytes) => far.write(bytes).await,
                None => std::future::pending().await,
            }
        };
        let read = async {
            let Some((buffer, limit, greedy)) = output else {
                return std::future::pending().await;
            };
            // At its end a terminal fails to be read.
            let mut read = far.read(buffer).await.unwrap_or(0);
            while greedy && read > 0 && buffer.len() + READ <= limit {
                match far.try_read(buffer) {
                    Ok(more) if more > 0 => read += more,
                    _ => break,
                }
            }
            read
        };
        tokio::select! {
            written = write => Exchange::Written(written),
            read = read => Exchange::Read(read),
        }
    }

    /// Sets the terminal's size; a value beyond what a terminal can have is cut.
    pub(crate) fn resize(&self, size: Size) {
        let cut = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
        let size = Winsize {
            ws_row: cut(size.rows),
            ws_col: cut(size.cols),
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        if let Err(error) = rustix::termios::tcsetwinsize(&self.far.0, size) {
            tracing::debug!(%error, "cannot resize the terminal");
        }
    }

    /// SIGKILL for the direct child; dropping the terminal hangs up on the rest.
    pub(crate) fn kill(&mut self) {
        self.child.kill();
    }

    /// Takes the exit status from the system if there is one, so that no zombie stays.
    pub(crate) fn reap(&mut self) {
        self.child.reap();
    }
}

/// What [`Terminal::exchange`] did.
#[derive(Debug)]
pub(crate) enum Exchange {
    /// So many bytes were taken.
    Written(io::Result<usize>),
    /// So many bytes came; zero is the end.
    Read(usize),
}

fn start_here(words: &[String], place: &Place) -> io::Result<(Attached, OwnedFd)> {
    let (program, arguments) = words.split_first().ok_or(io::ErrorKind::NotFound)?;
    let file = image::locate(place.programs.as_deref(), &place.directory, program);
    let file = file.ok_or(io::ErrorKind::NotFound)?;
    let (pty, pts) = pty_process::open().map_err(plain)?;
    let child = pty_process::Command::new(file)
        .arg0(program)
        .args(arguments)
        .env_clear()
        .envs(variables(&place.environment))
        .current_dir(&place.directory)
        .kill_on_drop(true)
        .spawn(pts)
        .map_err(plain)?;
    Ok((Attached::Here(child), pty.as_fd().try_clone_to_owned()?))
}

/// What went wrong, without the library's own kinds.
pub(crate) fn plain(error: pty_process::Error) -> io::Error {
    match error {
        pty_process::Error::Io(error) => error,
        pty_process::Error::Rustix(error) => error.into(),
        other => io::Error::other(other),
    }
}

/// The side of a terminal that its program does not see. No pipe of tokio: those take a short read for an empty buffer,
/// which a terminal's may be full behind it.
struct Far(AsyncFd<OwnedFd>);

impl Far {
    fn new(terminal: OwnedFd) -> io::Result<Self> {
        let flags = rustix::fs::fcntl_getfl(&terminal)?;
        rustix::fs::fcntl_setfl(&terminal, flags | OFlags::NONBLOCK)?;
        #[expect(
            deprecated,
            reason = "unsound for types that name a descriptor which they do not own; this one does"
        )]
        let terminal = AsyncFd::new(terminal)?;
        Ok(Self(terminal))
    }

    async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let write = |fd: &OwnedFd| Ok(rustix::io::write(fd, bytes)?);
        self.0.async_io(Interest::WRITABLE, write).await
    }

    /// One read, behind what is in the buffer.
    async fn read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        let read = |fd: &OwnedFd| take(fd, buffer);
        self.0.async_io(Interest::READABLE, read).await
    }

    /// The same of what is there already.
    fn try_read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        take(self.0.get_ref(), buffer)
    }
}

fn take(fd: &OwnedFd, buffer: &mut BytesMut) -> io::Result<usize> {
    let mut bytes = [0; READ];
    let read = rustix::io::read(fd, &mut bytes)?;
    buffer.extend_from_slice(&bytes[..read]);
    Ok(read)
}

/// The environment of a command: the container's, plus TERM and LANG as the agent adds them.
pub(crate) fn variables(environment: &[(String, String)]) -> Vec<(&str, &str)> {
    let mut variables: Vec<(&str, &str)> = environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    variables.push(("TERM", "xterm-256color"));
    let lang = |(name, value): &(&str, &str)| *name == "LANG" && !value.is_empty();
    if !variables.iter().any(lang) {
        variables.push(("LANG", "C.UTF-8"));
    }
    variables
}

/// Why a program did not start, in the words of the agent, which are those of its language's library.
pub(crate) fn failure(program: &str, error: &io::Error) -> String {
    let reason = match error.kind() {
        io::ErrorKind::NotFound if !program.contains('/') => {
            return format!("exec: \"{program}\": executable file not found in $PATH");
        }
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => init::system_text(error),
    };
    if program.contains('/') {
        format!("fork/exec {program}: {reason}")
    } else {
        format!("exec: \"{program}\": {reason}")
    }
}
