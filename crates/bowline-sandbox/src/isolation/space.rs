//! The sandbox's side of a task's namespaces.

use std::fs;
use std::future::Future;
use std::io::{self, PipeWriter};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, OnceCell};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Door, Makings};
use crate::fds::Lines;
use crate::init::root::Root;
use crate::init::session::Entry;
use crate::init::space::{Answer, Ask, Done, Go, OUTER, What};
use crate::init::{Report, Request};

/// For the namespaces to be made; a busy machine needs tens of milliseconds.
const START_LIMIT: Duration = Duration::from_secs(10);
/// For everything in them to be gone when they are left.
const END_LIMIT: Duration = Duration::from_secs(3);

/// The namespaces of a task, made when they are first needed.
#[derive(Clone, Debug)]
pub(crate) struct Space(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    makings: Arc<Makings>,
    folder: PathBuf,
    hostname: String,
    running: OnceCell<Running>,
}

/// Dropping it ends what is in them.
#[derive(Debug)]
struct Running {
    talk: Mutex<Talk>,
    child: Mutex<Child>,
    over: CancellationToken,
}

#[derive(Debug)]
struct Talk {
    lines: Lines,
    asked: u64,
}

/// A container's part of its task's namespaces.
#[derive(Clone, Debug)]
pub(crate) struct Inside {
    pub(crate) space: Space,
    /// The number of its init, once there is one.
    init: Arc<OnceLock<i32>>,
}

impl Space {
    pub(super) fn new(makings: Arc<Makings>, folder: PathBuf, hostname: String) -> Self {
        Self(Arc::new(Inner {
            makings,
            folder,
            hostname,
            running: OnceCell::new(),
        }))
    }

    /// A container in it that has not started yet.
    pub(crate) fn container(&self) -> Inside {
        Inside {
            space: self.clone(),
            init: Arc::default(),
        }
    }

    /// The task's directory on the machine.
    pub(crate) fn folder(&self) -> &Path {
        &self.0.folder
    }

    /// Connects to a port on the task's localhost.
    pub(crate) async fn connect(&self, port: u16) -> io::Result<TcpStream> {
        let Some(running) = self.0.running.get() else {
            return Err(io::ErrorKind::ConnectionRefused.into());
        };
        let socket = socket(running.ask(What::Socket, &[]).await?)?;
        let socket = TcpSocket::from_std_stream(socket.into());
        socket
            .connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
            .await
    }

    /// Ends whatever still runs there; returns when it is gone.
    pub(crate) async fn end(&self) {
        let Some(running) = self.0.running.get() else {
            return;
        };
        running.over.cancel();
        running.talk.lock().await.lines.finish();
        let mut child = running.child.lock().await;
        if timeout(END_LIMIT, child.wait()).await.is_err() {
            tracing::warn!("a task's namespaces do not end in time");
            // The first process in them dies with it.
            let _ = child.start_kill();
        }
    }

    /// Tries everything that a container needs.
    pub(super) async fn probe(&self) -> Result<(), String> {
        let running = self.start().await?;
        let running = self.0.running.get_or_init(|| async { running }).await;
        let lost = |error: io::Error| format!("the task's first process is gone: {error}");
        let (mut reports, theirs) = Lines::pair().map_err(lost)?;
        let nowhere = fs::File::options().write(true).open("/dev/null");
        let nowhere = nowhere.map_err(lost)?;
        let files = [theirs.as_fd(), nowhere.as_fd(), nowhere.as_fd()];
        running.ask(What::Init, &files).await.map_err(lost)?;
        drop(theirs);
        let probe = Request::Probe(self.root(None));
        reports.send(&probe, &[]).await.map_err(lost)?;
        let report = timeout(START_LIMIT, reports.next()).await;
        let report = report.map_err(|_| "the container's init does not answer")?;
        match report
            .map_err(lost)?
            .map(|line| serde_json::from_slice(&line))
        {
            Some(Ok(Report::Started)) => Ok(()),
            Some(Ok(Report::Failed(reason))) => Err(reason),
            _ => Err("the container's init ended early".to_owned()),
        }
    }

    fn root(&self, programs: Option<PathBuf>) -> Root {
        Root {
            // Not the folder itself: the images' programs are in it, and would be covered.
            base: self.0.folder.join("layer"),
            hostname: self.0.hostname.clone(),
            programs,
            plain: self.0.makings.plain,
        }
    }

    async fn running(&self) -> io::Result<&Running> {
        let make = || async {
            let running = self.start().await.map_err(io::Error::other)?;
            self.open_door(&running).await?;
            Ok(running)
        };
        self.0.running.get_or_try_init(make).await
    }

    /// The sandbox itself, at its own address in the task's network.
    async fn open_door(&self, running: &Running) -> io::Result<()> {
        let makings = &self.0.makings;
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, makings.port);
        let listener = socket(running.ask(What::Listener(address), &[]).await?)?;
        let door = Door {
            listener: TcpListener::from_std(listener.into())?,
            over: running.over.clone(),
        };
        // Nobody listens any more: the sandbox stops.
        let _ = makings.doors.send(door).await;
        Ok(())
    }

    async fn start(&self) -> Result<Running, String> {
        let late = || "the task's first process does not answer".to_owned();
        within(START_LIMIT, self.make(), late).await
    }

    async fn make(&self) -> Result<Running, String> {
        let failed = |error: io::Error| format!("cannot start the task's first process: {error}");
        let (mut lines, theirs) = Lines::pair().map_err(failed)?;
        let init = &self.0.makings.init;
        let child = Command::new(&init.program)
            .args(&init.arguments)
            .arg(OUTER)
            .env_clear()
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let Answer::Unmapped = answer(&mut lines).await? else {
            return Err("the task's first process is not as it should be".to_owned());
        };
        let id = child.id().ok_or("the task's first process ended")?;
        map_ids(id).map_err(|error| format!("cannot map ids in the user namespace: {error}"))?;
        let hostname = self.0.hostname.clone();
        lines.send(&Go { hostname }, &[]).await.map_err(failed)?;
        let Answer::Ready = answer(&mut lines).await? else {
            return Err("the task's first process is not as it should be".to_owned());
        };
        Ok(Running {
            talk: Mutex::new(Talk { lines, asked: 0 }),
            child: Mutex::new(child),
            over: CancellationToken::new(),
        })
    }
}

impl Inside {
    /// Starts the container's init, and the task's namespaces if it is the first. The error is for the runtime's words.
    pub(crate) async fn start_init(&self, control: OwnedFd, output: &PipeWriter) -> io::Result<()> {
        let running = self.space.running().await?;
        let files = [control.as_fd(), output.as_fd(), output.as_fd()];
        if let (Done::Init(number), _) = running.ask(What::Init, &files).await? {
            // A container starts once.
            let _ = self.init.set(number);
        }
        Ok(())
    }

    /// The same for a session in the container. Tells which process has what the session enters, and what that is.
    pub(crate) async fn start_session(
        &self,
        control: BorrowedFd<'_>,
        outputs: [BorrowedFd<'_>; 2],
    ) -> io::Result<(i32, Entry)> {
        let container = *self.init.get().ok_or(rustix::io::Errno::SRCH)?;
        let running = self.space.running().await?;
        let [output, errors] = outputs;
        running.ask(What::Init, &[control, output, errors]).await?;
        Ok((container, Entry::Files))
    }

    /// The files that the container shall have. `programs` is on the machine.
    pub(crate) fn root(&self, programs: Option<PathBuf>) -> Root {
        self.space.root(programs)
    }

    /// Where the programs of the container's image are collected, on the machine.
    pub(crate) fn programs(&self, container: &str) -> PathBuf {
        self.space.folder().join(format!("{container}.bin"))
    }
}

impl Running {
    /// What comes of it, with a socket if that was asked for. Dropped early, it leaves an answer that the next one skips.
    async fn ask(
        &self,
        what: What,
        files: &[BorrowedFd<'_>],
    ) -> io::Result<(Done, Option<OwnedFd>)> {
        let mut talk = self.talk.lock().await;
        talk.asked += 1;
        let ask = Ask {
            id: talk.asked,
            what,
        };
        let answered = async {
            talk.lines.send(&ask, files).await?;
            loop {
                let line = talk.lines.next().await?;
                let line = line.ok_or(io::ErrorKind::UnexpectedEof)?;
                let Answer::Done { id, done } = serde_json::from_slice(&line)? else {
                    return Err(io::ErrorKind::InvalidData.into());
                };
                let file = match done {
                    Done::Socket => talk.lines.file(),
                    Done::Init(_) | Done::Refused(_) => None,
                };
                match done {
                    _ if id != ask.id => {}
                    Done::Refused(number) => return Err(io::Error::from_raw_os_error(number)),
                    done => return Ok((done, file)),
                }
            }
        };
        let late = || io::ErrorKind::TimedOut.into();
        within(START_LIMIT, answered, late).await
    }
}

async fn within<T, E>(
    limit: Duration,
    work: impl Future<Output = Result<T, E>>,
    late: impl FnOnce() -> E,
) -> Result<T, E> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(late()))
}

async fn answer(lines: &mut Lines) -> Result<Answer, String> {
    let lost = "the task's first process ended early";
    let line = lines.next().await.ok().flatten().ok_or(lost)?;
    match serde_json::from_slice(&line) {
        Ok(Answer::Failed(reason)) => Err(reason),
        Ok(answer) => Ok(answer),
        Err(_) => Err(lost.to_owned()),
    }
}

fn socket((_, file): (Done, Option<OwnedFd>)) -> io::Result<OwnedFd> {
    file.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Root inside is the caller outside. A caller who is root has all ids inside; to others the system gives no more than
/// their own (user_namespaces(7)).
fn map_ids(process: u32) -> io::Result<()> {
    let path = |name: &str| Path::new("/proc").join(process.to_string()).join(name);
    let user = rustix::process::geteuid();
    let group = rustix::process::getegid();
    if user.is_root() {
        let all = ["uid_map", "gid_map"].map(|name| {
            let own = fs::read_to_string(Path::new("/proc/self").join(name))?;
            fs::write(path(name), same_ids(&own))
        });
        if all.iter().all(Result::is_ok) {
            return Ok(());
        }
    }
    // A map can be written once, so one of the two may be there already.
    let maps = [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("0 {user} 1")),
        ("gid_map", format!("0 {group} 1")),
    ];
    for (name, map) in maps {
        fs::write(path(name), map)?;
    }
    Ok(())
}

/// All ids that there are here, under their own numbers.
fn same_ids(own: &str) -> String {
    let ranges = own.lines().filter_map(|line| {
        let mut numbers = line.split_ascii_whitespace();
        let (inside, length) = (numbers.next()?, numbers.nth(1)?);
        Some(format!("{inside} {inside} {length}\n"))
    });
    ranges.collect()
}

#[cfg(test)]
mod tests {
    use super::same_ids;

    #[test]
    fn ids_keep_their_numbers() {
        assert_eq!(
            same_ids("         0          0 4294967295\n"),
            "0 0 4294967295\n"
        );
        let nested = "0 1000 1\n1 100000 65536\n";
        assert_eq!(same_ids(nested), "0 0 1\n1 1 65536\n");
    }
}
