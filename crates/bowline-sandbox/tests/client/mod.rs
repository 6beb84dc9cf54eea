//! A client that shares nothing with the server: raw HTTP over TCP, and a SigV4 signer of its own.

use std::time::{Duration, SystemTime};

use bowline_sandbox::{InitCommand, Options, Sandbox};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No answer takes longer, however busy the machine.
const LIMIT: Duration = Duration::from_secs(30);

/// How to start the init that cargo built beside these tests.
pub(crate) fn options() -> Options {
    let program = env!("CARGO_BIN_EXE_bowline-container-init").into();
    Options::new(InitCommand {
        program,
        arguments: Vec::new(),
    })
}

pub(crate) async fn sandbox() -> Sandbox {
    Sandbox::start(options()).await.unwrap()
}

/// What a client knows of a sandbox.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) authority: String,
    pub(crate) key: String,
    pub(crate) secret: String,
    pub(crate) region: String,
    /// What its clock shows.
    pub(crate) now: SystemTime,
}

/// An answer, taken apart.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The `__type` of an error.
    pub(crate) fn code(&self) -> String {
        self.json()["__type"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

/// A request before it is signed.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) target: String,
    pub(crate) service: &'static str,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Request {
    /// `operation` is `AmazonSSM.StartSession` or, without a service, one of ECS.
    pub(crate) fn json(operation: &str, body: &Value) -> Self {
        let (service, target) = match operation.contains('.') {
            true => ("ssm", operation.to_owned()),
            false => (
                "ecs",
                format!("AmazonEC2ContainerServiceV20141113.{operation}"),
            ),
        };
        let headers = [
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", &target),
        ];
        Self {
            method: "POST",
            target: "/".to_owned(),
            service,
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
            body: body.to_string(),
        }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl Client {
    pub(crate) fn of(sandbox: &Sandbox) -> Self {
        let environment = sandbox.environment();
        let value = |name: &str| {
            let found = environment.iter().find(|(existing, _)| existing == name);
            found.and_then(|(_, value)| value.clone()).unwrap()
        };
        Self {
            authority: sandbox
                .endpoint()
                .strip_prefix("http://")
                .unwrap()
                .to_owned(),
            key: value("AWS_ACCESS_KEY_ID"),
            secret: value("AWS_SECRET_ACCESS_KEY"),
            region: value("AWS_REGION"),
            now: SystemTime::now(),
        }
    }

    pub(crate) async fn send_signed(&self, request: &Request) -> Answer {
        self.send(&self.sign(request.clone())).await
    }

    /// Adds X-Amz-Date and Authorization.
    pub(crate) fn sign(&self, request: Request) -> Request {
        let time = jiff::Timestamp::try_from(self.now)
            .unwrap()
            .strftime("%Y%m%dT%H%M%SZ")
            .to_string();
        let day = &time[..8];
        let request = request.header("x-amz-date", &time);
        let upgrade = request.service == "ssmmessages";
        let mut signed = vec![("host", self.authority.as_str())];
        // The reference programs sign nothing else of an upgrade.
        let also = |name: &&(String, String)| name.0.starts_with("x-amz-") || !upgrade;
        signed.extend(
            request
                .headers
                .iter()
                .filter(also)
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        signed.sort_unstable();
        let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let lines: String = signed
            .iter()
            .map(|(name, value)| format!("{name}:{value}\n"))
            .collect();
        let (path, query) = request
            .target
            .split_once('?')
            .unwrap_or((&request.target, ""));
        // Targets of these tests are chosen so that only their query needs care, and it comes sorted.
        let query = query.replace('+', "%20").replace('/', "%2F");
        let path = path.replace(':', "%3A");
        let canonical = format!(
            "{}\n{path}\n{query}\n{lines}\n{names}\n{}",
            request.method,
            sha256(request.body.as_bytes())
        );
        let scope = format!("{day}/{}/{}/aws4_request", self.region, request.service);
        let text = format!(
            "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
            sha256(canonical.as_bytes())
        );
        let key = [day, &self.region, request.service, "aws4_request"]
            .iter()
            .fold(format!("AWS4{}", self.secret).into_bytes(), |key, word| {
                hmac(&key, word)
            });
        let signature = hex::encode(hmac(&key, &text));
        let value = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.key
        );
        request.header("authorization", &value)
    }

    pub(crate) async fn send(&self, request: &Request) -> Answer {
        let named = |wanted| request.headers.iter().any(|(name, _)| name == wanted);
        let mut lines = vec![format!("{} {} HTTP/1.1", request.method, request.target)];
        if !named("host") {
            lines.push(format!("host: {}", self.authority));
        }
        lines.extend(
            request
                .headers
                .iter()
                .map(|(name, value)| format!("{name}: {value}")),
        );
        lines.push(format!("content-length: {}", request.body.len()));
        let text = format!("{}\r\n\r\n{}", lines.join("\r\n"), request.body);
        tokio::time::timeout(LIMIT, self.exchange(&text))
            .await
            .expect("an answer in time")
    }

    /// Sends bytes as they are and reads one answer.
    pub(crate) async fn exchange(&self, text: &str) -> Answer {
        let mut stream = TcpStream::connect(&self.authority).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        loop {
            let read = stream.read_buf(&mut bytes).await.unwrap();
            if let Some(answer) = parse(&bytes) {
                let switched = answer.status == 101;
                assert!(
                    switched || answer.head.contains("\r\nx-amzn-requestid: "),
                    "{answer:?}"
                );
                return answer;
            }
            assert_ne!(read, 0, "ends early: {}", String::from_utf8_lossy(&bytes));
        }
    }
}

/// The answer, once all of it is there.
fn parse(bytes: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let head = head.to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(0, |length| length.parse().unwrap());
    (body.len() >= length).then(|| Answer {
        status,
        body: body.to_owned(),
        head,
    })
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}
