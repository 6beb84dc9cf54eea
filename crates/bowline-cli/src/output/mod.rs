//! The forms of a listing: tables for people, JSON for programs, names to be used as targets.

pub(crate) mod age;
pub(crate) mod description;
pub(crate) mod json;
pub(crate) mod listing;
pub(crate) mod log_lines;
pub(crate) mod query;
pub(crate) mod sheet;
pub(crate) mod table;

use crate::terminal;

/// What the form of a text depends on besides its content.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct View {
    /// The present in seconds since 1970.
    pub(crate) now: i64,
    /// The columns of the terminal that it is for; a pipe gets whole values.
    pub(crate) width: Option<u16>,
}

impl View {
    /// For stdout as it is now.
    pub(crate) fn of_stdout() -> Self {
        Self {
            now: age::now(),
            width: terminal::stdout_width(),
        }
    }
}

/// The text with control characters shown instead of sent: names and values come from elsewhere, and an escape
/// sequence must not reach the terminal.
pub(crate) fn printable(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    text.chars()
        .flat_map(|letter| {
            let escape = letter.is_control().then(|| letter.escape_default());
            let plain = (!letter.is_control()).then_some(letter);
            escape.into_iter().flatten().chain(plain)
        })
        .collect()
}
