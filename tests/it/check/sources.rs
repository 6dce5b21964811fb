//! Two vantages: one source blocked, or all.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use reachd_lab::server::rdp_confirm;
use reachd_lab::{Addresses, Chain, Lab, Match, Upstreams, UpstreamsSpec, inside, test_name};
use tempfile::TempDir;

use super::{RDP, SHORT};
use crate::support::{Round, check};

/// A configuration file with these vantages and one target for each name.
pub(super) fn config(
    vantages: &[(&str, String)],
    targets: &[(&str, Addresses)],
) -> Result<(TempDir, PathBuf)> {
    let folder = tempfile::tempdir().context("make a folder")?;
    let mut text = String::new();
    for (name, binding) in vantages {
        text += &format!("[[vantage]]\nname = \"{name}\"\n{binding}\n");
    }
    for (name, at) in targets {
        text += &format!("[[target]]\nname = \"{name}4\"\nhost = \"{}\"\n", at.v4);
        text += &format!("[[target]]\nname = \"{name}6\"\nhost = \"{}\"\n", at.v6);
    }
    let path = folder.path().join("reachd.toml");
    fs::write(&path, text).context("write a file")?;
    Ok((folder, path))
}

/// Two namespaces: the first is blocked at the target, at the gateway, or not at all.
#[test]
fn one_of_two_namespaces_is_blocked() {
    inside(test_name!(), |lab| {
        let two = Upstreams::build(lab, UpstreamsSpec::default())?;
        let lan = &two.lan;
        let _services = [
            rdp_confirm(&lan.target, RDP)?,
            rdp_confirm(&lan.n1, RDP)?,
            rdp_confirm(&lan.n2, RDP)?,
        ];
        let vantages = [("one", "netns = \"v1\"".to_owned()), ("two", "netns = \"v2\"".to_owned())];
        let targets = [("host", lan.target_at), ("gateway", lan.n1_at), ("open", lan.n2_at)];
        let (_folder, path) = config(&vantages, &targets)?;
        let _faults = [
            lab.drop_input(&lan.target, &Match::all().from(two.v1_at))?,
            lab.drop_forward(&two.gateway, &Match::all().from(two.v1_at).to(lan.n1_at))?,
        ];
        let mut round = Round::default();
        for family in ["4", "6"] {
            for name in ["host", "gateway"] {
                let title = format!("source blocked at the {name}, two namespaces, IPv{family}");
                let words = format!("{name}{family} --config {}", path.display());
                round.ask(&title, check(&two.v1, &words), |seen| {
                    seen.surely("source_blocked", 0.7)?;
                    let verdict = &seen.document["verdict"];
                    anyhow::ensure!(verdict["scope"] == "one", "{}", verdict["scope"]);
                    anyhow::ensure!(verdict["unreachable_from"] == serde_json::json!(["one"]));
                    anyhow::ensure!(verdict["reachable_from"] == serde_json::json!(["two"]));
                    Ok(())
                })?;
            }
            let words = format!("open{family} --config {}", path.display());
            let title = format!("two namespaces, healthy, IPv{family}");
            round.ask(&title, check(&two.v1, &words), |seen| seen.surely("reachable", 0.9))?;
        }
        round.finish()
    });
}

/// Two addresses of one host: only the port, or everything, is closed to the first.
#[test]
fn one_of_two_addresses_is_blocked() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, SHORT)?;
        let lan = &chain.lan;
        let _services = [rdp_confirm(&lan.target, RDP)?, rdp_confirm(&lan.n1, RDP)?];
        let binding = |source: String| format!("source = \"{source}\"");
        let targets = [("port", lan.target_at), ("all", lan.n1_at)];
        let first = chain.v1_at;
        let _faults = block(lab, &chain, first)?;
        let mut round = Round::default();
        let mut folders = Vec::new();
        for (family, one, two) in [
            ("4", first.v4.to_string(), chain.v1_second.v4.to_string()),
            ("6", first.v6.to_string(), chain.v1_second.v6.to_string()),
        ] {
            let (folder, path) = config(&[("one", binding(one)), ("two", binding(two))], &targets)?;
            folders.push(folder);
            for name in ["port", "all"] {
                let title = format!("source blocked for the {name}, two addresses, IPv{family}");
                let words = format!("{name}{family} --config {}", path.display());
                // A blocked port may also be blocked on our own side, for the first address only.
                let least = if name == "port" { 0.5 } else { 0.7 };
                round.ask(&title, check(&chain.v1, &words), move |seen| {
                    seen.surely("source_blocked", least)
                })?;
            }
        }
        round.finish()
    });
}

fn block(lab: &Lab, chain: &Chain, source: Addresses) -> Result<[reachd_lab::Fault; 2]> {
    let lan = &chain.lan;
    Ok([
        lab.drop_input(&lan.target, &Match::tcp(RDP).from(source))?,
        lab.drop_forward(chain.gateway(), &Match::all().from(source).to(lan.n1_at))?,
    ])
}

/// When both vantages fail, the source is not to blame.
#[test]
fn failure_from_everywhere_is_not_the_source() {
    inside(test_name!(), |lab| {
        let two = Upstreams::build(lab, UpstreamsSpec::default())?;
        let lan = &two.lan;
        let vantages = [("one", "netns = \"v1\"".to_owned()), ("two", "netns = \"v2\"".to_owned())];
        let targets = [("hole", lan.target_at), ("port", lan.n1_at), ("closed", lan.n2_at)];
        let (_folder, path) = config(&vantages, &targets)?;
        let _service = rdp_confirm(&lan.n1, RDP)?;
        let _faults = [
            lab.blackhole_route(&two.edge, lan.target_at)?,
            lab.bridge_drop(&lan.switch, &Match::tcp(RDP).to(lan.n1_at))?,
        ];
        let mut round = Round::default();
        let expected =
            [("hole", "blackhole"), ("port", "security_group"), ("closed", "port_closed")];
        for family in ["4", "6"] {
            for (name, class) in expected {
                let title = format!("{class} from both namespaces, IPv{family}");
                let words = format!("{name}{family} --config {}", path.display());
                round.ask(&title, check(&two.v1, &words), move |seen| {
                    seen.surely(class, 0.8)?;
                    anyhow::ensure!(seen.document["verdict"]["scope"] == "all");
                    Ok(())
                })?;
            }
        }
        round.finish()
    });
}
