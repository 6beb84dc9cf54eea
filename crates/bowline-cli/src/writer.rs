//! Our stdout and stderr while a command runs: each has a thread of its own, so that a reader that is slow or stopped
//! holds up neither the other stream nor signals.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::thread;

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::{mpsc, oneshot};

/// Pieces on their way to the thread; each is up to 64 KiB.
const PIECES: usize = 4;

/// One of our two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Data.
    Stdout,
    /// The remote command's other stream.
    Stderr,
}

/// Both outputs.
#[derive(Debug)]
pub(crate) struct Writers {
    stdout: Writer,
    stderr: Writer,
}

#[derive(Debug)]
struct Writer {
    pieces: mpsc::Sender<Bytes>,
    ended: oneshot::Receiver<io::Result<()>>,
}

impl Writers {
    /// Starts the threads. They end with this or with the process, whichever is first.
    pub(crate) fn start() -> io::Result<Self> {
        Ok(Self {
            stdout: Writer::start(io::stdout().as_fd().try_clone_to_owned()?),
            stderr: Writer::start(io::stderr().as_fd().try_clone_to_owned()?),
        })
    }

    /// Queues a piece, which is taken out of `piece`. Cancel-safe. The error is what became of an earlier piece.
    pub(crate) async fn write(&mut self, piece: &mut Option<(Stream, Bytes)>) -> io::Result<()> {
        let Some((stream, _)) = piece else {
            return Ok(());
        };
        let writer = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let Ok(permit) = writer.pieces.reserve().await else {
            return writer.outcome().await;
        };
        if let Some((_, bytes)) = piece.take() {
            permit.send(bytes);
        }
        Ok(())
    }

    /// Waits until everything is written.
    pub(crate) async fn finish(self) -> io::Result<()> {
        let Self { stdout, stderr } = self;
        stdout.finish().await.and(stderr.finish().await)
    }
}

impl Writer {
    fn start(to: OwnedFd) -> Self {
        let (pieces, mut queue) = mpsc::channel::<Bytes>(PIECES);
        let (outcome, ended) = oneshot::channel();
        // A write cannot be cancelled, so this is not awaited: it ends with the queue, an error or the process.
        thread::spawn(move || {
            let mut to = File::from(to);
            let mut result = Ok(());
            while let Some(piece) = queue.blocking_recv() {
                result = write_all(&mut to, &piece);
                if result.is_err() {
                    break;
                }
            }
            // Nobody may be left to hear it.
            let _ = outcome.send(result);
        });
        Self { pieces, ended }
    }

    async fn outcome(&mut self) -> io::Result<()> {
        let gone = || Err(io::Error::other("the writing thread is gone"));
        (&mut self.ended).await.unwrap_or_else(|_| gone())
    }

    async fn finish(mut self) -> io::Result<()> {
        let (closed, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut self.pieces, closed));
        self.outcome().await
    }
}

/// Writes all of it, also to a descriptor that somebody else made non-blocking.
fn write_all(to: &mut File, mut piece: &[u8]) -> io::Result<()> {
    while !piece.is_empty() {
        match to.write(piece) {
            Ok(count) => piece = piece.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(&*to, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use rustix::fs::{OFlags, fcntl_setfl};

    use super::*;

    #[tokio::test]
    async fn a_non_blocking_pipe_takes_everything_and_a_closed_one_is_an_error() {
        let (mut reader, writer) = io::pipe().unwrap();
        let writer = OwnedFd::from(writer);
        fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
        let output = Writer::start(writer);
        let piece = Bytes::from(vec![b'x'; 1_000_000]);
        output.pieces.send(piece.clone()).await.unwrap();
        let reading = thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all)
        });
        output.finish().await.unwrap();
        assert_eq!(reading.join().unwrap().unwrap(), piece);

        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let output = Writer::start(writer.into());
        output.pieces.send(piece).await.unwrap();
        assert_eq!(
            output.finish().await.unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
    }
}
