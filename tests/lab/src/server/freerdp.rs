//! FreeRDP's shadow server, which asks for Network Level Authentication as Windows does.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::program::{Program, read_text};
use crate::node::Node;
use crate::sandbox;

/// What to vary in a FreeRDP server.
#[derive(Clone, Copy, Debug)]
pub struct FreeRdpSpec {
    /// The TCP port, on all addresses of the node.
    pub port: u16,
    /// What it demands of clients.
    pub security: Security,
}

impl Default for FreeRdpSpec {
    fn default() -> Self {
        Self { port: 3389, security: Security::default() }
    }
}

/// What a FreeRDP server demands of clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// Network Level Authentication: CredSSP over TLS, with a password the server checks.
    #[default]
    Nla,
    /// TLS.
    Tls,
    /// RDP's own.
    Rdp,
    /// NLA with the early user authorization result, which this version offers to nobody.
    Extended,
    /// Whatever the client offers, NLA excepted.
    Any,
}

/// A FreeRDP server at work, with a screen to show; both end when this is dropped.
///
/// It makes a key at each start, and its first answers take a tenth of a second.
#[derive(Debug)]
pub struct FreeRdp {
    // In this order: the server goes before the screen it looks at, both before the folder.
    program: Program,
    _screen: Program,
    _folder: TempDir,
    port: u16,
}

impl FreeRdp {
    /// Starts a FreeRDP server in a node and waits until it listens.
    pub fn start(node: &Node, spec: FreeRdpSpec) -> Result<Self> {
        sandbox::check_tools("FreeRDP", &TOOLS)?;
        let folder = tempfile::tempdir().context("make a folder")?;
        let (screen, display) = screen(node, folder.path())?;
        let mut command = node.command(SERVER);
        // Told no address, it may listen on IPv4 only; this one is both families'.
        command.arg("/bind-address:[::]").arg(format!("/port:{}", spec.port));
        command.args(spec.security.options());
        if spec.security == Security::Nla {
            let accounts = folder.path().join("sam");
            make_accounts(&accounts)?;
            command.arg(format!("/sam-file:{}", accounts.display()));
        }
        command.env("HOME", folder.path()).env("DISPLAY", format!(":{display}"));
        command.env_remove("XDG_CONFIG_HOME");
        let output = folder.path().join("output");
        let program = Program::serve((node, spec.port), SERVER, &mut command, &output)?;
        Ok(Self { program, _screen: screen, _folder: folder, port: spec.port })
    }

    /// Gives the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Gives what it wrote to its standard streams, its only log, so far.
    pub fn log(&self) -> Result<String> {
        self.program.output()
    }
}

impl Security {
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Nla => &["/sec:nla", "+auth"],
            Self::Tls => &["/sec:tls", "-auth"],
            Self::Rdp => &["/sec:rdp", "-auth"],
            Self::Extended => &["/sec:ext", "-auth"],
            Self::Any => &["-auth"],
        }
    }
}

/// Starts an X server without a screen and gives the number of its display.
///
/// Its only socket is an abstract one, which belongs to the network namespace: the node has its
/// own numbers, and nothing is left in the folder of sockets and locks, which all sandboxes share.
fn screen(node: &Node, folder: &Path) -> Result<(Program, u32)> {
    let mut command = node.command("Xvfb");
    command.args(["-displayfd", "1", "-nolock", "-nolisten", "tcp", "-nolisten", "unix"]);
    // FreeRDP leaves and comes again while it starts, and a server that starts anew when its last
    // client leaves may refuse it.
    command.args(["-noreset", "-screen", "0", "1024x768x24"]);
    let output = folder.join("screen");
    let mut screen = Program::start("Xvfb", &mut command, &output)?;
    let display = screen.wait_for("a display", || {
        let text = read_text(&output)?;
        let whole = text.strip_suffix('\n').and_then(|text| text.lines().last());
        Ok(whole.and_then(|line| line.parse().ok()))
    })?;
    Ok((screen, display))
}

/// Writes the one account of the server: user `probe`, and a password that nobody needs.
fn make_accounts(path: &Path) -> Result<()> {
    let mut command = Command::new("winpr-hash");
    command.args(["-u", "probe", "-p", "Lab-Pass-1", "-f", "sam"]);
    let output = command.output().context("start winpr-hash")?;
    ensure!(output.status.success(), "winpr-hash: {}", output.status);
    fs::write(path, output.stdout).context("write the accounts")
}

const SERVER: &str = "freerdp-shadow-cli";

const TOOLS: [(&str, &str); 3] =
    [(SERVER, "freerdp2-shadow-x11"), ("Xvfb", "xvfb"), ("winpr-hash", "winpr-utils")];
