//! `bowline op`: named operations from the configuration.

mod fresh;
mod ledger;
mod values;

use std::collections::BTreeMap;
use std::time::Duration;

use bowline::config::Setting;
use bowline::operation::{Bound, Operation, Via};
use bowline::session::exec::{ExecEvent, ExecRequest};
use bowline::target::{TargetPattern, TargetSpec};
use bowline::{Client, ResolvedTarget};
use clap::Args;
use serde_json::{Value, json};

use self::ledger::Ledger;
use self::values::Shipped;
use super::doctor::hint;
use super::fleet::{self, FleetArgs};
use super::follow::{self, Ended, Source};
use super::{Context, guard};
use crate::cli::OutputFormat;
use crate::confirm::confirm;
use crate::error::{CommandError, keep};
use crate::exit_code::ExitCode;
use crate::output::table;
use crate::picker::{self, Found, PickArgs};
use crate::signals::{Signal, Signals};
use crate::writer::Stream;
use crate::{duration, terminal};

/// Run a named operation from the configuration
///
/// Operations are declared in a configuration file ([op.NAME]) with a target, a command and typed parameters. A value
/// becomes part of one argument, whatever it holds. With `-o json` the result is one document: who ran what, where and
/// when, its exit code and digests of its output.
///
/// Examples:
///   bowline op ls                                 what there is
///   bowline op show backup                        its parameters
///   bowline op backup comment='before the move'
///   bowline op restore dump=monday.dump --dry-run
///   bowline op flush --on 'web-*' --all
#[derive(Args, Debug)]
#[command(
    verbatim_doc_comment,
    override_usage = "bowline op [OPTIONS] <NAME> [KEY=VALUE]...\n       bowline op ls\n       bowline op show <NAME>"
)]
pub struct OpArgs {
    /// The operation; ls lists them, show NAME describes one
    #[arg(value_name = "NAME")]
    name: String,
    /// Values for its parameters
    #[arg(value_name = "KEY=VALUE", allow_hyphen_values = false)]
    values: Vec<String>,
    /// Only say what would be run, and where
    #[arg(long)]
    dry_run: bool,
    /// Run it in this target and not in its own (repeatable); patterns such as 'web-*' are many targets
    #[arg(long, value_name = "TARGET")]
    on: Vec<TargetPattern>,
    /// How long to wait for an exec agent that is not ready (90s, 2m)
    #[arg(long, value_parser = duration::parse, default_value = "60s", value_name = "TIME")]
    wait: Duration,
    /// How long to try to restore a lost connection. 0 never tries
    #[arg(long, value_parser = duration::parse, default_value = "5m", value_name = "TIME")]
    reconnect_for: Duration,
    #[command(flatten)]
    fleet: FleetArgs,
}

/// An operation on its way.
struct Call<'a> {
    name: &'a str,
    operation: &'a Setting<Operation>,
    json: bool,
    /// A target in place of the operation's own.
    on: Option<&'a TargetSpec>,
    wait: Duration,
    reconnect_for: Duration,
}

/// Does it.
pub async fn run(args: OpArgs, context: &Context) -> Result<ExitCode, CommandError> {
    match (args.name.as_str(), &args.values[..]) {
        ("ls" | "list", []) => list(context),
        ("ls" | "list", _) => Err(CommandError::usage("op ls takes no more words")),
        ("show", [name]) => show(name, context),
        ("show", _) => Err(CommandError::usage("op show takes one name")),
        _ => start(&args, context)
            .await
            .map_err(CommandError::starting_remote),
    }
}

async fn start(args: &OpArgs, context: &Context) -> Result<ExitCode, CommandError> {
    let json = match context.global.output {
        None => false,
        Some(OutputFormat::Json | OutputFormat::Ndjson) => true,
        Some(_) => {
            return Err(CommandError::usage(
                "op prints the command's output, or its result with -o json",
            ));
        }
    };
    let operation = find(&args.name, context)?;
    let given = values::given(&args.values)?;
    let call = Call {
        name: &args.name,
        operation,
        json,
        on: args.on.first().and_then(TargetPattern::one),
        wait: args.wait,
        reconnect_for: args.reconnect_for,
    };
    if operation.origin.layer() == "project" {
        context
            .printer
            .note(&format!("operation {} ({})", args.name, operation.origin));
    }
    // What can be found wrong without asking anybody is.
    values::check(&operation.value, &given, &BTreeMap::new())?;
    if args.fleet.is_asked(&args.on) {
        return call.many(args, &given, context).await;
    }
    let client = context.client().await?;
    match operation.value.via {
        Via::Exec => call.exec(&client, given, args.dry_run, context).await,
        Via::Run => call.fresh(&client, given, args.dry_run, context).await,
    }
}

impl Call<'_> {
    /// The operation on every target there is. What needs one target to be bound is refused.
    async fn many(
        &self,
        args: &OpArgs,
        given: &BTreeMap<String, String>,
        context: &Context,
    ) -> Result<ExitCode, CommandError> {
        let operation = &self.operation.value;
        let refused = |what: &str| {
            let text = format!(
                "operation {} {what}, so it cannot run on many targets at once",
                self.name
            );
            Err(CommandError::usage(text))
        };
        if operation.via != Via::Exec {
            return refused("runs a fresh task");
        }
        if operation.log.is_some() {
            return refused("keeps a log of one target");
        }
        if operation
            .param
            .values()
            .any(|parameter| !parameter.values_from.is_empty())
        {
            return refused("has values that come from its target");
        }
        let bound = values::check(operation, given, &BTreeMap::new())?;
        if values::has_files(operation, &bound) {
            return refused("takes files");
        }
        let own: Vec<TargetPattern> = self.target()?.into_iter().map(Into::into).collect();
        let targets = if args.on.is_empty() { &own } else { &args.on };
        if args.dry_run {
            let named: Vec<String> = targets.iter().map(ToString::to_string).collect();
            return self.say(&bound, &named.join(" "), context);
        }
        self.confirm(&bound, "many targets", context).await?;
        let request = ExecRequest {
            wait: self.wait,
            reconnect_for: self.reconnect_for,
            record: context.recording("op")?,
            ..ExecRequest::new(bound.argv.iter().map(String::as_str))
        };
        let task = fleet::Task {
            args: &args.fleet,
            deed: fleet::Deed::Exec {
                targets,
                request: Box::new(request),
                time_limit: operation.time_limit(),
            },
            what: shown(&bound.argv),
            json: self.json,
        };
        fleet::run(task, context).await
    }

    async fn exec(
        &self,
        client: &Client,
        given: BTreeMap<String, String>,
        dry_run: bool,
        context: &Context,
    ) -> Result<ExitCode, CommandError> {
        let operation = &self.operation.value;
        let target = match self.resolve(client, context).await? {
            Found::Target(target) => *target,
            Found::Left(code) => return Ok(code),
        };
        for note in &target.notes {
            context.printer.note(note);
        }
        let choices = values::choices(client, &target, operation, self.wait).await?;
        let bound = values::check(operation, &given, &choices)?;
        if dry_run {
            return self.say(&bound, &target.to_string(), context);
        }
        guard::check(context, &target).await?;
        self.confirm(&bound, &target.to_string(), context).await?;
        // What can fail by itself comes before anything is in the container.
        let record = context.recording("op")?;
        let mut ledger = Ledger::open(self.name, operation, &bound, client).await?;
        ledger.place(json!({
            "cluster": target.cluster.name,
            "service": target.service,
            "task": target.task.id,
            "container": target.container,
        }));
        let mut files = Shipped::default();
        let ended = match self.ship(&mut files, client, &target, &bound).await {
            Ok(Ok(argv)) => {
                let request = ExecRequest {
                    wait: self.wait,
                    reconnect_for: self.reconnect_for,
                    timeout: operation.time_limit(),
                    record,
                    ..ExecRequest::new(argv)
                };
                self.follow(client, &target, request, &mut ledger, context)
                    .await
            }
            Ok(Err(signal)) => Ok(signal.code()),
            Err(error) => Err(error),
        };
        files.remove(client, &target, context).await;
        self.finish(ledger, ended, context)
    }

    /// The command with the paths that the files have in the container, or the signal that came while they were copied.
    async fn ship(
        &self,
        files: &mut Shipped,
        client: &Client,
        target: &ResolvedTarget,
        bound: &Bound,
    ) -> Result<Result<Vec<String>, Signal>, CommandError> {
        let operation = &self.operation.value;
        let mut signals = Signals::listen()?;
        tokio::select! {
            shipped = files.ship(client, target, operation, bound) => shipped?,
            signal = signals.next() => return Ok(Err(signal)),
        }
        files.argv(operation, bound).map(Ok)
    }

    async fn follow(
        &self,
        client: &Client,
        target: &ResolvedTarget,
        request: ExecRequest,
        ledger: &mut Ledger,
        context: &Context,
    ) -> Result<ExitCode, CommandError> {
        let exec = client.exec(target.clone(), request);
        let show = |event: &ExecEvent| {
            let (stream, bytes) = match event {
                ExecEvent::Stdout(bytes) => (Stream::Stdout, bytes),
                ExecEvent::Stderr(bytes) => (Stream::Stderr, bytes),
                ExecEvent::Notice(text) => {
                    context.printer.note(text);
                    return None;
                }
                ExecEvent::Started { session_id } => {
                    ledger.session(session_id);
                    return None;
                }
                _ => return None,
            };
            ledger.output(stream, bytes);
            (!self.json).then(|| (stream, bytes.clone()))
        };
        match follow::follow(exec, context, Source::Stream, show).await? {
            Ended::Exit(code) => follow::exit_code(code),
            Ended::Closed { reason, .. } => Err(hint::explain(reason, client, target).await),
            Ended::Gone => Err(follow::gone()),
            Ended::Signal(code) => Ok(code),
            Ended::Escape => Ok(ExitCode::Interrupted),
            Ended::Output(error) => follow::output_lost(&error),
        }
    }

    fn finish(
        &self,
        ledger: Ledger,
        ended: Result<ExitCode, CommandError>,
        context: &Context,
    ) -> Result<ExitCode, CommandError> {
        let document = ledger.close(&ended)?;
        let written = match self.json {
            true => context.printer.document(&format!("{document:#}\n")),
            false => Ok(()),
        };
        keep(ended, written)
    }

    async fn resolve(&self, client: &Client, context: &Context) -> Result<Found, CommandError> {
        let spec = self.target()?;
        let pick = PickArgs::default();
        picker::resolve(client, spec.as_ref(), &pick, "run it there", context).await
    }

    fn target(&self) -> Result<Option<TargetSpec>, CommandError> {
        if let Some(on) = self.on {
            return Ok(Some(on.clone()));
        }
        let target = self.operation.value.target.as_deref().map(str::parse);
        target
            .transpose()
            .map_err(|error| CommandError::usage(format!("operation {}: {error}", self.name)))
    }

    async fn confirm(
        &self,
        bound: &Bound,
        place: &str,
        context: &Context,
    ) -> Result<(), CommandError> {
        if !self.operation.value.confirm {
            return Ok(());
        }
        let what = [format!(
            "run {} in {place}: {}",
            self.name,
            shown(&bound.argv)
        )];
        confirm(context, &what, "run it?").await
    }

    fn say(&self, bound: &Bound, place: &str, context: &Context) -> Result<ExitCode, CommandError> {
        let operation = &self.operation.value;
        let text = match self.json {
            true => format!(
                "{:#}\n",
                json!({
                    "operation": self.name,
                    "dryRun": true,
                    "via": operation.via,
                    "where": place,
                    "argv": bound.argv,
                    "parameters": bound.values,
                    "timeout": operation.timeout,
                })
            ),
            false => format!("would run in {place}:\n{}\n", shown(&bound.argv)),
        };
        context.printer.document(&text)?;
        Ok(ExitCode::Success)
    }
}

/// Words as a shell would take them, fit to be shown.
fn shown(argv: &[String]) -> String {
    let words = argv
        .iter()
        .map(|word| match word.chars().any(char::is_control) {
            true => format!(
                "$'{}'",
                bowline::files::shown(word.as_bytes()).replace('\'', "\\'")
            ),
            false => shell_words::quote(word).into_owned(),
        });
    words.collect::<Vec<_>>().join(" ")
}

fn find<'a>(name: &str, context: &'a Context) -> Result<&'a Setting<Operation>, CommandError> {
    let operations = &context.config.operations;
    operations.get(name).ok_or_else(|| {
        let error = CommandError::usage(format!("there is no operation {}", bowline::files::shown(name.as_bytes())));
        match operations.is_empty() {
            true => error.hint("operations are declared in a configuration file: [op.NAME]; see docs/guide/operations.md"),
            false => {
                let known: Vec<&str> = operations.keys().map(String::as_str).collect();
                error.hint(format!("there are {}", known.join(", ")))
            }
        }
    })
}

fn list(context: &Context) -> Result<ExitCode, CommandError> {
    let operations = &context.config.operations;
    let text = match context.listing_format() {
        OutputFormat::Json => {
            let all: Vec<Value> = operations
                .iter()
                .map(|(name, operation)| document(name, operation))
                .collect();
            format!("{:#}\n", Value::Array(all))
        }
        OutputFormat::Ndjson => operations
            .iter()
            .map(|(name, operation)| format!("{}\n", document(name, operation)))
            .collect(),
        OutputFormat::Name => operations.keys().map(|name| format!("{name}\n")).collect(),
        _ => {
            let cells = operations.iter().map(|(name, operation)| {
                let operation = &operation.value;
                vec![
                    name.clone(),
                    operation.target.clone().unwrap_or_else(|| "-".to_owned()),
                    operation
                        .param
                        .keys()
                        .cloned()
                        .collect::<Vec<_>>()
                        .join(" "),
                    operation.description.clone().unwrap_or_default(),
                ]
            });
            table::render(
                &["OPERATION", "TARGET", "PARAMETERS", "DESCRIPTION"],
                cells,
                terminal::stdout_width(),
            )
        }
    };
    context.printer.document(&text)?;
    Ok(ExitCode::Success)
}

fn show(name: &str, context: &Context) -> Result<ExitCode, CommandError> {
    let setting = find(name, context)?;
    let text = match context.global.output {
        Some(OutputFormat::Json | OutputFormat::Ndjson) => {
            format!("{:#}\n", document(name, setting))
        }
        _ => described(name, setting),
    };
    context.printer.document(&text)?;
    Ok(ExitCode::Success)
}

fn document(name: &str, setting: &Setting<Operation>) -> Value {
    let mut document = json!(setting.value);
    if let Value::Object(members) = &mut document {
        members.insert("name".to_owned(), json!(name));
        members.insert("origin".to_owned(), json!(setting.origin.to_string()));
    }
    document
}

fn described(name: &str, setting: &Setting<Operation>) -> String {
    let operation = &setting.value;
    let mut lines = vec![name.to_owned()];
    let mut line = |key: &str, value: &str| lines.push(format!("  {key:<12} {value}"));
    if let Some(description) = &operation.description {
        line("description", description);
    }
    line(
        "target",
        operation.target.as_deref().unwrap_or("the configured one"),
    );
    line("command", &shell_words::join(&operation.command));
    line(
        "via",
        if operation.via == Via::Run {
            "a fresh task"
        } else {
            "exec"
        },
    );
    if operation.confirm {
        line("confirm", "asks first");
    }
    if let Some(timeout) = &operation.timeout {
        line("timeout", timeout);
    }
    if let Some(log) = &operation.log {
        line("log", &log.display().to_string());
    }
    line("from", &setting.origin.to_string());
    for (name, parameter) in &operation.param {
        let mut about = vec![parameter.kind.as_str().to_owned()];
        if let Some(pattern) = &parameter.pattern {
            about.push(format!("matches {pattern}"));
        }
        let bound = |bound: Option<i64>| bound.map_or_else(String::new, |bound| bound.to_string());
        if parameter.min.is_some() || parameter.max.is_some() {
            about.push(format!(
                "{}..{}",
                bound(parameter.min),
                bound(parameter.max)
            ));
        }
        if !parameter.values.is_empty() {
            about.push(format!("one of {}", parameter.values.join(", ")));
        }
        if !parameter.values_from.is_empty() {
            about.push(format!(
                "one of what {} prints",
                shell_words::join(&parameter.values_from)
            ));
        }
        if let Some(default) = &parameter.default {
            about.push(format!("default {default:?}"));
        }
        lines.push(format!("  {name}=  {}", about.join("; ")));
        if let Some(description) = &parameter.description {
            lines.push(format!("      {description}"));
        }
    }
    lines.join("\n") + "\n"
}
