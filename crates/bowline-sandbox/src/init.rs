//! The init of a container: a small process between the sandbox and the container's main process.
//!
//! It exists so that a container cannot outlive its sandbox. It holds one end of a socket pair as its stdin; when the
//! other end closes, even because the sandbox was killed, it ends everything the container started. It is also the
//! parent that reaps what the container's processes leave behind. Requests and reports are JSON lines on that socket,
//! so that an environment with secrets in it never appears in an argument list. Not a program for people: the binary
//! runs it under a hidden subcommand.

use std::ffi::OsString;
use std::future::Future;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use rustix::fs::Access;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};

use crate::attached::view;
use crate::{demo_web, image};

mod link;
pub(crate) mod root;
pub(crate) mod session;
pub(crate) mod space;
pub(crate) mod sweep;

use root::Root;
use session::Session;
use sweep::Sweep;

/// The word after the hidden subcommand that makes this process the built-in web server instead.
const DEMO_WEB: &str = "demo-web";

/// What the sandbox asks of an init.
#[derive(Serialize, Deserialize)]
pub(crate) enum Request {
    /// The first message: what to run.
    Start(Start),
    /// Send this signal to the main process.
    Signal(i32),
    /// In place of the first message: whether a container could have such files.
    Probe(Root),
}

/// A main process to start.
#[derive(Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) argv: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) directory: PathBuf,
    /// The folder with the image's programs; `None` if it has all of the host's.
    pub(crate) programs: Option<PathBuf>,
    /// In the namespaces of an isolated task.
    pub(crate) within: Option<Within>,
    /// It is in a container that has another init: what it did not start itself stays.
    pub(crate) apart: bool,
}

/// Which files an isolated process has.
#[derive(Serialize, Deserialize)]
pub(crate) enum Within {
    /// Its own: the main process of a container.
    Root(Root),
    /// Those of a container that runs: a session.
    Container(Session),
}

/// What an init tells the sandbox.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The main process was executed.
    Started,
    /// It could not be, in the runtime's words; nothing follows.
    Failed(String),
    /// The same of a session, as the system's number of the error.
    Refused(i32),
    /// The main process returned this code; everything else is gone too.
    Exited(i32),
    /// A signal ended the main process; everything else is gone too.
    Signaled(i32),
}

/// Runs the container init, or what else a word in `arguments` names: the built-in web server, an agent in its view, the
/// processes of a task's namespaces.
///
/// `arguments` are the words after the hidden subcommand. Call this before any tokio runtime exists, and make its
/// result the result of the process.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let result = match arguments.next() {
        None => run(supervise()),
        Some(word) if word == view::WORD => view::enter(arguments),
        Some(word) if word == DEMO_WEB => run(demo_web::serve()),
        Some(word) if word == space::OUTER => space::outer(),
        Some(word) if word == space::INNER => run(space::inner()),
        Some(word) => Err(io::Error::other(format!(
            "container-init does not know {word:?}"
        ))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Stderr is the container's log; that it may be gone as well changes nothing.
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(work: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

async fn supervise() -> io::Result<()> {
    let control = control_socket()?;
    rustix::thread::set_name(c"container-init")?;
    // Fails only for a process group leader, which the sandbox never makes of us.
    rustix::process::setsid()?;
    let own = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(own))?;

    let mut children = signal(SignalKind::child())?;
    let mut terminate = signal(SignalKind::terminate())?;
    for kind in [
        SignalKind::interrupt(),
        SignalKind::hangup(),
        SignalKind::quit(),
    ] {
        // Caught signals are back at their default in what we execute; ignored ones (nohup, a shell's background
        // job) would stay ignored in the container.
        drop(signal(kind)?);
    }

    let (requests, mut reports) = control.into_split();
    let mut requests = BufReader::new(requests).lines();
    let Some(line) = requests.next_line().await? else {
        return Ok(());
    };
    let start = match parse(&line)? {
        Request::Start(start) => start,
        Request::Probe(root) => {
            let tried = root::enter(&root).map_or_else(Report::Failed, |()| Report::Started);
            return report(&mut reports, &tried).await;
        }
        Request::Signal(_) => return Err(io::Error::other("the first request was not a start")),
    };
    let entered = match &start.within {
        Some(Within::Container(session)) => {
            return session::serve(requests, reports, &start, *session).await;
        }
        Some(Within::Root(root)) => root::enter(root),
        None => Ok(()),
    };
    let main = match entered.and_then(|()| execute(&start)) {
        Ok(main) => main,
        Err(text) => return report(&mut reports, &Report::Failed(text)).await,
    };
    if start
        .argv
        .first()
        .is_some_and(|word| word == demo_web::PROGRAM)
    {
        demo_web::await_listening(&start.environment).await;
    }
    let mut end = None;
    // From here on a sandbox that went away is no error: the requests end, and that ends the container.
    let _ = report(&mut reports, &Report::Started).await;
    while end.is_none() {
        // Each of these is cancel-safe: `Lines::next_line` keeps a partial line, signals are only counted.
        tokio::select! {
            line = requests.next_line() => match line {
                Ok(Some(line)) => forward(main, &line),
                Ok(None) | Err(_) => break,
            },
            _ = children.recv() => reap(main, &mut end),
            _ = terminate.recv() => break,
        }
    }
    let mark = start
        .environment
        .iter()
        .rfind(|(name, _)| name == sweep::MARK && !start.apart);
    Sweep::new(Some(own), mark.map(|(_, value)| value.as_str())).run(|| reap(main, &mut end));
    // A main process that even SIGKILL has not ended yet is as good as killed.
    let _ = report(
        &mut reports,
        &end.unwrap_or(Report::Signaled(Signal::KILL.as_raw())),
    )
    .await;
    Ok(())
}

/// Our end of the socket pair, which is our stdin.
fn control_socket() -> io::Result<UnixStream> {
    let stream = std::os::unix::net::UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let not_ours = |_| {
        io::Error::other("container-init is started by the sandbox: its stdin is a control socket")
    };
    // Asked before the descriptor is made non-blocking, which a terminal would remember.
    stream.local_addr().map_err(not_ours)?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

fn parse(line: &str) -> io::Result<Request> {
    // The error of serde_json would quote the message, and with it the environment.
    serde_json::from_str(line)
        .map_err(|_| io::Error::other("container-init was sent a request it cannot read"))
}

async fn report(reports: &mut tokio::net::unix::OwnedWriteHalf, report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    reports.write_all(&line).await
}

fn forward(main: Pid, line: &str) {
    // The main process was not reaped yet, so its number cannot belong to another.
    if let Ok(Request::Signal(number)) = parse(line)
        && let Some(signal) = Signal::from_named_raw(number)
    {
        let _ = rustix::process::kill_process(main, signal);
    }
}

/// Collects every child that ended, orphans included, and keeps how the main process did.
fn reap(main: Pid, end: &mut Option<Report>) {
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid == main {
            *end = ended(status);
        }
    }
}

fn ended(status: WaitStatus) -> Option<Report> {
    let exited = status.exit_status().map(Report::Exited);
    exited.or_else(|| status.terminating_signal().map(Report::Signaled))
}

/// Executes the main process, in its own process group so that a signal to it is for it alone.
fn execute(start: &Start) -> Result<Pid, String> {
    let Some(word) = start.argv.first() else {
        return Err("no command specified".to_owned());
    };
    if !start.directory.is_dir() {
        return Err(format!(
            "chdir {}: no such file or directory",
            start.directory.display()
        ));
    }
    let mut command = if word == demo_web::PROGRAM {
        // Part of every image. Our own binary under the same hidden subcommand; the link works even if the file was replaced meanwhile.
        let mut command = Command::new("/proc/self/exe");
        command.args(std::env::args_os().skip(1)).arg(DEMO_WEB);
        command
    } else {
        let mut command = Command::new(find_program(word, start)?);
        command.args(&start.argv[1..]);
        command
    };
    command
        .arg0(word)
        .current_dir(&start.directory)
        .process_group(0)
        .stdin(Stdio::null());
    command
        .env_clear()
        .envs(start.environment.iter().map(|(name, value)| (name, value)));
    match command.spawn() {
        Ok(child) => Ok(Pid::from_child(&child)),
        Err(error) => Err(format!("fork/exec {word}: {}", system_text(&error))),
    }
}

/// Finds the program as a container runtime does, and fails in its words.
fn find_program(word: &str, start: &Start) -> Result<PathBuf, String> {
    if word.contains('/') {
        let located = image::locate(start.programs.as_deref(), &start.directory, word);
        let missing = || format!("fork/exec {word}: no such file or directory");
        let path = start.directory.join(located.ok_or_else(missing)?);
        return match path.metadata() {
            Err(error) => Err(format!("fork/exec {word}: {}", system_text(&error))),
            Ok(_) if !is_executable(&path) => Err(format!("exec: {word:?}: permission denied")),
            Ok(_) => Ok(path),
        };
    }
    let path = start
        .environment
        .iter()
        .rfind(|(name, _)| name == "PATH")
        .map_or("", |(_, path)| path);
    std::env::split_paths(path)
        .map(|folder| start.directory.join(folder).join(word))
        .find(|candidate| !path.is_empty() && !word.is_empty() && is_executable(candidate))
        .ok_or_else(|| format!("exec: {word:?}: executable file not found in $PATH"))
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, Access::EXEC_OK).is_ok()
}

/// The system's error text as Go programs print it: lower case, without Rust's ` (os error N)`.
pub(crate) fn system_text(error: &io::Error) -> String {
    let text = error.to_string().to_lowercase();
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(directory: &Path, path: Option<&str>) -> Start {
        let environment = path
            .map(|path| ("PATH".to_owned(), path.to_owned()))
            .into_iter()
            .collect();
        Start {
            argv: Vec::new(),
            environment,
            directory: directory.to_owned(),
            programs: None,
            within: None,
            apart: false,
        }
    }

    #[test]
    fn programs_are_found_or_not_in_the_words_of_the_runtime() {
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("plain");
        std::fs::write(&plain, "x").unwrap();
        let plain_word = plain.to_str().unwrap();
        let here = start(folder.path(), Some("/no/such:/usr/bin:/bin"));

        assert!(find_program("sh", &here).unwrap().ends_with("sh"));
        assert_eq!(
            find_program("/bin/sh", &here).unwrap(),
            Path::new("/bin/sh")
        );
        let cases = [
            (
                "nope",
                "exec: \"nope\": executable file not found in $PATH".to_owned(),
            ),
            (
                "",
                "exec: \"\": executable file not found in $PATH".to_owned(),
            ),
            (
                "/no/such",
                "fork/exec /no/such: no such file or directory".to_owned(),
            ),
            (
                "./nope",
                "fork/exec ./nope: no such file or directory".to_owned(),
            ),
            ("./plain", "exec: \"./plain\": permission denied".to_owned()),
            (
                plain_word,
                format!("exec: {plain_word:?}: permission denied"),
            ),
            ("/tmp", "exec: \"/tmp\": permission denied".to_owned()),
        ];
        for (word, text) in cases {
            assert_eq!(find_program(word, &here).unwrap_err(), text);
        }
        for path in [None, Some("")] {
            find_program("sh", &start(Path::new("/bin"), path))
                .expect_err("without a PATH nothing is found");
        }
    }

    #[test]
    fn system_errors_read_as_in_go() {
        assert_eq!(
            system_text(&io::Error::from_raw_os_error(8)),
            "exec format error"
        );
        assert_eq!(
            system_text(&io::Error::from_raw_os_error(2)),
            "no such file or directory"
        );
    }
}
