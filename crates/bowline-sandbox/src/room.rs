//! Where a container is that is no plain process of this machine, and the commands that run in it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::time::timeout;

use crate::fds::Lines;
use crate::image::Place;
use crate::init::session::{Kind, Session};
use crate::init::{Report, Request, Start, Within};
use crate::isolation::{Inside, Space};
use crate::runtime::Contained;
use crate::terminal::variables;

/// For the session's init to start and to execute the command; a busy machine needs tens of milliseconds.
const START_LIMIT: Duration = Duration::from_secs(10);

/// What a container is in, if not just on this machine.
#[derive(Clone, Debug)]
pub(crate) enum Room {
    /// The namespaces of an isolated task.
    Isolated(Inside),
    /// A container of podman or docker.
    Engine(Contained),
}

/// What a command is given.
pub(crate) enum Asked<'a> {
    /// A terminal of the container.
    Terminal,
    /// Its stdout and stderr; stdin is empty.
    Pipes(BorrowedFd<'a>, BorrowedFd<'a>),
    /// Nothing; it is killed with its process group.
    Check,
}

/// A command of a session, wherever it runs. Dropping it kills it.
#[derive(Debug)]
pub(crate) enum Attached {
    /// A child of ours.
    Here(Child),
    /// A child of an init in the container's room.
    Inside(Started),
}

impl Attached {
    /// How it ended. Cancel-safe.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        match self {
            Self::Here(child) => child.wait().await,
            Self::Inside(started) => Ok(started.wait().await),
        }
    }

    /// To the command itself, if it has not ended.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        match self {
            Self::Here(child) => {
                // A child without a number was reaped already.
                let id = child.id().and_then(|id| i32::try_from(id).ok());
                match id.and_then(Pid::from_raw) {
                    Some(pid) => Ok(kill_process(pid, signal)?),
                    None => Ok(()),
                }
            }
            Self::Inside(started) => started.signal(signal),
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        match self {
            // It may have ended already.
            Self::Here(child) => drop(child.start_kill()),
            Self::Inside(started) => started.kill(),
        }
    }

    /// Takes the exit status from the system if there is one, so that no zombie stays.
    pub(crate) fn reap(&mut self) {
        match self {
            Self::Here(child) => drop(child.try_wait()),
            // Its init does that.
            Self::Inside(_) => {}
        }
    }
}

/// A command that was started in a room. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Started {
    lines: Lines,
    ended: Option<ExitStatus>,
}

impl Room {
    /// The network that the container has to itself.
    pub(crate) fn space(&self) -> Option<&Space> {
        match self {
            Self::Isolated(inside) => Some(&inside.space),
            Self::Engine(_) => None,
        }
    }

    /// Starts a command in the container, with the other side of its terminal if it has one. The error is the system's.
    pub(crate) async fn run(
        &self,
        words: &[String],
        place: &Place,
        asked: Asked<'_>,
    ) -> io::Result<(Started, Option<OwnedFd>)> {
        let started = timeout(START_LIMIT, self.launch(words, place, asked)).await;
        started.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn launch(
        &self,
        words: &[String],
        place: &Place,
        asked: Asked<'_>,
    ) -> io::Result<(Started, Option<OwnedFd>)> {
        let nowhere = File::options().write(true).open("/dev/null")?;
        let (kind, outputs) = match asked {
            Asked::Terminal => (Kind::Terminal, [nowhere.as_fd(); 2]),
            Asked::Check => (Kind::Check, [nowhere.as_fd(); 2]),
            Asked::Pipes(output, errors) => (Kind::Pipes, [output, errors]),
        };
        let (mut lines, theirs) = Lines::pair()?;
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let all = |environment: &[(String, String)]| {
            variables(environment).into_iter().map(owned).collect()
        };
        let (container, entry, environment, directory) = match self {
            Self::Isolated(inside) => {
                let (container, entry) = inside.start_session(theirs.as_fd(), outputs).await?;
                drop(theirs);
                (
                    container,
                    entry,
                    all(&place.environment),
                    place.directory.clone(),
                )
            }
            Self::Engine(contained) => {
                let (environment, directory) = contained.surroundings()?;
                let (container, entry) = contained.start_session(theirs, outputs)?;
                (container, entry, all(&environment), directory.into())
            }
        };
        let start = Request::Start(Start {
            argv: words.to_vec(),
            environment,
            directory,
            programs: place.programs.clone(),
            within: Some(Within::Container(Session {
                container,
                entry,
                kind,
            })),
            apart: false,
        });
        lines.send(&start, &[]).await?;
        let line = lines.next().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        match serde_json::from_slice(&line)? {
            Report::Started => {}
            Report::Refused(number) => return Err(io::Error::from_raw_os_error(number)),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
        let terminal = lines.file();
        Ok((Started { lines, ended: None }, terminal))
    }
}

impl Started {
    /// How it ended. Cancel-safe. One whose init is gone was killed.
    pub(crate) async fn wait(&mut self) -> ExitStatus {
        if let Some(ended) = self.ended {
            return ended;
        }
        let line = self.lines.next().await.ok().flatten();
        let report = line.and_then(|line| serde_json::from_slice(&line).ok());
        // As wait(2) puts them.
        let status = match report {
            Some(Report::Exited(code)) => code << 8,
            Some(Report::Signaled(signal)) => signal,
            _ => Signal::KILL.as_raw(),
        };
        *self.ended.insert(ExitStatus::from_raw(status))
    }

    /// To the command itself.
    fn signal(&self, signal: Signal) -> io::Result<()> {
        self.lines.try_send(&Request::Signal(signal.as_raw()))
    }

    /// SIGKILL.
    fn kill(&self) {
        self.lines.finish();
    }
}
