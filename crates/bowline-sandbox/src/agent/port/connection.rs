//! One connection to the target: a task that carries bytes between it and the session's.

use std::future::Future;
use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::reach::Stream;

/// Pieces on their way to a target.
pub(super) const PIECES: usize = 4;

/// What comes of a connection.
#[derive(Debug)]
pub(super) enum FromTarget {
    Bytes(Bytes),
    /// It has ended, both ways: nobody reads there any more.
    End,
    /// There is none.
    Refused(io::Error),
}

/// Dials and carries, to the end of either side. `name` goes with everything that is told. `taken` is told of each
/// piece that the target took.
pub(super) async fn converse<N: Copy>(
    name: N,
    dialling: impl Future<Output = io::Result<Stream>>,
    mut pieces: mpsc::Receiver<Bytes>,
    from_target: mpsc::Sender<(N, FromTarget)>,
    taken: mpsc::Sender<N>,
    chunk: usize,
) {
    // Whoever is told may be gone: then the session is over, and with it this.
    let stream = match dialling.await {
        Ok(stream) => stream,
        Err(error) => {
            let _ = from_target.send((name, FromTarget::Refused(error))).await;
            return;
        }
    };
    let (mut reader, mut writer) = tokio::io::split(stream);
    let upward = async {
        while let Some(piece) = pieces.recv().await {
            if writer.write_all(&piece).await.is_err() || taken.send(name).await.is_err() {
                return;
            }
        }
        let _ = writer.shutdown().await;
    };
    let downward = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(chunk);
            let mut limited = (&mut reader).take(chunk as u64);
            let read = limited.read_buf(&mut buffer).await;
            let told = match read {
                Ok(0) | Err(_) => FromTarget::End,
                Ok(_) => FromTarget::Bytes(buffer.split().freeze()),
            };
            let ended = matches!(told, FromTarget::End);
            if from_target.send((name, told)).await.is_err() || ended {
                return;
            }
        }
    };
    // As in the reference, the end of one direction closes the whole.
    tokio::select! {
        () = upward => {
            let _ = from_target.send((name, FromTarget::End)).await;
        }
        () = downward => {}
    }
}
