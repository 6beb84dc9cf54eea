//! The diagnostic log on stderr: warnings, more with each `-v`, or what `BOWLINE_LOG` says.

use std::io;

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
        .with_writer(io::stderr)
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
