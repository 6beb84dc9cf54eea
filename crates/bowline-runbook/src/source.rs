//! Places in the text of a document.

use serde::Serialize;

/// A place in a text: from `start` up to `end`, in bytes, and where that begins for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte behind the last.
    pub end: usize,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

/// The text of a line and the part of it that a span covers, for showing a finding under it.
///
/// ```
/// use bowline_runbook::{Span, excerpt};
/// let span = Span { start: 6, end: 9, line: 2, column: 3 };
/// assert_eq!(excerpt("a: 1\nb: ccc\n", span), Some(("b: ccc", 2, 3)));
/// ```
pub fn excerpt(text: &str, span: Span) -> Option<(&str, usize, usize)> {
    let line = text.lines().nth(span.line.checked_sub(1)?)?;
    let before = span.column.saturating_sub(1);
    let rest = line.chars().count().saturating_sub(before);
    let covered = text.get(span.start..span.end).unwrap_or_default();
    let width = covered.lines().next().map_or(0, |it| it.chars().count());
    Some((line, before, width.clamp(1, rest.max(1))))
}
