//! How a named sandbox is talked to: one line of JSON each way, on a socket that only its user can reach.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bowline_sandbox::{Sandbox, WorldFile};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use super::place::{Place, unusable};
use crate::error::{CommandError, ErrorKind};

/// For the question to arrive; whoever asks has it ready.
const QUESTION: Duration = Duration::from_secs(5);
/// For the answer: a reset or the end of many containers takes some seconds.
const ANSWER: Duration = Duration::from_secs(60);
/// A world file of 4 MiB is more as JSON.
const LIMIT: u64 = 32 << 20;

/// What is wanted.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "do")]
pub(super) enum Question {
    /// How it is.
    Status,
    /// The variables that lead to it.
    Env,
    /// More of the world.
    Load { file: String, text: String },
    /// The world of the start.
    Reset,
    /// Its end.
    Down,
}

/// What is told.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    pub(super) name: String,
    pub(super) pid: u32,
    pub(super) endpoint: String,
    /// The address of the page, with its key.
    pub(super) page: String,
    /// Seconds since 1970.
    pub(super) started: u64,
    pub(super) uptime_seconds: u64,
    /// What it holds, by kind.
    pub(super) holds: Value,
    /// Only where it was asked for: there are keys in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) environment: Vec<(String, Option<String>)>,
    /// Why nothing was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

/// The end that answers.
pub(super) struct Control {
    listener: UnixListener,
    name: String,
    begun: Instant,
}

/// Somebody who wants the sandbox to end, and is told when it has.
pub(super) struct Leave {
    stream: UnixStream,
    answer: Answer,
}

impl Control {
    pub(super) fn listen(place: &Place) -> Result<Self, CommandError> {
        let path = place.socket();
        let listener = UnixListener::bind(&path).map_err(|error| {
            let hint = "the path of a socket has some 100 bytes at most: set XDG_RUNTIME_DIR to a shorter one";
            let error_of = unusable(&path, &error);
            match error.kind() {
                std::io::ErrorKind::InvalidInput => error_of.hint(hint),
                _ => error_of,
            }
        })?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))
            .map_err(|error| unusable(&path, &error))?;
        Ok(Self {
            listener,
            name: place.name.to_string(),
            begun: Instant::now(),
        })
    }

    /// Answers one after another until somebody wants the end. Cancelled only where the sandbox ends anyway.
    pub(super) async fn serve(&self, sandbox: &Sandbox) -> Leave {
        loop {
            let Ok((stream, _)) = self.listener.accept().await else {
                // No descriptors left: trying at once would only spin.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            if let Some(leave) = self.answer(stream, sandbox).await {
                return leave;
            }
        }
    }

    async fn answer(&self, mut stream: UnixStream, sandbox: &Sandbox) -> Option<Leave> {
        let mut line = String::new();
        let mut reader = BufReader::new((&mut stream).take(LIMIT));
        let read = timeout(QUESTION, reader.read_line(&mut line)).await;
        if !matches!(read, Ok(Ok(1..))) {
            return None;
        }
        let question = serde_json::from_str(&line);
        let leaves = matches!(question, Ok(Question::Down));
        let (error, environment) = match question {
            Ok(Question::Status | Question::Down) => (None, Vec::new()),
            Ok(Question::Env) => (None, sandbox.environment()),
            Ok(Question::Load { file, text }) => {
                let error = match WorldFile::parse(&text, &file) {
                    Ok(world) => sandbox.load(&world).await.err(),
                    Err(error) => Some(error),
                };
                (error.map(|error| error.to_string()), Vec::new())
            }
            Ok(Question::Reset) => {
                let error = sandbox.reset().await.err();
                let told = error.map(|error| format!("the sandbox stays as it is: {error}"));
                (told, Vec::new())
            }
            Err(error) => (Some(format!("not understood: {error}")), Vec::new()),
        };
        let answer = Answer {
            environment,
            error,
            ..self.status(sandbox)
        };
        if leaves {
            return Some(Leave { stream, answer });
        }
        write(&mut stream, &answer).await;
        None
    }

    fn status(&self, sandbox: &Sandbox) -> Answer {
        let up = self.begun.elapsed();
        let started = SystemTime::now().duration_since(UNIX_EPOCH);
        Answer {
            name: self.name.clone(),
            pid: std::process::id(),
            endpoint: sandbox.endpoint().to_owned(),
            page: sandbox.page(),
            started: started.unwrap_or_default().saturating_sub(up).as_secs(),
            uptime_seconds: up.as_secs(),
            holds: serde_json::to_value(sandbox.census()).unwrap_or_default(),
            ..Answer::default()
        }
    }
}

impl Leave {
    /// The sandbox has ended, or something is wrong about how.
    pub(super) async fn tell(mut self, error: Option<String>) {
        self.answer.error = error;
        write(&mut self.stream, &self.answer).await;
    }
}

async fn write(stream: &mut UnixStream, answer: &Answer) {
    // Whoever asked may have gone.
    if let Ok(mut line) = serde_json::to_vec(answer) {
        line.push(b'\n');
        let _ = timeout(QUESTION, stream.write_all(&line)).await;
    }
}

/// The end that asks. `None` where nobody runs.
pub(super) async fn ask(
    place: &Place,
    question: &Question,
) -> Result<Option<Answer>, CommandError> {
    let name = &place.name;
    let broken = |what: String| {
        CommandError::new(
            ErrorKind::Failed,
            format!("sandbox {name} does not answer: {what}"),
        )
    };
    let Ok(mut stream) = UnixStream::connect(place.socket()).await else {
        return Ok(None);
    };
    let mut line = serde_json::to_string(question).map_err(|error| broken(error.to_string()))?;
    line.push('\n');
    let talk = async {
        stream.write_all(line.as_bytes()).await?;
        let mut answer = String::new();
        BufReader::new((&mut stream).take(LIMIT))
            .read_line(&mut answer)
            .await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = timeout(ANSWER, talk)
        .await
        .map_err(|_| broken(format!("nothing came within {} seconds", ANSWER.as_secs())))?
        .map_err(|error| broken(error.to_string()))?;
    let told = serde_json::from_str(&answer).map_err(|error| broken(error.to_string()))?;
    Ok(Some(told))
}
