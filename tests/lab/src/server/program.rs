//! Programs of other people, at work in a node with a folder of their own.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::kernel;
use crate::node::{Node, Running, in_namespace};
use crate::wait_until;

/// A program and whatever it starts, all killed and gone when this is dropped.
#[derive(Debug)]
pub(super) struct Program {
    name: String,
    leader: Running,
    output: PathBuf,
}

impl Program {
    /// Starts a program as the leader of a process group; what it writes goes to a file.
    pub(super) fn start(name: &str, command: &mut Command, output: &Path) -> Result<Self> {
        let file = File::create(output).with_context(|| format!("create {}", output.display()))?;
        let errors = file.try_clone().context("share the output file")?;
        command.process_group(0).stdin(Stdio::null()).stdout(file).stderr(errors);
        let leader = Running::start(command).with_context(|| format!("start {name}"))?;
        Ok(Self { name: name.to_owned(), leader, output: output.to_owned() })
    }

    /// Starts a server and waits until it, or a program it started, listens on a TCP port of the
    /// node, which must be free.
    pub(super) fn serve(
        (node, port): (&Node, u16),
        name: &str,
        command: &mut Command,
        output: &Path,
    ) -> Result<Self> {
        ensure!(!listens(node, port)?, "port {port} of {node} is taken already");
        let mut server = Self::start(name, command, output)?;
        server.wait_for("a listening socket", || Ok(listens(node, port)?.then_some(())))?;
        Ok(server)
    }

    /// Waits until something of the program's is there, and fails with its output when it ends
    /// before or takes too long.
    pub(super) fn wait_for<T>(
        &mut self,
        what: &str,
        mut look: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let mut found = Ok(None);
        let mut ended = None;
        let waited = wait_until(READY, || {
            // In this order, or a program that ends right after would be missed.
            ended = self.leader.child().try_wait().ok().flatten();
            found = look();
            !matches!(found, Ok(None)) || ended.is_some()
        });
        if let Some(found) = found? {
            return Ok(found);
        }
        let (name, output) = (&self.name, self.output()?);
        match (ended, waited) {
            (Some(status), _) => {
                bail!("{name} ended ({status}) before {what}; it wrote:\n{output}")
            }
            (None, _) => bail!("{name}: no {what} within {READY:?}; it wrote:\n{output}"),
        }
    }

    /// Gives what the program wrote so far, to both streams.
    pub(super) fn output(&self) -> Result<String> {
        read_text(&self.output)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let group = self.leader.child().id();
        // The group is gone already when its last process was reaped.
        let _ = kernel::kill_group(group);
        let _ = self.leader.child().wait();
        // The others are reaped by the sandbox's first process.
        let _ = wait_until(GONE, || !kernel::group_exists(group));
    }
}

/// Reads a text that a program writes, which need not be UTF-8.
pub(super) fn read_text(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Says whether a TCP socket of the node listens on a port, of either family.
///
/// A look at the kernel's table costs the server nothing: a connection would take a place in its
/// queue and leave a line in its log.
fn listens(node: &Node, port: u16) -> Result<bool> {
    let table = in_namespace(node, || {
        Ok::<_, anyhow::Error>(
            fs::read_to_string("/proc/thread-self/net/tcp").context("read the IPv4 sockets")?
                + &fs::read_to_string("/proc/thread-self/net/tcp6").context("the IPv6 sockets")?,
        )
    })??;
    let local = format!(":{port:04X}");
    Ok(table.lines().any(|line| {
        let mut fields = line.split_whitespace();
        let is_here = fields.nth(1).is_some_and(|address| address.ends_with(&local));
        is_here && fields.nth(1) == Some(LISTEN)
    }))
}

/// TCP_LISTEN as the kernel's table of sockets writes it.
const LISTEN: &str = "0A";

/// A server is ready in seconds; on a busy machine in many.
const READY: Duration = Duration::from_secs(30);
/// Killed processes are gone at once.
const GONE: Duration = Duration::from_secs(10);
