//! A shell on a real terminal, and the terminal afterwards.

use std::process::Stdio;

use sha2::{Digest, Sha256};

use crate::support::{
    BOWLINE, Process, SOON, Sandbox, Shared, Terminal, has_program, run, signal, wait_for,
};

/// What comes behind a login on the same terminal. The texts that are waited for are written so that the echo of what
/// is typed is not taken for them.
const AROUND: &str = "before=$(stty -g); \"$0\" \"$@\"; echo code $?; \
                      test \"$before\" = \"$(stty -g)\" && echo same modes";

/// A login between two looks at the terminal's modes, ready for keys.
fn login(sandbox: &Sandbox, options: &[&str]) -> Terminal {
    let words = [&["-c", AROUND, BOWLINE, "login", "web"], options].concat();
    let mut terminal = Terminal::start(sandbox, "/bin/sh", &words);
    terminal.until("helps");
    terminal.press(b"echo shell is ''up\r");
    terminal.until("shell is up");
    terminal
}

#[track_caller]
fn ends(terminal: Terminal, code: i32) -> String {
    let (_, text) = terminal.end();
    assert!(text.contains(&format!("code {code}\r\n")), "{text}");
    assert!(text.contains("same modes\r\n"), "{text}");
    text
}

/// The `bowline` behind [`AROUND`].
fn bowline(terminal: &Terminal) -> u32 {
    Process::descendants(terminal.pid())[0].pid
}

#[test]
fn a_login_is_a_shell_of_our_size_and_its_code_is_ours() {
    let sandbox = Shared::get();
    for code in [0, 3, 130] {
        let mut terminal = login(&sandbox, &[]);
        terminal.press(b"stty size\r");
        terminal.until("33 101\r\n");
        terminal.press(format!("exit {code}\r").as_bytes());
        ends(terminal, code);
    }
}

#[test]
fn the_window_size_follows() {
    let sandbox = Shared::get();
    let mut terminal = login(&sandbox, &[]);
    terminal.resize(20, 70);
    terminal.press(
        b"until [ \"$(stty size)\" = '20 70' ]; do sleep 0.05; done; echo re''sized; exit\r",
    );
    terminal.until("resized");
    ends(terminal, 0);
}

#[test]
fn control_c_and_z_belong_to_the_shell() {
    let sandbox = Shared::get();
    let mut terminal = login(&sandbox, &[]);
    // It is the program that says so: a key that comes before it has the terminal is the shell's own.
    terminal.press(b"sh -c 'echo sl\"\"eeps; exec sleep 600'\r");
    terminal.until("sleeps\r\n");
    terminal.press(b"\x03");
    terminal.press(b"echo co''de-$?; sh -c 'echo do\"\"zes; exec sleep 600'\r");
    terminal.until("code-130\r\n");
    terminal.until("dozes\r\n");
    terminal.press(b"\x1a");
    terminal.until("Stopped");
    // The first exit warns, and the second is meant.
    terminal.press(b"exit 4\r");
    terminal.until("stopped jobs");
    terminal.press(b"exit 4\r");
    ends(terminal, 4);
}

#[test]
fn keys_typed_before_the_shell_is_up_are_not_lost() {
    let sandbox = Sandbox::start(&["--agent-pending", "2s"]);
    let words = ["-c", AROUND, BOWLINE, "login", "web"];
    let mut terminal = Terminal::start(&sandbox, "/bin/sh", &words);
    terminal.press(b"echo ear''liest\r");
    terminal.until("waiting for container");
    terminal.press(b"echo ea''rly; exit 5\r");
    terminal.until("earliest");
    terminal.until("early");
    ends(terminal, 5);
}

/// Nobody is at the other side yet, so it can only be meant for us.
#[test]
fn control_c_before_the_shell_is_up_leaves() {
    let sandbox = Sandbox::start(&["--agent-pending", "60s"]);
    let words = ["-c", AROUND, BOWLINE, "login", "web"];
    let mut terminal = Terminal::start(&sandbox, "/bin/sh", &words);
    terminal.until("waiting for container");
    // The outer shell gets it too, waits for its child and would then end: only the child is interrupted.
    signal(bowline(&terminal), "INT");
    ends(terminal, 130);
}

#[test]
fn japanese_passes_both_ways() {
    let sandbox = Shared::get();
    let mut terminal = login(&sandbox, &[]);
    terminal.press("echo 日本''語の端末; exit\r".as_bytes());
    terminal.until("日本語の端末");
    ends(terminal, 0);
}

#[test]
fn a_large_paste_arrives_whole() {
    let sandbox = Shared::get();
    let mut terminal = login(&sandbox, &[]);
    let lines: Vec<String> = (0..2500).map(|n| format!("{n:0>79}\n")).collect();
    let text = lines.concat();
    assert_eq!(text.len(), 200_000);
    let digest = hex::encode(Sha256::digest(&text));
    terminal.press(b"echo paste''now; cat >pasted; sha256sum pasted; rm pasted; exit\r");
    // Before that the line editor of the shell would take some of it.
    terminal.until("pastenow");
    // As a terminal pastes: Enter for each line.
    terminal.press(text.replace('\n', "\r").as_bytes());
    terminal.press(b"\x04");
    terminal.until(&digest);
    ends(terminal, 0);
}

#[test]
fn escapes_help_are_sent_doubled_and_leave() {
    let sandbox = Shared::get();
    let mut terminal = login(&sandbox, &[]);
    terminal.press(b"~?");
    terminal.until("leave; the session is ended");
    // A line that is typed while the shell still edits would not be one for cat.
    terminal.press(b"echo rea''ds; cat\r");
    terminal.until("reads");
    terminal.press(b"~~.\r");
    terminal.until("~.\r\n~.\r\n");
    terminal.press(b"~.");
    let text = ends(terminal, 130);
    assert!(text.contains("left demo/web/app"), "{text}");
}

#[test]
fn another_escape_character_and_none() {
    let sandbox = Shared::get();
    let terminal = login_with_banner(&sandbox, "^]", "^]. leaves");
    terminal.press(b"\x1d.");
    ends(terminal, 130);
    let mut terminal = login_with_banner(&sandbox, "none", "(demo)");
    terminal.press(b"echo rea''ds; cat\r");
    terminal.until("reads");
    terminal.press(b"~.\r");
    terminal.until("~.\r\n~.\r\n");
    terminal.press(b"\x04exit\r");
    ends(terminal, 0);
}

fn login_with_banner(sandbox: &Sandbox, escape: &str, banner: &str) -> Terminal {
    let words = [
        "-c",
        AROUND,
        BOWLINE,
        "login",
        "web",
        "--escape-char",
        escape,
    ];
    let mut terminal = Terminal::start(sandbox, "/bin/sh", &words);
    terminal.until(banner);
    terminal.press(b"echo shell is ''up\r");
    terminal.until("shell is up");
    terminal
}

#[test]
fn a_remote_that_hangs_can_be_left() {
    let sandbox = Sandbox::start(&[]);
    let terminal = login(&sandbox, &[]);
    signal(sandbox.pid(), "STOP");
    terminal.press(b"nobody reads this\r");
    terminal.press(b"~.");
    ends(terminal, 130);
}

/// A program on the other side that had the whole screen does not keep it.
#[test]
fn the_terminal_is_given_back_when_the_service_dies() {
    let sandbox = Sandbox::start(&[]);
    let mut terminal = login(&sandbox, &["--reconnect-for", "0"]);
    terminal.press(b"printf '\\033[?1049h\\033[?25l'; echo full ''screen\r");
    terminal.until("full screen");
    sandbox.kill();
    let text = ends(terminal, 125);
    let (_, after) = text.rsplit_once("full screen").unwrap();
    let (undone, said) = after.split_once("error: ").unwrap();
    for sequence in ["\x1b[?25h", "\x1b[?1049l"] {
        assert!(undone.contains(sequence), "{text:?}");
    }
    assert!(said.contains("demo/web/app is out of reach"), "{text:?}");
}

#[test]
fn the_terminal_is_given_back_at_sigterm() {
    let sandbox = Shared::get();
    let terminal = login(&sandbox, &[]);
    signal(bowline(&terminal), "TERM");
    ends(terminal, 143);
}

#[test]
fn the_terminal_is_given_back_after_a_panic() {
    let sandbox = Sandbox::start(&[]);
    let script = format!("export BOWLINE_TEST_PANIC=1; {AROUND}");
    let words = ["-c", &script, BOWLINE, "login", "web"];
    let text = ends(Terminal::start(&sandbox, "/bin/sh", &words), 101);
    // Lines that begin where lines begin.
    assert!(
        text.contains(":\r\nasked for by BOWLINE_TEST_PANIC\r\n"),
        "{text:?}"
    );
}

#[test]
fn the_end_of_the_task_is_told() {
    let sandbox = Sandbox::start(&[]);
    let terminal = login(&sandbox, &[]);
    for process in Process::descendants(sandbox.pid()) {
        let words = std::fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
        if words.starts_with(b"bowline-demo-web") {
            signal(process.pid, "KILL");
        }
    }
    let text = ends(terminal, 125);
    assert!(
        text.contains("Essential container in task exited"),
        "{text}"
    );
}

#[test]
fn the_shell_the_directory_and_variables_can_be_chosen() {
    let sandbox = Shared::get();
    let options = [
        "--shell",
        "/bin/sh",
        "--cwd",
        "/usr",
        "--env",
        "d=a 'b'",
        "--env",
        "PS1=ready> ",
    ];
    let mut terminal = login(&sandbox, &options);
    terminal.press(b"echo \"$0 $d $PWD\"; exit\r");
    terminal.until("/bin/sh a 'b' /usr");
    let text = ends(terminal, 0);
    assert!(text.contains("ready> "), "{text}");
}

/// Each with nothing but its own tools.
#[test]
fn every_image_with_a_shell_can_be_logged_in_to() {
    for (image, shell) in [("dash", "sh"), ("bash", "bash"), ("busybox", "ash")] {
        if !has_program(image) {
            continue;
        }
        let sandbox = Sandbox::start(&["--scenario", image]);
        let mut terminal = login(&sandbox, &[]);
        // What is heard of comes from the command that has the terminal, so that Ctrl-C is for it.
        terminal.press(b"echo \"<${0##*/}>\"; sh -c 'echo in ''front; exec sleep 600'\r");
        terminal.until(&format!("<{shell}>\r\n"));
        terminal.until("in front\r\n");
        terminal.press(b"\x03");
        terminal.press(b"exit 9\r");
        ends(terminal, 9);
    }
}

#[test]
fn what_is_missing_in_the_container_is_named() {
    let sandbox = Shared::get();
    for (options, code, said) in [
        (["--cwd", "/no/such"], 125, "there is no directory /no/such"),
        (
            ["--user", "nobody-here"],
            125,
            "there is no user nobody-here",
        ),
        (["--shell", "nosh"], 127, "there is no nosh"),
    ] {
        let words = [&["-c", AROUND, BOWLINE, "login", "web"], &options[..]].concat();
        let text = ends(Terminal::start(&sandbox, "/bin/sh", &words), code);
        assert!(text.contains(said), "{text}");
    }
}

#[test]
fn the_banner_is_dim_unless_colours_are_unwanted() {
    let sandbox = Shared::get();
    for (script, dim) in [("", true), ("export NO_COLOR=1;", false)] {
        let script = format!("{script}{AROUND}");
        let words = ["-c", &script, BOWLINE, "login", "web"];
        let mut terminal = Terminal::start(&sandbox, "/bin/sh", &words);
        terminal.press(b"exit\r");
        terminal.until("code 0");
        let text = ends(terminal, 0);
        assert!(text.contains("web/app in task "), "{text:?}");
        assert_eq!(text.contains("\x1b[2mweb/app"), dim, "{text:?}");
    }
}

#[test]
fn without_a_terminal_nothing_is_started() {
    let sandbox = Shared::get();
    run(sandbox.bowline(&["login", "web"]).stdin(Stdio::null()))
        .code(2)
        .stdout("")
        .stderr_has("bowline exec -i web -- sh");
}

#[test]
fn a_private_sandbox_can_be_logged_in_to_and_goes_with_the_login() {
    let sandbox = Shared::get();
    let words = ["-c", AROUND, BOWLINE, "--sandbox", "login", "web"];
    let mut terminal = Terminal::start(&sandbox, "/bin/sh", &words);
    terminal.until("helps");
    terminal.press(b"echo shell is ''up\r");
    terminal.until("shell is up");
    let started = Process::descendants(bowline(&terminal));
    assert!(!started.is_empty());
    terminal.press(b"exit 6\r");
    ends(terminal, 6);
    for process in started {
        wait_for("an end of all processes", SOON, || {
            (!process.is_running()).then_some(())
        });
    }
}

#[test]
fn a_shell_through_ssm_opens_and_its_unknown_code_is_said() {
    let sandbox = Shared::get();
    let mut terminal = login(&sandbox, &["--via", "ssm"]);
    terminal.press(b"exit\r");
    terminal.until("cannot be learned with --via ssm");
    ends(terminal, 125);
}
