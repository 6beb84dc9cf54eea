//! The ChatOps hook: what it runs, and what it refuses.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::Sha256;
use tempfile::TempDir;

use crate::example;
use crate::support::{BOWLINE, SOON, Sandbox};

const SECRET: &str = "a secret of the test";
const OPERATIONS: &str = r#"
[op.say]
target = "web"
command = ["sh", "-c", "echo to stderr >&2; printf '<%s>' \"$@\"; exit 3", "sh", "{text}"]
[op.say.param.text]

[op.hidden]
target = "web"
command = ["echo", "hidden"]
"#;

struct Hook {
    child: Child,
    address: String,
    _folder: TempDir,
}

impl Hook {
    fn start(sandbox: &Sandbox) -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join(".bowline.toml"), OPERATIONS).unwrap();
        let mut child = sandbox
            .command(example("chatops"))
            .args(["127.0.0.1:0", "say"])
            .env("CHATOPS_SECRET", SECRET)
            .env("BOWLINE", BOWLINE)
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap();
        Self {
            address: address.to_owned(),
            child,
            _folder: folder,
        }
    }

    /// Status and body of the answer to these headers and this text.
    fn ask(&self, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        // HTTP/1.0: the body ends with the connection, without chunks.
        let length = body.len();
        write!(stream, "POST / HTTP/1.0\r\ncontent-length: {length}\r\n").unwrap();
        for (name, value) in headers {
            write!(stream, "{name}: {value}\r\n").unwrap();
        }
        write!(stream, "\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    fn signed(&self, text: &str, time: u64) -> (u16, String) {
        let body = form(text);
        let signature = sign(SECRET, time, &body);
        self.ask(&headers(&time.to_string(), &signature), &body)
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn headers<'a>(time: &'a str, signature: &'a str) -> [(&'a str, &'a str); 2] {
    [
        ("x-slack-request-timestamp", time),
        ("x-slack-signature", signature),
    ]
}

fn form(text: &str) -> String {
    let text = utf8_percent_encode(text, NON_ALPHANUMERIC);
    format!("token=ignored&command=%2Fops&text={text}")
}

fn sign(secret: &str, time: u64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("v0:{time}:{body}").as_bytes());
    let digest = mac.finalize().into_bytes();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("v0={hex}")
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs()
}

/// The example of Slack's own documentation, so that both ends are not ours alone.
#[test]
fn requests_are_signed_as_slack_signs_them() {
    let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&\
                channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&\
                response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&\
                trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    assert_eq!(
        sign("8f742231b10e8888abcd99yyyzzz85a5", 1_531_420_618, body),
        "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    );
}

#[test]
fn a_listed_operation_is_run_and_its_output_and_code_come_back() {
    let sandbox = Sandbox::start(&[]);
    let hook = Hook::start(&sandbox);
    for value in ["plain", "; touch hacked", "$(id)", "--yes", "a\nb 'c\""] {
        let quoted = shell_words::quote(value).into_owned();
        let (status, body) = hook.signed(&format!("say text={quoted}"), now());
        // What would be an option of the remote command is refused by the operation itself.
        if value.starts_with('-') {
            assert_eq!(status, 200);
            assert!(!body.contains(&format!("<{value}>")), "{body}");
            continue;
        }
        assert_eq!(status, 200, "{body}");
        assert!(body.contains(&format!("<{value}>")), "{body}");
        assert!(body.contains("to stderr\n"), "{body}");
        assert!(body.ends_with("ended: exit status: 3\n"), "{body}");
    }
}

#[test]
fn what_is_not_signed_or_not_listed_is_refused() {
    let sandbox = Sandbox::start(&[]);
    let hook = Hook::start(&sandbox);
    let (time, body) = (now(), form("say text=x"));
    let clock = time.to_string();
    let refused = |headers: &[(&str, &str)]| hook.ask(headers, &body).0;
    assert_eq!(refused(&[]), 401);
    let foreign = sign("another secret", time, &body);
    assert_eq!(refused(&headers(&clock, &foreign)), 401);
    let elsewhere = sign(SECRET, time, &form("say text=y"));
    assert_eq!(refused(&headers(&clock, &elsewhere)), 401);
    for broken in ["", "v0=", "v0=zz", "v1=00", "v0=é"] {
        assert_eq!(refused(&headers(&clock, broken)), 401, "{broken}");
    }
    for (age, code) in [(301, 401), (290, 200)] {
        assert_eq!(hook.signed("say text=x", time - age).0, code);
        // And nothing twice.
        assert_eq!(hook.signed("say text=x", time - age).0, 401);
    }
    for (text, code) in [
        ("hidden", 403),
        ("ls", 403),
        ("", 400),
        ("say --dry-run", 400),
        ("say -o json text=x", 400),
        ("say --text=x", 400),
        ("say 'text=x", 400),
        ("--help", 403),
    ] {
        let (status, body) = hook.signed(text, now());
        assert_eq!(status, code, "{text}: {body}");
        assert!(!body.contains("ended:"), "{text}: {body}");
    }
}
