//! TLS for the sandbox's port: an authority of its own for every start, and the one certificate it ever signs.
//!
//! The authority's key is gone before the first connection comes. Whoever goes on trusting its certificate trusts
//! this one server key, in memory only, and nothing else that anyone could make.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::server::TlsStream;

/// How long a client may take for its handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// No sandbox runs for longer, and some clients refuse certificates that are good for years.
const VALID_DAYS: i64 = 90;
/// A TLS record begins with this, or the client does not speak TLS (RFC 8446, 5.1: 22 is a handshake).
const HANDSHAKE_RECORD: u8 = 22;

/// The server's end of TLS.
#[derive(Clone)]
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
}

/// A connection after its first byte was seen.
pub(crate) enum Accepted {
    /// The handshake is done.
    Tls(Box<TlsStream<TcpStream>>),
    /// The client speaks something else, most likely plain HTTP.
    Plain(TcpStream),
}

/// The file of the authority's certificate, in the sandbox's folder.
pub(crate) const AUTHORITY: &str = "ca.pem";

impl Tls {
    /// Makes authority and certificate, for loopback and `names`; writes the authority's certificate to `directory`
    /// and returns the path of the file.
    pub(crate) fn new(names: &[String], directory: &Path) -> io::Result<(Self, PathBuf)> {
        let (authority, key, chain) = make(names).map_err(io::Error::other)?;
        let path = directory.join(AUTHORITY);
        std::fs::write(&path, authority)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key));
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("the provider supports the default protocol versions")
                .with_no_client_auth()
                .with_single_cert(vec![chain], key)
                .map_err(io::Error::other)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok((Self { acceptor }, path))
    }

    /// The handshake of a client that is known to want TLS.
    pub(crate) async fn handshake<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        tokio::time::timeout(HANDSHAKE_LIMIT, self.acceptor.accept(stream))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Takes a connection. Clients that do not speak TLS are told apart, so that they can be told.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<Accepted> {
        let accepting = async {
            let mut first = [0];
            match stream.peek(&mut first).await? {
                1 if first[0] == HANDSHAKE_RECORD => {
                    let stream = self.acceptor.accept(stream).await?;
                    Ok(Accepted::Tls(Box::new(stream)))
                }
                _ => Ok(Accepted::Plain(stream)),
            }
        };
        tokio::time::timeout(HANDSHAKE_LIMIT, accepting)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// The authority as PEM, the server's key and its certificate.
fn make(names: &[String]) -> Result<(String, Vec<u8>, CertificateDer<'static>), rcgen::Error> {
    let mut authority = CertificateParams::default();
    valid_from_now(&mut authority);
    let subject = &mut authority.distinguished_name;
    subject.push(DnType::CommonName, "bowline sandbox (this start only)");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;

    let mut server = CertificateParams::new([&["localhost".to_owned()], names].concat())?;
    for address in [
        IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::from(Ipv6Addr::LOCALHOST),
    ] {
        server.subject_alt_names.push(SanType::IpAddress(address));
    }
    valid_from_now(&mut server);
    let subject = &mut server.distinguished_name;
    subject.push(DnType::CommonName, "bowline sandbox");
    // Python's ssl with VERIFY_X509_STRICT, its default from 3.13 on, wants to find the issuer's key by its id.
    server.use_authority_key_identifier_extension = true;
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = server.signed_by(&key, &authority)?;
    Ok((
        authority.pem(),
        key.serialize_der(),
        certificate.der().clone(),
    ))
}

/// From yesterday on: clocks of containers and virtual machines run late now and then.
fn valid_from_now(params: &mut CertificateParams) {
    let day = |days: i64| {
        let at = Timestamp::now() + SignedDuration::from_hours(24 * days);
        let date = at.to_zoned(TimeZone::UTC).date();
        let part = |value: i8| value.unsigned_abs();
        rcgen::date_time_ymd(i32::from(date.year()), part(date.month()), part(date.day()))
    };
    params.not_before = day(-1);
    params.not_after = day(VALID_DAYS);
}
