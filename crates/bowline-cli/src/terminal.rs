//! The local terminal: its size, and raw mode that is always given back.

use std::io;

use bowline::session::Size;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

/// What a terminal has when nobody says otherwise.
const DEFAULT_SIZE: Size = Size { cols: 80, rows: 24 };

/// Whether stdin is a terminal.
pub(crate) fn stdin_is_terminal() -> bool {
    isatty(io::stdin())
}

/// The size of the terminal that is at stdout, stderr or stdin.
pub(crate) fn size() -> Size {
    let known = tcgetwinsize(io::stdout())
        .or_else(|_| tcgetwinsize(io::stderr()))
        .or_else(|_| tcgetwinsize(io::stdin()));
    match known {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => Size {
            cols: size.ws_col.into(),
            rows: size.ws_row.into(),
        },
        _ => DEFAULT_SIZE,
    }
}

/// The terminal at stdin in raw mode; dropping this restores it.
pub(crate) struct RawMode {
    before: Termios,
}

impl RawMode {
    /// Keys go to the remote side as they are from now on.
    pub(crate) fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Drain, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.before);
    }
}
