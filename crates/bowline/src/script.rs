//! A script of ours, run in a container: it travels in front of its own stdin, is checked there, and leaves nothing.

use sha2::{Digest, Sha256};

use crate::boot;
use crate::session::exec::ExecRequest;

const TOOLS: &str = include_str!("files/scripts/tools.sh");
/// It heeds SIGPIPE: when a session ends, some shells tell on stderr how the script died, to a reader that has gone, and would
/// die of that themselves before they clear up.
const RUN: &str = include_str!("script.sh");

/// What to run.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Script {
    /// The script itself.
    pub source: Vec<u8>,
    /// What it is called in the container; its own `$0` ends with it.
    pub name: String,
    /// What runs it; by default what stands behind its `#!`, else `sh`.
    pub interpreter: Option<Vec<String>>,
    /// Variables of its environment.
    pub environment: Vec<(String, String)>,
    /// Its arguments; they arrive byte for byte.
    pub arguments: Vec<Vec<u8>>,
    /// Whether stdin will be sent; without it the script's stdin is the null device.
    pub stdin: bool,
}

/// Why a script cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScriptError {
    /// Nothing to run it with.
    #[error("the interpreter is empty")]
    NoInterpreter,
    /// A name that no shell takes.
    #[error("{0:?} is no name for a variable")]
    BadVariable(String),
}

impl Script {
    /// A script with a name, and defaults for all else.
    #[must_use]
    pub fn new(name: impl Into<String>, source: Vec<u8>) -> Self {
        Self {
            source,
            name: name.into(),
            ..Self::default()
        }
    }

    /// The request that runs it.
    pub fn request(&self) -> Result<ExecRequest, ScriptError> {
        let interpreter = match &self.interpreter {
            Some(words) => words.clone(),
            None => shebang(&self.source).unwrap_or_else(|| vec!["sh".to_owned()]),
        };
        if interpreter.first().is_none_or(String::is_empty) {
            return Err(ScriptError::NoInterpreter);
        }
        if let Some((name, _)) = self.environment.iter().find(|(name, _)| !is_variable(name)) {
            return Err(ScriptError::BadVariable(name.clone()));
        }
        let digest = hex::encode(Sha256::digest(&self.source));
        // Two runs of one script at a time are two places.
        let seed = getrandom::u64().unwrap_or_else(|_| std::process::id().into());
        let id = format!("{seed:016x}");
        let mut words: Vec<Vec<u8>> = vec![
            self.name.replace(['/', '\0'], "_").into_bytes(),
            self.source.len().to_string().into_bytes(),
            digest.into_bytes(),
            id.into_bytes(),
            if self.stdin {
                b"i".to_vec()
            } else {
                b"-".to_vec()
            },
            self.environment.len().to_string().into_bytes(),
        ];
        let pairs = self.environment.iter();
        words.extend(pairs.map(|(name, value)| format!("{name}={value}").into_bytes()));
        words.push(interpreter.len().to_string().into_bytes());
        words.extend(interpreter.into_iter().map(String::into_bytes));
        words.extend(self.arguments.iter().cloned());
        let program = format!("{TOOLS}{RUN}");
        let words = words.iter().map(Vec::as_slice);
        let request = boot::request(&program, "bowline-script", words, &self.source);
        Ok(ExecRequest {
            stdin: self.stdin,
            ..request
        })
    }
}

/// What stands behind `#!`: a program and, as Linux has it, at most one argument.
fn shebang(source: &[u8]) -> Option<Vec<String>> {
    let line = source
        .strip_prefix(b"#!")?
        .split(|&byte| byte == b'\n')
        .next()?;
    let line = std::str::from_utf8(line).ok()?.trim();
    let (program, argument) = match line.split_once([' ', '\t']) {
        Some((program, argument)) => (program, Some(argument.trim())),
        None => (line, None),
    };
    let words = [Some(program), argument].into_iter().flatten();
    let words: Vec<String> = words
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    (!words.is_empty()).then_some(words)
}

/// Whether a shell can have a variable of this name.
pub fn is_variable(name: &str) -> bool {
    let mut letters = name.chars();
    letters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_says_what_runs_it() {
        for (source, words) in [
            ("#!/bin/bash\necho", Some(&["/bin/bash"][..])),
            (
                "#! /usr/bin/env  python3 -u \r\nprint()",
                Some(&["/usr/bin/env", "python3 -u"]),
            ),
            ("#!/bin/sh -e", Some(&["/bin/sh", "-e"])),
            ("#!\n", None),
            ("echo #!/bin/sh", None),
        ] {
            let found = shebang(source.as_bytes());
            assert_eq!(
                found,
                words.map(|words| words.iter().map(|word| (*word).to_owned()).collect()),
                "{source}"
            );
        }
    }

    #[test]
    fn what_cannot_be_said_to_a_shell_is_refused() {
        let mut script = Script::new("x", Vec::new());
        script.environment = vec![("A B".into(), String::new())];
        assert_eq!(
            script.request().unwrap_err(),
            ScriptError::BadVariable("A B".into())
        );
        script.environment.clear();
        script.interpreter = Some(Vec::new());
        assert_eq!(script.request().unwrap_err(), ScriptError::NoInterpreter);
    }
}
