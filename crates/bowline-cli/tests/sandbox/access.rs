//! `--access-log`: a line for each call and session, without anything secret.

use serde_json::json;

use crate::User;
use crate::support::{Running, SOON, wait_for};

#[test]
fn each_call_and_session_is_a_line() {
    let user = User::new();
    user.sandbox(&["up", "-d", "--access-log", "access"])
        .code(0);
    user.led(&["exec", "web", "--", "echo", "a-secret-word"])
        .code(0);
    user.led(&["exec", "nobody", "--", "true"]).code(125);
    let endpoint = user.status()["endpoint"].as_str().unwrap().to_owned();
    let foreign = user
        .bowline(&["ls", "--endpoint-url", &endpoint, "--region", "us-east-1"])
        .env("AWS_ACCESS_KEY_ID", "AKIAWRONGWRONGWRONG1")
        .env("AWS_SECRET_ACCESS_KEY", "wrong")
        .output()
        .unwrap();
    assert!(!foreign.status.success());
    user.sandbox(&["down"]).code(0);
    let text = std::fs::read_to_string(user.home.path().join("access")).unwrap();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
    let of =
        |what: &str| -> Vec<&Vec<&str>> { lines.iter().filter(|line| line[3] == what).collect() };
    let call = of("ecs.ExecuteCommand")[0];
    assert_eq!(call[1..3], ["123456789012", "user/sandbox"], "{text}");
    assert_eq!(call[4], "200");
    assert!(call[5].ends_with("ms") && call[6].ends_with('B'), "{text}");
    assert_eq!(call[7].len(), 36, "{text}");
    call[0].parse::<jiff::Timestamp>().unwrap();
    let (open, close) = (of("session.open"), of("session.close"));
    assert_eq!((open.len(), close.len()), (1, 1), "{text}");
    assert_eq!(open[0][4], close[0][4]);
    assert_eq!(open[0][5], "AmazonECS-ExecuteInteractiveCommand");
    let refused = lines
        .iter()
        .find(|line| line[4] == "400/UnrecognizedClientException");
    let refused = refused.unwrap_or_else(|| panic!("{text}"));
    assert_eq!(refused[1..3], ["-", "-"], "{text}");
    for secret in ["a-secret-word", "AKIA", "wrong", "Signature", "Token"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[test]
fn on_stdout_it_comes_behind_the_variables() {
    let user = User::new();
    let words = ["sandbox", "--accept-any-credentials", "--access-log", "-"];
    let mut running = Running::start_lines(&mut user.bowline(&words));
    let first = running.line().1;
    let endpoint = first.trim().trim_start_matches("export AWS_ENDPOINT_URL=");
    let address = endpoint.trim_matches('\'').trim_start_matches("http://");
    let stream = std::net::TcpStream::connect(address).unwrap();
    let body = json!({}).to_string();
    let request = format!(
        "POST / HTTP/1.1\r\nhost: {address}\r\nx-amz-target: AmazonSSM.Nonsense\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    std::io::Write::write_all(&mut &stream, request.as_bytes()).unwrap();
    let line = wait_for("the line", SOON, || {
        let line = running.line().1;
        line.contains("ssm.").then_some(line)
    });
    assert!(
        line.contains("ssm.Nonsense 400/UnknownOperationException"),
        "{line}"
    );
}
