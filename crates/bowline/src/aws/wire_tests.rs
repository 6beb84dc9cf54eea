//! Calls against servers that do not behave: every failure must read well and end at once.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::error::{AwsError, AwsErrorKind};
use super::pace::Pace;
use crate::client::Client;
use crate::{ClientOptions, TargetError, TargetOptions};

/// Answers requests on loopback by their operation and keeps a list of them, until it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// The same answer to everything.
    pub(crate) async fn answering(status: &str, content_type: &str, body: &str) -> Self {
        let response = response(status, content_type, body);
        Self::start(move |_| response.clone()).await
    }

    /// Answers like ECS by the beginning of the operation's name and its request body.
    pub(crate) async fn scripted(
        script: &'static [(&'static str, &'static str, &'static str)],
    ) -> Self {
        Self::start(move |request| {
            let rule = script.iter().find(|(operation, part, _)| {
                request.starts_with(operation) && request.contains(part)
            });
            let (_, _, body) = rule.expect("every call of the test is in its script");
            let status = match body.contains("__type") {
                true => "400 Bad Request",
                false => "200 OK",
            };
            response(status, "application/x-amz-json-1.1", body)
        })
        .await
    }

    pub(crate) async fn start(answer: impl Fn(&str) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&calls);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = read_request(&mut stream).await;
                let response = answer(&request);
                kept.lock().unwrap().push(request);
                stream.write_all(response.as_bytes()).await.unwrap();
            }
        });
        Self {
            address,
            calls,
            _tasks: tasks,
        }
    }

    pub(crate) async fn client(&self) -> Client {
        client_of(self.address).await
    }

    pub(crate) fn requests(&self) -> usize {
        self.calls.lock().unwrap().len()
    }

    /// The names of the operations asked for.
    pub(crate) fn operations(&self) -> Vec<String> {
        let calls = self.calls.lock().unwrap();
        let names = calls.iter().filter_map(|call| call.split(' ').next());
        names.map(str::to_owned).collect()
    }
}

pub(crate) fn response(status: &str, content_type: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\nx-amzn-requestid: r-1\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Reads one request and gives its operation, body and signature as one text. Head and body are read whole: a socket
/// closed with unread bytes would be reset, and the answer lost.
async fn read_request(stream: &mut tokio::net::TcpStream) -> String {
    let mut seen = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let count = stream.read(&mut chunk).await.unwrap_or(0);
        seen.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&seen);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            assert!(count > 0, "the request ended early: {text}");
            continue;
        };
        let header = |name: &str| {
            head.lines()
                .filter_map(|line| line.split_once(": "))
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim().to_owned())
        };
        let length = header("content-length").and_then(|value| value.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            let target = header("x-amz-target").unwrap_or_default();
            let operation = target.rsplit('.').next().unwrap_or_default();
            let signature = header("authorization").unwrap_or_default();
            let date = header("x-amz-date").unwrap_or_default();
            return format!("{operation} {body} {signature} {date}");
        }
        assert!(count > 0, "the request ended early: {text}");
    }
}

async fn client_of(address: SocketAddr) -> Client {
    Client::with_static_credentials(ClientOptions {
        region: Some("eu-west-1".into()),
        endpoint_url: Some(format!("http://{address}")),
        ..ClientOptions::default()
    })
    .await
}

async fn execute(client: &Client) -> AwsError {
    let call = client.execute_command("demo", "task", "app", "true");
    // Far above what one attempt takes and far below what a second would add.
    tokio::time::timeout(Duration::from_secs(20), call)
        .await
        .expect("the call ends by itself")
        .unwrap_err()
}

#[tokio::test]
async fn a_call_that_waits_for_its_turn_is_signed_when_that_comes() {
    let server = Server::answering("400 Bad Request", "application/x-amz-json-1.1", "{}").await;
    let client = client_of(server.address).await;
    // One at once, and another every two seconds.
    let paced = client.beside("eu-west-1", None, Pace::new(0.5)).unwrap();
    tokio::join!(execute(&paced), execute(&paced), execute(&paced));
    let calls = server.calls.lock().unwrap().clone();
    let dates = calls.iter().map(|call| {
        let date = call.rsplit(' ').next().unwrap();
        jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date).unwrap()
    });
    let dates: Vec<_> = dates.collect();
    assert_eq!(dates.len(), 3, "{calls:?}");
    let apart = dates[2].duration_since(dates[0]).as_secs();
    assert!(apart >= 3, "all were signed within {apart} s");
}

/// As botocore does it, whose clients of IAM sign for their own region at an endpoint that is given.
#[tokio::test]
async fn a_global_service_at_an_endpoint_is_signed_for_the_region_of_the_caller() {
    let server = Server::answering("400 Bad Request", "text/xml", "<ErrorResponse/>").await;
    let api = server.client().await.api();
    let limit = Instant::now() + Duration::from_secs(60);
    let input = json!({ "RoleName": "x" });
    api.call("iam", "GetRole", &input, limit).await.unwrap_err();
    let input = input.as_object().unwrap();
    api.by_model("iam", "GetRole", input, limit)
        .await
        .unwrap_err();
    let calls = server.calls.lock().unwrap().clone();
    assert_eq!(calls.len(), 2);
    for call in calls {
        assert!(call.contains("/eu-west-1/iam/aws4_request"), "{call}");
    }
}

#[tokio::test]
async fn an_html_page_is_quoted_without_its_tags_and_asked_for_once() {
    let page = "<!doctype html>\n<title>500 Internal Server Error</title>\n<p>The server broke</p>";
    let server = Server::answering("500 INTERNAL SERVER ERROR", "text/html", page).await;
    let error = execute(&server.client().await).await;
    assert_eq!(error.kind, AwsErrorKind::NotAws);
    assert_eq!(
        error.to_string(),
        "ecs:ExecuteCommand: the endpoint answered with something that is no AWS error: \
         \"500 Internal Server Error The server broke\" (HTTP 500, request id r-1)"
    );
    assert_eq!(
        server.requests(),
        1,
        "a session must not be asked for twice"
    );
}

#[tokio::test]
async fn an_error_of_the_service_keeps_code_text_and_request_id() {
    let body = r#"{"__type":"com.amazonaws.ecs#TargetNotConnectedException","message":"The execute command failed due to an internal error. Try again later."}"#;
    let server = Server::answering("400 Bad Request", "application/x-amz-json-1.1", body).await;
    let error = execute(&server.client().await).await;
    assert!(error.is("TargetNotConnectedException"));
    assert_eq!(error.kind, AwsErrorKind::Service);
    assert_eq!(
        (error.status, error.request_id.as_deref()),
        (Some(400), Some("r-1"))
    );
    assert_eq!(
        error.message,
        "The execute command failed due to an internal error. Try again later."
    );
}

#[tokio::test]
async fn an_unmodelled_error_is_as_good_as_a_modelled_one() {
    let body = r#"{"__type":"ExpiredTokenException","message":"The security token included in the request is expired"}"#;
    let server = Server::answering("400 Bad Request", "application/x-amz-json-1.1", body).await;
    let error = execute(&server.client().await).await;
    assert!(error.is_rejected_credentials(), "{error}");
}

#[tokio::test]
async fn throttling_is_the_one_answer_after_which_a_session_is_asked_for_again() {
    let throttled = r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#;
    let granted =
        r#"{"session":{"sessionId":"s-1","streamUrl":"ws://x/?a=+/","tokenValue":"secret"}}"#;
    let first = std::sync::atomic::AtomicBool::new(true);
    let server = Server::start(move |_| {
        let kind = "application/x-amz-json-1.1";
        match first.swap(false, std::sync::atomic::Ordering::SeqCst) {
            true => response("400 Bad Request", kind, throttled),
            false => response("200 OK", kind, granted),
        }
    })
    .await;
    let client = server.client().await;
    let grant = client.execute_command("demo", "task", "app", "true").await;
    let grant = grant.unwrap();
    assert_eq!(grant.stream_url, "ws://x/?a=+/", "byte for byte");
    assert!(!format!("{grant:?}").contains("secret"), "{grant:?}");
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn an_answer_of_another_shape_is_an_error_and_not_an_empty_list() {
    for (body, part) in [
        ("[]", "ecs:ListClusters"),
        ("{\"clusterArns\": 7}", "ecs:ListClusters"),
        ("not json", "not json"),
    ] {
        let server = Server::answering("200 OK", "application/x-amz-json-1.1", body).await;
        let error = server.client().await.clusters().await.unwrap_err();
        assert_eq!(error.kind, AwsErrorKind::NotAws, "{body}: {error}");
        assert!(error.to_string().contains(part), "{body}: {error}");
    }
}

#[tokio::test]
async fn an_answer_without_a_session_names_what_is_missing() {
    let server = Server::answering("200 OK", "application/x-amz-json-1.1", "{}").await;
    let error = execute(&server.client().await).await;
    assert_eq!(
        error.to_string(),
        "ecs:ExecuteCommand: the answer has no session"
    );
}

#[tokio::test]
async fn nobody_listening_is_said_at_once_with_the_cause() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = client_of(address).await;
    let limit = Duration::from_secs(5);
    let listed = tokio::time::timeout(limit, client.clusters()).await;
    let error = listed
        .expect("a refused connection is not repeated")
        .unwrap_err();
    assert_eq!(error.kind, AwsErrorKind::Unreachable);
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn a_missing_cluster_is_answered_with_those_there_are() {
    // The list of clusters fails as well here, so the plain error has to remain.
    let body = r#"{"__type":"ClusterNotFoundException","message":"Cluster not found."}"#;
    let server = Server::answering("400 Bad Request", "application/x-amz-json-1.1", body).await;
    let client = server.client().await;
    let error = client.tasks(&"demo".parse().unwrap()).await.unwrap_err();
    let TargetError::Aws(error) = error else {
        panic!("unexpected {error}");
    };
    assert!(error.is("ClusterNotFoundException"));
}

const TASK: &str = r#"{"tasks":[{"taskArn":"arn:aws:ecs:eu-west-1:1:task/demo/aa11","clusterArn":"arn:aws:ecs:eu-west-1:1:cluster/demo","group":"service:web","lastStatus":"RUNNING","desiredStatus":"RUNNING","enableExecuteCommand":true,"startedAt":1.5,"containers":[{"name":"app","lastStatus":"RUNNING","runtimeId":"aa11-7","managedAgents":[{"name":"ExecuteCommandAgent","lastStatus":"RUNNING"}]}]}],"failures":[]}"#;
const ONE_ARN: &str = r#"{"taskArns":["arn:aws:ecs:eu-west-1:1:task/demo/aa11"]}"#;
const NO_ARN: &str = r#"{"taskArns":[]}"#;
const NO_SERVICE: &str = r#"{"__type":"ServiceNotFoundException","message":"Service not found."}"#;

#[tokio::test]
async fn a_service_in_a_known_cluster_costs_two_calls() {
    let server = Server::scripted(&[("ListTasks", "", ONE_ARN), ("DescribeTasks", "", TASK)]).await;
    let client = server.client().await;
    let target = "demo/web".parse().unwrap();
    let found = client
        .resolve(&target, &TargetOptions::default())
        .await
        .unwrap();
    assert_eq!(found.ssm_target().as_deref(), Some("ecs:demo_aa11_aa11-7"));
    assert_eq!(found.readiness, crate::model::Readiness::Ready);
    assert_eq!(server.operations(), ["ListTasks", "DescribeTasks"]);
}

#[tokio::test]
async fn what_is_no_service_may_be_the_beginning_of_a_task_id_or_a_family() {
    let by_id = &[
        ("ListTasks", "\"serviceName\"", NO_SERVICE),
        ("ListTasks", "", ONE_ARN),
        ("DescribeTasks", "", TASK),
    ];
    let by_family = &[
        ("ListTasks", "\"serviceName\"", NO_SERVICE),
        ("ListTasks", "\"family\"", ONE_ARN),
        ("ListTasks", "", NO_ARN),
        ("DescribeTasks", "", TASK),
    ];
    for (target, server) in [
        ("demo/aa", Server::scripted(by_id).await),
        ("demo/job", Server::scripted(by_family).await),
    ] {
        let client = server.client().await;
        let found = client
            .resolve(&target.parse().unwrap(), &TargetOptions::default())
            .await;
        assert_eq!(found.unwrap().task.id, "aa11", "{target}");
    }
}

#[tokio::test]
async fn a_server_that_ignores_the_service_filter_does_not_lead_to_a_wrong_task() {
    let server = Server::scripted(&[
        ("ListTasks", "\"family\"", NO_ARN),
        ("ListTasks", "", ONE_ARN),
        ("DescribeTasks", "", TASK),
        ("DescribeServices", "", r#"{"services":[],"failures":[]}"#),
        (
            "ListServices",
            "",
            r#"{"serviceArns":["arn:aws:ecs:eu-west-1:1:service/demo/web"]}"#,
        ),
    ])
    .await;
    let client = server.client().await;
    let target = "demo/wev".parse().unwrap();
    let error = client
        .resolve(&target, &TargetOptions::default())
        .await
        .unwrap_err();
    let TargetError::NotFound { suggestions, .. } = error else {
        panic!("unexpected {error}");
    };
    assert_eq!(suggestions, ["web"]);
}

#[tokio::test]
async fn the_current_cluster_is_the_only_one_else_default_else_a_question() {
    let arns = |names: &[&str]| {
        let arns: Vec<String> = names
            .iter()
            .map(|name| format!("\"arn:aws:ecs:eu-west-1:1:cluster/{name}\""))
            .collect();
        format!("{{\"clusterArns\":[{}]}}", arns.join(","))
    };
    for (names, expected) in [
        (&["prod"][..], Some("prod")),
        (&["prod", "default"][..], Some("default")),
        (&["prod", "test"][..], None),
        (&[][..], None),
    ] {
        let server = Server::answering("200 OK", "application/x-amz-json-1.1", &arns(names)).await;
        let chosen = server.client().await.current_cluster(None).await;
        assert_eq!(
            chosen.as_ref().ok().map(|name| name.as_str()),
            expected,
            "{names:?}"
        );
    }
}

const KEY: &str = "arn:aws:kms:us-east-1:111122223333:key/1";
const CONTEXT: &[(&str, &str)] = &[
    ("aws:ssm:SessionId", "ecs-execute-command-1"),
    ("aws:ssm:TargetId", "ecs:demo_aa11_aa11-7"),
];

/// The answer of KMS with this plaintext.
fn data_key(plaintext: &[u8]) -> String {
    let plaintext = base64::engine::general_purpose::STANDARD.encode(plaintext);
    format!(r#"{{"KeyId":"{KEY}","Plaintext":"{plaintext}","CiphertextBlob":"c2VhbGVk"}}"#)
}

#[tokio::test]
async fn a_data_key_is_asked_for_with_its_context_in_the_region_of_the_key() {
    let kind = "application/x-amz-json-1.1";
    let plaintext: Vec<u8> = (0..64).collect();
    let server = Server::answering("200 OK", kind, &data_key(&plaintext)).await;
    let client = server.client().await;
    for (key, region) in [(KEY, "us-east-1"), ("alias/exec", "eu-west-1")] {
        let made = client.generate_data_key(key, CONTEXT).await.unwrap();
        assert_eq!(&made.ciphertext[..], b"sealed");
        assert!(format!("{made:?}").contains("[redacted]"), "{made:?}");
        let request = server.calls.lock().unwrap().pop().unwrap();
        assert!(request.starts_with("GenerateDataKey "), "{request}");
        for part in [
            &format!(r#""KeyId":"{key}""#),
            r#""NumberOfBytes":64"#,
            r#""aws:ssm:SessionId":"ecs-execute-command-1""#,
            r#""aws:ssm:TargetId":"ecs:demo_aa11_aa11-7""#,
            &format!("/{region}/kms/aws4_request"),
        ] {
            assert!(request.contains(part), "{part} is not in {request}");
        }
    }
}

#[tokio::test]
async fn a_refused_data_key_names_key_and_call() {
    let kind = "application/x-amz-json-1.1";
    let denied = r#"{"__type":"AccessDeniedException","message":"not authorized to perform: kms:GenerateDataKey"}"#;
    let short = data_key(&[7; 32]);
    let bare = format!(r#"{{"KeyId":"{KEY}"}}"#);
    for (status, body, text) in [
        (
            "400 Bad Request",
            denied,
            "kms:GenerateDataKey: key alias/exec: not authorized to perform: kms:GenerateDataKey \
             (AccessDeniedException, HTTP 400, request id r-1)",
        ),
        (
            "200 OK",
            &short,
            "kms:GenerateDataKey: key alias/exec: the answer has no plaintext of 64 bytes",
        ),
        (
            "200 OK",
            &bare,
            "kms:GenerateDataKey: key alias/exec: the answer has no plaintext of 64 bytes",
        ),
    ] {
        let server = Server::answering(status, kind, body).await;
        let client = server.client().await;
        let error = client.generate_data_key("alias/exec", CONTEXT).await;
        assert_eq!(error.unwrap_err().to_string(), text);
        assert_eq!(server.requests(), 1, "{text}");
    }
}

/// A bot or a Lambda function runs these on a multi-threaded runtime.
#[expect(dead_code, reason = "it only has to compile")]
fn futures_can_move_between_threads(client: &Client, target: &crate::ResolvedTarget) {
    fn is_send(_: impl Send) {}
    let spec = "web".parse().unwrap();
    let options = TargetOptions::default();
    is_send(client.resolve(&spec, &options));
    is_send(client.resolve_only(&options));
    is_send(client.matching_tasks(&spec, &options));
    is_send(client.refresh(target));
    is_send(client.clusters());
    is_send(client.execute_command("c", "t", "app", "true"));
    is_send(client.resume_session("s"));
    is_send(client.generate_data_key("k", &[]));
    is_send(client.credentials());
}
