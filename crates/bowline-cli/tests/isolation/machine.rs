//! The machine's files, and the commands that people use.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::{BOWLINE, Running, SOON, Terminal, clean, run};
use crate::{inside, isolated, refused, started_alone, tasks};

#[test]
fn the_machine_is_left_alone() {
    let Some(sandbox) = isolated(&[]) else { return };
    let [one, other] = tasks(&sandbox);
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let mark = folder.path().join("mark");
    fs::write(&mark, "of the machine").unwrap();
    let settings = "/etc/bowline-isolated-test";

    let here = mark.to_str().unwrap();
    run(&mut sandbox.bowline(&["exec", &one, "--", "rm", "-rf", "/tmp", here])).code(0);
    run(&mut sandbox.bowline(&["cp", here, &format!("{one}:{settings}")])).code(0);
    let script = "cat /etc/bowline-isolated-test; rm -f /etc/hosts /etc/passwd; ls /tmp 2>&1; \
                  touch /var/bowline-isolated-test /home/bowline-isolated-test; \
                  echo 1 > /proc/sys/vm/drop_caches; mount -o remount,rw /proc/sys; true";
    let finished = inside(&sandbox, &one, script).code(0);
    let said = String::from_utf8_lossy(&finished.stdout);
    assert!(said.starts_with("of the machine"), "{said}");
    assert!(
        finished.stderr.contains("drop_caches"),
        "{}",
        finished.stderr
    );

    assert_eq!(fs::read_to_string(&mark).unwrap(), "of the machine");
    assert!(Path::new("/etc/passwd").exists());
    for path in [
        settings,
        "/var/bowline-isolated-test",
        "/home/bowline-isolated-test",
    ] {
        assert!(!Path::new(path).exists(), "{path} is on the machine");
    }
    // The other task of the service has its own.
    inside(
        &sandbox,
        &other,
        "test ! -e /etc/bowline-isolated-test && touch /tmp/x && ls /tmp",
    )
    .code(0)
    .stdout("x\n");
}

#[test]
fn commands_are_those_of_any_container() {
    let Some(sandbox) = isolated(&[]) else { return };
    inside(&sandbox, "web", "id -u; pwd; echo $HOME; ls -A")
        .code(0)
        .stdout("0\n/root\n/root\n");
    inside(&sandbox, "web", "echo out; echo err >&2; exit 7")
        .code(7)
        .stdout("out\n")
        .stderr_has("err\n");
    inside(&sandbox, "web", "kill -9 $$").code(137);
    run(&mut sandbox.bowline(&["exec", "web", "--", "no-such-program"])).code(127);
    run(&mut sandbox.bowline(&["exec", "web", "--", "/etc/hosts"])).code(126);
    run(&mut sandbox.bowline(&["exec", "--no-shell", "web", "--", "/no/such"])).code(127);
    let ran =
        run(&mut sandbox.bowline(&["run", "family:job", "--", "sh", "-c", "hostname; exit 5"]));
    let ran = ran.code(5);
    let name = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(name.starts_with("ip-127-"), "{name}");

    let mut terminal = Terminal::bowline(&sandbox, &["login", "web"]);
    terminal.until("helps");
    terminal.press(b"tty; stty size\r");
    terminal.until("/dev/pts/0\r\n");
    terminal.until("33 101\r\n");
    terminal.press(b"sh -c 'echo sl\"\"eeps; exec sleep 600'\r");
    terminal.until("sleeps\r\n");
    terminal.press(b"\x03");
    terminal.press(b"exit 4\r");
    assert_eq!(terminal.end().0.code(), Some(4));
}

#[test]
fn an_image_without_programs_has_none() {
    let Some(sandbox) = isolated(&["--scenario", "no-base64"]) else {
        return;
    };
    inside(
        &sandbox,
        "web",
        "command -v base64 || echo none; command -v cat",
    )
    .code(0)
    .stdout("none\n/run/bowline/bin/cat\n");
}

/// Root outside has all ids inside, others only their own.
#[test]
fn it_needs_no_root() {
    let Some(_) = isolated(&[]) else { return };
    let root = TempDir::new().unwrap();
    let id = Command::new("id").arg("-u").output().unwrap().stdout;
    if id != b"0\n" {
        // The other tests have shown it.
        return;
    }
    let program = root.path().join("bowline");
    fs::copy(BOWLINE, &program).unwrap();
    let open = |path: &Path| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(path, mode).unwrap();
    };
    open(root.path());
    open(&program);
    let mut command = clean("setpriv", root.path());
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    command.arg(&program).args(["sandbox", "--isolation", "on"]);
    let (running, env) = foreground(&mut command);

    let mut command = clean(BOWLINE, root.path());
    let script = "touch /etc/x /root/y && stat -c %U /etc/x && tr '\\0' ' ' < /proc/1/cmdline";
    command.args(["exec", "web", "--", "sh", "-c", script]);
    let finished = run(command.envs(env)).code(0);
    let said = String::from_utf8_lossy(&finished.stdout);
    assert!(said.starts_with("root\nbowline "), "{said}");
    running.signal("INT");
    running.finish(SOON).code(0);
    assert!(!Path::new("/etc/x").exists());
}

/// A sandbox that is ready, and its environment.
fn foreground(command: &mut Command) -> (Running, Vec<(String, String)>) {
    let mut running = Running::start_lines(command.stdin(Stdio::null()));
    let mut env = Vec::new();
    loop {
        let (_, line) = running.line();
        let Some((name, value)) = line
            .trim()
            .strip_prefix("export ")
            .and_then(|line| line.split_once('='))
        else {
            return (running, env);
        };
        env.push((name.to_owned(), value.trim_matches('\'').to_owned()));
    }
}

/// A machine whose limit of user namespaces is zero.
#[test]
fn a_refusal_names_its_reason() {
    let home = TempDir::new().unwrap();
    let limited = |isolation: &str| {
        let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\" \"$@\"";
        let mut command = clean("unshare", home.path());
        command.args(["-Ur", "sh", "-c", script, BOWLINE]);
        run(&mut started_alone(command, isolation))
    };
    if isolated(&[]).is_none() {
        return;
    }
    refused(limited("on"))
        .stderr_has("cannot make a user namespace")
        .stderr_has("user.max_user_namespaces is 0");
    limited("auto").code(0);
}

/// What it is, is said.
#[test]
fn the_ready_line_tells_the_truth() {
    let home = TempDir::new().unwrap();
    let said = |isolation: &str| {
        let mut command = clean(BOWLINE, home.path());
        command.args(["sandbox", "--isolation", isolation]);
        let (running, _) = foreground(&mut command);
        running.signal("INT");
        running.finish(SOON).code(0).stderr
    };
    let off = said("off");
    assert!(off.contains("can touch your files"), "{off}");
    assert!(!off.contains("isolated"), "{off}");
    let auto = said("auto");
    match isolated(&[]) {
        Some(_) => {
            assert!(auto.contains("each of its tasks is isolated"), "{auto}");
            assert!(!auto.contains("can touch"), "{auto}");
        }
        None => {
            assert!(auto.contains("can touch your files"), "{auto}");
            assert!(
                auto.contains("cannot be isolated on this machine: "),
                "{auto}"
            );
        }
    }
}
