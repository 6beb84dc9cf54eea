//! Output as lines, each with its target in front.

use std::collections::HashMap;

use bowline::fleet::{FleetEvent, FleetTarget, Stream as Output};
use bytes::Bytes;

use super::show::Pieces;
use crate::writer::Stream;

/// A longer line is shown in parts.
const LINE_LIMIT: usize = 64 * 1024;
/// Labels are aligned up to this width.
const WIDEST: usize = 40;

/// The lines that have no end yet, of the targets that run.
#[derive(Default)]
pub(super) struct Lines {
    width: usize,
    open: HashMap<(usize, bool), Vec<u8>>,
}

impl Lines {
    /// Aligns what comes by the longest label.
    pub(super) fn fit(&mut self, targets: &[FleetTarget]) {
        let widths = targets.iter().map(|one| one.label.chars().count());
        self.width = widths.max().unwrap_or_default().min(WIDEST);
    }

    pub(super) fn event(&mut self, event: FleetEvent, targets: &[FleetTarget]) -> Pieces {
        match event {
            FleetEvent::Output {
                target,
                stream,
                bytes,
            } => {
                let errors = stream == Output::Stderr;
                let text = self.take(target, errors, &bytes, &targets[target].label);
                let place = if errors {
                    Stream::Stderr
                } else {
                    Stream::Stdout
                };
                let piece = (!text.is_empty()).then(|| (place, Bytes::from(text)));
                piece.into_iter().collect()
            }
            FleetEvent::Ended { target, .. } => {
                let mut pieces = Pieces::new();
                for (errors, place) in [(false, Stream::Stdout), (true, Stream::Stderr)] {
                    if let Some(rest) = self.open.remove(&(target, errors))
                        && !rest.is_empty()
                    {
                        let mut text = Vec::new();
                        self.line(&mut text, &targets[target].label, &rest);
                        pieces.push_back((place, text.into()));
                    }
                }
                pieces
            }
            _ => Pieces::new(),
        }
    }

    fn take(&mut self, target: usize, errors: bool, bytes: &[u8], label: &str) -> Vec<u8> {
        let mut open = self.open.remove(&(target, errors)).unwrap_or_default();
        let mut text = Vec::with_capacity(bytes.len() + 64);
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            open.extend_from_slice(part);
            if part.ends_with(b"\n") {
                open.pop();
                self.line(&mut text, label, &open);
                open.clear();
            } else if open.len() >= LINE_LIMIT {
                self.line(&mut text, label, &open);
                open.clear();
            }
        }
        if !open.is_empty() {
            self.open.insert((target, errors), open);
        }
        text
    }

    fn line(&self, text: &mut Vec<u8>, label: &str, line: &[u8]) {
        let width = self.width;
        text.extend_from_slice(format!("{label:<width$} | ").as_bytes());
        text.extend_from_slice(line);
        text.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_lines_wait_for_their_end() {
        let mut lines = Lines {
            width: 3,
            ..Lines::default()
        };
        assert_eq!(lines.take(0, false, b"one\ntw", "a"), b"a   | one\n");
        assert_eq!(lines.take(1, false, b"\n", "b"), b"b   | \n");
        assert_eq!(lines.take(0, false, b"o\n", "a"), b"a   | two\n");
        assert!(lines.open.is_empty());
        let long = vec![b'x'; LINE_LIMIT + 1];
        assert_eq!(lines.take(0, true, &long, "a").len(), LINE_LIMIT + 1 + 7);
        assert!(lines.open.is_empty(), "nothing grows with a line");
    }
}
