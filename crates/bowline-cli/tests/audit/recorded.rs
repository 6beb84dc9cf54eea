//! What is in recordings, that no change to them passes, and that they can be replayed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::Folder;
use crate::support::{LATER, Running, Sandbox, Shared, Terminal, run, run_with, wait_for};

/// The lines of a recording of JSON.
fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[track_caller]
fn verified(sandbox: &Sandbox, path: &Path, code: i32) -> String {
    let path = path.to_str().unwrap();
    let finished = run(&mut sandbox.bowline(&["record", "verify", path])).code(code);
    String::from_utf8(finished.stdout).unwrap()
}

#[test]
fn an_exec_is_recorded_with_who_where_what_and_its_end_and_without_secrets() {
    let sandbox = Shared::get();
    let folder = Folder::new();
    let script = "echo key AKIAIOSFODNN7EXAMPLE; printf '\\377\\000' >&2; exit 7";
    let words = [
        "exec",
        "--record",
        &folder.option,
        "demo/web/app",
        "--",
        "sh",
        "-c",
        script,
    ];
    let finished = run(&mut sandbox.bowline(&words)).code(7);
    assert_eq!(finished.stdout, b"key AKIAIOSFODNN7EXAMPLE\n");
    let path = folder.only();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains("AKIAIOSFODNN7EXAMPLE"), "{text}");
    let lines = lines(&path);
    let start = &lines[0];
    assert_eq!(
        start["caller"]["arn"],
        "arn:aws:iam::123456789012:user/sandbox"
    );
    assert_eq!(start["account"], "123456789012");
    assert_eq!(start["target"]["service"], "web");
    assert_eq!(start["argv"][0], "sh");
    let of = |kind: &str| lines.iter().find(|line| line["type"] == kind).unwrap();
    assert_eq!(of("stdout")["text"], "key [redacted:aws-key-id]\n");
    assert_eq!(of("stderr")["base64"], "/wA=");
    let end = of("end");
    assert_eq!(
        (&end["code"], &end["origin"]),
        (&7.into(), &"remote".into())
    );
    // Of what is in the file: a digest of what was taken out would let it be guessed.
    let written = b"key [redacted:aws-key-id]\n";
    assert_eq!(end["stdout"]["sha256"], hex_of(written));
    assert_eq!(end["stdout"]["bytes"], written.len());
    assert_eq!(end["stdout"]["redacted"], 20);
    assert!(verified(&sandbox, &path, 0).contains("whole"));
    let played = run(&mut sandbox.bowline(&["record", "play", path.to_str().unwrap()])).code(0);
    assert_eq!(played.stdout, b"key [redacted:aws-key-id]\n");
}

fn hex_of(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(Sha256::digest(bytes))
}

#[test]
fn a_flipped_byte_a_removed_line_a_swapped_pair_and_a_cut_tail_show() {
    let sandbox = Shared::get();
    let folder = Folder::new();
    let words = [
        "exec",
        "--record",
        &folder.option,
        "web",
        "--",
        "sh",
        "-c",
        "echo a; echo b >&2",
    ];
    run(&mut sandbox.bowline(&words)).code(0);
    let path = folder.only();
    let right = fs::read(&path).unwrap();
    let lines: Vec<&[u8]> = right.split_inclusive(|byte| *byte == b'\n').collect();
    let changed = path.with_extension("changed");
    let mut flipped = right.clone();
    flipped[right.len() / 2] ^= 1;
    let mut swapped = lines.clone();
    swapped.swap(1, 2);
    let mut removed = lines.clone();
    removed.remove(2);
    for (wrong, says) in [
        (flipped, "changed: at line"),
        (swapped.concat(), "changed: at line 2"),
        (removed.concat(), "changed: at line 3"),
        (lines[..lines.len() - 1].concat(), "unfinished"),
        (right[..right.len() - 5].to_vec(), "unfinished"),
        (lines[..2].concat(), "unfinished"),
    ] {
        fs::write(&changed, wrong).unwrap();
        let said = verified(&sandbox, &changed, 4);
        assert!(said.contains(says), "{says}: {said}");
    }
    // Somebody who writes all of it anew is found by the seal that was noted.
    let seal = verified(&sandbox, &path, 0);
    let seal = seal.trim().rsplit(' ').next().unwrap();
    let named = path.to_str().unwrap();
    run(&mut sandbox.bowline(&["record", "verify", named, "--seal", seal])).code(0);
    let other = "0".repeat(64);
    run(&mut sandbox.bowline(&["record", "verify", named, "--seal", &other])).code(4);
}

#[test]
fn an_editor_in_a_login_is_replayed_on_a_terminal() {
    let sandbox = Shared::get();
    let folder = Folder::new();
    let mut login = Terminal::bowline(
        &sandbox,
        &["login", "--record", &folder.option, "web", "--shell", "sh"],
    );
    login.until("helps");
    login.press(b"PS1='in''side '\r");
    login.until_line("the prompt", |line| line.ends_with("inside"));
    // What a full-screen program does: another screen, words here and there, and back.
    login.press(b"printf '\\033[?1049h\\033[2J\\033[5;10Hthe %s\\033[9;3Hof it' editor; sleep 1; printf '\\033[?1049l'; echo do''ne; exit 5\r");
    login.until("done");
    let (status, _) = login.end();
    assert_eq!(status.code(), Some(5));
    let path = folder.only();
    assert!(verified(&sandbox, &path, 0).contains("whole"));
    let path = path.to_str().unwrap();

    let mut play = Terminal::bowline(&sandbox, &["record", "play", path, "--speed", "0.5"]);
    let picture = play.until_line("the editor", |line| line == "         the editor");
    assert_eq!(picture[8].trim_end(), "  of it");
    let (status, _) = play.end();
    assert_eq!(status.code(), Some(0));

    // Other programs can read it: every line is an event or a comment, the first is a header of version 3.
    let text = fs::read_to_string(path).unwrap();
    let header: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(header["version"], 3);
    for line in text.lines().skip(1).filter(|line| !line.starts_with('#')) {
        let _: (f64, String, String) = serde_json::from_str(line).unwrap();
    }
    let shown = run(&mut sandbox.bowline(&["record", "export", path])).code(0);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains("\ndone") && !shown.contains("\x1b"),
        "{shown}"
    );
    let second = run(&mut sandbox.bowline(&["record", "export", path, "--form", "v2"])).code(0);
    let header = second.stdout.split(|byte| *byte == b'\n').next().unwrap();
    let header: Value = serde_json::from_slice(header).unwrap();
    assert_eq!(
        (&header["version"], &header["width"]),
        (&2.into(), &101.into())
    );
}

#[test]
fn what_is_typed_is_recorded_only_when_that_is_asked_for() {
    let sandbox = Shared::get();
    for (more, expected) in [(None, false), (Some("--record-input"), true)] {
        let folder = Folder::new();
        let words = [
            "exec",
            "--record",
            &folder.option,
            "-i",
            "web",
            "--",
            "wc",
            "-c",
        ];
        let mut command = sandbox.bowline(&words[..3]);
        command.args(more).args(&words[3..]);
        run_with(&mut command, b"typed text\n".to_vec(), LATER).code(0);
        let text = fs::read_to_string(folder.only()).unwrap();
        assert_eq!(text.contains("typed text"), expected, "{text}");
    }
}

#[test]
fn a_killed_bowline_leaves_what_can_be_read_and_is_called_unfinished() {
    let sandbox = Shared::get();
    let folder = Folder::new();
    let words = [
        "exec",
        "--record",
        &folder.option,
        "web",
        "--",
        "sh",
        "-c",
        "echo seen; sleep 1000",
    ];
    let mut running = Running::start_lines(&mut sandbox.bowline(&words));
    running.line();
    let path = folder.only();
    wait_for("the line in the recording", LATER, || {
        fs::read_to_string(&path)
            .unwrap()
            .contains("seen\\n")
            .then_some(())
    });
    running.signal("KILL");
    running.wait(LATER);
    assert!(verified(&sandbox, &path, 4).contains("unfinished"));
    let played = run(&mut sandbox.bowline(&["record", "play", path.to_str().unwrap()])).code(0);
    assert_eq!(played.stdout, b"seen\n");
}

#[test]
fn one_that_is_left_is_whole_and_says_so() {
    let sandbox = Shared::get();
    let folder = Folder::new();
    let words = [
        "exec",
        "--record",
        &folder.option,
        "web",
        "--",
        "sh",
        "-c",
        "echo seen; sleep 1000",
    ];
    let mut running = Running::start_lines(&mut sandbox.bowline(&words));
    running.line();
    running.signal("TERM");
    running.finish(LATER).code(143);
    let path = folder.only();
    assert!(verified(&sandbox, &path, 0).contains("whole"));
    let end = lines(&path)
        .into_iter()
        .find(|line| line["type"] == "end")
        .unwrap();
    assert_eq!(end["origin"], "bowline");
    assert!(
        end["reason"].as_str().unwrap().contains("was left"),
        "{end}"
    );
}

#[test]
fn a_run_a_script_and_a_stop_are_recorded_and_listed() {
    let sandbox = Sandbox::start(&[]);
    let folder = Folder::new();
    let script = folder.folder.path().join("check.sh");
    fs::write(&script, "echo from the script\n").unwrap();
    let script = script.to_str().unwrap();
    for (words, code) in [
        (&["run", "family:job", "--like", "web"][..], 0),
        (&["script", "web", script], 0),
        (&["stop", "no-such-task", "--yes"], 3),
    ] {
        let mut command = sandbox.bowline(words);
        run(command.args(["--record", &folder.option])).code(code);
    }
    let listed = run(&mut sandbox.bowline(&["record", "ls", &folder.option, "-o", "json"])).code(0);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let mut verbs: Vec<(&str, &Value)> = listed["recordings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["start"]["verb"].as_str().unwrap(), &one["end"]["code"]))
        .collect();
    verbs.sort_by_key(|(verb, _)| *verb);
    let zero = Value::from(0);
    assert_eq!(
        verbs,
        [("run", &zero), ("script", &zero), ("stop", &Value::Null)]
    );
    run(&mut sandbox.bowline(&["ls", "--record"]))
        .code(2)
        .stderr_has("is not recorded");
}

#[test]
fn each_of_many_targets_has_a_recording_of_its_own() {
    let sandbox = Sandbox::start(&[]);
    let folder = Folder::new();
    let words = [
        "exec",
        "--all",
        "--record",
        &folder.option,
        "web",
        "--",
        "hostname",
    ];
    run(&mut sandbox.bowline(&words)).code(0);
    let tasks: std::collections::BTreeSet<String> = folder
        .files()
        .iter()
        .map(|path| lines(path)[0]["target"]["task"].to_string())
        .collect();
    assert_eq!((folder.files().len(), tasks.len()), (2, 2));
}

#[test]
fn a_recording_does_not_slow_a_session_and_loses_nothing_of_it() {
    let sandbox = Shared::get();
    let folder = Folder::new();
    let script =
        "i=0; while [ $i -lt 40000 ]; do echo line $i with some words in it; i=$((i+1)); done";
    let plain = ["exec", "web", "--", "sh", "-c", script];
    let without = run_with(&mut sandbox.bowline(&plain), Vec::new(), LATER).code(0);
    let words = [
        "exec",
        "--record",
        &folder.option,
        "web",
        "--",
        "sh",
        "-c",
        script,
    ];
    let with = run_with(&mut sandbox.bowline(&words), Vec::new(), LATER).code(0);
    assert!(with.stdout == without.stdout);
    let recorded: String = lines(&folder.only())
        .iter()
        .filter(|line| line["type"] == "stdout")
        .filter_map(|line| line["text"].as_str())
        .collect();
    assert!(recorded.as_bytes() == with.stdout);
    // Generous: other programs run beside it. Waiting for the disk at every piece would be far more.
    assert!(
        with.took < without.took * 3 + SLACK,
        "{:?} {:?}",
        with.took,
        without.took
    );
}

const SLACK: std::time::Duration = std::time::Duration::from_secs(5);
