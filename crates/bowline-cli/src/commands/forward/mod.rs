//! `bowline forward`: ports of this machine that lead to a task, or to what stands behind it.

mod background;
mod local;
mod report;
mod sets;
pub(super) mod stores;
mod words;

use std::path::PathBuf;
use std::time::Duration;

use bowline::forward::{
    Forward, ForwardError, ForwardEvent, ForwardRequest, ForwardSpec, ForwardTemplate, Local,
};
use bowline::target::TargetSpec;
use bowline::{Client, ResolvedTarget};
use clap::Args;

use self::background::Background;
use self::local::{Companion, Names};
use self::report::{Lines, Report};
use self::sets::SetCommand;
use super::doctor::hint;
use super::{Context, guard};
use crate::duration;
use crate::error::{CommandError, keep};
use crate::exit_code::ExitCode;
use crate::picker::{self, Found, PickArgs};
use crate::signals::Signals;

/// Lead ports of this machine to a task, or to what stands behind it
///
/// A SPEC is PORT, LOCAL:PORT, LOCAL:HOST:PORT or ADDRESS:LOCAL:HOST:PORT, and
/// unix:PATH may stand for LOCAL. HOST is reached from the task, so that a
/// database needs no bastion host. LOCAL 0 is any free port. Only this machine
/// can connect unless ADDRESS says otherwise (`*` is everybody).
///
/// A lost connection is restored and a replaced task is followed; the local port
/// never closes. Ctrl-C ends it.
///
/// Examples:
///   bowline forward web 8080:80
///   bowline forward web 5432:db.internal:5432 6379:cache.internal:6379
///   bowline forward web unix:/tmp/db.sock:db.internal:5432
///   bowline forward web 0:db.internal:5432 --exec 'psql -h localhost -p $BOWLINE_PORT_5432'
///   bowline forward web '5432:{ssm:/prod/db/host}:5432'   (also {env:NAME}, {secret:NAME#FIELD})
///   bowline forward web --rds orders --socks 1080
///   bowline forward up dev           the set [forward.dev] of the configuration, in the background
#[derive(Args, Debug)]
#[command(
    verbatim_doc_comment,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true,
    override_usage = "bowline forward [OPTIONS] [TARGET] <SPEC>...\n       bowline forward up|down [SET]...\n       bowline forward ls"
)]
pub struct ForwardArgs {
    #[command(subcommand)]
    set: Option<SetCommand>,
    /// A service, task or container, if there is more than one; then what to forward
    #[arg(value_name = "TARGET|SPEC")]
    words: Vec<String>,
    /// What to forward, as with ssh
    #[arg(short = 'L', value_name = "SPEC")]
    specs: Vec<ForwardTemplate>,
    /// A database of RDS, by its name, or ? to choose one; LOCAL: in front for another port here
    #[arg(long, value_name = "[LOCAL:]NAME|?")]
    rds: Vec<stores::Wanted>,
    /// A cache of ElastiCache, by its name, or ? to choose one; LOCAL: in front for another port here
    #[arg(long, value_name = "[LOCAL:]NAME|?")]
    cache: Vec<stores::Wanted>,
    /// Also serve SOCKS5 at this port, for whatever destinations are asked for
    ///
    /// Each destination gets a session when it is first asked for, which ends a minute after its last connection; sixteen
    /// at once. Names are resolved by the task: curl --proxy socks5h://127.0.0.1:1080.
    #[arg(long, value_name = "[ADDRESS:]PORT", value_parser = socks)]
    socks: Option<Local>,
    /// Reach other hosts by a program in the container, where its agent refuses to
    ///
    /// socat, python3, perl or busybox is started there by an exec session and ends with it.
    #[arg(long)]
    relay: bool,
    #[command(flatten)]
    pick: PickArgs,
    #[command(flatten)]
    local: local::LocalArgs,
    #[command(flatten)]
    times: TimeArgs,
    /// Detach, and be asked and ended through this socket
    #[arg(long, hide = true, value_name = "PATH")]
    serve: Option<PathBuf>,
}

/// The place of a proxy.
fn socks(text: &str) -> Result<Local, String> {
    let spec: ForwardSpec = format!("{text}:1")
        .parse()
        .map_err(|_| format!("{text:?} is no port and no ADDRESS:PORT"))?;
    Ok(spec.local)
}

/// How long things may take.
#[derive(Args, Clone, Debug)]
pub(crate) struct TimeArgs {
    /// How long to wait for an exec agent that is not ready, and a connection for a session (90s, 2m)
    #[arg(long, value_parser = duration::parse, default_value = "60s", value_name = "TIME")]
    wait: Duration,
    /// How long to try to restore a lost connection before the session is replaced
    #[arg(long, value_parser = duration::parse, default_value = "5m", value_name = "TIME")]
    reconnect_for: Duration,
    /// How often to tell the service that somebody is there; 0 means never, and after 20 idle minutes it ends the session
    #[arg(long, value_parser = duration::parse, default_value = "5m", value_name = "TIME")]
    keep_alive: Duration,
    /// How long a connection that has nothing more to say waits for an answer
    ///
    /// Agents cannot be told that only one direction of a connection is over, so it is kept open until nothing came for
    /// so long. 0 closes it at once, as the session-manager-plugin does.
    #[arg(long, value_parser = duration::parse, default_value = "1s", value_name = "TIME", hide_short_help = true)]
    linger: Duration,
    /// Bytes in one message at most; the session-manager-plugin sends 1024
    #[arg(long, value_name = "BYTES", hide = true, value_parser = clap::value_parser!(u32).range(64..=65536))]
    payload: Option<u32>,
}

impl TimeArgs {
    pub(crate) fn request(&self, specs: Vec<ForwardSpec>) -> ForwardRequest {
        let mut request = ForwardRequest::new(specs);
        request.wait = self.wait;
        request.reconnect_for = self.reconnect_for;
        request.keep_alive = Some(self.keep_alive).filter(|every| !every.is_zero());
        request.linger = self.linger;
        request.max_payload = self.payload.and_then(|bytes| usize::try_from(bytes).ok());
        request
    }
}

/// Forwards until somebody wants an end.
pub async fn run(args: ForwardArgs, context: &Context) -> Result<ExitCode, CommandError> {
    if let Some(command) = &args.set {
        return sets::run(command, context).await;
    }
    let report = Report::new(context)?;
    let ended = start(&args, context, report).await;
    let written = report.last_line(&ended, context);
    keep(ended, written)
}

async fn start(
    args: &ForwardArgs,
    context: &Context,
    report: Report,
) -> Result<ExitCode, CommandError> {
    let (target, mut templates) = words::split(&args.words)?;
    templates.extend(args.specs.iter().cloned());
    let stores = args.rds.len() + args.cache.len();
    if templates.is_empty() && stores == 0 && args.socks.is_none() {
        return Err(words::nothing(target.as_ref()));
    }
    let mut background = args.background()?;
    let mut signals = Signals::listen()?;
    let finding = async {
        let (client, resolved) = match find(target.as_ref(), args, context).await? {
            Ok(found) => found,
            Err(code) => return Ok(Err(code)),
        };
        let mut specs = Vec::new();
        for template in &templates {
            specs.push(template.fill(&client, &resolved).await?);
        }
        specs.extend(stores::specs(&client, &args.rds, &args.cache, context).await?);
        Ok::<_, CommandError>(Ok((client, resolved, specs)))
    };
    let found = tokio::select! {
        found = finding => found?,
        signal = signals.next() => return Ok(signal.code()),
    };
    let (client, resolved, specs) = match found {
        Ok(found) => found,
        Err(code) => return Ok(code),
    };
    let mut request = args.times.request(specs.clone());
    request.relay = args.relay;
    request.socks.clone_from(&args.socks);
    request.target = context.config_target(target.as_ref());
    let forward = client.forward(&resolved, request).await?;
    let names = Names::new(&specs, forward.bound());
    if let (Some(_), Some(proxy)) = (&args.socks, forward.bound().last()) {
        let text = format!("SOCKS5 proxy at {proxy} through {resolved}");
        context.printer.note(&text);
    }
    let lines = Lines {
        report,
        specs: &specs,
        bound: forward.bound().to_vec(),
        target: &resolved,
    };
    let ends = Ends {
        signals: &mut signals,
        background: &mut background,
    };
    let ended = follow(forward, args, context, &lines, &names, ends).await;
    let ended = match ended {
        Err(Ended::Failed(error)) => Err(explain(*error, &client, &resolved).await),
        Err(Ended::Command(error)) => Err(error),
        Ok(code) => Ok(code),
    };
    // The sessions are ended before we leave.
    client.finish().await;
    ended
}

type FoundTarget = Result<(Client, ResolvedTarget), ExitCode>;

async fn find(
    target: Option<&TargetSpec>,
    args: &ForwardArgs,
    context: &Context,
) -> Result<FoundTarget, CommandError> {
    let client = context.client().await?;
    let asked = picker::resolve(&client, target, &args.pick, "forward to it", context);
    let target = match asked.await? {
        Found::Target(target) => *target,
        Found::Left(code) => return Ok(Err(code)),
    };
    for note in &target.notes {
        context.printer.note(note);
    }
    guard::check(context, &target).await?;
    Ok(Ok((client, target)))
}

/// Why it is over, if not by somebody's wish.
enum Ended {
    Failed(Box<ForwardError>),
    Command(CommandError),
}

impl From<CommandError> for Ended {
    fn from(error: CommandError) -> Self {
        Self::Command(error)
    }
}

/// Who can want an end.
struct Ends<'a> {
    signals: &'a mut Signals,
    background: &'a mut Option<Background>,
}

async fn follow(
    mut forward: Forward,
    args: &ForwardArgs,
    context: &Context,
    lines: &Lines<'_>,
    names: &Names,
    ends: Ends<'_>,
) -> Result<ExitCode, Ended> {
    let Ends {
        signals,
        background,
    } = ends;
    let mut missing: Vec<bool> = vec![true; lines.specs.len()];
    let mut companion: Option<Companion> = None;
    if missing.is_empty() {
        args.local.ready(names, lines.specs)?;
        companion = args.local.start(names)?;
    }
    loop {
        // Every arm is cancel-safe: channels, signals that are kept, waiting for a child.
        tokio::select! {
            event = forward.next() => match event {
                None => return Ok(ExitCode::Success),
                Some(ForwardEvent::Failed { error, .. }) => return Err(Ended::Failed(Box::new(error))),
                Some(event) => {
                    let told = missing.contains(&true) || background.is_none();
                    lines.show(&event, context, told)?;
                    if let Some(background) = background {
                        background.happened(&event, lines);
                    }
                    let ForwardEvent::Ready { forward, .. } = event else { continue };
                    let first = missing.get_mut(forward).is_some_and(std::mem::take);
                    if first && !missing.contains(&true) {
                        args.local.ready(names, lines.specs)?;
                        companion = args.local.start(names)?;
                    }
                }
            },
            ended = Companion::ended(&mut companion), if companion.is_some() => return Ok(ended?),
            stream = Background::asked(background.as_ref()), if background.is_some() => {
                if let Some(background) = background
                    && background.answer(stream).await
                {
                    return Ok(ExitCode::Success);
                }
            }
            signal = signals.next() => {
                // It has the terminal too, and decides for itself what an interrupt means.
                if let Some(companion) = &mut companion
                    && companion.told(signal)
                {
                    continue;
                }
                return Ok(signal.code());
            }
        }
    }
}

/// The error with the likeliest cause, as exec and login tell it.
async fn explain(error: ForwardError, client: &Client, target: &ResolvedTarget) -> CommandError {
    match error {
        ForwardError::Session(reason) => hint::explain(reason, client, target).await,
        error => error.into(),
    }
}

impl ForwardArgs {
    fn background(&self) -> Result<Option<Background>, CommandError> {
        self.serve.as_deref().map(Background::start).transpose()
    }

    /// The target, and what is asked about it.
    pub(crate) fn question(&self) -> (Option<TargetSpec>, &PickArgs) {
        let target = words::split(&self.words)
            .ok()
            .and_then(|(target, _)| target);
        (target, &self.pick)
    }
}
