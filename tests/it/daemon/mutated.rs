//! Broken configurations and starved daemons: the old plan runs on, and nobody dies.

use anyhow::{Result, ensure};
use reachd_lab::{inside, test_name};
use reachd_sim::Random;

use super::harness::{Daemon, Ground, START};
use super::scene::{QUICK, Scene};

/// Configurations that are handed to one daemon (scorecard row 16).
const MUTATIONS: u64 = 200;

/// What is thrown into a text.
const PIECES: [&str; 14] =
    ["\"", "[", "]]", "=", "\n", "#", "{", "-1", "1e999", "\u{0}", "ß", "🦀", "[[target]]", "0s"];

/// A few places of the text deleted, doubled or spoilt.
fn mutate(text: &str, random: &mut Random) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    for _ in 0..=random.below(3) {
        let length = u64::try_from(letters.len()).unwrap_or(1).max(1);
        let at = usize::try_from(random.below(length)).unwrap_or(0);
        let end = (at + usize::try_from(random.below(12)).unwrap_or(0)).min(letters.len());
        match random.below(3) {
            0 => drop(letters.drain(at..end)),
            1 => {
                let again = letters[at..end].to_vec();
                drop(letters.splice(at..at, again));
            }
            _ => drop(letters.splice(at..at, random.pick(&PIECES).chars())),
        }
    }
    letters.into_iter().collect()
}

fn sent(daemon: &Daemon) -> Result<f64> {
    Ok(daemon.metrics()?.sum("reachd_probe_packets_sent_total", &[("target", "kept")]))
}

#[test]
fn two_hundred_mutated_configurations_are_taken_or_refused() {
    inside(test_name!(), |lab| {
        let scene = Scene::build(lab)?;
        let kept = scene.target("kept", "t", 3389);
        let text = format!(
            "{QUICK}{kept}labels = {{ site = \"fra\" }}\nalternate_ports = [3390]\n\
             [[canary]]\nhost = \"{}\"\nport = 22\n\
             [[maintenance]]\nname = \"w\"\nmatch = [\"site=sha\"]\nfrom = \"22:00\"\nto = \"23:00\"\n",
            scene.chain.lan.n1_at.v4
        );
        let daemon = Ground::new(&scene.chain.v1, &text)?.start()?;
        let mut random = Random::new(16);
        let (mut taken, mut refused) = (0, 0);
        for round in 0..MUTATIONS {
            let mutated = mutate(&text, &mut random);
            daemon.ground()?.write("reachd.toml", &mutated)?;
            let answer = daemon.request("POST", "/-/reload", &[])?;
            let good = daemon.metrics()?.value("reachd_config_last_reload_successful", &[]);
            match answer.status {
                200 => taken += 1,
                500 => {
                    refused += 1;
                    ensure!(answer.text().contains("reachd.toml"), "{}", answer.text());
                    ensure!(good == Some(0.0), "round {round}: {good:?}");
                    continue;
                }
                other => anyhow::bail!("round {round}: {other}: {}\n{mutated}", answer.text()),
            }
            ensure!(good == Some(1.0), "round {round}: {good:?}");
        }
        ensure!(refused > 100 && taken > 5, "{taken} taken, {refused} refused: no test");
        daemon.ground()?.write("reachd.toml", &text)?;
        ensure!(daemon.request("POST", "/-/reload", &[])?.status == 200);
        daemon.until("the good one is at work", START, || {
            Ok((daemon.metrics()?.class("kept").as_deref() == Some("reachable")).then_some(()))
        })?;
        let before = sent(&daemon)?;
        daemon.until("it is probed", START, || Ok((sent(&daemon)? > before).then_some(())))?;
        Ok(())
    });
}

/// Scorecard row 13: what a daemon lacks is no fault of its targets.
#[test]
fn without_descriptors_no_target_is_blamed() {
    const TARGETS: usize = 100;
    inside(test_name!(), |lab| {
        let scene = Scene::build(lab)?;
        let mut text = format!("{QUICK}[budget]\nper_destination = 1000\nper_prefix = 1000\n");
        for number in 0..TARGETS {
            let host = if number % 2 == 0 { "t" } else { "n1" };
            text += &scene.target(&format!("x{number}"), host, 3389);
        }
        let ground = Ground::new(&scene.chain.v1, &text)?.below(&["prlimit", "--nofile=40:40"]);
        let daemon = ground.start()?;
        daemon.until("all are judged", START, || {
            let metrics = daemon.metrics()?;
            let known = metrics.in_class("reachable") + metrics.in_class("vantage_fault");
            Ok((known == TARGETS).then_some(()))
        })?;
        let metrics = daemon.metrics()?;
        let spoilt = metrics.sum("reachd_probe_packets_invalid_total", &[("probe", "connect")]);
        ensure!(spoilt > 0.0, "nothing was lacking: {}", metrics.text);
        for class in ["security_group", "host_silent", "blackhole", "port_closed", "service_hung"] {
            ensure!(metrics.in_class(class) == 0, "{class}: {}", metrics.text);
        }
        let told = super::told::told(&scene.receiver)?;
        let of_targets = told.iter().filter(|told| !told.label("target").is_empty()).count();
        ensure!(of_targets == 0, "targets are blamed: {told:#?}");
        Ok(())
    });
}
