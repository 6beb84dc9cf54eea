//! The demo database `db.demo.internal:5432`: it answers only behind the dialer of a task, and has no port on this machine.
//!
//! It speaks as much of PostgreSQL's protocol (version 3) as psql needs to log in and be answered: every query has one row
//! with one column.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio_util::task::AbortOnDropHandle;

/// Its name and port.
pub(crate) const HOST: &str = "db.demo.internal";
pub(crate) const PORT: u16 = 5432;

/// Bytes on their way, each way.
const PIPE: usize = 64 * 1024;
/// The longest message it takes.
const LONGEST: usize = 1 << 20;
/// In place of a protocol version: does it speak TLS, or GSSAPI? It does not.
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;

/// A connection to it, through a task.
pub(crate) fn connect(task: &str) -> Connected {
    let (ours, theirs) = tokio::io::duplex(PIPE);
    let answer = format!("hello from {HOST} through task {task}");
    let task = tokio::spawn(async move {
        // A client that breaks off is its own affair.
        let _ = serve(theirs, &answer).await;
    });
    Connected {
        stream: ours,
        _task: AbortOnDropHandle::new(task),
    }
}

/// The client's end of a connection. Without it there is nobody to answer.
pub(crate) struct Connected {
    stream: DuplexStream,
    _task: AbortOnDropHandle<()>,
}

impl AsyncRead for Connected {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connected {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

async fn serve(mut stream: DuplexStream, answer: &str) -> io::Result<()> {
    loop {
        let mut startup = message(&mut stream).await?;
        match startup.remaining() >= 4 {
            true => match startup.get_u32() {
                SSL_REQUEST | GSS_REQUEST => stream.write_all(b"N").await?,
                _ => break,
            },
            false => return Ok(()),
        }
    }
    let mut out = BytesMut::new();
    put(&mut out, b'R', |body| body.put_u32(0));
    for (name, value) in [
        ("server_version", "17.0 (bowline demo)"),
        ("server_encoding", "UTF8"),
        ("client_encoding", "UTF8"),
        ("standard_conforming_strings", "on"),
    ] {
        put(&mut out, b'S', |body| {
            text(body, name);
            text(body, value);
        });
    }
    ready(&mut out);
    loop {
        stream.write_all_buf(&mut out).await?;
        match stream.read_u8().await? {
            b'Q' => {
                message(&mut stream).await?;
                row(&mut out, answer);
                ready(&mut out);
            }
            b'X' => return Ok(()),
            _ => {
                message(&mut stream).await?;
                put(&mut out, b'E', |body| {
                    for (field, value) in [
                        ("S", "ERROR"),
                        ("C", "0A000"),
                        ("M", "the demo database knows simple queries only"),
                    ] {
                        body.put_slice(field.as_bytes());
                        text(body, value);
                    }
                    body.put_u8(0);
                });
                ready(&mut out);
            }
        }
    }
}

/// The body of a message that begins with its length.
async fn message(stream: &mut DuplexStream) -> io::Result<BytesMut> {
    let length = stream.read_u32().await? as usize;
    if !(4..=LONGEST).contains(&length) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = BytesMut::zeroed(length - 4);
    stream.read_exact(&mut body).await?;
    Ok(body)
}

fn row(out: &mut BytesMut, answer: &str) {
    put(out, b'T', |body| {
        body.put_u16(1);
        text(body, "answer");
        body.put_u32(0);
        body.put_u16(0);
        // text
        body.put_u32(25);
        body.put_i16(-1);
        body.put_i32(-1);
        body.put_u16(0);
    });
    put(out, b'D', |body| {
        body.put_u16(1);
        body.put_u32(u32::try_from(answer.len()).unwrap_or(0));
        body.put_slice(answer.as_bytes());
    });
    put(out, b'C', |body| text(body, "SELECT 1"));
}

fn ready(out: &mut BytesMut) {
    put(out, b'Z', |body| body.put_u8(b'I'));
}

fn text(body: &mut BytesMut, text: &str) {
    body.put_slice(text.as_bytes());
    body.put_u8(0);
}

fn put(out: &mut BytesMut, kind: u8, fill: impl FnOnce(&mut BytesMut)) {
    let mut body = BytesMut::new();
    fill(&mut body);
    out.put_u8(kind);
    out.put_u32(u32::try_from(body.len() + 4).unwrap_or(u32::MAX));
    out.put_slice(&body);
}
