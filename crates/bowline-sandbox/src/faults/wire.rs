//! A socket that loses its connection at a byte, and its pongs.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Direction;
use super::session::SocketFaults;

/// The opcode of a pong, without the bit for the end of a message.
const PONG: u8 = 0xa;

/// The server's end of a WebSocket connection after the upgrade, below the WebSocket's own frames.
pub(crate) struct Wire<S> {
    socket: S,
    faults: Arc<SocketFaults>,
    /// What is left of the WebSocket frame that is being written.
    rest: u64,
    /// That frame is a pong that shall not arrive.
    muted: bool,
}

impl<S> Wire<S> {
    pub(crate) fn new(socket: S, faults: Arc<SocketFaults>) -> Self {
        Self {
            socket,
            faults,
            rest: 0,
            muted: false,
        }
    }

    /// Reads the head of the frame that begins here; tungstenite writes whole frames from one buffer.
    fn begin(&mut self, bytes: &[u8]) {
        self.muted = bytes[0] & 0xf == PONG && self.faults.mutes_pongs();
        self.rest = frame_length(bytes);
    }
}

/// Servers do not mask.
fn frame_length(bytes: &[u8]) -> u64 {
    let number = |range: std::ops::Range<usize>| {
        let bytes = bytes.get(range).unwrap_or_default();
        bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    };
    match bytes.get(1).map(|length| length & 0x7f) {
        Some(126) => 4 + number(2..4),
        Some(127) => (10 + number(2..10)).max(1),
        Some(length) => 2 + u64::from(length),
        None => 1,
    }
}

fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let allowance = self.faults.allowance(Direction::Up);
        let allowance = usize::try_from(allowance).unwrap_or(usize::MAX);
        if allowance == 0 {
            // Also where the place was reached between two sockets.
            self.faults.carried(Direction::Up, 0);
            return Poll::Ready(Err(reset()));
        }
        let before = buffer.filled().len();
        if allowance < buffer.remaining() {
            let mut space = vec![0; allowance];
            let mut limited = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut self.socket).poll_read(context, &mut limited))?;
            buffer.put_slice(limited.filled());
        } else {
            ready!(Pin::new(&mut self.socket).poll_read(context, buffer))?;
        }
        let read = buffer.filled().len() - before;
        self.faults.carried(Direction::Up, read as u64);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let allowance = self.faults.allowance(Direction::Down);
        if allowance == 0 {
            self.faults.carried(Direction::Down, 0);
            return Poll::Ready(Err(reset()));
        }
        if self.rest == 0 {
            self.begin(bytes);
        }
        // With nothing to mute, whole buffers go out at once.
        let limit = match self.faults.mutes_pongs() || self.muted {
            true => self.rest.min(allowance),
            false => allowance,
        };
        let limit = usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let written = match self.muted {
            true => limit,
            false => ready!(Pin::new(&mut self.socket).poll_write(context, &bytes[..limit]))?,
        };
        let mut seen = 0;
        while seen < written {
            if self.rest == 0 {
                self.begin(&bytes[seen..]);
            }
            let step = usize::try_from(self.rest)
                .unwrap_or(usize::MAX)
                .min(written - seen);
            seen += step;
            self.rest -= step as u64;
        }
        if self.rest == 0 {
            self.muted = false;
        }
        if !self.muted {
            self.faults.carried(Direction::Down, written as u64);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::faults::Switch;
    use crate::faults::session::SessionFaults;

    fn wire(words: &str) -> (Wire<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
        let session = SessionFaults::new(Switch::new(words.parse().unwrap()), 0);
        let (near, far) = tokio::io::duplex(1 << 20);
        (Wire::new(near, SocketFaults::new(session)), far)
    }

    fn frame(kind: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![0x80 | kind];
        match length {
            0..126 => frame.push(length as u8),
            _ => {
                frame.push(126);
                frame.extend((length as u16).to_be_bytes());
            }
        }
        frame.resize(frame.len() + length, kind);
        frame
    }

    #[tokio::test]
    async fn pongs_are_left_out_and_everything_else_stays() {
        let (mut wire, mut far) = wire("no-pong");
        let (data, long, pong) = (frame(2, 5), frame(2, 300), frame(PONG, 9));
        let all = [&data[..], &pong, &long, &pong, &data].concat();
        wire.write_all(&all).await.unwrap();
        drop(wire);
        let mut received = Vec::new();
        far.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, [&data[..], &long, &data].concat());
    }

    #[tokio::test]
    async fn the_socket_is_lost_at_the_byte() {
        let (mut near, mut far) = wire("cut-down=byte:10,cut-up=byte:3");
        let written = near.write_all(&frame(2, 100)).await;
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert!(near.read_u8().await.is_err(), "it is lost both ways");
        drop(near);
        let mut received = Vec::new();
        far.read_to_end(&mut received).await.unwrap();
        assert_eq!(received.len(), 10);

        let (mut near, mut far) = wire("cut-up=byte:3");
        far.write_all(b"abcdef").await.unwrap();
        let mut received = Vec::new();
        let read = near.read_to_end(&mut received).await;
        assert_eq!((received.as_slice(), read.is_err()), (&b"abc"[..], true));
    }
}
