//! TLS: one crypto provider for the process, system roots that are read at the first handshake and not at start
//! (reading them costs tens of milliseconds and megabytes that a daemon without https targets need not pay).

use std::sync::{Arc, LazyLock, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::client::TlsFacts;
use crate::domain::clock::Timestamp;

/// Installs ring as the process' crypto provider. Call as often as you like.
pub fn init() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        // An error means that another provider was installed first: it serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// Whose certificates are believed: the system's roots, plus `extra` ones.
#[derive(Clone)]
pub struct Trust(Arc<Roots>);

impl Trust {
    /// The system's root certificates (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured).
    pub fn system() -> Trust {
        static SYSTEM: LazyLock<Trust> = LazyLock::new(|| Trust::with(Vec::new()));
        SYSTEM.clone()
    }
    /// The system's roots and these certificates (DER).
    pub fn with(extra: Vec<CertificateDer<'static>>) -> Trust {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Trust(Arc::new(Roots { provider, extra, verifier: OnceLock::new() }))
    }

    /// `alpn` in order of preference.
    pub(super) fn client_config(&self, alpn: &[&[u8]]) -> ClientConfig {
        let mut config = ClientConfig::builder_with_provider(self.0.provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring supports TLS 1.2 and 1.3")
            .dangerous()
            .with_custom_certificate_verifier(self.0.clone())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
        config
    }
}

/// The usual webpki verifier, built when first asked.
#[derive(Debug)]
struct Roots {
    provider: Arc<CryptoProvider>,
    extra: Vec<CertificateDer<'static>>,
    verifier: OnceLock<Result<Arc<WebPkiServerVerifier>, rustls::Error>>,
}

impl Roots {
    fn verifier(&self) -> Result<&WebPkiServerVerifier, rustls::Error> {
        let built = self.verifier.get_or_init(|| {
            let mut roots = RootCertStore::empty();
            let loaded = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(loaded.certs);
            roots.add_parsable_certificates(self.extra.iter().cloned());
            if roots.is_empty() {
                return Err(rustls::Error::General(
                    "no root certificates on this system (install ca-certificates, or set SSL_CERT_FILE)".into(),
                ));
            }
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
                .build()
                .map_err(|e| rustls::Error::General(e.to_string()))
        });
        built.as_deref().map_err(Clone::clone)
    }
}

impl ServerCertVerifier for Roots {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verifier()?.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier()?.verify_tls12_signature(message, cert, dss)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier()?.verify_tls13_signature(message, cert, dss)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Facts of one certificate; `None` when it cannot be parsed.
pub(super) fn facts(der: &[u8]) -> Option<TlsFacts> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let validity = certificate.validity();
    let clean = |text: String| text.chars().filter(|c| !c.is_control()).take(256).collect();
    Some(TlsFacts {
        not_before: Timestamp::from_ms(validity.not_before.timestamp().saturating_mul(1000)),
        not_after: Timestamp::from_ms(validity.not_after.timestamp().saturating_mul(1000)),
        subject: clean(certificate.subject().to_string()),
        issuer: clean(certificate.issuer().to_string()),
    })
}
