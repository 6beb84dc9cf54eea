//! One-off tasks: RunTask seen through to its exit code, with its output as it comes.
//!
//! [`Client::run`] starts tasks, [`Client::attach`] goes back to some that run or have ended. Both are a stream of
//! [`RunEvent`]s whose last one says how it ended. Dropping a [`Run`] leaves its tasks running.
//!
//! ```standalone_crate
//! use bowline::run::{RunEvent, RunOptions, RunWish};
//! use bowline::{Client, TargetOptions};
//!
//! async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
//!     // Definition, network and launch type are those of service web.
//!     let target = "web".parse()?;
//!     let mut plan = client
//!         .plan_run(Some(&target), &RunWish::default(), &TargetOptions::default())
//!         .await?;
//!     let command = ["sh", "-c", "echo migrated; exit 3"].map(str::to_owned);
//!     plan.request.overrides.container(&plan.container).command = Some(command.into());
//!     let mut run = client.run(plan.request, RunOptions::default());
//!     let mut lines = Vec::new();
//!     while let Some(event) = run.next().await {
//!         match event {
//!             RunEvent::Lines(more) => lines.extend(more.into_iter().map(|line| line.message)),
//!             RunEvent::Ended(report) => assert_eq!(report.results[0].1.shell_code(), Some(3)),
//!             RunEvent::Failed(error) => return Err(error.into()),
//!             _ => {}
//!         }
//!     }
//!     assert_eq!(lines, ["migrated"]);
//!     Ok(())
//! }
//! # fn main() -> std::process::ExitCode { in_a_sandbox() }
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/in_a_sandbox.rs"));
//! ```

mod definition;
mod error;
mod failure;
pub(crate) mod looks;
mod outcome;
mod overrides;
mod pattern;
mod plan;
mod recorded;
mod request;
mod stop;
mod watch;
mod worker;

use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::mpsc;

pub use self::definition::{ContainerDefinition, LogConfiguration, TaskDefinition};
pub use self::error::RunError;
pub use self::failure::PlacementFailure;
pub use self::outcome::{Cause, Evidence, ExitFrom, Outcome, outcome};
pub use self::overrides::{
    ContainerOverride, EnvironmentFile, EphemeralStorage, Overrides, ResourceRequirement, Variable,
};
pub use self::pattern::RunPattern;
pub use self::plan::{PlanError, RunPlan, RunTarget, RunWish};
use self::recorded::Recorded;
pub use self::request::{
    AwsvpcConfiguration, NetworkConfiguration, RunRequest, ServiceSettings, StrategyItem, Tag,
    new_client_token,
};
pub(crate) use self::watch::stopped_ago;
use self::worker::{Beginning, Caller};
use crate::Client;
use crate::aws::ecs::last_part;
use crate::logs::{DEFAULT_LOG_WAIT, LogLine};
use crate::model::Task;
use crate::record::RecordPlan;

/// Events on their way to the reader.
const EVENTS: usize = 64;
/// Commands on their way to the worker.
const COMMANDS: usize = 4;

/// How tasks are followed.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Whose exit code counts.
    pub exit_from: ExitFrom,
    /// The container that the task is started for, if somebody has said so. It decides where it is not seen which
    /// container's end was the task's.
    pub main: Option<String>,
    /// Tasks that run longer are stopped.
    pub timeout: Option<Duration>,
    /// Whether their output is read.
    pub logs: bool,
    /// For how long output is read, at most, after a container has stopped.
    pub log_wait: Duration,
    /// Has it recorded. What cannot be recorded is not begun.
    pub record: Option<RecordPlan>,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            exit_from: ExitFrom::Cause,
            main: None,
            timeout: None,
            logs: true,
            log_wait: DEFAULT_LOG_WAIT,
            record: None,
        }
    }
}

/// What happens while tasks run. The last event is always [`RunEvent::Ended`] or [`RunEvent::Failed`].
#[derive(Debug)]
#[non_exhaustive]
pub enum RunEvent {
    /// RunTask has answered, or the tasks were found.
    Launched {
        /// The tasks; never empty.
        tasks: Vec<Task>,
        /// Those that were not started.
        failures: Vec<PlacementFailure>,
    },
    /// Something has changed.
    Status {
        /// The task as it is now.
        task: Box<Task>,
        /// What to say after its name: `is PENDING`.
        text: String,
    },
    /// Lines of output, the next ones of one container.
    Lines(Vec<LogLine>),
    /// Something a user may want to know.
    Notice(String),
    /// The tasks were asked to stop.
    Stopping {
        /// The reason that was given.
        reason: String,
    },
    /// ECS has taken the request to stop: they will.
    StopTaken,
    /// All tasks have stopped and their output is out.
    Ended(RunReport),
    /// It is not known how they ended.
    Failed(RunError),
}

/// How tasks ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunReport {
    /// Each task with its outcome, in RunTask's order.
    pub results: Vec<(Task, Outcome)>,
    /// Those that were not started.
    pub failures: Vec<PlacementFailure>,
    /// They were stopped because of [`RunOptions::timeout`].
    pub timed_out: bool,
}

/// What a run shares with others of its fleet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Company {
    /// Looks at the tasks of all of them.
    pub(crate) looks: Option<looks::Looks>,
    /// What it is known to run.
    pub(crate) definition: Option<std::sync::Arc<TaskDefinition>>,
}

/// Tasks being followed. Dropping it leaves them running.
pub struct Run {
    events: mpsc::Receiver<RunEvent>,
    commands: mpsc::Sender<String>,
    recorded: Recorded,
}

/// Reaches running tasks from elsewhere, for instance from a signal handler.
#[derive(Clone)]
pub struct RunControl {
    commands: mpsc::Sender<String>,
}

impl Client {
    /// Starts tasks and follows them. Nothing is awaited here: what goes wrong comes as an event.
    #[must_use]
    pub fn run(&self, request: RunRequest, options: RunOptions) -> Run {
        self.run_among(request, options, Company::default())
    }

    /// The same as one of many.
    pub(crate) fn run_among(
        &self,
        request: RunRequest,
        options: RunOptions,
        company: Company,
    ) -> Run {
        self.follow_tasks(Beginning::Launch(Box::new(request)), options, company)
    }

    /// Follows tasks of one cluster that were started elsewhere, from their first line on. `failures` are those that
    /// RunTask did not start beside them, for the report. A task that is named twice is followed once.
    #[must_use]
    pub fn attach(
        &self,
        cluster: impl Into<String>,
        mut tasks: Vec<String>,
        failures: Vec<PlacementFailure>,
        options: RunOptions,
    ) -> Run {
        let mut seen = HashSet::new();
        tasks.retain(|task| seen.insert(last_part(task).to_owned()));
        let beginning = Beginning::Attach {
            cluster: cluster.into(),
            tasks,
            failures,
        };
        self.follow_tasks(beginning, options, Company::default())
    }

    /// Starts tasks and does not follow them.
    ///
    /// # Errors
    /// [`RunError::Refused`], [`RunError::NotPlaced`] or [`RunError::Conflict`]: nothing was started then; or
    /// [`RunError::Unanswered`].
    pub async fn launch(
        &self,
        request: &RunRequest,
    ) -> Result<(Vec<Task>, Vec<PlacementFailure>), RunError> {
        worker::launch(self, request).await
    }

    fn follow_tasks(&self, beginning: Beginning, options: RunOptions, company: Company) -> Run {
        let (to_reader, events) = mpsc::channel(EVENTS);
        let (commands, from_caller) = mpsc::channel(COMMANDS);
        let caller = Caller {
            reader: to_reader,
            commands: from_caller,
        };
        // It ends by itself, and soon after the reader is gone; nobody needs its result.
        let (to_recorded, recorded) = recorded::pair(options.record.is_some());
        let work = worker::Work {
            client: self.clone(),
            beginning,
            options,
            company,
        };
        self.sessions()
            .spawn(recorded::run(work, caller, to_recorded));
        Run {
            events,
            commands,
            recorded,
        }
    }
}

impl Run {
    /// The next event; `None` after the last one. Cancel-safe.
    pub async fn next(&mut self) -> Option<RunEvent> {
        self.recorded.next(&mut self.events).await
    }

    /// A handle for stopping the tasks.
    #[must_use]
    pub fn control(&self) -> RunControl {
        RunControl {
            commands: self.commands.clone(),
        }
    }
}

impl RunControl {
    /// Has the tasks stopped, also those that RunTask is just about to answer. Their end still comes as events.
    pub fn stop(&self, reason: impl Into<String>) {
        // With several requests waiting already, one more changes nothing; and a run that is over needs none.
        let _ = self.commands.try_send(reason.into());
    }
}
