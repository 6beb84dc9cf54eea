//! One command on many targets: what exec, script, op and run do when more than one is meant.

mod board;
mod failed;
mod find;
mod folder;
mod groups;
mod json;
mod lines;
mod options;
mod show;
mod summary;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bowline::config::GuardedPlace;
use bowline::fleet::{
    Aim, Fleet, FleetError, FleetEvent, FleetTarget, FreshTask, Problem, Selection,
};
use bowline::run::{RunOptions, RunPattern, RunWish};
use bowline::session::exec::ExecRequest;
use bowline::target::TargetPattern;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::time::{sleep_until, timeout};

pub(crate) use self::options::FleetArgs;
use self::show::{Show, Unfinished};
use self::summary::Summary;
use super::{Context, follow, guard};
use crate::confirm::confirm;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;
use crate::signals::Signals;
use crate::writer::{Stream, Writers};

/// More targets than this are asked about first.
const UNASKED: usize = 10;
/// After a signal everything is over by then.
const LEAVE_LIMIT: Duration = Duration::from_millis(1900);
/// How often the table on the terminal is drawn.
const FRAME: Duration = Duration::from_millis(150);
/// Names shown in the question before the start.
const NAMES_SHOWN: usize = 5;

/// What is to be done.
pub(crate) struct Task<'a> {
    pub(crate) args: &'a FleetArgs,
    pub(crate) deed: Deed<'a>,
    /// The command, as it is shown.
    pub(crate) what: String,
    pub(crate) json: bool,
}

/// In containers that run, or in fresh tasks.
pub(crate) enum Deed<'a> {
    /// A command in each container.
    Exec {
        targets: &'a [TargetPattern],
        request: Box<ExecRequest>,
        /// How long each command may run.
        time_limit: Option<Duration>,
    },
    /// A fresh task of each.
    Run(Box<Runs<'a>>),
}

/// The tasks to be started.
pub(crate) struct Runs<'a> {
    pub(crate) targets: &'a [RunPattern],
    pub(crate) wish: RunWish,
    pub(crate) options: RunOptions,
    /// Completes a request with what is different from the definition.
    pub(crate) complete: &'a (dyn Fn(&mut FreshTask) -> Result<(), CommandError> + Sync),
    /// The requests are only printed.
    pub(crate) dry_run: bool,
}

/// Runs a command on all targets there are.
pub(crate) async fn run(task: Task<'_>, context: &Context) -> Result<ExitCode, CommandError> {
    task.args.check(task.names_targets())?;
    let dry_run = matches!(&task.deed, Deed::Run(runs) if runs.dry_run);
    let mut show = Show::new(task.args, task.json)?;
    let mut signals = Signals::listen()?;
    more_files();
    let selection = tokio::select! {
        found = find::find(&task, context) => found?,
        signal = signals.next() => return Ok(signal.code()),
    };
    let Selection {
        targets,
        problems,
        empty,
        gone,
        ..
    } = selection;
    if dry_run {
        return print_requests(&targets, &problems, empty, context);
    }
    let targets = Arc::new(targets);
    say_problems(&problems, empty, task.json, context);
    if targets.is_empty() && problems.is_empty() && gone == 0 {
        return Err(
            CommandError::new(ErrorKind::NotFound, "no target was found")
                .hint("`bowline ls` shows what there is"),
        );
    }
    // The signals are ours by now: without this nothing would leave the question.
    tokio::select! {
        asked = ask(&task, &targets, context) => asked?,
        signal = signals.next() => return Ok(signal.code()),
    }
    let mut summary = Summary::new(targets.len(), problems.len(), gone);
    let begin = show.begin(&targets, &problems);
    let fleet = task.start(&targets);
    let end = watch(
        fleet,
        &targets,
        begin,
        &mut show,
        &mut summary,
        &mut signals,
        context,
    )
    .await?;
    let mut left = match end {
        End::Done => None,
        End::Left(code) => Some(code),
    };
    // Comparing outputs takes its time, and whoever reads ours may not read.
    let finished = tokio::select! {
        finished = show.finish(&targets, &problems, &summary) => Some(finished),
        signal = signals.next() => {
            left = left.or_else(|| Some(signal.code()));
            None
        }
    };
    match finished {
        Some(Err(Unfinished::Output(error))) if error.kind() == io::ErrorKind::BrokenPipe => {
            left = left.or(Some(ExitCode::BROKEN_PIPE));
        }
        Some(Err(Unfinished::Output(error))) => return Err(follow::unwritten(&error)),
        Some(Err(Unfinished::Other(error))) => return Err(error),
        Some(Ok(())) | None => {}
    }
    summary.say(&targets, context);
    failed::save(task.args, &targets, &problems, &summary, context)?;
    Ok(left.unwrap_or_else(|| summary.code()))
}

impl Task<'_> {
    fn names_targets(&self) -> bool {
        match &self.deed {
            Deed::Exec { targets, .. } => !targets.is_empty(),
            Deed::Run(runs) => !runs.targets.is_empty(),
        }
    }

    fn start(&self, targets: &Arc<Vec<FleetTarget>>) -> Fleet {
        let targets = Arc::clone(targets);
        match &self.deed {
            Deed::Exec {
                request,
                time_limit,
                ..
            } => {
                let limits = self.args.limits(*time_limit);
                Fleet::start(targets, (**request).clone(), limits)
            }
            Deed::Run(runs) => {
                Fleet::start_tasks(targets, runs.options.clone(), self.args.limits(None))
            }
        }
    }

    /// What is asked about before it is done with many, and the question.
    fn question(&self, count: usize, names: &str) -> (String, &'static str) {
        let what = &self.what;
        match &self.deed {
            Deed::Exec { .. } => (
                format!("run {what} in {count} containers ({names})"),
                "run it?",
            ),
            Deed::Run(_) if what.is_empty() => {
                (format!("start {count} tasks ({names})"), "start them?")
            }
            Deed::Run(_) => (
                format!("start {count} tasks with {what} ({names})"),
                "start them?",
            ),
        }
    }
}

/// What would be asked of ECS, one JSON document a line.
fn print_requests(
    targets: &[FleetTarget],
    problems: &[Problem],
    empty: usize,
    context: &Context,
) -> Result<ExitCode, CommandError> {
    say_problems(problems, empty, false, context);
    let mut text = String::new();
    for one in targets {
        if let Some(fresh) = one.fresh() {
            text.push_str(&json::request(one, fresh).to_string());
            text.push('\n');
        }
    }
    context.printer.document(&text)?;
    Ok(match problems.is_empty() {
        true => ExitCode::Success,
        false => ExitCode::SomeFailed,
    })
}

fn say_problems(problems: &[Problem], empty: usize, json: bool, context: &Context) {
    if empty > 0 {
        context
            .printer
            .note(&format!("{empty} accounts or regions have no such target"));
    }
    if json {
        return;
    }
    for problem in problems {
        context
            .printer
            .warning(&format!("{}: {}", problem.place, problem.reason));
    }
}

/// Each target needs a connection, and some forms of output two files: more than the usual 1,024 in all. What the system
/// does not allow is done without.
fn more_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of open files stays");
    }
}

/// Guards of the places, and a question before many targets.
async fn ask(
    task: &Task<'_>,
    targets: &[FleetTarget],
    context: &Context,
) -> Result<(), CommandError> {
    let mut asked = std::collections::BTreeSet::new();
    for one in targets {
        let (arn, what) = match &one.aim {
            Aim::Container(target) => (&target.cluster.arn, target.to_string()),
            Aim::Fresh(fresh) => (
                &fresh.plan.definition.task_definition_arn,
                format!("a fresh task of {}", one.label),
            ),
        };
        let account = guard::account(arn).or_else(|| guard::account(one.task_arn()?));
        let own = &context.global;
        let own = own.profile.as_deref().or(own.default_profile.as_deref());
        let place = GuardedPlace {
            account,
            cluster: one.cluster(),
            profile: one.place.profile.as_deref().or(own),
        };
        let key = (
            account.map(str::to_owned),
            one.place.region(),
            one.cluster(),
        );
        if asked.insert(key) {
            guard::check_guarded(context, &place, &what).await?;
        }
    }
    if targets.len() <= UNASKED {
        return Ok(());
    }
    let mut names: Vec<&str> = targets
        .iter()
        .take(NAMES_SHOWN)
        .map(|one| one.label.as_str())
        .collect();
    if targets.len() > NAMES_SHOWN {
        names.push("…");
    }
    let (what, question) = task.question(targets.len(), &names.join(", "));
    confirm(context, &[what], question).await
}

enum End {
    Done,
    Left(ExitCode),
}

/// Shows what happens until all is over, or until a signal.
async fn watch(
    mut fleet: Fleet,
    targets: &[FleetTarget],
    begin: show::Pieces,
    show: &mut Show,
    summary: &mut Summary,
    signals: &mut Signals,
    context: &Context,
) -> Result<End, CommandError> {
    let mut writers = Writers::start()?;
    let mut pieces = begin;
    let mut unwritten = None;
    let mut left: Option<(ExitCode, tokio::time::Instant)> = None;
    let mut ticks = tokio::time::interval(FRAME);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut over = false;
    let begun = Instant::now();
    loop {
        if show.is_on_terminal() {
            // In one order with the table, which a thread of its own would not keep.
            print_now(&mut pieces, show, context)?;
        }
        if unwritten.is_none() {
            unwritten = pieces.pop_front();
        }
        if over && unwritten.is_none() {
            break;
        }
        if unwritten.is_some() {
            show.make_room(context);
        }
        let deadline = left.as_ref().map(|(_, deadline)| *deadline);
        // Every arm is cancel-safe: what was written is counted at once, channels, kept signals, timers.
        tokio::select! {
            result = writers.write(&mut unwritten), if unwritten.is_some() => {
                if let Err(error) = result {
                    fleet.stop();
                    let _ = timeout(LEAVE_LIMIT, drain(&mut fleet)).await;
                    show.make_room(context);
                    return follow::output_lost(&error).map(End::Left);
                }
            }
            event = fleet.next(), if unwritten.is_none() && !over => match event {
                None => over = true,
                Some(event) => {
                    if let FleetEvent::Ended { target, outcome, elapsed } = &event {
                        summary.ended(*target, outcome.clone(), *elapsed);
                    }
                    pieces.extend(show.event(event, targets, context)?);
                }
            },
            signal = signals.next() => match left {
                None => {
                    fleet.stop();
                    left = Some((signal.code(), tokio::time::Instant::now() + LEAVE_LIMIT));
                    // What nobody reads must not keep us.
                    pieces.clear();
                }
                Some(_) => break,
            },
            () = at(deadline), if deadline.is_some() => break,
            _ = ticks.tick(), if unwritten.is_none() => show.draw(targets, summary, begun.elapsed(), context),
        }
    }
    show.make_room(context);
    let last = show.end(summary, begun.elapsed());
    for piece in last {
        let mut piece = Some(piece);
        if timeout(LEAVE_LIMIT, writers.write(&mut piece))
            .await
            .is_err()
        {
            break;
        }
    }
    summary.took(begun.elapsed());
    match left {
        None => match writers.finish().await {
            Ok(()) => Ok(End::Done),
            Err(error) => follow::output_lost(&error).map(End::Left),
        },
        Some((code, _)) => {
            let _ = timeout(Duration::from_millis(200), writers.finish()).await;
            summary.interrupted(targets);
            Ok(End::Left(code))
        }
    }
}

fn print_now(
    pieces: &mut show::Pieces,
    show: &mut Show,
    context: &Context,
) -> Result<(), CommandError> {
    if pieces.is_empty() {
        return Ok(());
    }
    show.make_room(context);
    for (stream, bytes) in pieces.drain(..) {
        match stream {
            Stream::Stdout => context.printer.bytes(&bytes)?,
            // A closed stderr is no reason to end anything.
            Stream::Stderr => drop(context.printer.error_bytes(&bytes)),
        }
    }
    Ok(())
}

async fn drain(fleet: &mut Fleet) {
    while fleet.next().await.is_some() {}
}

async fn at(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

impl From<FleetError> for CommandError {
    fn from(error: FleetError) -> Self {
        match error {
            FleetError::Aws(error) => error.into(),
            FleetError::Connect(error) => error.into(),
            FleetError::NoGroup { ref known, .. } => {
                let hint = match known.is_empty() {
                    true => "groups are declared in a configuration file: [group] NAME = [\"…\"]"
                        .to_owned(),
                    false => format!("there are {}", known.join(", ")),
                };
                Self::usage(error.to_string()).hint(hint)
            }
            error => Self::usage(error.to_string()),
        }
    }
}
