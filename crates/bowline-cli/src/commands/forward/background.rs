//! A forward in the background: asked and ended through a socket of its own.
//!
//! Whoever connects is told what is forwarded, as one line of JSON; `stop` is the answer that ends it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bowline::forward::ForwardEvent;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use super::report::Lines;
use crate::error::{CommandError, ErrorKind};

/// For one question.
const QUESTION: Duration = Duration::from_secs(5);
/// For a forward that was told to end.
const END: Duration = Duration::from_secs(15);

/// The end that forwards.
pub(super) struct Background {
    listener: UnixListener,
    path: PathBuf,
    forwards: Vec<Value>,
}

impl Background {
    /// Detaches from the terminal and listens.
    pub(super) fn start(path: &Path) -> Result<Self, CommandError> {
        // Not where it leads a group already, as when it was started by hand.
        let _ = rustix::process::setsid();
        // Whoever starts it has made sure that nobody serves it.
        let _ = std::fs::remove_file(path);
        let failed = |error: std::io::Error| {
            let text = format!("cannot listen on {}: {error}", path.display());
            CommandError::new(ErrorKind::Failed, text)
        };
        let listener = UnixListener::bind(path).map_err(failed)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            forwards: Vec::new(),
        })
    }

    /// Keeps what is to be told.
    pub(super) fn happened(&mut self, event: &ForwardEvent, lines: &Lines<'_>) {
        let (number, state) = match event {
            ForwardEvent::Ready { forward, .. } => (*forward, "ready"),
            ForwardEvent::Down { forward, .. } => (*forward, "down"),
            _ => return,
        };
        let known = self
            .forwards
            .iter_mut()
            .find(|known| known["forward"] == number);
        let document = lines.document(event).unwrap_or_default();
        match known {
            Some(known) if state == "down" => known["state"] = json!(state),
            Some(known) => *known = with_state(document, state),
            None => self.forwards.push(with_state(document, state)),
        }
    }

    /// The next one who asks. Cancel-safe.
    pub(super) async fn asked(background: Option<&Self>) -> UnixStream {
        let Some(background) = background else {
            return std::future::pending().await;
        };
        loop {
            match background.listener.accept().await {
                Ok((stream, _)) => return stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Answers; true when that is the end.
    pub(super) async fn answer(&self, stream: UnixStream) -> bool {
        let told = json!({ "pid": std::process::id(), "forwards": self.forwards });
        timeout(QUESTION, answer(stream, &told)).await == Ok(true)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn with_state(mut document: Value, state: &str) -> Value {
    document["state"] = json!(state);
    document
}

/// Whether it was told to stop.
async fn answer(mut stream: UnixStream, told: &Value) -> bool {
    if stream
        .write_all(format!("{told}\n").as_bytes())
        .await
        .is_err()
    {
        return false;
    }
    let mut line = String::new();
    let read = BufReader::new(stream).read_line(&mut line).await;
    read.is_ok() && line.trim() == "stop"
}

/// The end that asks: what is forwarded, or `None` where nobody answers.
pub(super) async fn ask(path: &Path) -> Option<Value> {
    let (told, _stream) = timeout(QUESTION, question(path)).await.ok()??;
    Some(told)
}

/// Ends it, and waits for its end. False where nobody answers.
pub(super) async fn stop(path: &Path) -> bool {
    let Ok(Some((_, mut stream))) = timeout(QUESTION, question(path)).await else {
        return false;
    };
    if stream.write_all(b"stop\n").await.is_err() {
        return false;
    }
    let gone = async {
        while path.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(END, gone).await.is_ok()
}

async fn question(path: &Path) -> Option<(Value, UnixStream)> {
    let stream = UnixStream::connect(path).await.ok()?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).await.ok()?;
    let told = serde_json::from_str(&line).ok()?;
    Some((told, reader.into_inner()))
}
