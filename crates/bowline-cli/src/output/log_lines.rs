//! Lines of several containers: who wrote each, when, and what matters in it.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{IsTerminal, stdout};

use bowline::logs::LogLine;
use regex::Regex;

use crate::commands::run::who;

/// Colours of prefixes: those that are readable on light and dark grounds.
const COLOURS: [u8; 6] = [36, 33, 32, 35, 34, 31];

/// How lines look.
#[derive(Debug)]
pub(crate) struct Style {
    prefix: bool,
    timestamps: bool,
    colour: bool,
    highlight: Vec<Regex>,
}

impl Style {
    /// With colours if stdout is a terminal that has them and the user wants them.
    pub(crate) fn for_stdout(prefix: bool, timestamps: bool, highlight: Vec<Regex>) -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let dumb = set("TERM").is_none_or(|term| term == "dumb");
        Self {
            prefix,
            timestamps,
            colour: set("NO_COLOR").is_none() && !dumb && stdout().is_terminal(),
            highlight,
        }
    }

    /// One line with its end.
    pub(crate) fn line(&self, line: &LogLine) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        if self.prefix {
            let name = who(line);
            let _ = match self.colour {
                true => write!(text, "\x1b[{}m{name}\x1b[0m ", colour(&name)),
                false => write!(text, "{name} "),
            };
        }
        if self.timestamps {
            let _ = write!(text, "{:.3} ", line.time);
        }
        self.message(&line.message, &mut text);
        text.push('\n');
        text
    }

    fn message(&self, message: &str, text: &mut String) {
        let mut marks: Vec<(usize, usize)> = Vec::new();
        if self.colour {
            for expression in &self.highlight {
                marks.extend(
                    expression
                        .find_iter(message)
                        .map(|found| (found.start(), found.end())),
                );
            }
        }
        marks.sort_unstable();
        let mut at = 0;
        for (start, end) in marks {
            let start = start.max(at);
            if start >= end {
                continue;
            }
            text.push_str(&message[at..start]);
            let _ = write!(text, "\x1b[1;7m{}\x1b[0m", &message[start..end]);
            at = end;
        }
        text.push_str(&message[at..]);
    }
}

/// The same for the same container in every run.
fn colour(who: &str) -> u8 {
    let mut hasher = DefaultHasher::new();
    who.hash(&mut hasher);
    let index = hasher.finish() % COLOURS.len() as u64;
    COLOURS[usize::try_from(index).unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_may_overlap_and_touch_nothing_else() {
        let style = Style {
            prefix: false,
            timestamps: false,
            colour: true,
            highlight: vec![Regex::new("err").unwrap(), Regex::new("rror").unwrap()],
        };
        let mut text = String::new();
        style.message("an error, é", &mut text);
        assert_eq!(text, "an \x1b[1;7merr\x1b[0m\x1b[1;7mor\x1b[0m, é");
        let plain = Style {
            colour: false,
            ..style
        };
        text.clear();
        plain.message("an error", &mut text);
        assert_eq!(text, "an error");
    }
}
