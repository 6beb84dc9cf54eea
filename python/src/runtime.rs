//! The one tokio runtime of the process, how Python waits for it, and what still ends in the background.

use std::future::Future;
use std::pin::pin;
use std::sync::OnceLock;
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::problem::Problem;

/// How often Python may look for signals while it waits: its handlers only note them, and wake nobody here.
const SIGNALS: Duration = Duration::from_millis(50);
/// Sessions wait for the network more than they calculate.
const THREADS: usize = 4;

static RUNTIME: OnceLock<Owned> = OnceLock::new();

struct Owned {
    /// A forked child has the runtime's memory and none of its threads.
    process: u32,
    runtime: Runtime,
    /// Sessions that end though nobody waits for them; an exiting process waits for these.
    endings: TaskTracker,
}

/// The runtime, made when it is first asked for.
pub(crate) fn runtime() -> Result<&'static Runtime, Problem> {
    owned().map(|owned| &owned.runtime)
}

/// Waits without the GIL, and lets Python's signal handlers run meanwhile. When one of them raises, the work is dropped.
pub(crate) fn wait<T: Send>(
    py: Python<'_>,
    work: impl Future<Output = Result<T, Problem>> + Send,
) -> PyResult<T> {
    let runtime = runtime()?;
    let mut work = pin!(work);
    loop {
        let slice = || runtime.block_on(async { timeout(SIGNALS, work.as_mut()).await });
        if let Ok(result) = py.detach(slice) {
            return Ok(result?);
        }
        py.check_signals()?;
    }
}

/// An awaitable of asyncio. When it is cancelled the work is dropped.
pub(crate) fn awaitable<'py, T>(
    py: Python<'py>,
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> PyResult<Bound<'py, PyAny>>
where
    T: for<'a> IntoPyObject<'a> + Send + 'static,
{
    runtime()?;
    pyo3_async_runtimes::tokio::future_into_py(py, async { Ok(work.await?) })
}

/// Has something ended in the background. In a forked child nothing is: it belongs to the parent.
pub(crate) fn end(work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(owned) = owned() {
        owned.endings.spawn_on(work, owned.runtime.handle());
    }
}

/// Whether this process was forked from the one that has the runtime.
pub(crate) fn is_forked() -> bool {
    let owner = RUNTIME.get().map(|owned| owned.process);
    owner.is_some_and(|process| process != std::process::id())
}

/// Waits for what ends in the background, `limit` seconds at most.
pub(crate) fn finish(py: Python<'_>, limit: f64) -> PyResult<()> {
    let limit = Duration::try_from_secs_f64(limit).unwrap_or_default();
    let Some(owned) = RUNTIME.get().filter(|_| !is_forked()) else {
        return Ok(());
    };
    owned.endings.close();
    let ended = wait(py, async {
        // Whatever is not over by then ends with the process.
        let _ = timeout(limit, owned.endings.wait()).await;
        Ok(())
    });
    owned.endings.reopen();
    ended
}

fn owned() -> Result<&'static Owned, Problem> {
    let owned = match RUNTIME.get() {
        Some(owned) => owned,
        None => {
            let made = Owned::new().map_err(|error| Problem::from(&error))?;
            RUNTIME.get_or_init(|| made)
        }
    };
    if is_forked() {
        return Err(Problem::forked());
    }
    // Refused after the first time, when it is known already.
    let _ = pyo3_async_runtimes::tokio::init_with_runtime(&owned.runtime);
    Ok(owned)
}

impl Owned {
    fn new() -> Result<Self, PyErr> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.min(THREADS))
            .thread_name("bowline")
            .enable_all()
            .build()
            .map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        Ok(Self {
            process: std::process::id(),
            runtime,
            endings: TaskTracker::new(),
        })
    }
}
