//! Running it: one task for each session or task of ECS's, a bounded number at a time, and one bounded queue of events.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::attempt::{Attempt, Worker};
use super::scheduler::{Ended, Limits, Scheduler, Step};
use super::target::FleetTarget;
use crate::run::RunOptions;
use crate::session::clock;
use crate::session::exec::ExecRequest;

/// Events on their way to the reader, of all targets together.
const EVENTS: usize = 64;

/// One of a command's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Stream {
    Stdout,
    Stderr,
}

/// What happens. The number is the target's place in the list that was given.
#[derive(Debug)]
#[non_exhaustive]
pub enum FleetEvent {
    /// An attempt begins.
    Starting {
        /// Which target.
        target: usize,
        /// 1 for the first.
        attempt: u32,
    },
    /// The command runs.
    Started {
        /// Which target.
        target: usize,
        /// The session.
        session_id: String,
    },
    /// A task was started for it.
    Launched {
        /// Which target.
        target: usize,
        /// The task.
        task_arn: String,
    },
    /// Something was printed.
    Output {
        /// Which target.
        target: usize,
        /// Where to.
        stream: Stream,
        /// What.
        bytes: Bytes,
    },
    /// Something a user may want to know.
    Notice {
        /// Which target.
        target: usize,
        /// What.
        text: String,
    },
    /// It could not be reached and is tried again later.
    Again {
        /// Which target.
        target: usize,
        /// Why.
        reason: String,
    },
    /// It is over.
    Ended {
        /// Which target.
        target: usize,
        /// How.
        outcome: Outcome,
        /// Since its first attempt began.
        elapsed: Duration,
    },
}

/// How it went for one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The command's exit code.
    Exit(i64),
    /// It ran longer than it may, and was ended.
    TimedOut(Duration),
    /// Nothing was run.
    Unreachable(String),
    /// Whether or how it ended is not known.
    Unknown(String),
    /// It was not tried, because too many others had failed.
    Skipped,
    /// It was ended, or not begun, because the whole run was.
    Interrupted,
}

impl Outcome {
    /// Whether the command ended with 0.
    pub fn is_good(&self) -> bool {
        *self == Self::Exit(0)
    }

    /// One word for it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Exit(0) => "ok",
            Self::Exit(_) => "failed",
            Self::TimedOut(_) => "timed-out",
            Self::Unreachable(_) => "unreachable",
            Self::Unknown(_) => "unknown",
            Self::Skipped => "skipped",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What is done with every target.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    /// A command in each container.
    Exec(Arc<ExecRequest>),
    /// Each task, from its start to its end.
    Run(Arc<RunOptions>),
}

/// A run over many targets. Dropping it ends all sessions in the background, and leaves tasks that it has started running.
pub struct Fleet {
    events: mpsc::Receiver<FleetEvent>,
    stop: CancellationToken,
    _task: AbortOnDropHandle<()>,
}

impl Fleet {
    /// Runs a command in each of these containers. They are tried in their order; what goes wrong comes as events.
    #[must_use]
    pub fn start(targets: Arc<Vec<FleetTarget>>, request: ExecRequest, limits: Limits) -> Self {
        Self::begin(targets, Deed::Exec(Arc::new(request)), limits)
    }

    /// Starts each of these tasks and follows it to its end. [`RunOptions::timeout`] is their time limit, not that of the
    /// `limits`. Interrupted, they are asked to stop; that which could not be asked has the outcome
    /// [`Outcome::Unknown`].
    #[must_use]
    pub fn start_tasks(
        targets: Arc<Vec<FleetTarget>>,
        options: RunOptions,
        mut limits: Limits,
    ) -> Self {
        limits.time_limit = None;
        Self::begin(targets, Deed::Run(Arc::new(options)), limits)
    }

    fn begin(targets: Arc<Vec<FleetTarget>>, deed: Deed, limits: Limits) -> Self {
        let (to_reader, events) = mpsc::channel(EVENTS);
        let stop = CancellationToken::new();
        let driver = Driver {
            limit: limits.time_limit.unwrap_or_default(),
            scheduler: Scheduler::new(limits, targets.iter().map(FleetTarget::account)),
            begun: Instant::now(),
            deed,
            reader: to_reader,
            stop: stop.clone(),
            running: JoinSet::new(),
            indices: HashMap::new(),
            first_starts: HashMap::new(),
            expire: HashMap::new(),
            closed: false,
            targets,
        };
        Self {
            events,
            stop,
            _task: AbortOnDropHandle::new(tokio::spawn(driver.run())),
        }
    }

    /// The next event; `None` after the last target's end. Cancel-safe.
    pub async fn next(&mut self) -> Option<FleetEvent> {
        self.events.recv().await
    }

    /// Ends every session and starts no more. The ends come as events, within some two seconds.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

struct Driver {
    targets: Arc<Vec<FleetTarget>>,
    deed: Deed,
    scheduler: Scheduler,
    begun: Instant,
    limit: Duration,
    reader: mpsc::Sender<FleetEvent>,
    stop: CancellationToken,
    running: JoinSet<Attempt>,
    /// Which target a task is for: also when it panics.
    indices: HashMap<Id, usize>,
    /// Of the targets that run.
    first_starts: HashMap<usize, Instant>,
    expire: HashMap<usize, CancellationToken>,
    closed: bool,
}

impl Driver {
    async fn run(mut self) {
        let (started, mut starts) = mpsc::channel::<usize>(EVENTS);
        loop {
            let now = self.begun.elapsed();
            let until = match self.scheduler.poll(now) {
                Step::Done => return,
                Step::Start { index, attempt } => {
                    self.start(index, attempt, started.clone());
                    continue;
                }
                Step::Expire { index } => {
                    if let Some(expire) = self.expire.get(&index) {
                        expire.cancel();
                    }
                    continue;
                }
                Step::Skip { index } => {
                    let outcome = match self.stop.is_cancelled() {
                        true => Outcome::Interrupted,
                        false => Outcome::Skipped,
                    };
                    self.tell_end(index, outcome).await;
                    continue;
                }
                Step::Wait { until } => until,
            };
            let wake = until.map(|until| self.begun + until);
            // Each arm is cancel-safe: channels, joins, timers, tokens.
            tokio::select! {
                Some(index) = starts.recv() => self.scheduler.runs(index, self.begun.elapsed()),
                Some(ended) = self.running.join_next_with_id() => {
                    let attempt = match ended {
                        Ok((id, attempt)) => {
                            self.indices.remove(&id);
                            Some(attempt)
                        }
                        // A defect of ours; the others go on.
                        Err(error) => self.indices.remove(&error.id()).map(|index| Attempt {
                            index,
                            outcome: Outcome::Unknown("its task failed".to_owned()),
                            passing: false,
                        }),
                    };
                    if let Some(attempt) = attempt {
                        self.ended(attempt).await;
                    }
                }
                () = clock::until(wake), if wake.is_some() => {}
                () = self.stop.cancelled(), if !self.closed => {}
                () = self.reader.closed(), if !self.stop.is_cancelled() => self.stop.cancel(),
            }
            if self.stop.is_cancelled() {
                self.scheduler.stop();
                self.close();
            }
        }
    }

    /// Nothing that waits for its turn goes out any more.
    fn close(&mut self) {
        if !std::mem::replace(&mut self.closed, true) {
            self.targets.iter().for_each(|one| one.place.close());
        }
    }

    fn start(&mut self, index: usize, attempt: u32, started: mpsc::Sender<usize>) {
        let expire = CancellationToken::new();
        self.expire.insert(index, expire.clone());
        self.first_starts.entry(index).or_insert_with(Instant::now);
        let worker = Worker {
            index,
            targets: Arc::clone(&self.targets),
            deed: self.deed.clone(),
            reader: self.reader.clone(),
            started,
            stop: self.stop.clone(),
            expire,
            limit: self.limit,
        };
        let handle = self.running.spawn(worker.run(attempt));
        self.indices.insert(handle.id(), index);
    }

    async fn ended(&mut self, attempt: Attempt) {
        let Attempt {
            index,
            outcome,
            passing,
        } = attempt;
        self.expire.remove(&index);
        let how = match () {
            () if outcome.is_good() => Ended::Good,
            () if passing => Ended::Passing,
            () => Ended::Failed,
        };
        if self.scheduler.ended(index, how, self.begun.elapsed()) {
            let (Outcome::Unreachable(reason) | Outcome::Unknown(reason)) = outcome else {
                return;
            };
            let again = FleetEvent::Again {
                target: index,
                reason,
            };
            let _ = self.reader.send(again).await;
            return;
        }
        self.tell_end(index, outcome).await;
    }

    async fn tell_end(&mut self, index: usize, outcome: Outcome) {
        let first = self.first_starts.remove(&index);
        let ended = FleetEvent::Ended {
            target: index,
            outcome,
            elapsed: first.map_or(Duration::ZERO, |first| first.elapsed()),
        };
        // Without a reader everything is being ended.
        let _ = self.reader.send(ended).await;
    }
}
