//! The same exactness in images that lack a tool, and with each shell: exact, or refused with the reason.

use sha2::{Digest, Sha256};

use crate::support::{LATER, Sandbox, has_program, run, run_with};

/// Both streams at once, every byte value, and a code.
const BYTES: &str = "i=0; while [ $i -lt 256 ]; do o=$(printf %03o $i); printf \"\\\\$o\"; i=$((i+1)); done; \
                     echo err >&2; exit 7";

fn all_bytes() -> Vec<u8> {
    (0..=255).collect()
}

/// Streams, code, 127, 126, a signal, 300 KB of noise and an argv with everything in it.
fn is_exact(sandbox: &Sandbox, image: &str) {
    run(&mut sandbox.bowline(&["exec", "web", "--", "sh", "-c", BYTES]))
        .code(7)
        .stdout(all_bytes())
        .stderr_has("err\n");
    run(&mut sandbox.bowline(&["exec", "web", "--", "no-such-program"])).code(127);
    run(&mut sandbox.bowline(&["exec", "web", "--", "sh", "-c", "kill -TERM $$"])).code(143);
    let odd = ["", "a b", "$x *", "'\"\\", "line\nline", "日本語"];
    let show = "for a do printf '<%s>' \"$a\"; done";
    let words = [&["exec", "web", "--", "sh", "-c", show, "sh"][..], &odd].concat();
    let expected: String = odd.iter().map(|word| format!("<{word}>")).collect();
    run(&mut sandbox.bowline(&words)).code(0).stdout(expected);
    let long = "x".repeat(20_000);
    let words = [
        "exec",
        "web",
        "--",
        "sh",
        "-c",
        "printf %s ${#1}",
        "sh",
        &long,
    ];
    let finished = run(&mut sandbox.bowline(&words));
    assert!(
        finished.stderr.contains("stty") || finished.status.success(),
        "{image}: {}",
        finished.stderr
    );
}

/// Stdin comes back byte for byte.
fn takes_stdin(sandbox: &Sandbox, length: usize) {
    let input: Vec<u8> = (0..length)
        .map(|n| Sha256::digest(n.to_le_bytes())[0])
        .collect();
    run_with(
        &mut sandbox.bowline(&["exec", "-i", "web", "--", "sh", "-c", "cat; exit 3"]),
        input.clone(),
        LATER,
    )
    .code(3)
    .stdout(input);
}

#[test]
fn each_shell_is_exact() {
    for shell in ["dash", "bash", "busybox"] {
        if !has_program(shell) {
            continue;
        }
        let sandbox = Sandbox::start(&["--scenario", shell]);
        is_exact(&sandbox, shell);
        takes_stdin(&sandbox, 100_000);
    }
}

#[test]
fn a_missing_tool_changes_nothing_that_is_seen() {
    for tool in ["base64", "cksum", "dd", "head", "mktemp", "mkfifo"] {
        let sandbox = Sandbox::start(&["--scenario", &format!("no-{tool}")]);
        is_exact(&sandbox, tool);
        takes_stdin(&sandbox, 20_000);
    }
}

#[test]
fn with_od_alone_output_and_stdin_are_exact() {
    let sandbox = Sandbox::start(&["--scenario", "tools=-base64 -openssl -python3 -perl"]);
    is_exact(&sandbox, "od");
    takes_stdin(&sandbox, 20_000);
}

#[test]
fn without_stty_output_is_exact_and_stdin_is_refused() {
    let sandbox = Sandbox::start(&["--scenario", "no-stty"]);
    is_exact(&sandbox, "no-stty");
    run_with(
        &mut sandbox.bowline(&["exec", "-i", "web", "--", "cat"]),
        b"abc".to_vec(),
        LATER,
    )
    .code(125)
    .stdout("")
    .stderr_has("stty");
}

#[test]
fn without_any_encoder_text_is_exact_and_said_to_be_no_more() {
    let sandbox = Sandbox::start(&["--scenario", "tools=-base64 -openssl -python3 -perl -od"]);
    run(&mut sandbox.bowline(&[
        "exec",
        "web",
        "--",
        "sh",
        "-c",
        "echo 日本語; echo err >&2; exit 7",
    ]))
    .code(7)
    .stdout("日本語\n")
    .stderr_has("err\n")
    .stderr_has("text comes back exact");
    run_with(
        &mut sandbox.bowline(&["exec", "-i", "web", "--", "cat"]),
        b"abc".to_vec(),
        LATER,
    )
    .code(125)
    .stdout("")
    .stderr_has("base64");
}

#[test]
fn without_a_shell_nothing_runs_unless_the_status_may_stay_unknown() {
    let sandbox = Sandbox::start(&["--scenario", "tools=-shells"]);
    run(&mut sandbox.bowline(&["exec", "web", "--", "echo", "hi"]))
        .code(125)
        .stdout("")
        .stderr_has("--no-shell");
    run(&mut sandbox.bowline(&["exec", "--no-shell", "web", "--", "echo", "hi"]))
        .code(125)
        .stdout("hi\r\n")
        .stderr_has("status unknown");
    run(&mut sandbox.bowline(&[
        "exec",
        "--no-shell",
        "--allow-unknown-status",
        "web",
        "--",
        "echo",
        "hi",
    ]))
    .code(0)
    .stdout("hi\r\n");
    run(&mut sandbox.bowline(&["exec", "--no-shell", "web", "--", "nope"])).code(127);
}
