//! `bowline config`: what is configured, and where.

use std::path::Path;

use bowline::config::{self, Config, Files, Origin, Setting};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::Context;
use crate::cli::{Cli, Command, GlobalArgs, OutputFormat};
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;
use crate::output::{json as json_text, table};
use crate::terminal;

/// Show and check the configuration
///
/// Settings come from options, from variables (BOWLINE_…, then AWS's own), from
/// the nearest .bowline.toml upward, from your own file, and from the AWS
/// configuration files, in this order.
///
/// Examples:
///   bowline config show --origin    every setting and where it comes from
///   bowline config check            whether the files are right
///   bowline config schema           a JSON schema for your editor
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Show the settings that are in force
    ///
    /// Examples:
    ///   bowline config show --origin
    #[command(verbatim_doc_comment)]
    Show {
        /// Also where each comes from
        #[arg(long)]
        origin: bool,
    },
    /// Print where the files are
    ///
    /// Examples:
    ///   bowline config path
    #[command(verbatim_doc_comment)]
    Path,
    /// Print the JSON schema of a configuration file
    ///
    /// Examples:
    ///   bowline config schema >bowline.schema.json
    #[command(verbatim_doc_comment)]
    Schema,
    /// Say whether the files are right
    ///
    /// Examples:
    ///   bowline config check
    #[command(verbatim_doc_comment)]
    Check,
}

/// Reads all layers for a command. Help needs none, a private sandbox has nothing to do with them, and `config` must
/// be of use when a file is wrong.
pub(crate) fn load(cli: &Cli) -> Result<Config, CommandError> {
    let flags = cli.global.flags();
    let without_files = match &cli.command {
        Command::Sandbox(_) => true,
        Command::Config(args) => !matches!(args.command, ConfigCommand::Show { .. }),
        _ => cli.global.sandbox,
    };
    if without_files {
        return Ok(Config::of_flags(flags));
    }
    load_files(&cli.global)
}

/// The files and the environment, below these options.
pub(crate) fn load_files(global: &GlobalArgs) -> Result<Config, CommandError> {
    let directory = std::env::current_dir().ok();
    Ok(Config::load(global.flags(), &environment, directory)?)
}

/// The same for a line that is still being typed: whatever is wrong with the files is for the command to say.
pub(crate) fn apply_silently(global: &mut GlobalArgs) {
    let directory = std::env::current_dir().ok();
    if let Ok(config) = Config::load(global.flags(), &environment, directory) {
        global.apply(&config.defaults);
    }
}

/// Answers from the files alone; nothing is asked of AWS.
pub async fn run(args: ConfigArgs, context: &Context) -> Result<ExitCode, CommandError> {
    let text = match args.command {
        ConfigCommand::Show { origin } => show(context, origin).await?,
        ConfigCommand::Path => paths(&files()?),
        ConfigCommand::Schema => json_text::document(&config::json_schema())?,
        ConfigCommand::Check => return check(context),
    };
    context.printer.document(&text)?;
    Ok(ExitCode::Success)
}

fn check(context: &Context) -> Result<ExitCode, CommandError> {
    let mut failed = false;
    let files = files()?;
    for checked in config::check(&files) {
        match checked {
            Ok(path) => context
                .printer
                .document(&format!("{}: right\n", path.display()))?,
            Err(error) => {
                failed = true;
                context.printer.error(&CommandError::from(error));
            }
        }
    }
    if !failed {
        // What is only wrong together: aliases that go round through both files, variables.
        let directory = files.directory.clone();
        Config::load(config::Defaults::default(), &environment, directory)?;
    }
    if files.user.is_none() && files.project.is_none() {
        context
            .printer
            .note("there is no configuration file; `bowline config path` says where one would be");
    }
    Ok(match failed {
        true => ExitCode::Findings,
        false => ExitCode::Success,
    })
}

/// One row of `config show`.
struct Row {
    key: String,
    value: String,
    origin: String,
    layer: &'static str,
}

async fn show(context: &Context, origin: bool) -> Result<String, CommandError> {
    let config = &context.config;
    let mut rows = settings(config).await;
    let listed = |key: String, value: String, at: &Origin| Row {
        key,
        value,
        origin: at.to_string(),
        layer: at.layer(),
    };
    let aliases = config.aliases.iter();
    rows.extend(aliases.map(|(name, alias)| {
        listed(
            format!("alias.{name}"),
            alias.value.to_string(),
            &alias.origin,
        )
    }));
    for (number, guard) in config.guards.iter().enumerate() {
        let value = serde_json::to_string(&guard.value)
            .map_err(|error| CommandError::new(ErrorKind::Failed, error))?;
        rows.push(listed(format!("guard[{number}]"), value, &guard.origin));
    }
    let operations = config.operations.iter();
    rows.extend(operations.map(|(name, operation)| {
        listed(
            format!("op.{name}"),
            shell_words::join(&operation.value.command),
            &operation.origin,
        )
    }));
    match context.global.output.unwrap_or(OutputFormat::Table) {
        OutputFormat::Json | OutputFormat::Ndjson => {
            let mut document = Map::new();
            for row in rows {
                let value = match row.value.as_str() {
                    "-" => Value::Null,
                    value => serde_json::from_str(value)
                        .ok()
                        .filter(Value::is_object)
                        .unwrap_or_else(|| json!(value)),
                };
                let about = json!({"value": value, "layer": row.layer, "origin": row.origin});
                document.insert(row.key, about);
            }
            json_text::document(&Value::Object(document))
        }
        OutputFormat::Name => Ok(rows.iter().map(|row| format!("{}\n", row.key)).collect()),
        format => {
            let origin = origin || format == OutputFormat::Wide;
            let header: &[&str] = match origin {
                true => &["SETTING", "VALUE", "FROM"],
                false => &["SETTING", "VALUE"],
            };
            let cells = rows.into_iter().map(|row| {
                let mut cells = vec![row.key, row.value];
                cells.extend(Some(row.origin).filter(|_| origin));
                cells
            });
            Ok(table::render(header, cells, terminal::stdout_width()))
        }
    }
}

/// Every setting, also those that only have their built-in value.
async fn settings(config: &Config) -> Vec<Row> {
    fn row<T: ToString>(key: &str, setting: Option<&Setting<T>>, built_in: &str) -> Row {
        Row {
            key: key.to_owned(),
            value: setting.map_or_else(|| built_in.to_owned(), |setting| setting.value.to_string()),
            origin: setting.map_or_else(
                || "built in".to_owned(),
                |setting| setting.origin.to_string(),
            ),
            layer: setting.map_or("built-in", |setting| setting.origin.layer()),
        }
    }
    let defaults = &config.defaults;
    let output = defaults.output.as_ref();
    let output = output.map(|form| Setting::new(form.value.as_str(), form.origin.clone()));
    let engine = defaults.engine.as_ref();
    let engine = engine.map(|engine| Setting::new(engine.value.as_str(), engine.origin.clone()));
    let mut region = row("region", defaults.region.as_ref(), "-");
    if defaults.region.is_none() {
        let profile = defaults
            .profile
            .as_ref()
            .map(|profile| profile.value.as_str());
        if let Some((found, place)) = config::aws_region(profile).await {
            (region.value, region.origin, region.layer) = (found, place, "aws");
        }
    }
    vec![
        row("cluster", defaults.cluster.as_ref(), "-"),
        row("target", defaults.target.as_ref(), "-"),
        row("container", defaults.container.as_ref(), "-"),
        row("shell", defaults.shell.as_ref(), "-"),
        row("output", output.as_ref(), "table"),
        row("engine", engine.as_ref(), "-"),
        row("profile", defaults.profile.as_ref(), "default"),
        region,
        row("endpoint_url", defaults.endpoint_url.as_ref(), "-"),
        row("stream_host", defaults.stream_host.as_ref(), "-"),
    ]
}

fn paths(files: &Files) -> String {
    let line = |what: &str, path: Option<&Path>, absent: Option<&str>| {
        let path = path.map_or_else(|| "-".to_owned(), |path| path.display().to_string());
        let absent = absent.map_or_else(String::new, |why| format!("  ({why})"));
        format!("{what:<7}  {path}{absent}\n")
    };
    let user = files.user.is_none().then_some("not there");
    let project = files.project.is_none();
    let project = project.then_some("no .bowline.toml from here upward");
    line("user", files.user_place.as_deref(), user)
        + &line("project", files.project.as_deref(), project)
}

fn files() -> Result<Files, CommandError> {
    Ok(config::locate(&environment, std::env::current_dir().ok())?)
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
