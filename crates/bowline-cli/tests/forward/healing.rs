//! Through lost connections and replaced tasks: the local port never closes.

use std::thread;
use std::time::Instant;

use crate::server::{Server, download, echo, upload};
use crate::support::{LATER, SOON, Sandbox, run, wait_for};
use crate::{Forwarding, ask, connect, get};

#[test]
fn connections_go_on_byte_for_byte_while_the_socket_is_cut() {
    let server = Server::start();
    let words = server.behind_tasks();
    let sandbox = Sandbox::start(&[&words[0], &words[1], "--fault", "cut-every=byte:700KB"]);
    let forwarding = Forwarding::start(&sandbox, &["web", "0:bulk:9"]);
    let mut kept = forwarding.connect(0);
    std::io::Write::write_all(&mut kept, b"E").unwrap();
    thread::scope(|scope| {
        for _ in 0..2 {
            let stream = forwarding.connect(0);
            stream.set_read_timeout(Some(LATER)).unwrap();
            scope.spawn(|| download(stream, 3_000_000));
            let stream = forwarding.connect(0);
            stream.set_read_timeout(Some(LATER)).unwrap();
            scope.spawn(|| upload(stream, 2_000_000));
        }
        for number in 0..50 {
            echo(&mut kept, format!("message {number}\n").as_bytes());
        }
    });
    echo(&mut kept, b"\n");
    forwarding.interrupt();
}

#[test]
fn a_stopped_task_is_replaced_behind_the_same_port() {
    let sandbox = Sandbox::start(&[]);
    let mut forwarding = Forwarding::start(&sandbox, &["web", "0:8080"]);
    let before = get(forwarding.ports[0]);
    let task = before.strip_prefix("task ").unwrap().to_owned();
    let open = forwarding.connect(0);
    forwarding.event("opened");
    run(&mut sandbox.bowline(&["stop", &format!("task:demo/{task}"), "--yes"])).code(0);
    // One that was open ends, in whatever way, and does not hang.
    forwarding.event("down");
    assert!(ask(open).is_err());
    let after = get(forwarding.ports[0]);
    assert_ne!(before, after);
    let again = forwarding.event("ready");
    assert_eq!(again["again"], true);
    assert_eq!(after, format!("task {}", again["taskId"].as_str().unwrap()));
    forwarding.interrupt();
}

#[test]
fn a_session_that_cannot_be_resumed_is_replaced() {
    let sandbox = Sandbox::start(&["--fault", "resume=gone,cut=frame:40"]);
    let mut forwarding = Forwarding::start(&sandbox, &["web", "0:8080"]);
    let port = forwarding.ports[0];
    let deadline = Instant::now() + SOON;
    // Connections of the moment may be broken off; the next one is served.
    while !forwarding
        .events
        .iter()
        .any(|event| event["type"] == "down")
    {
        assert!(Instant::now() < deadline);
        let _ = ask(connect(port));
        forwarding.event("opened");
    }
    wait_for("an answer", SOON, || ask(connect(port)).ok());
    forwarding.interrupt();
}

#[test]
fn an_agent_that_does_not_come_up_is_the_end_of_it() {
    let sandbox = Sandbox::start(&["--agent-pending", "600s"]);
    let line = ["forward", "web", "0:8080", "--wait", "1s"];
    let finished = run(&mut sandbox.bowline(&line)).code(125);
    finished.stderr_has("was not ready for a command after");
}
