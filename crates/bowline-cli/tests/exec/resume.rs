//! A session outlives its connections: whatever cuts them, every byte and the exit code come back.

use std::time::Duration;

use serde_json::json;

use crate::support::{BOWLINE, LATER, SOON, Sandbox, Terminal, post, run, run_with};

/// Ends a program that has been cut again and again; far beyond what any run here takes.
const PATIENCE: [&str; 2] = ["--reconnect-for", "60s"];

#[test]
fn twenty_megabytes_survive_two_hundred_cuts() {
    let sandbox = cutting("cuts-down=200/20MB,seed=11");
    // Numbers, so that a hole or a doubled piece shows in the sum.
    let script = "i=0; while [ $i -lt 20 ]; do head -c 1000000 /dev/urandom | tee -a sum.in; i=$((i+1)); done; \
                  sha256sum <sum.in >&2; rm sum.in; exit 9";
    let mut command = sandbox.bowline(&["exec"]);
    command
        .args(PATIENCE)
        .args(["web", "--", "sh", "-c", script]);
    let finished = run_with(&mut command, Vec::new(), LATER).code(9);
    assert_eq!(finished.stdout.len(), 20_000_000);
    let sum = sha256(&finished.stdout);
    assert!(finished.stderr.contains(&sum), "{sum}: {}", finished.stderr);
    assert_cut(&sandbox, &finished.stderr);
}

#[test]
fn what_is_sent_survives_two_hundred_cuts() {
    let sandbox = cutting("cuts-up=200/5MB,seed=12");
    let mut data = Vec::with_capacity(4_000_000);
    while data.len() < 4_000_000 {
        data.extend_from_slice(&sha256(&data.len().to_le_bytes()).into_bytes());
    }
    let mut command = sandbox.bowline(&["exec", "-i"]);
    command
        .args(PATIENCE)
        .args(["web", "--", "sh", "-c", "sha256sum; exit 5"]);
    let finished = run_with(&mut command, data.clone(), LATER).code(5);
    let text = String::from_utf8(finished.stdout).unwrap();
    assert_eq!(text.split_whitespace().next(), Some(&*sha256(&data)));
    assert_cut(&sandbox, &finished.stderr);
}

fn cutting(faults: &str) -> Sandbox {
    Sandbox::start(&["--accept-any-credentials", "--fault", faults])
}

/// Nearly all of the 200 cuts came (two at one place are one), and somebody was told. How often depends on the machine:
/// connections that are lost before they carried anything share one notice.
#[track_caller]
fn assert_cut(sandbox: &Sandbox, stderr: &str) {
    let faults = post(sandbox, "BowlineSandbox", "GetFaults", &json!({}));
    let cuts = faults["happened"]["cut"].as_u64().unwrap();
    assert!(cuts >= 190, "only {cuts} cuts came");
    let notices = stderr.matches("it was restored").count();
    assert!(notices >= 10, "{notices} notices of {cuts} cuts");
}

/// The socket is cut before every single message of a session, in each direction, with each engine.
#[test]
fn a_short_session_survives_a_cut_at_every_message() {
    const SCRIPT: &str = "cat; echo out; echo err >&2; exit 7";
    for (options, out) in [
        (&["-i"][..], "fed\nout\n"),
        (&["--engine", "plain"], "out\n"),
        (&["--engine", "framed"], "out\n"),
    ] {
        for direction in ["up", "down"] {
            for boundary in 0.. {
                let fault = format!("cut-{direction}=frame:{boundary}");
                let sandbox = Sandbox::start(&["--fault", &fault]);
                let mut command = sandbox.bowline(&["exec"]);
                command.args(options).args(PATIENCE);
                command.args(["web", "--", "sh", "-c", SCRIPT]);
                let finished = run_with(&mut command, b"fed\n".to_vec(), SOON)
                    .code(7)
                    .stdout(out)
                    .stderr_has("err\n");
                assert!(boundary < 200, "a short session has fewer messages");
                if !finished.stderr.contains("was lost") {
                    assert!(boundary >= 3, "{options:?} {fault}: nothing was cut");
                    break;
                }
            }
        }
    }
}

#[test]
fn a_line_that_loses_doubles_and_reorders_is_not_noticed() {
    let sandbox = Sandbox::start(&[
        "--fault",
        "loss=25%,duplicate=10%,reorder=10%,delay=1ms..5ms,seed=5",
    ]);
    let data = b"0123456789abcdef".repeat(20_000);
    let mut command = sandbox.bowline(&["exec", "-i", "web", "--", "sh", "-c", "cat; exit 3"]);
    let finished = run_with(&mut command, data.clone(), LATER).code(3);
    assert!(finished.stdout == data, "{} bytes", finished.stdout.len());
    assert!(!finished.stderr.contains("lost"), "{}", finished.stderr);
}

#[test]
fn the_hourly_bye_is_no_end() {
    let sandbox = Sandbox::start(&["--fault", "bye=frame:4"]);
    run(&mut sandbox.bowline(&[
        "exec",
        "web",
        "--",
        "sh",
        "-c",
        "echo before; sleep 1; echo after; exit 4",
    ]))
    .code(4)
    .stdout("before\nafter\n")
    .stderr_has("1000 Bye");
}

#[test]
fn a_session_that_may_not_be_resumed_is_an_error_with_its_reason() {
    for (policy, reason) in [
        ("denied", "ssm:ResumeSession"),
        ("gone", "had ended before the connection could be restored"),
        (
            "no-token",
            "had ended before the connection could be restored",
        ),
    ] {
        let fault = format!("resume={policy},cut-down=frame:4");
        let sandbox = Sandbox::start(&["--fault", &fault]);
        let script = "while :; do echo more; sleep 0.1; done";
        run(&mut sandbox.bowline(&["exec", "web", "--", "sh", "-c", script]))
            .code(125)
            .stderr_has("output incomplete: the connection was lost")
            .stderr_has(reason);
    }
}

#[test]
fn a_service_that_refuses_every_token_is_given_up() {
    let sandbox = Sandbox::start(&["--fault", "token-refused=100000"]);
    let words = [
        "exec",
        "--reconnect-for",
        "2s",
        "web",
        "--",
        "echo",
        "never",
    ];
    run(&mut sandbox.bowline(&words))
        .code(125)
        .stdout("")
        .stderr_has("could not be restored within 2 s")
        .stderr_has("does not contain a valid token");
}

#[test]
fn a_throttled_service_is_asked_again() {
    let sandbox = Sandbox::start(&["--fault", "throttle=ResumeSession:5,cut-down=frame:2"]);
    let mut command = sandbox.bowline(&["exec"]);
    command.args(PATIENCE);
    // On a busy machine several lines may share a message, but never all of them.
    let script = "for n in 1 2 3 4 5 6; do echo $n; sleep 0.2; done; exit 6";
    command.args(["web", "--", "sh", "-c", script]);
    run(&mut command)
        .code(6)
        .stdout("1\n2\n3\n4\n5\n6\n")
        .stderr_has("trying to restore the connection for up to 60 s");
}

/// What is typed while there is no connection arrives when there is one again, each key once.
#[test]
fn keys_typed_during_an_outage_are_not_lost() {
    // The first key after the prompt cuts the line, and for seconds nobody may come back.
    let sandbox = Sandbox::start(&["--fault", "cut-up=frame:12,throttle=ResumeSession:9"]);
    let mut terminal = Terminal::start(
        &sandbox,
        BOWLINE,
        &["login", "web", "--reconnect-for", "60s"],
    );
    terminal.until("helps");
    let mut typed = 0;
    while !terminal.shows(
        "trying to restore the connection",
        Duration::from_millis(200),
    ) {
        assert!(typed < 200, "the line was never cut: {}", terminal.text());
        terminal.press(b"x");
        typed += 1;
    }
    for key in "yz''w".as_bytes() {
        terminal.press(&[*key]);
    }
    terminal.press(b"\recho $? and ''on\r");
    terminal.until("127 and on");
    let line = format!("{}yzw", "x".repeat(typed));
    terminal.until(&line);
    terminal.press(b"exit 5\r");
    let (status, _) = terminal.end();
    assert_eq!(status.code(), Some(5));
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    use std::fmt::Write as _;
    let mut text = String::new();
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}
