//! `bowline run`: a fresh task, seen through to its exit code.

mod bastion;
mod environment;
pub(super) mod follow;
mod launch;
mod many;
mod network;
mod options;
pub(super) mod report;
pub(super) mod verdict;

pub(crate) use self::report::who;

use std::path::PathBuf;
use std::time::Duration;

use bowline::run::{ExitFrom, Overrides, RunError, RunOptions, RunPattern, RunPlan, RunTarget};
use clap::Args;

use self::launch::Launched;
use self::network::NetworkArgs;
use self::options::OverrideArgs;
use self::report::Report;
use super::fleet::FleetArgs;
use super::{Context, guard};
use crate::cli::OutputFormat;
use crate::duration;
use crate::error::{CommandError, keep};
use crate::exit_code::ExitCode;
use crate::signals::Signals;

/// Run a fresh task and stay until it has ended
///
/// TARGET is a service, whose definition and network the task gets, or
/// family:NAME[:REVISION]. The task's output comes as it is logged, and its exit code
/// is run's; `bowline help exit-codes` tells it from bowline's own. On a terminal Ctrl-C
/// asks whether to stop the task; in scripts it does so at once, as SIGTERM does. A
/// second one leaves the task running.
///
/// With several TARGETs, patterns and accounts or regions each target, and each service that
/// a pattern matches, stands for one fresh task.
///
/// Examples:
///   bowline run web -- ./manage.py migrate
///   bowline run family:job:7 --like web --env MODE=full --timeout 30m
///   bowline run family:job --subnets subnet-1,subnet-2 --security-groups sg-1 -d
///   bowline run web --rm -it
///   bowline run web --dry-run -- ls
///   bowline run web worker -- ./migrate                 one task of each of two services
///   bowline run --group '*/web' -- cat /app/version     of service web in every cluster
///   bowline run family:job --accounts @prod --role ops --regions all --timeout 30m
#[derive(Args, Debug)]
#[command(
    verbatim_doc_comment,
    override_usage = "bowline run [OPTIONS] [TARGET]... [-- <COMMAND>...]",
    mut_arg("all", |arg| arg.help("Every service of the cluster; without a target"))
)]
pub struct RunArgs {
    /// A service, or family:NAME[:REVISION]; not needed where there is only one service. Several, and patterns such as
    /// 'web-*' or '*/web', are many targets
    #[arg(value_name = "TARGET")]
    targets: Vec<RunPattern>,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    overrides: OverrideArgs,
    /// How many tasks to start, 1 to 10
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10))]
    count: u32,
    #[command(flatten)]
    follow: FollowArgs,
    /// Stop the task after this time (90s, 30m), with exit code 124
    #[arg(long, value_parser = duration::parse, value_name = "TIME")]
    timeout: Option<Duration>,
    /// Print the task's ARN and leave it; `bowline attach` comes back to it
    #[arg(short = 'd', long, conflicts_with_all = ["interactive", "tty", "rm", "timeout"])]
    detach: bool,
    /// With -it: stop the task when the shell ends, however it ends
    #[arg(long, requires = "interactive", requires = "tty")]
    rm: bool,
    /// With --rm -t: a shell, or the command, in a task that does nothing else
    #[arg(short = 'i', long, requires = "rm")]
    interactive: bool,
    /// With --rm -i: on a terminal
    #[arg(short = 't', long, requires = "rm")]
    tty: bool,
    /// Print the request as JSON for `aws ecs run-task --cli-input-json`, and start nothing
    #[arg(long, conflicts_with_all = ["detach", "rm"])]
    dry_run: bool,
    /// The command and its arguments, in place of the definition's
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
    #[command(flatten)]
    fleet: FleetArgs,
}

/// How tasks are followed: the same for run and attach.
#[derive(Args, Debug)]
pub(super) struct FollowArgs {
    /// Whose exit code counts: a container, or `any` that fails; without this the one that ended the task
    #[arg(long, value_name = "CONTAINER|any")]
    exit_from: Option<String>,
    /// How long to read output after a container's end; 0 reads once more
    #[arg(long, value_parser = duration::parse, default_value = "30s", value_name = "TIME")]
    log_wait: Duration,
    /// Do not read the task's output
    #[arg(long)]
    no_logs: bool,
    /// Also write the last JSON line, which tells where the exit code comes from, to this file
    #[arg(long, value_name = "FILE")]
    pub(super) status_file: Option<PathBuf>,
}

impl FollowArgs {
    pub(super) fn options(&self, timeout: Option<Duration>) -> RunOptions {
        RunOptions {
            exit_from: match self.exit_from.as_deref() {
                None => ExitFrom::Cause,
                Some("any") => ExitFrom::Any,
                Some(name) => ExitFrom::Container(name.to_owned()),
            },
            timeout,
            logs: !self.no_logs,
            log_wait: self.log_wait,
            ..RunOptions::default()
        }
    }
}

impl RunArgs {
    /// Whether the task goes on without us.
    pub(crate) fn is_detached(&self) -> bool {
        self.detach
    }
}

/// Runs the task.
pub async fn run(args: RunArgs, context: &Context) -> Result<ExitCode, CommandError> {
    let report = Report::new(context.global.output, "run")?;
    let ended = start(&args, context, report).await;
    if args.dry_run {
        return ended.map(|ended| ended.code);
    }
    let written = report.last_line(&ended, args.follow.status_file.as_deref(), context);
    keep(ended, written).map(|ended| ended.code)
}

async fn start(
    args: &RunArgs,
    context: &Context,
    report: Report,
) -> Result<follow::Ended, CommandError> {
    if args.detach && context.global.sandbox {
        let text = "-d leaves a task behind, and a private sandbox ends with its command";
        return Err(CommandError::usage(text).hint(
            "start one with `bowline sandbox`, load its variables, and leave out --sandbox",
        ));
    }
    if args.fleet.is_asked_to_run(&args.targets) {
        let code = many::run(args, context, report).await?;
        return Ok(code.into());
    }
    bastion::check(args)?;
    let mut signals = Signals::listen()?;
    // Nothing has been started yet, so a signal only ends us.
    let plan = tokio::select! {
        plan = prepare(args, context) => plan?,
        signal = signals.next() => return Ok(signal.code().into()),
    };
    for note in &plan.notes {
        context.printer.note(note);
    }
    let client = context.client().await?;
    if args.dry_run {
        let json = serde_json::to_string_pretty(&plan.request)
            .map_err(|error| CommandError::usage(error.to_string()))?;
        context.printer.document(&format!("{json}\n"))?;
        return Ok(ExitCode::Success.into());
    }
    let account = guard::account(&plan.definition.task_definition_arn);
    let what = format!("{}:{}", plan.definition.family, plan.definition.revision);
    tokio::select! {
        checked = guard::check_place(context, account, plan.cluster.as_str(), &what) => checked?,
        signal = signals.next() => {
            context.printer.note("\nnothing was started");
            return Ok(signal.code().into());
        }
    }
    if args.rm {
        return bastion::run(args, &client, plan, context, signals).await;
    }
    if args.detach {
        return detach(&client, &plan, context, &mut signals).await;
    }
    let options = RunOptions {
        main: is_chosen(args, context).then(|| plan.container.clone()),
        record: context.recording("run")?,
        ..args.follow.options(args.timeout)
    };
    let run = client.run(plan.request, options);
    let shown = follow::Shown {
        report,
        prefix: args.count > 1 || plan.definition.container_definitions.len() > 1,
        stop_on_interrupt: true,
    };
    follow::follow(run, context, shown, signals).await
}

/// Whether somebody has said which container the task is for.
fn is_chosen(args: &RunArgs, context: &Context) -> bool {
    args.targets.iter().any(RunPattern::names_container)
        || !args.command.is_empty()
        || context.global.target_options().container.is_some()
}

/// The whole request, checked as far as that is possible without starting anything.
async fn prepare(args: &RunArgs, context: &Context) -> Result<RunPlan, CommandError> {
    let changes = Changes::read(args)?;
    let client = context.client().await?;
    let options = context.global.target_options();
    let wish = args.network.wish();
    let target = match args.targets.first().and_then(RunPattern::one) {
        Some(RunTarget::Spec(spec)) => context.target(Some(spec)).map(RunTarget::Spec),
        Some(definition) => Some(definition.clone()),
        None if wish.like.is_some() => None,
        None => context.target(None).map(RunTarget::Spec),
    };
    let mut plan = client.plan_run(target.as_ref(), &wish, &options).await?;
    changes.complete(args, &mut plan)?;
    Ok(plan)
}

/// What is different from the definition, read once.
struct Changes {
    overrides: Overrides,
    variables: Vec<(String, String)>,
}

impl Changes {
    fn read(args: &RunArgs) -> Result<Self, CommandError> {
        Ok(Self {
            overrides: args.overrides.read()?,
            variables: args.overrides.variables()?,
        })
    }

    fn complete(&self, args: &RunArgs, plan: &mut RunPlan) -> Result<(), CommandError> {
        let container = plan.container.clone();
        plan.request.overrides = self.overrides.clone();
        args.overrides
            .apply(&mut plan.request, &container, &self.variables);
        let names: Vec<&str> = plan.request.overrides.names().collect();
        if let Some(unknown) = names
            .iter()
            .find(|name| plan.definition.container(name).is_none())
        {
            let known = plan.definition.container_definitions.iter();
            let known: Vec<&str> = known.map(|container| container.name.as_str()).collect();
            let text = format!(
                "the overrides name a container {unknown} that the task definition does not have"
            );
            return Err(
                CommandError::usage(text).hint(format!("its containers are {}", known.join(", ")))
            );
        }
        if let Some(from) = &args.follow.exit_from
            && from != "any"
            && plan.definition.container(from).is_none()
        {
            let text = format!(
                "--exit-from names a container {from} that the task definition does not have"
            );
            return Err(CommandError::usage(text));
        }
        if !args.command.is_empty() && !args.rm {
            let target = plan.request.overrides.container(&container);
            target.command = Some(args.command.clone());
        }
        plan.request.count = args.count;
        if args.rm {
            bastion::prepare(args, plan);
        }
        plan.request.check().map_err(CommandError::usage)
    }
}

/// Starts the tasks and prints what names them.
async fn detach(
    client: &bowline::Client,
    plan: &RunPlan,
    context: &Context,
    signals: &mut Signals,
) -> Result<follow::Ended, CommandError> {
    let (tasks, failures) = match launch::launch(client, &plan.request, context, signals).await? {
        Launched::Yes { tasks, failures } => (tasks, failures),
        Launched::Leaving { tasks, signal } => {
            launch::stop(client, plan, &tasks, signal.reason("run"), context).await;
            return Ok(signal.code().into());
        }
        Launched::Left(signal) => return Ok(signal.code().into()),
    };
    let text = match context.global.output {
        Some(OutputFormat::Json | OutputFormat::Ndjson) => {
            format!(
                "{}\n",
                serde_json::json!({ "tasks": tasks, "failures": failures })
            )
        }
        _ => tasks
            .iter()
            .map(|task| format!("{}\n", task.task_arn))
            .collect(),
    };
    context.printer.document(&text)?;
    if failures.is_empty() {
        return Ok(ExitCode::Success.into());
    }
    let error = RunError::NotPlaced { failures };
    context.printer.warning(&format!(
        "{} of {} tasks: {error}",
        plan.request.count as usize - tasks.len(),
        plan.request.count
    ));
    Ok(ExitCode::SomeFailed.into())
}
