//! What goes wrong, on its way to an exception of `bowline_ecs`: which class, what happened, what to do.

use std::error::Error;

use pyo3::prelude::*;
use pyo3::types::PyDict;

mod advice;
mod session;
mod target;
mod task;

pub(crate) use self::task::{ended, timed_out};

/// An exception of `bowline_ecs.errors` that is not one of Python's yet: it can be made without the GIL.
#[derive(Debug)]
pub(crate) struct Problem {
    /// The name of its class.
    class: &'static str,
    /// What happened.
    message: String,
    /// What to do now.
    hint: Option<String>,
    /// What it happened to: a target, a task, a call.
    resource: Option<String>,
    /// More attributes of the exception.
    fields: Vec<(&'static str, Field)>,
}

/// The value of an attribute.
#[derive(Debug)]
pub(crate) enum Field {
    Text(Option<String>),
    Number(Option<f64>),
    Integer(Option<i64>),
    Texts(Vec<String>),
}

impl Problem {
    pub(crate) fn new(class: &'static str, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
            hint: None,
            resource: None,
            fields: Vec::new(),
        }
    }

    /// The caller's mistake.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new("UsageError", message)
    }

    pub(crate) fn forked() -> Self {
        Self::new(
            "ForkedError",
            "bowline_ecs was used before this process was forked, and cannot be used in the child",
        )
        .hint("use it only after the fork, or start processes by multiprocessing's spawn or forkserver")
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }

    pub(crate) fn resource(mut self, resource: impl Into<String>) -> Self {
        self.resource = Some(resource.into());
        self
    }

    /// The same about this, which its message does not name.
    pub(crate) fn about(mut self, resource: &str) -> Self {
        if self.resource.is_none() {
            self.message = format!("{resource}: {}", self.message);
            self.resource = Some(resource.to_owned());
        }
        self
    }

    pub(crate) fn field(mut self, name: &'static str, value: Field) -> Self {
        self.fields.push((name, value));
        self
    }

    fn raised(self, py: Python<'_>) -> PyResult<PyErr> {
        let fields = PyDict::new(py);
        for (name, value) in self.fields {
            match value {
                Field::Text(text) => fields.set_item(name, text)?,
                Field::Number(number) => fields.set_item(name, number)?,
                Field::Integer(number) => fields.set_item(name, number)?,
                Field::Texts(texts) => fields.set_item(name, texts)?,
            }
        }
        let class = py.import("bowline_ecs.errors")?.getattr(self.class)?;
        let made = class.call((self.message, self.hint, self.resource), Some(&fields))?;
        Ok(PyErr::from_value(made))
    }
}

impl From<Problem> for PyErr {
    fn from(problem: Problem) -> Self {
        Python::attach(|py| problem.raised(py).unwrap_or_else(|error| error))
    }
}

impl From<&PyErr> for Problem {
    fn from(error: &PyErr) -> Self {
        Self::new("BowlineError", error.to_string())
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
