//! With a real terminal: Ctrl-C, and a terminal on the other side.

use std::io::{Read as _, Write as _};
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Instant;

use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};

use crate::support::{BOWLINE, SOON, Sandbox, Shared, wait_for};

/// A program on a terminal of its own, killed when dropped.
struct Terminal {
    pty: std::sync::Arc<Pty>,
    child: Child,
    output: Receiver<Vec<u8>>,
    screen: Vec<u8>,
}

impl Terminal {
    fn start(sandbox: &Sandbox, program: &str, words: &[&str]) -> Self {
        let (pty, pts) = open().unwrap();
        pty.resize(Size::new(33, 101)).unwrap();
        let child = Command::new(program)
            .args(words)
            .env_clear()
            .envs(sandbox.environment())
            .env("TERM", "xterm-256color")
            .spawn(pts)
            .unwrap();
        let pty = std::sync::Arc::new(pty);
        let (sender, output) = sync_channel(1024);
        let reading = std::sync::Arc::clone(&pty);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The terminal answers with an error once its last user is gone.
            while let Ok(count @ 1..) = (&*reading).read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            pty,
            child,
            output,
            screen: Vec::new(),
        }
    }

    fn bowline(sandbox: &Sandbox, words: &[&str]) -> Self {
        Self::start(sandbox, BOWLINE, words)
    }

    fn press(&self, keys: &[u8]) {
        (&*self.pty).write_all(keys).unwrap();
    }

    /// Reads until this text is on the terminal.
    #[track_caller]
    fn until(&mut self, text: &str) {
        let deadline = Instant::now() + SOON;
        while !self.text().contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.screen.extend(bytes),
                Err(error) => panic!("no {text:?}: {error}; the terminal shows {:?}", self.text()),
            }
        }
    }

    /// Waits for the program's end and returns its status and all it showed.
    #[track_caller]
    fn end(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + SOON;
        while let Ok(bytes) = self
            .output
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            self.screen.extend(bytes);
        }
        let status = wait_for(&format!("the end; shown {:?}", self.text()), SOON, || {
            self.child.try_wait().unwrap()
        });
        (status, self.text())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.screen).into_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const TRAP: &str = "trap 'echo last words; exit 9' INT; echo ready; while :; do sleep 0.1; done";

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
    let remote = "trap 'echo last words; exit 9' INT; echo ready; echo ready >&2; while :; do sleep 0.1; done";
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
