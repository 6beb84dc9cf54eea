//! The port in TLS: who is served, and what a program that does not speak it is told.

#![expect(
    clippy::unwrap_used,
    reason = "the exemption for tests does not reach the functions they share"
)]

#[expect(dead_code, reason = "shared with tests that need all of it")]
mod client;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bowline_sandbox::{Options, Sandbox};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

const LIMIT: Duration = Duration::from_secs(30);

async fn secure() -> Sandbox {
    let options = Options {
        tls: true,
        host_names: vec!["sandbox.example".to_owned()],
        ..client::options()
    };
    Sandbox::start(options).await.unwrap()
}

fn address(sandbox: &Sandbox) -> SocketAddr {
    let authority = sandbox.endpoint().strip_prefix("https://").unwrap();
    authority.parse().unwrap()
}

fn connector(sandbox: &Sandbox) -> TlsConnector {
    let environment = sandbox.environment();
    let (_, path) = environment
        .iter()
        .find(|(name, _)| name == "AWS_CA_BUNDLE")
        .unwrap();
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path.as_ref().unwrap()).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    assert_eq!(roots.len(), 1);
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, head: &str) -> String {
    let head = format!("{head}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    tokio::time::timeout(LIMIT, reading).await.unwrap().unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_is_for_loopback_and_the_names_that_were_asked_for() {
    let sandbox = secure().await;
    let connector = connector(&sandbox);
    for (name, good) in [
        ("127.0.0.1", true),
        ("::1", true),
        ("localhost", true),
        ("sandbox.example", true),
        ("elsewhere.example", false),
        ("127.0.0.2", false),
    ] {
        let stream = TcpStream::connect(address(&sandbox)).await.unwrap();
        let server = ServerName::try_from(name).unwrap();
        let connected = connector.connect(server, stream).await;
        assert_eq!(connected.is_ok(), good, "{name}");
    }
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_door_stands_behind_tls_too() {
    let sandbox = secure().await;
    let connector = connector(&sandbox);
    for (head, status) in [
        ("GET / HTTP/1.1\r\nhost: localhost", "400"),
        ("GET / HTTP/1.1\r\nhost: sandbox.example", "400"),
        (
            "GET / HTTP/1.1\r\nhost: localhost\r\norigin: https://localhost",
            "400",
        ),
        ("GET / HTTP/1.1\r\nhost: elsewhere.example", "403"),
        (
            "GET / HTTP/1.1\r\nhost: localhost\r\norigin: https://elsewhere.example",
            "403",
        ),
    ] {
        let stream = TcpStream::connect(address(&sandbox)).await.unwrap();
        let server = ServerName::try_from("localhost").unwrap();
        let stream = connector.connect(server, stream).await.unwrap();
        let answer = ask(stream, head).await;
        let got = answer.split(' ').nth(1);
        assert_eq!(got, Some(status), "{head}\n{answer}");
    }
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_is_told_and_metadata_needs_no_tls() {
    let sandbox = secure().await;
    let plain = async |head: &str| {
        let stream = TcpStream::connect(address(&sandbox)).await.unwrap();
        ask(stream, head).await
    };
    let told = plain("POST / HTTP/1.1\r\nhost: localhost").await;
    assert!(told.starts_with("HTTP/1.1 400 "), "{told}");
    assert!(told.contains("sent to HTTPS port"), "{told}");
    let channel = plain("GET /v1/data-channel/s-0 HTTP/1.1\r\nhost: localhost").await;
    assert!(channel.contains("sent to HTTPS port"), "{channel}");
    let foreign = plain("GET /v4/x HTTP/1.1\r\nhost: elsewhere.example").await;
    assert!(foreign.starts_with("HTTP/1.1 403 "), "{foreign}");
    let metadata = plain("GET /v4/no-such-key HTTP/1.1\r\nhost: localhost").await;
    assert!(metadata.starts_with("HTTP/1.1 404 "), "{metadata}");
    sandbox.shutdown().await;
}
