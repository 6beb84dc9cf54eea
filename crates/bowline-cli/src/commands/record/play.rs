//! `bowline record play`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use bowline::record::{Cast, CastKind, Verdict};
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};

use super::{about, unreadable, verify};
use crate::commands::Context;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::screen::Screen;
use crate::signals::Signals;
use crate::terminal::{self, RawMode};

/// For the terminal's answers to the last of what it was shown.
const ANSWERS: Duration = Duration::from_millis(100);

/// Something to be shown.
enum Shown {
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
}

/// Shows it at its own pace on a terminal, and at once elsewhere. Whatever it did to the screen is undone.
pub(super) async fn run(
    path: &Path,
    speed: f64,
    idle: Option<f64>,
    context: &Context,
) -> Result<ExitCode, CommandError> {
    let is_cast = about(path)?.terminal;
    let verified = verify::check(path)?;
    if matches!(verified.verdict, Verdict::Broken { .. }) {
        let text = format!("{}: {}", path.display(), verify::said(&verified));
        context.printer.warning(&text);
    }
    let mut events = match is_cast {
        true => Events::cast(path, context)?,
        false => Events::Lines(open(path)?),
    };
    let mut signals = Signals::listen()?;
    let paced = terminal::stdout_width().is_some();
    // What is replayed may ask the terminal something; its answers must not become what the user types next.
    let keys = match paced && terminal::stdin_is_terminal() {
        true => Some(RawMode::prepare()?),
        false => None,
    };
    let mut screen = Screen::default();
    let mut due = Instant::now();
    let mut last = 0.0;
    let mut end = Ok(ExitCode::Success);
    loop {
        let (seconds, shown) = match events.next(path) {
            Ok(Some(next)) => next,
            Ok(None) => break,
            Err(error) => {
                end = Err(error);
                break;
            }
        };
        let pause = (seconds - last).max(0.0);
        last = last.max(seconds);
        let pause = idle.map_or(pause, |idle| pause.min(idle)) / speed;
        if paced && let Ok(pause) = Duration::try_from_secs_f64(pause) {
            due += pause;
            tokio::select! {
                () = sleep_until(due) => {}
                signal = signals.next() => {
                    end = Ok(signal.code());
                    break;
                }
            }
        }
        match shown {
            Shown::Stdout(bytes) => {
                screen.feed(&bytes);
                context.printer.bytes(&bytes)?;
            }
            Shown::Stderr(bytes) => context.printer.error_bytes(&bytes)?,
        }
    }
    if paced {
        context.printer.document(&screen.undo())?;
    }
    if let Some(keys) = keys {
        sleep(ANSWERS).await;
        terminal::forget_keys();
        drop(keys);
    }
    if verified.verdict != Verdict::Whole && matches!(verified.verdict, Verdict::Unfinished { .. })
    {
        context.printer.note("(the recording is unfinished)");
    }
    end
}

enum Events {
    Cast(Box<Cast<BufReader<File>>>),
    Lines(BufReader<File>),
}

impl Events {
    fn cast(path: &Path, context: &Context) -> Result<Self, CommandError> {
        let cast = Cast::open(open(path)?).map_err(|error| unreadable(path, &error))?;
        let (here, there) = (terminal::size(), cast.header.size);
        if terminal::stdout_width().is_some() && (here.cols < there.cols || here.rows < there.rows)
        {
            context.printer.note(&format!(
                "recorded on {}x{}; this terminal has {}x{}",
                there.cols, there.rows, here.cols, here.rows
            ));
        }
        Ok(Self::Cast(Box::new(cast)))
    }

    fn next(&mut self, path: &Path) -> Result<Option<(f64, Shown)>, CommandError> {
        loop {
            match self {
                Self::Cast(cast) => {
                    let event = cast.read().map_err(|error| unreadable(path, &error))?;
                    let Some(event) = event else { return Ok(None) };
                    if let CastKind::Output(text) = event.kind {
                        return Ok(Some((event.seconds, Shown::Stdout(text.into_bytes()))));
                    }
                }
                Self::Lines(lines) => {
                    let mut line = Vec::new();
                    let length = lines.read_until(b'\n', &mut line);
                    if length.map_err(|error| unreadable(path, &error))? == 0 {
                        return Ok(None);
                    }
                    // A torn line at the end is none.
                    let Ok(event) = serde_json::from_slice::<Value>(&line) else {
                        continue;
                    };
                    if let Some(shown) = shown(&event) {
                        let seconds = event["seconds"].as_f64().unwrap_or_default();
                        return Ok(Some((seconds, shown)));
                    }
                }
            }
        }
    }
}

fn shown(event: &Value) -> Option<Shown> {
    let bytes = || match (event["text"].as_str(), event["base64"].as_str()) {
        (Some(text), _) => Some(text.as_bytes().to_vec()),
        (_, Some(text)) => base64::engine::general_purpose::STANDARD.decode(text).ok(),
        _ => None,
    };
    match event["type"].as_str()? {
        "stdout" => bytes().map(Shown::Stdout),
        "stderr" => bytes().map(Shown::Stderr),
        _ => None,
    }
}

/// The output of a recording of lines, stdout and stderr as they came.
pub(super) fn output(path: &Path) -> Result<Vec<(f64, Vec<u8>)>, CommandError> {
    let mut events = Events::Lines(open(path)?);
    let mut output = Vec::new();
    while let Some((seconds, Shown::Stdout(bytes) | Shown::Stderr(bytes))) = events.next(path)? {
        output.push((seconds, bytes));
    }
    Ok(output)
}

pub(super) fn open(path: &Path) -> Result<BufReader<File>, CommandError> {
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    Ok(BufReader::new(file))
}
