//! Who may talk to a sandbox: it runs commands, so everything that is not plainly its user's is refused.

#![expect(
    clippy::unwrap_used,
    reason = "the exemption for tests does not reach the functions they share"
)]

mod client;

use std::time::Duration;

use client::{Client, Request};
use serde_json::json;

fn list_clusters() -> Request {
    Request::json("ListClusters", &json!({}))
}

/// The upgrade of a data channel, as the reference client sends it, before it is signed.
fn upgrade() -> Request {
    Request {
        method: "GET",
        target: "/v1/data-channel/s-0?cell-number=+/v7//a&role=publish_subscribe".to_owned(),
        service: "ssmmessages",
        headers: Vec::new(),
        body: String::new(),
    }
    .header("connection", "Upgrade")
    .header("upgrade", "websocket")
    .header("sec-websocket-version", "13")
    .header("sec-websocket-key", "0KrQJqFReagg+snuQA37Yg==")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_request_passes_and_an_unsigned_one_does_not() {
    let sandbox = client::sandbox().await;
    let client = Client::of(&sandbox);
    let answer = client.send_signed(&list_clusters()).await;
    assert_eq!(answer.status, 200, "{answer:?}");

    let answer = client.send(&list_clusters()).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (400, "MissingAuthenticationTokenException")
    );
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_signature_key_service_or_region_is_refused() {
    let sandbox = client::sandbox().await;
    let client = Client::of(&sandbox);
    let with = |change: fn(&mut Client)| {
        let mut changed = client.clone();
        change(&mut changed);
        changed
    };
    for (client, code) in [
        (
            with(|client| client.secret.push('x')),
            "InvalidSignatureException",
        ),
        (
            with(|client| client.region = "eu-west-1".to_owned()),
            "InvalidSignatureException",
        ),
        (
            with(|client| client.key = "AKIAIOSFODNN7EXAMPLE".to_owned()),
            "UnrecognizedClientException",
        ),
    ] {
        let answer = client.send_signed(&list_clusters()).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, code),
            "{answer:?}"
        );
    }
    let ssm = Request {
        service: "ssm",
        ..list_clusters()
    };
    assert_eq!(
        client.send_signed(&ssm).await.code(),
        "InvalidSignatureException"
    );

    // Signed for one operation, sent as another; and with another body.
    let mut signed = client.sign(list_clusters());
    for (name, value) in &mut signed.headers {
        if name == "x-amz-target" {
            *value = value.replace("ListClusters", "ListServices");
        }
    }
    assert_eq!(
        client.send(&signed).await.code(),
        "InvalidSignatureException"
    );
    let mut signed = client.sign(list_clusters());
    signed.body = json!({ "maxResults": 1 }).to_string();
    assert_eq!(
        client.send(&signed).await.code(),
        "InvalidSignatureException"
    );
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_request_is_refused() {
    let sandbox = client::sandbox().await;
    let mut client = Client::of(&sandbox);
    client.now -= Duration::from_secs(16 * 60);
    let answer = client.send_signed(&list_clusters()).await;
    assert_eq!(answer.code(), "InvalidSignatureException");
    assert!(answer.body.contains("Signature expired: "), "{answer:?}");
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_service_is_refused_in_its_own_words() {
    let sandbox = client::sandbox().await;
    let mut client = Client::of(&sandbox);
    let request = Request {
        method: "POST",
        target: "/".to_owned(),
        service: "sts",
        headers: vec![(
            "content-type".to_owned(),
            "application/x-www-form-urlencoded; charset=utf-8".to_owned(),
        )],
        body: "Action=GetCallerIdentity&Version=2011-06-15".to_owned(),
    };
    let answer = client.send_signed(&request).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(
        answer.body.contains("<Account>123456789012</Account>"),
        "{answer:?}"
    );

    client.secret.push('x');
    let answer = client.send_signed(&request).await;
    assert_eq!(answer.status, 403);
    assert!(
        answer.body.contains("<Code>SignatureDoesNotMatch</Code>"),
        "{answer:?}"
    );
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_host_is_refused_even_with_a_good_signature() {
    let sandbox = client::sandbox().await;
    let client = Client::of(&sandbox);
    let rebound = Client {
        authority: "attacker.example:80".to_owned(),
        ..client.clone()
    };
    let signed = rebound
        .sign(list_clusters())
        .header("host", "attacker.example:80");
    let answer = client.send(&signed).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (403, "AccessDeniedException"),
        "{answer:?}"
    );

    let answer = client
        .send(&upgrade().header("host", "attacker.example:80"))
        .await;
    assert_eq!(answer.status, 403, "{answer:?}");
    let answer = client
        .exchange("GET / HTTP/1.1\r\nconnection: close\r\n\r\n")
        .await;
    assert_eq!(answer.status, 403, "{answer:?}");
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_origin_is_refused_everywhere() {
    let sandbox = client::sandbox().await;
    let client = Client::of(&sandbox);
    for origin in ["http://attacker.example", "null", "http://127.0.0.1:1"] {
        let signed = client.sign(list_clusters()).header("origin", origin);
        assert_eq!(client.send(&signed).await.status, 403, "{origin}");
        let answer = client.send(&upgrade().header("origin", origin)).await;
        assert_eq!(answer.status, 403, "{origin}: {answer:?}");
    }
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_may_be_unsigned_but_not_signed_wrongly() {
    let sandbox = client::sandbox().await;
    let client = Client::of(&sandbox);
    // Its token is looked at later, in the first message.
    assert_eq!(client.send(&upgrade()).await.status, 101);
    let answer = client.send_signed(&upgrade()).await;
    assert_eq!(answer.status, 101, "{answer:?}");

    let mut wrong = client.clone();
    wrong.secret.push('x');
    let mut late = client.clone();
    late.now -= Duration::from_secs(16 * 60);
    for wrong in [wrong, late] {
        let answer = wrong.send_signed(&upgrade()).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (403, "InvalidSignatureException")
        );
    }
    let altered = client.sign(upgrade());
    let altered = Request {
        target: altered.target.replace("s-0", "s-1"),
        ..altered
    };
    assert_eq!(client.send(&altered).await.status, 403);
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_beyond_one_mebibyte_is_refused() {
    let sandbox = client::sandbox().await;
    let client = Client::of(&sandbox);
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: 1048577\r\n\r\n",
        client.authority
    );
    let answer = client.exchange(&head).await;
    assert_eq!(answer.status, 413, "{answer:?}");
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_credentials_pass_only_where_that_was_asked_for() {
    let options = bowline_sandbox::Options {
        accept_any_credentials: true,
        ..client::options()
    };
    let sandbox = bowline_sandbox::Sandbox::start(options).await.unwrap();
    let client = Client::of(&sandbox);
    assert_eq!(client.send(&list_clusters()).await.status, 200);
    // The doors stay closed all the same.
    assert_eq!(
        client
            .send(&list_clusters().header("origin", "http://attacker.example"))
            .await
            .status,
        403
    );
    sandbox.shutdown().await;
}
