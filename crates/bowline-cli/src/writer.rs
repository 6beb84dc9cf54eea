//! Our stdout and stderr while a command runs: each has a thread of its own, so that a reader that is slow or stopped
//! holds up neither the other stream nor signals.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::{mpsc, oneshot};

/// Pieces on their way to the thread; each is up to 64 KiB.
const PIECES: usize = 4;
/// What Linux writes into a pipe as a whole or not at all (pipe(7)).
const PIPE_BUF: usize = 4096;

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
    /// Until it was said how it ended.
    ended: Option<oneshot::Receiver<io::Result<()>>>,
    written: Arc<AtomicU64>,
}

/// How many bytes of each output were written, also when the writers are gone.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    stdout: Arc<AtomicU64>,
    stderr: Arc<AtomicU64>,
}

impl Written {
    pub(crate) fn stdout(&self) -> u64 {
        self.stdout.load(Ordering::Acquire)
    }

    pub(crate) fn stderr(&self) -> u64 {
        self.stderr.load(Ordering::Acquire)
    }
}

impl Writers {
    /// Starts the threads. They end with this or with the process, whichever is first.
    pub(crate) fn start() -> io::Result<Self> {
        Self::with_writes_of(usize::MAX)
    }

    /// The same for whoever wants to know what was written also when the process ends in the middle of it: a pipe takes
    /// so few bytes as a whole or not at all, and more of them in part, uncounted.
    pub(crate) fn counting() -> io::Result<Self> {
        Self::with_writes_of(PIPE_BUF)
    }

    fn with_writes_of(most: usize) -> io::Result<Self> {
        Ok(Self {
            stdout: Writer::start(io::stdout().as_fd().try_clone_to_owned()?, most),
            stderr: Writer::start(io::stderr().as_fd().try_clone_to_owned()?, most),
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

    /// What was written, from now on.
    pub(crate) fn written(&self) -> Written {
        Written {
            stdout: Arc::clone(&self.stdout.written),
            stderr: Arc::clone(&self.stderr.written),
        }
    }

    /// Waits until everything is written.
    pub(crate) async fn finish(self) -> io::Result<()> {
        let Self { stdout, stderr } = self;
        stdout.finish().await.and(stderr.finish().await)
    }
}

impl Writer {
    fn start(to: OwnedFd, most: usize) -> Self {
        let (pieces, mut queue) = mpsc::channel::<Bytes>(PIECES);
        let (outcome, ended) = oneshot::channel();
        let written = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&written);
        // A write cannot be cancelled, so this is not awaited: it ends with the queue, an error or the process.
        thread::spawn(move || {
            let mut to = File::from(to);
            let mut result = Ok(());
            while let Some(piece) = queue.blocking_recv() {
                result = piece
                    .chunks(most)
                    .try_for_each(|bytes| write_all(&mut to, bytes, &count));
                if result.is_err() {
                    break;
                }
            }
            // Nobody may be left to hear it.
            let _ = outcome.send(result);
        });
        Self {
            pieces,
            ended: Some(ended),
            written,
        }
    }

    async fn outcome(&mut self) -> io::Result<()> {
        let gone = || Err(io::Error::other("the writing thread is gone"));
        let Some(ended) = &mut self.ended else {
            return gone();
        };
        let outcome = ended.await.unwrap_or_else(|_| gone());
        self.ended = None;
        outcome
    }

    async fn finish(mut self) -> io::Result<()> {
        let (closed, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut self.pieces, closed));
        self.outcome().await
    }
}

/// Writes all of it, also to a descriptor that somebody else made non-blocking.
fn write_all(to: &mut File, mut piece: &[u8], written: &AtomicU64) -> io::Result<()> {
    while !piece.is_empty() {
        match to.write(piece) {
            Ok(count) => {
                piece = piece.get(count..).unwrap_or_default();
                written.fetch_add(count as u64, Ordering::Release);
            }
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
        let output = Writer::start(writer, usize::MAX);
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
        let output = Writer::start(writer.into(), usize::MAX);
        output.pieces.send(piece).await.unwrap();
        assert_eq!(
            output.finish().await.unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
    }

    #[tokio::test]
    async fn an_error_that_was_told_is_no_trouble_at_the_end() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut output = Writer::start(writer.into(), usize::MAX);
        output.pieces.send(Bytes::from("x")).await.unwrap();
        output.pieces.closed().await;
        assert_eq!(
            output.outcome().await.unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
        assert!(output.finish().await.is_err());
    }
}
