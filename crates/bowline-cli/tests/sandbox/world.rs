//! `load` and `reset`.

use crate::User;

const MORE: &str = "
families:
  - name: api
    containers: [{ name: app, image: x, ports: [8080] }]
clusters:
  - name: demo
    services: [{ name: api, desired: 3 }]
  - name: other
    tasks: [{ family: api, count: 2 }]
functions: [{ name: hello, command: [echo, '\"hello\"'] }]
parameters: [{ name: /more/host, value: db.example }]
secrets: [{ name: more/db, value: { user: me } }]
";

fn services(user: &User, cluster: &str) -> Vec<(String, u64, String)> {
    let told = user.led(&["ls", "-c", cluster, "services", "-o", "json"]);
    let listed: serde_json::Value = serde_json::from_slice(&told.code(0).stdout).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let listed = listed["services"].as_array().unwrap().iter();
    listed
        .map(|it| {
            let desired = it["desiredCount"].as_u64().unwrap_or_default();
            (
                text(&it["serviceName"]),
                desired,
                text(&it["taskDefinition"])
                    .rsplit('/')
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
            )
        })
        .collect()
}

#[test]
fn a_file_adds_and_replaces_and_reset_takes_it_all_back() {
    let user = User::new();
    user.sandbox(&["up", "-d"]).code(0);
    let start = user.status()["holds"].clone();
    let more = user.write("more.yaml", MORE);
    user.sandbox(&["load", &more])
        .code(0)
        .stderr_has("2 clusters, 2 services, 7 tasks");
    assert_eq!(services(&user, "demo").len(), 2);
    // The service of the start is not named in the file, and goes on.
    user.led(&["exec", "demo/web", "--", "echo", "in"])
        .code(0)
        .stdout("in\n");
    user.led(&["exec", "demo/api", "--", "echo", "in"])
        .code(0)
        .stdout("in\n");

    // The same again changes nothing: no task twice, no revision.
    user.sandbox(&["load", &more]).code(0);
    let api = |desired, definition: &str| ("api".to_owned(), desired, definition.to_owned());
    assert!(
        services(&user, "demo").contains(&api(3, "api:1")),
        "{:?}",
        services(&user, "demo")
    );
    crate::support::wait_for("the tasks replaced", crate::support::SOON, || {
        (user.status()["holds"]["tasks"] == 7).then_some(())
    });

    let changed = MORE
        .replace("image: x", "image: y")
        .replace("desired: 3", "desired: 1");
    let changed = user.write("changed.yaml", &changed);
    user.sandbox(&["load", &changed]).code(0);
    assert!(
        services(&user, "demo").contains(&api(1, "api:2")),
        "{:?}",
        services(&user, "demo")
    );

    user.sandbox(&["reset"]).code(0);
    assert_eq!(user.status()["holds"], start);
    user.led(&["exec", "web", "--", "echo", "again"])
        .code(0)
        .stdout("again\n");
}

#[test]
fn a_file_with_a_mistake_changes_nothing() {
    let user = User::new();
    user.sandbox(&["up", "-d"]).code(0);
    let start = user.status()["holds"].clone();
    for (mistake, said) in [
        ("desired: 3 }]", "desired: 3, family: nobody }]"),
        ("count: 2", "count: 60000"),
        ("hello, command", "hello, bootstrap: /x, command"),
        ("/more/host", "aws/host"),
    ]
    .map(|(from, to)| (MORE.replace(from, to), to))
    {
        assert_ne!(mistake, MORE);
        let file = user.write("wrong.yaml", &mistake);
        user.sandbox(&["load", &file])
            .code(2)
            .stderr_has("wrong.yaml:");
        assert_eq!(user.status()["holds"], start, "{said}");
    }
}

#[test]
fn the_schema_knows_every_key_of_the_reference() {
    let user = User::new();
    let told = user.sandbox(&["schema"]).code(0);
    let schema: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    let reference = include_str!("../../../../docs/reference/sandbox-world.md");
    let mut keys = std::collections::BTreeSet::new();
    let definitions = schema["$defs"].as_object().unwrap().values();
    for definition in definitions.chain([&schema]) {
        let properties = definition["properties"].as_object();
        keys.extend(properties.into_iter().flat_map(|it| it.keys().cloned()));
    }
    assert!(keys.len() > 40, "{keys:?}");
    let missing: Vec<&String> = keys
        .iter()
        .filter(|key| !reference.contains(&format!("`{key}`")))
        .collect();
    assert!(missing.is_empty(), "not in the reference: {missing:?}");
    let example = include_str!("../../../../examples/worlds/shop.yaml");
    let unused: Vec<&String> = keys
        .iter()
        .filter(|key| !example.contains(&format!("{key}:")))
        .collect();
    assert!(unused.is_empty(), "not in the example: {unused:?}");
}
