//! The trust roots of every TLS connection: the system's, plus `AWS_CA_BUNDLE`.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Trust roots, read at first use: a session with an `http` endpoint never pays for them.
#[derive(Debug, Default)]
pub(crate) struct TrustRoots {
    loaded: OnceLock<Result<Loaded, TrustError>>,
}

/// Why no TLS connection can be made.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// `AWS_CA_BUNDLE` names a file that cannot be used.
    #[error("AWS_CA_BUNDLE {} cannot be used: {reason}", path.display())]
    Bundle {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system offers no trust roots.
    #[error("no trusted root certificates were found on this system")]
    NoRoots,
}

#[derive(Debug)]
struct Loaded {
    certificates: Vec<CertificateDer<'static>>,
    client: Arc<rustls::ClientConfig>,
}

impl TrustRoots {
    /// The system's and those of a file, whatever the environment says.
    #[cfg(test)]
    pub(crate) fn with_bundle(path: PathBuf) -> Self {
        Self {
            loaded: OnceLock::from(load(Some(path))),
        }
    }

    /// The TLS settings for connections of our own (the data channel).
    pub(crate) fn client_config(&self) -> Result<Arc<rustls::ClientConfig>, TrustError> {
        Ok(Arc::clone(&self.loaded()?.client))
    }

    /// The accepted certificates as PEM, for the SDK's HTTP client, which takes nothing else.
    pub(crate) fn pem(&self) -> Result<Vec<Vec<u8>>, TrustError> {
        Ok(self.loaded()?.certificates.iter().map(to_pem).collect())
    }

    fn loaded(&self) -> Result<&Loaded, TrustError> {
        self.loaded
            .get_or_init(|| {
                let bundle = std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty());
                load(bundle.map(PathBuf::from))
            })
            .as_ref()
            .map_err(Clone::clone)
    }
}

fn load(bundle: Option<PathBuf>) -> Result<Loaded, TrustError> {
    let mut certificates = rustls_native_certs::load_native_certs().certs;
    if let Some(path) = bundle {
        certificates.extend(read_bundle(path)?);
    }
    // A system store often holds a few certificates that webpki does not accept; they are left out.
    let mut store = rustls::RootCertStore::empty();
    certificates.retain(|certificate| store.add(certificate.clone()).is_ok());
    if store.is_empty() {
        return Err(TrustError::NoRoots);
    }

    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider supports the default protocol versions")
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(Loaded {
        certificates,
        client: Arc::new(client),
    })
}

fn read_bundle(path: PathBuf) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let certificates = CertificateDer::pem_file_iter(&path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| error.to_string())
        .and_then(|found| match found.is_empty() {
            true => Err("it holds no certificate".to_owned()),
            false => Ok(found),
        });
    certificates.map_err(|reason| TrustError::Bundle { path, reason })
}

fn to_pem(certificate: &CertificateDer<'_>) -> Vec<u8> {
    use base64::Engine as _;

    let body = base64::engine::general_purpose::STANDARD.encode(certificate);
    let mut pem = String::with_capacity(body.len() + 100);
    pem.push_str("-----BEGIN CERTIFICATE-----\n");
    for start in (0..body.len()).step_by(64) {
        pem.push_str(&body[start..body.len().min(start + 64)]);
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem.into_bytes()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_bundle_that_is_missing_or_empty_is_named() {
        let missing = load(Some(PathBuf::from("/no/such/bundle.pem"))).unwrap_err();
        assert!(
            missing.to_string().contains("/no/such/bundle.pem"),
            "{missing}"
        );

        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "not a certificate").unwrap();
        let empty = load(Some(file.path().to_owned())).unwrap_err();
        assert!(empty.to_string().contains("no certificate"), "{empty}");
    }

    #[test]
    fn pem_of_a_certificate_reads_back() {
        let der = CertificateDer::from((0..=255u8).collect::<Vec<_>>());
        let pem = to_pem(&der);
        let back = CertificateDer::from_pem_slice(&pem).unwrap();
        assert_eq!(back, der);
    }
}
