//! Certificates made for one test, in its own folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::node::feed;

/// What a server's certificate is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Certificate {
    /// Self-signed and valid for half a year from now, as Windows makes its own.
    #[default]
    Good,
    /// The same, but its time was the first half of 2025.
    Expired,
    /// The same with a key on P-521, which few libraries verify.
    P521,
    /// The same with a key for RSA-PSS alone.
    Pss,
    /// The server is told of files that do not exist.
    Missing,
}

/// Where a server finds its certificate and the key to it, both PEM.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl Certificate {
    /// Makes the certificate and its key in a folder.
    pub(super) fn make(self, folder: &Path) -> Result<Files> {
        let validity: &[&str] = match self {
            Self::Good | Self::P521 | Self::Pss => &["-days", "180"],
            Self::Expired => &["-startdate", "20250101000000Z", "-enddate", "20250701000000Z"],
            Self::Missing => return Ok(Files::named(folder)),
        };
        fs::write(folder.join("openssl.cnf"), CONFIGURATION).context("write openssl.cnf")?;
        fs::write(folder.join("index.txt"), "").context("write the list of certificates")?;
        let openssl = |words: &[&str]| {
            let mut command = Command::new("openssl");
            command.args(words).current_dir(folder);
            feed(&mut command, "").with_context(|| format!("openssl {words:?}"))
        };
        let key: &[&str] = match self {
            Self::P521 => &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"],
            Self::Pss => &["-newkey", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"],
            // RSA, for only that has the cipher suites of old Windows versions.
            Self::Good | Self::Expired | Self::Missing => &["-newkey", "rsa:2048"],
        };
        openssl(&[&REQUEST[..], key].concat())?;
        openssl(&[&SIGN[..], validity].concat())?;
        Ok(Files::named(folder))
    }
}

impl Files {
    fn named(folder: &Path) -> Self {
        Self { certificate: folder.join(CERTIFICATE), key: folder.join(KEY) }
    }
}

const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "key.pem";

const REQUEST: [&str; 10] = [
    "req",
    "-new",
    "-config",
    "openssl.cnf",
    "-nodes",
    "-keyout",
    KEY,
    "-out",
    "request.pem",
    "-batch",
];
/// Only this command sets the start as well as the end.
const SIGN: [&str; 12] = [
    "ca",
    "-selfsign",
    "-config",
    "openssl.cnf",
    "-keyfile",
    KEY,
    "-in",
    "request.pem",
    "-out",
    CERTIFICATE,
    "-batch",
    "-notext",
];

const CONFIGURATION: &str = "\
[req]
distinguished_name = name
prompt = no
[name]
CN = WIN-LAB01
[ca]
default_ca = lab
[lab]
database = index.txt
rand_serial = yes
new_certs_dir = .
default_md = sha256
policy = policy
x509_extensions = server
[policy]
commonName = supplied
[server]
keyUsage = digitalSignature, keyEncipherment, dataEncipherment
extendedKeyUsage = serverAuth
";
