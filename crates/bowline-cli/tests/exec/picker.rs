//! The picker on a real terminal, and what comes of it.

use std::process::Stdio;

use crate::support::{BOWLINE, Process, Sandbox, Terminal, run, signal};

/// What comes behind `bowline` on the same terminal.
const AROUND: &str = "before=$(stty -g); \"$0\" \"$@\"; echo code $?; \
                      test \"$before\" = \"$(stty -g)\" && echo same modes";

fn picker(sandbox: &Sandbox, words: &[&str], size: (u16, u16)) -> Terminal {
    let words = [&["-c", AROUND, BOWLINE], words].concat();
    Terminal::start_sized(sandbox, "/bin/sh", &words, size)
}

#[track_caller]
fn ends(terminal: Terminal, code: i32) -> String {
    let (_, text) = terminal.end();
    assert!(text.contains(&format!("code {code}\r\n")), "{text}");
    assert!(text.contains("same modes\r\n"), "{text}");
    text
}

/// The line that was offered instead of the picker.
#[track_caller]
fn offered(text: &str) -> String {
    let from = text
        .find(&format!("{BOWLINE} login"))
        .expect("a line is offered");
    let line = text[from..].split(['\r', '\n', '\x1b']).next().unwrap();
    line.to_owned()
}

#[test]
fn what_is_picked_opens_and_the_line_that_is_offered_opens_it_again() {
    let sandbox = Sandbox::start(&[]);
    let mut terminal = picker(&sandbox, &["login", "--pick"], (24, 80));
    terminal.until_begins("> demo ");
    terminal.press(b"app");
    let picture = terminal.until_begins("> demo/web/app");
    assert!(
        picture
            .iter()
            .any(|line| line.starts_with("exec     ready"))
    );
    // What is typed behind Enter is the shell's.
    terminal.press(b"\recho ear''ly; exit 3\r");
    terminal.until("early");
    let text = ends(terminal, 3);
    assert!(!text.contains("early\r\n> "), "the picker was gone by then");

    let line = format!("{}; echo code $?", offered(&text));
    let mut terminal = Terminal::start(&sandbox, "/bin/sh", &["-c", &line]);
    terminal.until("helps");
    terminal.press(b"exit 4\r");
    let (_, text) = terminal.end();
    assert!(text.contains("code 4\r\n"), "{text}");
}

#[test]
fn the_command_of_exec_gets_a_clean_stdout() {
    let sandbox = Sandbox::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let line = format!(
        "\"$0\" exec --query 'web !ap' -- printf 'a b' >{}; echo code $?",
        file.display()
    );
    let mut terminal = Terminal::start(&sandbox, "/bin/sh", &["-c", &line, BOWLINE]);
    terminal.until_shown(" 3 of 6");
    // Whatever was seen first: what is typed puts the cursor on the best match.
    terminal.press(b"p");
    terminal.until_begins("> web !app");
    terminal.press(b"\r");
    let (_, text) = terminal.end();
    assert!(text.contains("code 0\r\n"), "{text}");
    assert!(text.contains("demo/web -- printf 'a b'"), "{text}");
    assert_eq!(std::fs::read(file).unwrap(), b"a b");
}

#[test]
fn leaving_is_130_and_leaves_nothing_behind() {
    let sandbox = Sandbox::start(&[]);
    for keys in [&b"\x1b"[..], b"\x03", b"x\x07"] {
        let mut terminal = picker(&sandbox, &["login", "--pick"], (24, 80));
        terminal.until_begins("> demo ");
        terminal.press(keys);
        let shown = terminal.until_begins("same modes");
        let shown: Vec<&String> = shown.iter().filter(|line| !line.is_empty()).collect();
        assert_eq!(shown, ["code 130", "same modes"]);
        ends(terminal, 130);
    }
}

#[test]
fn a_signal_at_the_picker_gives_its_code_whatever_comes_of_the_pick() {
    let sandbox = Sandbox::start(&[]);
    let words = ["forward", "--pick", "0:8080"];
    let mut terminal = Terminal::bowline(&sandbox, &words);
    terminal.until_begins("> demo ");
    signal(terminal.pid(), "TERM");
    let (status, text) = terminal.end();
    assert_eq!(status.code(), Some(143), "{text}");
}

#[test]
fn a_signal_gives_the_terminal_back() {
    let sandbox = Sandbox::start(&[]);
    let mut terminal = picker(&sandbox, &["login", "--pick"], (24, 80));
    terminal.until_begins("> demo ");
    let bowline = Process::descendants(terminal.pid())[0].pid;
    signal(bowline, "TERM");
    ends(terminal, 143);
}

/// The picker took the signals, and is gone when the guard asks.
#[test]
fn a_question_after_the_picker_is_left_by_ctrl_c() {
    let sandbox = Sandbox::start(&[]);
    let home = sandbox.environment().find(|(name, _)| name == "HOME");
    let home = std::path::Path::new(&home.unwrap().1).join(".config/bowline");
    std::fs::create_dir_all(&home).unwrap();
    let guard = "[[guard]]\nname = 'production'\ncluster = 'demo'\nconfirm = 'yes'\n";
    std::fs::write(home.join("config.toml"), guard).unwrap();
    let words = ["exec", "--pick", "--", "echo", "inside"];
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let mut terminal = Terminal::bowline(&sandbox, &words);
        terminal.until_begins("> demo");
        terminal.press(b"app");
        terminal.until_begins("> demo/web/app");
        terminal.press(b"\r");
        terminal.until("go on? (yes or no)");
        match name {
            "INT" => terminal.press(b"\x03"),
            name => signal(terminal.pid(), name),
        }
        let (status, text) = terminal.end();
        assert_eq!(status.code(), Some(code), "{text}");
        assert!(!text.contains("inside\r\n"), "{text}");
    }
}

#[test]
fn a_narrow_window_and_one_that_changes_are_filled() {
    let sandbox = Sandbox::start(&[]);
    let mut terminal = picker(&sandbox, &["login", "--pick"], (10, 38));
    terminal.until_begins("> demo ");
    terminal.resize(30, 130);
    terminal.until_shown("│");
    let picture = terminal.until_begins("enter log in");
    let asked = picture.iter().filter(|line| line.starts_with("> demo"));
    assert_eq!(asked.count(), 1, "{picture:#?}");
    terminal.resize(12, 60);
    terminal.press(b"nothing");
    terminal.until_begins("> nothing");
    terminal.press(b"\x15\x1b");
    ends(terminal, 130);
}

/// From the last time there is something to show, even if nobody answers now.
#[test]
fn what_was_seen_last_is_shown_before_anybody_answers() {
    let sandbox = Sandbox::start(&[]);
    let mut terminal = picker(&sandbox, &["login", "--pick"], (24, 80));
    terminal.until_line("the whole of it", |line| line.ends_with("6 of 6"));
    terminal.press(b"\x1b");
    ends(terminal, 130);
    sandbox.kill();
    let mut terminal = picker(&sandbox, &["login", "--pick"], (24, 80));
    terminal.until_begins("> demo ");
    terminal.until_shown("not refreshed");
    terminal.press(b"web");
    terminal.until_begins("> demo/web ");
    terminal.press(b"\x1b");
    ends(terminal, 130);
}

#[test]
fn nobody_is_asked_where_nobody_is() {
    let sandbox = Sandbox::start(&[]);
    run(&mut sandbox.bowline(&["exec", "--pick", "--", "true"]))
        .code(2)
        .stderr_has("--pick needs a terminal");
    // Without a command there is help, as it was.
    run(sandbox.bowline(&[]).stdin(Stdio::null()))
        .code(2)
        .stderr_has("Usage: bowline");
    let words = ["-c", "CI=true \"$0\" login --pick; echo code $?", BOWLINE];
    let (_, text) = Terminal::start(&sandbox, "/bin/sh", &words).end();
    assert!(text.contains("--pick needs a terminal"), "{text}");
    assert!(text.contains("code 2\r\n"), "{text}");
}

/// With one service there is no question.
#[test]
fn bowline_alone_opens_the_only_thing_there_is() {
    let sandbox = Sandbox::start(&[]);
    let mut terminal = picker(&sandbox, &[], (24, 80));
    terminal.until("helps");
    terminal.press(b"exit 5\r");
    ends(terminal, 5);
}
