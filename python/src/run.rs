//! A fresh task, from its start to its exit code.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use bowline::TargetOptions;
use bowline::logs::{LogLine, Writer};
use bowline::run::{
    Cause, Overrides, RunControl, RunEvent, RunOptions, RunReport, RunRequest, RunTarget, RunWish,
    Variable,
};
use pyo3::prelude::*;
use pyo3::types::PyList;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::client::{Client, Link, Where, seconds};
use crate::problem::{Problem, ended, timed_out};
use crate::runtime::{awaitable, end, is_forked, wait};

/// For ECS to be asked to stop a task that is left.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A task that is to be started, runs, or has ended.
#[pyclass(frozen, module = "bowline_ecs._native")]
pub(crate) struct Run {
    job: Arc<Job>,
}

struct Job {
    state: Mutex<State>,
    control: OnceCell<RunControl>,
    over: CancellationToken,
}

enum State {
    Wanted(Box<Wanted>),
    Running {
        run: bowline::run::Run,
        limit: Option<f64>,
        link: Arc<Link>,
        cluster: String,
        /// The task's ARN, once it was started.
        task: Option<String>,
    },
    Over,
}

struct Wanted {
    link: Arc<Link>,
    target: Option<RunTarget>,
    target_options: TargetOptions,
    wish: RunWish,
    overrides: Overrides,
    command: Option<Vec<String>>,
    environment: Vec<Variable>,
    options: RunOptions,
    limit: Option<f64>,
}

/// What is wished besides a target.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Wish {
    command: Option<Vec<String>>,
    environment: BTreeMap<String, String>,
    /// JSON, as the AWS CLI takes it.
    overrides: Option<String>,
    like: Option<String>,
    subnets: Vec<String>,
    security_groups: Vec<String>,
    assign_public_ip: Option<bool>,
    launch_type: Option<String>,
    platform_version: Option<String>,
    timeout: Option<f64>,
    logs: bool,
    log_wait: Option<f64>,
}

enum Event {
    Launched {
        id: String,
        arn: String,
    },
    Status {
        id: String,
        text: String,
    },
    Line(Box<LogLine>),
    Notice(String),
    Exit {
        code: i64,
        container: Option<String>,
        text: Option<String>,
    },
    Failed(Problem),
}

struct Events(Vec<Event>);

#[pymethods]
impl Run {
    /// A task that starts with `start`.
    #[new]
    fn new(client: &Client, at: Where, wish: Wish) -> PyResult<Self> {
        let wanted = wish.wanted(Arc::clone(&client.link), &at)?;
        Ok(Self {
            job: Arc::new(Job {
                state: Mutex::new(State::Wanted(Box::new(wanted))),
                control: OnceCell::new(),
                over: CancellationToken::new(),
            }),
        })
    }

    /// Makes the request and has it sent; the answer is what was decided on the way.
    fn start(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let job = Arc::clone(&self.job);
        wait(py, async move { job.start().await })
    }

    fn start_async<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let job = Arc::clone(&self.job);
        awaitable(py, async move { job.start().await })
    }

    /// The next events; none after the last one.
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let job = Arc::clone(&self.job);
        wait(py, async move { Ok(job.next().await) })?.into_pyobject(py)
    }

    fn next_async<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let job = Arc::clone(&self.job);
        awaitable(py, async move { Ok(job.next().await) })
    }

    /// Has the task stopped; its end still comes as events.
    fn stop(&self, reason: String) {
        if let Some(control) = self.job.control.get() {
            control.stop(reason);
        }
    }

    /// Has the task stopped and reads no more events; waits until ECS was asked.
    fn halt(&self, py: Python<'_>, reason: String) -> PyResult<()> {
        self.job.over.cancel();
        let job = Arc::clone(&self.job);
        wait(py, async move {
            job.halt(reason).await;
            Ok(())
        })
    }

    /// The same in the background.
    fn abandon(&self, reason: String) {
        if is_forked() {
            return;
        }
        self.job.over.cancel();
        let job = Arc::clone(&self.job);
        end(async move { job.halt(reason).await });
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if is_forked() {
            // What it would wake are threads of the parent.
            mem::forget(Arc::clone(&self.job));
        }
    }
}

impl Wish {
    fn wanted(self, link: Arc<Link>, at: &Where) -> Result<Wanted, Problem> {
        let overrides = self.overrides.as_deref().map(Overrides::parse);
        let environment = self.environment.into_iter();
        let log_wait = self
            .log_wait
            .map(|given| seconds("log_wait", given))
            .transpose()?;
        let defaults = RunOptions::default();
        Ok(Wanted {
            link,
            target: at.target().map(str::parse).transpose()?,
            target_options: at.options()?,
            wish: RunWish {
                like: self.like,
                subnets: self.subnets,
                security_groups: self.security_groups,
                assign_public_ip: self.assign_public_ip,
                launch_type: self.launch_type,
                platform_version: self.platform_version,
                ..RunWish::default()
            },
            overrides: overrides
                .transpose()
                .map_err(Problem::usage)?
                .unwrap_or_default(),
            command: self.command,
            environment: environment
                .map(|(name, value)| Variable { name, value })
                .collect(),
            options: RunOptions {
                timeout: self
                    .timeout
                    .map(|given| seconds("timeout", given))
                    .transpose()?,
                logs: self.logs,
                log_wait: log_wait.unwrap_or(defaults.log_wait),
                ..defaults
            },
            limit: self.timeout,
        })
    }
}

impl Wanted {
    async fn plan(&self) -> Result<(RunRequest, RunOptions, Vec<String>), Problem> {
        let client = self.link.get().await?;
        let plan = client
            .plan_run(self.target.as_ref(), &self.wish, &self.target_options)
            .await?;
        let mut request = plan.request;
        request.overrides = self.overrides.clone();
        if self.command.is_some() || !self.environment.is_empty() {
            let container = request.overrides.container(&plan.container);
            if self.command.is_some() {
                container.command.clone_from(&self.command);
            }
            // Of two variables with one name, the one that was said in particular counts.
            container
                .environment
                .retain(|one| !self.environment.iter().any(|given| given.name == one.name));
            container
                .environment
                .extend(self.environment.iter().cloned());
        }
        request.check().map_err(Problem::usage)?;
        let options = RunOptions {
            main: Some(plan.container),
            ..self.options.clone()
        };
        Ok((request, options, plan.notes))
    }
}

impl Job {
    async fn start(&self) -> Result<Vec<String>, Problem> {
        let mut state = self.state.lock().await;
        let State::Wanted(wanted) = &*state else {
            return Ok(Vec::new());
        };
        let (request, options, notes) = wanted.plan().await?;
        let client = wanted.link.get().await?;
        let cluster = request.cluster.clone();
        let run = client.run(request, options);
        let _ = self.control.set(run.control());
        let (limit, link) = (wanted.limit, Arc::clone(&wanted.link));
        *state = State::Running {
            run,
            limit,
            link,
            cluster,
            task: None,
        };
        Ok(notes)
    }

    async fn next(&self) -> Events {
        let mut state = self.state.lock().await;
        let events = match &mut *state {
            State::Running {
                run, limit, task, ..
            } => tokio::select! {
                events = some(run, *limit, task) => events,
                // Whoever halts it needs the run itself.
                () = self.over.cancelled() => return Events(Vec::new()),
            },
            _ => return Events(Vec::new()),
        };
        if events.last().is_none_or(Event::is_last) {
            *state = State::Over;
        }
        Events(events)
    }

    async fn halt(&self, reason: String) {
        let state = mem::replace(&mut *self.state.lock().await, State::Over);
        let State::Running {
            mut run,
            link,
            cluster,
            mut task,
            ..
        } = state
        else {
            return;
        };
        let asked = async {
            // RunTask cannot be taken back: its answer says what to stop.
            while task.is_none() {
                let events = some(&mut run, None, &mut task).await;
                if events.last().is_none_or(Event::is_last) {
                    break;
                }
            }
            if let (Some(task), Ok(client)) = (&task, link.get().await) {
                // What ECS says to it has nobody left to hear it.
                let _ = client
                    .stop_started(&cluster, task, &reason, STOP_LIMIT)
                    .await;
            }
        };
        // A service that does not answer by then has no more to say to a program that leaves.
        let _ = timeout(STOP_LIMIT, asked).await;
    }
}

impl Event {
    fn is_last(&self) -> bool {
        matches!(self, Self::Exit { .. } | Self::Failed(_))
    }
}

impl<'py> IntoPyObject<'py> for Events {
    type Target = PyList;
    type Output = Bound<'py, PyList>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for event in self.0 {
            match event {
                Event::Launched { id, arn } => list.append(("launched", (id, arn)))?,
                Event::Status { id, text } => list.append(("status", (id, text)))?,
                Event::Line(line) => {
                    let writer = match &line.writer {
                        Writer::Container { container, .. } => Some(container.to_string()),
                        _ => None,
                    };
                    let time = line.time.as_millisecond();
                    list.append(("line", (writer, time, &line.message)))?;
                }
                Event::Notice(text) => list.append(("notice", text))?,
                Event::Exit {
                    code,
                    container,
                    text,
                } => list.append(("exit", (code, container, text)))?,
                Event::Failed(problem) => {
                    list.append(("failed", PyErr::from(problem).into_value(py)))?;
                }
            }
        }
        Ok(list)
    }
}

/// The next events; none after the last one. Cancel-safe.
async fn some(
    run: &mut bowline::run::Run,
    limit: Option<f64>,
    task: &mut Option<String>,
) -> Vec<Event> {
    loop {
        let Some(event) = run.next().await else {
            return Vec::new();
        };
        if let RunEvent::Launched { tasks, .. } = &event {
            *task = tasks.first().map(|task| task.task_arn.clone());
        }
        // Kinds that are not known here are passed over.
        let events = translate(event, limit);
        if !events.is_empty() {
            return events;
        }
    }
}

fn translate(event: RunEvent, limit: Option<f64>) -> Vec<Event> {
    let one = match event {
        RunEvent::Launched { tasks, .. } => {
            let launched = tasks.into_iter().map(|task| Event::Launched {
                id: task.task_id,
                arn: task.task_arn,
            });
            return launched.collect();
        }
        RunEvent::Lines(lines) => {
            return lines
                .into_iter()
                .map(|line| Event::Line(Box::new(line)))
                .collect();
        }
        RunEvent::Status { task, text } => Event::Status {
            id: task.task_id,
            text,
        },
        RunEvent::Notice(text) => Event::Notice(text),
        RunEvent::Stopping { reason } => {
            Event::Notice(format!("the task is being stopped: {reason}"))
        }
        RunEvent::Ended(report) => verdict(report, limit),
        RunEvent::Failed(error) => Event::Failed(error.into()),
        _ => return Vec::new(),
    };
    vec![one]
}

/// What the end of the one task is.
fn verdict(report: RunReport, limit: Option<f64>) -> Event {
    let Some((task, outcome)) = report.results.into_iter().next() else {
        return Event::Failed(Problem::new("TaskFailedError", "no task was started"));
    };
    if report.timed_out {
        return Event::Failed(timed_out(Some(&task), limit));
    }
    match (outcome.cause, outcome.code) {
        // A zero of a container that was stopped and did not end by itself says nothing about the command.
        (Cause::Exited, Some(code)) | (_, Some(code @ 1..)) => Event::Exit {
            code,
            container: outcome.container,
            text: outcome.text,
        },
        _ => Event::Failed(ended(&task, &outcome)),
    }
}
