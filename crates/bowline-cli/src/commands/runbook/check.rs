//! `bowline runbook check`.

use std::path::{Path, PathBuf};

use bowline_runbook::{Code, Finding, Severity, Types, check};
use clap::Args;
use serde_json::json;

use super::{read, sarif, text};
use crate::cli::OutputFormat;
use crate::commands::Context;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::output::json;

/// Find what is wrong with runbooks, without AWS
///
/// Grammar, references, types of parameters, outputs and API members, selectors,
/// and what a failure does to the run. Exit code 0 without errors, 4 with; --strict
/// counts warnings too. `# bowline: allow RB060` in the line of a finding, or in the
/// first of its step, switches a rule off.
///
/// Examples:
///   bowline runbook check deploy.yaml
///   bowline runbook check --types deploy.yaml    every input and output with its type
///   bowline runbook check --explain RB021        what a rule is about
///   bowline runbook check -o sarif *.yaml        for code scanning; also -o json
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct CheckArgs {
    /// The runbooks; - is stdin
    #[arg(value_name = "FILE", required_unless_present = "explain")]
    files: Vec<PathBuf>,
    /// Show the types of all inputs, outputs and parameters
    #[arg(long)]
    types: bool,
    /// Say what a rule is about; without a code: list the rules
    #[arg(long, value_name = "CODE", num_args = 0..=1, default_missing_value = "all")]
    explain: Option<String>,
}

pub(super) fn run(args: &CheckArgs, context: &Context) -> Result<ExitCode, CommandError> {
    if let Some(code) = &args.explain {
        context.printer.document(&explained(code)?)?;
        return Ok(ExitCode::Success);
    }
    // The global --strict refuses to choose; here it refuses to overlook.
    let strict = context.global.strict;
    let mut all = Vec::new();
    for path in &args.files {
        let source = read(path)?;
        let report = check(&source);
        let types = report
            .document
            .as_ref()
            .filter(|_| args.types)
            .map(Types::of);
        let findings: Vec<Finding> = report
            .findings
            .into_iter()
            .filter(|it| strict || it.severity > Severity::Note)
            .collect();
        all.push(Checked {
            path,
            source,
            findings,
            types,
        });
    }
    let document = match context.global.output {
        Some(OutputFormat::Json | OutputFormat::Ndjson) => as_json(&all)?,
        Some(OutputFormat::Sarif) => json::document(&sarif::log(&all))?,
        None | Some(OutputFormat::Table | OutputFormat::Wide) => as_text(&all),
        Some(OutputFormat::Name) => {
            return Err(
                CommandError::usage("runbook check prints text, JSON or SARIF")
                    .hint("use -o json or -o sarif"),
            );
        }
    };
    context.printer.document(&document)?;
    let count = |severity| {
        all.iter()
            .flat_map(|it| &it.findings)
            .filter(|it| it.severity == severity)
            .count()
    };
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    context.printer.note(&format!(
        "{}: {}, {}",
        text::count(all.len(), "runbook"),
        text::count(errors, "error"),
        text::count(warnings, "warning")
    ));
    Ok(match errors > 0 || (strict && warnings > 0) {
        true => ExitCode::Findings,
        false => ExitCode::Success,
    })
}

/// A file, what was found in it, and its types if they are wanted.
pub(super) struct Checked<'a> {
    pub(super) path: &'a Path,
    pub(super) source: String,
    pub(super) findings: Vec<Finding>,
    pub(super) types: Option<Types>,
}

fn as_text(all: &[Checked<'_>]) -> String {
    let mut document = String::new();
    for checked in all {
        for finding in &checked.findings {
            document.push_str(&text::finding(checked.path, &checked.source, finding));
        }
        if let Some(types) = &checked.types {
            document.push_str(&text::types(types));
        }
    }
    document
}

fn as_json(all: &[Checked<'_>]) -> Result<String, CommandError> {
    let files: Vec<_> = all
        .iter()
        .map(|checked| {
            let mut file =
                json!({ "file": checked.path.display().to_string(), "findings": checked.findings });
            if let Some(types) = &checked.types {
                file["types"] = json!(types);
            }
            file
        })
        .collect();
    json::document(&files)
}

fn explained(code: &str) -> Result<String, CommandError> {
    if code == "all" {
        return Ok(Code::all()
            .map(|code| format!("{code}  {}\n", code.title()))
            .collect());
    }
    let Some(code) = Code::parse(code) else {
        return Err(CommandError::usage(format!("there is no rule {code}"))
            .hint("`bowline runbook check --explain` lists the rules"));
    };
    Ok(format!(
        "{code}: {}\n\n{}\n",
        code.title(),
        text::folded(code.explanation(), 80)
    ))
}
