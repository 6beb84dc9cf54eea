//! The same in images with each shell and without tools: what is copied is right, whatever it is carried by.

use std::fs;

use tempfile::TempDir;

use crate::support::{LATER, Running, Sandbox, has_program};
use crate::tree::{assert_no_parts, assert_same, fill};

/// Up, down and through streams.
#[track_caller]
fn copies(scenario: &str) {
    let sandbox = Sandbox::start(&["--scenario", scenario]);
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let path = folder.path().to_str().unwrap();
    fill(&at("a"));
    let bowline = |words: &[&str]| {
        let finished = Running::start(&mut sandbox.bowline(words)).finish(LATER);
        let said = format!("{scenario}: {}", finished.stderr);
        assert!(finished.status.success(), "{said}");
        finished
    };
    bowline(&["cp", &format!("web:{path}/a"), &format!("{path}/b")]);
    assert_same(&at("a"), &at("b"));
    bowline(&["cp", &format!("{path}/b"), &format!("web:{path}/c")]);
    assert_same(&at("a"), &at("c"));
    bowline(&[
        "cp",
        &format!("{path}/a/sub/text"),
        &format!("web:{path}/d"),
    ]);
    let content = fs::read(at("d")).unwrap();
    assert!(content == fs::read(at("a/sub/text")).unwrap());
    bowline(&["cp", &format!("web:{path}/d"), "-"]).stdout(content);
    assert_no_parts(folder.path());
}

#[test]
fn each_shell_copies() {
    for shell in ["dash", "bash", "busybox"] {
        if has_program(shell) {
            copies(shell);
        }
    }
}

#[test]
fn a_missing_tool_changes_nothing_that_is_seen() {
    for without in [
        "-tar -gzip",
        "-base64 -stat",
        "-find -readlink -dd",
        "-sha256sum -openssl -python3 -perl",
    ] {
        copies(&format!("tools={without}"));
    }
}

#[test]
fn od_alone_and_the_shell_itself_are_enough() {
    copies("tools=-base64 -openssl -python3 -perl -tar");
}

#[test]
fn without_stty_what_is_sent_survives_the_terminal() {
    copies("no-stty");
}
