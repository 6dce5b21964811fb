//! A completed handshake that believes any certificate: a prober judges what it is shown, and sends
//! nothing that would need protection.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use reachd_core::probe::rdp::{HandshakeError, Handshaken};
use reachd_core::wire::tls::AlertDescription;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::talk::ending_of;

/// `None` would mean that the library's own default versions and suites do not fit together.
static CONNECTOR: LazyLock<Option<TlsConnector>> = LazyLock::new(|| {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let config = config.with_safe_default_protocol_versions().ok()?;
    let believe = Arc::new(BelieveAll(provider));
    let config = config.dangerous().with_custom_certificate_verifier(believe);
    Some(TlsConnector::from(Arc::new(config.with_no_client_auth())))
});

/// Completes a handshake on a fresh stream.
pub(super) async fn shake_hands(
    stream: TcpStream,
    to: IpAddr,
    name: Option<&str>,
) -> Result<(TlsStream<TcpStream>, Handshaken), HandshakeError> {
    let name = name.and_then(|name| ServerName::try_from(name.to_owned()).ok());
    let name = name.unwrap_or(ServerName::IpAddress(to.into()));
    let connector = CONNECTOR.as_ref().ok_or(HandshakeError::Unsupported)?;
    let stream = connector.connect(name, stream).await.map_err(|error| error_of(&error))?;
    let (_, session) = stream.get_ref();
    let version = session.protocol_version().ok_or(HandshakeError::Unsupported)?;
    let suite = session.negotiated_cipher_suite().ok_or(HandshakeError::Unsupported)?;
    let certificate = session.peer_certificates().and_then(<[CertificateDer<'_>]>::first);
    let certificate = certificate.ok_or(HandshakeError::Unsupported)?.to_vec();
    let shaken =
        Handshaken { version: version.into(), cipher_suite: suite.suite().into(), certificate };
    Ok((stream, shaken))
}

fn error_of(error: &io::Error) -> HandshakeError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::AlertReceived(alert)) => {
            HandshakeError::Alert(AlertDescription(u8::from(*alert)))
        }
        Some(_) => HandshakeError::Unsupported,
        None => HandshakeError::Ended(ending_of(error)),
    }
}

/// What the library cannot verify and need not, for any signature is believed: of keys on P-521
/// and Edwards curves, and of those for RSA-PSS alone (RFC 8446 section 4.2.3).
const UNVERIFIED: [SignatureScheme; 5] = [
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::ED448,
    SignatureScheme::Unknown(0x0809),
    SignatureScheme::Unknown(0x080a),
    SignatureScheme::Unknown(0x080b),
];

#[derive(Debug)]
struct BelieveAll(Arc<CryptoProvider>);

impl ServerCertVerifier for BelieveAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let known = self.0.signature_verification_algorithms.supported_schemes();
        known.into_iter().chain(UNVERIFIED).collect()
    }
}
