//! A node: one network namespace, and ways to do things in it.

use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, ensure};

use crate::address::Family;
use crate::kernel;

/// A host, a router or a switch. Clones stand for the same node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    name: Arc<str>,
}

impl Node {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.into() }
    }

    /// Gives the name, which is also the namespace's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives the file that stands for this node's namespace.
    pub fn namespace_path(&self) -> PathBuf {
        Path::new("/run/netns").join(self.name())
    }

    /// Builds a command that runs in this node.
    ///
    /// The process id is the program's own, for `ip netns exec` becomes the program.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        kernel::die_with_parent(&mut command);
        command
    }

    /// Runs a program to its end and gives what it wrote, whatever its status.
    pub fn exec(&self, words: &[&str]) -> Result<Output> {
        let (program, arguments) = words.split_first().context("no program named")?;
        let output = self
            .command(program)
            .args(arguments)
            .output()
            .with_context(|| format!("run {words:?} in {self}"))?;
        Ok(Output {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs a program that must succeed and gives its standard output.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        let output = self.exec(words)?;
        ensure!(
            output.status.success(),
            "{words:?} in {self}: {}: {}",
            output.status,
            output.stderr.trim()
        );
        Ok(output.stdout)
    }

    /// Starts a program that is killed when the handle is dropped.
    ///
    /// It dies too when the thread that started it ends, so start it from the test's own thread.
    pub fn spawn(&self, words: &[&str]) -> Result<Running> {
        let (program, arguments) = words.split_first().context("no program named")?;
        let mut command = self.command(program);
        command.args(arguments).stdin(Stdio::null());
        Running::start(&mut command).with_context(|| format!("start {words:?} in {self}"))
    }

    /// Runs lines of `ip` commands in this node, all or up to the first that fails.
    pub fn ip(&self, family: Family, lines: &[String]) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut command = Command::new("ip");
        command.args([family.option(), "-n", &self.name, "-batch", "-"]);
        feed(&mut command, &lines.join("\n")).with_context(|| format!("ip in {self}: {lines:#?}"))
    }

    /// Feeds a script to `nft` in this node.
    pub fn nft(&self, script: &str) -> Result<()> {
        let mut command = self.command("nft");
        command.args(["-f", "-"]);
        feed(&mut command, script).with_context(|| format!("nft in {self}:\n{script}"))
    }

    /// Sets kernel parameters of this node, named as sysctl names them.
    ///
    /// Everything below `net` is the namespace's own; anything else would be the machine's and is
    /// refused.
    pub fn sysctl(&self, settings: &[(&str, &str)]) -> Result<()> {
        in_namespace(self, || -> Result<()> {
            for (key, value) in settings {
                ensure!(key.starts_with("net."), "{key} does not belong to one namespace");
                let path = format!("/proc/sys/{}", key.replace('.', "/"));
                fs::write(&path, value).with_context(|| format!("write {value} to {path}"))?;
            }
            Ok(())
        })?
        .with_context(|| format!("sysctl in {self}"))
    }

    /// Sets the TTL and hop limit that this node's own packets start with: 64 as Linux has it,
    /// 128 as Windows has it.
    pub fn set_ttl(&self, ttl: u8) -> Result<()> {
        let value = ttl.to_string();
        self.sysctl(&[("net.ipv4.ip_default_ttl", &value)])?;
        self.each_device("ipv6/conf", "hop_limit", &value)
    }

    /// Sets one parameter of every device, the device template included.
    pub(crate) fn each_device(&self, folder: &str, key: &str, value: &str) -> Result<()> {
        in_namespace(self, || -> Result<()> {
            let folder = format!("/proc/sys/net/{folder}");
            for entry in fs::read_dir(&folder).with_context(|| format!("list {folder}"))? {
                let path = entry.context("list devices")?.path().join(key);
                fs::write(&path, value)
                    .with_context(|| format!("write {value} to {}", path.display()))?;
            }
            Ok(())
        })?
        .with_context(|| format!("sysctl in {self}"))
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({})", self.name)
    }
}

/// What a program that ran to its end left.
#[derive(Clone, Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
}

/// A program at work in a node, killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
}

impl Running {
    /// Starts a command, such as one from [`Node::command`].
    pub fn start(command: &mut Command) -> Result<Self> {
        Ok(Self { child: command.spawn().context("spawn")? })
    }

    /// Gives the process, to signal it, read from it or wait for it.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only for a process that is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a closure on a thread of its own in the node's namespace.
///
/// A socket opened there stays in that namespace wherever it is used afterwards. A panic of the
/// closure comes through.
pub fn in_namespace<T: Send>(node: &Node, closure: impl FnOnce() -> T + Send) -> Result<T> {
    let path = node.namespace_path();
    let namespace = File::open(&path).with_context(|| format!("open {}", path.display()))?;
    let work = || {
        kernel::enter_net_namespace(&namespace).with_context(|| format!("enter {node}"))?;
        Ok(closure())
    };
    match thread::scope(|scope| scope.spawn(work).join()) {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Runs a command with `input` on its standard input; it must succeed.
pub(crate) fn feed(command: &mut Command, input: &str) -> Result<()> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("start the program")?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that fails early closes the pipe; its own message says more.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().context("wait for the program")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}", output.status, error.trim());
    Ok(())
}
