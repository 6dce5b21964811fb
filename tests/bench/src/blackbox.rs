//! blackbox_exporter, as Debian has it, asked by 16 connections at once.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::cpu::Process;
use crate::http::Client;
use crate::measured::Measured;
use crate::part::Part;
use crate::stage::{PROBER_CPU, Side, Stage};
use crate::tokio_connect::PORT;

/// What the exporter is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Module {
    /// ICMP echo.
    Icmp,
    /// TCP connect.
    TcpConnect,
}

/// What the client does, in a process of its own on the responder's processor.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Drive {
    /// What the exporter is asked to do.
    pub(crate) module: Module,
    /// How many targets are asked in turn.
    pub(crate) targets: u32,
    /// How many connections ask at once.
    pub(crate) connections: u32,
    /// For how long.
    pub(crate) seconds: f64,
}

/// Starts the exporter, drives it and measures the exporter's process.
pub(crate) fn run(drive: Drive) -> Result<Measured> {
    fs::write(CONFIG_PATH, CONFIG).context("write blackbox_exporter's configuration")?;
    let mut server = Server::start(
        PROGRAM,
        &[&format!("--config.file={CONFIG_PATH}"), &format!("--web.listen-address={LISTEN}")],
        LISTEN,
    )?;
    let before = server.usage()?;
    let mut measured: Measured = Part::Drive(drive).run()?;
    let after = server.usage()?;
    measured.cpu_user = after.user - before.user;
    measured.cpu_sys = after.system - before.system;
    measured.rss_bytes = after.rss;
    measured.rss_peak = after.rss_peak;
    Ok(measured)
}

/// Asks for probes from many connections until the time is over.
pub(crate) fn drive(drive: &Drive) -> Result<Measured> {
    let next = AtomicU32::new(0);
    let begun = Instant::now();
    let ask_until_over = || -> Result<Measured> {
        let mut client = Client::connect(LISTEN.parse::<SocketAddr>()?)?;
        let mut measured = Measured::default();
        while begun.elapsed().as_secs_f64() < drive.seconds {
            let target = Stage::target(next.fetch_add(1, Ordering::Relaxed) % drive.targets);
            let page = match drive.module {
                Module::Icmp => client.get(&format!("/probe?module=icmp&target={target}")),
                Module::TcpConnect => {
                    client.get(&format!("/probe?module=tcp_connect&target={target}:{PORT}"))
                }
            }?;
            measured.sent += 1;
            match page.lines().any(|line| line == "probe_success 1") {
                true => measured.received += 1,
                false => measured.lost += 1,
            }
        }
        Ok(measured)
    };
    let mut all = Measured::default();
    thread::scope(|scope| -> Result<()> {
        let clients: Vec<_> = (0..drive.connections).map(|_| scope.spawn(ask_until_over)).collect();
        for client in clients {
            let Ok(one) = client.join() else { bail!("a client panicked") };
            let one = one?;
            all.sent += one.sent;
            all.received += one.received;
            all.lost += one.lost;
        }
        Ok(())
    })?;
    all.seconds = begun.elapsed().as_secs_f64();
    Ok(all)
}

/// A Go program that serves HTTP in the prober's namespace; killed when dropped.
pub(crate) struct Server {
    child: Child,
}

impl Server {
    /// Starts the program and waits until it listens.
    ///
    /// It runs Go code on one thread at a time, for a second one could only fight over the one
    /// processor it is bound to.
    pub(crate) fn start(program: &str, arguments: &[&str], listen: &str) -> Result<Self> {
        let child = Stage::command(Side::Prober, PROBER_CPU, program)
            .args(arguments)
            .env("GOMAXPROCS", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("start {program}"))?;
        let mut server = Self { child };
        let deadline = Instant::now() + PATIENCE;
        while fetch_in_namespace(listen, "/").is_err() {
            if server.child.try_wait().context("look after the program")?.is_some() {
                bail!("{program} ended at once");
            }
            if Instant::now() > deadline {
                bail!("{program} does not listen within {PATIENCE:?}");
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    /// Reads what the program has used so far.
    pub(crate) fn usage(&mut self) -> Result<Process> {
        Process::of(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only for a process that is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Gets one page from a server in the prober's namespace.
pub(crate) fn fetch_in_namespace(server: &str, path: &str) -> Result<String> {
    Part::Fetch(Fetch { server: server.to_owned(), path: path.to_owned() }).run()
}

/// One page to get.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Fetch {
    server: String,
    path: String,
}

/// Gets the page; the caller is in the server's namespace.
pub(crate) fn fetch(fetch: &Fetch) -> Result<String> {
    Client::connect(fetch.server.parse()?)?.get(&fetch.path)
}

/// The program's name, which is also its Debian package's.
pub(crate) const PROGRAM: &str = "prometheus-blackbox-exporter";

const LISTEN: &str = "127.0.0.1:9115";
const PATIENCE: Duration = Duration::from_secs(10);
const CONFIG_PATH: &str = "/run/reachd-bench-blackbox.yml";
const CONFIG: &str = "\
modules:
  icmp:
    prober: icmp
    timeout: 1s
    icmp: {preferred_ip_protocol: ip4}
  tcp_connect:
    prober: tcp
    timeout: 1s
    tcp: {preferred_ip_protocol: ip4}
";
