//! Real servers of other people, as they come from the distribution.

mod alertmanager;
mod rdp;

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use reachd_lab::server::{SecurityLayer, Xrdp, XrdpSpec};
use reachd_lab::{Chain, ChainSpec, Lab, Node, inside, probe, test_name, wait_until};
use serde_json::Value;

use crate::support::REACHD;

/// One `check --json` from a node.
fn check(node: &Node, arguments: &[&str]) -> Result<Value> {
    read(node.command(REACHD).arg("check").arg("--json").args(arguments))
}

/// The document that a check prints.
fn read(check: &mut Command) -> Result<Value> {
    let output = check.output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().next().with_context(|| {
        format!("no verdict; stderr: {}", String::from_utf8_lossy(&output.stderr))
    })?;
    Ok(serde_json::from_str(line)?)
}

fn chain(lab: &mut Lab) -> Result<Chain> {
    Chain::build(lab, ChainSpec { routers: 3, target_ttl: 128 })
}

fn answers(chain: &Chain, port: u16) -> bool {
    let address = chain.lan.target_at.socket_v4(port);
    let connected = probe::connect(&chain.v1, address, Duration::from_secs(1));
    matches!(connected, Ok(Ok(_)))
}

#[test]
fn xrdp_is_reachable_and_its_security_is_noted() {
    inside(test_name!(), |lab| {
        let chain = chain(lab)?;
        let spec = XrdpSpec { layer: SecurityLayer::Rdp, ..XrdpSpec::default() };
        let _xrdp = Xrdp::start(&chain.lan.target, spec)?;
        let verdict = check(&chain.v1, &["10.9.0.10"])?;
        assert_eq!(verdict["verdict"]["class"], "reachable", "{verdict}");
        let notes = verdict["verdict"]["notes"].as_array().context("notes")?;
        assert!(notes.iter().any(|note| note["note"] == "plain_rdp_security"), "{verdict}");
        let service = &verdict["vantages"][0]["service"];
        assert_eq!(service["answer"], "confirmed", "{verdict}");
        Ok(())
    });
}

#[test]
fn sshd_greets_and_is_reachable_and_is_no_rdp() {
    inside(test_name!(), |lab| {
        let chain = chain(lab)?;
        let folder = tempfile::tempdir()?;
        let key = folder.path().join("key").to_string_lossy().into_owned();
        chain.v1.run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &key])?;
        std::fs::create_dir_all("/run/sshd")?;
        let key = format!("HostKey={key}");
        let arguments = ["/usr/sbin/sshd", "-D", "-f", "/dev/null", "-o", &key, "-p", "22"];
        let _sshd = chain.lan.target.spawn(&arguments)?;
        wait_until(Duration::from_secs(10), || answers(&chain, 22))?;
        let as_ssh = check(&chain.v1, &["10.9.0.10:22"])?;
        assert_eq!(as_ssh["verdict"]["class"], "reachable", "{as_ssh}");
        let detail = as_ssh["vantages"][0]["service"]["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("OpenSSH"), "{as_ssh}");
        let as_rdp = check(&chain.v1, &["10.9.0.10:22", "--service", "rdp"])?;
        assert_eq!(as_rdp["verdict"]["class"], "wrong_service", "{as_rdp}");
        Ok(())
    });
}
