//! Findings and types for people.

use std::fmt::Write as _;
use std::path::Path;

use bowline_runbook::{Finding, Row, Types, excerpt};

/// A finding with its place, the line it is about, and what mends it.
pub(super) fn finding(path: &Path, source: &str, finding: &Finding) -> String {
    let span = finding.span;
    let step = finding
        .step
        .as_deref()
        .map(|step| format!(" {step}:"))
        .unwrap_or_default();
    let mut text = format!(
        "{}:{}:{}: {} {}:{step} {}\n",
        path.display(),
        span.line,
        span.column,
        finding.severity,
        finding.code,
        finding.message
    );
    if let Some((line, before, width)) = excerpt(source, span) {
        // Tabs keep their width under the line.
        let lead: String = line
            .chars()
            .take(before)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let _ = writeln!(text, "    | {line}\n    | {lead}{}", "^".repeat(width));
    }
    if let Some(suggestion) = &finding.suggestion {
        let _ = writeln!(text, "    = {suggestion}");
    }
    text
}

/// All types of a document.
pub(super) fn types(types: &Types) -> String {
    let mut text = String::new();
    if !types.parameters.is_empty() {
        text.push_str("parameters\n");
        rows(&mut text, &types.parameters, |row| {
            match row.detail.as_str() {
                "" => "not used".to_owned(),
                uses => format!("used by {uses}"),
            }
        });
    }
    for step in &types.steps {
        let _ = writeln!(text, "{}  {}", step.step, step.action);
        if !step.inputs.is_empty() {
            text.push_str("  inputs\n");
            rows(&mut text, &step.inputs, |row| {
                match row.detail == row.kind || row.kind == "any" {
                    true => String::new(),
                    false => format!("given {}", row.detail),
                }
            });
        }
        if !step.outputs.is_empty() {
            text.push_str("  outputs\n");
            rows(&mut text, &step.outputs, |row| row.detail.clone());
        }
    }
    text
}

fn rows(text: &mut String, rows: &[Row], detail: impl Fn(&Row) -> String) {
    let width = |of: fn(&Row) -> &str| {
        rows.iter()
            .map(|row| of(row).chars().count())
            .max()
            .unwrap_or_default()
    };
    let (name, kind) = (width(|row| &row.name), width(|row| &row.kind));
    for row in rows {
        let line = format!(
            "    {:name$}  {:kind$}  {}",
            row.name,
            row.kind,
            detail(row)
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

/// `2 errors`.
pub(super) fn count(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}

/// A text in lines of this width.
pub(super) fn folded(text: &str, width: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last().map_or(0, |line| line.chars().count());
        if last > 0 && last + 1 + word.chars().count() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n")
}
