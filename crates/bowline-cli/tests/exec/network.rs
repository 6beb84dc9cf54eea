//! From any place: TLS, proxies, and what is said when neither works.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use crate::support::servers::{Proxy, closed_port, stub};
use crate::support::{BOWLINE, Finished, Sandbox, Shared, Terminal, run};

/// A name that no resolver knows (RFC 6761), so that only the proxy can have found it.
const NAME: &str = "sandbox.invalid";
const ECHO: [&str; 5] = ["exec", "web", "--", "echo", "through"];

#[test]
fn tls_needs_the_authority_and_nothing_else() {
    let sandbox = Sandbox::start(&["--tls"]);
    assert!(
        sandbox
            .variable("AWS_ENDPOINT_URL")
            .starts_with("https://127.0.0.1:")
    );
    run(&mut sandbox.bowline(&ECHO)).code(0).stdout("through\n");

    for host in ["localhost", "127.0.0.1"] {
        let endpoint = format!("https://{host}:{}", port(&sandbox));
        let mut command = sandbox.bowline(&ECHO);
        run(command.env("BOWLINE_ENDPOINT", endpoint))
            .code(0)
            .stdout("through\n");
    }

    let untold = run(sandbox.bowline(&ECHO).env_remove("AWS_CA_BUNDLE"))
        .code(125)
        .stdout("");
    says_both(
        &untold,
        "not signed by an authority that is trusted here",
        "AWS_CA_BUNDLE",
    );
}

#[test]
fn a_login_over_tls_needs_the_authority_too() {
    let sandbox = Sandbox::start(&["--tls"]);
    let twice =
        "\"$0\" login web; echo code $?; unset AWS_CA_BUNDLE; \"$0\" login web; echo then $?";
    let mut terminal = Terminal::start(&sandbox, "/bin/sh", &["-c", twice, BOWLINE]);
    terminal.until("helps");
    terminal.press(b"echo shell is ''up; exit 4\r");
    terminal.until("shell is up");
    terminal.until("code 4");
    terminal.until("is trusted here");
    terminal.until("then 125");
}

#[test]
fn the_authority_of_another_start_is_not_trusted() {
    let (one, other) = (Sandbox::start(&["--tls"]), Sandbox::start(&["--tls"]));
    let foreign = other.variable("AWS_CA_BUNDLE");
    let finished = run(one.bowline(&ECHO).env("AWS_CA_BUNDLE", foreign)).code(125);
    says_both(
        &finished,
        "not signed by an authority that is trusted here",
        "AWS_CA_BUNDLE",
    );
    let missing = run(one.bowline(&ECHO).env("AWS_CA_BUNDLE", "/no/such/file")).code(125);
    says_both(
        &missing,
        "AWS_CA_BUNDLE /no/such/file cannot be used",
        "PEM",
    );
}

#[test]
fn the_data_channel_checks_certificates_as_the_calls_do() {
    let sandbox = Sandbox::start(&["--tls"]);
    let proxy = Proxy::start();
    let mut command = sandbox.bowline(&ECHO);
    let finished = run(command
        .env("HTTPS_PROXY", proxy.url())
        .env("BOWLINE_STREAM_HOST", format!("{NAME}:{}", port(&sandbox))))
    .code(125);
    let text = format!(
        "the data channel could not be opened: the certificate of {NAME}:{} is for another name (through the proxy {})",
        port(&sandbox),
        proxy.address
    );
    says_both(&finished, &text, "--stream-host");
}

#[test]
fn calls_and_data_channel_go_through_the_proxy() {
    let sandbox = Sandbox::start(&["--tls", "--host-name", NAME]);
    let proxy = Proxy::start();
    let mut command = behind(&sandbox, &["-vvv"]);
    let url = format!("http://user:pa55word@{}", proxy.address);
    let finished = run(command.env("HTTPS_PROXY", url))
        .code(0)
        .stdout("through\n");

    let requests = proxy.requests();
    // One for all calls, one for the session.
    assert!(requests.len() >= 2, "{requests:?}");
    for request in &requests {
        assert_eq!(request.target, format!("{NAME}:{}", port(&sandbox)));
        // user:pa55word
        assert_eq!(
            request.credentials.as_deref(),
            Some("Basic dXNlcjpwYTU1d29yZA==")
        );
    }
    for secret in ["pa55word", "dXNlcjpwYTU1d29yZA"] {
        assert!(!finished.stderr.contains(secret), "{}", finished.stderr);
    }
}

#[test]
fn every_variable_for_a_proxy_counts() {
    let sandbox = Sandbox::start(&["--tls", "--host-name", NAME]);
    for variable in ["https_proxy", "ALL_PROXY", "all_proxy"] {
        let proxy = Proxy::start();
        run(behind(&sandbox, &[]).env(variable, proxy.url()))
            .code(0)
            .stdout("through\n");
        assert!(proxy.requests().len() >= 2, "{variable}");
    }
    // Only for http, which nothing here is.
    let proxy = Proxy::start();
    run(behind(&sandbox, &[]).env("HTTP_PROXY", proxy.url())).code(125);
    assert_eq!(proxy.requests().len(), 0);
}

#[test]
fn no_proxy_and_loopback_go_direct() {
    let sandbox = Sandbox::start(&["--tls", "--host-name", NAME]);
    let proxy = Proxy::start();
    // The name is unknown here: that it is looked up shows that the proxy is left out.
    let mut command = behind(&sandbox, &[]);
    let finished = run(command
        .env("HTTPS_PROXY", proxy.url())
        .env("NO_PROXY", "elsewhere.example, .invalid"))
    .code(125);
    says_both(&finished, "cannot be resolved", "HTTPS_PROXY");
    // The same for the session alone.
    let mut command = sandbox.bowline(&ECHO);
    let finished = run(command
        .env("BOWLINE_STREAM_HOST", format!("{NAME}:{}", port(&sandbox)))
        .env("HTTPS_PROXY", proxy.url())
        .env("no_proxy", NAME))
    .code(125);
    says_both(
        &finished,
        "the data channel could not be opened: the name of",
        "HTTPS_PROXY",
    );

    let mut command = sandbox.bowline(&ECHO);
    run(command.env("ALL_PROXY", proxy.url()))
        .code(0)
        .stdout("through\n");
    assert_eq!(proxy.requests().len(), 0);
}

#[test]
fn a_stream_url_is_followed_to_a_named_host_only() {
    let sandbox = Sandbox::start(&["--tls", "--host-name", NAME]);
    let proxy = Proxy::start();
    let mut command = behind(&sandbox, &[]);
    let finished = run(command
        .env("HTTPS_PROXY", proxy.url())
        .env_remove("BOWLINE_STREAM_HOST"))
    .code(125);
    says_both(&finished, &format!("leads to {NAME}"), "--stream-host");
    assert!(
        finished.stderr.contains("nothing was sent"),
        "{}",
        finished.stderr
    );

    let finished = run(sandbox
        .bowline(&ECHO)
        .env("BOWLINE_STREAM_HOST", "wss://x/y"))
    .code(125);
    says_both(
        &finished,
        "stream host \"wss://x/y\"",
        "BOWLINE_STREAM_HOST",
    );
}

/// What a user reads, one failure after the other. Each has a text and a next command of its own.
#[test]
fn every_failure_of_a_call_has_its_own_words() {
    let sandbox = Shared::get();
    let secure = Sandbox::start(&["--tls", "--host-name", NAME]);
    let json = |status: &str, body: &str| {
        stub(format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
    };
    let expired = json(
        "400 Bad Request",
        r#"{"__type":"ExpiredTokenException","message":"The security token included in the request is expired"}"#,
    );
    let page = json(
        "500 Internal Server Error",
        "<html><title>Oops</title><p>It broke.</p></html>",
    );
    let to = |endpoint: String| {
        let mut command = sandbox.bowline(&["ls", "clusters"]);
        command.env("BOWLINE_ENDPOINT", endpoint);
        command
    };
    let through = |proxy: String| {
        let mut command = secure.bowline(&["ls", "clusters"]);
        command
            .env("BOWLINE_ENDPOINT", format!("https://{NAME}:443"))
            .env("HTTPS_PROXY", proxy);
        command
    };
    let mut region = to(sandbox.variable("BOWLINE_ENDPOINT").to_owned());
    region.env("AWS_REGION", "eu-west-1");
    let mut key = to(sandbox.variable("BOWLINE_ENDPOINT").to_owned());
    key.env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE");
    let mut secret = to(sandbox.variable("BOWLINE_ENDPOINT").to_owned());
    secret.env("AWS_SECRET_ACCESS_KEY", "wrong");

    let text = table(vec![
        ("expired token", to(format!("http://{expired}"))),
        ("wrong region", region),
        ("unknown key", key),
        ("wrong secret", secret),
        ("closed port", to(format!("http://{}", closed_port()))),
        ("unknown name", to(format!("https://{NAME}"))),
        (
            "https to a plain port",
            to(format!("https://127.0.0.1:{}", port(&sandbox))),
        ),
        (
            "http to a sandbox with --tls",
            to(format!("http://127.0.0.1:{}", port(&secure))),
        ),
        (
            "http to a port for TLS",
            to(format!("http://{}", stub(*b"\x15\x03\x03\x00\x02\x02\x32"))),
        ),
        ("a page", to(format!("http://{page}"))),
        (
            "proxy: closed port",
            through(format!("http://{}", closed_port())),
        ),
        (
            "proxy: unknown name",
            through(format!("http://{NAME}:3128")),
        ),
        (
            "proxy: 407",
            through(Proxy::answering("407 Proxy Authentication Required").url()),
        ),
        (
            "proxy: 403",
            through(Proxy::answering("403 Forbidden").url()),
        ),
        (
            "proxy: no proxy",
            through(format!("http://{}", stub("SSH-2.0-OpenSSH_9.2\r\n\r\n"))),
        ),
        (
            "proxy: socks",
            through("socks5://127.0.0.1:1080".to_owned()),
        ),
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn every_failure_of_a_data_channel_has_its_own_words() {
    let sandbox = Shared::get();
    let secure = Sandbox::start(&["--tls"]);
    let at = |stream: SocketAddr| {
        let mut command = sandbox.bowline(&ECHO);
        command.env("BOWLINE_STREAM_HOST", stream.to_string());
        command
    };
    let answering = |status: &str| {
        at(stub(format!(
            "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"
        )))
    };
    let through = |proxy: String| {
        let mut command = secure.bowline(&ECHO);
        command
            .env("BOWLINE_STREAM_HOST", format!("{NAME}:443"))
            .env("HTTPS_PROXY", proxy);
        command
    };
    let mut plain = secure.bowline(&ECHO);
    plain.env(
        "BOWLINE_STREAM_HOST",
        format!("127.0.0.1:{}", port(&sandbox)),
    );
    let mut open = sandbox.bowline(&ECHO);
    open.env("BOWLINE_STREAM_HOST", "stream.example");

    let text = table(vec![
        ("closed port", at(closed_port())),
        ("upgrade: 401", answering("401 Unauthorized")),
        ("upgrade: 403", answering("403 Forbidden")),
        ("upgrade: 503", answering("503 Service Unavailable")),
        ("upgrade: a page", answering("200 OK")),
        ("upgrade: garbage", at(stub("hello\r\n\r\n"))),
        ("TLS to a plain port", plain),
        ("plain to a foreign host", open),
        (
            "proxy: closed port",
            through(format!("http://{}", closed_port())),
        ),
        (
            "proxy: 407",
            through(Proxy::answering("407 Proxy Authentication Required").url()),
        ),
        (
            "proxy: 403",
            through(Proxy::answering("403 Forbidden").url()),
        ),
        (
            "proxy: 502",
            through(Proxy::answering("502 Bad Gateway").url()),
        ),
        (
            "proxy: no proxy",
            through(format!("http://{}", stub("SSH-2.0-OpenSSH_9.2\r\n\r\n"))),
        ),
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn a_data_channel_that_never_answers_is_given_up() {
    let sandbox = Shared::get();
    let silent = stub([]);
    let mut command = sandbox.bowline(&ECHO);
    let finished = run(command.env("BOWLINE_STREAM_HOST", silent.to_string())).code(125);
    let text = format!("{silent} does not answer (no first byte of an answer within 15 s)");
    says_both(&finished, &text, "firewall");
    assert!(
        finished.took < Duration::from_secs(40),
        "{:?}",
        finished.took
    );
}

/// An exec whose calls and session name a host that only a proxy knows.
fn behind(sandbox: &Sandbox, words: &[&str]) -> Command {
    let mut command = sandbox.bowline(&[words, &ECHO].concat());
    command
        .env(
            "BOWLINE_ENDPOINT",
            format!("https://{NAME}:{}", port(sandbox)),
        )
        .env("BOWLINE_STREAM_HOST", format!("{NAME}:{}", port(sandbox)));
    command
}

fn port(sandbox: &Sandbox) -> u16 {
    let endpoint = sandbox.variable("AWS_ENDPOINT_URL");
    endpoint.rsplit_once(':').unwrap().1.parse().unwrap()
}

#[track_caller]
fn says_both(finished: &Finished, error: &str, hint: &str) {
    let (said, hints) = finished
        .stderr
        .split_once("hint:")
        .unwrap_or((&finished.stderr, ""));
    assert!(said.contains(error), "no {error:?} in {}", finished.stderr);
    assert!(
        hints.contains(hint),
        "no hint with {hint:?} in {}",
        finished.stderr
    );
}

/// What was said on stderr, under a title each. None may hang, none may succeed.
fn table(commands: Vec<(&str, Command)>) -> String {
    let mut text = String::new();
    for (title, mut command) in commands {
        let finished = run(&mut command).code(125).stdout("");
        assert!(
            finished.took < Duration::from_secs(20),
            "{title} took {:?}",
            finished.took
        );
        let _ = write!(text, "# {title}\n{}\n", without_ports(&finished.stderr));
    }
    text
}

/// Ports are this run's own, and so are request ids and the task that was chosen.
fn without_ports(text: &str) -> String {
    let mut shown = String::new();
    for (number, part) in text.split("127.0.0.1:").enumerate() {
        if number > 0 {
            shown.push_str("127.0.0.1:PORT");
        }
        let rest = part.trim_start_matches(|c: char| number > 0 && c.is_ascii_digit());
        shown.push_str(rest);
    }
    let mut lines = String::new();
    for line in shown.lines().filter(|line| !line.starts_with("task ")) {
        let line = match line.split_once("request id ") {
            Some((before, after)) => {
                let rest = after.trim_start_matches(|c: char| c.is_ascii_hexdigit() || c == '-');
                format!("{before}request id ID{rest}")
            }
            None => line.to_owned(),
        };
        let _ = writeln!(lines, "{line}");
    }
    lines
}
