//! What `reachd`, nmap and blackbox_exporter say of the same RDP servers, as a table.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use reachd_lab::server::{
    Certificate, FreeRdp, FreeRdpSpec, RdpScript, Security, SecurityLayer, TlsOffer, TlsScript,
    Xrdp, XrdpSpec, rdp_scripted,
};
use reachd_lab::{
    Chain, ChainSpec, Lab, Node, check_machine, is_inside, sandbox_command, wait_until,
};
use serde_json::Value;

use crate::demo::find_reachd;

/// A server to be looked at.
enum Peer {
    Xrdp(XrdpSpec),
    FreeRdp(Security),
    Scripted(RdpScript),
}

/// Prints the table.
pub(crate) fn run() -> Result<ExitCode> {
    if is_inside() {
        print!("{}", table()?);
        return Ok(ExitCode::SUCCESS);
    }
    check_machine()?;
    let own = env::current_exe().context("find our own program")?;
    let status = sandbox_command(own).arg("beside").status().context("start unshare")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn peers() -> Vec<(&'static str, Peer)> {
    let xrdp = |layer, certificate, tls| {
        Peer::Xrdp(XrdpSpec { layer, certificate, tls, ..XrdpSpec::default() })
    };
    use Certificate::{Expired, Good, Missing};
    use SecurityLayer::{Negotiate, Rdp, Tls};
    use TlsOffer::{Modern, Tls13, Windows2008, Windows2012R2};
    vec![
        ("xrdp, negotiate", xrdp(Negotiate, Good, Modern)),
        ("xrdp, TLS", xrdp(Tls, Good, Modern)),
        ("xrdp, RDP's own security", xrdp(Rdp, Good, Modern)),
        ("xrdp, TLS, no certificate", xrdp(Tls, Missing, Modern)),
        ("xrdp, negotiate, no certificate", xrdp(Negotiate, Missing, Modern)),
        ("xrdp, certificate expired", xrdp(Tls, Expired, Modern)),
        ("xrdp, TLS 1.2 with CBC only", xrdp(Tls, Good, Windows2012R2)),
        ("xrdp, TLS 1.0 only", xrdp(Tls, Good, Windows2008)),
        ("xrdp, TLS 1.3 only", xrdp(Tls, Good, Tls13)),
        ("FreeRDP, NLA", Peer::FreeRdp(Security::Nla)),
        ("FreeRDP, TLS", Peer::FreeRdp(Security::Tls)),
        ("FreeRDP, RDP's own security", Peer::FreeRdp(Security::Rdp)),
        ("resets in TLS", Peer::Scripted(RdpScript::Tls(TlsScript::Reset))),
        ("closes in TLS", Peer::Scripted(RdpScript::Tls(TlsScript::Close))),
        ("refuses with code 6", Peer::Scripted(RdpScript::Fails(6))),
        ("selects what was not offered", Peer::Scripted(RdpScript::Selects(4))),
        ("half an answer", Peer::Scripted(RdpScript::HalfAnswer)),
    ]
}

fn table() -> Result<String> {
    let mut lab = Lab::new()?;
    let chain = Chain::build(&mut lab, ChainSpec::default())?;
    let reachd = find_reachd()?;
    let from = &chain.v1;
    let blackbox = ["prometheus-blackbox-exporter", "--config.file", BLACKBOX_CONFIG];
    let _blackbox = from.spawn(&blackbox)?;
    wait_until(Duration::from_secs(10), || from.run(&["curl", "-s", BLACKBOX]).is_ok())?;
    let mut text = String::from(
        "| server | nmap rdp-enum-encryption | blackbox_exporter tcp | reachd |\n|---|---|---|---|\n",
    );
    for (name, peer) in peers() {
        let target = &chain.lan.target;
        let _server: Box<dyn std::any::Any> = match peer {
            Peer::Xrdp(spec) => Box::new(Xrdp::start(target, spec)?),
            Peer::FreeRdp(security) => {
                Box::new(FreeRdp::start(target, FreeRdpSpec { security, ..Default::default() })?)
            }
            Peer::Scripted(script) => Box::new(rdp_scripted(target, PORT, script)?),
        };
        let at = chain.lan.target_at.v4.to_string();
        let row = [nmap(from, &at)?, blackbox_of(from, &at)?, ours(from, &reachd, &at)?];
        text += &format!("| {name} | {} |\n", row.join(" | "));
    }
    Ok(text)
}

/// The lines of the script's output that say something of a protocol.
fn nmap(from: &Node, at: &str) -> Result<String> {
    let port = PORT.to_string();
    let words = ["nmap", "-Pn", "-n", "-p", &port, "--script", "rdp-enum-encryption", at];
    let output = from.run(&words)?;
    let lines = output.lines().filter_map(|line| line.strip_prefix('|'));
    let lines = lines.map(|line| line.trim_start_matches(['_', ' ']));
    let lines = lines.map(|line| line.trim_start_matches("rdp-enum-encryption:").trim());
    let told = |line: &&str| line.contains(": ") || line.contains("Unknown");
    let lines: Vec<_> = lines.filter(told).collect();
    Ok(if lines.is_empty() { "nothing".to_owned() } else { lines.join("; ") })
}

fn blackbox_of(from: &Node, at: &str) -> Result<String> {
    let url = format!("{BLACKBOX}probe?module=tcp_connect&target={at}:{PORT}");
    let page = from.run(&["curl", "-s", &url])?;
    let line = page.lines().find(|line| line.starts_with("probe_success"));
    Ok(line.unwrap_or("nothing").to_owned())
}

fn ours(from: &Node, reachd: &PathBuf, at: &str) -> Result<String> {
    let output = from.command(reachd).args(["check", "--json", at]).output()?;
    let document: Value = serde_json::from_slice(&output.stdout).context("read a verdict")?;
    let verdict = &document["verdict"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let notes = verdict["notes"].as_array().into_iter().flatten().map(|note| text(&note["note"]));
    let notes = notes.filter(|note| note != "no_baseline" && note != "icmp_limited_hop");
    let cause = verdict["causes"].as_array().and_then(|causes| causes.first());
    let cause = cause.map(|cause| {
        let probability = cause["probability"].as_f64().unwrap_or_default();
        format!("{} {probability:.2}", text(&cause["cause"]))
    });
    let all: Vec<_> = [text(&verdict["class"])].into_iter().chain(cause).chain(notes).collect();
    Ok(all.join(", "))
}

const PORT: u16 = 3389;
const BLACKBOX: &str = "http://127.0.0.1:9115/";
const BLACKBOX_CONFIG: &str = "/etc/prometheus/blackbox.yml";
