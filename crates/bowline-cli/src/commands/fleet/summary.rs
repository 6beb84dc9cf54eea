//! How it went, in the order of the targets.

use std::fmt::Write as _;
use std::time::Duration;

use bowline::fleet::{FleetTarget, Outcome};

use crate::commands::Context;
use crate::exit_code::ExitCode;

/// So many targets are all listed; of more only those that did not go well.
const ALL_LISTED: usize = 20;
/// In the order in which they are counted.
const WORDS: [&str; 7] = [
    "ok",
    "failed",
    "timed-out",
    "unreachable",
    "unknown",
    "skipped",
    "interrupted",
];

/// What is known of each target's end.
pub(super) struct Summary {
    ends: Vec<Option<(Outcome, Duration)>>,
    /// Accounts and regions that could not be searched.
    problems: usize,
    /// Tasks of an earlier run that run no more.
    gone: usize,
    took: Duration,
}

impl Summary {
    pub(super) fn new(targets: usize, problems: usize, gone: usize) -> Self {
        Self {
            ends: vec![None; targets],
            problems,
            gone,
            took: Duration::ZERO,
        }
    }

    pub(super) fn ended(&mut self, target: usize, outcome: Outcome, elapsed: Duration) {
        self.ends[target] = Some((outcome, elapsed));
    }

    /// Everything whose end is not known was interrupted. A task that was started may go on.
    pub(super) fn interrupted(&mut self, targets: &[FleetTarget]) {
        for (end, one) in self.ends.iter_mut().zip(targets) {
            let task = one.fresh().and_then(|fresh| fresh.task_arn());
            let outcome = || match task {
                Some(task) => Outcome::Unknown(format!("{task} may still run")),
                None => Outcome::Interrupted,
            };
            end.get_or_insert_with(|| (outcome(), Duration::ZERO));
        }
    }

    /// Tasks of an earlier run that run no more.
    pub(super) fn gone(&self) -> usize {
        self.gone
    }

    pub(super) fn took(&mut self, elapsed: Duration) {
        self.took = elapsed;
    }

    pub(super) fn outcome(&self, target: usize) -> Option<&Outcome> {
        self.ends[target].as_ref().map(|(outcome, _)| outcome)
    }

    /// Targets that have not ended.
    pub(super) fn open(&self) -> usize {
        self.ends.iter().filter(|end| end.is_none()).count()
    }

    /// How many ended how; what did not happen is left out.
    pub(super) fn counts(&self) -> Vec<(usize, &'static str)> {
        let ends = || self.ends.iter().flatten();
        let count = |word| {
            ends()
                .filter(|(outcome, _)| outcome.as_str() == word)
                .count()
        };
        WORDS
            .into_iter()
            .map(|word| (count(word), word))
            .filter(|(count, _)| *count > 0)
            .collect()
    }

    pub(super) fn code(&self) -> ExitCode {
        let good = |end: &Option<(Outcome, Duration)>| {
            end.as_ref().is_some_and(|(outcome, _)| outcome.is_good())
        };
        match self.problems == 0 && self.gone == 0 && self.ends.iter().all(good) {
            true => ExitCode::Success,
            false => ExitCode::SomeFailed,
        }
    }

    /// Says it on stderr.
    pub(super) fn say(&self, targets: &[FleetTarget], context: &Context) {
        // A closed stderr must not change how it ends.
        let _ = context.printer.error_bytes(self.text(targets).as_bytes());
    }

    fn text(&self, targets: &[FleetTarget]) -> String {
        let labels: Vec<&str> = targets.iter().map(|one| one.label.as_str()).collect();
        render(
            &self.ends,
            &labels,
            [self.problems, self.gone],
            self.took,
            &self.counts(),
        )
    }
}

type End = Option<(Outcome, Duration)>;

fn render(
    ends: &[End],
    labels: &[&str],
    [problems, gone]: [usize; 2],
    took: Duration,
    counts: &[(usize, &str)],
) -> String {
    let mut text = String::new();
    let shown = |outcome: &Outcome| {
        ends.len() <= ALL_LISTED
            || !(outcome.is_good() || matches!(outcome, Outcome::Skipped | Outcome::Interrupted))
    };
    let rows = || {
        let ends = ends.iter().zip(labels);
        ends.filter_map(|(end, label)| Some((end.as_ref()?, *label)))
            .filter(|((outcome, _), _)| shown(outcome))
    };
    let width = rows()
        .map(|(_, label)| label.chars().count())
        .max()
        .unwrap_or_default();
    for ((outcome, elapsed), label) in rows() {
        let _ = write!(
            text,
            "{:<11} {label:<width$} {:>6.1}s",
            outcome.as_str(),
            elapsed.as_secs_f64()
        );
        match outcome {
            Outcome::Exit(0) | Outcome::Skipped | Outcome::Interrupted => {}
            Outcome::Exit(code) => {
                let _ = write!(text, "  exit code {code}");
            }
            Outcome::TimedOut(limit) => {
                let _ = write!(text, "  ended after {} s", limit.as_secs_f64());
            }
            Outcome::Unreachable(reason) | Outcome::Unknown(reason) => {
                let _ = write!(text, "  {}", reason.replace('\n', " "));
            }
        }
        text.push('\n');
    }
    let counts: Vec<String> = counts
        .iter()
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    let word = if ends.len() == 1 { "target" } else { "targets" };
    let _ = write!(text, "{} {word}", ends.len());
    if !counts.is_empty() {
        let _ = write!(text, ": {}", counts.join(", "));
    }
    if problems > 0 {
        let _ = write!(
            text,
            "; {problems} accounts or regions could not be searched"
        );
    }
    if gone > 0 {
        let _ = write!(text, "; {gone} tasks run no more");
    }
    let _ = writeln!(text, " ({:.1} s)", took.as_secs_f64());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_in_the_order_of_the_targets() {
        let mut summary = Summary::new(4, 1, 0);
        let second = Duration::from_secs(1);
        summary.ended(2, Outcome::Unreachable("no\nway".to_owned()), second);
        summary.ended(0, Outcome::Exit(0), second);
        summary.ended(1, Outcome::Exit(3), second * 2);
        summary.ended(3, Outcome::TimedOut(second * 5), second * 5);
        let labels = ["demo/web/1", "demo/web/22", "demo/api/3", "demo/api/4"];
        let text = render(
            &summary.ends,
            &labels,
            [1, 0],
            second * 6,
            &summary.counts(),
        );
        insta::assert_snapshot!(text, @r"
        ok          demo/web/1     1.0s
        failed      demo/web/22    2.0s  exit code 3
        unreachable demo/api/3     1.0s  no way
        timed-out   demo/api/4     5.0s  ended after 5 s
        4 targets: 1 ok, 1 failed, 1 timed-out, 1 unreachable; 1 accounts or regions could not be searched (6.0 s)
        ");
        assert_eq!(summary.code(), ExitCode::SomeFailed);
    }

    #[test]
    fn all_is_well_only_if_every_end_is_known_and_good() {
        let mut summary = Summary::new(2, 0, 0);
        summary.ended(0, Outcome::Exit(0), Duration::ZERO);
        assert_eq!(summary.code(), ExitCode::SomeFailed);
        summary.ended(1, Outcome::Exit(0), Duration::ZERO);
        assert_eq!(summary.code(), ExitCode::Success);
        assert_eq!(Summary::new(0, 1, 0).code(), ExitCode::SomeFailed);
    }
}
