//! One local connection: a task that carries bytes between it and the session's.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::listener::Duplex;

// Tuning.
/// Pieces on their way to a connection.
pub(super) const PIECES: usize = 4;
/// One read.
const READ: usize = 16 * 1024;
/// After the remote end: for the local one to see it and to go away. What it still sends is dropped; were the connection
/// closed before, it could lose what it has not read.
const FAREWELL: Duration = Duration::from_secs(2);

/// What comes of a connection.
#[derive(Debug)]
pub(super) enum FromLocal {
    Bytes(Bytes),
    /// Nothing more comes, but it may still read.
    HalfClosed,
    /// It is gone.
    Gone,
}

/// Carries to the end. `name` goes with everything that is told; `taken` is told of each piece that was written. The end
/// of `pieces` is the remote side's; `broken` means that it was no proper one.
pub(super) async fn converse<N: Copy>(
    name: N,
    stream: Box<dyn Duplex>,
    _held: Option<Arc<()>>,
    mut pieces: mpsc::Receiver<Bytes>,
    from_local: mpsc::Sender<(N, FromLocal)>,
    taken: mpsc::Sender<N>,
    broken: CancellationToken,
) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let proper = {
        let downward = async {
            loop {
                tokio::select! {
                    // What the remote side sent before it broke off is delivered first.
                    biased;
                    piece = pieces.recv() => {
                        let Some(piece) = piece else {
                            let proper = !broken.is_cancelled();
                            return proper && writer.shutdown().await.is_ok();
                        };
                        let written = tokio::select! {
                            written = writer.write_all(&piece) => written.is_ok(),
                            () = broken.cancelled() => false,
                        };
                        if !written || taken.send(name).await.is_err() {
                            return false;
                        }
                    }
                    () = broken.cancelled() => return false,
                }
            }
        };
        let upward = async {
            let mut buffer = BytesMut::new();
            loop {
                buffer.reserve(READ);
                let told = match reader.read_buf(&mut buffer).await {
                    Ok(0) => FromLocal::HalfClosed,
                    Ok(_) => FromLocal::Bytes(buffer.split().freeze()),
                    Err(_) => FromLocal::Gone,
                };
                let last = !matches!(told, FromLocal::Bytes(_));
                if from_local.send((name, told)).await.is_err() || last {
                    return;
                }
            }
        };
        let mut upward = std::pin::pin!(upward);
        let mut downward = std::pin::pin!(downward);
        let (proper, reads) = tokio::select! {
            () = &mut upward => (downward.await, false),
            proper = &mut downward => (proper, true),
        };
        if proper && reads {
            // It has its own limit; the session does not wait for it.
            let _ = timeout(FAREWELL, &mut upward).await;
        }
        proper
    };
    if !proper {
        // The session may be over.
        let _ = from_local.send((name, FromLocal::Gone)).await;
        reader.unsplit(writer).break_off();
    }
}
