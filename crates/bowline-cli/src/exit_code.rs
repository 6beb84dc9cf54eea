//! The exit codes of `bowline`: a public promise, and the source of `bowline help exit-codes`.

use std::process;

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExitCode {
    /// All went well.
    Success,
    /// The remote command's own code: 128+N for a signal, 126 and 127 as a shell gives them.
    Remote(u8),
    /// The work failed.
    Failed,
    /// The command line is wrong.
    Usage,
    /// The target was not found or is ambiguous, in a verb that starts nothing remote.
    NotFound,
    /// A diagnosis or a check found problems.
    Findings,
    /// Some of many targets failed.
    SomeFailed,
    /// A time limit was reached.
    TimedOut,
    /// bowline or AWS failed before, around or instead of the command, or its code is unknown.
    Unavailable,
    /// Interrupted here.
    Interrupted,
}

impl ExitCode {
    /// What a shell says of a program that a broken pipe ended: whoever read our output went away.
    pub const BROKEN_PIPE: Self = Self::Remote(128 + 13);

    /// Every code that is bowline's own, in the order of its values.
    pub const OWN: [Self; 9] = [
        Self::Success,
        Self::Failed,
        Self::Usage,
        Self::NotFound,
        Self::Findings,
        Self::SomeFailed,
        Self::TimedOut,
        Self::Unavailable,
        Self::Interrupted,
    ];

    /// The number the shell sees.
    pub const fn value(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Remote(code) => code,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Findings => 4,
            Self::SomeFailed => 5,
            Self::TimedOut => 124,
            Self::Unavailable => 125,
            Self::Interrupted => 130,
        }
    }

    /// What it means, for the help text.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Success => "all went well",
            Self::Remote(_) => {
                "the remote command's own code, unchanged: 128+N if signal N ended it, 127 if it \
                 was not found, 126 if it could not be run, 141 if whoever read our output went away"
            }
            Self::Failed => "the work failed (a stop was refused, a copy failed)",
            Self::Usage => "the command line is wrong",
            Self::NotFound => {
                "the target was not found or is ambiguous, in commands that start nothing remote"
            }
            Self::Findings => "a diagnosis or a check found problems",
            Self::SomeFailed => "one command on many targets: some of them failed",
            Self::TimedOut => "a time limit was reached",
            Self::Unavailable => {
                "bowline or AWS failed before, around or instead of the command; also: the \
                 command's code could not be learned, or lies outside 0-255"
            }
            Self::Interrupted => "interrupted here",
        }
    }
}

impl From<ExitCode> for process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.value())
    }
}

/// The text of `bowline help exit-codes`.
pub fn help() -> String {
    let mut text = String::from("Exit codes of bowline\n\n");
    entry(&mut text, "remote", ExitCode::Remote(0).meaning());
    for code in ExitCode::OWN {
        entry(&mut text, &code.value().to_string(), code.meaning());
    }
    text.push_str(
        "\nA code of 125 or 127 can come from the remote command too. `--status-file FILE` and\n\
         the last line of `exec -o json` say where a code came from.\n",
    );
    text
}

/// One row: the code, then its meaning folded to fit eighty columns.
fn entry(text: &mut String, code: &str, meaning: &str) {
    let mut line = format!("{code:>8}  ");
    let indent = line.len();
    let mut fresh = true;
    for word in meaning.split_whitespace() {
        if !fresh && line.len() + 1 + word.len() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = " ".repeat(indent);
            fresh = true;
        }
        if !fresh {
            line.push(' ');
        }
        line.push_str(word);
        fresh = false;
    }
    text.push_str(&line);
    text.push('\n');
}

const WIDTH: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_the_documented_ones() {
        let values: Vec<u8> = ExitCode::OWN.iter().map(|code| code.value()).collect();
        assert_eq!(values, [0, 1, 2, 3, 4, 5, 124, 125, 130]);
        assert_eq!(ExitCode::Remote(143).value(), 143);
    }

    #[test]
    fn help_names_every_code() {
        insta::assert_snapshot!(help(), @r"
        Exit codes of bowline

          remote  the remote command's own code, unchanged: 128+N if signal N ended it,
                  127 if it was not found, 126 if it could not be run, 141 if whoever
                  read our output went away
               0  all went well
               1  the work failed (a stop was refused, a copy failed)
               2  the command line is wrong
               3  the target was not found or is ambiguous, in commands that start
                  nothing remote
               4  a diagnosis or a check found problems
               5  one command on many targets: some of them failed
             124  a time limit was reached
             125  bowline or AWS failed before, around or instead of the command; also:
                  the command's code could not be learned, or lies outside 0-255
             130  interrupted here

        A code of 125 or 127 can come from the remote command too. `--status-file FILE` and
        the last line of `exec -o json` say where a code came from.
        ");
    }
}
