//! xrdp, a real RDP server without Windows.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::certificate::{Certificate, Files};
use super::program::{Program, read_text};
use crate::node::Node;
use crate::sandbox;

/// What to vary in an xrdp.
#[derive(Clone, Copy, Debug)]
pub struct XrdpSpec {
    /// The TCP port, on all addresses of the node.
    pub port: u16,
    /// What it demands of clients.
    pub layer: SecurityLayer,
    /// What its certificate is like.
    pub certificate: Certificate,
    /// Which TLS it speaks.
    pub tls: TlsOffer,
}

impl Default for XrdpSpec {
    fn default() -> Self {
        Self {
            port: 3389,
            layer: SecurityLayer::default(),
            certificate: Certificate::default(),
            tls: TlsOffer::default(),
        }
    }
}

/// The security layer of xrdp, which has the names and the meaning of Windows' own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecurityLayer {
    /// TLS with clients that offer it, else RDP's own.
    #[default]
    Negotiate,
    /// TLS only.
    Tls,
    /// RDP's own only.
    Rdp,
}

/// The TLS versions and cipher suites of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsOffer {
    /// What the distribution chose: TLS 1.2 and 1.3.
    #[default]
    Modern,
    /// TLS 1.2 with CBC suites, as Windows Server 2012 R2 with an RSA certificate.
    Windows2012R2,
    /// TLS 1.0, as Windows Server 2008.
    Windows2008,
    /// TLS 1.2 with suites that exchange keys by Diffie-Hellman in finite fields and use CBC.
    DheCbc,
    /// TLS 1.3, which hides the certificate from onlookers.
    Tls13,
}

/// An xrdp at work; it and its connections end when this is dropped.
///
/// Its queue holds two connections: more at once than it can accept wait for a SYN to be repeated.
#[derive(Debug)]
pub struct Xrdp {
    // In this order: the program goes before the folder it writes to.
    _program: Program,
    folder: TempDir,
    port: u16,
}

impl Xrdp {
    /// Starts an xrdp in a node and waits until it listens.
    pub fn start(node: &Node, spec: XrdpSpec) -> Result<Self> {
        sandbox::check_tools("xrdp", &[("xrdp", "xrdp"), ("openssl", "openssl")])?;
        // Below /run, which is the sandbox's own.
        fs::create_dir_all("/run/xrdp/sockdir").context("make the folder of sockets")?;
        let folder = tempfile::tempdir().context("make a folder")?;
        let files = spec.certificate.make(folder.path())?;
        let ini = folder.path().join("xrdp.ini");
        fs::write(&ini, configuration(spec, &files, &log_file(folder.path())))
            .context("write xrdp.ini")?;
        let mut command = node.command("xrdp");
        command.args(["--nodaemon", "--config"]).arg(&ini);
        let output = folder.path().join("output");
        let program = Program::serve((node, spec.port), "xrdp", &mut command, &output)?;
        Ok(Self { _program: program, folder, port: spec.port })
    }

    /// Gives the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Gives the text of its log so far.
    pub fn log(&self) -> Result<String> {
        read_text(&log_file(self.folder.path()))
    }
}

impl SecurityLayer {
    fn as_str(self) -> &'static str {
        match self {
            Self::Negotiate => "negotiate",
            Self::Tls => "tls",
            Self::Rdp => "rdp",
        }
    }
}

impl TlsOffer {
    /// Gives the protocols, and the cipher suites as OpenSSL writes them.
    fn settings(self) -> (&'static str, &'static str) {
        match self {
            Self::Modern => ("TLSv1.2, TLSv1.3", "HIGH"),
            Self::Windows2012R2 => ("TLSv1.2", "ECDHE-RSA-AES256-SHA384:ECDHE-RSA-AES128-SHA256"),
            Self::Windows2008 => ("TLSv1", "ALL:@SECLEVEL=0"),
            Self::DheCbc => ("TLSv1.2", "DHE-RSA-AES256-SHA256:DHE-RSA-AES128-SHA"),
            Self::Tls13 => ("TLSv1.3", "HIGH"),
        }
    }
}

fn log_file(folder: &Path) -> PathBuf {
    folder.join("xrdp.log")
}

fn configuration(spec: XrdpSpec, files: &Files, log: &Path) -> String {
    let (protocols, ciphers) = spec.tls.settings();
    format!(
        "[Globals]\n\
         ini_version=1\n\
         fork=true\n\
         port={port}\n\
         security_layer={layer}\n\
         certificate={certificate}\n\
         key_file={key}\n\
         ssl_protocols={protocols}\n\
         tls_ciphers={ciphers}\n\
         [Logging]\n\
         LogFile={log}\n\
         LogLevel=INFO\n\
         EnableSyslog=false\n",
        port = spec.port,
        layer = spec.layer.as_str(),
        certificate = files.certificate.display(),
        key = files.key.display(),
        log = log.display(),
    )
}
