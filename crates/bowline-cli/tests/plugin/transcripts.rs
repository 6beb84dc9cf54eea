//! The recorded sessions of AWS's program, with the one under test in its place.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::link;
use crate::service::Service;
use crate::support::{SOON, clean, signal, wait_for};

const STARTING: &str = "\nStarting session with SessionId: s\n";
const EXITING: &str = "\n\nExiting session with sessionId: s.\n\n";

struct Plugin {
    child: Child,
    _home: TempDir,
}

impl Plugin {
    fn start(service: &Service, request: &Value) -> Self {
        let home = TempDir::new().unwrap();
        let endpoint = format!("http://127.0.0.1:{}/", service.port);
        let child = clean(link(home.path()), home.path())
            .args([
                "AWS_SSM_START_SESSION_RESPONSE",
                "eu-west-1",
                "StartSession",
                "",
            ])
            .args([request.to_string(), endpoint])
            .env("AWS_SSM_START_SESSION_RESPONSE", service.response())
            .env("AWS_ACCESS_KEY_ID", "id")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, _home: home }
    }

    fn write(&mut self, bytes: &[u8]) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(bytes).unwrap();
    }

    /// Its code, stdout and stderr.
    fn end(mut self) -> (i32, String, String) {
        let mut stdout = self.child.stdout.take().unwrap();
        let reading = thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).unwrap();
            text
        });
        let status = wait_for("the plugin's end", SOON, || self.child.try_wait().unwrap());
        let mut stderr = String::new();
        let mut said = self.child.stderr.take().unwrap();
        said.read_to_string(&mut stderr).unwrap();
        (status.code().unwrap(), reading.join().unwrap(), stderr)
    }

    /// Reads stdout up to these words; what comes with them is lost.
    fn stdout_until(&mut self, words: &str) -> String {
        let stdout = self.child.stdout.as_mut().unwrap();
        let mut text = String::new();
        let mut piece = [0; 1024];
        while !text.contains(words) {
            let length = stdout.read(&mut piece).unwrap();
            assert_ne!(length, 0, "{text}");
            text.push_str(std::str::from_utf8(&piece[..length]).unwrap());
        }
        text
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn shell() -> Value {
    json!({"Target": "ecs:demo_t_t-1"})
}

#[test]
fn sessions_of_commands_are_shown_as_they_were_and_their_codes_are_passed_on() {
    for (name, typed, shown, code) in [
        ("plugin-early-output-dropped", "", "early", 0),
        ("plugin-interactive-commands-short", "", "hi\r\n", 0),
        ("plugin-noninteractive-exitcode", "", "outEXIT_CODE: 3", 3),
        ("plugin-standard-stream-old-agent", "", "HELLO", 0),
        ("plugin-stdin-pipe-lf", "a\n\nline2\n\n\n", "HELLO", 0),
    ] {
        let service = Service::replay(name, None);
        let mut plugin = Plugin::start(&service, &shell());
        plugin.write(typed.as_bytes());
        let (ended, stdout, stderr) = plugin.end();
        assert_eq!(
            stdout,
            format!("{STARTING}{shown}{EXITING}"),
            "{name}: {stderr}"
        );
        assert_eq!(ended, code, "{name}: {stderr}");
        let heard = service.heard();
        // A line feed stays one, however it is read.
        assert_eq!(String::from_utf8(heard.input).unwrap(), typed, "{name}");
        assert_eq!(heard.size, json!({"cols": 300, "rows": 100}), "{name}");
    }
}

#[test]
fn an_agent_that_says_nothing_is_told_of() {
    let service = Service::silent();
    let mut plugin = Plugin::start(&service, &shell());
    let mut said = BufReader::new(plugin.child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("the agent says nothing yet"), "{line}");
}

#[test]
fn what_was_typed_arrives() {
    let service = Service::replay("plugin-standard-stream-pty", None);
    let mut plugin = Plugin::start(&service, &shell());
    let typed = "ls\r\x03é\x04\x1a\x1c";
    plugin.write(typed.as_bytes());
    let (code, stdout, stderr) = plugin.end();
    assert!(stdout.starts_with(&format!("{STARTING}HELLO")), "{stdout}");
    assert!(stdout.ends_with(EXITING), "{stdout}");
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(String::from_utf8(service.heard().input).unwrap(), typed);
}

#[test]
fn the_end_of_stdin_is_the_end_of_the_input_and_not_of_the_session() {
    let service = Service::replay("plugin-stdin-eof", None);
    let mut plugin = Plugin::start(&service, &shell());
    drop(plugin.child.stdin.take());
    // The recording has no end, so that the session stays.
    let said = plugin.stdout_until(STARTING);
    assert_eq!(said, STARTING);
    service.until_input();
    assert!(plugin.child.try_wait().unwrap().is_none());
    plugin.child.kill().unwrap();
    assert!(service.heard().input.starts_with(b"\x04"));
}

#[test]
fn a_lost_connection_is_restored_by_the_endpoint_that_was_given() {
    let answer = json!({"SessionId": "s", "TokenValue": "TOKEN-2"});
    let service = Service::replay("plugin-reconnect-ok", Some((200, answer)));
    let plugin = Plugin::start(&service, &shell());
    let (code, stdout, stderr) = plugin.end();
    assert_eq!(
        stdout,
        format!("{STARTING}first\r\nsecond\r\n{EXITING}"),
        "{stderr}"
    );
    assert_eq!(code, 0);
    assert_eq!(service.heard().tokens, ["TOKEN-1", "TOKEN-2"]);
}

#[test]
fn a_session_that_cannot_be_resumed_ends_and_says_so() {
    let unknown = json!({"__type": "UnknownOperationException", "message": "unknown"});
    for (name, answer, last) in [
        (
            "plugin-reconnect-empty",
            (200, json!({"SessionId": "s"})),
            "Session: s timed out.\n",
        ),
        ("plugin-reconnect-deny", (400, unknown), EXITING),
    ] {
        let service = Service::replay(name, Some(answer));
        let (code, stdout, stderr) = Plugin::start(&service, &shell()).end();
        assert_eq!(
            stdout,
            format!("{STARTING}first\r\n{last}"),
            "{name}: {stderr}"
        );
        assert_eq!(code, 1, "{name}: {stderr}");
    }
}

/// Says something, and reads as much as was recorded of the answer.
fn converse(port: u16, said: &[u8], answered: usize) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(said).unwrap();
    let mut answer = vec![0; answered];
    stream.read_exact(&mut answer).unwrap();
    answer
}

fn port_in(said: &str) -> u16 {
    let rest = said.split_once("Port ").unwrap().1;
    rest.split_once(' ').unwrap().0.parse().unwrap()
}

#[test]
fn ports_are_opened_and_announced_as_tools_expect_it() {
    let service = Service::replay("plugin-port-mux", None);
    let mut plugin = Plugin::start(&service, &shell());
    let said = plugin.stdout_until("Waiting for connections...\n");
    let port = port_in(&said);
    assert_eq!(
        said,
        format!("{STARTING}Port {port} opened for sessionId s.\nWaiting for connections...\n")
    );
    assert_eq!(converse(port, b"E\nping", 4), b"ping");
    plugin.stdout_until("\nConnection accepted for session [s]\n");
    signal(plugin.child.id(), "INT");
    let (code, stdout, _) = plugin.end();
    assert_eq!(
        stdout,
        format!("Terminate signal received, exiting.\n{EXITING}")
    );
    assert_eq!(code, 0);
    assert_eq!(service.heard().flags, [2]);
}

#[test]
fn agents_that_serve_one_connection_at_a_time_are_served_too() {
    let service = Service::replay("plugin-port-basic", None);
    let mut plugin = Plugin::start(&service, &shell());
    let port = port_in(&plugin.stdout_until("opened for sessionId s.\n"));
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    for (said, answer) in [(&b"ping"[..], &b"ping"[..]), (b"\n", b"\r")] {
        // The recorded client has turned the line feed into another byte; ours does not, and the recording answers so.
        stream.write_all(said).unwrap();
        let mut got = vec![0; said.len()];
        stream.read_exact(&mut got).unwrap();
        assert_eq!(got, answer);
    }
    drop(stream);
    plugin.stdout_until("Connection accepted for session s.\n");
    assert_eq!(converse(port, b"again", 5), b"again");
    signal(plugin.child.id(), "INT");
    let (code, ..) = plugin.end();
    assert_eq!(code, 0);
    let heard = service.heard();
    assert_eq!(heard.input, b"ping\nagain");
    assert_eq!(heard.flags.first(), Some(&1));
    assert_eq!(heard.flags.last(), Some(&2));
}

#[test]
fn a_stream_for_ssh_is_nothing_but_the_stream() {
    let service = Service::replay("plugin-port-stdio", None);
    let mut plugin = Plugin::start(&service, &shell());
    plugin.write(b"SSH-2.0-x\r\n");
    assert_eq!(plugin.stdout_until("\n"), "SSH-2.0-x\r\n");
    plugin.write(b"\n");
    plugin.stdout_until("\r");
    drop(plugin.child.stdin.take());
    let (code, stdout, stderr) = plugin.end();
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, "", ""));
    assert_eq!(service.heard().input, b"SSH-2.0-x\r\n\n");
}

#[test]
fn the_plugin_answers_without_a_session() {
    let home = TempDir::new().unwrap();
    let plugin = link(home.path());
    let run = |words: &[&str]| {
        let output = Command::new(&plugin).args(words).output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), stdout)
    };
    let installed = "\nThe Session Manager plugin was installed successfully. Use the AWS CLI to start a session.\n\n";
    assert_eq!(run(&[]), (Some(0), installed.to_owned()));
    let (code, version) = run(&["--version"]);
    let parts: Vec<u32> = version
        .trim_end()
        .split('.')
        .map(|part| part.parse().unwrap())
        .collect();
    // The AWS CLI warns of less.
    assert!(parts >= vec![1, 2, 764, 0] && parts.len() == 4, "{version}");
    assert_eq!(code, Some(0));
    let (code, said) = run(&["{", "r", "StartSession"]);
    assert!(said.starts_with("Cannot perform start session: "), "{said}");
    assert_eq!(code, Some(1));
    assert_eq!(run(&["ssh"]).0, Some(1));
}
