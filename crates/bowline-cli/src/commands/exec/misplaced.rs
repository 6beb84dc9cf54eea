//! A command that does not stand behind `--`, the commonest slip: the parser only sees options it does not know.

use std::ffi::OsString;

use clap::Command;

use crate::error::CommandError;

/// The error for a command line of `exec` without `--`, with the right form shown; `None` for any other.
pub(crate) fn explain(tree: &Command, arguments: &[OsString]) -> Option<CommandError> {
    let words: Vec<String> = arguments
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    if words.iter().any(|word| word == "--") {
        return None;
    }
    let verb = words.iter().position(|word| word == "exec")?;
    let exec = tree.find_subcommand("exec")?;
    let target = target(exec, tree, &words, verb + 1)?;
    let command = words.get(target + 1..).filter(|words| !words.is_empty())?;
    let front = words.get(1..=target)?.join(" ");
    let command = command
        .iter()
        .map(|word| quoted(word))
        .collect::<Vec<_>>()
        .join(" ");
    Some(
        CommandError::usage("the command has to stand behind `--`")
            .hint(format!("write: bowline {front} -- {command}")),
    )
}

/// Where the target stands: the first word that is neither an option nor the value of one.
fn target(exec: &Command, tree: &Command, words: &[String], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(word) = words.get(at) {
        if !word.starts_with('-') {
            return Some(at);
        }
        let takes_value = exec
            .get_arguments()
            .chain(tree.get_arguments())
            .filter(|argument| argument.get_action().takes_values())
            .any(|argument| {
                let long = argument.get_long().map(|long| format!("--{long}"));
                let short = argument.get_short().map(|short| format!("-{short}"));
                long.as_ref() == Some(word) || short.as_ref() == Some(word)
            });
        at += if takes_value { 2 } else { 1 };
    }
    None
}

/// As one would type it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    fn hint(line: &[&str]) -> Option<String> {
        let arguments: Vec<OsString> = line.iter().map(OsString::from).collect();
        let error = explain(&Cli::command(), &arguments)?;
        Some(error.hints()[0].clone())
    }

    #[test]
    fn the_right_form_is_shown_whatever_the_command_looks_like() {
        for (line, form) in [
            (
                &["bowline", "exec", "web", "ls"][..],
                "bowline exec web -- ls",
            ),
            (
                &["bowline", "exec", "web", "ls", "-l"],
                "bowline exec web -- ls -l",
            ),
            (
                &[
                    "bowline", "exec", "-c", "prod", "-i", "web", "sh", "-c", "echo a b",
                ],
                "bowline exec -c prod -i web -- sh -c 'echo a b'",
            ),
            (
                &["bowline", "--sandbox", "exec", "web", "a'b"],
                r"bowline --sandbox exec web -- 'a'\''b'",
            ),
        ] {
            assert_eq!(hint(line), Some(format!("write: {form}")), "{line:?}");
        }
        for line in [
            &["bowline", "exec", "web"][..],
            &["bowline", "exec", "--nope", "--", "ls"],
            &["bowline", "ls", "-x"],
        ] {
            assert_eq!(hint(line), None, "{line:?}");
        }
    }
}
