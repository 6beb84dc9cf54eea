//! Containers start with the default signals, whatever this process was started with.
//!
//! A shell starts background jobs with SIGINT and SIGQUIT ignored, `nohup` adds SIGHUP, and what is ignored stays so in
//! every program started from there: no Ctrl-C would reach a command, no hangup would end it. A signal that is caught
//! becomes a default one when a program is started, so the ignored ones are caught, by handlers that do nothing.

use std::fs;

use tokio::signal::unix::{SignalKind, signal};

/// Catches what is ignored and could matter in a container. Signals that are not ignored are left alone.
pub(crate) fn catch_ignored() {
    let ignored = fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| ignored_mask(&status))
        .unwrap_or_default();
    let kinds = [
        SignalKind::hangup(),
        SignalKind::interrupt(),
        SignalKind::quit(),
        SignalKind::terminate(),
        SignalKind::user_defined1(),
        SignalKind::user_defined2(),
    ];
    for kind in kinds {
        let is_ignored = ignored & (1 << (kind.as_raw_value() - 1)) != 0;
        // The handler stays when the stream is dropped.
        if is_ignored && let Err(error) = signal(kind) {
            tracing::warn!(%error, signal = kind.as_raw_value(), "containers will ignore a signal");
        }
    }
}

/// The mask of ignored signals, bit 0 for signal 1.
fn ignored_mask(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_is_read() {
        assert_eq!(
            ignored_mask("SigBlk:\t0\nSigIgn:\t0000000000001007\n"),
            Some(0x1007)
        );
        assert_eq!(ignored_mask(""), None);
    }
}
