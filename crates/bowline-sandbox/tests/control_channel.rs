//! Agents from outside, by an agent of the test's own: it does what the public one was seen doing, and nothing else.

#![expect(
    clippy::unwrap_used,
    reason = "the exemption for tests does not reach the functions they share"
)]

#[expect(dead_code, reason = "shared with tests that need more of it")]
mod channel;
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod client;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline_proto::{Acknowledge, DigestCheck, Flags, Frame, IdSource, MessageType, PayloadType};
use bowline_sandbox::{AccessLog, Isolated, Isolation, Sandbox, StartError};
use channel::{Channel, now};
use client::{Answer, Client, Request};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// No wait of these tests takes longer, however busy the machine.
const LIMIT: Duration = Duration::from_secs(30);

async fn sandbox() -> (Sandbox, Client) {
    let mut options = client::options();
    options.agent = "real".parse().unwrap();
    let sandbox = Sandbox::start(options).await.unwrap();
    let client = Client::of(&sandbox);
    (sandbox, client)
}

async fn call(client: &Client, operation: &str, body: Value) -> Value {
    let answer = client.send_signed(&Request::json(operation, &body)).await;
    assert_eq!(answer.status, 200, "{operation}: {answer:?}");
    answer.json()
}

async fn describe(client: &Client, task: &Value) -> Value {
    let wanted = json!({ "cluster": "demo", "tasks": [task["taskArn"]] });
    call(client, "DescribeTasks", wanted).await["tasks"][0].clone()
}

async fn agent_status(client: &Client, task: &Value) -> Value {
    let container = describe(client, task).await["containers"][0].clone();
    container["managedAgents"][0].clone()
}

async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = check().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(LIMIT, found).await;
    found.unwrap_or_else(|_| panic!("not in time: {what}"))
}

/// A task whose program prints where an agent beside it would look.
async fn task(client: &Client) -> (Value, String) {
    let network = json!({ "awsvpcConfiguration": { "subnets": ["subnet-0a1b2c3d4e5f60001"] } });
    let command = [
        "sh",
        "-c",
        "echo U=$ECS_CONTAINER_METADATA_URI_V4; exec sleep 1000",
    ];
    let request = json!({
        "cluster": "demo", "taskDefinition": "web", "launchType": "FARGATE", "enableExecuteCommand": true,
        "networkConfiguration": network,
        "overrides": { "containerOverrides": [{ "name": "app", "command": command }] },
    });
    let task = call(client, "RunTask", request).await["tasks"][0].clone();
    let id = task["taskArn"]
        .as_str()
        .unwrap()
        .rsplit('/')
        .next()
        .unwrap();
    let definition = json!({ "taskDefinition": "web" });
    let definition =
        call(client, "DescribeTaskDefinition", definition).await["taskDefinition"].clone();
    let options = &definition["containerDefinitions"][0]["logConfiguration"]["options"];
    let stream = format!(
        "{}/app/{id}",
        options["awslogs-stream-prefix"].as_str().unwrap()
    );
    let mut request = Request::json(
        "Logs_20140328.GetLogEvents",
        &json!({ "logGroupName": options["awslogs-group"], "logStreamName": stream, "startFromHead": true }),
    );
    request.service = "logs";
    let uri = eventually("the program has printed", async || {
        let answer = client.send_signed(&request).await;
        let events = (answer.status == 200).then(|| answer.json())?;
        let message = events["events"][0]["message"].as_str()?;
        Some(message.strip_prefix("U=").unwrap().to_owned())
    })
    .await;
    let task = eventually("the task is RUNNING", async || {
        let task = describe(client, &task).await;
        (task["lastStatus"] == "RUNNING").then_some(task)
    })
    .await;
    (task, uri)
}

async fn get(client: &Client, url: &str) -> Value {
    let path = &url[url.find("/v4/").unwrap()..];
    let request = Request {
        method: "GET",
        target: path.to_owned(),
        service: "",
        headers: Vec::new(),
        body: String::new(),
    };
    let answer = client.send(&request).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// What runs beside a container's program.
struct Agent {
    /// With the container's keys.
    client: Client,
    token: String,
    target: String,
    tls: tokio_rustls::TlsConnector,
}

impl Agent {
    /// Finds out who it is, as the real one does.
    async fn new(sandbox: &Sandbox, uri: &str) -> Self {
        let own = Client::of(sandbox);
        let (task, container) = (
            get(&own, &format!("{uri}/task")).await,
            get(&own, uri).await,
        );
        let keys = get(&own, &format!("{uri}/credentials")).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let last = |value: &Value| text(value).rsplit('/').next().unwrap().to_owned();
        let authority = sandbox.environment().into_iter();
        let authority = authority.filter(|(name, _)| name == "BOWLINE_AGENT_CA");
        let authority = authority.filter_map(|(_, value)| value).next().unwrap();
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(authority).unwrap() {
            roots.add(certificate.unwrap()).unwrap();
        }
        let config = ClientConfig::builder().with_root_certificates(roots);
        Self {
            client: Client {
                key: text(&keys["AccessKeyId"]),
                secret: text(&keys["SecretAccessKey"]),
                ..own
            },
            token: text(&keys["Token"]),
            target: format!(
                "ecs:{}_{}_{}",
                last(&task["Cluster"]),
                last(&task["TaskARN"]),
                text(&container["DockerId"])
            ),
            tls: Arc::new(config.with_no_client_auth()).into(),
        }
    }

    fn request(&self, method: &'static str, target: String, body: String) -> Request {
        let request = Request {
            method,
            target,
            service: "ssmmessages",
            headers: Vec::new(),
            body,
        };
        self.client
            .sign(request.header("x-amz-security-token", &self.token))
    }

    /// Asks for a channel's token.
    async fn create(&self, path: &str) -> Answer {
        let id = "174823b4-31ef-4c56-a626-c5639edebd85";
        let body = json!({ "MessageSchemaVersion": "1.0", "RequestId": id });
        let request = self.request("POST", path.to_owned(), body.to_string());
        self.client.send(&request).await
    }

    async fn connect(&self, path: &str, query: &str, token: &str) -> Socket {
        let authority = self.client.authority.clone();
        let stream = TcpStream::connect(&authority).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream = self.tls.connect(name, stream).await.unwrap();
        let signed = self.request("GET", format!("{path}?{query}"), String::new());
        let mut upgrade = format!("wss://{authority}{path}?{query}")
            .into_client_request()
            .unwrap();
        for (name, value) in &signed.headers {
            let name: http::HeaderName = name.parse().unwrap();
            upgrade.headers_mut().insert(name, value.parse().unwrap());
        }
        let (mut socket, _) = tokio_tungstenite::client_async(upgrade, stream)
            .await
            .unwrap();
        let opening = json!({
            "Cookie": null, "MessageSchemaVersion": "1.0", "TokenValue": token, "ClientId": "",
            "RequestId": "174823b4-31ef-4c56-a626-c5639edebd85",
            "AgentVersion": "3.3.0.0", "PlatformType": "linux",
        });
        socket
            .send(Message::text(opening.to_string()))
            .await
            .unwrap();
        socket
    }

    async fn open(&self, path: &str, query: &str) -> Socket {
        let answer = self.create(path).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        assert!(
            answer.head.contains("\r\ncontent-type: application/xml"),
            "{answer:?}"
        );
        self.connect(path, query, &token_of(&answer)).await
    }

    async fn attach(&self) -> Socket {
        let path = format!("/v1/control-channel/{}", self.target);
        self.open(&path, "role=subscribe&stream=input").await
    }

    async fn enter(&self, session: &str) -> Socket {
        let path = format!("/v1/data-channel/{session}");
        let mut socket = self.open(&path, "role=publish_subscribe").await;
        let state =
            json!({ "SchemaVersion": 1, "SessionState": "Connected", "SessionId": session });
        say(
            &mut socket,
            MessageType::AgentSessionState,
            0,
            state.to_string(),
        )
        .await;
        socket
    }
}

fn token_of(answer: &Answer) -> String {
    let (_, rest) = answer.body.split_once("<TokenValue>").unwrap();
    rest.split_once("</TokenValue>").unwrap().0.to_owned()
}

async fn say(socket: &mut Socket, kind: MessageType, sequence: i64, payload: impl Into<String>) {
    let output = kind == MessageType::OutputStreamData;
    let frame = Frame {
        message_type: kind,
        schema_version: 1,
        created_millis: now().as_millis(),
        sequence,
        flags: Flags::NONE,
        id: IdSource::new(u64::from(std::process::id()) + now().as_millis()).next_id(),
        payload_type: if output {
            PayloadType::Output.into()
        } else {
            0
        },
        payload: payload.into().into(),
    };
    socket.send(Message::Binary(frame.encode())).await.unwrap();
}

/// The next message; `None` when the socket ends.
async fn hear(socket: &mut Socket) -> Option<Frame> {
    let heard = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Binary(message))) => {
                    return Some(Frame::decode(&message, DigestCheck::Enforce).unwrap());
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    };
    tokio::time::timeout(LIMIT, heard)
        .await
        .expect("something in time")
}

/// The next message of this kind; others are passed over.
async fn hear_kind(socket: &mut Socket, kind: &str) -> (Frame, Value) {
    loop {
        let frame = hear(socket).await.unwrap_or_else(|| panic!("no {kind}"));
        if frame.message_type.as_str() == kind {
            let payload = serde_json::from_slice(&frame.payload).unwrap_or_default();
            return (frame, payload);
        }
    }
}

fn completion(session: &str, status: &str, output: &str) -> String {
    let payload = json!({
        "SchemaVersion": 1, "TaskId": session, "Topic": "agent_task_complete", "FinalTaskStatus": status,
        "IsRoutingFailure": false, "AwsAccountId": "", "InstanceId": "", "Output": output, "S3Bucket": "",
        "S3UrlSuffix": "", "CwlGroup": "", "CwlStream": "", "RetryNumber": 1,
    });
    payload.to_string()
}

async fn execute(client: &Client, task: &Value, command: &str) -> Value {
    let request = json!({
        "cluster": "demo", "task": task["taskArn"], "command": command, "interactive": true,
    });
    call(client, "ExecuteCommand", request).await["session"].clone()
}

#[tokio::test]
async fn an_agent_attaches_and_serves_a_session() {
    let (sandbox, client) = sandbox().await;
    let (task, uri) = task(&client).await;
    assert_eq!(agent_status(&client, &task).await["lastStatus"], "PENDING");

    let agent = Agent::new(&sandbox, &uri).await;
    let mut control = agent.attach().await;
    eventually("the agent is RUNNING", async || {
        let agent = agent_status(&client, &task).await;
        (agent["lastStatus"] == "RUNNING" && agent["lastStartedAt"].is_number()).then_some(())
    })
    .await;

    let session = execute(&client, &task, "sh -c 'read x; echo got $x'").await;
    let id = session["sessionId"].as_str().unwrap();
    let mut channel = Channel::open(&session).await;
    let (_, order) = hear_kind(&mut control, "interactive_shell").await;
    assert_eq!(
        (&order["TaskId"], &order["Topic"]),
        (&json!(id), &json!("aws.ssm.interactiveShell"))
    );
    let content: Value = serde_json::from_str(order["Content"].as_str().unwrap()).unwrap();
    let document = &content["DocumentContent"];
    assert_eq!(content["SessionId"], id);
    assert_eq!(document["sessionType"], "InteractiveCommands");
    assert_eq!(
        document["properties"]["linux"]["commands"],
        "sh -c 'read x; echo got $x'"
    );
    assert_eq!(document["inputs"]["kmsKeyId"], "");

    let mut data = agent.enter(id).await;
    say(&mut data, MessageType::OutputStreamData, 0, "? ").await;
    channel.until_output("? ").await;
    let typing = async {
        channel.input(b"word\n").await;
        channel
    };
    let answering = async {
        let (input, _) = hear_kind(&mut data, "input_stream_data").await;
        let acknowledge = serde_json::to_string(&Acknowledge::of(&input)).unwrap();
        say(&mut data, MessageType::Acknowledge, 0, acknowledge).await;
        input.payload
    };
    let (mut channel, typed) = tokio::join!(typing, answering);
    assert_eq!(typed, "word\n");

    // It loses its socket, comes back with another token, and goes on with the next number.
    drop(data);
    let mut data = agent.enter(id).await;
    say(&mut data, MessageType::OutputStreamData, 1, "got word\r\n").await;
    channel.until_output("got word\r\n").await;
    let state = json!({ "SchemaVersion": 1, "SessionState": "Terminating", "SessionId": id });
    say(
        &mut data,
        MessageType::AgentSessionState,
        0,
        state.to_string(),
    )
    .await;
    let kind = MessageType::Other("agent_task_complete".into());
    for _ in 0..2 {
        say(&mut control, kind.clone(), 0, completion(id, "Success", "")).await;
        let (_, answer) = hear_kind(&mut control, "agent_task_acknowledge").await;
        assert_eq!(answer["TaskId"], id, "each of them is answered: {answer}");
    }
    let seen = channel.into_end().await;
    assert_eq!(
        (seen.text().as_str(), seen.closed.as_deref()),
        ("? got word\r\n", Some(""))
    );
    sandbox.shutdown().await;
}

#[tokio::test]
async fn the_client_is_told_why_a_command_did_not_start() {
    let (sandbox, client) = sandbox().await;
    let (task, uri) = task(&client).await;
    let agent = Agent::new(&sandbox, &uri).await;
    let mut control = agent.attach().await;
    eventually("the agent is RUNNING", async || {
        (agent_status(&client, &task).await["lastStatus"] == "RUNNING").then_some(())
    })
    .await;
    let session = execute(&client, &task, "/no/such").await;
    let id = session["sessionId"].as_str().unwrap();
    let channel = Channel::open(&session).await;
    hear_kind(&mut control, "interactive_shell").await;
    let data = agent.enter(id).await;
    let reason = "\n----------ERROR-------\nUnable to start command: Failed to start pty: \
        fork/exec /no/such: no such file or directory\n\n";
    let kind = MessageType::Other("agent_task_complete".into());
    say(&mut control, kind, 0, completion(id, "Failed", reason)).await;
    drop(data);
    assert_eq!(channel.into_end().await.closed.as_deref(), Some(reason));
    sandbox.shutdown().await;
}

#[tokio::test]
async fn an_agent_is_told_to_end_a_session_and_shown_when_it_is_gone() {
    let (sandbox, client) = sandbox().await;
    let (task, uri) = task(&client).await;
    let agent = Agent::new(&sandbox, &uri).await;
    let mut control = agent.attach().await;
    eventually("the agent is RUNNING", async || {
        (agent_status(&client, &task).await["lastStatus"] == "RUNNING").then_some(())
    })
    .await;
    let session = execute(&client, &task, "sleep 1000").await;
    let id = session["sessionId"].as_str().unwrap();
    hear_kind(&mut control, "interactive_shell").await;
    let terminate = json!({ "SessionId": id });
    call(&client, "AmazonSSM.TerminateSession", terminate).await;
    let (_, order) = hear_kind(&mut control, "channel_closed").await;
    assert_eq!(order["SessionId"], id);

    drop(control);
    let refused = eventually("nobody is there", async || {
        let request = json!({
            "cluster": "demo", "task": task["taskArn"], "command": "true", "interactive": true,
        });
        let answer = client
            .send_signed(&Request::json("ExecuteCommand", &request))
            .await;
        (answer.status == 400).then_some(answer)
    })
    .await;
    assert_eq!(refused.code(), "TargetNotConnectedException");
    let gone = eventually("the agent is STOPPED", async || {
        let agent = agent_status(&client, &task).await;
        (agent["lastStatus"] == "STOPPED").then_some(agent)
    })
    .await;
    assert_eq!(
        gone["reason"],
        "ExecuteCommandAgent has lost its connection"
    );
    let _control = agent.attach().await;
    eventually("it is back", async || {
        (agent_status(&client, &task).await["lastStatus"] == "RUNNING").then_some(())
    })
    .await;
    sandbox.shutdown().await;
}

#[tokio::test]
async fn nobody_else_is_let_in() {
    let (sandbox, client) = sandbox().await;
    let (one, uri) = task(&client).await;
    let agent = Agent::new(&sandbox, &uri).await;
    let (_, uri) = task(&client).await;
    let other = Agent::new(&sandbox, &uri).await;
    let path = |agent: &Agent| format!("/v1/control-channel/{}", agent.target);

    // Another container's channel; the keys of whoever uses the sandbox; no keys; a wrong secret.
    let answer = agent.create(&path(&other)).await;
    assert_eq!(answer.status, 403, "{answer:?}");
    assert!(
        answer.body.starts_with("<AccessDeniedException>"),
        "{answer:?}"
    );
    let mut user = agent.request("POST", path(&agent), "{}".to_owned());
    user.headers.clear();
    assert_eq!(client.send_signed(&user).await.status, 403);
    assert_eq!(client.send(&user).await.status, 403);
    let forged = Client {
        secret: "not it".to_owned(),
        ..agent.client.clone()
    };
    let forged = forged.sign(user.clone().header("x-amz-security-token", &agent.token));
    let answer = client.send(&forged).await;
    assert!(
        answer.status == 403 && answer.body.contains("InvalidSignature"),
        "{answer:?}"
    );

    // A token is good for one socket.
    let answer = agent.create(&path(&agent)).await;
    let query = "role=subscribe&stream=input";
    let mut first = agent
        .connect(&path(&agent), query, &token_of(&answer))
        .await;
    eventually("the agent is RUNNING", async || {
        (agent_status(&client, &one).await["lastStatus"] == "RUNNING").then_some(())
    })
    .await;
    let mut second = agent
        .connect(&path(&agent), query, &token_of(&answer))
        .await;
    assert!(hear(&mut second).await.is_none());

    // The session of one is not for the other, and its keys are for nothing else.
    let session = execute(&client, &one, "true").await;
    hear_kind(&mut first, "interactive_shell").await;
    let path = format!(
        "/v1/data-channel/{}",
        session["sessionId"].as_str().unwrap()
    );
    assert_eq!(other.create(&path).await.status, 403);
    assert_eq!(agent.create(&path).await.status, 201);
    let list = Request::json("ListTasks", &json!({ "cluster": "demo" }));
    let list = list.header("x-amz-security-token", &agent.token);
    let answer = agent.client.send_signed(&list).await;
    assert_eq!(answer.code(), "AccessDeniedException", "{answer:?}");

    // What is no channel is not on the way in for agents.
    let stop = json!({ "cluster": "demo", "task": one["taskArn"] });
    call(&client, "StopTask", stop).await;
    eventually("the keys of a task go with it", async || {
        let answer = agent
            .create(&format!("/v1/control-channel/{}", agent.target))
            .await;
        (answer.status == 403 && answer.body.contains("Unrecognized")).then_some(())
    })
    .await;
    sandbox.shutdown().await;
}

#[tokio::test]
async fn a_reset_has_agents_of_its_own_and_the_log_tells_of_all() {
    let told = Told::default();
    let mut options = client::options();
    options.agent = "real".parse().unwrap();
    options.access_log = Some(AccessLog::new(told.clone()));
    let sandbox = Sandbox::start(options).await.unwrap();
    let client = Client::of(&sandbox);
    let (_, uri) = task(&client).await;
    let old = Agent::new(&sandbox, &uri).await;
    let mut control = old.attach().await;

    sandbox.reset().await.unwrap();
    assert!(hear(&mut control).await.is_none());
    let path = format!("/v1/control-channel/{}", old.target);
    let answer = old.create(&path).await;
    assert!(
        answer.status == 403 && answer.body.contains("Unrecognized"),
        "{answer:?}"
    );
    let (one, uri) = task(&client).await;
    let agent = Agent::new(&sandbox, &uri).await;
    let _control = agent.attach().await;
    eventually("the agent is RUNNING", async || {
        (agent_status(&client, &one).await["lastStatus"] == "RUNNING").then_some(())
    })
    .await;
    sandbox.shutdown().await;

    let told = told.text();
    let id = one["taskArn"].as_str().unwrap().rsplit('/').next().unwrap();
    for call in ["CreateControlChannel 201", "OpenControlChannel 101"] {
        let line = format!("/{id} ssmmessages.{call} ");
        assert!(told.contains(&line), "{line}: {told}");
    }
    assert!(
        told.contains(" - - ssmmessages.CreateControlChannel 403/UnrecognizedClientException "),
        "{told}"
    );
}

#[tokio::test]
async fn tasks_with_such_agents_are_not_isolated() {
    let mut options = client::options();
    options.agent = "real".parse().unwrap();
    options.isolation = Isolation::On;
    let refused = Sandbox::start(options.clone()).await;
    assert!(
        matches!(refused, Err(StartError::AgentsIsolated)),
        "{refused:?}"
    );
    options.isolation = Isolation::Auto;
    let sandbox = Sandbox::start(options).await.unwrap();
    assert_eq!(*sandbox.isolated(), Isolated::No(None));
    sandbox.shutdown().await;
}

/// What an access log has told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl Told {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
