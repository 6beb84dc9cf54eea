//! bash, which takes words apart at `:` and `=` before a completion function sees them.
//!
//! The function therefore hands over the line as it is; we find the words, and give back only what follows the last of
//! these characters, which is what readline replaces.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;

use clap::Command;
use clap_complete::env::EnvCompleter;

use super::write_separated;

/// The adapter.
#[derive(Debug)]
pub(super) struct Bash;

impl EnvCompleter for Bash {
    fn name(&self) -> &'static str {
        "bash"
    }

    fn is(&self, name: &str) -> bool {
        name == "bash"
    }

    fn write_registration(
        &self,
        variable: &str,
        _name: &str,
        program: &str,
        completer: &str,
        buffer: &mut dyn Write,
    ) -> io::Result<()> {
        let completer = shell_words::quote(completer);
        let script = SCRIPT
            .replace("VARIABLE", variable)
            .replace("COMPLETER", &completer)
            .replace("PROGRAM", program);
        buffer.write_all(script.as_bytes())
    }

    fn write_complete(
        &self,
        tree: &mut Command,
        arguments: Vec<OsString>,
        folder: Option<&Path>,
        buffer: &mut dyn Write,
    ) -> io::Result<()> {
        // What follows the first `--` of the script's call: the line up to the cursor, as one word.
        let line = arguments.into_iter().next_back().unwrap_or_default();
        let words = words(&line.to_string_lossy());
        let current = words.last().cloned().unwrap_or_default();
        let kept = current.rfind([':', '=']).map_or(0, |at| at + 1);
        let index = words.len().saturating_sub(1);
        let words = words.into_iter().map(OsString::from).collect();
        let found = clap_complete::engine::complete(tree, words, index, folder)?;
        let values = found.iter().filter_map(|candidate| {
            let value = candidate.get_value().to_str()?;
            value.get(kept..).map(str::to_owned)
        });
        write_separated(values, buffer)
    }
}

/// The words of a line that may end within one; the last is the one the cursor is in or about to begin.
pub(super) fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        let word = words.last_mut().expect("there is one from the beginning");
        match (letter, quote) {
            ('\\', None | Some('"')) => word.extend(letters.next()),
            (letter, Some(open)) if letter == open => quote = None,
            (letter, Some(_)) => word.push(letter),
            ('\'' | '"', None) => quote = Some(letter),
            (letter, None) if letter.is_whitespace() => {
                if !word.is_empty() {
                    words.push(String::new());
                }
            }
            (letter, None) => word.push(letter),
        }
    }
    words
}

const SCRIPT: &str = r#"_bowline_complete() {
    local IFS=$'\013'
    COMPREPLY=( $( \
        _CLAP_IFS="$IFS" VARIABLE=bash COMPLETER -- "${COMP_LINE:0:COMP_POINT}" 2>/dev/null \
    ) )
    if [[ ${#COMPREPLY[@]} -eq 1 && "${COMPREPLY[0]}" != *[=/:] ]]; then
        compopt +o nospace 2>/dev/null
    fi
}
complete -o nospace -o bashdefault -F _bowline_complete PROGRAM
"#;

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn words_are_found_as_the_shell_would() {
        for (line, expected) in [
            ("bowline ", &["bowline", ""][..]),
            ("bowline  lo", &["bowline", "lo"]),
            ("bowline login task:pr", &["bowline", "login", "task:pr"]),
            ("bowline -c 'a b' \"c", &["bowline", "-c", "a b", "c"]),
            ("bowline a\\ b", &["bowline", "a b"]),
            ("bowline a\\", &["bowline", "a"]),
            ("", &[""]),
        ] {
            assert_eq!(words(line), expected, "{line:?}");
        }
    }
}
