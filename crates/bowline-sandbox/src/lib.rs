//! A local AWS for ECS Exec: ECS, SSM sessions and the data channel on loopback, with real processes as containers.
//!
//! ```no_run
//! # async fn example(init: bowline_sandbox::InitCommand) -> Result<(), Box<dyn std::error::Error>> {
//! let sandbox = bowline_sandbox::Sandbox::start(bowline_sandbox::Options::new(init)).await?;
//! for (name, value) in sandbox.environment() {
//!     println!("{name}={}", value.unwrap_or_default());
//! }
//! sandbox.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What an image has
//!
//! There are no images: containers see the host's programs. A docker label on the container definition,
//! `bowline.sandbox.tools`, takes some or all of them away. Its words stand between spaces or commas:
//!
//! | word | the image has |
//! |---|---|
//! | `none` | no program at all; only the demo world's web server runs |
//! | `busybox` | the applets of the host's busybox, `sh` among them |
//! | `bash`, `dash` | the host's programs, with this as `sh` and no other shell |
//! | `-shells` | no shell |
//! | `-NAME` | not this program: `-base64`, `-stty`, `-dd` … |
//!
//! PATH is then one folder of the container's own, and the command of a task or a session is started only from there,
//! as under `/bin` and `/usr/bin`, or from the container's directory; anything else fails like a missing file. This is
//! for showing what a client does without a tool, not for locking anything in: a shell that runs can still open any
//! absolute path, and so can the `#!` line of a script.
//!
//! # Isolated tasks
//!
//! With [`Options::isolation`] each task is in a user, mount, PID, network, UTS and IPC namespace of its own, where Linux allows
//! it; [`Sandbox::isolated`] tells whether it does. Containers see the machine's files and write to a layer of their own, with empty
//! `/tmp`, `/var/tmp`, `/run` and `/root` (their directory and HOME); the folder of an image's programs is `/run/bowline/bin`. `localhost` is
//! the task, and the sandbox is there at its own address; nothing else is. All processes of a task end with it.
//!
//! # Permissions and the network
//!
//! The caller's policies count: what they deny is refused, except GetCallerIdentity. An exec agent is connected only if
//! its task's role allows the four actions of ssmmessages, the network leads to Session Manager and nothing in the
//! environment misleads it; that is judged at each request. IAM (simulation, roles with inline policies) and EC2 (one
//! subnet, its routes, endpoints and security groups) show and change these.
//!
//! # Scenarios and the clock
//!
//! [`Options::scenarios`] makes the demo world fail in known ways, see [`Scenario`]. Sessions end when their client
//! has sent neither input nor a terminal size for 20 minutes. That limit, agents that are PENDING, the states that
//! tasks only pass through, the pauses before failed tasks are replaced, pulling, the intervals of health checks, the
//! hour for which stopped tasks are known and the ingestion and retention of logs go by the sandbox's own clock, which
//! can run fast ([`Options::clock_speed`]) or be set forward; processes, their stop timeouts, dates and the protocol
//! keep real time. Sleeps of Automation are as much shorter as the clock is faster, but end no sooner when it is set
//! forward.
//!
//! # Tasks and their logs
//!
//! Containers start by `dependsOn` and stop in the opposite order; health checks run; the label
//! `bowline.sandbox.stop-signal` (INT, QUIT, HUP, USR1, USR2, KILL) stands for an image's STOPSIGNAL. What a container
//! with the driver awslogs prints is in CloudWatch Logs soon after; with other drivers it goes nowhere. Its log group
//! must exist or `awslogs-create-group` be true, else the task does not start; the groups of the demo world exist.
//!
//! # Accounts, regions and simulated tasks
//!
//! With [`Scenario::Accounts`] and [`Scenario::Regions`] there are worlds beside the first, made when they are first
//! asked for: the region of a request's signature and the account of its keys decide. `organizations:ListAccounts`,
//! `ec2:DescribeRegions` and `sts:AssumeRole` (of the role `operations`) lead there. They hold one service only, `fleet`
//! or `web`. Rates and other faults of the API count for each account and region by itself; control calls are about the
//! caller's world. DescribeSessions shows an account's sessions of all regions.
//!
//! Containers with the docker label `bowline.sandbox.simulated` have no processes: their agents speak the protocol as all
//! do and play the shell (`echo`, `hostname`, `lines N`, `sleep N`, `true`, `false`, `sh -c 'exit N'`), so that a thousand
//! of them are cheap. [`Scenario::Fleet`] makes a service of such tasks; their tag `bowline.sandbox.fate` says which ones
//! fail, hang or cannot be reached.
//!
//! # Faults
//!
//! [`Options::faults`], `bowline sandbox --fault WORDS` and the control call `SetFaults` make the API, sockets and
//! messages fail on demand. Words stand between commas, as in `loss-up=10%,cut-down=frame:20,seed=7`. Those of the first
//! table also exist with `-up` (from the client to the agent) or `-down` (from the agent to the client) at the end;
//! without it both directions fail, each for itself.
//!
//! | word | what happens to the messages of a session |
//! |---|---|
//! | `delay=20ms`, `delay=5ms..50ms` | each waits so long; they stay in order |
//! | `loss=10%` | they vanish |
//! | `duplicate=10%` | they arrive twice |
//! | `reorder=10%` | they are overtaken by 1 to 8 later ones, or wait 50 ms for them |
//! | `bandwidth=64KB` | so many bytes a second, and pressure on the sender: a slow reader |
//! | `cut=frame:20`, `cut=byte:64KB` | the socket is cut when so many messages or bytes (of the socket, within a message too) have passed; once in a session |
//! | `cut-every=…` | the same on every socket |
//! | `cuts=200/20MB` | 200 cuts at random places of the session's first 20 MB |
//!
//! | word | what happens |
//! |---|---|
//! | `black-hole`, `black-hole=20` | when so many messages have gone to the client, their socket stays open and nothing passes any more, pongs included; once in a session |
//! | `bye=2s`, `bye=frame:20` | the service closes each socket with 1000 "Bye" after so long, or so many messages to the client |
//! | `pause=2s`, `pause=2s@20` | after so many messages to the client (1 if not said) both ends are told to pause, and nothing passes for so long; once in a session |
//! | `late-close=2s` | channel_closed comes so much later than the session's end |
//! | `double-close` | channel_closed comes twice |
//! | `no-acks` | the agent's acknowledgements never arrive |
//! | `no-pong` | WebSocket pings stay unanswered |
//! | `token-refused=2` | the first two sockets that come with a good token are refused; the token stays good |
//! | `resume=allowed` | ResumeSession grants a new token and a new stream URL; the older URLs of the session are refused with 404. Allowed unless said otherwise |
//! | `resume=denied` | ResumeSession answers AccessDeniedException; the session lives on until its idle limit |
//! | `resume=gone` | a session ends with its socket, and ResumeSession answers DoesNotExistException |
//! | `resume=no-token` | ResumeSession answers without a token, as for sessions that have timed out |
//! | `agent-delay=2s` | the agent's side of each session starts so late |
//! | `throttle=20%`, `throttle=ListTasks:3` | API calls, of all operations or of one, are answered by ThrottlingException: by chance, or the first three |
//! | `rate=20/s`, `rate=ExecuteCommand:2/s:5` | API calls above this rate of the account are throttled; the last number is how many may come at once after a rest (else the rate) |
//! | `latency=200ms`, `latency=ListTasks:1s..2s` | API answers take so much longer |
//! | `seed=7` | the number by which chance is repeated |
//!
//! Chance depends on the seed, the number of the session since the start, the direction and the number of the message
//! since the faults came into force (for the API: the number of the call that the word is about), and never on time.
//! With one seed the fifth message of the second session always has the same fate; which message is the fifth can still
//! depend on when something is sent again. Of a repeated word the last one counts; `throttle`, `rate` and `latency`
//! add up.
//!
//! A session whose agent ends while its client is away can be resumed once more, to be told of the end. As with the real
//! agent, output is not read while the client is away, so a command waits rather than ends; but an agent that has read the
//! end of its output waits only two seconds for the acknowledgements.
//!
//! # Control calls
//!
//! Asked for like the operations of ECS: POST to `/`, JSON, signed for the service `ecs`, with the header
//! `X-Amz-Target: BowlineSandbox.<operation>`. Errors are those of ECS.
//!
//! | operation | members | what happens |
//! |---|---|---|
//! | `SetAgentState` | `cluster`, `task`, `status` (`PENDING`, `RUNNING`, `STOPPED`), `container` (else all of the task), `reason` (of `STOPPED`) | the exec agent takes that state; unless it is `RUNNING` its sessions end. Answers the names of the `containers` |
//! | `CutSession` | `sessionId` | the client's socket is lost without a close frame, and the session lives on. Answers the `sessionId` |
//! | `FailNext` | `operation`, `code`, `message`, `count` (else 1), `status` | so many calls of an operation of ECS, SSM or Logs answer that error |
//! | `FailRunTask` | `reason` (or `capacity`, `quota`), `detail`, `arn`, `count` (else 1) | so many tasks that RunTask shall start become `failures` instead |
//! | `FailStart` | `reason` (or `pull`, `resources`, `start`), `container` (else the first), `count` (else 1) | so many tasks do not start: TaskFailedToStart with that reason |
//! | `EndTask` | `cluster`, `task`, `stopCode`, `reason` | a task is stopped as by AWS: SpotInterruption, TerminationNotice, InfrastructureHealth, ServiceSchedulerInitiated |
//! | `KillContainer` | `cluster`, `task`, `container` (else the first), `reason` | SIGKILL, with the reason of a container that ran out of memory unless another is given |
//! | `SetTaskDelay` | `seconds` | DescribeTasks and ListTasks do not know tasks of RunTask for so long |
//! | `SetLogDelay` | `seconds`, or `minSeconds` and `maxSeconds`; none is as usual | log lines of containers are ingested so late, in uneven batches |
//! | `CountCalls` | | nothing. Answers the `calls` of ECS, SSM and Logs since the start, by operation, the most within any one second (`busiest`), and the same for each of the `accounts` |
//! | `SetFaults` | each word of the faults as a member: `{"loss": "10%", "no-acks": true, "throttle": ["5%", "RunTask:1"], "seed": 7}` | this set replaces the one in force, and all is counted anew; `{}` ends all faults. Answers as `GetFaults` |
//! | `GetFaults` | | answers the `faults` in force, the `seed` in use, and how often something `happened` |
//! | `AdvanceClock` | `seconds` | the sandbox's clock is set forward. Answers its `seconds` since the start |

mod access;
mod agent;
mod api;
mod attached;
mod auth;
mod automation;
mod census;
mod channel;
mod clock;
mod database;
mod demo_web;
mod dispositions;
mod dormant;
mod faults;
mod fds;
mod functions;
mod guard;
mod iam;
mod identifiers;
mod idle;
mod image;
mod impersonation;
pub mod init;
mod isolation;
mod keep;
mod kms;
mod landscape;
mod lifecycle;
mod logs;
mod mishaps;
mod network;
mod page;
mod prerequisites;
mod reach;
// Public for tests/containers.rs: only an integration test is told the path of the init's binary.
#[doc(hidden)]
pub mod process;
mod room;
mod root;
mod runtime;
mod scenario;
mod scheduler;
mod server;
mod sessions;
mod simulated;
mod stage;
mod state;
mod terminal;
mod tls;
mod utf8;
mod words;
mod world;
mod world_file;

use std::io;
use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use access::Access;
pub use access::AccessLog;
use attached::program::Supply;
use auth::Credentials;
pub use census::Census;
use clock::SandboxClock;
pub use faults::{FaultError, Faults};
use guard::Door;
use identifiers::Account;
use impersonation::Impersonation;
use isolation::Makings;
pub use isolation::{Isolated, Isolation};
pub use keep::StateError;
use keep::{Keeper, Keeping};
use page::Page;
pub use process::InitCommand;
pub use reach::{RemoteHost, RemoteHostError};
use runtime::Engine;
pub use runtime::Runtime;
pub use scenario::{ExecLogging, Prerequisite, Scenario, ScenarioError};
use server::Front;
pub use sessions::{AgentError, AgentOptions, Outside};
pub use simulated::Fleet;
use stage::{Props, Stage};
use tls::Tls;
pub use world_file::{WorldFile, WorldFileError};

/// The idle limit of ECS Exec, and of Session Manager unless the account has another preference.
const IDLE_LIMIT: Duration = Duration::from_secs(20 * 60);

/// How a sandbox shall be.
#[derive(Clone, Debug)]
pub struct Options {
    /// The port on 127.0.0.1; 0 takes any free one.
    pub port: u16,
    /// The one region that the sandbox stands for.
    pub region: String,
    /// How agents behave in sessions.
    pub agent: AgentOptions,
    /// How long a container's exec agent is PENDING after the container has started, on the sandbox's clock.
    pub agent_pending: Duration,
    /// How many times as fast as real time the sandbox's clock runs: idle limits, agents and tasks that only take
    /// time. Processes and the protocol keep real time.
    pub clock_speed: NonZeroU32,
    /// What is different from the usual demo world.
    pub scenarios: Vec<Scenario>,
    /// What goes wrong with the API, sockets and messages; `SetFaults` changes it.
    pub faults: Faults,
    /// What it holds in place of the demo world.
    pub world: Option<WorldFile>,
    /// Let every request in, signed or not. Whoever reaches the port can then run commands.
    pub accept_any_credentials: bool,
    /// How long tasks stay in each of the states that only take time in AWS.
    pub pace: Duration,
    /// Speak TLS, with a certificate of an authority made for this start alone.
    pub tls: bool,
    /// Name AWS's own host in stream URLs, and be the proxy that leads there, with a certificate for it: for clients
    /// that open data channels at AWS only. Not together with `tls`.
    pub impersonate: bool,
    /// Host names that requests may come with besides those of loopback, for a proxy or forwarder in front.
    pub host_names: Vec<String>,
    /// Where each call and session is told as a line.
    pub access_log: Option<AccessLog>,
    /// The file that what was made is kept in for the next start.
    pub state: Option<PathBuf>,
    /// Whether tasks are isolated from the machine and from each other.
    pub isolation: Isolation,
    /// What runs the images of task definitions for real; `None` runs their commands as processes of this machine. Not
    /// together with isolated tasks, nor with agents from outside.
    pub runtime: Option<Runtime>,
    /// Isolates without overlays, as on a machine that refuses them: for tests of what is done then.
    #[doc(hidden)]
    pub without_overlays: bool,
    /// How to start the init of a container.
    pub init: InitCommand,
}

impl Options {
    /// A sandbox in us-east-1 on any free port, with agents that do not wait.
    pub fn new(init: InitCommand) -> Self {
        Self {
            port: 0,
            region: "us-east-1".to_owned(),
            agent: AgentOptions::default(),
            agent_pending: Duration::ZERO,
            clock_speed: NonZeroU32::MIN,
            scenarios: Vec::new(),
            faults: Faults::default(),
            world: None,
            accept_any_credentials: false,
            pace: Duration::from_millis(20),
            tls: false,
            impersonate: false,
            host_names: Vec::new(),
            access_log: None,
            state: None,
            isolation: Isolation::default(),
            runtime: None,
            without_overlays: false,
            init,
        }
    }
}

/// Why a sandbox could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port is taken or not allowed.
    #[error("cannot listen on 127.0.0.1 port {port}")]
    Listen {
        /// The port that was asked for.
        port: u16,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is no place for the tasks' files.
    #[error("cannot make a private directory for the tasks")]
    Directory(#[source] io::Error),
    /// There is no certificate.
    #[error("cannot make a certificate for TLS")]
    Certificate(#[source] io::Error),
    /// The real agents cannot be used.
    #[error("cannot start real agents: {0}")]
    Agents(io::Error),
    /// Tasks shall be isolated and their agents real ones, which is not possible together.
    #[error("real agents cannot be in isolated tasks")]
    AgentsIsolated,
    /// The world file names what it does not have, or wants too much.
    #[error(transparent)]
    World(#[from] WorldFileError),
    /// What was kept cannot be used, or not be kept again.
    #[error(transparent)]
    State(#[from] StateError),
    /// Tasks cannot be isolated, and shall be.
    #[error("tasks cannot be isolated on this machine: {reason}")]
    Isolation {
        /// What was refused.
        reason: String,
    },
    /// Images shall be run, and nothing runs them.
    #[error("cannot run images with {runtime}: {reason}")]
    Runtime {
        /// What was asked.
        runtime: Runtime,
        /// What it said, or what is missing.
        reason: String,
    },
    /// Images shall be run, which does not go together with isolated tasks or agents from outside.
    #[error("images are not run with {0}")]
    Together(&'static str),
    /// The services that start with the sandbox did not come up.
    #[error("the services do not come up: {reason}")]
    NotReady {
        /// Why its tasks stop, as far as known.
        reason: String,
    },
}

/// A running sandbox. Dropping it stops it without waiting; [`Sandbox::shutdown`] waits.
#[derive(Debug)]
pub struct Sandbox {
    stage: Arc<Stage>,
    server: AbortOnDropHandle<()>,
    keeper: Option<Keeping>,
    /// The authority's certificate, with TLS.
    authority: Option<PathBuf>,
    isolated: Isolated,
    /// The one that agents from outside have to trust.
    agents_authority: Option<PathBuf>,
    /// Dropped after everything that uses it was told to stop.
    _stop: DropGuard,
    _root: TempDir,
}

impl Sandbox {
    /// Starts a sandbox; returns when its demo world runs and requests are served.
    pub async fn start(mut options: Options) -> Result<Self, StartError> {
        let port = options.port;
        let unusable = |source| StartError::Listen { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .map_err(unusable)?;
        let address = listener.local_addr().map_err(unusable)?;
        dispositions::catch_ignored();
        let root = root::make().map_err(StartError::Directory)?;
        if options.runtime.is_some() && options.isolation == Isolation::On {
            return Err(StartError::Together("isolated tasks"));
        }
        if options.runtime.is_some() && options.agent.outside.is_some() {
            return Err(StartError::Together("real agents"));
        }
        let (makings, doors) = Makings::new(
            options.init.clone(),
            address.port(),
            options.without_overlays,
        );
        let isolated = match (options.isolation, &options.agent.outside) {
            (Isolation::On, Some(_)) => return Err(StartError::AgentsIsolated),
            // They are started beside the tasks, and what they run would not be in them.
            (Isolation::Auto, Some(_)) => Ok(Isolated::No(None)),
            (Isolation::Auto, None) if options.runtime.is_some() => Ok(Isolated::No(None)),
            (wish, _) => makings.decide(wish, root.path()).await,
        };
        let isolated = isolated.map_err(|reason| StartError::Isolation { reason })?;
        let makings = (isolated == Isolated::Yes).then_some(makings);
        let engine = match options.runtime {
            Some(runtime) => {
                let engine = Engine::start(runtime, &options.init, root.path()).await;
                let refused = |reason| StartError::Runtime { runtime, reason };
                Some(Arc::new(engine.map_err(refused)?))
            }
            None => None,
        };
        let account = Account::new(&options.region);
        let channel_host = options.impersonate.then(|| account.channel_host());
        let certified = channel_host.iter().chain(&options.host_names).cloned();
        let certified: Vec<String> = certified.collect();
        let tls = (options.tls || options.impersonate)
            .then(|| Tls::new(&certified, root.path()))
            .transpose()
            .map_err(StartError::Certificate)?;
        let (tls, authority) = tls.unzip();
        let (tls, impersonation) = match &channel_host {
            Some(host) => (None, tls.map(|tls| Impersonation::new(host, tls))),
            None => (tls, None),
        };
        let scheme = if tls.is_some() { "https" } else { "http" };
        let names = options.host_names;
        let endpoint = format!("{scheme}://{address}");
        let own = authority.as_deref().filter(|_| tls.is_some());
        let outside = Supply::new(&options.agent, own, root.path(), &endpoint);
        let outside = outside.map_err(StartError::Agents)?;
        let front = Front {
            tls,
            agents: outside.tls,
            door: Door { scheme, names },
            impersonation,
        };

        let access = Arc::new(Access::new(options.access_log.take()));
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        let (keeper, kept) = options.state.take().map(Keeper::open).transpose()?.unzip();
        let props = Props {
            account,
            scenarios: options.scenarios,
            world: options.world,
            credentials: Credentials::random(),
            accept_any_credentials: options.accept_any_credentials,
            agent: options.agent,
            faults: options.faults,
            endpoint,
            channel_host,
            root: root.path().to_owned(),
            init: options.init,
            isolation: makings,
            engine,
            programs: outside.programs,
            agent_pending: options.agent_pending,
            clock: SandboxClock::start(options.clock_speed),
            pace: options.pace,
            access,
            page: Page::new(),
            stop: stop.clone(),
        };
        let stage = Arc::new(Stage::set(props, kept.flatten().as_ref()).await?);
        let keeper = keeper.map(|keeper| keeper.keep(Arc::clone(&stage)));
        let served = server::serve(listener, doors, front, Arc::clone(&stage), stop);
        let server = tokio::spawn(served);
        stage.open().await;
        Ok(Self {
            stage,
            server: AbortOnDropHandle::new(server),
            keeper,
            authority,
            isolated,
            agents_authority: outside.authority,
            _stop: guard,
            _root: root,
        })
    }

    /// The URL of every API: `http://127.0.0.1:<port>`, or `https://` with TLS.
    pub fn endpoint(&self) -> &str {
        &self.stage.props().endpoint
    }

    /// Whether its tasks are isolated, and why they are not.
    pub fn isolated(&self) -> &Isolated {
        &self.isolated
    }

    /// What runs images for real, with its version: `podman 4.3.1`.
    pub fn runtime(&self) -> Option<String> {
        let engine = self.stage.props().engine.as_ref();
        engine.map(|engine| engine.title())
    }

    /// Where sessions are logged byte for byte, as `<group>/<session id>` with `%2F` for each slash of the group;
    /// CloudWatch Logs has them by lines. It exists once there is a log, and goes with the sandbox.
    pub fn logs(&self) -> PathBuf {
        logs::folder(&self.stage.home().root)
    }

    /// The environment that leads AWS programs here; `None` means that the variable has to be unset.
    pub fn environment(&self) -> Vec<(String, Option<String>)> {
        let Props {
            endpoint,
            credentials,
            account,
            ..
        } = self.stage.props();
        let set = [
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
            ("BOWLINE_ENDPOINT", endpoint),
            ("AWS_ACCESS_KEY_ID", &credentials.access_key_id),
            ("AWS_SECRET_ACCESS_KEY", &credentials.secret_access_key),
            // The AWS CLI 2 and the Rust SDK read the first, boto3 and the AWS CLI 1 only the second.
            ("AWS_REGION", &account.region),
            ("AWS_DEFAULT_REGION", &account.region),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            // StartLiveTail would otherwise go to `streaming-127.0.0.1`, which resolves nowhere.
            ("AWS_DISABLE_HOST_PREFIX_INJECTION", "true"),
        ];
        // Read by bowline, the SDKs and the AWS CLI, in place of or beside the system's. Not SSL_CERT_FILE: it would
        // take the trust in everything else from every program of the shell.
        let authority = self.authority.iter().map(|path| {
            let path = path.to_string_lossy().into_owned();
            ("AWS_CA_BUNDLE".to_owned(), Some(path))
        });
        let agents = self.agents_authority.iter().map(|path| {
            let path = path.to_string_lossy().into_owned();
            ("BOWLINE_AGENT_CA".to_owned(), Some(path))
        });
        let impersonation = self.stage.props().channel_host.iter().flat_map(|_| {
            let authority = self.authority.iter();
            let authority = authority.map(|path| path.to_string_lossy().into_owned());
            // Go's programs, AWS's plugin among them, know these.
            let trust = authority.map(|path| ("SSL_CERT_FILE".to_owned(), Some(path)));
            let here = "localhost,127.0.0.1".to_owned();
            [("HTTPS_PROXY", endpoint.clone()), ("NO_PROXY", here)]
                .map(|(name, value)| (name.to_owned(), Some(value)))
                .into_iter()
                .chain(trust)
        });
        // A profile or token of a real account must not be mixed with these keys.
        let unset = ["AWS_PROFILE", "AWS_SESSION_TOKEN"];
        let set = set
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Some(value.to_owned())));
        set.chain(authority)
            .chain(agents)
            .chain(impersonation)
            .chain(unset.into_iter().map(|name| (name.to_owned(), None)))
            .collect()
    }

    /// The number by which what faults leave to chance can be repeated.
    pub fn fault_seed(&self) -> u64 {
        self.stage.home().faults.now().seed()
    }

    /// The world of the start again: all tasks and sessions end, and what was changed is gone.
    ///
    /// # Errors
    ///
    /// As from [`Sandbox::start`]; then everything is as before.
    pub async fn reset(&self) -> Result<(), StartError> {
        self.stage.reset().await
    }

    /// Adds what a world file names to what there is, or replaces it.
    ///
    /// # Errors
    ///
    /// What is wrong with the file; then everything is as before.
    pub async fn load(&self, file: &WorldFile) -> Result<(), WorldFileError> {
        self.stage.load(file).await
    }

    /// What there is at present.
    pub fn census(&self) -> Census {
        Census::of(&self.stage.home())
    }

    /// The address of the page that shows what goes on, with the key that opens it.
    pub fn page(&self) -> String {
        page::address(self.stage.props())
    }

    /// Stops everything; when it returns, all containers are dead and their files removed.
    pub async fn shutdown(self) {
        if let Err(error) = self.end().await {
            tracing::warn!(%error, "what was made is not kept");
        }
    }

    /// The same, and tells whether everything is kept that shall be kept.
    ///
    /// # Errors
    ///
    /// The state could not be written; the sandbox has ended all the same.
    pub async fn end(self) -> Result<(), StateError> {
        self.stage.props().stop.cancel();
        self.stage.strike().await;
        if let Err(error) = self.server.await {
            tracing::warn!(%error, "the server did not end in order");
        }
        match self.keeper {
            Some(keeper) => keeper.finish(&self.stage).await,
            None => Ok(()),
        }
    }
}
