//! `--state`: what is there again after a restart.

use std::path::Path;

use serde_json::Value;

use crate::User;
use crate::support::signal;

const WORLD: &str = "
families:
  - name: api
    containers: [{ name: app, image: x, ports: [8080] }]
clusters:
  - name: shop
    services: [{ name: api, desired: 2 }]
functions: [{ name: hello, command: [echo, '\"hello\"'] }]
parameters: [{ name: /shop/host, value: db.example, type: SecureString }]
secrets: [{ name: shop/db, value: hidden }]
";

#[track_caller]
fn holds(user: &User) -> Value {
    user.status()["holds"].clone()
}

#[test]
fn what_was_made_is_there_again() {
    let user = User::new();
    let world = user.write("world.yaml", WORLD);
    let up = ["up", "-d", "--state", "kept", "--world", &world];
    user.sandbox(&up).code(0);
    // What comes from calls, and what comes from a file.
    user.led(&[
        "run",
        "-c",
        "shop",
        "family:api",
        "-d",
        "--",
        "echo",
        "a line to keep",
    ])
    .code(0);
    let more = user.write("more.yaml", &WORLD.replace("api", "more"));
    user.sandbox(&["load", &more]).code(0);
    user.led(&["service", "restart", "shop/api", "--yes"])
        .code(0);
    let mut before = holds(&user);
    user.sandbox(&["down"]).code(0);
    let written = std::fs::read(user.home.path().join("kept")).unwrap();

    user.sandbox(&up).code(0);
    let after = holds(&user);
    // The task of no service is not kept.
    before["tasks"] = after["tasks"].clone();
    assert_eq!(after, before);
    assert_eq!(after["tasks"], 4, "{after}");
    user.led(&["exec", "shop/more", "--", "echo", "in"])
        .code(0)
        .stdout("in\n");
    user.sandbox(&["reset"]).code(0);
    assert_eq!(holds(&user)["services"], 1);
    user.sandbox(&["down"]).code(0);
    let reset = std::fs::read(user.home.path().join("kept")).unwrap();
    assert!(reset.len() < written.len());
}

#[test]
fn a_damaged_file_is_refused_and_left_as_it_is() {
    let user = User::new();
    let up = ["up", "-d", "--state", "kept"];
    user.sandbox(&up).code(0);
    // A second sandbox may not have it.
    user.sandbox(&["up", "-d", "--name", "second", "--state", "kept"])
        .code(125)
        .stderr_has("another sandbox keeps its state in");
    user.sandbox(&["down"]).code(0);
    let path = user.home.path().join("kept");
    let whole = std::fs::read(&path).unwrap();
    let refused = |bytes: &[u8], said: &str, path: &Path| {
        std::fs::write(path, bytes).unwrap();
        user.sandbox(&up)
            .code(125)
            .stderr_has(said)
            .stderr_has("nothing was changed");
        assert_eq!(std::fs::read(path).unwrap(), bytes);
    };
    refused(&whole[..whole.len() / 2], "its checksum is another", &path);
    refused(b"{}\n", "no state of a sandbox", &path);
    let newer = String::from_utf8(whole.clone()).unwrap();
    let newer = newer.replacen("\"version\":1", "\"version\":2", 1);
    refused(newer.as_bytes(), "has version 2 of the form", &path);
    std::fs::write(&path, &whole).unwrap();
    user.sandbox(&up).code(0);
}

#[test]
fn a_crash_costs_some_seconds_at_most() {
    let user = User::new();
    let up = ["up", "-d", "--state", "kept"];
    user.sandbox(&up).code(0);
    let world = user.write("world.yaml", WORLD);
    user.sandbox(&["load", &world]).code(0);
    let path = user.home.path().join("kept");
    crate::support::wait_for("the file", crate::support::SOON, || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        text.contains("/shop/host").then_some(())
    });
    let pid = user.status()["pid"].as_u64().unwrap();
    signal(u32::try_from(pid).unwrap(), "KILL");
    crate::support::wait_for("its end", crate::support::SOON, || {
        (user.sandbox(&["status"]).status.code() == Some(3)).then_some(())
    });
    user.sandbox(&up).code(0);
    assert_eq!(holds(&user)["secrets"], 2);
}
