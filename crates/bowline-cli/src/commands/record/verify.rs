//! `bowline record verify`.

use std::fmt::Write as _;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use bowline::record::{Verdict, Verified, verify};
use serde_json::json;

use super::unreadable;
use crate::cli::OutputFormat;
use crate::commands::Context;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::output::json as json_text;

/// Says of each file whether it is as it was written.
pub(super) fn run(
    files: &[PathBuf],
    seal: Option<&str>,
    context: &Context,
) -> Result<ExitCode, CommandError> {
    if seal.is_some() && files.len() != 1 {
        return Err(CommandError::usage("--seal is about one recording"));
    }
    let mut whole = true;
    let mut documents = Vec::new();
    let mut text = String::new();
    for path in files {
        let verified = check(path)?;
        let other = seal.is_some_and(|seal| !seal.trim().eq_ignore_ascii_case(&verified.seal));
        whole &= verified.verdict == Verdict::Whole && !other;
        let mut said = said(&verified);
        if other {
            said.push_str("; its seal is another than the one given");
        }
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}: {said}", path.display());
        documents.push(json!({
            "path": path,
            "verdict": verified.verdict,
            "lines": verified.lines,
            "seal": verified.seal,
            "sealAsGiven": seal.map(|_| !other),
        }));
    }
    let text = match context.global.output {
        Some(OutputFormat::Json) => json_text::document(&json!({ "recordings": documents }))?,
        Some(OutputFormat::Ndjson) => documents.iter().map(|one| format!("{one}\n")).collect(),
        _ => text,
    };
    context.printer.document(&text)?;
    Ok(match whole {
        true => ExitCode::Success,
        false => ExitCode::Findings,
    })
}

/// Reads one file.
pub(super) fn check(path: &Path) -> Result<Verified, CommandError> {
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    verify(BufReader::with_capacity(1 << 16, file)).map_err(|error| unreadable(path, &error))
}

/// In words.
pub(super) fn said(verified: &Verified) -> String {
    let lines = verified.lines;
    match &verified.verdict {
        Verdict::Whole => format!("whole, {lines} lines, seal {}", verified.seal),
        Verdict::Unfinished { loose } => format!(
            "unfinished: {lines} lines are as they were written, but the closing line is missing ({loose} bytes behind \
             the last seal); it is being written, its writer was killed, or its end was cut off"
        ),
        Verdict::Broken { line, why } => format!("changed: at line {line}: {why}"),
        Verdict::Unsealed => "a recording of another program, without seals".to_owned(),
        _ => "in a state that is not known here".to_owned(),
    }
}
