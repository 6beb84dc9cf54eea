//! `bowline sandbox`: a local AWS in the foreground, or in the background under a name.

mod background;
mod control;
mod place;
mod serve;
mod status;

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use bowline_sandbox::WorldFile;
use clap::{Args, Subcommand};

use self::control::{Answer, Question};
use self::place::{Name, Place};
use self::serve::ServeArgs;
pub(crate) use self::serve::faults;
use super::Context;
use crate::cli::OutputFormat;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;
use crate::output::json;

/// The hidden first word with which the sandbox starts this program again as the init of a container.
pub(crate) const CONTAINER_INIT: &str = "__container-init";

/// Serve a local AWS with ECS tasks that are real processes
///
/// It listens on loopback only, prints `export NAME=value` lines for the shell
/// when it is ready, and runs until it is interrupted. The AWS CLI, boto3 and
/// bowline itself work against it. `up -d` has one in the background, which the
/// other subcommands are about.
///
/// Examples:
///   bowline sandbox --env-file env &      then, when the file is there:  . ./env
///   eval "$(bowline sandbox up -d)"       one in the background, and a shell that is led there
///   bowline sandbox --agent stock         the real agent's delay and faults
///   bowline sandbox --agent real=./agent  AWS's own agent, from ./agent
///   bowline sandbox --scenario no-base64  an image without base64
///   bowline sandbox --fault loss=10%      messages that vanish
///   bowline sandbox --world shop.yaml     clusters and services of your own
///   bowline sandbox --isolation on        tasks with their own files and network
///   bowline sandbox --runtime podman      images that really run
///   bowline --sandbox exec web -- date    a private one, for one command
#[derive(Args, Debug)]
#[command(verbatim_doc_comment, args_conflicts_with_subcommands = true)]
pub struct SandboxArgs {
    #[command(subcommand)]
    command: Option<SandboxCommand>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
enum SandboxCommand {
    /// Start one under a name, with -d in the background
    ///
    /// With -d it prints the lines for the shell when it is ready, and returns. One of a name runs at a time. What it
    /// says goes to its log, which `status` names.
    ///
    /// Examples:
    ///   bowline sandbox up -d
    ///   eval "$(bowline sandbox up -d)"
    ///   bowline sandbox up -d --name ci --world shop.yaml --state shop.state
    #[command(verbatim_doc_comment)]
    Up(Box<UpArgs>),
    /// Show the sandboxes that run; exit code 3 if none does
    ///
    /// The address of the page opens it for whoever has the address.
    ///
    /// Examples:
    ///   bowline sandbox status
    ///   bowline sandbox status --name ci -o json
    #[command(verbatim_doc_comment)]
    Status {
        /// Only the one of this name
        #[arg(long, value_name = "NAME")]
        name: Option<Name>,
    },
    /// Print the lines that lead a shell to the one that runs
    ///
    /// With -o json they are one object; null stands for a variable to unset.
    ///
    /// Examples:
    ///   bowline sandbox env
    ///   eval "$(bowline sandbox env --name ci)"
    ///   bowline sandbox env -o json
    #[command(verbatim_doc_comment)]
    Env(NameArgs),
    /// Add the clusters, services, functions and values of a world file to the one that runs
    ///
    /// What the file names and is there already is replaced; a service whose tasks would be others is rolled out. A file
    /// with a mistake changes nothing.
    ///
    /// Examples:
    ///   bowline sandbox load shop.yaml
    #[command(verbatim_doc_comment)]
    Load {
        #[command(flatten)]
        name: NameArgs,
        /// YAML or JSON; - is stdin
        file: PathBuf,
    },
    /// Go back to the world that it started with
    ///
    /// All tasks and sessions end. Endpoint and keys stay.
    ///
    /// Examples:
    ///   bowline sandbox reset
    #[command(verbatim_doc_comment)]
    Reset(NameArgs),
    /// End it, with all its sessions and containers
    ///
    /// Returns when everything is gone.
    ///
    /// Examples:
    ///   bowline sandbox down
    ///   bowline sandbox down --name ci
    #[command(verbatim_doc_comment)]
    Down(NameArgs),
    /// Print the JSON schema of world files, for editors
    ///
    /// Examples:
    ///   bowline sandbox schema >world.schema.json
    #[command(verbatim_doc_comment)]
    Schema,
}

#[derive(Args, Debug)]
struct UpArgs {
    /// In the background
    #[arg(short, long)]
    detach: bool,
    /// What the other subcommands know it by
    #[arg(long, value_name = "NAME", default_value_t)]
    name: Name,
    /// This is the one in the background.
    #[arg(long, hide = true, requires = "detach")]
    detached: bool,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Args, Debug)]
struct NameArgs {
    /// The sandbox that is meant
    #[arg(long, value_name = "NAME", default_value_t)]
    name: Name,
}

/// Does it.
pub async fn run(args: SandboxArgs, context: &Context) -> Result<ExitCode, CommandError> {
    if context.global.sandbox {
        return Err(
            CommandError::usage("--sandbox starts a private sandbox for one command")
                .hint("run `bowline sandbox`"),
        );
    }
    match args.command {
        None => serve::run(&args.serve, None, context).await,
        Some(SandboxCommand::Up(up)) if up.detach && !up.detached => {
            background::start(&up.name, &up.serve, context).await
        }
        Some(SandboxCommand::Up(up)) => {
            if up.detached {
                // It may lead a session already, where it was started by hand.
                let _ = rustix::process::setsid();
            }
            let place = Place::of(&up.name)?.claim().await?;
            serve::run(&up.serve, Some((place, up.detached)), context).await
        }
        Some(SandboxCommand::Down(NameArgs { name })) => down(&name, context).await,
        Some(SandboxCommand::Status { name }) => status::show(name.as_ref(), context).await,
        Some(SandboxCommand::Env(NameArgs { name })) => {
            let told = ask(&name, &Question::Env).await?;
            print_environment(&told.environment, context)?;
            Ok(ExitCode::Success)
        }
        Some(SandboxCommand::Load { name, file }) => load(&name.name, &file, context).await,
        Some(SandboxCommand::Reset(NameArgs { name })) => {
            let told = ask(&name, &Question::Reset).await?;
            let holds = status::holds(&told);
            context
                .printer
                .note(&format!("sandbox {name} is at its start again: {holds}"));
            Ok(ExitCode::Success)
        }
        Some(SandboxCommand::Schema) => {
            context
                .printer
                .document(&json::document(&WorldFile::json_schema())?)?;
            Ok(ExitCode::Success)
        }
    }
}

async fn down(name: &Name, context: &Context) -> Result<ExitCode, CommandError> {
    let place = Place::of(name)?;
    let answer = control::ask(&place, &Question::Down).await;
    let told = answer?.ok_or_else(|| runs_not(name))?;
    place.wait_until_free().await?;
    if let Some(error) = told.error {
        return Err(CommandError::new(
            ErrorKind::Failed,
            format!("sandbox {name} has ended, but {error}"),
        ));
    }
    context.printer.note(&format!("sandbox {name} has ended"));
    Ok(ExitCode::Success)
}

async fn load(name: &Name, file: &Path, context: &Context) -> Result<ExitCode, CommandError> {
    let shown = file.display().to_string();
    let unreadable =
        |error: std::io::Error| CommandError::usage(format!("cannot read {shown}: {error}"));
    let text = match file == Path::new("-") {
        true => {
            let mut text = String::new();
            let mut stdin = std::io::stdin().lock();
            stdin.read_to_string(&mut text).map_err(unreadable)?;
            text
        }
        false => fs::read_to_string(file).map_err(unreadable)?,
    };
    // Mistakes are said here already, even where no sandbox runs.
    WorldFile::parse(&text, &shown).map_err(|error| CommandError::new(ErrorKind::Usage, error))?;
    let question = Question::Load { file: shown, text };
    let told = ask(name, &question).await?;
    let holds = status::holds(&told);
    context
        .printer
        .note(&format!("loaded into sandbox {name}, which has {holds}"));
    Ok(ExitCode::Success)
}

/// What the one that runs answers.
async fn ask(name: &Name, question: &Question) -> Result<Answer, CommandError> {
    let place = Place::of(name)?;
    let told = control::ask(&place, question).await?;
    let told = told.ok_or_else(|| runs_not(name))?;
    match told.error {
        None => Ok(told),
        Some(error) => {
            let kind = match question {
                Question::Load { .. } => ErrorKind::Usage,
                _ => ErrorKind::Failed,
            };
            Err(CommandError::new(kind, error))
        }
    }
}

fn runs_not(name: &Name) -> CommandError {
    let text = format!("no sandbox {name} runs");
    let start = match *name == Name::default() {
        true => "bowline sandbox up -d".to_owned(),
        false => format!("bowline sandbox up -d --name {name}"),
    };
    CommandError::new(ErrorKind::NotFound, text).hint(format!("start one: {start}"))
}

/// As lines for the shell, or as JSON.
fn print_environment(
    environment: &[(String, Option<String>)],
    context: &Context,
) -> Result<(), CommandError> {
    let text = match context.global.output {
        Some(OutputFormat::Json) => {
            let members = environment.iter().cloned();
            let members = members.map(|(name, value)| (name, value.into()));
            json::document(&serde_json::Value::Object(members.collect()))?
        }
        _ => environment_lines(environment),
    };
    context.printer.document(&text)
}

/// For POSIX shells, whatever the values are.
fn environment_lines(environment: &[(String, Option<String>)]) -> String {
    let mut lines = String::new();
    for (name, value) in environment {
        // Writing to a String cannot fail.
        let _ = match value {
            Some(value) => writeln!(lines, "export {name}='{}'", value.replace('\'', r"'\''")),
            None => writeln!(lines, "unset {name}"),
        };
    }
    lines
}
