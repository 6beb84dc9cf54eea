//! The task's network: its own, with ways in and out that only the sandbox knows.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use crate::support::{Running, SOON, Sandbox, has_program, wait_for};
use crate::{inside, isolated, tasks};

/// A forward with `-o json`, ended when dropped, and its port here.
fn forward(sandbox: &Sandbox, task: &str, spec: &str) -> (Running, u16) {
    let mut command = sandbox.bowline(&["forward", "-o", "json", task, spec]);
    let mut running = Running::start_lines(command.stdin(Stdio::null()));
    loop {
        let (_, line) = running.line();
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        if event["type"] == "ready" {
            let port = event["port"].as_u64().unwrap();
            return (running, port.try_into().unwrap());
        }
    }
}

fn get(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.rsplit_once("\r\n\r\n")?.1.trim().to_owned())
}

/// Both listen on the same port of every address.
#[test]
fn two_tasks_have_the_same_port() {
    let Some(sandbox) = isolated(&[]) else { return };
    for task in tasks(&sandbox) {
        // 0.0.0.0:8080, listening.
        inside(
            &sandbox,
            &task,
            "grep -c ' 00000000:1F90 00000000:0000 0A ' /proc/net/tcp",
        )
        .code(0)
        .stdout("1\n");
        let (_forward, port) = forward(&sandbox, &task, "0:8080");
        assert_eq!(get(port), Some(format!("task {task}")));
    }
}

#[test]
fn forwards_lead_to_the_localhost_of_the_task() {
    let Some(sandbox) = isolated(&[]) else { return };
    let [task, other] = tasks(&sandbox);
    // The container's own web server once more, where only the task can reach it.
    let script = "for p in /proc/[0-9]*; do case $(tr '\\0' ' ' < $p/cmdline) in bowline-demo-web*) exe=$p/exe;; esac; done; \
                  BOWLINE_LISTEN=127.0.0.1:9090 BOWLINE_TASK_ID=inner nohup $exe __container-init demo-web >/dev/null 2>&1 &";
    inside(&sandbox, &task, script).code(0);
    let (_forward, port) = forward(&sandbox, &task, "0:9090");
    let answer = wait_for("the inner server", SOON, || {
        get(port).filter(|answer| !answer.is_empty())
    });
    assert_eq!(answer, "task inner");
    inside(
        &sandbox,
        &other,
        "grep -c ':2382 00000000:0000 0A ' /proc/net/tcp",
    )
    .code(1)
    .stdout("0\n");
    TcpStream::connect(("127.0.0.1", 9090)).expect_err("nothing of it is on the machine");
}

#[test]
fn the_demo_database_is_behind_the_task() {
    let Some(sandbox) = isolated(&[]) else { return };
    let (_forward, port) = forward(&sandbox, "web", "0:db.demo.internal:5432");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    // Does it speak TLS? It does not.
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).unwrap();
    let mut answer = [0];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"N");
}

/// At the same address as outside, whatever else is cut off.
#[test]
fn tasks_reach_the_sandbox() {
    if !has_program("bash") {
        return;
    }
    let Some(sandbox) = isolated(&[]) else { return };
    let ask = "ask() { exec 3<>/dev/tcp/127.0.0.1/${1%%/*}; \
               printf 'GET /%s HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nConnection: close\\r\\n\\r\\n' \"${1#*/}\" >&3; cat <&3; }; ";
    let metadata = format!(
        "bash -c '{}ask ${{ECS_CONTAINER_METADATA_URI_V4#http://127.0.0.1:}}/task'",
        ask.replace('\'', "'\\''")
    );
    let finished = inside(&sandbox, "web", &metadata).code(0);
    let said = String::from_utf8_lossy(&finished.stdout);
    assert!(said.contains("\"TaskARN\":\"arn:aws:ecs:"), "{said}");

    let endpoint = sandbox.variable("AWS_ENDPOINT_URL").to_owned();
    let port = endpoint.rsplit(':').next().unwrap();
    let api = format!("bash -c '{}ask {port}/'", ask.replace('\'', "'\\''"));
    let finished = inside(&sandbox, "web", &api).code(0);
    let said = String::from_utf8_lossy(&finished.stdout);
    assert!(said.contains("MissingAuthenticationToken"), "{said}");
}
