//! `run --rm -it`: a task for a shell, gone with it.

use crate::control::{running, sandbox};
use crate::support::{LATER, Sandbox, Terminal, signal, wait_for};

#[track_caller]
fn none_left(sandbox: &Sandbox) {
    wait_for("no task", LATER, || {
        running(sandbox, "job").is_empty().then_some(())
    });
}

#[test]
fn a_shell_in_a_task_of_its_own_ends_with_it() {
    let sandbox = sandbox(&[]);
    let mut terminal = Terminal::bowline(&sandbox, &["run", "family:job", "--rm", "-it"]);
    terminal.until("leaves, ~? helps");
    terminal.press(b"echo in $((40+2)); exit 7\r");
    terminal.until("in 42");
    let (status, text) = terminal.end();
    assert_eq!(status.code(), Some(7), "{text}");
    assert!(text.contains("is being stopped"), "{text}");
    none_left(&sandbox);

    let words = [
        "run",
        "family:job",
        "--rm",
        "-it",
        "--",
        "sh",
        "-c",
        "test -t 0 && echo a terminal; exit 3",
    ];
    let (status, text) = Terminal::bowline(&sandbox, &words).end();
    assert_eq!(status.code(), Some(3), "{text}");
    assert!(text.contains("a terminal\r\n"), "{text}");
    none_left(&sandbox);
}

#[test]
fn ctrl_c_a_signal_and_a_lost_terminal_take_the_task_along() {
    let sandbox = sandbox(&["--agent-pending", "600s"]);
    // The agent never comes up, so Ctrl-C is still ours.
    let mut terminal = Terminal::bowline(&sandbox, &["run", "family:job", "--rm", "-it"]);
    terminal.until("waiting for container job");
    terminal.press(b"\x03");
    let (status, text) = terminal.end();
    assert_eq!(status.code(), Some(130), "{text}");
    none_left(&sandbox);
    for name in ["TERM", "HUP"] {
        let mut terminal = Terminal::bowline(&sandbox, &["run", "family:job", "--rm", "-it"]);
        terminal.until("waiting for container job");
        signal(terminal.pid(), name);
        let (_, text) = terminal.end();
        assert!(text.contains("is being stopped"), "{text}");
        none_left(&sandbox);
    }
}
