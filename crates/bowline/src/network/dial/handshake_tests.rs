//! Handshakes with servers whose certificates are not as they should be.

use std::io::Write as _;
use std::sync::Arc;

use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::*;

/// An authority that our roots hold.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: tempfile::NamedTempFile,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(issuer.pem().as_bytes()).unwrap();
        Self { issuer, file }
    }

    fn roots(&self) -> TrustRoots {
        TrustRoots::with_bundle(self.file.path().to_owned())
    }

    /// The TLS of a server on this machine, whose certificate is changed before it is signed.
    fn server(&self, change: impl Fn(&mut CertificateParams)) -> TlsAcceptor {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

async fn problem(server: TlsAcceptor, roots: &TrustRoots) -> Option<NetworkProblem> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = destination(&listener);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        // Whether the client likes what it gets is the client's to say.
        let _ = server.accept(stream).await;
    });
    match dial(&to, roots).await {
        Ok(_) => None,
        Err(DialError::Network(error)) => Some(error.problem),
        Err(DialError::Trust(error)) => panic!("{error}"),
    }
}

fn destination(listener: &TcpListener) -> Destination {
    Destination {
        secure: true,
        host: "127.0.0.1".to_owned(),
        port: listener.local_addr().unwrap().port(),
        proxy: None,
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_told_apart() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let roots = authority.roots();
    let past = rcgen::date_time_ymd(2001, 1, 1);
    let future = rcgen::date_time_ymd(2200, 1, 1);

    let good = authority.server(|_| {});
    assert_eq!(problem(good, &roots).await, None);
    let unknown = foreign.server(|_| {});
    assert_eq!(
        problem(unknown, &roots).await,
        Some(NetworkProblem::UnknownIssuer)
    );
    let expired = authority.server(|params| params.not_after = past);
    assert_eq!(
        problem(expired, &roots).await,
        Some(NetworkProblem::CertificateExpired)
    );
    let early = authority.server(|params| params.not_before = future);
    assert_eq!(
        problem(early, &roots).await,
        Some(NetworkProblem::CertificateNotYetValid)
    );
    let other = authority.server(|params| {
        *params = CertificateParams::new(vec!["elsewhere.example".to_owned()]).unwrap();
    });
    assert_eq!(
        problem(other, &roots).await,
        Some(NetworkProblem::WrongName)
    );
}

#[tokio::test]
async fn a_port_without_tls_is_told_apart_from_one_that_breaks() {
    let roots = Authority::new().roots();
    for (answer, expected) in [
        (
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            Some(NetworkProblem::NotTls),
        ),
        (b"", None),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = destination(&listener);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.readable().await.unwrap();
            stream.write_all(answer).await.unwrap();
        });
        let Err(DialError::Network(error)) = dial(&to, &roots).await else {
            panic!("connected");
        };
        match expected {
            Some(expected) => assert_eq!(error.problem, expected),
            None => assert!(
                matches!(error.problem, NetworkProblem::Broken(_)),
                "{error}"
            ),
        }
    }
}
