//! A connection to a receiver: resolved once, every address looked at, through a proxy if need be,
//! in TLS if need be.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::guard::{self, Origin, Refusal};

/// How long a connection may take, names and TLS included.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How much of a proxy's answer to CONNECT is read.
const PROXY_ANSWER_MAX: usize = 4 * 1024;

/// Anything bytes go through.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A host and a port, as a URL names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// A name or a literal address without brackets.
    pub(super) host: String,
    /// The port.
    pub(super) port: u16,
}

impl Place {
    /// `host:port`, with brackets where they belong.
    pub(super) fn authority(&self) -> String {
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => format!("[{address}]:{}", self.port),
            Ok(IpAddr::V4(_)) | Err(_) => format!("{}:{}", self.host, self.port),
        }
    }
}

/// Why there is no connection. Says nothing of a URL's path, nor of a password.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// The name has no address.
    #[error("resolve {host}")]
    Resolve {
        /// Which name.
        host: String,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// The host, or an address it resolved to, may not be asked.
    #[error("connect to {host}: {refusal}")]
    Refused {
        /// The host or its address.
        host: String,
        /// Why.
        refusal: Refusal,
    },
    /// Nobody answered at any of its addresses.
    #[error("connect to {host}")]
    Connect {
        /// Which host.
        host: String,
        /// What the last address said.
        #[source]
        error: std::io::Error,
    },
    /// The proxy did not open the way.
    #[error("pass the proxy: {why}")]
    Proxy {
        /// What it said.
        why: String,
    },
    /// TLS was not agreed on, or the certificate is not the host's.
    #[error("begin TLS with {host}")]
    Tls {
        /// Which host.
        host: String,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// It took too long.
    #[error("connect within 5 s")]
    Slow,
}

/// How a receiver is reached.
#[derive(Clone)]
pub(super) struct Ways {
    /// Who wrote its URL.
    pub(super) origin: Origin,
    /// The proxy before it.
    pub(super) proxy: Option<Proxy>,
    /// Whom TLS believes; `None` where nothing is encrypted.
    pub(super) tls: Option<TlsConnector>,
}

/// An HTTP proxy.
#[derive(Clone)]
pub(super) struct Proxy {
    /// Where it is.
    pub(super) place: Place,
    /// The value of `Proxy-Authorization`.
    pub(super) authorization: Option<String>,
}

impl Ways {
    /// A connection on which the far host itself is spoken to, or, for plain HTTP, its proxy.
    pub(super) async fn open(
        &self,
        place: &Place,
        tunnel: bool,
    ) -> Result<Box<dyn Stream>, ConnectError> {
        let opening = async {
            let plain = self.plain(place, tunnel).await?;
            match &self.tls {
                None => Ok(Box::new(plain) as Box<dyn Stream>),
                Some(connector) => encrypt(connector, plain, &place.host).await,
            }
        };
        tokio::time::timeout(CONNECT_TIMEOUT, opening).await.unwrap_or(Err(ConnectError::Slow))
    }

    /// The connection before TLS.
    async fn plain(&self, place: &Place, tunnel: bool) -> Result<TcpStream, ConnectError> {
        let refused = |refusal| ConnectError::Refused { host: place.host.clone(), refusal };
        guard::host(&place.host, self.origin).map_err(refused)?;
        match &self.proxy {
            None => reach(place, self.origin).await,
            Some(proxy) => {
                // The proxy is the owner's; what it may reach is its own business.
                let mut stream = reach(&proxy.place, Origin::Plan).await?;
                if tunnel {
                    open_tunnel(&mut stream, place, proxy).await?;
                }
                Ok(stream)
            }
        }
    }
}

/// Begins TLS on a connection.
pub(super) async fn encrypt<S: Stream + 'static>(
    connector: &TlsConnector,
    plain: S,
    host: &str,
) -> Result<Box<dyn Stream>, ConnectError> {
    let failed = |error| ConnectError::Tls { host: host.to_owned(), error };
    let name = ServerName::try_from(host.to_owned());
    let name = name.map_err(|error| failed(std::io::Error::other(error)))?;
    let stream = connector.connect(name, plain).await.map_err(failed)?;
    Ok(Box::new(stream))
}

/// Resolves once and connects to one of the very addresses that were looked at. One bad address
/// refuses the whole name: whoever mixes them means no good.
async fn reach(place: &Place, origin: Origin) -> Result<TcpStream, ConnectError> {
    let host = || place.host.clone();
    let resolved = tokio::net::lookup_host((place.host.as_str(), place.port)).await;
    let resolved = resolved.map_err(|error| ConnectError::Resolve { host: host(), error })?;
    let addresses: Vec<SocketAddr> = resolved.collect();
    for address in &addresses {
        guard::address(address.ip(), origin)
            .map_err(|refusal| ConnectError::Refused { host: address.ip().to_string(), refusal })?;
    }
    // One dead address of several must not cost all the time there is.
    let share = CONNECT_TIMEOUT / u32::try_from(addresses.len().clamp(1, 5)).unwrap_or(1);
    let mut last = std::io::Error::other("the name has no address");
    for address in addresses {
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Without it a small request may wait for an acknowledgement; no fault if refused.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = std::io::ErrorKind::TimedOut.into(),
        }
    }
    Err(ConnectError::Connect { host: host(), error: last })
}

/// CONNECT (RFC 9110 9.3.6).
async fn open_tunnel(
    stream: &mut TcpStream,
    place: &Place,
    proxy: &Proxy,
) -> Result<(), ConnectError> {
    let broken = |error: std::io::Error| ConnectError::Proxy { why: error.to_string() };
    let authority = place.authority();
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some(authorization) = &proxy.authorization {
        request.push_str(&format!("Proxy-Authorization: {authorization}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    let mut answer = Vec::new();
    // Byte by byte: what follows the head belongs to TLS.
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= PROXY_ANSWER_MAX {
            return Err(ConnectError::Proxy { why: "its answer has no end".to_owned() });
        }
        answer.push(stream.read_u8().await.map_err(broken)?);
    }
    let text = String::from_utf8_lossy(&answer);
    let status = text.split_whitespace().nth(1).unwrap_or_default();
    if text.starts_with("HTTP/1.") && status.starts_with('2') && status.len() == 3 {
        return Ok(());
    }
    let shown: String = status.chars().filter(char::is_ascii_digit).take(3).collect();
    Err(ConnectError::Proxy { why: format!("it answered {shown}") })
}

/// TLS that believes the system's certificate authorities and, besides, those of a PEM text.
pub(super) fn tls(further: Option<&[u8]>) -> std::io::Result<TlsConnector> {
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if let Some(pem) = further {
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| invalid(&error))?;
            roots.add(certificate).map_err(|error| invalid(&error))?;
        }
        if roots.len() == before {
            return Err(std::io::Error::other("the file of authorities has no certificate"));
        }
    }
    if roots.is_empty() {
        let why = found.errors.into_iter().next().map(|error| error.to_string());
        let why = why.unwrap_or_else(|| "the system has no certificate authorities".to_owned());
        return Err(std::io::Error::other(why));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()).into())
}

fn invalid(error: &dyn std::fmt::Display) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, error.to_string())
}
