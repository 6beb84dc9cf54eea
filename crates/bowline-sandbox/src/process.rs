//! Containers as real local processes, each behind a small init that outlives nothing.
//!
//! This is the sandbox's side; the init's is `init.rs`. One socket pair joins them, and its closing is what ends a
//! container, so nothing here has to run for the processes to go away.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::pin::pin;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::init::sweep::{MARK, Sweep};
use crate::init::{Report, Request, Start, Within};
use crate::isolation::Inside;

/// For the init to start and to execute the program; a busy machine needs tens of milliseconds.
const START_LIMIT: Duration = Duration::from_secs(10);
/// For the rest of the output after the end, and for the init to leave: both are done at once unless a process that
/// could not be killed holds on to them.
pub(crate) const END_LIMIT: Duration = Duration::from_secs(2);
/// As much as a pipe holds, so that one read can empty it.
const LOG_CHUNK: usize = 64 * 1024;

/// Takes output as it comes; dropped when there is no more.
pub type Sink = Box<dyn FnMut(&[u8]) + Send>;

/// Where stdout and stderr go, in the order in which they arrive.
pub enum Output {
    /// To the end of this file.
    File(PathBuf),
    /// To whoever takes it.
    Sink(Sink),
    /// Nowhere.
    Nothing,
}

/// What to start as a container's main process.
pub struct ContainerSpec {
    /// The container's init.
    pub init: InitCommand,
    /// The argument vector; the first word is looked up in the PATH of `environment`.
    pub argv: Vec<String>,
    /// The complete environment: nothing else is inherited.
    pub environment: Vec<(String, String)>,
    /// The working directory.
    pub directory: PathBuf,
    /// The folder with the only programs that may be started; `None` if all of the host's may.
    pub programs: Option<PathBuf>,
    /// Where stdout and stderr go.
    pub output: Output,
}

impl fmt::Debug for ContainerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be secrets; their names say enough.
        let names: Vec<_> = self.environment.iter().map(|(name, _)| name).collect();
        f.debug_struct("ContainerSpec")
            .field("argv", &self.argv)
            .field("environment", &names)
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

/// How to run [`crate::init::main`] as a process of its own.
#[derive(Clone, Debug)]
pub struct InitCommand {
    /// The program, usually the running one.
    pub program: PathBuf,
    /// The words that make it call `init::main`.
    pub arguments: Vec<OsString>,
}

/// How the main process of a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It returned this code.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
}

/// Why a container could not be started, in the runtime's words (`exec: "x": executable file not found in $PATH`).
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

/// A running container. Dropping it kills it.
#[derive(Debug)]
pub struct Container {
    hand: Hand,
    exit: watch::Receiver<Option<Exit>>,
}

/// What holds a container.
#[derive(Debug)]
enum Hand {
    /// Its init: our end of the socket pair, non-blocking; the task reads from a copy of it.
    Init {
        control: StdUnixStream,
        _task: AbortOnDropHandle<()>,
    },
    /// Whoever follows it at an engine.
    Engine(mpsc::Sender<Order>),
}

/// What shall become of a container of an engine.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// The signal that its image wants.
    Stop,
    /// SIGKILL. The end of the orders means the same.
    Kill,
}

impl Container {
    /// Starts the process; returns once it was executed or could not be.
    pub async fn start(spec: ContainerSpec) -> Result<Self, StartError> {
        Self::start_in(spec, None).await
    }

    /// The same in the namespaces of an isolated task. The directories of `spec` are those inside; the folder that the
    /// programs are in on the machine comes with them.
    pub(crate) async fn start_in(
        spec: ContainerSpec,
        inside: Option<(Inside, Option<PathBuf>)>,
    ) -> Result<Self, StartError> {
        Self::start_with(spec, inside, false).await
    }

    /// The same as [`Self::start`] for a program that belongs to a container beside its main process: what else is in the
    /// container does not end with it.
    pub(crate) async fn start_apart(spec: ContainerSpec) -> Result<Self, StartError> {
        Self::start_with(spec, None, true).await
    }

    async fn start_with(
        spec: ContainerSpec,
        inside: Option<(Inside, Option<PathBuf>)>,
        apart: bool,
    ) -> Result<Self, StartError> {
        let started = timeout(START_LIMIT, launch(spec, inside, apart)).await;
        started.unwrap_or_else(|_| {
            Err(StartError(format!(
                "the container's init did not answer within {} s",
                START_LIMIT.as_secs()
            )))
        })
    }

    /// One that an engine runs.
    pub(crate) fn of_engine(
        orders: mpsc::Sender<Order>,
        exit: watch::Receiver<Option<Exit>>,
    ) -> Self {
        let hand = Hand::Engine(orders);
        Self { hand, exit }
    }

    /// Asks it to stop: by this signal, to the main process only, as a container runtime does. An engine knows the
    /// signal itself.
    pub fn stop(&self, signal: i32) {
        let control = match &self.hand {
            Hand::Init { control, .. } => control,
            Hand::Engine(orders) => return order(orders, Order::Stop),
        };
        let mut line = serde_json::to_vec(&Request::Signal(signal)).expect("a number serializes");
        line.push(b'\n');
        // A few bytes always fit unless the init hangs or is gone, and then there is nothing to signal.
        if let Err(error) = { control }.write_all(&line) {
            tracing::debug!(%error, signal, "a signal did not reach the container's init");
        }
    }

    /// SIGKILL for everything the container ever started.
    pub fn kill(&self) {
        match &self.hand {
            // The init sees the end of its requests, which is also what it sees when this process dies. Only writing is
            // shut down: how the main process ended is still reported.
            Hand::Init { control, .. } => drop(control.shutdown(Shutdown::Write)),
            Hand::Engine(orders) => order(orders, Order::Kill),
        }
    }

    /// Waits for the end of the main process. By then everything else the container started is gone as well, and all
    /// output is in the log. Any number of callers may wait.
    pub async fn wait(&self) -> Exit {
        let mut exit = self.exit.clone();
        let ended = exit.wait_for(Option::is_some).await;
        // The task can only vanish unfinished with its runtime, which closes the socket: the container was killed.
        ended.ok().and_then(|exit| *exit).unwrap_or(KILLED)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // The task's copy of the socket is dropped some time later; the container shall not wait for that.
        self.kill();
    }
}

fn order(orders: &mpsc::Sender<Order>, order: Order) {
    // Whoever is behind so many orders has not followed the first; one that is gone follows none.
    let _ = orders.try_send(order);
}

pub(crate) const KILLED: Exit = Exit::Signal(Signal::KILL.as_raw());

async fn launch(
    spec: ContainerSpec,
    inside: Option<(Inside, Option<PathBuf>)>,
    apart: bool,
) -> Result<Container, StartError> {
    let target = open(spec.output).await?;
    let failed = |error| StartError(format!("cannot start the container's init: {error}"));
    let (control, theirs) = StdUnixStream::pair().map_err(failed)?;
    control.set_nonblocking(true).map_err(failed)?;
    let (output, writer) = io::pipe().map_err(failed)?;
    let output = pipe::Receiver::from_owned_fd(output.into()).map_err(failed)?;
    let (init, within) = match inside {
        None => {
            let init = spawn_init(&spec.init, theirs.into(), writer).map_err(failed)?;
            (Some(init), None)
        }
        Some((inside, programs)) => {
            let started = inside.start_init(theirs.into(), &writer).await;
            started.map_err(failed)?;
            (None, Some(Within::Root(inside.root(programs))))
        }
    };
    let mut reports = UnixStream::from_std(control.try_clone().map_err(failed)?).map_err(failed)?;

    let ContainerSpec {
        argv,
        environment,
        directory,
        programs,
        ..
    } = spec;
    let mark = environment
        .iter()
        .rfind(|(name, _)| name == MARK && !apart)
        .map(|(_, value)| value.clone());
    let start = Request::Start(Start {
        argv,
        environment,
        directory,
        programs,
        within,
        apart,
    });
    let mut line = serde_json::to_vec(&start).map_err(|error| failed(error.into()))?;
    line.push(b'\n');
    reports.write_all(&line).await.map_err(failed)?;

    let mut reports = BufReader::new(reports).lines();
    match next_report(&mut reports).await {
        Some(Report::Started) => {}
        Some(Report::Failed(text)) => return Err(StartError(text)),
        other => {
            return Err(StartError(format!(
                "the container's init ended before it started anything: {other:?}"
            )));
        }
    }
    let (sender, exit) = watch::channel(None);
    let running = Running {
        init,
        reports,
        output,
        target,
        mark,
    };
    let task = tokio::spawn(async move {
        sender.send_replace(Some(running.follow().await));
    });
    let _task = AbortOnDropHandle::new(task);
    let hand = Hand::Init { control, _task };
    Ok(Container { hand, exit })
}

/// Starts the init with an end of a socket pair as its stdin, and one pipe for both kinds of output: two pipes would
/// lose the order in which the container wrote to them.
fn spawn_init(init: &InitCommand, control: OwnedFd, output: io::PipeWriter) -> io::Result<Child> {
    Command::new(&init.program)
        .args(&init.arguments)
        .env_clear()
        .stdin(control)
        .stdout(output.try_clone()?)
        .stderr(Stdio::from(output))
        .spawn()
}

async fn next_report(reports: &mut Lines<BufReader<UnixStream>>) -> Option<Report> {
    let line = reports.next_line().await.ok().flatten()?;
    serde_json::from_str(&line).ok()
}

/// What the task of a running container owns.
struct Running {
    /// Of an isolated task it is a child of another process.
    init: Option<Child>,
    reports: Lines<BufReader<UnixStream>>,
    output: pipe::Receiver,
    target: Target,
    mark: Option<String>,
}

impl Running {
    async fn follow(self) -> Exit {
        let Self {
            mut init,
            mut reports,
            output,
            target,
            mark,
        } = self;
        let mut copying = pin!(copy_output(output, target));
        let mut copied = false;
        let report = {
            let mut report = pin!(next_report(&mut reports));
            loop {
                tokio::select! {
                    report = &mut report => break report,
                    () = &mut copying, if !copied => copied = true,
                }
            }
        };
        let exit = match report {
            Some(Report::Exited(code)) => Exit::Code(code),
            Some(Report::Signaled(signal)) => Exit::Signal(signal),
            // The init itself was killed, and could not clean up.
            _ => {
                let sweep = tokio::task::spawn_blocking(move || {
                    Sweep::new(None, mark.as_deref()).run(|| ());
                });
                let _ = sweep.await;
                KILLED
            }
        };
        if !copied && timeout(END_LIMIT, copying).await.is_err() {
            tracing::warn!("something still holds the output of a container that ended");
        }
        if let Some(init) = &mut init {
            let _ = timeout(END_LIMIT, init.wait()).await;
        }
        exit
    }
}

/// An [`Output`] that is open.
pub(crate) enum Target {
    File(File, PathBuf),
    Sink(Sink),
    Nothing,
}

impl Target {
    pub(crate) async fn take(&mut self, bytes: &[u8]) {
        match self {
            Self::File(file, path) => {
                if let Err(error) = append(file, bytes).await {
                    tracing::warn!(%error, log = %path.display(), "a container's output is lost from here on");
                    *self = Self::Nothing;
                }
            }
            Self::Sink(sink) => sink(bytes),
            Self::Nothing => {}
        }
    }
}

pub(crate) async fn open(output: Output) -> Result<Target, StartError> {
    let path = match output {
        Output::File(path) => path,
        Output::Sink(sink) => return Ok(Target::Sink(sink)),
        Output::Nothing => return Ok(Target::Nothing),
    };
    let opened = File::options().append(true).create(true).open(&path).await;
    match opened {
        Ok(file) => Ok(Target::File(file, path)),
        Err(error) => Err(StartError(format!(
            "cannot open the log {}: {error}",
            path.display()
        ))),
    }
}

/// Passes on all output. A log that cannot be written must not block the container: the rest is read and lost.
async fn copy_output(mut output: pipe::Receiver, mut target: Target) {
    let mut buffer = vec![0; LOG_CHUNK];
    loop {
        let bytes = match output.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(size) => &buffer[..size],
        };
        target.take(bytes).await;
    }
}

async fn append(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes).await?;
    // `tokio::fs::File` reports the error of a write only here or at the next one.
    file.flush().await
}
