//! Lines on a unix socket, and open files that come with them (`SCM_RIGHTS`): how a sandbox talks with the processes that
//! stand in a task's namespaces.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use tokio::io::Interest;
use tokio::net::UnixStream;

/// Files that come with one line at most.
pub(crate) const FILES: usize = 3;
/// The longest line: an environment is 64 KiB at most in ECS, and JSON may make six letters of one.
const LONGEST: usize = 1 << 20;
const READ: usize = 16 * 1024;

/// One end of a socket, read by lines.
#[derive(Debug)]
pub(crate) struct Lines {
    stream: UnixStream,
    buffer: Vec<u8>,
    /// Those of the lines that were read, in their order.
    files: VecDeque<OwnedFd>,
}

impl Lines {
    /// A new socket pair: our end, and the other for a process.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        Ok((Self::new(UnixStream::from_std(ours)?), theirs.into()))
    }

    pub(crate) fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            files: VecDeque::new(),
        }
    }

    /// The next line without its end; `None` when the other end is closed. Cancel-safe.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
                line.pop();
                return Ok(Some(line));
            }
            if self.buffer.len() > LONGEST {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let Self {
                stream,
                buffer,
                files,
            } = self;
            let read = stream
                .async_io(Interest::READABLE, || receive(&*stream, buffer, files))
                .await?;
            if read == 0 {
                return Ok(None);
            }
        }
    }

    /// The oldest file that came and was not taken.
    pub(crate) fn file(&mut self) -> Option<OwnedFd> {
        self.files.pop_front()
    }

    /// Writes a line, with copies of these files.
    pub(crate) async fn send(
        &self,
        message: &impl Serialize,
        files: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        send(&self.stream, message, files).await
    }

    /// The same without waiting and without files: what does not fit is lost.
    pub(crate) fn try_send(&self, message: &impl Serialize) -> io::Result<()> {
        let line = line(message)?;
        self.stream.try_write(&line).map(drop)
    }

    /// Tells the other end that no more lines come; its own can still be read.
    pub(crate) fn finish(&self) {
        // It may be gone already.
        let _ = rustix::net::shutdown(&self.stream, rustix::net::Shutdown::Write);
    }
}

/// Writes a line to a socket, with copies of these files.
pub(crate) async fn send(
    stream: &UnixStream,
    message: &impl Serialize,
    files: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let line = line(message)?;
    let mut files = files;
    let mut rest = &line[..];
    while !rest.is_empty() {
        let sent = stream
            .async_io(Interest::WRITABLE, || transmit(stream, rest, files))
            .await?;
        rest = &rest[sent..];
        files = &[];
    }
    Ok(())
}

/// A message as JSON, with the end of the line.
pub(crate) fn line(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

fn transmit(stream: impl AsFd, bytes: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = sendmsg(
        stream,
        &[IoSlice::new(bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    Ok(sent)
}

fn receive(
    stream: impl AsFd,
    buffer: &mut Vec<u8>,
    files: &mut VecDeque<OwnedFd>,
) -> io::Result<usize> {
    let mut bytes = [0; READ];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        stream,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            files.extend(rights);
        }
    }
    buffer.extend_from_slice(&bytes[..received.bytes]);
    Ok(received.bytes)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[tokio::test]
    async fn lines_come_whole_and_with_their_files() {
        let (mut ours, theirs) = Lines::pair().unwrap();
        let theirs = StdUnixStream::from(theirs);
        theirs.set_nonblocking(true).unwrap();
        let theirs = Lines::new(UnixStream::from_std(theirs).unwrap());

        let (mut reader, writer) = io::pipe().unwrap();
        let long = "x".repeat(40_000);
        theirs.send(&long, &[]).await.unwrap();
        theirs.send(&"file", &[writer.as_fd()]).await.unwrap();
        drop((theirs, writer));

        let first = ours.next().await.unwrap().unwrap();
        assert_eq!(serde_json::from_slice::<String>(&first).unwrap(), long);
        assert_eq!(ours.next().await.unwrap().unwrap(), b"\"file\"");
        let mut copy = std::fs::File::from(ours.file().unwrap());
        copy.write_all(b"through").unwrap();
        drop(copy);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
        assert!(ours.file().is_none());
        assert_eq!(ours.next().await.unwrap(), None, "the other end is closed");
    }
}
