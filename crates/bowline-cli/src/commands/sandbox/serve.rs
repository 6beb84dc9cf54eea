//! A sandbox being served: what it is made of, and until when.

use std::fs::{self, File};
use std::io;
use std::num::NonZeroU32;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bowline_sandbox::{
    AccessLog, AgentOptions, FaultError, Faults, InitCommand, Isolated, Options, RemoteHost,
    Sandbox, Scenario, ScenarioError, StartError, StateError, WorldFile, WorldFileError,
};
use clap::{Args, ValueEnum};
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

use super::control::{Control, Leave};
use super::place::Claimed;
use super::{CONTAINER_INIT, Context, environment_lines};
use crate::duration;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;
use crate::whole;

/// How the sandbox shall be.
#[derive(Args, Debug)]
pub(super) struct ServeArgs {
    /// The port on 127.0.0.1; 0 takes any free one
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    port: u16,
    /// Also write the lines to this file, readable by you only, once the sandbox is ready
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// How the agents in the containers behave: fast, or stock (paced, with the real agent's damage to some bytes)
    ///
    /// More words after commas change that: start-delay=1s (before the first output), ready-delay=2s (input is refused
    /// so long), no-reack (as agents before 3.2.1041.0), handshake-wait=5s, require-challenge, session-limit=5 (instead
    /// of 2), dial-delay=2s (of forwarded ports), no-hosts (only ports of the task are forwarded), payload=1024 (of one message), version=3.1.0.0.
    ///
    /// real=FOLDER starts the public amazon-ssm-agent in each container, from the programs in that folder; real alone waits
    /// for one that comes by itself.
    #[arg(long, default_value = "fast", value_name = "KIND[,WORD…]")]
    agent: AgentOptions,
    /// The pause before an agent reads a command's first output (500ms, 2s); the stock agent's is 1s
    #[arg(long, value_parser = duration::parse, value_name = "TIME")]
    agent_start_delay: Option<Duration>,
    /// How long the exec agent of a container is pending after the container's start
    #[arg(long, value_parser = duration::parse, default_value = "0", value_name = "TIME")]
    agent_pending: Duration,
    /// Something that is wrong with the demo world (repeatable); `help` lists what there is
    #[arg(long, value_name = "NAME")]
    scenario: Vec<String>,
    /// What it holds in place of the demo world: clusters, services and tasks in YAML or JSON
    ///
    /// Its tasks start no process until a session needs them, so thousands are cheap.
    #[arg(long, value_name = "FILE")]
    world: Option<PathBuf>,
    /// A host that only tasks reach, and where it really is: db.internal:5432=127.0.0.1:15432 (repeatable)
    ///
    /// `db.demo.internal:5432`, which answers simple queries of psql, is there without it.
    #[arg(long, value_name = "NAME:PORT=ADDRESS:PORT")]
    remote_host: Vec<RemoteHost>,
    /// Keep what is made in this file, and go on with it at the next start
    ///
    /// Task definitions, services, parameters, secrets, documents, functions, roles, objects and log events are kept; the
    /// tasks of services start anew. In a folder the file is sandbox-state. With a file that is there, --world and
    /// scenarios about the demo world count only after a reset.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Tell each call and session as a line in this file; - is stdout
    ///
    /// Time, account, caller, service.operation, status with the error's code, duration, bytes in and out, request id.
    #[arg(long, value_name = "FILE")]
    access_log: Option<PathBuf>,
    /// Run the sandbox's clock so many times as fast: deployments, tasks, idle limits, automations, not processes
    #[arg(long, default_value = "1", value_name = "FACTOR")]
    fast_clock: NonZeroU32,
    /// Speak TLS, with an authority made for this start; AWS_CA_BUNDLE names its certificate
    ///
    /// Programs that do not know AWS_CA_BUNDLE, such as the session-manager-plugin, have to be told for themselves:
    /// SSL_CERT_FILE=$AWS_CA_BUNDLE aws ecs execute-command … It is not set for all, since it replaces the trust in
    /// everything else.
    #[arg(long)]
    tls: bool,
    /// Stand in for AWS's own host of data channels, for clients that go nowhere else, such as newer session-manager-plugins
    ///
    /// Stream URLs name ssmmessages.REGION.amazonaws.com, and the sandbox is the HTTPS proxy on the way there, for that
    /// host and no other, with an authority made for this start. The lines then hold HTTPS_PROXY, SSL_CERT_FILE and
    /// AWS_CA_BUNDLE: a shell that has them reaches nothing else by HTTPS.
    #[arg(long, conflicts_with = "tls")]
    impersonate: bool,
    /// Also answer to this host name, for a proxy or forwarder in front (repeatable)
    #[arg(long, value_name = "NAME")]
    host_name: Vec<String>,
    /// Take requests with any credentials: whoever reaches the port can then run commands as you
    #[arg(long)]
    accept_any_credentials: bool,
    /// Whether each task has its own files, processes and network (Linux namespaces)
    ///
    /// auto isolates tasks where the machine allows it; on refuses to start where it does not; off never tries. The
    /// line that says the sandbox is ready tells which it is. With --agent real no task is isolated, and on is refused.
    #[arg(long, value_enum, default_value_t = Isolation::Off, value_name = "WHEN")]
    isolation: Isolation,
    /// Run the images of task definitions for real, in containers of podman or docker
    ///
    /// Pulled if they are not there; image names below bowline/ are the sandbox's own, and stay processes. podman is
    /// started for the sandbox unless CONTAINER_HOST names one, docker is the daemon that DOCKER_HOST names or the
    /// machine's; either has to run on this machine, and rootless unless the sandbox is root's. Containers have this
    /// machine's network. Not with --isolation on or --agent real.
    #[arg(long, value_enum, value_name = "ENGINE")]
    runtime: Option<Runtime>,
    /// Ends when stdin does: the private sandbox of one command
    #[arg(long, hide = true)]
    private: bool,
}

/// When tasks are isolated.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Isolation {
    Auto,
    On,
    Off,
}

impl From<Isolation> for bowline_sandbox::Isolation {
    fn from(isolation: Isolation) -> Self {
        match isolation {
            Isolation::Auto => Self::Auto,
            Isolation::On => Self::On,
            Isolation::Off => Self::Off,
        }
    }
}

/// What runs images.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Runtime {
    Podman,
    Docker,
}

impl From<Runtime> for bowline_sandbox::Runtime {
    fn from(runtime: Runtime) -> Self {
        match runtime {
            Runtime::Podman => Self::Podman,
            Runtime::Docker => Self::Docker,
        }
    }
}

impl ServeArgs {
    /// What `help` as the name of a scenario or fault asks for.
    pub(super) fn list(&self, context: &Context) -> Option<String> {
        if self.scenario.iter().any(|name| name == "help") {
            return Some(Scenario::list());
        }
        let faults = &context.global.fault;
        let asked = faults.iter().any(|words| words == "help");
        asked.then(Faults::list)
    }

    /// As the library wants it. No file is opened for writing.
    pub(super) fn options(&self, context: &Context) -> Result<Options, CommandError> {
        let mut agent = self.agent.clone();
        agent.start_delay = self.agent_start_delay.unwrap_or(agent.start_delay);
        agent.hosts.clone_from(&self.remote_host);
        let mut options = Options::new(init_command()?);
        options.port = self.port;
        options.agent = agent;
        options.agent_pending = self.agent_pending;
        options.accept_any_credentials = self.accept_any_credentials;
        options.clock_speed = self.fast_clock;
        options.scenarios = scenarios(&self.scenario)?;
        options.faults = faults(&context.global.fault)?;
        options.world = self
            .world
            .as_deref()
            .map(|file| world(file, &options.scenarios))
            .transpose()?;
        options.tls = self.tls;
        options.impersonate = self.impersonate;
        options.isolation = self.isolation.into();
        options.runtime = self.runtime.map(Into::into);
        options.host_names.clone_from(&self.host_name);
        options.state.clone_from(&self.state);
        if let Some(region) = &context.global.region {
            options.region.clone_from(region);
        }
        Ok(options)
    }
}

/// Runs the sandbox until it is told to end; with a place it is known there, and in the background nobody reads its
/// stdout.
pub(super) async fn run(
    args: &ServeArgs,
    place: Option<(Claimed, bool)>,
    context: &Context,
) -> Result<ExitCode, CommandError> {
    if let Some(list) = args.list(context) {
        context.printer.document(&list)?;
        return Ok(ExitCode::Success);
    }
    let mut options = args.options(context)?;
    options.access_log = args.access_log.as_deref().map(access_log).transpose()?;
    let seed_is_chosen = options.faults.is_random() && options.faults.seed().is_none();
    let sandbox = Sandbox::start(options).await?;
    if seed_is_chosen {
        let seed = sandbox.fault_seed();
        context.printer.note(&format!(
            "faults by chance: --fault seed={seed} repeats them"
        ));
    }
    if !args.private {
        introduce(&sandbox, args, context);
    }
    let served = serve(&sandbox, args, place.as_ref(), context).await;
    if let Some(file) = &args.env_file {
        // Its keys are worthless from now on; somebody may have removed it already.
        let _ = fs::remove_file(file);
    }
    let ended = sandbox.end().await;
    let leave = served?;
    if let Some(leave) = leave {
        let error = ended.as_ref().err();
        leave.tell(error.map(ToString::to_string)).await;
    }
    ended.map_err(|error| CommandError::new(ErrorKind::Failed, error))?;
    Ok(ExitCode::Success)
}

async fn serve(
    sandbox: &Sandbox,
    args: &ServeArgs,
    place: Option<&(Claimed, bool)>,
    context: &Context,
) -> Result<Option<Leave>, CommandError> {
    // Listened for before anything is printed: whoever reads the lines may send a signal at once.
    let mut ends = Ends::listen(args.private)?;
    let lines = environment_lines(&sandbox.environment());
    if let Some(file) = &args.env_file {
        whole::write(file, lines.as_bytes(), whole::PRIVATE).map_err(|error| {
            CommandError::new(
                ErrorKind::Failed,
                format!("cannot write {}: {error}", file.display()),
            )
        })?;
    }
    // In the background stdout is the log, which keys have no business in.
    if !matches!(place, Some((_, true))) {
        context.printer.document(&lines)?;
    }
    let Some((Claimed { place, .. }, _)) = place else {
        ends.wait().await;
        return Ok(None);
    };
    place.tell(sandbox.endpoint())?;
    let control = Control::listen(place)?;
    tokio::select! {
        () = ends.wait() => Ok(None),
        leave = control.serve(sandbox) => Ok(Some(leave)),
    }
}

fn access_log(path: &Path) -> Result<AccessLog, CommandError> {
    if path == Path::new("-") {
        return Ok(AccessLog::new(io::stdout()));
    }
    let file = File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path);
    file.map(AccessLog::new)
        .map_err(|error| CommandError::usage(format!("cannot write {}: {error}", path.display())))
}

fn introduce(sandbox: &Sandbox, args: &ServeArgs, context: &Context) {
    let endpoint = sandbox.endpoint();
    let (containers, why) = match sandbox.isolated() {
        Isolated::Yes => (
            "each of its tasks is isolated, with its own files, processes and network",
            None,
        ),
        Isolated::No(why) => (
            "its containers are processes of this machine and can touch your files",
            why.as_deref(),
        ),
    };
    context.printer.note(&format!(
        "sandbox ready at {endpoint}; {containers}; Ctrl-C ends it"
    ));
    if let Some(runtime) = sandbox.runtime() {
        context
            .printer
            .note(&format!("images other than bowline/… run in {runtime}"));
    }
    if let Some(why) = why {
        context
            .printer
            .note(&format!("tasks cannot be isolated on this machine: {why}"));
    }
    context
        .printer
        .note(&format!("its page: {}", sandbox.page()));
    if args
        .scenario
        .iter()
        .any(|name| name.starts_with("exec-logging"))
    {
        let logs = sandbox.logs();
        context.printer.note(&format!(
            "exec sessions are logged below {}",
            logs.display()
        ));
    }
    if args.accept_any_credentials {
        context.printer.warning(
            "any credentials are accepted: whoever reaches the port can run commands as you",
        );
    }
}

fn scenarios(names: &[String]) -> Result<Vec<Scenario>, CommandError> {
    let unknown = |error: ScenarioError| {
        CommandError::usage(error.to_string()).hint("run `bowline sandbox --scenario help`")
    };
    names
        .iter()
        .map(|name| name.parse().map_err(unknown))
        .collect()
}

/// All sets together.
pub(crate) fn faults(words: &[String]) -> Result<Faults, CommandError> {
    let mut faults = Faults::default();
    for words in words {
        faults.add(words).map_err(|error: FaultError| {
            CommandError::usage(error.to_string()).hint("run `bowline sandbox --fault help`")
        })?;
    }
    Ok(faults)
}

/// The world of a file; what scenarios say about the demo world has no place in it.
fn world(file: &Path, scenarios: &[Scenario]) -> Result<WorldFile, CommandError> {
    if scenarios.iter().any(Scenario::is_about_the_demo_world) {
        return Err(CommandError::usage(
            "a scenario about the demo world does not go with --world",
        )
        .hint("say it in the file: exec, desired, labels, exec_logging"));
    }
    let name = file.display().to_string();
    let text = fs::read_to_string(file)
        .map_err(|error| CommandError::usage(format!("cannot read {name}: {error}")))?;
    WorldFile::parse(&text, &name).map_err(wrong_world)
}

fn wrong_world(error: WorldFileError) -> CommandError {
    CommandError::new(ErrorKind::Usage, error)
}

/// How to start this program again as the init of a container.
fn init_command() -> Result<InitCommand, CommandError> {
    let program = std::env::current_exe().map_err(|error| {
        CommandError::new(
            ErrorKind::Unavailable,
            format!("cannot find this program's own file: {error}"),
        )
    })?;
    Ok(InitCommand {
        program,
        arguments: vec![CONTAINER_INIT.into()],
    })
}

/// What ends a sandbox.
struct Ends {
    signals: [tokio::signal::unix::Signal; 3],
    private: bool,
}

impl Ends {
    fn listen(private: bool) -> Result<Self, CommandError> {
        let signals = [
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ];
        Ok(Self { signals, private })
    }

    async fn wait(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
            () = stdin_ends(), if self.private => {}
        }
    }
}

/// The owner of a private sandbox holds the other end of its stdin and never writes: however the owner ends, this
/// ends.
async fn stdin_ends() {
    let mut rest = [0];
    while matches!(tokio::io::stdin().read(&mut rest).await, Ok(1)) {}
}

impl From<StartError> for CommandError {
    fn from(error: StartError) -> Self {
        let error = match error {
            StartError::World(error) => return wrong_world(error),
            other => other,
        };
        let hint = match &error {
            StartError::Listen { .. } => {
                Some("choose another port with --port, or let --port 0 find one")
            }
            StartError::State(StateError::Damaged { .. } | StateError::Version { .. }) => {
                Some("nothing was changed; start with another --state, or move the file away")
            }
            StartError::Isolation { .. } => {
                Some("--isolation off runs its containers as plain processes of this machine")
            }
            StartError::Runtime { .. } => {
                Some("without --runtime its containers are plain processes of this machine")
            }
            StartError::Together(_) => {
                Some("--runtime needs --isolation off or auto, and the sandbox's own agents")
            }
            StartError::AgentsIsolated => Some("--agent real needs --isolation off"),
            StartError::Agents(_) => Some(
                "real=FOLDER wants amazon-ssm-agent, ssm-agent-worker and ssm-session-worker there, and Linux namespaces",
            ),
            _ => None,
        };
        let error = Self::new(ErrorKind::Unavailable, error);
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}
