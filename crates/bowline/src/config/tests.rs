//! Layers, what a project's file may not do, and what errors look like.

use std::collections::HashMap;
use std::path::Path;

use insta::assert_snapshot;
use tempfile::TempDir;

use super::*;

/// A home with a user's file, and a project in it with a file of its own; either may be missing.
struct Home {
    folder: TempDir,
    variables: HashMap<String, String>,
}

impl Home {
    fn new(user: &str, project: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            if !text.is_empty() {
                std::fs::write(path, text).unwrap();
            }
        };
        write(".config/bowline/config.toml", user);
        write("project/.bowline.toml", project);
        write("project/deep/down/x", "x");
        let home = folder.path().to_str().unwrap().to_owned();
        let variables = HashMap::from([("HOME".to_owned(), home)]);
        Self { folder, variables }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    fn load(&self) -> Result<Config, ConfigError> {
        let directory = self.folder.path().join("project/deep/down");
        let environment = |name: &str| self.variables.get(name).cloned();
        Config::load(Defaults::default(), &environment, Some(directory))
    }

    fn error(&self) -> String {
        let error = self.load().unwrap_err();
        let hint = error.hint().map(|hint| format!("\nhint: {hint}"));
        format!("{error}{}", hint.unwrap_or_default())
            .replace(self.folder.path().to_str().unwrap(), "~")
    }

    fn origin<T: std::fmt::Display>(&self, setting: Option<&Setting<T>>) -> String {
        let setting = setting.unwrap();
        let home = self.folder.path().to_str().unwrap();
        format!("{} {}", setting.value, setting.origin).replace(home, "~")
    }
}

#[test]
fn the_nearest_layer_wins_and_says_where_it_is() {
    let home = Home::new(
        "region = 'r'\ncluster = 'user'",
        "# mine\ncluster = 'project'\n",
    );
    let config = home.load().unwrap();
    assert_eq!(
        home.origin(config.defaults.cluster.as_ref()),
        "project ~/project/.bowline.toml:2"
    );
    assert_eq!(
        home.origin(config.defaults.region.as_ref()),
        "r ~/.config/bowline/config.toml:1"
    );

    let home = home
        .with("BOWLINE_CLUSTER", "env")
        .with("AWS_REGION", "near");
    let config = home.load().unwrap();
    assert_eq!(
        home.origin(config.defaults.cluster.as_ref()),
        "env BOWLINE_CLUSTER"
    );
    assert_eq!(
        home.origin(config.defaults.region.as_ref()),
        "near AWS_REGION"
    );

    let flag = Setting::new("flag".parse().unwrap(), Origin::Flag("--cluster"));
    let flags = Defaults {
        cluster: Some(flag),
        ..Defaults::default()
    };
    let environment = |name: &str| home.variables.get(name).cloned();
    let config = Config::load(flags, &environment, None).unwrap();
    assert_eq!(
        home.origin(config.defaults.cluster.as_ref()),
        "flag --cluster"
    );
}

#[test]
fn an_empty_variable_is_not_set_and_a_named_file_has_to_be_there() {
    let home = Home::new("cluster = 'user'", "").with("BOWLINE_CLUSTER", "");
    assert_eq!(
        home.load()
            .unwrap()
            .defaults
            .cluster
            .unwrap()
            .value
            .as_str(),
        "user"
    );
    let home = home.with("BOWLINE_CONFIG", "/dev/null");
    assert!(home.load().unwrap().defaults.cluster.is_none());
    let home = home.with("BOWLINE_CONFIG", "/nowhere/x.toml");
    assert_snapshot!(home.error(), @"cannot read /nowhere/x.toml: BOWLINE_CONFIG names it, and it is not there");
    let home = Home::new("", "").with("XDG_CONFIG_HOME", "/xdg");
    let place = home.load().unwrap().files.user_place.unwrap();
    assert_eq!(place, Path::new("/xdg/bowline/config.toml"));
}

#[test]
fn aws_variables_are_nearer_than_a_file() {
    let user = "endpoint_url = 'http://127.0.0.1:1'\nprofile = 'p'";
    let home = Home::new(user, "");
    let config = home.load().unwrap();
    assert!(!config.defaults.profile.unwrap().origin.is_explicit());
    assert!(config.defaults.endpoint_url.is_some());
    let home = home
        .with("AWS_ENDPOINT_URL_ECS", "http://127.0.0.1:2")
        .with("AWS_PROFILE", "q");
    let config = home.load().unwrap();
    assert!(config.defaults.endpoint_url.is_none());
    let profile = config.defaults.profile.unwrap();
    assert_eq!(
        (profile.value.as_str(), profile.origin.is_explicit()),
        ("q", false)
    );
    let config = home.with("BOWLINE_PROFILE", "r").load().unwrap();
    assert!(config.defaults.profile.unwrap().origin.is_explicit());
}

#[test]
fn what_is_wrong_is_shown_in_its_place() {
    let errors = [
        "clustr = 'prod'",
        "cluster = 'a b'",
        "cluster = 3",
        "output = 'xml'",
        "cluster = 'a'\ncluster = 'b'",
        "\n[alias]\n\"a b\" = 'web'",
        "[alias]\ndb = 'a/b/c/d'",
        "[[guard]]\ncolour = 'pink'\ncluster = '*'",
        "[[guard]]\nname = 'x'",
        "[[guard]]\naccount = '123'",
        "cluster = ",
        "[things]\nx = 1",
    ];
    let shown: Vec<String> = errors
        .iter()
        .map(|text| Home::new(text, "").error())
        .collect();
    assert_snapshot!(shown.join("\n\n"), @r#"
    ~/.config/bowline/config.toml:1:1: unknown key clustr
      |
    1 | clustr = 'prod'
      | ^^^^^^
    hint: did you mean cluster?

    ~/.config/bowline/config.toml:1:11: cluster name "a b" may hold only letters, digits, '-' and '_', at most 255
      |
    1 | cluster = 'a b'
      |           ^^^^^

    ~/.config/bowline/config.toml:1:11: invalid type: integer `3`, expected a string
      |
    1 | cluster = 3
      |           ^

    ~/.config/bowline/config.toml:1:10: unknown value "xml"
      |
    1 | output = 'xml'
      |          ^^^^^
    hint: it is one of table, wide, json, ndjson, name

    ~/.config/bowline/config.toml:2:1: duplicate key
      |
    2 | cluster = 'b'
      | ^^^^^^^

    ~/.config/bowline/config.toml:3:9: an alias is one word: target name "a b" may hold only letters, digits, '-' and '_', at most 255
      |
    3 | "a b" = 'web'
      |         ^^^^^

    ~/.config/bowline/config.toml:2:6: target "a/b/c/d" has too many parts; the longest form is cluster/name/container
      |
    2 | db = 'a/b/c/d'
      |      ^^^^^^^^^

    ~/.config/bowline/config.toml:2:10: unknown value "pink"
      |
    2 | colour = 'pink'
      |          ^^^^^^
    hint: it is one of red, yellow, green, blue, magenta, cyan

    ~/.config/bowline/config.toml:1:1: a guard needs an account, a cluster or a profile; cluster = "*" is every place
      |
    1 | [[guard]]
      | ^^^^^^^^^

    ~/.config/bowline/config.toml:1:1: an account is a text of twelve digits
      |
    1 | [[guard]]
      | ^^^^^^^^^

    ~/.config/bowline/config.toml:1:11: string values must be quoted, expected literal string
      |
    1 | cluster = 
      |           ^

    ~/.config/bowline/config.toml:1:2: unknown key things
      |
    1 | [things]
      |  ^^^^^^
    hint: the keys here are cluster, target, container, shell, output, engine, region, profile, endpoint_url, stream_host, alias, forward, guard, account, group, op, record
    "#);
}

#[test]
fn a_project_may_not_decide_whose_credentials_go_where() {
    let errors = [
        "profile = 'admin'",
        "cluster = 'c'\nendpoint_url = 'http://evil.example'",
        "stream_host = 'evil.example'",
    ];
    let shown: Vec<String> = errors
        .iter()
        .map(|text| Home::new("", text).error())
        .collect();
    assert_snapshot!(shown.join("\n\n"), @r"
    ~/project/.bowline.toml:1:11: a project's file may not set profile: whose credentials are used is yours to decide
      |
    1 | profile = 'admin'
      |           ^^^^^^^
    hint: set it in your own file; `bowline config path` names it

    ~/project/.bowline.toml:2:16: a project's file may not set endpoint_url: requests signed with your credentials would go there
      |
    2 | endpoint_url = 'http://evil.example'
      |                ^^^^^^^^^^^^^^^^^^^^^
    hint: set it in your own file; `bowline config path` names it

    ~/project/.bowline.toml:1:15: a project's file may not set stream_host: tokens of your sessions would go there
      |
    1 | stream_host = 'evil.example'
      |               ^^^^^^^^^^^^^^
    hint: set it in your own file; `bowline config path` names it
    ");
}

#[test]
fn a_project_adds_guards_and_takes_none_away() {
    let user =
        "[[guard]]\ncluster = 'prod*'\nname = 'production'\n[[guard]]\ncluster='*'\nconfirm='none'";
    let project = "[[guard]]\ncluster = 'prod'\nconfirm = 'none'\nname = 'mine'\n[[guard]]\ncluster = 'test'\nconfirm = 'yes'";
    let config = Home::new(user, project).load().unwrap();
    let confirm = |cluster| {
        let place = GuardedPlace {
            account: Some("123456789012"),
            cluster,
            profile: None,
        };
        config
            .guard(&place)
            .map(|guard| (guard.value.confirm, guard.value.name.clone()))
    };
    assert_eq!(
        confirm("prod"),
        Some((Confirm::TypeName, Some("production".into())))
    );
    assert_eq!(confirm("test"), Some((Confirm::Yes, None)));
    assert_eq!(confirm("other"), Some((Confirm::None, None)));
}

#[test]
fn aliases_are_followed_to_their_end() {
    let user = "[alias]\ndb = 'prod/web/app'\nd = 'db'\nweb = 'service:web'";
    let home = Home::new(user, "[alias]\ndb = 'test/db'");
    let config = home.load().unwrap();
    let expand = |text: &str| {
        let expanded = config.expand(&text.parse().unwrap());
        (expanded.target.to_string(), expanded.note.is_some())
    };
    assert_eq!(expand("d"), ("test/db".into(), true));
    assert_eq!(expand("web"), ("service:web".into(), false));
    assert_eq!(expand("service:db"), ("service:db".into(), false));
    assert_eq!(expand("prod/db"), ("prod/db".into(), false));
    let home = Home::new("[alias]\na = 'b'\nb = 'c'\nc = 'b'", "");
    assert_snapshot!(home.error(), @"the alias a never ends: a → b → c → b (at ~/.config/bowline/config.toml:2)");
}

#[test]
fn every_example_of_the_manual_is_a_configuration() {
    let manual = include_str!("../../../../docs/reference/configuration.md");
    let examples: Vec<&str> = manual
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(examples.len() > 1);
    for example in &examples {
        Home::new(example, "").load().unwrap();
    }
    // The second is about projects.
    Home::new("", examples[1]).load().unwrap();
    let schema = json_schema();
    for key in schema["properties"].as_object().unwrap().keys() {
        let named = manual.contains(&format!("`{key}`")) || manual.contains(&format!("[{key}"));
        assert!(named, "{key} is not in the manual");
    }
}

#[test]
fn the_schema_knows_every_key() {
    let schema = json_schema();
    let keys: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "account",
            "alias",
            "cluster",
            "container",
            "endpoint_url",
            "engine",
            "forward",
            "group",
            "guard",
            "op",
            "output",
            "profile",
            "record",
            "region",
            "shell",
            "stream_host",
            "target"
        ]
    );
    assert_eq!(schema["additionalProperties"], false);
}
