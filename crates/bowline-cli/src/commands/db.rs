//! `bowline db`: the databases and caches of the account, and a client on a forwarded port.

use std::env;
use std::ffi::OsString;

use bowline::stores::Store;
use bowline::target::TargetSpec;
use clap::{Args, Parser, Subcommand};
use serde_json::json;

use super::Context;
use super::forward::{self, stores};
use crate::cli::{Cli, Command, OutputFormat};
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;
use crate::output::listing::no_sarif;

/// List databases and caches, or connect to one through a task
///
/// They are found in RDS and ElastiCache. Connecting starts psql, mysql or
/// redis-cli on a port that is forwarded through the task as long as that runs;
/// what stands behind -- is for that program. Names and passwords are its affair.
///
/// Examples:
///   bowline db ls
///   bowline db connect orders web
///   bowline db connect orders prod/web -- -U app -d orders
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct DbArgs {
    #[command(subcommand)]
    command: DbCommand,
}

#[derive(Debug, Subcommand)]
enum DbCommand {
    /// List databases and caches
    ///
    /// Examples:
    ///   bowline db ls
    #[command(verbatim_doc_comment)]
    Ls,
    /// Start a client on a forwarded port
    ///
    /// Examples:
    ///   bowline db connect orders prod/web -- -U app -d orders
    #[command(verbatim_doc_comment)]
    Connect(Box<ConnectArgs>),
}

#[derive(Args, Debug)]
struct ConnectArgs {
    /// The database or cache; ? to choose one
    name: String,
    /// The task to go through, if there is more than one
    target: Option<TargetSpec>,
    /// Arguments of the client
    #[arg(last = true, value_name = "ARGUMENT")]
    arguments: Vec<String>,
}

/// Lists, or connects.
pub async fn run(args: DbArgs, context: &Context) -> Result<ExitCode, CommandError> {
    let stores = all(context).await?;
    match args.command {
        DbCommand::Ls => list(&stores, context),
        DbCommand::Connect(args) => {
            let name = Some(args.name.as_str()).filter(|name| *name != "?");
            let store = stores::find(&stores, name, "database", context).await?;
            connect(store, args.target.as_ref(), &args.arguments, context).await
        }
    }
}

/// Whoever may see only the one kind sees that.
async fn all(context: &Context) -> Result<Vec<Store>, CommandError> {
    let client = context.client().await?;
    let (databases, caches) = tokio::join!(client.databases(), client.caches());
    let (databases, caches) = match (databases, caches) {
        (Err(error), Err(_)) => return Err(error.into()),
        (databases, caches) => (databases, caches),
    };
    let mut stores = Vec::new();
    for found in [databases, caches] {
        match found {
            Ok(found) => stores.extend(found),
            Err(error) => context.printer.warning(&error.to_string()),
        }
    }
    Ok(stores)
}

fn list(stores: &[Store], context: &Context) -> Result<ExitCode, CommandError> {
    let text: String = match context.listing_format() {
        OutputFormat::Sarif => return Err(no_sarif()),
        OutputFormat::Json => format!("{:#}\n", json!({ "stores": stores })),
        OutputFormat::Ndjson => stores
            .iter()
            .map(|store| format!("{}\n", json!(store)))
            .collect(),
        OutputFormat::Name => stores
            .iter()
            .map(|store| format!("{}\n", store.name))
            .collect(),
        OutputFormat::Table | OutputFormat::Wide => {
            let width = |of: fn(&Store) -> usize| stores.iter().map(of).max().unwrap_or(0);
            let (names, engines) = (width(|it| it.name.len()), width(|it| it.engine.len()));
            let row = |store: &Store| {
                format!(
                    "{:names$}  {:engines$}  {}:{}\n",
                    store.name, store.engine, store.host, store.port
                )
            };
            stores.iter().map(row).collect()
        }
    };
    context.printer.document(&text)?;
    Ok(ExitCode::Success)
}

/// Forwards any free port there, with the client as the command that it ends with.
async fn connect(
    store: &Store,
    target: Option<&TargetSpec>,
    arguments: &[String],
    context: &Context,
) -> Result<ExitCode, CommandError> {
    let (program, start) = client(store)?;
    if !is_there(program) {
        let target = target.map_or_else(|| "TARGET".to_owned(), ToString::to_string);
        return Err(CommandError::new(
            ErrorKind::Failed,
            format!("there is no {program} on this machine"),
        )
        .hint(format!(
            "install it, or use another client on a forwarded port: bowline forward {target} {}:{}",
            store.host, store.port
        )));
    }
    let line = format!("{start} {}", shell_words::join(arguments));
    let spec = format!("0:{}", stores::remote(store));
    let target = target.map(ToString::to_string);
    let words = ["bowline".to_owned(), "forward".to_owned()];
    let words = words.into_iter().chain(target);
    let words = words.chain(["-L".to_owned(), spec, "--exec".to_owned(), line]);
    let cli = Cli::try_parse_from(words.map(OsString::from));
    match cli.map(|cli| cli.command) {
        Ok(Command::Forward(args)) => forward::run(*args, context).await,
        _ => Err(CommandError::usage(format!(
            "{}:{} is not a place that can be forwarded to",
            store.host, store.port
        ))),
    }
}

/// The client of an engine and how it is started. psql is told the server's own name, so that certificates can be
/// checked, and connects to this machine nevertheless.
fn client(store: &Store) -> Result<(&'static str, String), CommandError> {
    let host = shell_words::quote(&store.host);
    let port = format!("\"$BOWLINE_PORT_{}\"", store.port);
    let engine = store.engine.as_str();
    if engine.contains("postgres") {
        let start = format!("PGHOSTADDR=127.0.0.1 exec psql -h {host} -p {port}");
        return Ok(("psql", start));
    }
    if ["mysql", "mariadb", "aurora"]
        .iter()
        .any(|name| engine.contains(name))
    {
        return Ok(("mysql", format!("exec mysql -h 127.0.0.1 -P {port}")));
    }
    if ["redis", "valkey"].iter().any(|name| engine.contains(name)) {
        return Ok((
            "redis-cli",
            format!("exec redis-cli -h 127.0.0.1 -p {port}"),
        ));
    }
    Err(CommandError::new(
        ErrorKind::Failed,
        format!("no client is known for {engine}"),
    )
    .hint(format!(
        "bowline forward TARGET {}:{}",
        store.host, store.port
    )))
}

fn is_there(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
