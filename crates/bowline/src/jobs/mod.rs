//! Detached commands: they outlive the session that started them, their output is kept in the container.
//!
//! A job has a folder there with what it wrote and, once it has ended, its exit code. Whoever knows its id can follow it
//! from any byte on, from anywhere.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use crate::session::exec::{Exec, ExecError, ExecEvent, ExecRequest};
use crate::{Client, ResolvedTarget, boot};

/// Of the task's id, in a job's id: enough to find the task again.
const TASK_PART: usize = 8;
/// Naps of 0.3 s that a job has to end by itself when it is cancelled.
const GRACE: &str = "33";
/// What a listing may have.
const LISTING: usize = 4 << 20;

/// The id of a job: `job-`, the beginning of its task's id, and six letters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(String);

/// How a job is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobState {
    /// It runs.
    Running,
    /// It has ended with this code, as a shell gives it.
    Ended(i64),
    /// It is gone without a code: it was killed together with what watches it, or its container was started anew.
    Lost,
}

/// A job as its container knows it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// How it is doing.
    pub state: JobState,
    /// When it began, in seconds since 1970 by the container's clock.
    pub began: Option<i64>,
    /// When it ended.
    pub ended: Option<i64>,
    /// Bytes of its stdout so far.
    pub stdout: u64,
    /// Bytes of its stderr so far.
    pub stderr: u64,
    /// Its command, for people.
    pub command: String,
}

/// Where somebody who follows a job is: what has been delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobOffsets {
    /// Bytes of stdout.
    pub stdout: u64,
    /// Bytes of stderr.
    pub stderr: u64,
}

/// Why something about a job failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// The session failed; the job itself goes on.
    #[error(transparent)]
    Session(#[from] ExecError),
    /// The container has no such job.
    #[error(
        "there is no {id} in container {container}: it was removed, or the container was started anew"
    )]
    NotFound {
        /// Which.
        id: JobId,
        /// Where.
        container: String,
    },
    /// It is running.
    #[error("{id} is running")]
    Running {
        /// Which.
        id: JobId,
    },
    /// Something in the container failed.
    #[error("{what}: {said}")]
    Failed {
        /// What was to be done.
        what: &'static str,
        /// What was said there, fit to be shown.
        said: String,
    },
}

/// Why a text is no job's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a job's id looks like job-3f2a9c1d-k4w7ab")]
pub struct ParseJobError;

impl JobId {
    /// A new id for a job in this container.
    pub fn new(target: &ResolvedTarget) -> Self {
        let seed = getrandom::u64().unwrap_or_else(|_| std::process::id().into());
        let task = target.task.id.chars().filter(char::is_ascii_hexdigit);
        let task: String = task.take(TASK_PART).collect();
        Self(format!(
            "job-{}-{:06x}",
            task.to_lowercase(),
            seed & 0xff_ffff
        ))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The beginning of its task's id.
    pub fn task(&self) -> &str {
        self.0.split('-').nth(1).unwrap_or_default()
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for JobId {
    type Err = ParseJobError;

    fn from_str(text: &str) -> Result<Self, ParseJobError> {
        let mut parts = text.split('-');
        let hex = |part: Option<&str>, length| {
            part.is_some_and(|part| {
                part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit())
            })
        };
        let right = parts.next() == Some("job")
            && hex(parts.next(), TASK_PART)
            && hex(parts.next(), 6)
            && parts.next().is_none();
        right.then(|| Self(text.to_owned())).ok_or(ParseJobError)
    }
}

impl Client {
    /// Starts a command that goes on without us. `request` says what and how to wait for the agent.
    pub async fn start_job(
        &self,
        target: &ResolvedTarget,
        request: &ExecRequest,
        command: &str,
    ) -> Result<JobId, JobError> {
        let id = JobId::new(target);
        let command = crate::files::shown(command.as_bytes());
        let words = request.argv.iter().map(Vec::as_slice);
        let head = [id.as_str().as_bytes(), command.as_bytes()];
        let program = program(include_str!("scripts/start.sh"));
        let started = boot::request(&program, "bowline-job", head.into_iter().chain(words), b"");
        let started = ExecRequest {
            wait: request.wait,
            reconnect_for: request.reconnect_for,
            ..started
        };
        let (code, _, said) = collect(self.exec(target.clone(), started)).await?;
        match code {
            0 => Ok(id),
            _ => Err(JobError::Failed {
                what: "the job was not started",
                said,
            }),
        }
    }

    /// Follows a job from where somebody is: its output comes as that of any command, and its code. Only this ends
    /// when it is dropped.
    pub fn follow_job(
        &self,
        target: &ResolvedTarget,
        id: &JobId,
        from: JobOffsets,
        like: &ExecRequest,
    ) -> Exec {
        let (stdout, stderr) = (from.stdout.to_string(), from.stderr.to_string());
        let words = [id.as_str().as_bytes(), stdout.as_bytes(), stderr.as_bytes()];
        let program = program(include_str!("scripts/follow.sh"));
        let request = boot::request(&program, "bowline-job-follow", words, b"");
        self.exec(
            target.clone(),
            ExecRequest {
                wait: like.wait,
                keep_alive: like.keep_alive,
                reconnect_for: like.reconnect_for,
                ..request
            },
        )
    }

    /// The jobs of a container.
    pub async fn jobs(&self, target: &ResolvedTarget) -> Result<Vec<Job>, JobError> {
        let (code, stdout, said) = self
            .job_program(target, include_str!("scripts/list.sh"), "bowline-jobs", &[])
            .await?;
        if code != 0 {
            return Err(JobError::Failed {
                what: "the jobs were not listed",
                said,
            });
        }
        let text = String::from_utf8_lossy(&stdout);
        Ok(text.lines().filter_map(job).collect())
    }

    /// Waits for a job's end; its code.
    pub async fn wait_for_job(
        &self,
        target: &ResolvedTarget,
        id: &JobId,
    ) -> Result<JobState, JobError> {
        let (code, _, said) = self
            .job_program(
                target,
                include_str!("scripts/wait.sh"),
                "bowline-job-wait",
                &[id.as_str()],
            )
            .await?;
        match code {
            3 if said.contains("there is no") => Err(self.no_job(target, id)),
            125 if said.contains("the job is gone") => Ok(JobState::Lost),
            code => Ok(JobState::Ended(code)),
        }
    }

    /// Ends a job: SIGTERM to it and what it started, SIGKILL ten seconds later.
    pub async fn cancel_job(&self, target: &ResolvedTarget, id: &JobId) -> Result<(), JobError> {
        let (code, _, said) = self
            .job_program(
                target,
                include_str!("scripts/cancel.sh"),
                "bowline-job-cancel",
                &[id.as_str(), GRACE],
            )
            .await?;
        match code {
            0 => Ok(()),
            3 => Err(self.no_job(target, id)),
            _ => Err(JobError::Failed {
                what: "the job was not ended",
                said,
            }),
        }
    }

    /// Removes what a job that has ended left in its container.
    pub async fn remove_job(&self, target: &ResolvedTarget, id: &JobId) -> Result<(), JobError> {
        let (code, _, said) = self
            .job_program(
                target,
                include_str!("scripts/remove.sh"),
                "bowline-job-remove",
                &[id.as_str()],
            )
            .await?;
        match code {
            0 => Ok(()),
            3 => Err(self.no_job(target, id)),
            4 => Err(JobError::Running { id: id.clone() }),
            _ => Err(JobError::Failed {
                what: "the job was not removed",
                said,
            }),
        }
    }

    fn no_job(&self, target: &ResolvedTarget, id: &JobId) -> JobError {
        JobError::NotFound {
            id: id.clone(),
            container: target.container.clone(),
        }
    }

    async fn job_program(
        &self,
        target: &ResolvedTarget,
        text: &str,
        name: &str,
        words: &[&str],
    ) -> Result<(i64, Vec<u8>, String), ExecError> {
        let words = words.iter().map(|word| word.as_bytes());
        let request = boot::request(&program(text), name, words, b"");
        collect(self.exec(target.clone(), request)).await
    }
}

fn program(text: &str) -> String {
    format!("{}{text}", include_str!("scripts/places.sh"))
}

/// A line of the listing program.
fn job(line: &str) -> Option<Job> {
    let mut words = line.splitn(8, ' ');
    let id = words.next()?.parse().ok()?;
    let state = words.next()?;
    let code = words.next()?;
    let state = match state {
        "running" => JobState::Running,
        "ended" => JobState::Ended(code.parse().ok()?),
        _ => JobState::Lost,
    };
    Some(Job {
        id,
        state,
        began: words.next()?.parse().ok(),
        ended: words.next()?.parse().ok(),
        stdout: words.next()?.parse().ok()?,
        stderr: words.next()?.parse().ok()?,
        command: crate::files::shown(words.next().unwrap_or_default().as_bytes()),
    })
}

/// Runs to the end: code, stdout, and what was said on stderr.
async fn collect(mut exec: Exec) -> Result<(i64, Vec<u8>, String), ExecError> {
    let (mut stdout, mut said) = (Vec::new(), Vec::new());
    let keep = |kept: &mut Vec<u8>, bytes: &Bytes| {
        let room = LISTING.saturating_sub(kept.len());
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    };
    while let Some(event) = exec.next().await {
        match event {
            ExecEvent::Stdout(bytes) => keep(&mut stdout, &bytes),
            ExecEvent::Stderr(bytes) => keep(&mut said, &bytes),
            ExecEvent::Exit { code } => {
                let said = crate::files::shown(said.trim_ascii());
                return Ok((code, stdout, said));
            }
            ExecEvent::Closed { reason } => return Err(reason),
            _ => {}
        }
    }
    Err(ExecError::StatusUnknown {
        output: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_back_and_nothing_else() {
        let id: JobId = "job-3f2a9c1d-00a7ff".parse().unwrap();
        assert_eq!(id.task(), "3f2a9c1d");
        for wrong in [
            "job-",
            "job-3f2a9c1d-00a7f",
            "job-3f2a9c1d-00a7ff-x",
            "job-../../-etc/x",
            "3f2a9c1d",
        ] {
            assert_eq!(wrong.parse::<JobId>(), Err(ParseJobError), "{wrong}");
        }
    }

    #[test]
    fn a_listing_is_read_and_what_is_none_of_ours_left_out() {
        let job =
            job("job-3f2a9c1d-00a7ff ended 7 1700000000 1700000009 10 3 sh -c 'echo \u{1b}[2J'")
                .unwrap();
        assert_eq!(job.state, JobState::Ended(7));
        assert_eq!((job.stdout, job.stderr), (10, 3));
        assert_eq!(job.command, "sh -c 'echo \\u{1b}[2J'");
        assert!(super::job("job-x running - - - 0 0").is_none());
    }
}
