//! Sets in the background, values and stores by name, proxies and relays.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::server::{Server, download, upload};
use crate::support::{SOON, Sandbox, run};
use crate::{Forwarding, connect, get};

#[test]
fn a_set_goes_up_answers_and_goes_down() {
    let sandbox = Sandbox::start(&[]);
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("config.toml");
    let set = "[forward.dev]\ntarget = \"web\"\nports = [\"0:8080\", \"0:{ssm:/demo/db/host}:{secret:demo/db#port}\"]\n";
    fs::write(&config, set).unwrap();
    let runtime = home.path().join("run");
    let bowline = |words: &[&str]| {
        let mut command = sandbox.bowline(words);
        command.env("BOWLINE_CONFIG", &config);
        command.env("XDG_RUNTIME_DIR", &runtime);
        run(&mut command)
    };
    let list = || {
        let listed = bowline(&["forward", "ls", "-o", "json"]).code(0);
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
        listed["sets"][0].clone()
    };
    assert_eq!(list()["up"], false);
    bowline(&["forward", "up", "dev"])
        .code(0)
        .stderr_has("db.demo.internal:5432");
    bowline(&["forward", "up", "dev"])
        .code(0)
        .stderr_has("dev is up already");
    let listed = list();
    let forwards = listed["forwards"].as_array().unwrap();
    assert_eq!(forwards.len(), 2, "{listed}");
    let web = forwards
        .iter()
        .find(|one| one["remotePort"] == 8080)
        .unwrap();
    assert_eq!(web["state"], "ready");
    let port = u16::try_from(web["port"].as_u64().unwrap()).unwrap();
    assert!(get(port).starts_with("task "));
    // Nobody else may ask it or end it.
    let socket = runtime.join("bowline/forward/dev.sock");
    let mode = fs::metadata(socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0);
    bowline(&["forward", "down", "dev"])
        .code(0)
        .stderr_has("dev is down");
    assert_eq!(list()["up"], false);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    bowline(&["forward", "up", "nope"])
        .code(3)
        .stderr_has("there are dev");
    bowline(&["--sandbox", "forward", "up", "dev"]).code(2);
}

#[test]
fn a_projects_file_cannot_open_ports_to_others() {
    let sandbox = Sandbox::start(&[]);
    let project = tempfile::tempdir().unwrap();
    let text = "[forward.dev]\ntarget = \"web\"\nports = [\"*:8080:80\"]\n";
    fs::write(project.path().join(".bowline.toml"), text).unwrap();
    let mut command = sandbox.bowline(&["forward", "ls"]);
    run(command.current_dir(project.path()))
        .code(2)
        .stderr_has("addresses of loopback only");
}

#[test]
fn what_is_looked_up_is_a_host_or_a_port_and_never_shown_else() {
    let sandbox = Sandbox::start(&[]);
    let line = |spec: &str| run(&mut sandbox.bowline(&["forward", "web", spec]));
    let finished = line("0:{secret:demo/db#password}:1").code(125);
    assert!(
        !finished.stderr.contains("not a secret"),
        "{}",
        finished.stderr
    );
    finished.stderr_has("is no host and no port");
    line("0:{env:NOPE}:1")
        .code(125)
        .stderr_has("there is no such value");
    line("0:{vault:x}:1").code(2);
}

#[test]
fn a_store_is_found_by_name_and_psql_or_its_absence_is_said() {
    let sandbox = Sandbox::start(&[]);
    let listed = run(&mut sandbox.bowline(&["db", "ls", "-o", "json"])).code(0);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["stores"][0]["host"], "db.demo.internal");
    let words = [
        "forward",
        "web",
        "--rds",
        "0:demo",
        "--exec",
        "exit $((BOWLINE_PORT_5432 > 0 ? 9 : 1))",
    ];
    run(&mut sandbox.bowline(&words)).code(9);
    run(&mut sandbox.bowline(&["forward", "web", "--rds", "demmo"]))
        .code(3)
        .stderr_has("there are demo");
    let folder = tempfile::tempdir().unwrap();
    let psql = folder.path().join("psql");
    fs::write(&psql, "#!/bin/sh\necho \"$PGHOSTADDR $2 $5\"; exit 4\n").unwrap();
    fs::set_permissions(&psql, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = sandbox.bowline(&["db", "connect", "demo", "web", "--", "-U me"]);
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    run(command.env("PATH", path))
        .code(4)
        .stdout("127.0.0.1 db.demo.internal -U me\n");
    let mut command = sandbox.bowline(&["db", "connect", "demo", "web"]);
    run(command.env("PATH", folder.path().join("none")))
        .code(1)
        .stderr_has("there is no psql on this machine");
}

/// A forward with a proxy, and its port; with a spec besides, so that there is something that becomes ready.
fn with_proxy(sandbox: &Sandbox) -> (Forwarding, u16) {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    drop(taken);
    let proxy = port.to_string();
    let forwarding = Forwarding::start(sandbox, &["web", "0:8080", "--socks", &proxy]);
    (forwarding, port)
}

/// A connection through a proxy.
#[track_caller]
fn asked(proxy: u16, name: &str, to: u16) -> TcpStream {
    let mut stream = connect(proxy);
    stream.write_all(b"\x05\x01\x00").unwrap();
    let mut chosen = [0; 2];
    stream.read_exact(&mut chosen).unwrap();
    let mut wish = vec![5, 1, 0, 3, u8::try_from(name.len()).unwrap()];
    wish.extend(name.bytes());
    wish.extend(to.to_be_bytes());
    stream.write_all(&wish).unwrap();
    let mut answer = [0; 10];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[..2], [5, 0]);
    stream
}

#[test]
fn a_proxy_finds_new_destinations_behind_a_replaced_task() {
    let sandbox = Sandbox::start(&[]);
    let (mut forwarding, proxy) = with_proxy(&sandbox);
    let before = get(forwarding.ports[0]);
    let task = before.strip_prefix("task ").unwrap();
    run(&mut sandbox.bowline(&["stop", &format!("task:demo/{task}"), "--yes"])).code(0);
    forwarding.event("down");
    assert_eq!(forwarding.event("ready")["again"], true);
    for host in ["localhost", "127.0.0.1"] {
        let answer = crate::ask(asked(proxy, host, 8080)).unwrap();
        assert!(answer.starts_with("task "), "{answer}");
        assert_ne!(answer, before);
    }
    forwarding.interrupt();
}

#[test]
fn a_proxy_leads_wherever_it_is_asked_to() {
    let server = Server::start();
    let words = server.behind_tasks();
    let sandbox = Sandbox::start(&[&words[0], &words[1]]);
    let (forwarding, port) = with_proxy(&sandbox);
    let ask = |name: &str, to: u16| asked(port, name, to);
    download(ask("bulk", 9), 100_000);
    upload(ask("bulk", 9), 100_000);
    let answer = crate::ask(ask("localhost", 8080)).unwrap();
    assert!(answer.starts_with("task "), "{answer}");
    assert!(!matches!(ask("nowhere", 1).read(&mut [0]), Ok(1..)));
    forwarding.interrupt();
}

#[test]
fn a_relay_goes_where_the_agent_does_not_and_leaves_nothing_behind() {
    let server = Server::start();
    let sandbox = Sandbox::start(&["--agent", "no-hosts"]);
    // Not loopback by name, and here nevertheless.
    let spec = format!("0:0.0.0.0:{}", server.port);
    let forwarding = Forwarding::start(&sandbox, &["web", "--relay", &spec]);
    download(forwarding.connect(0), 300_000);
    upload(forwarding.connect(0), 300_000);
    forwarding.interrupt();
    let relays = || {
        let commands = fs::read_dir("/proc").unwrap().flatten();
        let commands = commands.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
        let here = server.port.to_string();
        commands
            .filter(|line| {
                let line = String::from_utf8_lossy(line).into_owned();
                line.contains("bowline relay") && line.contains(&here)
            })
            .count()
    };
    crate::support::wait_for("the relay's end", SOON, || (relays() == 0).then_some(()));
}

#[test]
fn a_container_without_any_program_for_it_cannot_relay() {
    let words = "tools=-socat -python3 -perl -busybox";
    let sandbox = Sandbox::start(&["--agent", "no-hosts", "--scenario", words]);
    run(&mut sandbox.bowline(&["forward", "web", "--relay", "0:db.demo.internal:5432"]))
        .code(125)
        .stderr_has("it has none of socat, python3, perl and busybox");
}
