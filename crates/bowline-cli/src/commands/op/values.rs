//! Values on their way into an operation: from the command line, from a container, to a container.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bowline::files::CopyOptions;
use bowline::operation::{BadValue, Bound, Operation, ParameterType};
use bowline::session::exec::{ExecEvent, ExecRequest};
use bowline::{Client, ResolvedTarget};
use tokio::time::timeout;

use crate::commands::{Context, cp};
use crate::error::{CommandError, ErrorKind};

/// A command that prints choices may take so long …
const CHOOSING: Duration = Duration::from_secs(60);
/// … and print so much.
const CHOICES: usize = 1 << 20;
/// For removing what was shipped: the operation's code waits for it.
const REMOVING: Duration = Duration::from_secs(10);

/// Reads `key=value` words.
pub(super) fn given(words: &[String]) -> Result<BTreeMap<String, String>, CommandError> {
    let mut given = BTreeMap::new();
    for word in words {
        let Some((key, value)) = word.split_once('=') else {
            let word = bowline::files::shown(word.as_bytes());
            return Err(
                CommandError::usage(format!("\"{word}\" is no value for a parameter")).hint(
                    "write: key=value, with quotes around the whole where a shell needs them",
                ),
            );
        };
        if given.insert(key.to_owned(), value.to_owned()).is_some() {
            let key = bowline::files::shown(key.as_bytes());
            return Err(CommandError::usage(format!(
                "parameter {key} is given twice"
            )));
        }
    }
    Ok(given)
}

/// The operation with its values.
pub(super) fn check(
    operation: &Operation,
    given: &BTreeMap<String, String>,
    choices: &BTreeMap<String, Vec<String>>,
) -> Result<Bound, CommandError> {
    let bound = operation.bind(given, choices).map_err(|error| {
        let hint = match &error {
            BadValue::Unknown { known, .. } if !known.is_empty() => {
                Some(format!("its parameters are {}", known.join(", ")))
            }
            BadValue::Missing { name } => Some(format!("write: {name}=…")),
            _ => None,
        };
        let error = CommandError::usage(error.to_string());
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    })?;
    for (name, value) in files(operation, &bound) {
        if !value.is_file() {
            let text = format!("parameter {name}: there is no file {}", value.display());
            return Err(CommandError::usage(text));
        }
    }
    Ok(bound)
}

/// What the commands of enums print in the target.
pub(super) async fn choices(
    client: &Client,
    target: &ResolvedTarget,
    operation: &Operation,
    wait: Duration,
) -> Result<BTreeMap<String, Vec<String>>, CommandError> {
    let mut choices = BTreeMap::new();
    for (name, parameter) in &operation.param {
        if parameter.values_from.is_empty() {
            continue;
        }
        let request = ExecRequest {
            wait,
            timeout: Some(CHOOSING),
            ..ExecRequest::new(parameter.values_from.iter().map(String::as_str))
        };
        let mut exec = client.exec(target.clone(), request);
        let mut text = Vec::new();
        let code = loop {
            match exec.next().await {
                Some(ExecEvent::Stdout(bytes)) if text.len() < CHOICES => {
                    text.extend_from_slice(&bytes);
                }
                Some(ExecEvent::Exit { code }) => break code,
                Some(ExecEvent::Closed { reason }) => return Err(reason.into()),
                Some(_) => {}
                None => break -1,
            }
        };
        let lines = String::from_utf8_lossy(&text);
        let lines: Vec<String> = lines
            .lines()
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect();
        if code != 0 || lines.is_empty() {
            let text = format!(
                "the values of parameter {name} could not be listed: {} ended with {code} and {} lines",
                shell_words::join(&parameter.values_from),
                lines.len()
            );
            return Err(CommandError::new(ErrorKind::Unavailable, text));
        }
        choices.insert(name.clone(), lines);
    }
    Ok(choices)
}

/// Files of ours in the container, for as long as the operation runs.
#[derive(Default)]
pub(super) struct Shipped {
    paths: BTreeMap<String, String>,
}

impl Shipped {
    /// Copies the files that parameters name. However that ends, they are to be removed.
    pub(super) async fn ship(
        &mut self,
        client: &Client,
        target: &ResolvedTarget,
        operation: &Operation,
        bound: &Bound,
    ) -> Result<(), CommandError> {
        for (name, path) in files(operation, bound) {
            let seed = getrandom::u64().unwrap_or_else(|_| std::process::id().into());
            let file = path.file_name().map(|file| {
                file.to_string_lossy().replace(
                    |letter: char| !letter.is_ascii_alphanumeric() && letter != '.',
                    "_",
                )
            });
            let to = format!("/tmp/.bowline-op-{seed:016x}-{}", file.unwrap_or_default());
            let options = CopyOptions::default();
            let (sources, mut quiet) = ([path], |_| {});
            self.paths.insert(name, to.clone());
            let copied = client.upload(
                target.clone(),
                &sources,
                to.as_bytes(),
                &options,
                &mut quiet,
            );
            copied.await.map_err(cp::error)?;
        }
        Ok(())
    }

    /// The command with the files' paths in the container.
    pub(super) fn argv(
        &self,
        operation: &Operation,
        bound: &Bound,
    ) -> Result<Vec<String>, CommandError> {
        let mut values = bound.values.clone();
        values.extend(self.paths.clone());
        operation
            .words(&values)
            .map_err(|error| CommandError::usage(error.to_string()))
    }

    /// Removes them, and says so if there was no time for it.
    pub(super) async fn remove(&self, client: &Client, target: &ResolvedTarget, context: &Context) {
        if self.paths.is_empty() {
            return;
        }
        let words = ["rm", "-f", "--"]
            .into_iter()
            .chain(self.paths.values().map(String::as_str));
        let mut exec = client.exec(target.clone(), ExecRequest::new(words));
        // What is left in /tmp of a container that cannot be entered any more goes with it.
        let removed = timeout(REMOVING, async { while exec.next().await.is_some() {} });
        if removed.await.is_err() {
            let paths: Vec<&str> = self.paths.values().map(String::as_str).collect();
            let text = format!("these files may be left in {target}: {}", paths.join(" "));
            context.printer.warning(&text);
        }
    }
}

/// Whether files of ours have to be in the container.
pub(super) fn has_files(operation: &Operation, bound: &Bound) -> bool {
    !files(operation, bound).is_empty()
}

fn files(operation: &Operation, bound: &Bound) -> Vec<(String, PathBuf)> {
    let is_file = |name: &String| {
        operation
            .param
            .get(name)
            .is_some_and(|parameter| parameter.kind == ParameterType::File)
    };
    let files = bound.values.iter().filter(|(name, _)| is_file(name));
    files
        .map(|(name, value)| (name.clone(), PathBuf::from(value)))
        .collect()
}
