//! stdin and stdout as the other side of a copy.

use std::io::{self, Read};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::writer::{Stream, Writers};

/// One read.
const PIECE: usize = 64 * 1024;
/// Pieces on their way.
const PIECES: usize = 4;

/// Our stdin. A read cannot be cancelled, so a thread does it that ends with the process.
pub(super) fn stdin() -> mpsc::Receiver<io::Result<Bytes>> {
    let (pieces, read) = mpsc::channel(PIECES);
    std::thread::spawn(move || {
        let mut buffer = vec![0; PIECE];
        loop {
            match io::stdin().lock().read(&mut buffer) {
                Ok(0) => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let _ = pieces.blocking_send(Err(error));
                    return;
                }
                Ok(length) => {
                    let piece = Bytes::copy_from_slice(&buffer[..length]);
                    if pieces.blocking_send(Ok(piece)).is_err() {
                        return;
                    }
                }
            }
        }
    });
    read
}

/// Our stdout: what is sent there, and what becomes of it.
pub(super) fn stdout() -> io::Result<(mpsc::Sender<Bytes>, impl Future<Output = io::Result<()>>)> {
    let (pieces, mut read) = mpsc::channel(PIECES);
    let mut writers = Writers::start()?;
    Ok((pieces, async move {
        while let Some(piece) = read.recv().await {
            let mut piece = Some((Stream::Stdout, piece));
            writers.write(&mut piece).await?;
        }
        writers.finish().await
    }))
}
