//! Named sets of the configuration, in the background: `forward up`, `down` and `ls`.

use std::env;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use bowline::config::{ForwardSet, Setting};
use clap::Subcommand;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::background;
use crate::cli::OutputFormat;
use crate::commands::{Context, guard};
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;
use crate::kept;
use crate::output::listing::no_sarif;

/// What to do with the sets of the configuration.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum SetCommand {
    /// Forward a set of the configuration in the background
    ///
    /// Examples:
    ///   bowline forward up dev
    #[command(verbatim_doc_comment)]
    Up {
        /// The sets' names, as in [forward.NAME]
        #[arg(required = true, value_name = "SET")]
        names: Vec<String>,
    },
    /// End sets that are forwarded
    ///
    /// Examples:
    ///   bowline forward down dev
    #[command(verbatim_doc_comment)]
    Down {
        /// The sets' names; all of them without
        #[arg(value_name = "SET")]
        names: Vec<String>,
    },
    /// Show the sets, and which of them are forwarded
    ///
    /// Examples:
    ///   bowline forward ls
    #[command(verbatim_doc_comment)]
    Ls,
}

/// Runs it.
pub(super) async fn run(command: &SetCommand, context: &Context) -> Result<ExitCode, CommandError> {
    if context.global.sandbox {
        return Err(
            CommandError::usage("--sandbox ends with its command, and a set stays")
                .hint("run `bowline sandbox` and forward there"),
        );
    }
    let folder = folder()?;
    match command {
        SetCommand::Up { names } => {
            for name in names {
                up(name, &folder, context).await?;
            }
        }
        SetCommand::Down { names } => down(names, &folder, context).await?,
        SetCommand::Ls => list(&folder, context).await?,
    }
    Ok(ExitCode::Success)
}

async fn up(name: &str, folder: &Path, context: &Context) -> Result<(), CommandError> {
    let set = find(name, context)?;
    let socket = folder.join(format!("{name}.sock"));
    if let Some(told) = background::ask(&socket).await {
        context.printer.note(&format!("{name} is up already"));
        show(name, &told, context);
        return Ok(());
    }
    // Asked here, where somebody can answer.
    let client = context.client().await?;
    let target = context.config.expand(&set.value.target).target;
    let options = context.global.target_options();
    let resolved = client.resolve(&target, &options).await?;
    guard::check(context, &resolved).await?;
    let log = folder.join(format!("{name}.log"));
    let mut child = spawn(&set.value, &socket, &log, context)?;
    let result = ready(&mut child, set.value.ports.len()).await;
    let Err(reason) = result else {
        let told = background::ask(&socket).await.unwrap_or_default();
        show(name, &told, context);
        return Ok(());
    };
    let _ = child.kill().await;
    let said = fs::read_to_string(&log).unwrap_or_default();
    let mut lines = said.lines().filter_map(|line| line.strip_prefix("hint: "));
    let error = CommandError::new(ErrorKind::Unavailable, format!("{name}: {reason}"));
    Err(match lines.next() {
        Some(hint) => error.hint(hint),
        None => error,
    })
}

fn spawn(
    set: &ForwardSet,
    socket: &Path,
    log: &Path,
    context: &Context,
) -> Result<Child, CommandError> {
    let failed = |what: &str, error: std::io::Error| {
        CommandError::new(ErrorKind::Failed, format!("cannot {what}: {error}"))
    };
    let log = fs::File::create(log).map_err(|error| failed("write the log", error))?;
    let program = env::current_exe().map_err(|error| failed("find this program", error))?;
    let mut command = Command::new(program);
    let global = &context.global;
    for (flag, value) in [
        (
            "--cluster",
            global.cluster.as_ref().map(ToString::to_string),
        ),
        (
            "--container",
            global.container.as_ref().map(ToString::to_string),
        ),
        ("--profile", global.profile.clone()),
        ("--region", global.region.clone()),
        ("--endpoint-url", global.endpoint_url.clone()),
        ("--stream-host", global.stream_host.clone()),
    ] {
        if let Some(value) = value {
            command.arg(flag).arg(value);
        }
    }
    command
        .args(["--yes", "-o", "json", "forward", "--serve"])
        .arg(socket)
        .arg(set.target.to_string())
        .args(set.ports.iter().map(ToString::to_string))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    command
        .spawn()
        .map_err(|error| failed("start this program", error))
}

/// Waits until everything is forwarded. The error is why it is not.
async fn ready(child: &mut Child, forwards: usize) -> Result<(), String> {
    let Some(stdout) = child.stdout.take() else {
        return Err("it says nothing".to_owned());
    };
    let mut lines = BufReader::new(stdout).lines();
    let mut missing = forwards;
    while missing > 0 {
        let line = lines.next_line().await.ok().flatten();
        let Some(line) = line else {
            return Err("it ended without a word".to_owned());
        };
        let event: Value = serde_json::from_str(&line).unwrap_or_default();
        match event["type"].as_str() {
            Some("ready") if event["again"] == false => missing -= 1,
            Some("exit") => {
                let reason = event["reason"].as_str().unwrap_or("it ended");
                return Err(reason.to_owned());
            }
            _ => {}
        }
    }
    Ok(())
}

async fn down(names: &[String], folder: &Path, context: &Context) -> Result<(), CommandError> {
    let all: Vec<String>;
    let names = match names {
        [] => {
            all = sockets(folder);
            &all
        }
        names => names,
    };
    for name in names {
        let stopped = background::stop(&folder.join(format!("{name}.sock"))).await;
        let text = match stopped {
            true => format!("{name} is down"),
            false => format!("{name} was not up"),
        };
        context.printer.note(&text);
    }
    Ok(())
}

async fn list(folder: &Path, context: &Context) -> Result<(), CommandError> {
    let mut names: Vec<String> = context.config.forwards.keys().cloned().collect();
    names.extend(sockets(folder));
    names.sort();
    names.dedup();
    let mut documents = Vec::new();
    for name in names {
        let told = background::ask(&folder.join(format!("{name}.sock"))).await;
        let set = context.config.forwards.get(&name);
        let mut document = json!({ "name": name, "up": told.is_some() });
        if let Some(set) = set {
            document["target"] = json!(set.value.target.to_string());
            let ports = set.value.ports.iter().map(ToString::to_string);
            document["ports"] = ports.collect();
        }
        if let Some(told) = told {
            document["pid"] = told["pid"].clone();
            document["forwards"] = told["forwards"].clone();
        }
        documents.push(document);
    }
    let text = match context.listing_format() {
        OutputFormat::Sarif => return Err(no_sarif()),
        OutputFormat::Json => format!("{:#}\n", json!({ "sets": documents })),
        OutputFormat::Ndjson => documents.iter().map(|one| format!("{one}\n")).collect(),
        OutputFormat::Name => {
            let names = documents.iter().filter_map(|one| one["name"].as_str());
            names.map(|name| format!("{name}\n")).collect()
        }
        OutputFormat::Table | OutputFormat::Wide => documents.iter().map(row).collect(),
    };
    context.printer.document(&text)
}

fn row(document: &Value) -> String {
    let name = document["name"].as_str().unwrap_or_default();
    let Some(forwards) = document["forwards"].as_array() else {
        let target = document["target"].as_str().unwrap_or_default();
        return format!("{name}  down  {target}\n");
    };
    let rows = forwards
        .iter()
        .map(|forward| format!("{name}  {}\n", way(forward)));
    rows.collect()
}

/// `ready  127.0.0.1:5432 to db.internal:5432`
fn way(forward: &Value) -> String {
    let state = forward["state"].as_str().unwrap_or("starting");
    let local = match forward["socket"].as_str() {
        Some(socket) => socket.to_owned(),
        None => format!(
            "{}:{}",
            forward["address"].as_str().unwrap_or_default(),
            forward["port"]
        ),
    };
    match forward["remoteHost"].as_str() {
        Some(host) => format!("{state}  {local} to {host}:{}", forward["remotePort"]),
        None => format!("{state}  {local} to port {}", forward["remotePort"]),
    }
}

fn show(name: &str, told: &Value, context: &Context) {
    for forward in told["forwards"].as_array().into_iter().flatten() {
        context.printer.note(&format!("{name}  {}", way(forward)));
    }
}

fn find<'c>(name: &str, context: &'c Context) -> Result<&'c Setting<ForwardSet>, CommandError> {
    let sets = &context.config.forwards;
    sets.get(name).ok_or_else(|| {
        let error = CommandError::new(
            ErrorKind::NotFound,
            format!("there is no set [forward.{name}] in the configuration"),
        );
        let names: Vec<&str> = sets.keys().map(String::as_str).collect();
        match names.is_empty() {
            true => {
                error.hint("`bowline config path` names the files; a set has `target` and `ports`")
            }
            false => error.hint(format!("there are {}", names.join(", "))),
        }
    })
}

/// The names of the sets that are, or were, up.
fn sockets(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_suffix(".sock").map(str::to_owned)
        })
        .collect();
    names.sort();
    names
}

/// A private folder for the sockets and logs.
fn folder() -> Result<PathBuf, CommandError> {
    let runtime = kept::folder("XDG_RUNTIME_DIR", ".local/state");
    let folder = runtime.ok_or_else(|| {
        CommandError::new(
            ErrorKind::Failed,
            "there is neither XDG_RUNTIME_DIR nor HOME",
        )
    })?;
    let folder = folder.join("forward");
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|error| {
            let text = format!("cannot make {}: {error}", folder.display());
            CommandError::new(ErrorKind::Failed, text)
        })?;
    Ok(folder)
}
