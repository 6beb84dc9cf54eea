//! One in the background: up, down, and what there is in between.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::User;
use crate::support::{Process, Running, SOON, signal, wait_for};

#[test]
fn it_is_there_after_up_and_gone_with_all_its_containers_after_down() {
    let user = User::new();
    user.sandbox(&["status"]).code(3).stderr_has("up -d");
    let up = user.sandbox(&["up", "-d"]).code(0);
    let lines = String::from_utf8(up.stdout).unwrap();
    assert!(lines.contains("export AWS_SECRET_ACCESS_KEY='"), "{lines}");

    let status = user.status();
    let pid = u32::try_from(status["pid"].as_u64().unwrap()).unwrap();
    assert_eq!(status["holds"]["tasks"], 2, "{status}");
    user.led(&["exec", "web", "--", "echo", "in"])
        .code(0)
        .stdout("in\n");
    let daemon = Process::find(pid).unwrap();
    let mut processes = Process::descendants(pid);
    assert!(processes.len() >= 2, "{processes:?}");

    // A session of its own, so that nothing of this terminal reaches it; private files; no key in any of them.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let session = stat.rsplit_once(") ").unwrap().1.split(' ').nth(3).unwrap();
    assert_eq!(session, pid.to_string());
    let folder = user.folder();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&folder) & 0o777, 0o700);
    let secret = lines
        .lines()
        .find_map(|line| line.strip_prefix("export AWS_SECRET_ACCESS_KEY="))
        .unwrap()
        .trim_matches('\'');
    for file in ["pid", "endpoint", "log"] {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        assert!(!text.contains(secret), "{file}: {text}");
    }
    let told = std::fs::read_to_string(folder.join("endpoint")).unwrap();
    assert_eq!(told.trim(), status["endpoint"]);

    // A second one of the name is refused, one of another name is not.
    user.sandbox(&["up", "-d"])
        .code(1)
        .stderr_has(&format!("a sandbox default runs already: process {pid}"));
    user.sandbox(&["up"]).code(1).stderr_has("runs already");
    user.sandbox(&["up", "-d", "--name", "other"]).code(0);
    let both = user.sandbox(&["status"]).code(0).stdout;
    let both = String::from_utf8(both).unwrap();
    let names: Vec<&str> = both
        .lines()
        .filter_map(|line| line.strip_prefix("name "))
        .map(str::trim)
        .collect();
    assert_eq!(names, ["default", "other"], "{both}");

    user.sandbox(&["down"]).code(0);
    processes.push(daemon);
    processes.retain(Process::is_running);
    assert_eq!(processes, []);
    for words in [&["down"][..], &["env"], &["reset"], &["load", "-"]] {
        user.sandbox(words)
            .code(3)
            .stderr_has("no sandbox default runs");
    }
    user.sandbox(&["status", "-o", "json", "--name", "default"])
        .code(3)
        .stdout("[]\n");
}

#[test]
fn one_that_was_killed_is_in_nobodys_way() {
    let user = User::new();
    user.sandbox(&["up", "-d"]).code(0);
    let pid = u32::try_from(user.status()["pid"].as_u64().unwrap()).unwrap();
    signal(pid, "KILL");
    wait_for("its end", SOON, || {
        Process::find(pid).is_none().then_some(())
    });
    user.sandbox(&["status"]).code(3);
    user.sandbox(&["up", "-d"]).code(0);
    user.sandbox(&["down"]).code(0);
}

#[test]
fn in_the_foreground_under_a_name_it_can_be_asked_and_ended_from_elsewhere() {
    let user = User::new();
    let mut running = Running::start_lines(&mut user.bowline(&["sandbox", "up", "--name", "here"]));
    let first = running.line().1;
    assert!(first.starts_with("export AWS_ENDPOINT_URL='"), "{first}");
    wait_for("it to be known", SOON, || {
        let told = user.sandbox(&["status", "--name", "here"]);
        (told.status.code() == Some(0)).then_some(())
    });
    user.sandbox(&["down", "--name", "here"]).code(0);
    running.finish(SOON).code(0);
}

#[test]
fn what_cannot_start_is_said_and_leaves_nothing_behind() {
    let user = User::new();
    user.sandbox(&["up", "-d", "--world", "missing.yaml"])
        .code(2)
        .stderr_has("cannot read missing.yaml");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    user.sandbox(&["up", "-d", "--port", &port])
        .code(125)
        .stderr_has(&format!("cannot listen on 127.0.0.1 port {port}"));
    user.sandbox(&["up", "--name", "../x"]).code(2);
    user.sandbox(&["status"]).code(3);

    // Others may not look into the folder.
    let folder = user.folder();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    user.sandbox(&["up", "-d"])
        .code(1)
        .stderr_has("only you can enter");
}

#[test]
fn its_lines_are_safe_in_a_shell() {
    let user = User::new();
    user.sandbox(&["up", "-d", "--region", "it's;`id`$(id)"])
        .code(0);
    let told = user.sandbox(&["env"]).code(0);
    let lines = String::from_utf8(told.stdout).unwrap();
    let script = format!(
        "AWS_PROFILE=other\n{lines}printf '%s|%s' \"$AWS_REGION\" \"${{AWS_PROFILE-none}}\""
    );
    let shown = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(
        String::from_utf8(shown.stdout).unwrap(),
        "it's;`id`$(id)|none"
    );
}
