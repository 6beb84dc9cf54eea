//! `bowline_ecs._native`: the part of the Python package that works.
//!
//! What people use is in `package/bowline_ecs`; this has one method for each thing that takes time, once to wait for and
//! once as an awaitable. All of it runs on one multi-threaded tokio runtime, and nothing here holds the GIL while it waits.

use pyo3::prelude::*;

mod client;
mod exec;
mod forward;
mod problem;
mod run;
mod runtime;
mod sandbox;

/// The engine behind `bowline_ecs`.
#[pymodule]
mod _native {
    #[pymodule_export]
    use super::client::Client;
    #[pymodule_export]
    use super::exec::Exec;
    #[pymodule_export]
    use super::finish;
    #[pymodule_export]
    use super::forward::Forward;
    #[pymodule_export]
    use super::run::Run;
    #[pymodule_export]
    use super::sandbox::sandbox_process;
}

/// Waits for sessions that were left to end, so many seconds at most.
#[pyfunction]
fn finish(py: Python<'_>, limit: f64) -> PyResult<()> {
    runtime::finish(py, limit)
}
