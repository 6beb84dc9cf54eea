//! With a real terminal: Ctrl-C, and a terminal on the other side.

use crate::support::{BOWLINE, Shared, Terminal};

/// It waits and starts nothing more: dash forgets a signal that comes just while it starts a program.
const TRAP: &str = "sleep 600 >/dev/null 2>&1 & p=$!; trap 'echo last words; kill $p; exit 9' INT; echo ready; wait";

#[test]
fn control_c_reaches_the_remote_and_its_last_words_arrive() {
    let sandbox = Shared::get();
    for options in [&["exec", "web"][..], &["exec", "-t", "web"]] {
        let words = [options, &["--", "sh", "-c", TRAP]].concat();
        let mut terminal = Terminal::bowline(&sandbox, &words);
        terminal.until("ready");
        terminal.press(b"\x03");
        let (status, text) = terminal.end();
        assert!(text.contains("last words"), "{options:?}: {text}");
        assert_eq!(status.code(), Some(9), "{options:?}: {text}");
    }
}

#[test]
fn control_c_ends_a_plain_command_with_130() {
    let sandbox = Shared::get();
    for options in [&["exec", "web"][..], &["exec", "-t", "web"]] {
        let words = [options, &["--", "sh", "-c", "echo ready; exec sleep 600"]].concat();
        let mut terminal = Terminal::bowline(&sandbox, &words);
        terminal.until("ready");
        terminal.press(b"\x03");
        let (status, text) = terminal.end();
        assert_eq!(status.code(), Some(130), "{options:?}: {text}");
    }
}

/// Output goes to a file, the keyboard is still ours: the framed engine under a real Ctrl-C.
#[test]
fn control_c_with_redirected_output_still_delivers_everything() {
    let sandbox = Shared::get();
    // The outer shell notes the interrupt and goes on, so that it can tell the code.
    let script = "trap : INT; \"$0\" exec web -- sh -c \"$1\" >out; echo code $?; cat out";
    let remote = "sleep 600 >/dev/null 2>&1 & p=$!; trap 'echo last words; kill $p; exit 9' INT; \
                  echo ready; echo ready >&2; wait";
    let mut terminal = Terminal::start(
        &sandbox,
        "/bin/sh",
        &["-c", &format!("cd; {script}"), BOWLINE, remote],
    );
    terminal.until("ready");
    terminal.press(b"\x03");
    let (_, text) = terminal.end();
    assert!(text.contains("code 9\r\n"), "{text}");
    assert!(text.contains("ready\r\nlast words\r\n"), "{text}");
}

#[test]
fn t_gives_the_remote_a_terminal_of_our_size() {
    let sandbox = Shared::get();
    let script = "test -t 0 && test -t 1 && test -t 2 && stty size; exit 7";
    let (status, text) =
        Terminal::bowline(&sandbox, &["exec", "-t", "web", "--", "sh", "-c", script]).end();
    assert!(text.contains("33 101\r\n"), "{text}");
    assert_eq!(status.code(), Some(7), "{text}");
}

#[test]
fn on_a_terminal_without_t_the_code_and_the_text_come_back() {
    let sandbox = Shared::get();
    let script = "echo out; echo err >&2; exit 7";
    let (status, text) =
        Terminal::bowline(&sandbox, &["exec", "web", "--", "sh", "-c", script]).end();
    assert!(text.contains("out\r\n"), "{text:?}");
    assert!(text.contains("err\r\n"), "{text:?}");
    assert!(
        !text.contains("^@") && !text.contains('\0'),
        "marks are left in {text:?}"
    );
    assert_eq!(status.code(), Some(7), "{text}");
}

/// Whatever happened, the terminal's modes are those it had before.
#[test]
fn the_terminal_is_given_back() {
    let sandbox = Shared::get();
    let script = "before=$(stty -g); \"$0\" exec -t web -- sh -c 'exit 3'; echo code $?; \
                  test \"$before\" = \"$(stty -g)\" && echo same modes";
    let (_, text) = Terminal::start(&sandbox, "/bin/sh", &["-c", script, BOWLINE]).end();
    assert!(text.contains("code 3\r\n"), "{text}");
    assert!(text.contains("same modes\r\n"), "{text}");
}

#[test]
fn typed_input_reaches_a_terminal_command() {
    let sandbox = Shared::get();
    let script = "echo name?; read name; echo hello $name";
    let mut terminal =
        Terminal::bowline(&sandbox, &["exec", "-t", "web", "--", "sh", "-c", script]);
    terminal.until("name?");
    terminal.press(b"ship\r");
    terminal.until("hello ship");
    let (status, text) = terminal.end();
    assert_eq!(status.code(), Some(0), "{text}");
}

#[test]
fn a_long_argv_arrives_whole_on_a_terminal_too() {
    let sandbox = Shared::get();
    let long = "x".repeat(20_000);
    let words = [
        "exec",
        "-t",
        "web",
        "--",
        "sh",
        "-c",
        "echo ${#1}; exit 6",
        "sh",
        &long,
    ];
    let (status, text) = Terminal::bowline(&sandbox, &words).end();
    assert!(text.contains("20000\r\n"), "{text}");
    assert!(!text.contains("xxxx"), "{text}");
    assert_eq!(status.code(), Some(6));
}
