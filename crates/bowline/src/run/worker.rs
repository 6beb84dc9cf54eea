//! The one task behind a [`super::Run`]: RunTask, the looks at its tasks, their output, and what the caller wants.

use std::collections::VecDeque;
use std::future::pending;
use std::pin::Pin;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::error::RunError;
use super::failure::PlacementFailure;
use super::looks::Looks;
use super::outcome::{Evidence, outcome};
use super::request::RunRequest;
use super::stop::{PAUSE, may_pass, stop};
use super::watch::{Change, Watch, is_stopped};
use super::{Company, RunEvent, RunOptions, RunReport};
use crate::aws::run::LaunchError;
use crate::logs::follow::Drain;
use crate::logs::sources::{Output, Sources};
use crate::model::Task;
use crate::session::clock::until;
use crate::{AwsError, Client};

/// Events that may wait for a slow reader before no more output is read.
const BACKLOG: usize = 16;
/// After a request to stop: the longest stop timeout of Fargate, and what ECS takes around it.
const STOP_LIMIT: Duration = Duration::from_secs(300);
/// How long looks may fail one after another; each has several attempts behind it.
const BLIND_LIMIT: Duration = Duration::from_secs(600);
/// Between looks that fail.
const BLIND_PAUSE: Duration = Duration::from_secs(5);
/// How long a found task that ECS does not know at once is asked for.
const FIND_LIMIT: Duration = Duration::from_secs(15);

/// How it begins.
pub(super) enum Beginning {
    Launch(Box<RunRequest>),
    Attach {
        cluster: String,
        tasks: Vec<String>,
        failures: Vec<PlacementFailure>,
    },
}

/// The other ends of the caller's channels.
pub(super) struct Caller {
    pub(super) reader: mpsc::Sender<RunEvent>,
    pub(super) commands: mpsc::Receiver<String>,
}

/// What is to be done, and as whom.
pub(super) struct Work {
    pub(super) client: Client,
    pub(super) beginning: Beginning,
    pub(super) options: RunOptions,
    pub(super) company: Company,
}

/// Follows tasks to their end, or until the reader is gone.
pub(super) async fn run(work: Work, mut caller: Caller) {
    let reader = caller.reader.clone();
    let work = async {
        let last = match follow(work, &mut caller).await {
            Ok(report) => RunEvent::Ended(report),
            Err(error) => RunEvent::Failed(error),
        };
        // A reader that has left needs no last word.
        let _ = caller.reader.send(last).await;
    };
    tokio::select! {
        () = work => {}
        () = reader.closed() => {}
    }
}

/// RunTask, with its two ways to fail made one.
pub(super) async fn launch(
    client: &Client,
    request: &RunRequest,
) -> Result<(Vec<Task>, Vec<PlacementFailure>), RunError> {
    match client.ecs().run_task(request).await {
        Ok(launched) if launched.tasks.is_empty() => Err(RunError::NotPlaced {
            failures: launched.failures,
        }),
        Ok(launched) => Ok((launched.tasks, launched.failures)),
        Err(LaunchError::Conflict(tasks, source)) => Err(RunError::Conflict {
            tasks,
            source: Box::new(source),
        }),
        Err(LaunchError::Aws(error)) => Err(
            match crate::logs::may_pass(&error) && !error.is_throttled() {
                true => RunError::Unanswered {
                    token: request.client_token.clone(),
                    source: Box::new(error),
                },
                false => RunError::Refused(Box::new(error)),
            },
        ),
    }
}

async fn follow(work: Work, caller: &mut Caller) -> Result<RunReport, RunError> {
    let Work {
        client,
        beginning,
        options,
        company,
    } = work;
    let (cluster, tasks, failures) = match beginning {
        Beginning::Launch(request) => {
            let (tasks, failures) = launch(&client, &request).await?;
            (request.cluster, tasks, failures)
        }
        Beginning::Attach {
            cluster,
            tasks,
            failures,
        } => {
            let tasks = find(&client, &cluster, &tasks).await?;
            (cluster, tasks, failures)
        }
    };
    let now = Instant::now();
    let mut worker = Worker {
        sources: Sources::new(client.clone(), Drain::within(options.log_wait)),
        client,
        cluster,
        looks: company.looks,
        watch: Watch::new(now.into_std(), tasks.clone()),
        next_look: now,
        look: None,
        blind_since: None,
        deadline: options.timeout.map(|timeout| now + timeout),
        options,
        stopping: None,
        stop: None,
        words: String::new(),
        stop_told: false,
        timed_out: false,
        queue: VecDeque::new(),
    };
    worker.queue.push_back(RunEvent::Launched {
        tasks: tasks.clone(),
        failures: failures.clone(),
    });
    if let Some(definition) = company.definition {
        worker.sources.know(definition);
    }
    for task in &tasks {
        worker.sources.definition(task).await;
    }
    worker.feed_sources();
    worker.drive(caller).await?;
    Ok(worker.report(failures).await)
}

/// Describes tasks that were started elsewhere, maybe just now.
async fn find(client: &Client, cluster: &str, tasks: &[String]) -> Result<Vec<Task>, RunError> {
    let begun = Instant::now();
    loop {
        let found = client.ecs().tasks(cluster, tasks).await;
        let found = found.map_err(|error| RunError::Refused(Box::new(error)))?;
        if found.len() == tasks.len() {
            return Ok(found);
        }
        if begun.elapsed() >= FIND_LIMIT {
            let known = |name: &&String| {
                let id = crate::aws::ecs::last_part(name);
                found.iter().any(|task| task.task_id == id)
            };
            let task = tasks.iter().find(|name| !known(name));
            return Err(RunError::Gone {
                task: task.cloned().unwrap_or_default(),
            });
        }
        sleep(Duration::from_secs(1)).await;
    }
}

type Call<T> = Option<Pin<Box<dyn Future<Output = T> + Send>>>;

/// The tasks that were asked for, and the answer.
type Look = (Vec<String>, Result<Vec<Task>, AwsError>);

struct Worker {
    client: Client,
    cluster: String,
    options: RunOptions,
    /// Whom others ask as well.
    looks: Option<Looks>,
    watch: Watch,
    sources: Sources,
    next_look: Instant,
    look: Call<Look>,
    /// When looks began to fail.
    blind_since: Option<Instant>,
    deadline: Option<Instant>,
    /// When a stop was asked for.
    stopping: Option<Instant>,
    stop: Call<Vec<(String, AwsError)>>,
    /// The reason that is given for it.
    words: String,
    /// That it does not work at the moment was said.
    stop_told: bool,
    timed_out: bool,
    queue: VecDeque<RunEvent>,
}

impl Worker {
    async fn drive(&mut self, caller: &mut Caller) -> Result<(), RunError> {
        loop {
            let watched = self.watch.is_done();
            let read = !self.options.logs || self.sources.is_done();
            if watched && read && self.queue.is_empty() {
                return Ok(());
            }
            if self.look.is_none() && !watched && self.next_look <= Instant::now() {
                self.look();
            }
            let patience = self
                .stopping
                .map(|since| since + STOP_LIMIT)
                .filter(|_| !watched && self.stop.is_none());
            let deadline = self
                .deadline
                .filter(|_| self.stopping.is_none() && !watched);
            // Every arm is cancel-safe: calls and queues are kept in self.
            tokio::select! {
                permit = caller.reader.reserve(), if !self.queue.is_empty() => {
                    // The run is dropped as a whole when nobody reads it any more.
                    if let (Ok(permit), Some(event)) = (permit, self.queue.pop_front()) {
                        permit.send(event);
                    }
                }
                output = self.sources.next(), if self.options.logs && self.queue.len() < BACKLOG => {
                    self.output(output);
                }
                (asked, answer) = finish(&mut self.look) => self.looked(&asked, answer)?,
                () = until(Some(self.next_look)), if self.look.is_none() && !watched => {}
                Some(reason) = caller.commands.recv() => self.stop(reason),
                () = until(deadline) => {
                    self.timed_out = true;
                    let limit = self.options.timeout.unwrap_or_default().as_secs();
                    self.stop(format!("bowline: the time limit of {limit} s was reached"));
                }
                failed = finish(&mut self.stop) => self.stop_answered(failed)?,
                () = until(patience) => {
                    let task = self.watch.open().into_iter().next().unwrap_or_default();
                    return Err(RunError::NotStopping { task, after: STOP_LIMIT });
                }
            }
        }
    }

    fn look(&mut self) {
        let (client, cluster, asked) =
            (self.client.clone(), self.cluster.clone(), self.watch.open());
        let looks = self.looks.clone();
        self.look = Some(Box::pin(async move {
            let answer = match looks {
                Some(looks) => looks.tasks(&cluster, &asked).await,
                None => client.ecs().tasks(&cluster, &asked).await,
            };
            (asked, answer)
        }));
    }

    fn looked(
        &mut self,
        asked: &[String],
        answer: Result<Vec<Task>, AwsError>,
    ) -> Result<(), RunError> {
        let now = Instant::now();
        let tasks = match answer {
            Ok(tasks) => tasks,
            Err(source) => return self.blind(now, source),
        };
        self.blind_since = None;
        for change in self.watch.answered(now.into_std(), asked, &tasks) {
            match change {
                Change::Status(number, text) => {
                    let task = self.watch.tasks()[number].task.clone();
                    self.queue.push_back(RunEvent::Status {
                        task: Box::new(task),
                        text,
                    });
                }
                Change::Gone(number) => {
                    let task = self.watch.tasks()[number].arn.clone();
                    return Err(RunError::Gone { task });
                }
            }
        }
        self.next_look = now + self.watch.pause(now.into_std());
        self.feed_sources();
        Ok(())
    }

    /// A look has failed. Networks come back; a refusal stays.
    fn blind(&mut self, now: Instant, source: AwsError) -> Result<(), RunError> {
        let since = *self.blind_since.get_or_insert(now);
        let tasks = || self.watch.open();
        if !crate::logs::may_pass(&source) || now - since > BLIND_LIMIT {
            return Err(RunError::Unwatchable {
                tasks: tasks(),
                source: Box::new(source),
            });
        }
        if since == now {
            self.queue.push_back(RunEvent::Notice(format!(
                "the task cannot be looked at just now ({source}); still trying"
            )));
        }
        self.next_look = now + BLIND_PAUSE;
        Ok(())
    }

    fn feed_sources(&mut self) {
        if !self.options.logs {
            return;
        }
        for watched in self.watch.tasks() {
            let ago = watched.stopped_ago(Timestamp::now());
            self.sources.update(&watched.task, ago, |_| true);
        }
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Lines(lines) => self.queue.push_back(RunEvent::Lines(lines)),
            Output::Note(text) => self.queue.push_back(RunEvent::Notice(text)),
            Output::Ended => {}
        }
    }

    /// Asks ECS to stop what has not stopped. Doing so twice is harmless.
    fn stop(&mut self, reason: String) {
        let now = Instant::now();
        let tasks = self.watch.open();
        if tasks.is_empty() || self.stop.is_some() {
            return;
        }
        self.stopping.get_or_insert(now);
        self.watch.hurry(now.into_std());
        self.next_look = self.next_look.min(now + Duration::from_secs(1));
        self.words.clone_from(&reason);
        self.ask_to_stop(tasks, Duration::ZERO);
        self.queue.push_back(RunEvent::Stopping { reason });
    }

    fn ask_to_stop(&mut self, tasks: Vec<String>, after: Duration) {
        let (client, cluster) = (self.client.clone(), self.cluster.clone());
        let words = self.words.clone();
        self.stop = Some(Box::pin(async move {
            sleep(after).await;
            stop(&client, &cluster, tasks, &words).await
        }));
    }

    /// Who could not be asked to stop is asked again, as long as that may help.
    fn stop_answered(&mut self, mut failed: Vec<(String, AwsError)>) -> Result<(), RunError> {
        let now = Instant::now();
        let open = self.watch.open();
        failed.retain(|(task, _)| open.contains(task));
        let since = now - *self.stopping.get_or_insert(now);
        let hopeless = |error: &AwsError| since >= STOP_LIMIT || !may_pass(error, since);
        let worst = failed.iter().position(|(_, error)| hopeless(error));
        let Some((_, error)) = failed.get(worst.unwrap_or(0)) else {
            // All were asked; from now on they may take their time.
            self.stopping = Some(now);
            self.queue.push_back(RunEvent::StopTaken);
            return Ok(());
        };
        if worst.is_none() {
            if !std::mem::replace(&mut self.stop_told, true) {
                self.queue.push_back(RunEvent::Notice(format!(
                    "the task could not be asked to stop just now ({error}); still trying"
                )));
            }
            let tasks = failed.into_iter().map(|(task, _)| task).collect();
            self.ask_to_stop(tasks, PAUSE);
            return Ok(());
        }
        let tasks = failed.iter().map(|(task, _)| task.clone()).collect();
        let (_, source) = failed.swap_remove(worst.unwrap_or(0));
        Err(RunError::NotStopped {
            tasks,
            source: Box::new(source),
        })
    }

    async fn report(mut self, failures: Vec<PlacementFailure>) -> RunReport {
        let mut results = Vec::new();
        for watched in self.watch.tasks() {
            let definition = self.sources.definition(&watched.task).await;
            let essential = definition.map_or_else(Vec::new, |known| known.essential());
            let evidence = Evidence {
                essential: &essential,
                stopped_first: &watched.stopped_first,
                main: self.options.main.as_deref(),
            };
            let outcome = outcome(&watched.task, &self.options.exit_from, evidence);
            results.push((watched.task.clone(), outcome));
        }
        debug_assert!(results.iter().all(|(task, _)| is_stopped(task)));
        RunReport {
            results,
            failures,
            timed_out: self.timed_out,
        }
    }
}

/// The result of a call, once; never without one.
async fn finish<T>(call: &mut Call<T>) -> T {
    match call {
        Some(future) => {
            let result = future.await;
            *call = None;
            result
        }
        None => pending().await,
    }
}
