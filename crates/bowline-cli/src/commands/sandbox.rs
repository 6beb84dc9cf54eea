//! `bowline sandbox`: a local AWS in the foreground.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::num::NonZeroU32;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bowline_sandbox::{
    AgentOptions, FaultError, Faults, InitCommand, Options, RemoteHost, Sandbox, Scenario,
    ScenarioError, StartError, WorldFile, WorldFileError,
};
use clap::Args;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

use super::Context;
use crate::duration;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;

/// The hidden first word with which the sandbox starts this program again as the init of a container.
pub(crate) const CONTAINER_INIT: &str = "__container-init";

/// Serve a local AWS with ECS tasks that are real processes
///
/// It listens on loopback only, prints `export NAME=value` lines for the shell
/// when it is ready, and runs until it is interrupted. The AWS CLI, boto3 and
/// bowline itself work against it.
///
/// Examples:
///   bowline sandbox --env-file env &      then, when the file is there:  . ./env
///   bowline sandbox --agent stock         the real agent's delay and faults
///   bowline sandbox --agent real=./agent  AWS's own agent, from ./agent
///   bowline sandbox --scenario no-base64  an image without base64
///   bowline sandbox --fault loss=10%      messages that vanish
///   bowline sandbox --world shop.yaml     clusters and services of your own
///   bowline --sandbox exec web -- date    a private one, for one command
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct SandboxArgs {
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
    /// Run the sandbox's clock so many times as fast: idle limits, agents and tasks, not processes
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
    /// Ends when stdin does: the private sandbox of one command
    #[arg(long, hide = true)]
    private: bool,
}

/// Runs the sandbox until it is told to end.
pub async fn run(args: SandboxArgs, context: &Context) -> Result<ExitCode, CommandError> {
    if context.global.sandbox {
        return Err(
            CommandError::usage("--sandbox starts a private sandbox for one command")
                .hint("run `bowline sandbox`"),
        );
    }
    if args.scenario.iter().any(|name| name == "help") {
        context.printer.document(&Scenario::list())?;
        return Ok(ExitCode::Success);
    }
    if context.global.fault.iter().any(|words| words == "help") {
        context.printer.document(&Faults::list())?;
        return Ok(ExitCode::Success);
    }
    let mut agent = args.agent.clone();
    agent.start_delay = args.agent_start_delay.unwrap_or(agent.start_delay);
    let mut options = Options::new(init_command()?);
    options.port = args.port;
    agent.hosts.clone_from(&args.remote_host);
    options.agent = agent;
    options.agent_pending = args.agent_pending;
    options.accept_any_credentials = args.accept_any_credentials;
    options.clock_speed = args.fast_clock;
    options.scenarios = scenarios(&args.scenario)?;
    options.faults = faults(&context.global.fault)?;
    options.world = args
        .world
        .as_deref()
        .map(|file| world(file, &options.scenarios))
        .transpose()?;
    let seed_is_chosen = options.faults.is_random() && options.faults.seed().is_none();
    options.tls = args.tls;
    options.impersonate = args.impersonate;
    options.host_names.clone_from(&args.host_name);
    if let Some(region) = &context.global.region {
        options.region.clone_from(region);
    }
    let sandbox = Sandbox::start(options).await?;
    if seed_is_chosen {
        let seed = sandbox.fault_seed();
        context.printer.note(&format!(
            "faults by chance: --fault seed={seed} repeats them"
        ));
    }
    if !args.private {
        introduce(&sandbox, &args, context);
    }
    let result = serve(&sandbox, &args, context).await;
    if let Some(file) = &args.env_file {
        // Its keys are worthless from now on; somebody may have removed it already.
        let _ = fs::remove_file(file);
    }
    sandbox.shutdown().await;
    result.map(|()| ExitCode::Success)
}

async fn serve(
    sandbox: &Sandbox,
    args: &SandboxArgs,
    context: &Context,
) -> Result<(), CommandError> {
    // Listened for before anything is printed: whoever reads the lines may send a signal at once.
    let mut ends = Ends::listen(args.private)?;
    let lines = environment_lines(sandbox);
    if let Some(file) = &args.env_file {
        write_private(file, &lines).map_err(|error| {
            CommandError::new(
                ErrorKind::Failed,
                format!("cannot write {}: {error}", file.display()),
            )
        })?;
    }
    context.printer.document(&lines)?;
    ends.wait().await;
    Ok(())
}

fn introduce(sandbox: &Sandbox, args: &SandboxArgs, context: &Context) {
    let endpoint = sandbox.endpoint();
    context.printer.note(&format!(
        "sandbox ready at {endpoint}; its containers are processes of this machine and can touch your files; Ctrl-C ends it"
    ));
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

fn environment_lines(sandbox: &Sandbox) -> String {
    let mut lines = String::new();
    for (name, value) in sandbox.environment() {
        // Writing to a String cannot fail.
        let _ = match value {
            Some(value) => writeln!(lines, "export {name}='{}'", value.replace('\'', r"'\''")),
            None => writeln!(lines, "unset {name}"),
        };
    }
    lines
}

/// Whoever waits for the file sees it complete: it is written beside and renamed.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let mut file: File = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&beside, path)
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
