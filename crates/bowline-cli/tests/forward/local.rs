//! What happens on this machine: ports, sockets, files, commands, and what is said.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

use crate::server::{Server, echo};
use crate::support::{Running, SOON, Sandbox, run, run_unread, wait_for};
use crate::{Forwarding, get};

#[test]
fn a_command_runs_with_the_ports_and_its_code_is_ours() {
    let sandbox = Sandbox::start(&[]);
    let line = "test \"$(. ./ready; echo $BOWLINE_PORT_8080 $BOWLINE_PORT_5432)\" = \"$BOWLINE_PORT_8080 $BOWLINE_PORT_5432\" \
                && test \"$BOWLINE_PORT_8080\" -gt 0 && echo $BOWLINE_ADDRESS_5432; exit 7";
    let words = [
        "forward",
        "web",
        "0:8080",
        "0:db.demo.internal:5432",
        "--ready-file",
        "ready",
        "--exec",
        line,
    ];
    let finished = run(&mut sandbox.bowline(&words)).code(7);
    let stdout = String::from_utf8(finished.stdout).unwrap();
    assert!(stdout.starts_with("127.0.0.1:"), "{stdout}");
    let said: Vec<&str> = finished.stderr.lines().collect();
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(
        said.iter()
            .any(|line| line.contains(" to db.demo.internal:5432 through demo/web/app (task ")),
        "{said:?}"
    );
    assert!(
        said.iter()
            .any(|line| line.contains(" to port 8080 of demo/web/app (task ")),
        "{said:?}"
    );
}

#[test]
fn a_port_of_the_task_and_the_database_behind_it_answer() {
    let sandbox = Sandbox::start(&[]);
    let mut forwarding = Forwarding::start(
        &sandbox,
        &["web", "0:8080", "-L", "0:db.demo.internal:5432"],
    );
    let task = forwarding.events[0]["taskId"].as_str().unwrap().to_owned();
    for _ in 0..3 {
        assert_eq!(get(forwarding.ports[0]), format!("task {task}"));
    }
    let mut database = forwarding.connect(1);
    // Start-up of protocol 3.0 with a user, then a query.
    database
        .write_all(b"\0\0\0\x11\0\x03\0\0user\0me\0\0Q\0\0\0\x0dselect 1\0X\0\0\0\x04")
        .unwrap();
    let mut answer = Vec::new();
    database.read_to_end(&mut answer).unwrap();
    let text = String::from_utf8_lossy(&answer).into_owned();
    let through = format!("hello from db.demo.internal through task {task}");
    assert!(text.contains(&through), "{text:?}");
    let closed = forwarding.event("closed");
    assert!(closed["received"].as_u64().unwrap() > 0, "{closed}");
    forwarding.interrupt();
    let left = run(&mut sandbox.bowline(&["doctor", "web", "-o", "json"]));
    let left = String::from_utf8(left.stdout).unwrap();
    assert!(!left.contains("2 sessions"), "{left}");
}

#[test]
fn who_has_the_port_is_said() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let sandbox = Sandbox::start(&[]);
    let spec = format!("{port}:8080");
    let finished = run(&mut sandbox.bowline(&["forward", "web", &spec])).code(1);
    let us = format!("(process {}) listens there", std::process::id());
    finished
        .stderr_has(&us)
        .stderr_has("hint: choose another local port");
}

#[test]
fn a_bad_spec_and_a_missing_one_are_usage_errors() {
    let sandbox = Sandbox::start(&[]);
    for (words, said) in [
        (&["web", "8080:80:"][..], "is no port"),
        (&["web", "70000:80"], "is no port of this machine"),
        (&["web"], "it is not said what to forward"),
        (&["web", "8080:$(id):80"], "is no host"),
    ] {
        let line = [&["forward"], words].concat();
        run(&mut sandbox.bowline(&line)).code(2).stderr_has(said);
    }
    run(&mut sandbox.bowline(&["forward", "wbe", "0:80"]))
        .code(3)
        .stderr_has("did you mean web?");
}

#[test]
fn a_socket_in_the_file_system_leads_there_and_is_gone_with_us() {
    let server = Server::start();
    let words = server.behind_tasks();
    let sandbox = Sandbox::start(&[&words[0], &words[1]]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let spec = format!("unix:{}:bulk:9", path.display());
    let ready = folder.path().join("ready");
    let ready_file = ready.to_str().unwrap();
    let mut command = sandbox.bowline(&["forward", "web", &spec, "--ready-file", ready_file]);
    let running = Running::start(command.stdin(Stdio::null()));
    wait_for("the ready file", SOON, || ready.exists().then_some(()));
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"Eping").unwrap();
    let mut back = [0; 4];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"ping");
    running.signal("INT");
    running.finish(SOON).code(130);
    assert!(!path.exists());
}

#[test]
fn whoever_says_nothing_more_still_hears_the_answer() {
    let server = Server::start();
    let words = server.behind_tasks();
    let sandbox = Sandbox::start(&[&words[0], &words[1], "--agent", "dial-delay=300ms"]);
    let forwarding = Forwarding::start(&sandbox, &["web", "0:bulk:9", "--linger", "30s"]);
    let mut stream = forwarding.connect(0);
    stream.write_all(b"D00000005").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer.len(), 5);
    forwarding.interrupt();
}

#[test]
fn a_reader_that_stops_does_not_stop_the_others() {
    let server = Server::start();
    let words = server.behind_tasks();
    let sandbox = Sandbox::start(&[&words[0], &words[1]]);
    let mut forwarding = Forwarding::start(&sandbox, &["web", "0:bulk:9"]);
    let mut stalled = forwarding.connect(0);
    stalled.write_all(b"D40000000").unwrap();
    // It is full of what nobody reads.
    stalled.read_exact(&mut [0; 100]).unwrap();
    let mut other = forwarding.connect(0);
    other
        .set_read_timeout(Some(Duration::from_secs(120)))
        .unwrap();
    other.write_all(b"E").unwrap();
    for _ in 0..20 {
        echo(&mut other, b"still there?");
        std::thread::sleep(Duration::from_millis(100));
    }
    let closed = forwarding.event("closed");
    assert_eq!(closed["connection"], 1, "{closed}");
    assert!(
        closed["cause"].as_str().unwrap().contains("held up"),
        "{closed}"
    );
    echo(&mut other, b"and after");
    drop(stalled);
    forwarding.interrupt();
}

#[test]
fn a_reader_that_leaves_is_no_success() {
    let sandbox = Sandbox::start(&[]);
    let words = ["forward", "-o", "json", "web", "0:8080"];
    run_unread(&mut sandbox.bowline(&words)).code(141);
}
