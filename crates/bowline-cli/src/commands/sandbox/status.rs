//! `bowline sandbox status`.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::control::{self, Answer, Question};
use super::place::{Name, Place};
use super::{Context, runs_not};
use crate::cli::OutputFormat;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;
use crate::output::json as json_text;

/// What is counted, with its name for one and for many.
const KINDS: [(&str, &str, &str); 9] = [
    ("clusters", "cluster", "clusters"),
    ("services", "service", "services"),
    ("tasks", "task", "tasks"),
    ("sessions", "session", "sessions"),
    ("families", "family", "families"),
    ("functions", "function", "functions"),
    ("parameters", "parameter", "parameters"),
    ("secrets", "secret", "secrets"),
    ("documents", "document", "documents"),
];

/// Shows the one of this name, or all that run.
pub(super) async fn show(name: Option<&Name>, context: &Context) -> Result<ExitCode, CommandError> {
    let places = match name {
        Some(name) => vec![Place::of(name)?],
        None => Place::all()?,
    };
    let mut running = Vec::new();
    for place in places {
        if let Some(told) = control::ask(&place, &Question::Status).await? {
            running.push((place, told));
        }
    }
    let json = context.global.output == Some(OutputFormat::Json);
    if running.is_empty() && !json {
        return Err(match name {
            Some(name) => runs_not(name),
            None => CommandError::new(ErrorKind::NotFound, "no sandbox runs under a name")
                .hint("start one: bowline sandbox up -d"),
        });
    }
    let text = match json {
        true => {
            let all: Vec<Value> = running
                .iter()
                .map(|(place, it)| document(place, it))
                .collect();
            json_text::document(&Value::from(all))?
        }
        false => {
            let blocks: Vec<String> = running.iter().map(|(place, it)| block(place, it)).collect();
            blocks.join("\n")
        }
    };
    context.printer.document(&text)?;
    Ok(match running.is_empty() {
        true => ExitCode::NotFound,
        false => ExitCode::Success,
    })
}

/// As JSON; members are only added.
pub(super) fn document(place: &Place, told: &Answer) -> Value {
    let started = i64::try_from(told.started).map(Timestamp::from_second);
    let started = started.ok().and_then(Result::ok).unwrap_or_default();
    json!({
        "name": told.name,
        "pid": told.pid,
        "endpoint": told.endpoint,
        "page": told.page,
        "started": started.to_string(),
        "uptimeSeconds": told.uptime_seconds,
        "holds": told.holds,
        "log": place.log(),
    })
}

fn block(place: &Place, told: &Answer) -> String {
    let up = jiff::SignedDuration::try_from(Duration::from_secs(told.uptime_seconds));
    let up = up.map(|up| format!("{up:#}")).unwrap_or_default();
    let mut text = String::new();
    for (key, value) in [
        ("name", told.name.clone()),
        ("endpoint", told.endpoint.clone()),
        ("page", told.page.clone()),
        ("process", told.pid.to_string()),
        ("up for", up),
        ("holds", holds(told)),
        ("log", place.log().display().to_string()),
    ] {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{key:<9} {value}");
    }
    text
}

/// `1 cluster, 2 tasks`: what there is of, and the first three in any case.
pub(super) fn holds(told: &Answer) -> String {
    let counts = KINDS
        .iter()
        .enumerate()
        .filter_map(|(place, (key, one, many))| {
            let count = told.holds.get(key).and_then(Value::as_u64)?;
            let name = if count == 1 { one } else { many };
            (count > 0 || place < 3).then(|| format!("{count} {name}"))
        });
    counts.collect::<Vec<_>>().join(", ")
}
