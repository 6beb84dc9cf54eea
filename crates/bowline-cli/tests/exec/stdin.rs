//! `-i`: our standard input, byte for byte, with its end.

use std::process::Stdio;

use crate::support::{BOWLINE, LATER, SOON, Shared, run, run_with};

#[test]
fn binary_input_and_the_code_come_back() {
    let sandbox = Shared::get();
    let mut command = sandbox.bowline(&["exec", "-i", "web", "--", "sh", "-c", "cat; exit 3"]);
    run_with(&mut command, b"a\0b\xff".to_vec(), SOON)
        .code(3)
        .stdout(b"a\0b\xff");
}

#[test]
fn every_byte_value_survives() {
    let sandbox = Shared::get();
    let every: Vec<u8> = (0..=255).cycle().take(256 * 40).collect();
    let mut command = sandbox.bowline(&["exec", "-i", "web", "--", "cat"]);
    run_with(&mut command, every.clone(), SOON)
        .code(0)
        .stdout(every);
}

#[test]
fn five_megabytes_through_cat_are_identical() {
    let sandbox = Shared::get();
    // xorshift: no two neighbouring blocks alike, the same file in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let file: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .take(5_000_000 / 8)
    .flatten()
    .collect();
    let mut command = sandbox.bowline(&["exec", "-i", "web", "--", "cat"]);
    let finished = run_with(&mut command, file.clone(), LATER).code(0);
    assert_eq!(finished.stdout.len(), file.len());
    assert!(finished.stdout == file, "the bytes differ");
}

#[test]
fn an_empty_a_null_and_a_closed_input_do_not_hang() {
    let sandbox = Shared::get();
    let words = [
        "exec",
        "-i",
        "web",
        "--",
        "sh",
        "-c",
        "cat; echo end; exit 5",
    ];
    run_with(&mut sandbox.bowline(&words), Vec::new(), SOON)
        .code(5)
        .stdout("end\n");
    run(sandbox.bowline(&words).stdin(Stdio::null()))
        .code(5)
        .stdout("end\n");

    let mut closed = sandbox.command("/bin/sh");
    closed
        .args(["-c", "exec \"$0\" \"$@\" <&-", BOWLINE])
        .args(words);
    run(&mut closed).code(5).stdout("end\n");
}

#[test]
fn without_i_ours_is_not_read() {
    let sandbox = Shared::get();
    let mut command = sandbox.command("/bin/sh");
    command.args([
        "-c",
        "printf 'kept\\n' | { \"$0\" exec web -- cat; echo code $?; cat; }",
        BOWLINE,
    ]);
    run(&mut command).code(0).stdout("code 0\nkept\n");
}

#[test]
fn a_remote_that_does_not_read_ends_the_command() {
    let sandbox = Shared::get();
    let mut command =
        sandbox.bowline(&["exec", "-i", "web", "--", "sh", "-c", "echo done; exit 6"]);
    run_with(&mut command, vec![b'x'; 2_000_000], SOON)
        .code(6)
        .stdout("done\n");
}

#[test]
fn what_the_command_does_not_want_of_stdin_is_shown_to_nobody() {
    let sandbox = Shared::get();
    let input = vec![b'Z'; 300_000];
    for (script, code) in [("exit 4", 4), ("head -c 10 >/dev/null; exit 5", 5)] {
        let words = ["exec", "-i", "web", "--", "sh", "-c", script];
        let finished = run_with(&mut sandbox.bowline(&words), input.clone(), LATER).code(code);
        assert!(!finished.stderr.contains("WlpaWlpa"), "{}", finished.stderr);
        assert!(finished.stderr.lines().count() <= 1, "{}", finished.stderr);
    }
}
