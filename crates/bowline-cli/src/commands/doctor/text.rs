//! A report in words.

use std::fmt::Write as _;

use bowline::ResolvedTarget;
use bowline::doctor::{Check, Report, Severity, State};

use crate::output::table;
use crate::terminal;

/// Problems in full, then what is unknown with its reasons, then what is right: by name, or in full if `wide`.
pub(super) fn render(target: &ResolvedTarget, report: &Report, wide: bool, fixing: bool) -> String {
    let width = terminal::stdout_width();
    let mut text = format!("{}\n", summary(target, report));
    for check in report.problems() {
        problem(&mut text, check);
    }
    let unknown: Vec<&Check> = of(report, State::Unknown);
    if !unknown.is_empty() {
        text.push_str("\nunknown\n");
        text.push_str(&rows(&unknown, wide, width));
    }
    let ok = of(report, State::Ok);
    if wide && !ok.is_empty() {
        text.push_str("\nok\n");
        text.push_str(&rows(&ok, true, width));
    }
    if !fixing && report.problems().any(|check| !check.requests.is_empty()) {
        text.push_str("\n`bowline doctor --fix` offers the changes one at a time.\n");
    }
    text
}

/// `web in task 1a2b3c4d (demo): 1 problem, 20 ok, 3 unknown`
fn summary(target: &ResolvedTarget, report: &Report) -> String {
    let name = target.service.as_deref().unwrap_or(&target.container);
    let problems = report.problems().count();
    let found = match problems {
        0 => "no problem".to_owned(),
        1 => "1 problem".to_owned(),
        _ => format!("{problems} problems"),
    };
    format!(
        "{name} in task {} ({}): {found}, {} ok, {} unknown",
        report.task_id,
        report.cluster,
        of(report, State::Ok).len(),
        of(report, State::Unknown).len(),
    )
}

fn problem(text: &mut String, check: &Check) {
    let severity = match check.severity {
        Some(Severity::MayBlock) => "may keep you out",
        Some(Severity::Note) => "note",
        _ => "keeps you out",
    };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "\n{severity}: {}", check.what);
    if let Some(fix) = &check.fix {
        let _ = writeln!(text, "  fix: {fix}");
    }
    let _ = writeln!(text, "  checked ({}): {}", check.id, check.how);
}

fn of(report: &Report, state: State) -> Vec<&Check> {
    report
        .checks
        .iter()
        .filter(|check| check.state == state)
        .collect()
}

fn rows(checks: &[&Check], with_how: bool, width: Option<u16>) -> String {
    let header: &[&str] = match with_how {
        true => &["  CHECK", "CONTAINER", "WHAT", "HOW"],
        false => &["  CHECK", "CONTAINER", "WHAT"],
    };
    let rows = checks.iter().map(|check| {
        let container = check.container.as_deref().unwrap_or("-");
        let mut row = vec![
            format!("  {}", check.id),
            container.to_owned(),
            check.what.clone(),
        ];
        if with_how {
            row.push(check.how.clone());
        }
        row
    });
    table::render(header, rows, width)
}
