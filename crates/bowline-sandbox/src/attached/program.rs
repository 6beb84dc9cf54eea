//! Real agents that the sandbox starts, one for each container: their programs, their folder and their life.
//!
//! What the agent wants is in the specification of its control channel: three programs that belong to root, a
//! configuration beside them, the authority of the server's certificate in a file that only root reads. The folder is
//! the container's own and goes with the task.

use std::fs::{self, Permissions};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::names::Names;
use super::view;
use crate::agent::{AgentOptions, Outside};
use crate::image;
use crate::process::{self, ContainerSpec, Exit, InitCommand, Output};
use crate::reach::RemoteHost;
use crate::tls::Tls;

/// Started as one: the agent itself starts the others.
const PROGRAMS: [&str; 3] = [view::PROGRAM, "ssm-agent-worker", "ssm-session-worker"];
/// What it writes goes there, within its folder.
const LOG: &str = "log/amazon-ssm-agent.log";
/// Sessions that one agent serves; the sandbox has its own limit.
const SESSIONS: u32 = 1000;
/// Session starts that may come in one burst. With its default of 1 the agent refuses some, for a second each.
const BURST: u32 = 100;

/// The agent's programs, and what all agents of a sandbox have in common.
#[derive(Debug)]
pub(crate) struct Programs {
    /// Copies of ours: an agent trusts only files of its own user, and others' may be anybody's.
    folder: PathBuf,
    unshare: Vec<String>,
    /// `127.0.0.1:<port>`, by TLS.
    gateway: String,
    /// `http://127.0.0.1:<port>`.
    plain: String,
    authority: String,
    /// Hosts that tasks reach.
    hosts: Vec<RemoteHost>,
}

/// What a sandbox has for agents from outside.
#[derive(Default)]
pub(crate) struct Supply {
    /// Their way in, unless they have the clients'.
    pub(crate) tls: Option<Tls>,
    /// The certificate of the authority to trust.
    pub(crate) authority: Option<PathBuf>,
    pub(crate) programs: Option<Arc<Programs>>,
}

impl Supply {
    /// `own` is the authority of a sandbox that speaks TLS anyway.
    pub(crate) fn new(
        options: &AgentOptions,
        own: Option<&Path>,
        root: &Path,
        endpoint: &str,
    ) -> io::Result<Self> {
        let Some(outside) = &options.outside else {
            return Ok(Self::default());
        };
        let (tls, authority) = match own {
            Some(authority) => (None, authority.to_owned()),
            None => {
                let folder = root.join("agents-authority");
                fs::create_dir(&folder)?;
                let (tls, authority) = Tls::new(&[], &folder)?;
                (Some(tls), authority)
            }
        };
        let programs = match outside {
            Outside::Anywhere => None,
            Outside::Programs(source) => {
                let programs = Programs::new(source, root, endpoint, &authority, &options.hosts)?;
                Some(Arc::new(programs))
            }
        };
        Ok(Self {
            tls,
            authority: Some(authority),
            programs,
        })
    }
}

/// What an agent is started for.
pub(crate) struct Wanted {
    pub(crate) init: InitCommand,
    pub(crate) region: String,
    pub(crate) task: String,
    /// Where the task's programs listen.
    pub(crate) address: Ipv4Addr,
    /// The container's own, which commands of sessions inherit.
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) directory: PathBuf,
    /// The agent's own, for this one to make.
    pub(crate) folder: PathBuf,
    /// It is not started before this is set.
    pub(crate) opened: CancellationToken,
}

/// A started agent.
pub(crate) struct Running {
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Running {
    /// Ends it with all that it started.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        // Its own task does not panic, and ends within the limits of processes.
        let _ = self.task.await;
    }
}

impl Programs {
    /// Takes the programs of `source`; fails if they, or the means to give each a view of its own, are not there.
    /// Blocks for some tens of milliseconds.
    pub(crate) fn new(
        source: &Path,
        root: &Path,
        endpoint: &str,
        authority: &Path,
        hosts: &[RemoteHost],
    ) -> io::Result<Self> {
        let folder = root.join("agent");
        fs::create_dir(&folder)?;
        let source = match source.file_name() {
            Some(name) if name == view::PROGRAM && source.is_file() => {
                source.parent().unwrap_or(source)
            }
            _ => source,
        };
        for name in PROGRAMS {
            let (from, to) = (source.join(name), folder.join(name));
            let named = |error: io::Error| {
                io::Error::new(error.kind(), format!("{}: {error}", from.display()))
            };
            fs::copy(&from, &to).map_err(named)?;
            fs::set_permissions(&to, Permissions::from_mode(0o755))?;
        }
        let gateway = endpoint.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(Self {
            folder,
            unshare: unshare()?,
            plain: format!("http://{gateway}"),
            gateway,
            authority: fs::read_to_string(authority)?,
            hosts: hosts.to_vec(),
        })
    }

    /// Starts an agent. `ended` hears how it ended, unless it was told to.
    pub(crate) fn start(
        self: &Arc<Self>,
        wanted: Wanted,
        ended: impl FnOnce(String) + Send + 'static,
    ) -> Running {
        let (programs, stop) = (Arc::clone(self), CancellationToken::new());
        let told = stop.clone();
        let task = tokio::spawn(async move {
            tokio::select! {
                () = wanted.opened.cancelled() => {}
                () = told.cancelled() => return,
            }
            let folder = wanted.folder.clone();
            match programs.run(wanted, &told).await {
                Ok(None) => {}
                Ok(Some(Exit::Code(code))) => {
                    ended(format!(
                        "ExecuteCommandAgent process exited with exit code: {code}"
                    ));
                }
                Ok(Some(Exit::Signal(signal))) => {
                    let code = 128 + signal;
                    ended(format!(
                        "ExecuteCommandAgent process exited with exit code: {code}"
                    ));
                }
                Err(reason) => {
                    tracing::warn!(reason, "an agent cannot be started");
                    ended(format!("ExecuteCommandAgent cannot be started: {reason}"));
                }
            }
            told.cancelled().await;
            // Its state and its log; nothing if it was never made.
            if let Err(error) = tokio::fs::remove_dir_all(&folder).await {
                tracing::debug!(%error, "an agent's folder stays behind");
            }
        });
        Running {
            stop,
            task: AbortOnDropHandle::new(task),
        }
    }

    /// Its whole life; without an exit if it was told to end.
    async fn run(
        self: Arc<Self>,
        wanted: Wanted,
        told: &CancellationToken,
    ) -> Result<Option<Exit>, String> {
        let Wanted {
            init,
            environment,
            directory,
            folder,
            ..
        } = &wanted;
        let mut argv = self.unshare.clone();
        argv.push(init.program.to_string_lossy().into_owned());
        let words = init.arguments.iter();
        argv.extend(words.map(|word| word.to_string_lossy().into_owned()));
        argv.push(view::WORD.to_owned());
        argv.push(folder.to_string_lossy().into_owned());
        let spec = ContainerSpec {
            init: init.clone(),
            argv,
            environment: environment.clone(),
            directory: directory.clone(),
            programs: None,
            output: Output::File(folder.join("log/output.log")),
        };
        let names = Names::new(&self.hosts, &wanted.task).map_err(|error| error.to_string())?;
        let hosts = names.hosts(wanted.address);
        let prepared = tokio::task::spawn_blocking(move || self.prepare(&wanted, &hosts)).await;
        prepared
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|error| error.to_string())?;
        let process = process::Container::start_apart(spec).await;
        let process = process.map_err(|error| error.to_string())?;
        tokio::select! {
            exit = process.wait() => return Ok(Some(exit)),
            () = told.cancelled() => {}
        }
        process.kill();
        process.wait().await;
        Ok(None)
    }

    fn prepare(&self, wanted: &Wanted, hosts: &str) -> io::Result<()> {
        let folder = &wanted.folder;
        for (_, own) in view::FIXED {
            fs::create_dir_all(folder.join(own))?;
        }
        for name in PROGRAMS {
            fs::hard_link(self.folder.join(name), folder.join(name))?;
        }
        let configuration = folder.join("configuration");
        fs::create_dir(&configuration)?;
        fs::write(
            configuration.join("amazon-ssm-agent.json"),
            self.configuration(&wanted.region),
        )?;
        let log = folder.join(LOG);
        fs::write(configuration.join("seelog.xml"), logging(&log))?;
        let certificates = folder.join("certs");
        fs::create_dir(&certificates)?;
        let authority = certificates.join("amazon-ssm-agent.crt");
        fs::write(&authority, &self.authority)?;
        // With any other mode the agent does not read it.
        fs::set_permissions(&authority, Permissions::from_mode(0o400))?;
        fs::write(folder.join(view::HOSTS), hosts)
    }

    fn configuration(&self, region: &str) -> String {
        let configuration = json!({
            "Mgs": {
                "Region": region,
                // Without a scheme the port would not be understood, and AWS's host taken instead.
                "Endpoint": format!("https://{}", self.gateway),
                "StopTimeoutMillis": 20_000,
                "SessionWorkersLimit": SESSIONS,
                "SessionWorkerBufferLimit": BURST,
            },
            "Kms": { "Endpoint": self.plain },
            "Agent": { "Region": region, "OrchestrationRootDir": "", "ContainerMode": true },
            "Identity": { "ConsumptionOrder": ["ECS"] },
        });
        configuration.to_string()
    }
}

fn logging(file: &Path) -> String {
    format!(
        r#"<seelog type="sync" minlevel="info">
  <outputs formatid="line">
    <rollingfile type="size" filename="{}" maxsize="10000000" maxrolls="1"/>
  </outputs>
  <formats>
    <format id="line" format="%Date(2006-01-02 15:04:05.0000) %LEVEL %Msg%n"/>
  </formats>
</seelog>
"#,
        file.display()
    )
}

/// The words that start a program with mounts of its own: as root, or as what looks like root to it.
fn unshare() -> io::Result<Vec<String>> {
    let mut folders = image::PATH.split(':').map(Path::new);
    let program = folders
        .find_map(|folder| Some(folder.join("unshare")).filter(|path| path.is_file()))
        .ok_or_else(|| io::Error::other("unshare (of util-linux) is not there"))?;
    let mut words = vec![program.to_string_lossy().into_owned(), "--mount".to_owned()];
    if !rustix::process::geteuid().is_root() {
        words.push("--map-root-user".to_owned());
    }
    words.push("--".to_owned());
    let tried = Command::new(&words[0])
        .args(&words[1..])
        .arg("true")
        .env_clear()
        .env("PATH", image::PATH)
        .stdin(Stdio::null())
        .output()?;
    if tried.status.success() {
        return Ok(words);
    }
    let text = String::from_utf8_lossy(&tried.stderr);
    Err(io::Error::other(format!(
        "this system allows no mounts of its own to an agent: {}",
        text.trim()
    )))
}
