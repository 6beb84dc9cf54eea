//! Who may write where: stdout is data, stderr is talk, and this is the only writer.

use std::io::{self, Write};

use crate::error::{CommandError, ErrorKind};

/// Writes to the two streams of the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Printer;

impl Printer {
    /// Writes the requested document to stdout. A reader that went away is
    /// [`ErrorKind::ReaderGone`], which ends the program quietly.
    pub fn document(self, text: &str) -> Result<(), CommandError> {
        self.bytes(text.as_bytes())
    }

    /// Writes bytes to stdout, unchanged and at once.
    pub fn bytes(self, bytes: &[u8]) -> Result<(), CommandError> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()?;
        Ok(())
    }

    /// Writes bytes to stderr: the other stream of a remote command.
    pub fn error_bytes(self, bytes: &[u8]) -> io::Result<()> {
        let mut stderr = io::stderr().lock();
        stderr.write_all(bytes)?;
        stderr.flush()
    }

    /// Says something worth knowing on stderr.
    pub fn note(self, text: &str) {
        self.say(&format!("{text}\n"));
    }

    /// Asks something on stderr; the answer is typed behind it.
    pub(crate) fn prompt(self, text: &str) {
        self.say(text);
    }

    /// Warns on stderr about something the user can act on.
    pub fn warning(self, text: &str) {
        self.say(&format!("warning: {text}\n"));
    }

    /// Shows an error and its hints on stderr.
    pub fn error(self, error: &CommandError) {
        if error.kind() != ErrorKind::ReaderGone {
            self.say(&render(error));
        }
    }

    /// Shows what the argument parser has to say: help and version are data, errors are talk.
    pub(crate) fn arguments(self, error: &clap::Error) {
        // clap decides on colour by the stream and by NO_COLOR. There is nobody left to tell about a
        // failure to write.
        let _ = error.print();
    }

    fn say(self, text: &str) {
        // A closed stderr must not change how a command ends.
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}

fn render(error: &CommandError) -> String {
    let mut text = format!("error: {error}\n");
    for hint in error.hints() {
        text.push_str("hint: ");
        text.push_str(hint);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_lines_of_their_own() {
        let error = CommandError::usage("target web is not enough").hint("add a cluster");
        insta::assert_snapshot!(render(&error), @r"
        error: target web is not enough
        hint: add a cluster
        ");
    }
}
