//! The file and what is made of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::http::{HeaderName, HeaderValue};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use serde::Deserialize;
use tokio_rustls::TlsAcceptor;

use super::guard::Users;
use super::{Setup, mark};

/// Headers that the file may set, as exporter-toolkit has them.
const HEADERS: [&str; 5] = [
    "Content-Security-Policy",
    "X-Frame-Options",
    "X-Content-Type-Options",
    "X-XSS-Protection",
    "Strict-Transport-Security",
];

/// What is wrong with a web configuration.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// A file cannot be read.
    #[error("read {} of [listen] web_config: check that it is there and may be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// The file is no web configuration.
    #[error("read {} of [listen] web_config: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// It asks for what cannot be done, or for nothing that makes sense.
    #[error("{} of [listen] web_config: {key}: {reason}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Which key.
        key: &'static str,
        /// What is wrong and what to do.
        reason: String,
    },
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct File {
    tls_server_config: Option<Tls>,
    http_server_config: Http,
    basic_auth_users: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Tls {
    cert: Option<String>,
    key: Option<String>,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    client_auth_type: Option<String>,
    client_ca: Option<String>,
    client_ca_file: Option<PathBuf>,
    client_allowed_sans: Vec<String>,
    min_version: Option<String>,
    max_version: Option<String>,
    cipher_suites: Vec<String>,
    prefer_server_cipher_suites: Option<bool>,
    curve_preferences: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Http {
    http2: bool,
    headers: BTreeMap<String, String>,
}

impl Default for Http {
    fn default() -> Self {
        Self { http2: true, headers: BTreeMap::new() }
    }
}

/// Reads a file and those that it names, and notes the marks of all of them before that: what
/// changes meanwhile is read again.
pub(super) fn read(path: &Path) -> Result<Setup, WebError> {
    let mut reader = Reader { path, files: vec![(path.to_owned(), mark(path))] };
    let text = reader.text(path)?;
    let file: File = serde_saphyr::from_str(&text)
        .map_err(|error| WebError::Syntax { path: path.to_owned(), reason: error.to_string() })?;
    // HTTP/1.1 alone is spoken here, which a client that also knows HTTP/2 takes as well.
    let Http { http2: _, headers } = file.http_server_config;
    let headers = reader.headers(headers)?;
    let users = Users::new(file.basic_auth_users)
        .map_err(|reason| reader.wrong("basic_auth_users", reason))?;
    let (acceptor, certified) = match file.tls_server_config {
        Some(tls) => {
            let (acceptor, certified) = reader.tls(tls)?;
            (Some(acceptor), certified)
        }
        None => (None, false),
    };
    Ok(Setup { marks: reader.files, acceptor, certified, users, headers })
}

struct Reader<'a> {
    path: &'a Path,
    files: Vec<(PathBuf, super::Mark)>,
}

impl Reader<'_> {
    fn wrong(&self, key: &'static str, reason: impl Into<String>) -> WebError {
        WebError::Value { path: self.path.to_owned(), key, reason: reason.into() }
    }

    fn text(&self, path: &Path) -> Result<String, WebError> {
        let read = std::fs::read_to_string(path);
        read.map_err(|error| WebError::Read { path: path.to_owned(), error })
    }

    /// A text that is written in the file or lies in one of its own.
    fn written(
        &mut self,
        key: &'static str,
        (inline, file): (Option<String>, Option<PathBuf>),
    ) -> Result<Option<String>, WebError> {
        match (inline, file) {
            (Some(_), Some(_)) => {
                Err(self.wrong(key, "it is written here and named as a file as well; keep one"))
            }
            (inline, None) => Ok(inline),
            (None, Some(file)) => {
                let file = self.path.parent().map_or(file.clone(), |folder| folder.join(&file));
                self.files.push((file.clone(), mark(&file)));
                self.text(&file).map(Some)
            }
        }
    }

    fn headers(
        &self,
        written: BTreeMap<String, String>,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, WebError> {
        let read = |(name, value): (String, String)| {
            let known = HEADERS.iter().any(|header| header.eq_ignore_ascii_case(&name));
            let header = HeaderName::from_bytes(name.as_bytes()).ok().filter(|_| known);
            let value = HeaderValue::from_str(&value).ok();
            header.zip(value).ok_or_else(|| {
                let known = HEADERS.join(", ");
                self.wrong("http_server_config.headers", format!("{name}: set one of {known}"))
            })
        };
        written.into_iter().map(read).collect()
    }

    fn tls(&mut self, tls: Tls) -> Result<(TlsAcceptor, bool), WebError> {
        self.refuse_unsupported(&tls)?;
        let versions = self.versions(&tls)?;
        let key_text = self.written("tls_server_config.key", (tls.key, tls.key_file))?;
        let chain_text = self.written("tls_server_config.cert", (tls.cert, tls.cert_file))?;
        let authority =
            self.written("tls_server_config.client_ca", (tls.client_ca, tls.client_ca_file))?;
        let (Some(key_text), Some(chain_text)) = (key_text, chain_text) else {
            let reason = "both cert_file and key_file are needed";
            return Err(self.wrong("tls_server_config", reason));
        };
        let chain = certificates(&chain_text)
            .map_err(|reason| self.wrong("tls_server_config.cert", reason))?;
        let key = PrivateKeyDer::from_pem_slice(key_text.as_bytes()).map_err(|error| {
            self.wrong("tls_server_config.key", format!("no private key in PEM: {error}"))
        })?;
        let kind = tls.client_auth_type.as_deref().unwrap_or("NoClientCert");
        let (verifier, certified) = self.clients(kind, authority)?;
        let builder =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder
            .with_protocol_versions(&versions)
            .map_err(|error| self.wrong("tls_server_config.min_version", error.to_string()))?;
        let mut config = builder
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(|error| {
            self.wrong("tls_server_config.cert", format!("it does not fit the key: {error}"))
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok((TlsAcceptor::from(Arc::new(config)), certified))
    }

    /// What rustls chooses by itself, and what nothing here can check.
    fn refuse_unsupported(&self, tls: &Tls) -> Result<(), WebError> {
        let chosen = "the suites and curves of TLS are chosen by reachd, all of them strong; \
                      leave it out";
        if !tls.cipher_suites.is_empty() {
            return Err(self.wrong("tls_server_config.cipher_suites", chosen));
        }
        if !tls.curve_preferences.is_empty() {
            return Err(self.wrong("tls_server_config.curve_preferences", chosen));
        }
        if tls.prefer_server_cipher_suites == Some(false) {
            let key = "tls_server_config.prefer_server_cipher_suites";
            return Err(self.wrong(key, "the server's order counts; leave it out"));
        }
        if !tls.client_allowed_sans.is_empty() {
            let reason = "names of clients are not compared; use a CA of their own";
            return Err(self.wrong("tls_server_config.client_allowed_sans", reason));
        }
        Ok(())
    }

    fn versions(&self, tls: &Tls) -> Result<Vec<&'static SupportedProtocolVersion>, WebError> {
        let number = |key, word: Option<&str>, default| match word {
            None => Ok(default),
            Some("TLS12") => Ok(2),
            Some("TLS13") => Ok(3),
            Some(other) => {
                Err(self.wrong(key, format!("{other} is not served; write TLS12 or TLS13")))
            }
        };
        let least = number("tls_server_config.min_version", tls.min_version.as_deref(), 2)?;
        let most = number("tls_server_config.max_version", tls.max_version.as_deref(), 3)?;
        let all = [(2, &version::TLS12), (3, &version::TLS13)];
        let within: Vec<_> = all
            .into_iter()
            .filter(|(number, _)| (least..=most).contains(number))
            .map(|(_, version)| version)
            .collect();
        if within.is_empty() {
            let reason = "it is above max_version; exchange the two";
            return Err(self.wrong("tls_server_config.min_version", reason));
        }
        Ok(within)
    }

    /// Who checks the certificates of clients, and whether nobody comes in without one.
    fn clients(
        &self,
        kind: &str,
        authority: Option<String>,
    ) -> Result<(Arc<dyn ClientCertVerifier>, bool), WebError> {
        const KEY: &str = "tls_server_config.client_auth_type";
        let wanted = match kind {
            "NoClientCert" => {
                if authority.is_some() {
                    let reason = "a client CA is given and no client is asked for a certificate; \
                                  set RequireAndVerifyClientCert or leave client_ca_file out";
                    return Err(self.wrong(KEY, reason));
                }
                return Ok((WebPkiClientVerifier::no_client_auth(), false));
            }
            "VerifyClientCertIfGiven" => false,
            "RequireAndVerifyClientCert" => true,
            "RequestClientCert" | "RequireAnyClientCert" => {
                let reason = format!(
                    "{kind} believes any certificate, which proves nothing; write \
                     RequireAndVerifyClientCert or NoClientCert"
                );
                return Err(self.wrong(KEY, reason));
            }
            other => {
                let reason = format!(
                    "{other} is unknown; write NoClientCert, VerifyClientCertIfGiven or \
                     RequireAndVerifyClientCert"
                );
                return Err(self.wrong(KEY, reason));
            }
        };
        let Some(text) = authority else {
            return Err(self.wrong("tls_server_config.client_ca_file", "it is missing"));
        };
        let mut roots = RootCertStore::empty();
        let trusted = certificates(&text)
            .map_err(|reason| self.wrong("tls_server_config.client_ca", reason))?;
        for certificate in trusted {
            roots.add(certificate).map_err(|error| {
                self.wrong("tls_server_config.client_ca", format!("no CA: {error}"))
            })?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        if !wanted {
            builder = builder.allow_unauthenticated();
        }
        let verifier = builder
            .build()
            .map_err(|error| self.wrong("tls_server_config.client_ca", error.to_string()))?;
        Ok((verifier, wanted))
    }
}

fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let read = read.map_err(|error| format!("no certificates in PEM: {error}"))?;
    if read.is_empty() {
        return Err("no certificate in PEM is in it".to_owned());
    }
    Ok(read)
}
