//! What `check` shows besides the verdict: options, languages, packets.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use reachd_lab::server::{self, rdp_confirm};
use reachd_lab::{Chain, Match, inside, test_name};

use super::{RDP, SHORT};
use crate::support::{Ran, Round, Seen, check, run};

fn one(ran: &Ran) -> Result<Seen> {
    let mut seen = ran.verdicts()?;
    ensure!(seen.len() == 1, "{ran:?}");
    let seen = seen.remove(0);
    seen.is_sound()?;
    Ok(seen)
}

/// Several targets in one call: one line each, in the order asked.
#[test]
fn several_targets_in_one_call() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, SHORT)?;
        let lan = &chain.lan;
        let (target, n1, n2) = (lan.target_at, lan.n1_at, lan.n2_at);
        let _services = [rdp_confirm(&lan.target, RDP)?, server::ssh_banner(&lan.target, 22)?];
        let _faults = [
            lab.bridge_drop(&lan.switch, &Match::tcp(RDP).to(n1))?,
            lab.blackhole_route(chain.r(2), n2)?,
        ];
        let words = format!(
            "{n2} {t4} [{t6}]:3389 {n1} {t4}:22 {t4}:4011",
            n2 = n2.v4,
            t4 = target.v4,
            t6 = target.v6,
            n1 = n1.v4
        );
        let expected =
            ["blackhole", "reachable", "reachable", "security_group", "reachable", "port_closed"];
        let mut round = Round::default();
        round.ask_many("six targets in one call", check(&chain.v1, &words), |seen| {
            let classes: Vec<_> = seen.iter().map(Seen::class).collect();
            ensure!(classes == expected, "{classes:?}");
            let services: Vec<_> = seen
                .iter()
                .filter_map(|seen| seen.document["target"]["service"].as_str())
                .collect();
            ensure!(services == ["rdp", "rdp", "rdp", "rdp", "ssh", "tcp"], "{services:?}");
            Ok(())
        })?;
        round.finish()
    });
}

#[test]
fn the_place_to_probe_from() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, SHORT)?;
        let _service = rdp_confirm(&chain.lan.target, RDP)?;
        let target = chain.lan.target_at;
        let second = chain.v1_second;
        let ask = |words: String| -> Result<Seen> {
            let mut command = check(&chain.v1, &words);
            let seen = one(&run({
                command.arg("--json");
                command
            })?)?;
            seen.surely("reachable", 0.9).with_context(|| words)?;
            Ok(seen)
        };
        let from = |seen: &Seen| seen.vantage()["address"].as_str().unwrap_or_default().to_owned();

        let default = ask(target.v4.to_string())?;
        ensure!(from(&default) == chain.v1_at.v4.to_string(), "{}", from(&default));
        let v4 = ask(format!("{} --source {}", target.v4, second.v4))?;
        ensure!(from(&v4) == second.v4.to_string(), "{}", from(&v4));
        let v6 = ask(format!("{} --source {}", target.v6, second.v6))?;
        ensure!(from(&v6) == second.v6.to_string(), "{}", from(&v6));
        let interface = ask(format!("{} --interface to-r1", target.v4))?;
        ensure!(from(&interface) == chain.v1_at.v4.to_string(), "{}", from(&interface));
        let netns = ask(format!("{} --netns v2", target.v4))?;
        ensure!(from(&netns) == chain.v2_at.v4.to_string(), "{}", from(&netns));
        let hops = netns.vantage()["path"]["icmp"].as_array().map_or(0, Vec::len);
        ensure!(hops == 3, "{hops} hops from v2, which is one router nearer");
        Ok(())
    });
}

#[test]
fn languages_and_marks() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, SHORT)?;
        let _service = rdp_confirm(&chain.lan.target, RDP)?;
        let (up, closed) = (chain.lan.target_at.v4, chain.lan.n1_at.v4);
        let ask = |words: String| run(check(&chain.v1, &words));

        ask(format!("{up} --lang en"))?.says(0, &["✓", "reachable", "TCP 3389"])?;
        ask(format!("{up} --lang zh"))?.says(0, &["✓", "可达", "无需处理"])?;
        let ascii = ask(format!("{up} --ascii --lang en"))?;
        ascii.says(0, &["[ok]", "reachable"])?;
        ensure!(ascii.stdout.is_ascii(), "{}", ascii.stdout);
        let ascii = ask(format!("{closed} --ascii --lang en"))?;
        ascii.says(1, &["[!!]", "port closed", "fDenyTSConnections"])?;
        ensure!(ascii.stdout.is_ascii(), "{}", ascii.stdout);
        ask(format!("{closed} --lang zh"))?.says(1, &["✗", "主机回复 RST", "工单"])?;
        ask(format!("{closed} --lang en"))?.says(1, &["For a support ticket", "10.1.1.1"])?;

        let mut by_locale = check(&chain.v1, &up.to_string());
        by_locale.env("LC_ALL", "zh_CN.UTF-8");
        run(by_locale)?.says(0, &["可达"])
    });
}

/// The proof: a file other tools read, with our SYN and its answer in it.
#[test]
fn packets_as_proof() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, SHORT)?;
        let _service = rdp_confirm(&chain.lan.target, RDP)?;
        let folder = tempfile::tempdir().context("make a folder")?;
        let targets = [
            (chain.lan.target_at.v4.to_string(), 0, "S."),
            (chain.lan.target_at.v6.to_string(), 0, "S."),
            (chain.lan.n1_at.v4.to_string(), 1, "R."),
        ];
        for (target, code, answer) in targets {
            let path = folder.path().join(format!("{target}.pcapng"));
            let ran = run(check(&chain.v1, &format!("{target} --pcap {}", path.display())))?;
            ran.says(code, &[])?;
            let text = tcpdump(&path)?;
            for flags in ["S", answer] {
                let wanted = format!("Flags [{flags}]");
                let side = |end: &str| format!("{end} {target}.{RDP}");
                let end = if flags == "S" { side(">") } else { format!("{target}.{RDP} >") };
                let found = text.lines().any(|line| line.contains(&wanted) && line.contains(&end));
                ensure!(found, "no {wanted} with {end} in:\n{text}");
            }
            ensure!(text.contains("echo request") && text.contains("time exceeded"), "{text}");
        }
        Ok(())
    });
}

fn tcpdump(path: &std::path::Path) -> Result<String> {
    // Root's tcpdump wants to become a user that the sandbox does not have, so be somebody else.
    let output = Command::new("unshare")
        .args(["--user", "--map-user=1000", "--map-group=1000", "--", "tcpdump", "-n", "-r"])
        .arg(path)
        .output()
        .context("start unshare")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A limit on the time is kept, and what is known by then is said.
#[test]
fn time_limits() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, SHORT)?;
        let lan = &chain.lan;
        let _service = rdp_confirm(&lan.n1, RDP)?;
        let _faults = [
            lab.blackhole_route(chain.r(2), lan.target_at)?,
            lab.bridge_drop(&lan.switch, &Match::tcp(RDP).to(lan.n1_at))?,
        ];
        let (silent, filtered) = (lan.target_at.v4, lan.n1_at.v4);
        let mut round = Round::default();
        for (title, words, limit) in [
            ("silent, at most 300 ms", format!("{silent} --timeout 300ms"), 0.3),
            ("silent, at most 5 s", format!("{silent} --timeout 5s"), 5.0),
            ("filtered, at most 300 ms", format!("{filtered} --timeout 300ms"), 0.3),
        ] {
            round.ask(title, check(&chain.v1, &words), move |seen| {
                ensure!(seen.seconds() < limit + 0.5, "took {} s", seen.seconds());
                ensure!(seen.class() != "reachable", "called reachable");
                if limit < 1.0 {
                    // No verdict timer has run out: silence is not yet a fact.
                    seen.is("unknown")?;
                }
                Ok(())
            })?;
        }
        round.finish()
    });
}
