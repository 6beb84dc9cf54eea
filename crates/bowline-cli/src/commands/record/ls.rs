//! `bowline record ls`.

use bowline::record::Summary;
use serde_json::{Value, json};

use super::{about, files};
use crate::cli::OutputFormat;
use crate::commands::Context;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::output::{json as json_text, table};
use crate::{recording, terminal};

/// Prints what there is, newest first. Nothing of it is checked: that is `record verify`.
pub(super) fn run(context: &Context) -> Result<ExitCode, CommandError> {
    let folder = recording::folder(context)?;
    let mut found = Vec::new();
    for path in files(&folder)?.iter().rev() {
        // One that cannot be read must not hide the others.
        match about(path) {
            Ok(summary) => found.push(summary),
            Err(error) => context.printer.warning(&error.to_string()),
        }
    }
    let text = match context.listing_format() {
        OutputFormat::Json | OutputFormat::Sarif => {
            json_text::document(&json!({ "folder": folder, "recordings": found }))?
        }
        OutputFormat::Ndjson => found
            .iter()
            .map(|one| format!("{}\n", json!(one)))
            .collect(),
        OutputFormat::Name => found.iter().map(|one| format!("{}\n", one.id)).collect(),
        format => {
            let wide = format == OutputFormat::Wide;
            let mut header = vec!["RECORDING", "WHERE", "WHO", "CODE", "SECONDS", "COMMAND"];
            header.extend(wide.then_some("FILE"));
            let rows = found.iter().map(|one| row(one, wide));
            table::render(&header, rows, terminal::stdout_width())
        }
    };
    if found.is_empty() {
        context
            .printer
            .note(&format!("there are no recordings in {}", folder.display()));
    }
    context.printer.document(&text)?;
    Ok(ExitCode::Success)
}

fn row(one: &Summary, wide: bool) -> Vec<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let target = &one.start["target"];
    let parts = ["cluster", "service", "container"].map(|name| text(&target[name]));
    let place = parts.into_iter().flatten().collect::<Vec<_>>().join("/");
    let caller = text(&one.start["caller"]["arn"]);
    let caller = caller.map(|arn| arn.rsplit(':').next().unwrap_or_default().to_owned());
    let code = match (&one.end["code"], &one.end["reason"]) {
        (Value::Null, Value::Null) => "unfinished".to_owned(),
        (Value::Null, _) => "-".to_owned(),
        (code, _) => code.to_string(),
    };
    let seconds = one.end["seconds"].as_f64();
    let words = one.start["argv"].as_array().into_iter().flatten();
    // What a login runs is a program of ours that looks for a shell.
    let is_login = text(&one.start["verb"]).as_deref() == Some("login");
    let words = words.filter(|_| !is_login);
    let command = words.filter_map(Value::as_str).collect::<Vec<_>>();
    let mut row = vec![
        one.id.clone(),
        or_dash(place),
        or_dash(
            caller
                .or_else(|| text(&one.start["user"]))
                .unwrap_or_default(),
        ),
        code,
        seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1}")),
        match wide {
            true => shell_words::join(command),
            false => shortened(&shell_words::join(command)),
        },
    ];
    row.extend(wide.then(|| one.path.display().to_string()));
    row
}

/// A wrapper of ours or a script would fill the screen.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut short: String = text.chars().take(LONGEST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn or_dash(text: String) -> String {
    match text.is_empty() {
        true => "-".to_owned(),
        false => text,
    }
}
