//! A command on a pseudo-terminal, started as the agent does it.

use std::io;
use std::path::Path;

use bytes::BytesMut;
use pty_process::{OwnedReadPty, OwnedWritePty};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;

use bowline_proto::Size;

/// One read of a terminal never gives more than this.
const READ: usize = 4096;

/// A running command and the far side of its terminal.
pub(crate) struct Terminal {
    child: Child,
    input: OwnedWritePty,
    output: OwnedReadPty,
}

impl Terminal {
    /// Starts `words` with exactly this environment (plus TERM and LANG, as the agent adds them) on a terminal of
    /// size 0×0. The error is the agent's text.
    pub(crate) fn start(
        words: &[String],
        environment: &[(String, String)],
        directory: &Path,
    ) -> Result<Self, String> {
        let Some((program, arguments)) = words.split_first() else {
            return Err("Commands cannot be empty".to_owned());
        };
        let lang = environment
            .iter()
            .any(|(name, value)| name == "LANG" && !value.is_empty());
        let (pty, pts) =
            pty_process::open().map_err(|error| format!("Failed to start pty: {error}"))?;
        let mut command = pty_process::Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .env("TERM", "xterm-256color")
            .current_dir(directory)
            .kill_on_drop(true);
        if !lang {
            command = command.env("LANG", "C.UTF-8");
        }
        let child = command
            .spawn(pts)
            .map_err(|error| failure(program, &error))?;
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

/// In the words of the agent, which are those of its language's library.
fn failure(program: &str, error: &pty_process::Error) -> String {
    let kind = match error {
        pty_process::Error::Io(error) => error.kind(),
        pty_process::Error::Rustix(error) => error.kind(),
        _ => io::ErrorKind::Other,
    };
    let reason = match kind {
        io::ErrorKind::NotFound if !program.contains('/') => {
            return format!(
                "Failed to start pty: exec: \"{program}\": executable file not found in $PATH"
            );
        }
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    if program.contains('/') {
        format!("Failed to start pty: fork/exec {program}: {reason}")
    } else {
        format!("Failed to start pty: exec: \"{program}\": {reason}")
    }
}
