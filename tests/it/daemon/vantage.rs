//! Our own side at fault: one alert of the vantage, none of any target, and back again.
//!
//! The daemon runs in `m` with a vantage of its own, and has another in `v1`, whose way out fails.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reachd_lab::server::{self, TcpServer, Webhook};
use reachd_lab::{Fault, Lab, Match, Node, VantageLab, VantageLabSpec, inside_within, test_name};

use super::harness::{Daemon, Ground, record, until};
use super::told::{one_pair_each, told};

const FIRST_VERDICTS: Duration = Duration::from_secs(45);
/// A fault of ours is told as soon as one of a target would be, and so is its end.
const FAULT_TO_FIRING: Duration = Duration::from_secs(60);
const HEAL_TO_RESOLVED: Duration = Duration::from_secs(60);
/// Long enough for a wrong alert: a failing target's own would be out by then.
const QUIET: Duration = Duration::from_secs(45);
const LIMIT: Duration = Duration::from_secs(220);

struct Scene {
    lab: VantageLab,
    monitor: Node,
    receiver: Webhook,
    _servers: Vec<TcpServer>,
}

impl Scene {
    /// Six targets on three hosts, and this many canaries.
    fn build(lab: &mut Lab, canaries: u8) -> Result<Self> {
        let spec = VantageLabSpec { branches: 2, canaries, ..VantageLabSpec::default() };
        let built = VantageLab::build(lab, spec)?;
        let [monitor, router] = [lab.host("m")?, lab.router("rm")?];
        lab.link(&monitor, &router)?;
        lab.link(&router, &built.core)?;
        lab.converge()?;
        let mut servers = Vec::new();
        for host in [&built.lan.target, &built.lan.n1, &built.lan.n2] {
            servers.push(server::rdp_confirm(host, 3389)?);
            servers.push(server::ssh_banner(host, 22)?);
        }
        let receiver = server::webhook(&monitor, 8081)?;
        Ok(Self { lab: built, monitor, receiver, _servers: servers })
    }

    fn start(&self) -> Result<Daemon> {
        let mut text = String::from(
            "[[receiver]]\nname = \"ops\"\nurl = \"http://127.0.0.1:8081/\"\n\
             [[vantage]]\nname = \"home\"\n[[vantage]]\nname = \"away\"\nnetns = \"v1\"\n",
        );
        let lan = &self.lab.lan;
        for (index, host) in [lan.target_at, lan.n1_at, lan.n2_at].into_iter().enumerate() {
            for (port, service) in [(3389, "rdp"), (22, "ssh")] {
                text += &format!(
                    "[[target]]\nname = \"{service}-{index}\"\nhost = \"{}\"\nport = {port}\n\
                     service = \"{service}\"\n",
                    host.v4
                );
            }
        }
        for canary in &self.lab.canaries {
            text += &format!("[[canary]]\nhost = \"{}\"\nport = 3389\n", canary.at.v4);
        }
        let daemon = Ground::new(&self.monitor, &text)?.start()?;
        let targets = ["rdp-0", "rdp-1", "rdp-2", "ssh-0", "ssh-1", "ssh-2"];
        daemon.until_page("all are well", FIRST_VERDICTS, |page| {
            // Ten echoes are the first look; one more, and every canary was asked as well, which
            // is asked twice as often.
            let swept = |target: &&str| {
                let labels = [("vantage", "away"), ("target", *target), ("probe", "echo")];
                page.sum("reachd_probe_packets_received_total", &labels) >= 11.0
            };
            let healthy = page.sum("reachd_vantage_healthy", &[]) == 2.0;
            page.in_class("reachable") == 6 && healthy && targets.iter().all(swept)
        })?;
        Ok(daemon)
    }

    /// Waits for a message about the vantage, while the other one still watches every target.
    fn until_told(&self, daemon: &Daemon, status: &str, within: Duration) -> Result<()> {
        until(&format!("the vantage is {status}"), within, || {
            all_reachable(daemon)?;
            Ok(told(&self.receiver)?.iter().any(|told| told.is(status, "away")).then_some(()))
        })
    }

    /// The whole story of a fault of `v1` alone.
    fn fault_and_heal(
        &self,
        title: &str,
        daemon: &Daemon,
        fault: impl FnOnce() -> Result<Fault>,
    ) -> Result<()> {
        let fault = fault()?;
        let begun = std::time::Instant::now();
        let away = [("vantage", "away")];
        let healthy = |value: f64| {
            move |page: &super::page::Page| {
                page.value("reachd_vantage_healthy", &away) == Some(value)
                    && page.value("reachd_vantage_healthy", &[("vantage", "home")]) == Some(1.0)
            }
        };
        daemon.until_page("the vantage is not believed", FAULT_TO_FIRING, healthy(0.0))?;
        let unbelieved = begun.elapsed();
        self.until_told(daemon, "firing", FAULT_TO_FIRING.saturating_sub(begun.elapsed()))?;
        record(&format!(
            "vantage {title}: fault to metric {:.1} s, to firing {:.1} s",
            unbelieved.as_secs_f64(),
            begun.elapsed().as_secs_f64()
        ));
        fault.heal()?;
        let begun = std::time::Instant::now();
        self.until_told(daemon, "resolved", HEAL_TO_RESOLVED)?;
        let resolved = begun.elapsed();
        daemon.until_page("the vantage is believed again", HEAL_TO_RESOLVED, healthy(1.0))?;
        record(&format!("vantage {title}: heal to resolved {:.1} s", resolved.as_secs_f64()));
        all_reachable(daemon)?;
        one_pair_each(&self.receiver, &["away"])?;
        let told = told(&self.receiver)?;
        ensure!(
            told.iter().all(|told| told.label("alertname") == "ReachdVantageFault"),
            "{told:#?}"
        );
        Ok(())
    }
}

fn all_reachable(daemon: &Daemon) -> Result<()> {
    let page = daemon.metrics()?;
    ensure!(page.in_class("reachable") == 6, "a target is blamed: {:#?}", page.story());
    Ok(())
}

fn one_fault(title: &str, test: &str, fault: impl FnOnce(&Lab, &VantageLab) -> Result<Fault>) {
    inside_within(LIMIT, test, |lab| {
        let scene = Scene::build(lab, 4)?;
        let daemon = scene.start()?;
        scene.fault_and_heal(title, &daemon, || fault(lab, &scene.lab))
    });
}

#[test]
fn a_silent_uplink_is_the_vantages_fault() {
    one_fault("uplink silent", test_name!(), |lab, net| {
        lab.drop_prerouting(&net.r1, &Match::all())
    });
}

#[test]
fn a_cut_uplink_is_the_vantages_fault() {
    one_fault("uplink cut", test_name!(), |lab, net| lab.link_down(&net.v1, &net.r1));
}

#[test]
fn a_port_blocked_by_our_own_firewall_is_the_vantages_fault() {
    one_fault("own output drop of 3389", test_name!(), |lab, net| {
        lab.drop_output(&net.v1, &Match::tcp(3389))
    });
}

#[test]
fn a_port_blocked_by_our_first_router_is_the_vantages_fault() {
    one_fault("first router drops 3389", test_name!(), |lab, net| {
        lab.drop_forward(&net.r1, &Match::tcp(3389))
    });
}

#[test]
fn a_dead_canary_among_two_alarms_nobody() {
    inside_within(LIMIT, test_name!(), |lab| {
        let scene = Scene::build(lab, 2)?;
        let daemon = scene.start()?;
        let canary = scene.lab.canaries.first().context("a canary")?;
        let _dead = lab.address_remove(&canary.node)?;
        let begun = std::time::Instant::now();
        until("a quiet time", QUIET + QUIET, || {
            all_reachable(&daemon)?;
            let page = daemon.metrics()?;
            ensure!(page.sum("reachd_vantage_healthy", &[]) == 2.0, "{:#?}", page.story());
            let told = told(&scene.receiver)?;
            ensure!(told.is_empty(), "{told:#?}");
            Ok((begun.elapsed() > QUIET).then_some(()))
        })
    });
}

#[test]
fn a_namespace_made_anew_is_noticed_and_used() {
    inside_within(LIMIT, test_name!(), |lab| {
        let scene = Scene::build(lab, 2)?;
        let daemon = scene.start()?;
        let away = [("vantage", "away")];
        ip(&["netns del v1"])?;
        let begun = std::time::Instant::now();
        daemon.until_page("the vantage is gone", FAULT_TO_FIRING, |page| {
            page.value("reachd_vantage_healthy", &away) == Some(0.0)
        })?;
        record(&format!("vantage deleted: noticed in {:.1} s", begun.elapsed().as_secs_f64()));
        scene.until_told(&daemon, "firing", FAULT_TO_FIRING)?;
        let [at, via] = [scene.lab.v1_at.v4, gateway_of(scene.lab.v1_at.v4)];
        ip(&[
            "netns add v1",
            "link add to-r1 netns v1 type veth peer name to-v1 netns r1",
            &format!("-n v1 addr add {at}/30 dev to-r1"),
            "-n v1 link set to-r1 up",
            &format!("-n r1 addr add {via}/30 dev to-v1"),
            "-n r1 link set to-v1 up",
            &format!("-n v1 route add default via {via}"),
        ])?;
        let begun = std::time::Instant::now();
        let before = daemon.metrics()?;
        let received =
            |page: &super::page::Page| page.sum("reachd_probe_packets_received_total", &away);
        daemon.until_page("the vantage probes again", HEAL_TO_RESOLVED, |page| {
            page.value("reachd_vantage_healthy", &away) == Some(1.0)
                && received(page) > received(&before)
                && page.count("reachd_vantage_info", &[away[0], ("mode", "raw")]) == 1
        })?;
        record(&format!("vantage re-made: probing after {:.1} s", begun.elapsed().as_secs_f64()));
        scene.until_told(&daemon, "resolved", HEAL_TO_RESOLVED)?;
        all_reachable(&daemon)?;
        one_pair_each(&scene.receiver, &["away"])
    });
}

/// The other end of a wire's subnet.
fn gateway_of(address: std::net::Ipv4Addr) -> std::net::Ipv4Addr {
    std::net::Ipv4Addr::from_bits(address.to_bits() + 1)
}

fn ip(lines: &[&str]) -> Result<()> {
    for line in lines {
        let status = Command::new("ip").args(line.split(' ')).status().context("start ip")?;
        ensure!(status.success(), "ip {line}: {status}");
    }
    Ok(())
}
