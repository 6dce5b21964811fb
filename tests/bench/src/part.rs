//! Parts that run in a process of their own: `reachd-bench part JSON` does one and prints JSON.
//!
//! A process each keeps their processor time and memory apart, and puts them into their namespace
//! and on their processor before they open anything.

use std::env;
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::measured::Measured;
use crate::stage::{PROBER_CPU, RESPONDER_CPU, Side, Stage};
use crate::{accuracy, blackbox, cpu, daemon, null, own, scrape, sink, surge, sys, tokio_connect};

/// A piece of work for a process of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Part {
    /// The bare kernel.
    Null(null::Load),
    /// The connect loop.
    Connect(tokio_connect::Load),
    /// surge-ping.
    Surge(surge::Load),
    /// reachd's own sweep.
    Own(own::Load),
    /// The client that asks blackbox_exporter, not itself measured.
    Drive(blackbox::Drive),
    /// One page from an exporter.
    Fetch(blackbox::Fetch),
    /// The listener on the responder's side.
    Sink,
    /// The reference prober with stamps from the error queue.
    Reference(accuracy::Load),
    /// The onlooker that stamps every echo on the prober's wire.
    Witness(accuracy::Watch),
    /// The peer behind a TUN device that delays each reply by a known time.
    Tun(accuracy::Tun),
    /// One page of metrics.
    Scrape(scrape::Load),
    /// One request to the daemon.
    Ask(daemon::Ask),
}

impl Part {
    const fn place(&self) -> (Side, usize) {
        match self {
            Self::Null(_)
            | Self::Connect(_)
            | Self::Surge(_)
            | Self::Own(_)
            | Self::Reference(_)
            | Self::Scrape(_) => (Side::Prober, PROBER_CPU),
            Self::Drive(_) | Self::Fetch(_) | Self::Ask(_) | Self::Witness(_) | Self::Tun(_) => {
                (Side::Prober, RESPONDER_CPU)
            }
            Self::Sink => (Side::Responder, RESPONDER_CPU),
        }
    }

    fn command(&self) -> Result<Command> {
        let (side, processor) = self.place();
        let executable = env::current_exe().context("find the own executable")?;
        let executable = executable.to_str().context("the own path is no text")?;
        let mut command = Stage::command(side, processor, executable);
        command.arg("part").arg(serde_json::to_string(self).context("write the part")?);
        Ok(command)
    }

    /// Runs the part in a child process to its end and gives what it found.
    pub(crate) fn run<T: DeserializeOwned>(&self) -> Result<T> {
        let output = self.command()?.stderr(Stdio::piped()).output().context("start a part")?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        serde_json::from_slice(&output.stdout).context("read what a part found")
    }

    /// Runs a part that measures a prober.
    pub(crate) fn measure(&self) -> Result<Measured> {
        self.run()
    }

    /// Starts a part that goes on beside others; returns when it says that it is ready.
    pub(crate) fn start(&self) -> Result<Started> {
        let mut child = self
            .command()?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start a part")?;
        let output = child.stdout.take().context("a part's output is a pipe")?;
        let mut started = Started { child, output: BufReader::new(output) };
        let mut line = String::new();
        started.output.read_line(&mut line).context("wait for a part")?;
        if line.trim() != READY {
            bail!("a part did not start: {self:?}");
        }
        Ok(started)
    }

    /// Does the work in this process: the other end of [`Part::run`].
    pub(crate) fn perform(&self) -> Result<()> {
        // Refused in a user namespace, where the stage's notes say so.
        let _ = sys::prefer();
        let stage = Stage::here();
        match self {
            Self::Null(load) => print(&null::run(&stage, load)?),
            Self::Connect(load) => print(&tokio_connect::run(load)?),
            Self::Surge(load) => print(&surge::run(load)?),
            Self::Own(load) => print(&own_with_sizes(&stage, load)?),
            Self::Drive(drive) => print(&blackbox::drive(drive)?),
            Self::Fetch(fetch) => print(&blackbox::fetch(fetch)?),
            Self::Sink => sink::run(),
            Self::Reference(load) => print(&accuracy::reference(load)?),
            Self::Witness(watch) => print(&accuracy::witness(&stage, watch)?),
            Self::Tun(tun) => print(&accuracy::tun(tun)?),
            Self::Scrape(load) => print(&scrape::run(load)?),
            Self::Ask(ask) => print(&daemon::answer(ask)?),
        }
    }
}

/// A part at work beside others; killed when dropped.
pub(crate) struct Started {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Started {
    /// Gives the process's number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Tells the part to end, and gives what it found.
    pub(crate) fn finish<T: DeserializeOwned>(mut self) -> Result<T> {
        // A closed standard input is the sign.
        drop(self.child.stdin.take());
        let mut line = String::new();
        self.output.read_line(&mut line).context("wait for a part's result")?;
        serde_json::from_str(&line).context("read what a part found")
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Both fail only for a process that is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Says to the process that started this part that others may begin.
pub(crate) fn ready() -> Result<()> {
    let mut output = std::io::stdout();
    writeln!(output, "{READY}").and_then(|()| output.flush()).context("say that all is ready")
}

/// Says whether the process that started this part wants it to end.
pub(crate) fn is_over() -> bool {
    sys::wait_readable(&std::io::stdin(), Duration::ZERO).unwrap_or(true)
}

/// The engine need not measure its own process: that is done here, if it did not.
fn own_with_sizes(stage: &Stage, load: &own::Load) -> Result<Measured> {
    let mut measured = own::run(stage, load)?;
    let usage = cpu::Process::ourselves()?;
    if measured.rss_bytes == 0 {
        measured.rss_bytes = usage.rss;
    }
    if measured.rss_peak == 0 {
        measured.rss_peak = usage.rss_peak;
    }
    if measured.cpu_user + measured.cpu_sys == 0.0 {
        (measured.cpu_user, measured.cpu_sys) = (usage.user, usage.system);
    }
    Ok(measured)
}

fn print<T: Serialize>(value: &T) -> Result<()> {
    let text = serde_json::to_string(value).context("write the result")?;
    writeln!(std::io::stdout(), "{text}").context("print the result")
}

const READY: &str = "ready";
