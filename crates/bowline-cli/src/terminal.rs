//! The local terminal: its size, and raw mode that is always given back.

use std::io;
use std::panic;
use std::sync::{Mutex, Once, PoisonError, TryLockError};

use bowline::session::Size;
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, isatty,
    tcflush, tcgetattr, tcgetwinsize, tcsetattr,
};

use crate::screen::Screen;

/// What a terminal has when nobody says otherwise.
const DEFAULT_SIZE: Size = Size { cols: 80, rows: 24 };
/// No character: the key is one like any other. Zero on Linux, 255 on the BSDs.
const DISABLED: u8 = if cfg!(target_os = "linux") { 0 } else { 0xff };

/// What the terminal was like before. It is here, and not in the guard, because a panic has to find it: on whichever
/// thread it happens, the terminal is restored before the message is printed.
static HELD: Mutex<Option<Held>> = Mutex::new(None);

struct Held {
    before: Termios,
    screen: Screen,
    /// Whether the screen is the one at stderr.
    at_stderr: bool,
}

/// Whether stdin is a terminal.
pub(crate) fn stdin_is_terminal() -> bool {
    isatty(io::stdin())
}

/// Whether stderr is a terminal.
pub(crate) fn stderr_is_terminal() -> bool {
    isatty(io::stderr())
}

/// Whether the terminal's keys are a remote side's at the moment.
pub(crate) fn is_held() -> bool {
    HELD.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .is_some()
}

/// The columns of the terminal that stdout is, if it is one.
pub(crate) fn stdout_width() -> Option<u16> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    Some(size.ws_col).filter(|columns| *columns > 0)
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

/// Whether stderr is a terminal that shows colours and their like, and the user wants them.
pub(crate) fn stderr_has_colour() -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let plain = set("NO_COLOR").is_some() || set("TERM").is_none_or(|term| term == "dumb");
    !plain && stderr_is_terminal()
}

/// The text as less important than what is around it, if stderr shows such things.
pub(crate) fn dim(text: &str) -> String {
    if stderr_has_colour() {
        format!("\x1b[2m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// Throws away what was typed and not yet read: a terminal's answers to what was replayed on it.
pub(crate) fn forget_keys() {
    // A terminal that is gone has none.
    let _ = tcflush(io::stdin(), QueueSelector::IFlush);
}

/// The terminal at stdin while its keys are a remote side's. Dropping this restores it; so do a panic and, because
/// the commands turn signals into ordinary ends, the signals that end a program.
#[derive(Debug)]
pub(crate) struct RawMode(());

impl RawMode {
    /// Keys are kept for the remote side, unseen, but nobody is there yet: Ctrl-C is still ours, and what we say is
    /// shown as usual.
    pub(crate) fn prepare() -> io::Result<Self> {
        Self::begin(false)
    }

    /// All keys are ours, and what we show with them is at stderr.
    pub(crate) fn for_stderr() -> io::Result<Self> {
        let guard = Self::begin(true)?;
        guard.enter()?;
        Ok(guard)
    }

    fn begin(at_stderr: bool) -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let previous = panic::take_hook();
            panic::set_hook(Box::new(move |panic| {
                restore(broken_off);
                previous(panic);
            }));
        });
        let before = tcgetattr(io::stdin())?;
        let mut prepared = before.clone();
        prepared
            .local_modes
            .remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::IEXTEN);
        prepared
            .input_modes
            .remove(InputModes::ICRNL | InputModes::INLCR | InputModes::IGNCR | InputModes::IXON);
        prepared.special_codes[SpecialCodeIndex::VSUSP] = DISABLED;
        prepared.special_codes[SpecialCodeIndex::VQUIT] = DISABLED;
        prepared.special_codes[SpecialCodeIndex::VMIN] = 1;
        prepared.special_codes[SpecialCodeIndex::VTIME] = 0;
        let screen = Screen::default();
        *HELD.lock().unwrap_or_else(PoisonError::into_inner) = Some(Held {
            before,
            screen,
            at_stderr,
        });
        let guard = Self(());
        // Never with a flush: what was typed early is for the remote side too.
        tcsetattr(io::stdin(), OptionalActions::Now, &prepared)?;
        Ok(guard)
    }

    /// All keys go to the remote side as they are from now on.
    pub(crate) fn enter(&self) -> io::Result<()> {
        let mut raw = tcgetattr(io::stdin())?;
        raw.make_raw();
        Ok(tcsetattr(io::stdin(), OptionalActions::Now, &raw)?)
    }

    /// Notes what is shown on the terminal.
    pub(crate) fn shown(&self, output: &[u8]) {
        if let Some(held) = &mut *HELD.lock().unwrap_or_else(PoisonError::into_inner) {
            held.screen.feed(output);
        }
    }

    /// Restores the terminal after a session that broke off, and with it what the remote side had set on the screen.
    pub(crate) fn abandon(self) {
        restore(broken_off);
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore(|_| String::new());
    }
}

/// Restores the terminal, once. It takes no lock that another thread may hold: it may run inside a panic.
fn restore(undo: fn(&Screen) -> String) {
    let mut held = match HELD.try_lock() {
        Ok(held) => held,
        Err(TryLockError::Poisoned(held)) => held.into_inner(),
        Err(TryLockError::WouldBlock) => return,
    };
    let Some(held) = held.take() else {
        return;
    };
    // A terminal that is gone needs no restoring.
    let _ = tcsetattr(io::stdin(), OptionalActions::Now, &held.before);
    let undo = undo(&held.screen);
    let screen = match held.at_stderr {
        true => rustix::stdio::stderr(),
        false => rustix::stdio::stdout(),
    };
    if !undo.is_empty() && isatty(screen) {
        let _ = rustix::io::write(screen, undo.as_bytes());
    }
}

/// What the remote side had set, and a new line for what we have to say.
fn broken_off(screen: &Screen) -> String {
    screen.undo() + "\r\n"
}
