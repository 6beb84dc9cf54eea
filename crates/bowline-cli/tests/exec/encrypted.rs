//! Sessions of a cluster that encrypts them: the same list, sealed.

use crate::support::{LATER, Sandbox, Terminal, run, run_with};

fn encrypted(options: &[&str]) -> Sandbox {
    Sandbox::start(&[&["--scenario", "encrypted"], options].concat())
}

#[test]
fn every_engine_brings_back_streams_and_code() {
    let sandbox = encrypted(&[]);
    let script = "echo out; echo err >&2; exit 7";
    for engine in ["framed", "plain"] {
        run(&mut sandbox.bowline(&["exec", "--engine", engine, "web", "--", "sh", "-c", script]))
            .code(7)
            .stdout("out\n")
            .stderr_has("err\n");
    }
    run(&mut sandbox.bowline(&["exec", "--via", "ssm", "web", "--", "sh", "-c", script])).code(7);
    let mut terminal = Terminal::bowline(
        &sandbox,
        &[
            "exec",
            "-t",
            "web",
            "--",
            "sh",
            "-c",
            "tty; stty size; exit 7",
        ],
    );
    terminal.until("/dev/");
    terminal.until("33 101");
    assert_eq!(terminal.end().0.code(), Some(7));
}

#[test]
fn bytes_go_both_ways_unchanged() {
    let sandbox = encrypted(&[]);
    let data: Vec<u8> = (0..1_000_000_u32).flat_map(|n| n.to_le_bytes()).collect();
    let mut command = sandbox.bowline(&["exec", "-i", "web", "--", "cat"]);
    let finished = run_with(&mut command, data.clone(), LATER).code(0);
    assert!(finished.stdout == data, "{} bytes", finished.stdout.len());
    let odd: &[u8] = b"\x00\xff\xef\xbf\xbd\xc3\r\n\x03\x04";
    let words = ["exec", "-i", "web", "--", "cat"];
    run_with(&mut sandbox.bowline(&words), odd.to_vec(), LATER)
        .code(0)
        .stdout(odd);
}

#[test]
fn a_login_is_encrypted_too_and_survives_a_cut() {
    let sandbox = encrypted(&["--fault", "cut-down=frame:9"]);
    let mut terminal = Terminal::bowline(&sandbox, &["login", "web"]);
    terminal.until("encrypted using AWS KMS");
    for n in 0..5 {
        terminal.press(format!("echo line ''{n}\r").as_bytes());
        terminal.until(&format!("line {n}"));
    }
    terminal.press(b"exit 3\r");
    let (status, text) = terminal.end();
    assert_eq!(status.code(), Some(3));
    assert!(text.contains("it was restored"), "{text}");
}

#[test]
fn a_stream_cut_in_pieces_stays_sealed_and_whole() {
    let sandbox = encrypted(&["--fault", "cuts-down=50/3MB,loss=5%,seed=31"]);
    let script = "i=0; while [ $i -lt 100000 ]; do echo $i; i=$((i+1)); done; exit 4";
    let mut command = sandbox.bowline(&["exec", "web", "--", "sh", "-c", script]);
    let finished = run_with(&mut command, Vec::new(), LATER).code(4);
    let expected: String = (0..100_000).map(|n| format!("{n}\n")).collect();
    assert!(finished.stdout == expected.into_bytes());
}

#[test]
fn a_key_that_cannot_be_had_is_named() {
    let sandbox = Sandbox::start(&["--scenario", "encrypted=alias/nobody"]);
    run(&mut sandbox.bowline(&["exec", "web", "--", "true"]))
        .code(125)
        .stdout("")
        .stderr_has("the session is to be encrypted, and its key could not be had")
        .stderr_has("alias/nobody")
        .stderr_has("kms:GenerateDataKey");
}
