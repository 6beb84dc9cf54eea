//! `logs --exec`: what sessions printed, as a person can read it.

use crate::support::{LATER, Sandbox, run, wait_for};

#[test]
fn logs_of_our_own_sessions_show_what_the_command_printed() {
    let sandbox = Sandbox::start(&["--scenario", "exec-logging=/exec"]);
    let target = "web";
    let tasks = run(&mut sandbox.bowline(&["ls", "tasks", "-o", "name"])).code(0);
    let tasks = String::from_utf8(tasks.stdout).unwrap();
    let task = format!(
        "task:{}",
        tasks
            .lines()
            .next()
            .unwrap()
            .rsplit(['/', ':'])
            .next()
            .unwrap()
    );
    let _ = target;
    for engine in ["framed", "plain"] {
        let script = format!("echo from {engine}; echo second >&2; exit 3");
        let words = ["exec", "--engine", engine, &task, "--", "sh", "-c", &script];
        run(&mut sandbox.bowline(&words)).code(3);
    }
    let shown = |more: &[&str]| {
        let mut command = sandbox.bowline(&["logs", "--exec", "--no-prefix", &task]);
        let finished = run(command.args(more)).code(0);
        (String::from_utf8(finished.stdout).unwrap(), finished.stderr)
    };
    // Logs arrive a little later than sessions end.
    let (read, said) = wait_for("both sessions in the log", LATER, || {
        let (read, said) = shown(&[]);
        let whole = said.matches("ended with 3").count() == 2;
        whole.then_some((read, said))
    });
    for line in ["from framed", "from plain", "second"] {
        assert!(read.lines().any(|shown| shown == line), "{line}: {read}");
    }
    assert!(!read.contains('\x1e'), "{read:?} {said}");
    let (last, _) = shown(&["--tail", "1"]);
    assert_eq!(last.lines().count(), 2, "{last}");
    let (raw, _) = shown(&["--raw"]);
    assert!(raw.contains("ZnJvbSBmcmFtZWQK"), "{raw:?}");
}
