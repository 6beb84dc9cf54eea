//! Layered settings, aliases and guards, as a user meets them.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::{BOWLINE, Finished, Sandbox, Shared, Terminal, clean, run};

/// A folder with a project's file, and a user's file beside it.
struct Project(TempDir);

impl Project {
    fn new(user: &str, project: &str) -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("user.toml"), user).unwrap();
        std::fs::create_dir(folder.path().join("src")).unwrap();
        if !project.is_empty() {
            std::fs::write(folder.path().join(".bowline.toml"), project).unwrap();
        }
        Self(folder)
    }

    fn user(&self) -> String {
        self.0.path().join("user.toml").to_str().unwrap().to_owned()
    }

    fn bowline(&self, sandbox: &Sandbox, words: &[&str]) -> Command {
        let mut command = sandbox.bowline(words);
        command
            .env("BOWLINE_CONFIG", self.user())
            .current_dir(self.0.path().join("src"));
        command
    }

    fn shown(&self, text: &str) -> String {
        let whole = std::fs::canonicalize(self.0.path()).unwrap();
        let replace = |text: &str, path: &Path| text.replace(path.to_str().unwrap(), "~");
        replace(&replace(text, &whole), self.0.path())
    }
}

fn text(finished: &Finished) -> String {
    String::from_utf8(finished.stdout.clone()).unwrap() + &finished.stderr
}

const GUARD: &str = "[[guard]]\nname = 'production'\ncluster = 'de*'\n";

#[test]
fn every_setting_says_where_it_comes_from() {
    let sandbox = Shared::get();
    let user = format!("profile = 'mine'\noutput = 'json'\n[alias]\nw = 'web'\n{GUARD}");
    let project = Project::new(&user, "# ours\ncluster = 'demo'\ntarget = 'service:web'\n");
    let mut command = project.bowline(
        &sandbox,
        &["config", "show", "--origin", "--region", "eu-west-3"],
    );
    let shown = run(command
        .env("BOWLINE_CONTAINER", "app")
        .env_remove("BOWLINE_ENDPOINT"))
    .code(0);
    insta::assert_snapshot!(project.shown(&text(&shown)), @r#"
    SETTING       VALUE                                                                         FROM
    cluster       demo                                                                          ~/.bowline.toml:2
    target        service:web                                                                   ~/.bowline.toml:3
    container     app                                                                           BOWLINE_CONTAINER
    shell         -                                                                             built in
    output        json                                                                          ~/user.toml:2
    engine        -                                                                             built in
    profile       mine                                                                          ~/user.toml:1
    region        eu-west-3                                                                     --region
    endpoint_url  -                                                                             built in
    stream_host   -                                                                             built in
    alias.w       web                                                                           ~/user.toml:4
    guard[0]      {"name":"production","cluster":["de*"],"colour":"red","confirm":"type-name"}  ~/user.toml:5
    "#);

    let json = run(&mut project.bowline(&sandbox, &["config", "show", "-o", "json"])).code(0);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["cluster"]["value"], "demo");
    assert_eq!(json["cluster"]["layer"], "project");
    assert_eq!(json["guard[0]"]["value"]["confirm"], "type-name");
    let paths = run(&mut project.bowline(&sandbox, &["config", "path"])).code(0);
    assert_eq!(
        project.shown(&text(&paths)),
        "user     ~/user.toml\nproject  ~/.bowline.toml\n"
    );
}

#[test]
fn a_project_file_is_enough_to_name_no_target() {
    let sandbox = Shared::get();
    let project = Project::new(
        "",
        "target = 'w'\noutput = 'name'\n[alias]\nw = 'demo/web/app'\n",
    );
    let said = run(&mut project.bowline(&sandbox, &["exec", "--", "echo", "here"]))
        .code(0)
        .stdout("here\n");
    assert!(said.stderr.contains("target w ("), "{}", said.stderr);
    assert!(
        said.stderr.contains("w is demo/web/app ("),
        "{}",
        said.stderr
    );
    run(&mut project.bowline(&sandbox, &["ls", "services", "w"]))
        .code(0)
        .stdout("demo/web\n");
}

#[test]
fn what_is_wrong_in_a_file_is_shown_and_costs_nobody_his_sandbox() {
    let sandbox = Shared::get();
    let project = Project::new("", "clustre = 'demo'\n");
    let wrong = run(&mut project.bowline(&sandbox, &["exec", "web", "--", "true"]))
        .code(2)
        .stdout("");
    insta::assert_snapshot!(project.shown(&wrong.stderr), @r"
    error: ~/.bowline.toml:1:1: unknown key clustre
      |
    1 | clustre = 'demo'
      | ^^^^^^^
    hint: did you mean cluster?
    ");
    let checked = run(&mut project.bowline(&sandbox, &["config", "check"])).code(4);
    assert_eq!(
        project.shown(&text(&checked)),
        format!("~/user.toml: right\n{}", project.shown(&wrong.stderr))
    );
    run(&mut project.bowline(&sandbox, &["--sandbox", "ls", "clusters", "-o", "name"]))
        .code(0)
        .stdout("demo\n");

    let project = Project::new("cluster = 'gone'", "profile = 'admin'");
    run(&mut project.bowline(&sandbox, &["ls"]))
        .code(2)
        .stderr_has("a project's file may not set profile");
    let project = Project::new("cluster = 'gone'", "");
    let lost = run(&mut project.bowline(&sandbox, &["ls"])).code(3);
    assert!(
        project
            .shown(&lost.stderr)
            .contains("the cluster is named by ~/user.toml:1"),
        "{}",
        lost.stderr
    );
}

#[test]
fn a_guard_wants_a_yes_where_nobody_can_be_asked() {
    let sandbox = Shared::get();
    let project = Project::new(GUARD, "[[guard]]\ncluster = '*'\nconfirm = 'none'\n");
    let refused = run(&mut project.bowline(&sandbox, &["exec", "web", "--", "echo", "done"]))
        .code(2)
        .stdout("");
    let task = refused.stderr.lines().next().unwrap();
    assert!(task.starts_with("task "), "{task}");
    let rest: Vec<&str> = refused.stderr.lines().skip(1).collect();
    insta::assert_snapshot!(project.shown(&rest.join("\n")), @r"
    PRODUCTION: demo/web/app in account 123456789012
    error: the guard at ~/user.toml:1 asks for confirmation, and there is no terminal to ask at
    hint: add --yes if this is meant
    ");
    run(&mut project.bowline(&sandbox, &["exec", "web", "--yes", "--", "echo", "done"]))
        .code(0)
        .stdout("done\n")
        .stderr_has("PRODUCTION: demo/web/app in account");
}

#[test]
fn a_guard_asks_at_the_terminal() {
    let sandbox = Shared::get();
    let project = Project::new(GUARD, "");
    let config = format!("BOWLINE_CONFIG={}", project.user());
    let words = [&config, BOWLINE, "exec", "web", "--", "echo", "done"];
    for (answer, code, says) in [("demo\n", 0, "done"), ("web\n", 130, "nothing was done")] {
        let mut terminal = Terminal::start(&sandbox, "/usr/bin/env", &words);
        terminal.until("\x1b[1;31mPRODUCTION: demo/web/app");
        terminal.until("type the cluster's name (demo) to go on: ");
        terminal.press(answer.as_bytes());
        let (status, shown) = terminal.end();
        assert_eq!(status.code(), Some(code), "{shown}");
        assert!(shown.contains(says), "{shown}");
    }
}

#[test]
fn every_form_of_a_target_finds_its_container() {
    let sandbox = Shared::get();
    let first = |words: &[&str]| {
        let found = run(&mut sandbox.bowline(words)).code(0);
        let text = String::from_utf8(found.stdout).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    let listed = first(&["ls", "tasks", "web", "-o", "json"]);
    let task = &listed["tasks"][0];
    let arn = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let cluster = arn(&task["clusterArn"]);
    let definition = arn(&task["taskDefinitionArn"]);
    let (prefix, _) = cluster.split_once(":cluster/").unwrap();
    let targets = [
        arn(&task["taskArn"]),
        arn(&task["containers"][0]["containerArn"]),
        format!("{prefix}:service/demo/web"),
        format!("{prefix}:service/web"),
        cluster.clone(),
        definition,
        format!("task:demo/{}/app", &arn(&task["taskId"])[..8]),
        "demo/web/*".to_owned(),
    ];
    for target in &targets {
        run(&mut sandbox.bowline(&["exec", target, "--", "echo", "in"]))
            .code(0)
            .stdout("in\n");
    }
    let misses = [
        vec!["family:wbe"],
        vec!["tag:team=pay"],
        vec!["task:zz"],
        vec!["demo/wbe"],
        vec!["dmo/web"],
        vec!["demo/web/ap"],
        vec!["web", "--strict"],
    ];
    let said = misses.into_iter().map(|mut words| {
        words.extend(["--", "true"]);
        let words: Vec<&str> = ["exec"].into_iter().chain(words).collect();
        let said = run(&mut sandbox.bowline(&words)).code(125).stderr;
        format!("$ bowline {}\n{said}", words.join(" "))
    });
    let said: Vec<String> = said.collect();
    let ids = arn(&listed["tasks"][0]["taskId"]);
    let other = arn(&listed["tasks"][1]["taskId"]);
    let said = said
        .join("\n")
        .replace(&ids, "TASK")
        .replace(&other, "TASK");
    insta::assert_snapshot!(said, @r"
    $ bowline exec family:wbe -- true
    error: a running task of family wbe was not found in cluster demo
    hint: did you mean web?
    hint: `bowline ls` shows what there is

    $ bowline exec tag:team=pay -- true
    error: a running task with tag team=pay was not found in cluster demo
    hint: `bowline ls` shows what there is

    $ bowline exec task:zz -- true
    error: a running task zz… was not found in cluster demo
    hint: there are the tasks TASK, TASK
    hint: `bowline ls` shows what there is

    $ bowline exec demo/wbe -- true
    error: wbe was not found in cluster demo
    hint: did you mean web?
    hint: `bowline ls` shows what there is

    $ bowline exec dmo/web -- true
    error: cluster dmo was not found in us-east-1
    hint: did you mean demo?

    $ bowline exec demo/web/ap -- true
    error: task TASK has no container ap
    hint: did you mean app?

    $ bowline exec web --strict -- true
    error: web is ambiguous in cluster demo: task:TASK, task:TASK
    hint: name one of them
    ");
    let old = clean(BOWLINE, Path::new("/"))
        .args(["help", "targets"])
        .output()
        .unwrap();
    assert!(
        String::from_utf8(old.stdout)
            .unwrap()
            .contains("tag:team=payments")
    );
}
