//! A port of this machine that leads to a task.

use std::collections::VecDeque;
use std::mem;
use std::net::IpAddr;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use bowline::forward::{BoundTo, ForwardEvent, ForwardRequest, ForwardSpec, Local};
use bowline::{TargetOptions, TargetSpec};
use pyo3::prelude::*;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::client::{Client, Link, Where, resolve, seconds};
use crate::problem::Problem;
use crate::runtime::{awaitable, end, is_forked, wait};

/// Notices that are kept for somebody who asks.
const NOTICES: usize = 100;
/// For a forward's sessions to end.
const END_LIMIT: Duration = Duration::from_secs(3);

/// A forward that is to be opened, is open, or was closed.
#[pyclass(frozen, module = "bowline_ecs._native")]
pub(crate) struct Forward {
    port: Arc<Port>,
}

struct Port {
    /// Of its own: only its sessions are waited for when it is closed.
    link: Link,
    spec: Option<TargetSpec>,
    options: TargetOptions,
    request: ForwardRequest,
    open: Mutex<Option<Open>>,
    notices: Notices,
}

type Notices = Arc<StdMutex<VecDeque<String>>>;

struct Open {
    place: Place,
    /// It owns the forward, which ends with it.
    _reading: AbortOnDropHandle<()>,
}

/// The address and port here, and what they lead to.
type Place = (String, u16, String);

#[pymethods]
impl Forward {
    /// A forward that opens with `open`.
    #[new]
    #[pyo3(signature = (client, at, remote, *, local_port, bind, relay, wait))]
    fn new(
        client: &Client,
        at: Where,
        remote: &str,
        local_port: u16,
        bind: &str,
        relay: bool,
        wait: Option<f64>,
    ) -> PyResult<Self> {
        let (spec, options) = at.parse()?;
        let bind = bind
            .parse::<IpAddr>()
            .map_err(|_| Problem::usage(format!("bind={bind:?} is not an address")))?;
        let parsed: ForwardSpec = remote.parse().map_err(Problem::from)?;
        if parsed.remote.to_string() != remote {
            let text = format!("remote={remote:?} also says where to listen");
            return Err(Problem::usage(text)
                .hint("local_port= and bind= say that")
                .into());
        }
        let forwarded = ForwardSpec {
            local: Local::Port {
                address: Some(bind),
                port: local_port,
            },
            remote: parsed.remote,
        };
        let mut request = ForwardRequest::new(vec![forwarded]);
        request.target.clone_from(&spec);
        request.relay = relay;
        if let Some(given) = wait {
            request.wait = seconds("wait", given)?;
        }
        Ok(Self {
            port: Arc::new(Port {
                link: client.link.beside(),
                spec,
                options,
                request,
                open: Mutex::default(),
                notices: Arc::default(),
            }),
        })
    }

    /// Listens, and waits until connections are served.
    fn open(&self, py: Python<'_>) -> PyResult<Place> {
        let port = Arc::clone(&self.port);
        wait(py, async move { port.open().await })
    }

    fn open_async<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let port = Arc::clone(&self.port);
        awaitable(py, async move { port.open().await })
    }

    /// What was worth knowing lately.
    fn notices(&self) -> Vec<String> {
        let notices = self.port.notices.lock();
        let notices = notices.unwrap_or_else(PoisonError::into_inner);
        notices.iter().cloned().collect()
    }

    /// Ends the connections and the session, and waits for that.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let port = Arc::clone(&self.port);
        wait(py, async move {
            port.close().await;
            Ok(())
        })
    }

    fn close_async<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let port = Arc::clone(&self.port);
        awaitable(py, async move {
            port.close().await;
            Ok(())
        })
    }

    /// The same in the background.
    fn abandon(&self) {
        if !is_forked() {
            let port = Arc::clone(&self.port);
            end(async move { port.close().await });
        }
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        if is_forked() {
            // What it would wake are threads of the parent.
            mem::forget(Arc::clone(&self.port));
            return;
        }
        self.abandon();
    }
}

impl Port {
    async fn open(&self) -> Result<Place, Problem> {
        let mut open = self.open.lock().await;
        if let Some(open) = &*open {
            return Ok(open.place.clone());
        }
        let client = self.link.get().await?;
        let target = resolve(client, self.spec.as_ref(), &self.options).await?;
        let name = target.to_string();
        let mut forward = client.forward(&target, self.request.clone()).await?;
        loop {
            match forward.next().await {
                Some(ForwardEvent::Ready { .. }) => break,
                Some(ForwardEvent::Failed { error, .. }) => {
                    return Err(Problem::from(error).about(&name));
                }
                Some(event) => note(&self.notices, event),
                None => return Err(Problem::new("ForwardError", "the forward ended").about(&name)),
            }
        }
        let Some(BoundTo::Tcp(address)) = forward.bound().first().cloned() else {
            return Err(Problem::new("ForwardError", "there is no port").about(&name));
        };
        let notices = Arc::clone(&self.notices);
        // Unread events would hold the connections up.
        let reading = tokio::spawn(async move {
            while let Some(event) = forward.next().await {
                note(&notices, event);
            }
        });
        let place = (address.ip().to_string(), address.port(), name);
        *open = Some(Open {
            place: place.clone(),
            _reading: AbortOnDropHandle::new(reading),
        });
        Ok(place)
    }

    async fn close(&self) {
        let open = self.open.lock().await.take();
        if open.is_none() {
            return;
        }
        drop(open);
        if let Ok(client) = self.link.get().await {
            // What does not end by then is ended by the service.
            let _ = timeout(END_LIMIT, client.finish()).await;
        }
    }
}

fn note(notices: &Notices, event: ForwardEvent) {
    let text = match event {
        ForwardEvent::Down { reason, .. } => {
            format!("the session is over and begins again: {reason}")
        }
        ForwardEvent::Unreachable { .. } => {
            "the task could not connect to the remote side".to_owned()
        }
        ForwardEvent::Notice { text, .. } => text,
        ForwardEvent::Failed { error, .. } => error.to_string(),
        ForwardEvent::Closed {
            cause: Some(cause), ..
        } => format!("a connection was broken off: {cause}"),
        _ => return,
    };
    let mut notices = notices.lock().unwrap_or_else(PoisonError::into_inner);
    if notices.len() == NOTICES {
        notices.pop_front();
    }
    notices.push_back(text);
}
