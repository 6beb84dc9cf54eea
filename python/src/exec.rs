//! One command in a container.

use std::mem;
use std::sync::Arc;

use bowline::session::exec::{Engine, ExecControl, ExecEvent, ExecRequest, ExecStdin};
use bowline::{TargetOptions, TargetSpec};
use bytes::Bytes;
use futures_util::FutureExt as _;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use tokio::sync::{Mutex, OnceCell};
use tokio_util::sync::CancellationToken;

use crate::client::{Client, Link, Where, resolve, seconds};
use crate::problem::Problem;
use crate::runtime::{awaitable, end, is_forked, wait};

/// Events that are handed over at once, if there are so many.
const AT_ONCE: usize = 64;

/// A command that is to be run, runs, or has ended.
#[pyclass(frozen, module = "bowline_ecs._native")]
pub(crate) struct Exec {
    session: Arc<Session>,
}

struct Session {
    state: Mutex<State>,
    stdin: Mutex<Option<ExecStdin>>,
    control: OnceCell<ExecControl>,
    /// Ends whoever waits for an event.
    over: CancellationToken,
}

enum State {
    Wanted(Box<Wanted>),
    Running {
        exec: Box<bowline::session::exec::Exec>,
        target: String,
    },
    Over,
}

struct Wanted {
    link: Arc<Link>,
    spec: Option<TargetSpec>,
    options: TargetOptions,
    request: ExecRequest,
}

enum Event {
    Stdout(Bytes),
    Stderr(Bytes),
    Notice(String),
    Started(String),
    Exit(i64),
    Failed(Problem),
}

/// Events as a list of pairs, a kind and its value.
struct Events(Vec<Event>);

#[pymethods]
impl Exec {
    /// A command that starts with `start`.
    #[new]
    #[pyo3(signature = (client, at, argv, *, engine, stdin, first, timeout, wait))]
    #[expect(clippy::too_many_arguments, reason = "keywords of Python")]
    fn new(
        client: &Client,
        at: Where,
        argv: Vec<Vec<u8>>,
        engine: &str,
        stdin: bool,
        first: Option<Vec<u8>>,
        timeout: Option<f64>,
        wait: Option<f64>,
    ) -> PyResult<Self> {
        let (spec, options) = at.parse()?;
        let mut request = ExecRequest::new(argv);
        request.engine = engine_of(engine)?;
        request.stdin = stdin;
        request.first = first.unwrap_or_default().into();
        request.timeout = timeout.map(|given| seconds("timeout", given)).transpose()?;
        if let Some(given) = wait {
            request.wait = seconds("wait", given)?;
        }
        let wanted = Wanted {
            link: Arc::clone(&client.link),
            spec,
            options,
            request,
        };
        Ok(Self {
            session: Arc::new(Session {
                state: Mutex::new(State::Wanted(Box::new(wanted))),
                stdin: Mutex::default(),
                control: OnceCell::new(),
                over: CancellationToken::new(),
            }),
        })
    }

    /// Finds the container and starts the command; the answer is what was found and what is worth saying about it.
    fn start(&self, py: Python<'_>) -> PyResult<(String, Vec<String>)> {
        let session = Arc::clone(&self.session);
        wait(py, async move { session.start().await })
    }

    fn start_async<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let session = Arc::clone(&self.session);
        awaitable(py, async move { session.start().await })
    }

    /// The next events; none after the last one.
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let session = Arc::clone(&self.session);
        wait(py, async move { Ok(session.next().await) })?.into_pyobject(py)
    }

    fn next_async<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let session = Arc::clone(&self.session);
        awaitable(py, async move { Ok(session.next().await) })
    }

    /// Sends a piece of stdin; false when nobody reads any more.
    fn write(&self, py: Python<'_>, piece: Vec<u8>) -> PyResult<bool> {
        let session = Arc::clone(&self.session);
        wait(py, async move {
            let stdin = session.stdin.lock().await;
            Ok(match &*stdin {
                Some(stdin) => tokio::select! {
                    written = stdin.write(piece.into()) => written.is_ok(),
                    () = session.over.cancelled() => false,
                },
                None => false,
            })
        })
    }

    /// The end of stdin.
    fn close_stdin(&self, py: Python<'_>) -> PyResult<()> {
        let session = Arc::clone(&self.session);
        wait(py, async move {
            drop(session.stdin.lock().await.take());
            Ok(())
        })
    }

    /// Ctrl-C for the command.
    fn interrupt(&self, py: Python<'_>) -> PyResult<()> {
        let session = Arc::clone(&self.session);
        wait(py, async move {
            session.interrupt().await;
            Ok(())
        })
    }

    fn interrupt_async<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let session = Arc::clone(&self.session);
        awaitable(py, async move {
            session.interrupt().await;
            Ok(())
        })
    }

    /// Ends the command and its session, and waits for that.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.session.over.cancel();
        let session = Arc::clone(&self.session);
        wait(py, async move {
            session.close().await;
            Ok(())
        })
    }

    fn close_async<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.session.over.cancel();
        let session = Arc::clone(&self.session);
        awaitable(py, async move {
            session.close().await;
            Ok(())
        })
    }

    /// Ends both in the background.
    fn abandon(&self) {
        if is_forked() {
            return;
        }
        self.session.over.cancel();
        let session = Arc::clone(&self.session);
        end(async move { session.close().await });
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        if is_forked() {
            // What it would wake are threads of the parent.
            mem::forget(Arc::clone(&self.session));
            return;
        }
        self.abandon();
    }
}

impl Session {
    async fn start(&self) -> Result<(String, Vec<String>), Problem> {
        let mut state = self.state.lock().await;
        let wanted = match &*state {
            State::Wanted(wanted) => wanted,
            State::Running { target, .. } => return Ok((target.clone(), Vec::new())),
            State::Over => return Err(closed()),
        };
        let client = wanted.link.get().await?;
        let target = resolve(client, wanted.spec.as_ref(), &wanted.options).await?;
        let (name, notes) = (target.to_string(), target.notes.clone());
        let mut exec = client.exec(target, wanted.request.clone());
        // Nobody else asks for these before there is something to ask.
        *self.stdin.lock().await = exec.take_stdin();
        let _ = self.control.set(exec.control());
        *state = State::Running {
            exec: Box::new(exec),
            target: name.clone(),
        };
        Ok((name, notes))
    }

    async fn next(&self) -> Events {
        let mut state = self.state.lock().await;
        let State::Running { exec, target } = &mut *state else {
            return Events(Vec::new());
        };
        let first = async {
            loop {
                // Kinds that are not known here are passed over.
                if let Some(event) = translate(exec.next().await?, target) {
                    return Some(event);
                }
            }
        };
        let first = tokio::select! {
            event = first => event,
            // Whoever closes it waits for its end.
            () = self.over.cancelled() => return Events(Vec::new()),
        };
        let mut events: Vec<Event> = first.into_iter().collect();
        while !events.is_empty()
            && events.len() < AT_ONCE
            && !events.last().is_some_and(Event::is_last)
        {
            // Cancel-safe: what is not there now is there later.
            match exec.next().now_or_never().flatten() {
                Some(event) => events.extend(translate(event, target)),
                None => break,
            }
        }
        if events.last().is_none_or(Event::is_last) {
            *state = State::Over;
        }
        Events(events)
    }

    async fn interrupt(&self) {
        if let Some(control) = self.control.get() {
            control.interrupt().await;
        }
    }

    async fn close(&self) {
        let state = mem::replace(&mut *self.state.lock().await, State::Over);
        if let State::Running { exec, .. } = state {
            exec.terminate().await;
        }
    }
}

impl Event {
    fn is_last(&self) -> bool {
        matches!(self, Self::Exit(_) | Self::Failed(_))
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
                Event::Stdout(bytes) => list.append(("stdout", PyBytes::new(py, &bytes)))?,
                Event::Stderr(bytes) => list.append(("stderr", PyBytes::new(py, &bytes)))?,
                Event::Notice(text) => list.append(("notice", text))?,
                Event::Started(session) => list.append(("started", session))?,
                Event::Exit(code) => list.append(("exit", code))?,
                Event::Failed(problem) => {
                    list.append(("failed", PyErr::from(problem).into_value(py)))?;
                }
            }
        }
        Ok(list)
    }
}

fn translate(event: ExecEvent, target: &str) -> Option<Event> {
    Some(match event {
        ExecEvent::Stdout(bytes) => Event::Stdout(bytes),
        ExecEvent::Stderr(bytes) => Event::Stderr(bytes),
        ExecEvent::Notice(text) => Event::Notice(text),
        ExecEvent::Started { session_id } => Event::Started(session_id),
        ExecEvent::Exit { code } => Event::Exit(code),
        ExecEvent::Closed { reason } => Event::Failed(Problem::from(reason).about(target)),
        _ => return None,
    })
}

fn closed() -> Problem {
    Problem::new("SessionError", "the session was closed here")
}

fn engine_of(name: &str) -> Result<Engine, Problem> {
    Ok(match name {
        "framed" => Engine::Framed,
        "plain" => Engine::Plain,
        "tty" => Engine::Tty,
        "bare" => Engine::Bare,
        "native" => Engine::Native,
        _ => {
            return Err(Problem::usage(format!("there is no engine {name:?}"))
                .hint("the engines are framed, plain, tty, bare and native"));
        }
    })
}
