//! What comes back: both streams, every byte, as it happens.

use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use crate::support::{LATER, Running, SOON, Shared, run};

const OUT_ERR_7: &str = "echo out; echo err >&2; exit 7";

#[test]
fn both_streams_and_the_code_come_back() {
    let sandbox = Shared::get();
    let words = ["exec", "web", "--", "sh", "-c", OUT_ERR_7];
    run(&mut sandbox.bowline(&words))
        .code(7)
        .stdout("out\n")
        .stderr_has("err\n");
}

#[test]
fn the_same_with_standard_input_closed_and_without_a_terminal() {
    let sandbox = Shared::get();
    let mut closed = sandbox.command("/bin/sh");
    closed.args(["-c", "exec \"$0\" \"$@\" <&-", crate::support::BOWLINE]);
    closed.args(["exec", "web", "--", "sh", "-c", OUT_ERR_7]);
    run(&mut closed).code(7).stdout("out\n").stderr_has("err\n");

    let mut alone = sandbox.command("setsid");
    alone.args([
        "--wait",
        crate::support::BOWLINE,
        "exec",
        "web",
        "--",
        "sh",
        "-c",
        OUT_ERR_7,
    ]);
    run(&mut alone).code(7).stdout("out\n").stderr_has("err\n");
}

#[test]
fn stderr_holds_only_the_remotes_words_when_all_is_well() {
    let sandbox = Shared::get();
    let finished =
        run(&mut sandbox.bowline(&["exec", "web", "--", "sh", "-c", "printf 'a\\nb' >&2"]));
    let finished = finished.code(0).stdout("");
    assert!(finished.stderr.ends_with("a\nb"), "{}", finished.stderr);
}

#[test]
fn line_ends_and_control_bytes_are_not_touched() {
    let sandbox = Shared::get();
    let script = r"printf 'a\r\nb\n\003\004\021\023\032\034\000\377\357\277\275\303'";
    let expected = b"a\r\nb\n\x03\x04\x11\x13\x1a\x1c\x00\xff\xef\xbf\xbd\xc3";
    run(&mut sandbox.bowline(&["exec", "web", "--", "sh", "-c", script]))
        .code(0)
        .stdout(expected);
}

#[test]
fn five_million_random_bytes_are_exact() {
    let sandbox = Shared::get();
    let script = "head -c 5000000 /dev/urandom >r; sha256sum <r >&2; cat r; rm r";
    let mut command = sandbox.bowline(&["exec", "web", "--", "sh", "-c", script]);
    let finished = Running::start(command.stdin(Stdio::null()))
        .finish(LATER)
        .code(0);
    assert_eq!(finished.stdout.len(), 5_000_000);
    let sum = hex::encode(Sha256::digest(&finished.stdout));
    finished.stderr_has(&sum);
}

#[test]
fn twenty_megabytes_of_text_arrive_whole_and_in_order() {
    let sandbox = Shared::get();
    let mut command = sandbox.bowline(&["exec", "web", "--", "seq", "1", "2700000"]);
    let finished = Running::start(command.stdin(Stdio::null()))
        .finish(LATER)
        .code(0);
    assert_eq!(finished.stdout.len(), 20_488_896);
    let mut expected = 1_u32;
    for line in finished.stdout.split(|byte| *byte == b'\n') {
        if line.is_empty() {
            continue;
        }
        assert_eq!(line, expected.to_string().as_bytes());
        expected += 1;
    }
    assert_eq!(expected, 2_700_001);
}

#[test]
fn lines_are_seen_as_they_happen() {
    let sandbox = Shared::get();
    let script = "for i in 1 2 3; do date +%s%N; sleep 1; done";
    let mut running =
        Running::start_lines(&mut sandbox.bowline(&["exec", "web", "--", "sh", "-c", script]));
    let mut seen = Vec::new();
    for _ in 0..3 {
        let (_, line) = running.line();
        seen.push((line.trim().parse::<u128>().unwrap(), nanoseconds_now()));
    }
    for pair in seen.windows(2) {
        let ((_, arrived), (next_made, _)) = (pair[0], pair[1]);
        assert!(
            arrived < next_made,
            "a line came after the next one was made: {seen:?}"
        );
    }
    running.finish(SOON).code(0);
}

/// The remote goes on only when its line has been seen here: no clock is involved.
#[test]
fn a_line_is_not_held_back_for_the_next() {
    use std::io::Write as _;

    let sandbox = Shared::get();
    let script = "for i in 1 2 3; do echo line $i; read answer; done; exit 4";
    let mut command = sandbox.bowline(&["exec", "-i", "web", "--", "sh", "-c", script]);
    let mut running = Running::start_lines(command.stdin(Stdio::piped()));
    for number in 1..=3 {
        assert_eq!(running.line().1, format!("line {number}\n"));
        running.stdin().write_all(b"go on\n").unwrap();
    }
    running.finish(SOON).code(4);
}

fn nanoseconds_now() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_nanos()
}

/// A reader slower than the remote loses nothing and holds nobody up for good.
#[test]
fn a_slow_reader_gets_everything() {
    let sandbox = Shared::get();
    let mut command = sandbox.command("/bin/sh");
    command.args([
        "-c",
        "\"$0\" exec web -- seq 1 200000 | { read first; sleep 2; echo $first; wc -l; }",
    ]);
    command.arg(crate::support::BOWLINE);
    run(&mut command).code(0).stdout("1\n199999\n");
}

#[test]
fn json_events_end_with_the_exit() {
    let sandbox = Shared::get();
    let words = ["exec", "-o", "json", "web", "--", "sh", "-c", OUT_ERR_7];
    let finished = run(&mut sandbox.bowline(&words)).code(7);
    let text = String::from_utf8(finished.stdout).unwrap();
    let events: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let last = events.last().unwrap();
    assert_eq!(last["type"], "exit", "{text}");
    assert_eq!(last["origin"], "remote", "{text}");
    assert_eq!(last["code"], 7, "{text}");
    let texts: Vec<&str> = events
        .iter()
        .filter_map(|event| event["text"].as_str())
        .collect();
    assert!(texts.contains(&"out\n"), "{text}");
    assert!(texts.contains(&"err\n"), "{text}");
}
