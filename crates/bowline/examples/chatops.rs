//! A ChatOps hook: a chat's slash command runs an operation, and its output comes back as it is printed.
//!
//! ```text
//! CHATOPS_SECRET=… cargo run --example chatops -- 127.0.0.1:8080 backup restore
//! ```
//!
//! It answers `POST /` as Slack sends slash commands: a form whose field `text` is `backup comment='before the move'`, signed
//! with the secret (<https://docs.slack.dev/authentication/verifying-requests-from-slack>). A request with another signature,
//! one that is older than five minutes, and one that was seen before are refused. So is every operation that was not
//! named on the command line, and every word that is not `name=value`: nothing in a message can be an option of
//! bowline, and what a value may hold is checked by the operation's own declaration.
//!
//! The operations are those of bowline's configuration. `BOWLINE` names the program, if it is not in `PATH`.

#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use futures_util::stream;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::mpsc;

/// How old a request may be, in seconds, and how far ahead its clock.
const FRESH: u64 = 300;
/// Pieces of output on their way to a slow reader; the operation waits for it.
const PIECES: usize = 16;

struct Hook {
    secret: Vec<u8>,
    program: String,
    /// The operations that may be called.
    listed: Vec<String>,
    /// Signatures that were accepted, with their requests' times.
    seen: Mutex<HashMap<String, u64>>,
}

/// What is answered instead of an operation's output.
type Refusal = (StatusCode, String);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let address = words.next().ok_or("usage: chatops ADDRESS OPERATION…")?;
    let hook = Arc::new(Hook {
        secret: std::env::var("CHATOPS_SECRET")
            .map_err(|_| "CHATOPS_SECRET is not set")?
            .into_bytes(),
        program: std::env::var("BOWLINE").unwrap_or_else(|_| "bowline".to_owned()),
        listed: words.collect(),
        seen: Mutex::default(),
    });
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    let router = Router::new().route("/", post(called)).with_state(hook);
    axum::serve(listener, router).await?;
    Ok(())
}

async fn called(State(hook): State<Arc<Hook>>, headers: HeaderMap, body: Bytes) -> Response {
    match hook.order(&headers, &body) {
        Ok(words) => hook.perform(&words),
        Err(refusal) => refusal.into_response(),
    }
}

impl Hook {
    /// What is to be done: the name of an operation, and `name=value` words.
    fn order(&self, headers: &HeaderMap, body: &[u8]) -> Result<Vec<String>, Refusal> {
        self.verify(headers, body)?;
        let bad = |text: &str| (StatusCode::BAD_REQUEST, format!("{text}\n"));
        let text = form_urlencoded::parse(body)
            .find(|(name, _)| name == "text")
            .ok_or_else(|| bad("there is no field text"))?
            .1;
        let words = shell_words::split(&text).map_err(|_| bad("a quote is not closed"))?;
        let (name, values) = words.split_first().ok_or_else(|| bad("which operation?"))?;
        if !self.listed.contains(name) {
            let listed = self.listed.join(", ");
            let text = format!("that is none of the operations here: {listed}\n");
            return Err((StatusCode::FORBIDDEN, text));
        }
        if !values.iter().all(|word| is_value(word)) {
            return Err(bad("after the operation come only name=value"));
        }
        Ok(words)
    }

    fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
        let refused = || {
            (
                StatusCode::UNAUTHORIZED,
                "not signed as agreed\n".to_owned(),
            )
        };
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let time = header("x-slack-request-timestamp").ok_or_else(refused)?;
        let signature = header("x-slack-signature").ok_or_else(refused)?;
        let hex = signature.strip_prefix("v0=").ok_or_else(refused)?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).map_err(|_| refused())?;
        mac.update(format!("v0:{time}:").as_bytes());
        mac.update(body);
        // In constant time.
        mac.verify_slice(&unhex(hex).ok_or_else(refused)?)
            .map_err(|_| refused())?;
        let time: u64 = time.parse().map_err(|_| refused())?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or(Duration::ZERO).as_secs();
        if now.abs_diff(time) > FRESH {
            return Err((StatusCode::UNAUTHORIZED, "too old\n".to_owned()));
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, then| now.abs_diff(*then) <= FRESH);
        match seen.insert(hex.to_ascii_lowercase(), time) {
            Some(_) => Err((StatusCode::UNAUTHORIZED, "seen before\n".to_owned())),
            None => Ok(()),
        }
    }

    /// Runs the operation; both of its streams and then its exit code are the answer's body.
    fn perform(&self, words: &[String]) -> Response {
        // There is no shell between here and the operation.
        let started = Command::new(&self.program)
            .args(["op", "--yes", "--"])
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match started {
            Ok(child) => child,
            Err(error) => {
                let text = format!("{}: {error}\n", self.program);
                return (StatusCode::INTERNAL_SERVER_ERROR, text).into_response();
            }
        };
        let (pieces, body) = mpsc::channel(PIECES);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        // It ends with the operation. A reader that leaves does not end it: a chat's connection is not its supervisor.
        tokio::spawn(async move {
            tokio::join!(copy(stdout, &pieces), copy(stderr, &pieces));
            let last = match child.wait().await {
                Ok(status) => format!("ended: {status}\n"),
                Err(error) => format!("its end was not seen: {error}\n"),
            };
            // A reader that has left needs no last words.
            let _ = pieces.send(Bytes::from(last)).await;
        });
        let body = stream::unfold(body, async |mut body| {
            let piece = body.recv().await?;
            Some((Ok::<_, std::io::Error>(piece), body))
        });
        Body::from_stream(body).into_response()
    }
}

/// Reads to the end, whether anybody listens or not.
async fn copy(from: Option<impl AsyncRead + Unpin>, pieces: &mpsc::Sender<Bytes>) {
    let Some(mut from) = from else { return };
    let mut buffer = [0; 4096];
    while let Ok(amount @ 1..) = from.read(&mut buffer).await {
        // A reader that has left misses this.
        let _ = pieces.send(Bytes::copy_from_slice(&buffer[..amount])).await;
    }
}

/// Whether a word is `name=value` and cannot be taken for anything else.
fn is_value(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
