//! `bowline record export`.

use std::path::Path;

use bowline::record::{Cast, CastEvent, CastKind, Destination};
use bowline::session::Size;
use serde_json::{Value, json};

use super::{Form, about, play, unreadable, verify};
use crate::commands::Context;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;
use crate::output::json as json_text;

/// Of a recording that had no terminal.
const SIZE: Size = Size { cols: 80, rows: 24 };
/// Lines that a terminal's text may have.
const SCROLLBACK: usize = 100_000;

/// Prints it in another form.
pub(super) fn run(path: &Path, form: Form, context: &Context) -> Result<ExitCode, CommandError> {
    let text = match form {
        Form::Json => {
            let about = about(path)?;
            let verified = verify::check(path)?;
            json_text::document(&json!({ "recording": about, "verified": verified }))?
        }
        Form::Text if !about(path)?.terminal => {
            for (_, bytes) in play::output(path)? {
                context.printer.bytes(&bytes)?;
            }
            String::new()
        }
        Form::Text => text(path)?,
        Form::V2 => cast(path, 2)?,
        Form::V3 => cast(path, 3)?,
    };
    context.printer.document(&text)?;
    Ok(ExitCode::Success)
}

/// Copies it as it is.
pub(super) async fn copy(
    path: &Path,
    to: &Destination,
    context: &Context,
) -> Result<ExitCode, CommandError> {
    let client = context.client().await?;
    let copied = client.copy_recording(path, to).await;
    let copy = copied.map_err(|error| CommandError::new(ErrorKind::Failed, error))?;
    context.printer.note(&format!("copied to {copy}"));
    Ok(ExitCode::Success)
}

/// An asciicast of a version, without seals.
fn cast(path: &Path, version: u8) -> Result<String, CommandError> {
    let (size, events) = events(path)?;
    let about = about(path)?;
    let began = about.start["began"].as_str();
    let began = began.and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let mut header = match version {
        2 => json!({ "version": 2, "width": size.cols, "height": size.rows }),
        _ => json!({ "version": 3, "term": { "cols": size.cols, "rows": size.rows } }),
    };
    if let Some(began) = began {
        header["timestamp"] = began.as_second().into();
    }
    let mut text = format!("{header}\n");
    let mut last = 0.0;
    for event in events {
        let (code, data) = match event.kind {
            CastKind::Output(text) => ("o".to_owned(), text),
            CastKind::Input(text) => ("i".to_owned(), text),
            CastKind::Resize(size) => ("r".to_owned(), format!("{}x{}", size.cols, size.rows)),
            // Version 2 has no such event.
            CastKind::Exit(_) if version == 2 => continue,
            CastKind::Exit(code) => ("x".to_owned(), code.to_string()),
            CastKind::Other(code, data) => (code, data),
            _ => continue,
        };
        let time = match version {
            2 => event.seconds,
            _ => event.seconds - last,
        };
        last = event.seconds;
        // Microseconds: a difference has more digits than it has meaning.
        let time = (time * 1e6).round() / 1e6;
        text.push_str(&Value::from(vec![json!(time), json!(code), json!(data)]).to_string());
        text.push('\n');
    }
    Ok(text)
}

/// What stood on the screen, line by line, also what has left it at the top.
fn text(path: &Path) -> Result<String, CommandError> {
    let (size, events) = events(path)?;
    let clamp = |size: Size| {
        let least = |cells: u32| usize::try_from(cells.clamp(1, 1000)).unwrap_or(80);
        (least(size.cols), least(size.rows))
    };
    let (columns, rows) = clamp(size);
    let terminal = avt::Terminal::with_scrollback(columns, rows, Some(SCROLLBACK));
    let mut terminal =
        terminal.map_err(|error| CommandError::new(ErrorKind::Failed, error.to_string()))?;
    for event in events {
        match event.kind {
            CastKind::Output(text) => {
                terminal.feed(&*text);
            }
            CastKind::Resize(size) => {
                let (columns, rows) = clamp(size);
                terminal.resize(columns, rows);
            }
            _ => {}
        }
    }
    let lines = terminal.primary_screen().text();
    let lines: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
    Ok(lines.join("\n").trim_end().to_owned() + "\n")
}

fn events(path: &Path) -> Result<(Size, Vec<CastEvent>), CommandError> {
    if !about(path)?.terminal {
        let output = play::output(path)?;
        let events = output.into_iter().map(|(seconds, bytes)| {
            // A terminal would have made this of it.
            let text = String::from_utf8_lossy(&bytes).replace('\n', "\r\n");
            CastEvent::new(seconds, CastKind::Output(text))
        });
        return Ok((SIZE, events.collect()));
    }
    let mut cast = Cast::open(play::open(path)?).map_err(|error| unreadable(path, &error))?;
    let mut events = Vec::new();
    while let Some(event) = cast.read().map_err(|error| unreadable(path, &error))? {
        events.push(event);
    }
    Ok((cast.header.size, events))
}
