//! `bowline record`: recordings of sessions.

mod export;
mod ls;
mod play;
mod verify;

use std::fs;
use std::path::{Path, PathBuf};

use bowline::record::{Destination, Summary, summary};
use clap::{Args, Subcommand, ValueEnum};

use super::Context;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;
use crate::recording;

/// List, replay and check recordings of sessions
///
/// Sessions are recorded with --record, or always where the configuration says so
/// ([record] always = true). A terminal becomes an asciicast, everything else lines
/// of JSON. Each line is sealed by a digest of all before it; secrets are taken out
/// by pattern.
///
/// Examples:
///   bowline exec --record web -- ./migrate
///   bowline record ls
///   bowline record play 20261121T1735        the beginning of a name is enough
///   bowline record verify *.cast *.ndjson
///   bowline record export 20261121T1735 --form text
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct RecordArgs {
    #[command(subcommand)]
    command: RecordCommand,
}

#[derive(Debug, Subcommand)]
enum RecordCommand {
    /// List recordings, newest first
    ///
    /// Examples:
    ///   bowline record ls
    #[command(verbatim_doc_comment)]
    #[command(alias = "list")]
    Ls,
    /// Show a recording as it happened; asciicasts of others too
    ///
    /// Examples:
    ///   bowline record play 20261121T1735 --speed 4 --idle 1
    #[command(verbatim_doc_comment)]
    Play {
        /// A file, or the beginning of a recording's name
        recording: String,
        /// So many times faster
        #[arg(long, default_value_t = 1.0, value_name = "TIMES", value_parser = speed)]
        speed: f64,
        /// No pause is longer than so many seconds
        #[arg(long, value_name = "SECONDS", value_parser = speed)]
        idle: Option<f64>,
    },
    /// Say whether recordings are as they were written; exit code 4 if one is not
    ///
    /// Examples:
    ///   bowline record verify *.cast *.ndjson
    #[command(verbatim_doc_comment)]
    Verify {
        /// Files, or beginnings of recordings' names
        #[arg(required = true)]
        recordings: Vec<String>,
        /// The seal that was noted elsewhere when the recording was closed
        #[arg(long, value_name = "SEAL")]
        seal: Option<String>,
    },
    /// Print a recording in another form, or copy it to where it is kept
    ///
    /// Examples:
    ///   bowline record export 20261121T1735 --form v2
    ///   bowline record export 20261121T1735 --to s3://audit/ecs
    #[command(verbatim_doc_comment)]
    Export {
        /// A file, or the beginning of a recording's name
        recording: String,
        /// The form: v3 or v2 (asciicasts without seals), text, or json (what it is about)
        #[arg(long, value_enum, default_value_t = Form::Text, value_name = "FORM", conflicts_with = "to")]
        form: Form,
        /// Copy it as it is, with its seals: logs:GROUP or s3://BUCKET/PREFIX
        #[arg(long, value_name = "DESTINATION")]
        to: Option<Destination>,
    },
}

/// What a recording can become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    V3,
    V2,
    Text,
    Json,
}

/// Does it.
pub async fn run(args: RecordArgs, context: &Context) -> Result<ExitCode, CommandError> {
    match args.command {
        RecordCommand::Ls => ls::run(context),
        RecordCommand::Play {
            recording,
            speed,
            idle,
        } => play::run(&find(&recording, context)?, speed, idle, context).await,
        RecordCommand::Verify { recordings, seal } => {
            let found = recordings.iter().map(|one| find(one, context));
            let files = found.collect::<Result<Vec<_>, _>>()?;
            verify::run(&files, seal.as_deref(), context)
        }
        RecordCommand::Export {
            recording,
            form,
            to,
        } => {
            let path = find(&recording, context)?;
            match to {
                Some(to) => export::copy(&path, &to, context).await,
                None => export::run(&path, form, context),
            }
        }
    }
}

/// A file as it is named, else the one recording whose name begins so.
fn find(name: &str, context: &Context) -> Result<PathBuf, CommandError> {
    let path = PathBuf::from(name);
    if path.is_file() {
        return Ok(path);
    }
    let folder = recording::folder(context)?;
    let names = |path: &PathBuf| {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        file.starts_with(name)
    };
    let found: Vec<PathBuf> = files(&folder)?.into_iter().filter(names).collect();
    match &found[..] {
        [one] => Ok(one.clone()),
        [] => {
            let text = format!(
                "there is no recording {name}, neither here nor in {}",
                folder.display()
            );
            Err(CommandError::new(ErrorKind::NotFound, text)
                .hint("`bowline record ls` lists what there is"))
        }
        several => {
            let text = format!("{} recordings begin with {name}", several.len());
            Err(CommandError::new(ErrorKind::NotFound, text)
                .hint("`bowline record ls` lists them; name more of it"))
        }
    }
}

/// The recordings of a folder, oldest first; none if it is not there.
fn files(folder: &Path) -> Result<Vec<PathBuf>, CommandError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(folder, &error)),
    };
    let is_one = |path: &PathBuf| {
        let ending = path.extension().unwrap_or_default();
        ending == "cast" || ending == "ndjson"
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(is_one)
        .collect();
    files.sort();
    Ok(files)
}

fn about(path: &Path) -> Result<Summary, CommandError> {
    let found = summary(path).map_err(|error| unreadable(path, &error))?;
    found.ok_or_else(|| {
        let text = format!("{} is no recording", path.display());
        CommandError::new(ErrorKind::Failed, text)
    })
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> CommandError {
    let text = format!("{} cannot be read: {error}", path.display());
    CommandError::new(ErrorKind::Failed, text)
}

/// A number above zero.
fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 && number <= 1e6 => Ok(number),
        _ => Err("it is a number above 0".to_owned()),
    }
}
