//! A command on a pseudo-terminal, started as the agent does it.

use std::io;

use bytes::BytesMut;
use pty_process::{OwnedReadPty, OwnedWritePty};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;

use bowline_proto::Size;

use crate::image::{self, Place};
use crate::init;

/// One read of a terminal never gives more than this.
const READ: usize = 4096;

/// A running command and the far side of its terminal.
pub(crate) struct Terminal {
    child: Child,
    input: OwnedWritePty,
    output: OwnedReadPty,
}

impl Terminal {
    /// Starts `words` on a terminal of size 0×0. The error is the agent's text.
    pub(crate) fn start(words: &[String], place: &Place) -> Result<Self, String> {
        let Some((program, arguments)) = words.split_first() else {
            return Err("Commands cannot be empty".to_owned());
        };
        let failed = |reason: String| format!("Failed to start pty: {reason}");
        if program.is_empty() {
            return Err(failed("exec: no command".to_owned()));
        }
        let file = image::locate(place.programs.as_deref(), &place.directory, program);
        let file = file.ok_or_else(|| failed(failure(program, &io::ErrorKind::NotFound.into())))?;
        let (pty, pts) = pty_process::open().map_err(|error| failed(error.to_string()))?;
        let child = pty_process::Command::new(file)
            .arg0(program)
            .args(arguments)
            .env_clear()
            .envs(variables(place))
            .current_dir(&place.directory)
            .kill_on_drop(true)
            .spawn(pts)
            .map_err(|error| {
                failed(match &error {
                    pty_process::Error::Io(error) => failure(program, error),
                    pty_process::Error::Rustix(error) => failure(program, &(*error).into()),
                    _ => error.to_string(),
                })
            })?;
        let (output, input) = pty.into_split();
        Ok(Self {
            child,
            input,
            output,
        })
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
        let Self {
            input: writer,
            output: reader,
            ..
        } = self;
        let write = async {
            match input {
                Some(bytes) => writer.write(bytes).await,
                None => std::future::pending().await,
            }
        };
        let read = async {
            let Some((buffer, limit, greedy)) = output else {
                return std::future::pending().await;
            };
            buffer.reserve(READ);
            let mut read = reader.read_buf(buffer).await.unwrap_or(0);
            while greedy && read > 0 && buffer.len() + READ <= limit {
                buffer.reserve(READ);
                match futures_util::FutureExt::now_or_never(reader.read_buf(buffer)) {
                    Some(Ok(more)) if more > 0 => read += more,
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
        let size = pty_process::Size::new(cut(size.rows), cut(size.cols));
        if let Err(error) = self.input.resize(size) {
            tracing::debug!(%error, "cannot resize the terminal");
        }
    }

    /// SIGKILL for the direct child; dropping the terminal hangs up on the rest.
    pub(crate) fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.start_kill();
    }

    /// Takes the exit status from the system if there is one, so that no zombie stays.
    pub(crate) fn reap(&mut self) {
        let _ = self.child.try_wait();
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

/// The environment of a command: the container's, plus TERM and LANG as the agent adds them.
pub(crate) fn variables(place: &Place) -> Vec<(&str, &str)> {
    let mut variables: Vec<(&str, &str)> = place
        .environment
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
