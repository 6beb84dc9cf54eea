//! The remote command's words arrive as they were typed.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use crate::support::{Shared, run};

/// Prints each argument followed by a NUL, which no argument can hold.
const SHOW: &str = r#"for word; do printf '%s\0' "$word"; done"#;

#[track_caller]
fn assert_arrives(words: &[&OsStr]) {
    let sandbox = Shared::get();
    let mut command = sandbox.bowline(&["exec", "web", "--", "sh", "-c", SHOW, "sh"]);
    let mut expected = Vec::new();
    for word in words {
        expected.extend_from_slice(word.as_bytes());
        expected.push(0);
    }
    let finished = run(command.args(words)).code(0);
    assert!(
        finished.stdout == expected,
        "{} bytes came, {} expected",
        finished.stdout.len(),
        expected.len()
    );
}

#[track_caller]
fn assert_text_arrives(words: &[&str]) {
    assert_arrives(&words.iter().map(OsStr::new).collect::<Vec<_>>());
}

#[test]
fn awkward_words_arrive_byte_for_byte() {
    assert_text_arrives(&[
        "plain",
        "two words",
        "  edges  ",
        "",
        "it's",
        "say \"hi\"",
        r"back\slash \\ \n \",
        "line one\nline two\n",
        "\ttab\r",
        "$x ${HOME} $(id) `id`",
        "*",
        "?[a-z]",
        "~",
        "# not a comment",
        "a;b&c|d>e<f",
        "!history !!",
        "--",
        "-i",
        "%s%n",
        "日本語のテキスト",
        "emoji 🚢",
        "",
    ]);
}

#[test]
fn every_byte_but_nul_arrives() {
    let every: Vec<u8> = (1..=255).collect();
    assert_arrives(&[
        OsStr::from_bytes(&every),
        OsStr::from_bytes(b"\xff\xfe"),
        OsStr::new("after"),
    ]);
}

#[test]
fn more_than_four_kilobytes_arrive() {
    let long = "ab 'c' \"d\" \\ $e * 日本\n".repeat(300);
    assert_text_arrives(&["first", &long, "", "last"]);
}

#[test]
fn more_than_a_hundred_kilobytes_arrive() {
    let long = "0123456789".repeat(11_000);
    let many: Vec<OsString> = (0..500)
        .map(|n| OsString::from(format!("word {n}")))
        .collect();
    let mut words = vec![OsStr::new(&long), OsStr::new("")];
    words.extend(many.iter().map(OsString::as_os_str));
    assert_arrives(&words);
}

/// Sizes around every likely limit: a whole frame, the 4 KB of the request, a terminal's line.
#[test]
fn every_size_around_the_limits_arrives() {
    for size in [
        1023, 1024, 1025, 3000, 3500, 3800, 4000, 4094, 4095, 4096, 4097, 4500,
    ] {
        assert_text_arrives(&[&"'x".repeat(size / 2), "end"]);
    }
}

#[test]
fn options_of_the_remote_command_are_its_own() {
    let sandbox = Shared::get();
    run(&mut sandbox.bowline(&[
        "exec", "web", "--", "printf", "%s\n", "-o", "json", "--help",
    ]))
    .code(0)
    .stdout("-o\njson\n--help\n");
}

#[test]
fn a_command_without_dashes_is_refused_with_the_right_form() {
    let sandbox = Shared::get();
    run(&mut sandbox.bowline(&["exec", "web", "ls"]))
        .code(2)
        .stdout("")
        .stderr_has("bowline exec web -- ls");
}

#[test]
fn no_command_is_a_usage_error() {
    let sandbox = Shared::get();
    run(&mut sandbox.bowline(&["exec", "web"]))
        .code(2)
        .stdout("");
    run(&mut sandbox.bowline(&["exec", "web", "--"]))
        .code(2)
        .stdout("");
}
