//! Completion at a prompt: options and verbs from the argument tree, and live names of what there is.
//!
//! The shell's script asks this program for each Tab, with `COMPLETE` set to the shell's name. Nothing may hang or
//! speak at a prompt: what is not known within a strict limit is not offered, and there is no error text.

mod bash;
mod live;
mod local;
mod targets;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Elvish, EnvCompleter, Fish, Powershell, Shells, Zsh};

use crate::cli::Cli;

/// The variable that makes this program answer a shell.
const VARIABLE: &str = "COMPLETE";
/// The shells, each in its own manner.
const SHELLS: [&dyn EnvCompleter; 5] = [&bash::Bash, &Elvish, &Fish, &Powershell, &Zsh];

/// Whether a shell asks. Another program's variable of the same name is none of our business.
pub(crate) fn is_asked() -> bool {
    let shell = std::env::var_os(VARIABLE);
    let shell = shell
        .as_deref()
        .and_then(|shell| Path::new(shell).file_stem());
    shell
        .and_then(OsStr::to_str)
        .is_some_and(|shell| known(shell).is_some())
}

/// Answers the shell. What goes wrong is silence.
pub(crate) fn answer(arguments: Vec<OsString>) {
    let asks_for_words = arguments.iter().any(|word| word == "--");
    if asks_for_words && let Ok(nowhere) = File::options().write(true).open("/dev/null") {
        // Also for programs that credentials come from.
        let _ = rustix::stdio::dup2_stderr(nowhere);
    }
    let folder = std::env::current_dir().ok();
    let environment = CompleteEnv::with_factory(tree).shells(Shells(&SHELLS));
    if let Err(error) = environment.try_complete(arguments, folder.as_deref())
        && !asks_for_words
    {
        let _ = error.print();
    }
}

/// The script that a shell reads once, or `None` if there is none for it.
pub(crate) fn script(shell: &str, program: &OsStr) -> Option<io::Result<String>> {
    let shell = known(shell)?;
    let mut text = Vec::new();
    let written = shell.write_registration(VARIABLE, NAME, NAME, &callable(program), &mut text);
    Some(written.map(|()| String::from_utf8_lossy(&text).into_owned()))
}

fn known(shell: &str) -> Option<&'static dyn EnvCompleter> {
    let shell = if shell == "pwsh" { "powershell" } else { shell };
    SHELLS.into_iter().find(|known| known.is(shell))
}

/// A program that was found on the PATH is found there again; a path has to hold in every folder.
fn callable(program: &OsStr) -> String {
    let path = Path::new(program);
    if path.components().count() <= 1 {
        return NAME.to_owned();
    }
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.to_string_lossy().into_owned()
}

/// The argument tree with what completes each value. It is hung on from outside, by name, so that a new verb with a
/// target has its completion without asking for it.
fn tree() -> Command {
    let tree = Cli::command();
    let tree = tree
        .mut_arg("cluster", |arg| arg.add(completer(targets::clusters)))
        .mut_arg("service", |arg| arg.add(completer(targets::services)))
        .mut_arg("task", |arg| arg.add(completer(targets::tasks)))
        .mut_arg("container", |arg| arg.add(completer(targets::containers)))
        .mut_arg("profile", |arg| arg.add(completer(|_| local::profiles())))
        .mut_arg("region", |arg| arg.add(completer(|_| local::regions())));
    with_targets(tree)
}

fn with_targets(tree: Command) -> Command {
    let is_target = |id: &str| matches!(id, "target" | "first" | "targets");
    let positionals = tree.get_positionals();
    let ids: Vec<String> = positionals.map(|arg| arg.get_id().to_string()).collect();
    // An argument that is changed moves behind all others; so that they keep their order, all of them do.
    let tree = ids.into_iter().fold(tree, |tree, id| {
        let has_names = is_target(&id);
        tree.mut_arg(id, |arg| match has_names {
            true => arg.add(completer(targets::targets)),
            false => arg,
        })
    });
    let names: Vec<String> = tree
        .get_subcommands()
        .map(|verb| verb.get_name().to_owned())
        .collect();
    names
        .into_iter()
        .fold(tree, |tree, name| tree.mut_subcommand(name, with_targets))
}

/// Offers what fits what is typed.
fn completer(all: fn(&str) -> Vec<Candidate>) -> ArgValueCompleter {
    ArgValueCompleter::new(move |typed: &OsStr| {
        let Some(typed) = typed.to_str() else {
            return Vec::new();
        };
        let fitting = all(typed).into_iter();
        fitting
            .filter(|candidate| candidate.value.starts_with(typed))
            .map(|candidate| {
                let help = candidate.help.map(Into::into);
                CompletionCandidate::new(candidate.value).help(help)
            })
            .collect()
    })
}

/// One thing that may be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    value: String,
    help: Option<String>,
}

impl Candidate {
    fn new(value: impl Into<String>) -> Self {
        Self {
            value: value.into(),
            help: None,
        }
    }

    fn with_help(value: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            value: value.into(),
            help: Some(help.into()),
        }
    }
}

/// Writes candidates, each behind the separator that the shell has asked for.
fn write_separated(values: impl Iterator<Item = String>, buffer: &mut dyn Write) -> io::Result<()> {
    let separator = std::env::var("_CLAP_IFS").unwrap_or_else(|_| "\n".to_owned());
    for (at, value) in values.enumerate() {
        if at > 0 {
            buffer.write_all(separator.as_bytes())?;
        }
        buffer.write_all(value.as_bytes())?;
    }
    Ok(())
}

const NAME: &str = "bowline";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_consistent_and_every_target_is_completed() {
        let mut tree = tree();
        tree.clone().debug_assert();
        tree.build();
        for verb in ["login", "exec", "ls"] {
            let verb = tree.find_subcommand(verb).unwrap();
            let first = verb
                .get_positionals()
                .find(|arg| arg.get_index() == Some(1));
            assert!(first.unwrap().get::<ArgValueCompleter>().is_some());
        }
    }

    #[test]
    fn there_is_a_script_for_each_shell() {
        for shell in ["bash", "zsh", "fish", "powershell", "pwsh", "elvish"] {
            let script = script(shell, OsStr::new("bowline")).unwrap().unwrap();
            assert!(script.contains("bowline"), "{shell}: {script}");
        }
        assert!(script("tcsh", OsStr::new("bowline")).is_none());
        let script = script("bash", OsStr::new("./a b/bowline"))
            .unwrap()
            .unwrap();
        assert!(script.contains("/a b/bowline'"), "{script}");
    }
}
