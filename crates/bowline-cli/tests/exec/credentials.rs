//! Every kind of profile, and what is said when there are no credentials.

use std::fmt::Write as _;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::servers::{closed_port, listening_stub, stub};
use crate::support::{BOWLINE, Finished, Sandbox, Shared, Terminal, clean, run};

const PROFILES: &str = r#"
[default]
region = eu-west-1

[profile corp]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = Admin

[sso-session corp]
sso_region = eu-west-1
sso_start_url = https://corp.example/start

[profile new]
sso_session = new
sso_account_id = 123456789012
sso_role_name = Admin

[sso-session new]
sso_region = eu-west-1
sso_start_url = https://new.example/start

[profile legacy]
sso_start_url = https://old.example/start
sso_region = eu-west-1
sso_account_id = 123456789012
sso_role_name = Admin

[profile half-sso]
sso_session = corp

[profile tool]
credential_process = /bin/sh -c "echo no smart card >&2; exit 3" --token s3cret

[profile chatty]
credential_process = /bin/echo hello

[profile console]
login_session = arn:aws:iam::123456789012:user/me

[profile loop]
role_arn = arn:aws:iam::123456789012:role/a
source_profile = pool

[profile pool]
role_arn = arn:aws:iam::123456789012:role/b
source_profile = loop

[profile lost]
role_arn = arn:aws:iam::123456789012:role/a
source_profile = nowhere

[profile half]
aws_access_key_id = AKIAHALF

[profile mfa]
role_arn = arn:aws:iam::123456789012:role/a
source_profile = keys
mfa_serial = arn:aws:iam::123456789012:mfa/me

[profile keys]
aws_access_key_id = AKIAKEYS
aws_secret_access_key = s3cret
"#;

/// A sandbox has no session tokens of its own, and temporary credentials have one.
const ANY: &[&str] = &["--accept-any-credentials"];

/// A home with these profiles.
fn home(profiles: &str) -> TempDir {
    let home = TempDir::new().unwrap();
    std::fs::create_dir_all(home.path().join(".aws/sso/cache")).unwrap();
    std::fs::write(home.path().join(".aws/config"), profiles).unwrap();
    home
}

fn bowline(home: &TempDir, words: &[&str], variables: &[(&str, &str)]) -> Finished {
    run(clean(BOWLINE, home.path())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(variables.iter().copied())
        .args(words))
}

#[test]
fn whatever_is_missing_its_remedy_is_named() {
    let profiles = home(PROFILES);
    let empty = TempDir::new().unwrap();
    let cache = profiles.path().join(".aws/sso/cache");
    for (digest, start) in [(CORP, "corp"), (OLD, "old")] {
        let token = format!(
            r#"{{"startUrl": "https://{start}.example/start", "region": "eu-west-1", "accessToken": "s3cret", "expiresAt": "2020-01-01T00:00:00Z"}}"#
        );
        std::fs::write(cache.join(format!("{digest}.json")), token).unwrap();
    }
    // The SDK leaves it to the service to say that a token of the old kind is too old.
    let body = r#"{"message": "Session token not found or invalid"}"#;
    let refusal = format!(
        "HTTP/1.1 401 Unauthorized\r\nx-amzn-errortype: UnauthorizedException\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let portal = format!("http://{}", stub(refusal));

    let region = ("AWS_REGION", "eu-west-1");
    let mut text = String::new();
    let mut show = |what: &str, finished: Finished| {
        assert!(!finished.stderr.contains("s3cret"), "{}", finished.stderr);
        let _ = writeln!(
            text,
            "# {what}: exit {}\n{}",
            finished.status.code().unwrap(),
            finished.stderr
        );
    };
    show("nothing at all", bowline(&empty, &["ls"], &[region]));
    show("no region", bowline(&empty, &["ls"], &[]));
    show(
        "half of the keys",
        bowline(&empty, &["ls"], &[region, ("AWS_ACCESS_KEY_ID", "AKIA")]),
    );
    show("other profiles have some", bowline(&profiles, &["ls"], &[]));
    show(
        "unknown profile",
        bowline(&profiles, &["ls", "--profile", "crop"], &[]),
    );
    show(
        "unknown AWS_PROFILE",
        bowline(&empty, &["ls"], &[region, ("AWS_PROFILE", "prod")]),
    );
    show(
        "region in other letters",
        bowline(&profiles, &["ls", "--region", "EU_WEST_1"], &[]),
    );
    let container = (
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "http://198.51.100.1/creds",
    );
    show(
        "container on a foreign host",
        bowline(&empty, &["ls"], &[region, container]),
    );
    for profile in [
        "new", "corp", "legacy", "half-sso", "tool", "chatty", "console", "loop", "lost", "half",
        "mfa",
    ] {
        let words = ["ls", "--region", "eu-west-1", "--profile", profile];
        let variables = [("AWS_ENDPOINT_URL_SSO", portal.as_str())];
        show(profile, bowline(&profiles, &words, &variables));
    }
    insta::assert_snapshot!(text);
}

/// The names of cached tokens: SHA-1 of the sso-session's name, and of the old kind's start URL.
const CORP: &str = "ee0bfd2552fbd840c02cc48b6e823320543c450f";
const OLD: &str = "103c764598c7bfb84492cce4b625216b27775ddd";

#[test]
fn silent_instance_metadata_is_not_waited_for() {
    let silent = format!("http://{}", stub(Vec::new()));
    let home = TempDir::new().unwrap();
    let variables = [
        ("AWS_EC2_METADATA_DISABLED", "false"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", silent.as_str()),
        ("AWS_REGION", "eu-west-1"),
    ];
    let finished = bowline(&home, &["ls"], &variables).code(125);
    assert!(
        finished.stderr.contains("instance metadata: "),
        "{}",
        finished.stderr
    );
    // Two seconds, and a busy machine.
    assert!(
        finished.took < Duration::from_secs(20),
        "{:?}",
        finished.took
    );
}

/// An answer with the sandbox's own keys, as a container's endpoint gives it.
fn container_answer(sandbox: &Sandbox) -> String {
    let body = format!(
        r#"{{"AccessKeyId": "{}", "SecretAccessKey": "{}", "Token": "t", "Expiration": "2099-01-01T00:00:00Z"}}"#,
        sandbox.variable("AWS_ACCESS_KEY_ID"),
        sandbox.variable("AWS_SECRET_ACCESS_KEY"),
    );
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn a_container_gives_credentials_to_whoever_has_its_token() {
    let sandbox = Sandbox::start(ANY);
    let (address, requests) = listening_stub(container_answer(&sandbox));
    let token = TempDir::new().unwrap();
    let file = token.path().join("token");
    std::fs::write(&file, "let me in").unwrap();
    let mut command = sandbox.bowline(&["ls", "services", "-o", "name"]);
    command
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .env(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            format!("http://{address}/creds"),
        )
        .env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &file);
    run(&mut command).code(0).stdout("demo/web\n");
    let requests = requests.lock().unwrap();
    assert!(requests[0].starts_with("GET /creds "), "{requests:?}");
    assert!(
        requests[0].contains("authorization: let me in"),
        "{requests:?}"
    );
}

#[test]
fn a_named_profile_goes_before_keys_in_the_environment() {
    let sandbox = Shared::get();
    let (id, secret) = (
        sandbox.variable("AWS_ACCESS_KEY_ID"),
        sandbox.variable("AWS_SECRET_ACCESS_KEY"),
    );
    let profile = format!(
        "[profile p]\ncredential_process = cat \"$HOME/keys\"\n[profile q]\naws_access_key_id={id}\naws_secret_access_key={secret}\n"
    );
    let home = home(&profile);
    let keys = format!(r#"{{"Version": 1, "AccessKeyId": "{id}", "SecretAccessKey": "{secret}"}}"#);
    std::fs::write(home.path().join("keys"), keys).unwrap();
    for profile in ["p", "q"] {
        let wrong = |command: &mut std::process::Command| {
            run(command
                .env("HOME", home.path())
                .env("AWS_SECRET_ACCESS_KEY", "wrong"))
        };
        let words = ["ls", "services", "-o", "name", "--profile", profile];
        wrong(&mut sandbox.bowline(&words))
            .code(0)
            .stdout("demo/web\n");
        wrong(sandbox.bowline(&words[..4]).env("AWS_PROFILE", profile))
            .code(125)
            .stderr_has("InvalidSignatureException");
    }
}

/// What STS answers to AssumeRole and its like: the sandbox's own keys.
fn sts_answer(sandbox: &Sandbox, action: &str) -> String {
    let body = format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><Credentials>\
         <AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey><SessionToken>t</SessionToken>\
         <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></{action}Result></{action}Response>",
        sandbox.variable("AWS_ACCESS_KEY_ID"),
        sandbox.variable("AWS_SECRET_ACCESS_KEY"),
    );
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

const CHAINS: &str = r#"
[profile sso]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = Admin

[sso-session corp]
sso_region = eu-west-1
sso_start_url = https://corp.example/start

[profile chain]
role_arn = arn:aws:iam::123456789012:role/far
source_profile = hub
external_id = agreed
duration_seconds = 1800

[profile hub]
role_arn = arn:aws:iam::123456789012:role/hub
role_session_name = me
source_profile = sso

[profile container]
role_arn = arn:aws:iam::123456789012:role/far
credential_source = EcsContainer

[profile web]
role_arn = arn:aws:iam::123456789012:role/web
web_identity_token_file = TOKEN
"#;

#[test]
fn every_kind_of_profile_gets_in() {
    let sandbox = Sandbox::start(ANY);
    let (id, secret) = (
        sandbox.variable("AWS_ACCESS_KEY_ID"),
        sandbox.variable("AWS_SECRET_ACCESS_KEY"),
    );
    let role = format!(
        r#"{{"roleCredentials": {{"accessKeyId": "{id}", "secretAccessKey": "{secret}", "sessionToken": "t", "expiration": 4070908800000}}}}"#
    );
    let role = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{role}",
        role.len()
    );
    let (portal, at_portal) = listening_stub(role);
    let (sts, at_sts) = listening_stub(sts_answer(&sandbox, "AssumeRole"));
    let (web, at_web) = listening_stub(sts_answer(&sandbox, "AssumeRoleWithWebIdentity"));
    let (container, _) = listening_stub(container_answer(&sandbox));

    let folder = TempDir::new().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "a.b.c").unwrap();
    let home = home(&CHAINS.replace("TOKEN", token.to_str().unwrap()));
    let cached = r#"{"startUrl": "https://corp.example/start", "region": "eu-west-1", "accessToken": "signed-in", "expiresAt": "2099-01-01T00:00:00Z"}"#;
    std::fs::write(
        home.path().join(format!(".aws/sso/cache/{CORP}.json")),
        cached,
    )
    .unwrap();
    let ls = |profile: &str, sts: std::net::SocketAddr| {
        let words = ["ls", "services", "-o", "name", "--profile", profile];
        run(sandbox
            .bowline(&words)
            .env("HOME", home.path())
            .env("AWS_ENDPOINT_URL_SSO", format!("http://{portal}"))
            .env("AWS_ENDPOINT_URL_STS", format!("http://{sts}"))
            .env(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                format!("http://{container}/"),
            ))
        .code(0)
        .stdout("demo/web\n");
    };
    ls("sso", sts);
    assert!(at_portal.lock().unwrap()[0].contains("signed-in"));
    ls("chain", sts);
    ls("container", sts);
    let asked = at_sts.lock().unwrap();
    let [hub, far, of_container] = &asked[..] else {
        panic!("{asked:?}");
    };
    assert!(
        hub.contains("role%2Fhub") && hub.contains("RoleSessionName=me"),
        "{hub}"
    );
    assert!(
        far.contains("role%2Ffar") && far.contains("ExternalId=agreed"),
        "{far}"
    );
    assert!(far.contains("DurationSeconds=1800"), "{far}");
    assert!(
        of_container.contains("RoleSessionName=bowline-"),
        "{of_container}"
    );
    ls("web", web);
    assert!(at_web.lock().unwrap()[0].contains("WebIdentityToken=a.b.c"));
}

#[test]
fn a_profile_may_name_the_endpoint() {
    let sandbox = Shared::get();
    let endpoint = sandbox.variable("AWS_ENDPOINT_URL");
    let home = home(&format!(
        "[profile p]\nservices = local\n[services local]\necs =\n  endpoint_url = {endpoint}\n[profile g]\nendpoint_url = {endpoint}\n"
    ));
    let proxy = format!("http://{}", closed_port());
    for profile in ["p", "g"] {
        let mut command = sandbox.bowline(&["ls", "services", "-o", "name"]);
        command
            .env("HOME", home.path())
            .env("AWS_PROFILE", profile)
            .env_remove("AWS_ENDPOINT_URL")
            .env_remove("BOWLINE_ENDPOINT");
        run(&mut command).code(0).stdout("demo/web\n");
        // On its way to AWS itself it gets no further than the proxy.
        command
            .env("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
            .env("HTTPS_PROXY", &proxy);
        run(&mut command)
            .code(125)
            .stderr_has("refused by the proxy");
    }
}

/// Whatever gives credentials may ask somebody for a code, and takes no code twice.
#[test]
fn credentials_are_looked_for_once_in_a_command() {
    let sandbox = Shared::get();
    let profile =
        "[profile p]\ncredential_process = sh -c 'echo >>\"$HOME/asked\"; cat \"$HOME/keys\"'\n";
    for words in [
        &["run", "family:job", "--dry-run"][..],
        &["run", "family:job", "--record", "--", "true"],
    ] {
        let home = home(profile);
        let keys = format!(
            r#"{{"Version": 1, "AccessKeyId": "{}", "SecretAccessKey": "{}"}}"#,
            sandbox.variable("AWS_ACCESS_KEY_ID"),
            sandbox.variable("AWS_SECRET_ACCESS_KEY")
        );
        std::fs::write(home.path().join("keys"), keys).unwrap();
        let mut command = sandbox.bowline(&[&["--profile", "p"], words].concat());
        run(command.env("HOME", home.path())).code(0);
        let asked = std::fs::read_to_string(home.path().join("asked")).unwrap();
        assert_eq!(asked, "\n", "{words:?}");
    }
}

#[test]
fn an_mfa_code_is_asked_for_at_the_terminal() {
    let sandbox = Sandbox::start(ANY);
    let answer = sts_answer(&sandbox, "AssumeRole");
    let (sts, requests) = listening_stub(answer);
    let home = home(PROFILES);
    let home_is = format!("HOME={}", home.path().display());
    let sts_is = format!("AWS_ENDPOINT_URL_STS=http://{sts}");
    let words = [
        &home_is,
        &sts_is,
        BOWLINE,
        "exec",
        "web",
        "--profile",
        "mfa",
        "--",
        "echo",
        "inside",
    ];
    let mut terminal = Terminal::start(&sandbox, "/usr/bin/env", &words);
    terminal.until("MFA code of arn:aws:iam::123456789012:mfa/me for profile mfa: ");
    terminal.press(b"123 456\n");
    let (status, shown) = terminal.end();
    assert_eq!(status.code(), Some(0), "{shown}");
    assert!(shown.contains("inside"), "{shown}");
    let requests = requests.lock().unwrap();
    assert_eq!(
        requests.len(),
        1,
        "asked for once per process: {requests:?}"
    );
    assert!(requests[0].contains("TokenCode=123456"), "{requests:?}");
    assert!(
        requests[0].contains("SerialNumber=arn%3Aaws%3Aiam%3A%3A123456789012%3Amfa%2Fme"),
        "{requests:?}"
    );
    assert!(requests[0].contains("Credential=AKIAKEYS/"), "{requests:?}");
}
