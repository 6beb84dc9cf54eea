//! One thing described: a title, and labels with their values in a column.

use std::fmt::Write as _;

use super::printable;

/// Wide enough for the labels that there are.
const LABEL: usize = 12;

/// A text that grows block by block.
#[derive(Debug, Default)]
pub(crate) struct Sheet {
    text: String,
}

impl Sheet {
    /// Begins a block.
    pub(crate) fn title(&mut self, title: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.line(&printable(title));
    }

    /// A label with a value; nothing without one.
    pub(crate) fn field(&mut self, label: &str, value: impl Into<Option<String>>) {
        self.fields(label, value.into());
    }

    /// A label with a value on each line; nothing without any.
    pub(crate) fn fields(&mut self, label: &str, values: impl IntoIterator<Item = String>) {
        let mut label = label;
        for value in values {
            let value = printable(&value);
            // Writing to a String cannot fail.
            let _ = writeln!(self.text, "  {label:<LABEL$} {value}");
            label = "";
        }
    }

    /// Lines that are laid out already.
    pub(crate) fn block(&mut self, text: &str) {
        for line in text.lines() {
            self.line(&format!("  {line}"));
        }
    }

    /// All of it.
    pub(crate) fn text(self) -> String {
        self.text
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }
}
