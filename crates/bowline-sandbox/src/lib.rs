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

mod agent;
mod api;
mod auth;
mod channel;
mod clock;
mod demo_web;
mod guard;
mod identifiers;
pub mod init;
mod lifecycle;
// Public for tests/containers.rs: only an integration test is told the path of the init's binary.
#[doc(hidden)]
pub mod process;
mod scheduler;
mod server;
mod sessions;
mod state;
mod terminal;
mod utf8;
mod words;
mod world;

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::DropGuard;
use tokio_util::task::AbortOnDropHandle;

use auth::Credentials;
use identifiers::Account;
pub use process::InitCommand;
pub use sessions::AgentOptions;
use sessions::Sessions;
use state::{Setting, Shared};

/// How long the demo world may take to be up; it needs some tens of milliseconds.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// How long sessions and containers may take to be gone at shutdown.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);

/// How a sandbox shall be.
#[derive(Clone, Debug)]
pub struct Options {
    /// The port on 127.0.0.1; 0 takes any free one.
    pub port: u16,
    /// The one region that the sandbox stands for.
    pub region: String,
    /// How agents behave in sessions.
    pub agent: AgentOptions,
    /// How long a container's exec agent is PENDING after the container has started.
    pub agent_pending: Duration,
    /// Let every request in, signed or not. Whoever reaches the port can then run commands.
    pub accept_any_credentials: bool,
    /// How long tasks stay in each of the states that only take time in AWS.
    pub pace: Duration,
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
            accept_any_credentials: false,
            pace: Duration::from_millis(20),
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
    /// The services of the demo world did not come up.
    #[error("the demo world does not come up: {reason}")]
    NotReady {
        /// Why its tasks stop, as far as known.
        reason: String,
    },
}

/// A running sandbox. Dropping it stops it without waiting; [`Sandbox::shutdown`] waits.
#[derive(Debug)]
pub struct Sandbox {
    shared: Arc<Shared>,
    server: AbortOnDropHandle<()>,
    /// Dropped after everything that uses it was told to stop.
    _stop: DropGuard,
    _root: TempDir,
}

impl Sandbox {
    /// Starts a sandbox; returns when its demo world runs and requests are served.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let port = options.port;
        let unusable = |source| StartError::Listen { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .map_err(unusable)?;
        let address = listener.local_addr().map_err(unusable)?;
        // Mode 0700: what tasks write is nobody else's business.
        let root = tempfile::Builder::new()
            .prefix("bowline-sandbox-")
            .tempdir()
            .map_err(StartError::Directory)?;

        let shared = Arc::new(Shared::new(Setting {
            account: Account::new(&options.region),
            credentials: Credentials::random(),
            accept_any_credentials: options.accept_any_credentials,
            sessions: Sessions::new(options.agent),
            endpoint: format!("http://{address}"),
            root: root.path().to_owned(),
            init: options.init,
            agent_pending: options.agent_pending,
            pace: options.pace,
        }));
        let stop = shared.stop.clone().drop_guard();
        shared.change(|world| world::furnish(world, &shared.account));
        if let Err(error) = ready(&shared).await {
            wind_down(&shared).await;
            return Err(error);
        }

        shared.lifecycles.spawn(scheduler::run(Arc::clone(&shared)));
        let server = tokio::spawn(server::serve(
            listener,
            Arc::clone(&shared),
            shared.stop.clone(),
        ));
        Ok(Self {
            shared,
            server: AbortOnDropHandle::new(server),
            _stop: stop,
            _root: root,
        })
    }

    /// The URL of every API: `http://127.0.0.1:<port>`.
    pub fn endpoint(&self) -> &str {
        &self.shared.endpoint
    }

    /// The environment that leads AWS programs here; `None` means that the variable has to be unset.
    pub fn environment(&self) -> Vec<(String, Option<String>)> {
        let Shared {
            endpoint,
            credentials,
            account,
            ..
        } = &*self.shared;
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
        // A profile or token of a real account must not be mixed with these keys.
        let unset = ["AWS_PROFILE", "AWS_SESSION_TOKEN"];
        let set = set
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Some(value.to_owned())));
        set.chain(unset.into_iter().map(|name| (name.to_owned(), None)))
            .collect()
    }

    /// Stops everything; when it returns, all containers are dead and their files removed.
    pub async fn shutdown(self) {
        wind_down(&self.shared).await;
        if let Err(error) = self.server.await {
            tracing::warn!(%error, "the server did not end in order");
        }
    }
}

/// The demo world's services are scheduled here, without the pace of later tasks, until they are steady.
async fn ready(shared: &Arc<Shared>) -> Result<(), StartError> {
    let mut changes = shared.watch();
    let steady = async {
        loop {
            scheduler::reconcile(shared, Duration::ZERO);
            if let Some(reason) = scheduler::start_failure(&shared.world()) {
                return Err(StartError::NotReady { reason });
            }
            if scheduler::all_steady(&shared.world()) || changes.changed().await.is_err() {
                return Ok(());
            }
        }
    };
    let late = || {
        format!(
            "its tasks are not running after {} seconds",
            READY_LIMIT.as_secs()
        )
    };
    let result = tokio::time::timeout(READY_LIMIT, steady).await;
    result.unwrap_or_else(|_| Err(StartError::NotReady { reason: late() }))
}

/// Ends all sessions and containers.
async fn wind_down(shared: &Shared) {
    shared.stop.cancel();
    shared.lifecycles.close();
    let ended = async {
        shared.sessions.shutdown().await;
        shared.lifecycles.wait().await;
    };
    if tokio::time::timeout(SHUTDOWN_LIMIT, ended).await.is_err() {
        tracing::warn!("some sessions or containers did not end in time");
    }
}
