//! The diagnostic log on stderr: warnings, more with each `-v`, or what `BOWLINE_LOG` says.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use crate::terminal;

/// Starts the log.
///
/// `-v` raises the level of bowline's own crates only: the SDK's trace output holds whole responses, and those
/// hold session tokens. `BOWLINE_LOG` is taken as it is.
pub(crate) fn start(verbose: u8) {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(|| Held)
        .with_ansi(terminal::stderr_has_colour())
        .with_target(verbose > 1);
    let asked = std::env::var("BOWLINE_LOG")
        .ok()
        .filter(|filter| !filter.is_empty());
    let registry = tracing_subscriber::registry();
    let started = match asked {
        Some(filter) => registry
            .with(lines.with_filter(EnvFilter::new(filter)))
            .try_init(),
        None => registry.with(lines.with_filter(levels(verbose))).try_init(),
    };
    if started.is_err() {
        tracing::debug!("a log was started before; it stays");
    }
}

/// Keeps the lines of the log back while the screen is a program's of ours; they follow when this is dropped.
pub(crate) fn hold() -> Hold {
    *HELD.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
    Hold(())
}

/// See [`hold`].
#[derive(Debug)]
pub(crate) struct Hold(());

impl Drop for Hold {
    fn drop(&mut self) {
        let held = HELD.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A closed stderr must not change how a command ends.
        let _ = io::stderr().lock().write_all(&held.unwrap_or_default());
    }
}

/// Where the lines go: to stderr, or to what is kept back.
struct Held;

impl Write for Held {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match &mut *HELD.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(held) if held.len() + line.len() <= MOST_HELD => held.extend_from_slice(line),
            Some(_) => {}
            None => return io::stderr().write(line),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

static HELD: Mutex<Option<Vec<u8>>> = Mutex::new(None);
/// What comes after so much is dropped.
const MOST_HELD: usize = 256 << 10;

fn levels(verbose: u8) -> Targets {
    let own = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    OWN_CRATES
        .into_iter()
        // The SDK's warnings repeat what the error that follows says.
        .fold(
            Targets::new().with_default(LevelFilter::ERROR),
            |levels, name| levels.with_target(name, own),
        )
}

const OWN_CRATES: [&str; 4] = ["bowline", "bowline_cli", "bowline_proto", "bowline_sandbox"];

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn each_v_says_more_of_our_own() {
        assert!(levels(0).would_enable("bowline::session", &Level::WARN));
        assert!(!levels(0).would_enable("bowline::session", &Level::INFO));
        assert!(levels(3).would_enable("bowline_proto::recv", &Level::TRACE));
        assert!(!levels(3).would_enable("aws_smithy_runtime::client", &Level::DEBUG));
    }
}
