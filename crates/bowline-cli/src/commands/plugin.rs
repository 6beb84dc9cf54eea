//! `bowline plugin`: bowline in place of AWS's session-manager-plugin.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::Context;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;
use crate::plugin::NAME;

/// Let bowline stand in for session-manager-plugin
///
/// The AWS CLI, copilot, ecspresso and others start a program of that name for
/// their sessions. Called by it, bowline does that work: `install` makes a link,
/// `status` says which program is found.
///
/// Examples:
///   bowline plugin install
///   bowline plugin install --dir ~/bin
///   bowline plugin status
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct PluginArgs {
    #[command(subcommand)]
    command: PluginCommand,
}

#[derive(Debug, Subcommand)]
enum PluginCommand {
    /// Link this program as session-manager-plugin; another program of that name is left alone
    ///
    /// Examples:
    ///   bowline plugin install --dir ~/bin
    #[command(verbatim_doc_comment)]
    Install(PlaceArgs),
    /// Remove the link
    ///
    /// Examples:
    ///   bowline plugin uninstall --dir ~/bin
    #[command(verbatim_doc_comment)]
    Uninstall(PlaceArgs),
    /// Show which session-manager-plugin is found
    ///
    /// Examples:
    ///   bowline plugin status
    #[command(verbatim_doc_comment)]
    Status,
}

#[derive(Args, Debug)]
struct PlaceArgs {
    /// The directory of the link; without this ~/.local/bin
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Runs one of its commands.
pub fn run(args: PluginArgs, context: &Context) -> Result<ExitCode, CommandError> {
    match args.command {
        PluginCommand::Install(place) => install(&place, context),
        PluginCommand::Uninstall(place) => uninstall(&place, context),
        PluginCommand::Status => status(context),
    }
}

fn install(place: &PlaceArgs, context: &Context) -> Result<ExitCode, CommandError> {
    let directory = place.directory()?;
    let link = directory.join(NAME);
    let program = own_program()?;
    match fs::symlink_metadata(&link) {
        Ok(_) if is_ours(&link, &program) => {
            fs::remove_file(&link).map_err(|error| failed("replace", &link, &error))?;
        }
        Ok(_) => {
            return Err(CommandError::new(
                ErrorKind::Failed,
                format!(
                    "{} is there already and is not bowline; it was left alone",
                    link.display()
                ),
            )
            .hint(
                "choose another directory with --dir, and put it in front of the others in PATH",
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("look at", &link, &error)),
    }
    fs::create_dir_all(&directory).map_err(|error| failed("make", &directory, &error))?;
    symlink(&program, &link).map_err(|error| failed("make", &link, &error))?;
    context
        .printer
        .note(&format!("{} is now {}", link.display(), program.display()));
    let found = on_path();
    if found
        .first()
        .is_none_or(|first| !is_same(first, &link) && !is_ours(first, &program))
    {
        context.printer.note(&match found.first() {
            Some(first) => format!(
                "{} comes first in PATH: put {} in front of it",
                first.display(),
                directory.display()
            ),
            None => format!("{} is not in PATH: add it", directory.display()),
        });
    }
    Ok(ExitCode::Success)
}

fn uninstall(place: &PlaceArgs, context: &Context) -> Result<ExitCode, CommandError> {
    let link = place.directory()?.join(NAME);
    if fs::symlink_metadata(&link).is_err() {
        let text = format!("there is no {}", link.display());
        return Err(CommandError::new(ErrorKind::Failed, text)
            .hint("`bowline plugin status` shows what there is"));
    }
    if !is_ours(&link, &own_program()?) {
        let text = format!("{} is not bowline; it was left alone", link.display());
        return Err(CommandError::new(ErrorKind::Failed, text));
    }
    fs::remove_file(&link).map_err(|error| failed("remove", &link, &error))?;
    context
        .printer
        .note(&format!("{} was removed", link.display()));
    Ok(ExitCode::Success)
}

/// Success if the first one is ours.
fn status(context: &Context) -> Result<ExitCode, CommandError> {
    let program = own_program()?;
    let found = on_path();
    let mut text = String::new();
    for (at, plugin) in found.iter().enumerate() {
        let what = match is_ours(plugin, &program) {
            true => "bowline",
            false => "another program",
        };
        let used = if at == 0 { "used" } else { "behind it" };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}\t{what}\t{used}", plugin.display());
    }
    context.printer.document(&text)?;
    if found.is_empty() {
        context.printer.note(&format!("there is no {NAME} in PATH"));
    }
    Ok(
        match found.first().is_some_and(|first| is_ours(first, &program)) {
            true => ExitCode::Success,
            false => ExitCode::Findings,
        },
    )
}

impl PlaceArgs {
    fn directory(&self) -> Result<PathBuf, CommandError> {
        if let Some(directory) = &self.dir {
            return std::path::absolute(directory).map_err(CommandError::from);
        }
        let home = env::var_os("HOME").filter(|home| !home.is_empty());
        let home = home.ok_or_else(|| {
            CommandError::usage("there is no home directory").hint("name a directory with --dir")
        })?;
        Ok(Path::new(&home).join(".local/bin"))
    }
}

fn own_program() -> Result<PathBuf, CommandError> {
    env::current_exe()
        .and_then(fs::canonicalize)
        .map_err(|error| {
            CommandError::new(
                ErrorKind::Unavailable,
                format!("cannot find this program's own file: {error}"),
            )
        })
}

/// A link to this program, or to one of its name (which may be gone since), or this program itself under another name.
fn is_ours(plugin: &Path, program: &Path) -> bool {
    is_same(plugin, program)
        || fs::read_link(plugin)
            .is_ok_and(|target| target.file_name().is_some_and(|name| name == "bowline"))
}

fn is_same(one: &Path, other: &Path) -> bool {
    match (fs::canonicalize(one), fs::canonicalize(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// All there are, the one that is found first in front.
fn on_path() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<PathBuf> = Vec::new();
    for directory in env::split_paths(&path) {
        let plugin = directory.join(NAME);
        let runs = fs::metadata(&plugin)
            .is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0);
        if runs && !found.contains(&plugin) {
            found.push(plugin);
        }
    }
    found
}

fn failed(what: &str, path: &Path, error: &io::Error) -> CommandError {
    CommandError::new(
        ErrorKind::Failed,
        format!("cannot {what} {}: {error}", path.display()),
    )
}
