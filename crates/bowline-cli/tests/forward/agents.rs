//! Old agents, refusing agents, and targets that do not answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use crate::server::{Server, echo};
use crate::support::{Sandbox, run};
use crate::{Forwarding, get};

#[test]
fn an_old_agent_serves_one_connection_after_the_other() {
    let sandbox = Sandbox::start(&["--agent", "version=3.0.196.0"]);
    let forwarding = Forwarding::start(&sandbox, &["web", "0:8080"]);
    let answers: Vec<String> = (0..4).map(|_| answer(forwarding.connect(0))).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    forwarding.interrupt();
}

#[test]
fn an_open_connection_to_an_old_agent_does_not_hold_up_the_end() {
    let sandbox = Sandbox::start(&["--agent", "version=3.0.196.0"]);
    let mut forwarding = Forwarding::start(&sandbox, &["web", "0:8080"]);
    let mut open = forwarding.connect(0);
    forwarding.event("opened");
    forwarding.interrupt();
    assert!(!matches!(open.read(&mut [0]), Ok(1..)));
}

/// Such an agent does not say that the server has closed the connection, so it is read to the end of the line.
fn answer(mut stream: TcpStream) -> String {
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    lines.find(|line| line.starts_with("task ")).unwrap()
}

#[test]
fn an_agent_too_old_for_other_hosts_is_not_asked_to_connect_to_itself() {
    let sandbox = Sandbox::start(&["--agent", "version=3.1.1000.0"]);
    let line = ["forward", "web", "0:db.demo.internal:5432"];
    run(&mut sandbox.bowline(&line))
        .code(125)
        .stderr_has("is too old to forward to other hosts: it is 3.1.1000.0")
        .stderr_has("--relay");
}

#[test]
fn a_host_that_the_agent_refuses_is_an_error_with_a_way_out() {
    let sandbox = Sandbox::start(&["--agent", "no-hosts"]);
    let line = ["forward", "web", "0:db.demo.internal:5432"];
    run(&mut sandbox.bowline(&line))
        .code(125)
        .stderr_has("refuses to forward to db.demo.internal:5432")
        .stderr_has("--relay");
}

#[test]
fn a_name_that_the_agent_cannot_resolve_is_an_error() {
    let sandbox = Sandbox::start(&[]);
    run(&mut sandbox.bowline(&["forward", "web", "0:nowhere:1"]))
        .code(125)
        .stderr_has("refused: lookup nowhere on 10.0.0.2:53: no such host");
}

#[test]
fn where_nobody_listens_the_connection_ends_and_the_forward_goes_on() {
    let server = Server::start();
    let words = server.behind_tasks();
    let sandbox = Sandbox::start(&[&words[0], &words[1]]);
    let mut forwarding = Forwarding::start(&sandbox, &["web", "0:bulk:1", "0:bulk:9"]);
    for _ in 0..2 {
        let mut stream = forwarding.connect(0);
        assert!(!matches!(stream.read(&mut [0]), Ok(1..)));
        let unreachable = forwarding.event("unreachable");
        assert_eq!(unreachable["forward"], 0);
    }
    let mut stream = forwarding.connect(1);
    stream.write_all(b"E").unwrap();
    echo(&mut stream, b"here");
    forwarding.interrupt();
}

#[test]
fn a_third_session_goes_to_another_task() {
    let sandbox = Sandbox::start(&[]);
    let forwarding = Forwarding::start(&sandbox, &["web", "0:8080", "0:8080", "0:8080"]);
    let mut tasks: Vec<String> = forwarding.ports.iter().map(|port| get(*port)).collect();
    tasks.sort();
    tasks.dedup();
    assert_eq!(tasks.len(), 2);
    forwarding.interrupt();
}
