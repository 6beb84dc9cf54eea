//! Recordings that the configuration asks for.

use std::fs;

use crate::configured;
use crate::support::{Shared, run};

#[test]
fn what_must_be_recorded_and_cannot_be_is_refused() {
    let sandbox = Shared::get();
    let text = "[record]\nalways = true\ndir = '/dev/null/recordings'\n";
    let words = ["exec", "web", "--", "touch", "was-run"];
    let (_folder, mut command) = configured(&sandbox, text, &words);
    let refused = run(&mut command).code(125);
    assert!(
        refused.stderr.contains("no session without its recording"),
        "{}",
        refused.stderr
    );
    let words = ["exec", "web", "--", "ls", "was-run"];
    run(&mut sandbox.bowline(&words)).code(2);
    // Nor is anything stopped, started or copied.
    for words in [
        &["stop", "task:00000000", "--yes"][..],
        &["run", "family:job", "--like", "web"],
        &["cp", "web:/etc/hostname", "copied"],
    ] {
        let (_folder, mut command) = configured(&sandbox, text, words);
        run(&mut command).code(125).stderr_has("cannot be written");
    }
}

#[test]
fn a_session_whose_recording_breaks_is_ended() {
    let sandbox = Shared::get();
    // The limit is the kernel's: a write beyond it fails as on a full disk.
    let text = "[record]\nalways = true\n";
    let script = "i=0; while :; do echo line $i with some words in it; i=$((i+1)); done";
    let limited = "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\"";
    let (folder, command) = configured(&sandbox, text, &[]);
    let mut shell = sandbox.command("sh");
    shell.args(["-c", limited]).arg(command.get_program());
    shell.args(["exec", "web", "--", "sh", "-c", script]);
    shell.env("BOWLINE_CONFIG", folder.path().join("config.toml"));
    shell.env("XDG_STATE_HOME", folder.path());
    let ended = run(&mut shell).code(125);
    assert!(
        ended.stderr.contains("no session without its recording"),
        "{}",
        ended.stderr
    );
    // Without force it goes on, and that is said, then or in the end.
    shell = sandbox.command("sh");
    shell.args(["-c", limited]).arg(command.get_program());
    let short = script.replace("while :", "while [ $i -lt 3000 ]");
    shell.args(["exec", "--record", "web", "--", "sh", "-c", &short]);
    shell.env("XDG_STATE_HOME", folder.path());
    let ended = run(&mut shell).code(0);
    assert!(
        ended.stderr.contains("cannot be written"),
        "{}",
        ended.stderr
    );
    assert!(ended.stdout.ends_with(b"line 2999 with some words in it\n"));
}

#[test]
fn a_project_can_ask_for_recordings_and_cannot_say_where_they_go() {
    let sandbox = Shared::get();
    let (folder, _) = configured(&sandbox, "", &[]);
    let project = folder.path().join(".bowline.toml");
    let exec = |text: &str| {
        fs::write(&project, text).unwrap();
        let mut command = sandbox.bowline(&["exec", "web", "--", "echo", "order-1234"]);
        command.current_dir(folder.path());
        command.env("XDG_STATE_HOME", folder.path());
        run(&mut command)
    };
    for text in [
        "dir = '/tmp'",
        "copy = ['s3://bucket']",
        "input = true",
        "redact = ['(']",
    ] {
        exec(&format!("[record]\n{text}\n")).code(2);
    }
    exec("[record]\nalways = true\nredact = ['order-(?P<secret>[0-9]+)']\n").code(0);
    let recordings = folder.path().join("bowline/recordings");
    let files: Vec<_> = fs::read_dir(recordings).unwrap().collect();
    let text = fs::read_to_string(files[0].as_ref().unwrap().path()).unwrap();
    assert!(text.contains("order-[redacted:configured-1]"), "{text}");
    assert!(text.contains(".bowline.toml:1"), "{text}");
}
