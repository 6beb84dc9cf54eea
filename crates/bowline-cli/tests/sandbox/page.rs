//! The page: who may see it, and that it is live. `tests/conformance/test_page.py` looks at it with a browser.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use crate::User;
use crate::support::SOON;

struct Page {
    address: String,
    key: String,
}

impl Page {
    fn of(user: &User) -> Self {
        let status = user.status();
        let page = status["page"].as_str().unwrap();
        let (root, key) = page.split_once("/_sandbox/?key=").unwrap();
        Self {
            address: root.strip_prefix("http://").unwrap().to_owned(),
            key: key.to_owned(),
        }
    }

    fn ask(&self, path: &str, headers: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let host = match headers.contains("host:") {
            true => String::new(),
            false => format!("host: {}\r\n", self.address),
        };
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nconnection: close\r\n{host}{headers}\r\n"
        )
        .unwrap();
        stream
    }

    fn answer(&self, path: &str, headers: &str) -> String {
        let mut answer = String::new();
        self.ask(path, headers).read_to_string(&mut answer).unwrap();
        answer
    }

    fn cookie(&self) -> String {
        let port = self.address.rsplit(':').next().unwrap();
        format!("cookie: other=1; bowline-sandbox-{port}={}\r\n", self.key)
    }
}

#[test]
fn it_opens_with_its_key_only_and_from_here_only() {
    let user = User::new();
    user.sandbox(&["up", "-d"]).code(0);
    let page = Page::of(&user);
    let cookie = page.cookie();
    for (path, headers, status) in [
        ("/_sandbox/", "", "403"),
        ("/_sandbox/events", "", "403"),
        ("/_sandbox/now", "cookie: bowline-sandbox=1\r\n", "403"),
        ("/_sandbox/?key=", "", "403"),
        ("/_sandbox/?key=00000000000000000000000000000000", "", "403"),
        (
            "/_sandbox/",
            &*format!("{cookie}host: attacker.example\r\n"),
            "403",
        ),
        (
            "/_sandbox/now",
            &*format!("{cookie}origin: http://attacker.example\r\n"),
            "403",
        ),
        ("/_sandbox/", &*cookie, "200"),
        ("/_sandbox/page.js", &*cookie, "200"),
        ("/_sandbox/../x", &*cookie, "404"),
    ] {
        let answer = page.answer(path, headers);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{path} {headers}: {answer}"
        );
    }
    let handed = page.answer(&format!("/_sandbox/?key={}", page.key), "");
    assert!(handed.starts_with("HTTP/1.1 303"), "{handed}");
    assert!(handed.contains("HttpOnly; SameSite=Lax"), "{handed}");
    let shown = page.answer("/_sandbox/", &cookie);
    assert!(
        shown.contains("content-security-policy: default-src 'none';"),
        "{shown}"
    );
    assert!(
        !shown.contains("://") && !shown.contains("style="),
        "{shown}"
    );
    let now = page.answer("/_sandbox/now", &cookie);
    let told = user.sandbox(&["env", "-o", "json"]).stdout;
    let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        assert!(
            !now.contains(told[name].as_str().unwrap()),
            "{name} in {now}"
        );
    }
    assert!(!now.contains(&page.key));
}

#[test]
fn it_is_live_and_ends_with_the_sandbox() {
    let user = User::new();
    user.sandbox(&["up", "-d"]).code(0);
    let page = Page::of(&user);
    let mut events = BufReader::new(page.ask("/_sandbox/events", &page.cookie()));
    // Two things may have come with one picture.
    let mut last = String::new();
    let mut next = |wanted: &str| {
        let deadline = Instant::now() + SOON;
        while !last.contains(wanted) {
            assert!(Instant::now() < deadline, "no {wanted} in {last}");
            let mut line = String::new();
            assert_ne!(events.read_line(&mut line).unwrap(), 0, "no {wanted} came");
            if line.starts_with("data: ") {
                last = line;
            }
        }
        last.clone()
    };
    next("\"group\":\"service:web\"");
    user.led(&["exec", "web", "--", "true"]).code(0);
    next("ecs.ExecuteCommand");
    next("\"status\":\"ended\"");
    user.led(&["run", "family:job", "--", "echo", "<b>a line</b>"])
        .code(0);
    next("<b>a line</b>");
    user.sandbox(&["reset"]).code(0);
    let after = next("\"sessions\":[]");
    assert!(!after.contains("a line"), "{after}");
    user.sandbox(&["down"]).code(0);
    let mut rest = Vec::new();
    events.read_to_end(&mut rest).unwrap();
}
