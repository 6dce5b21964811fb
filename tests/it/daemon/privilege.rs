//! Exactly the rights of the shipped unit, fewer, and none.
//!
//! A sandbox knows one user only, so the rights are cut down instead of the user changed: with
//! `CAP_NET_RAW` alone in the bounding set, the program has that and nothing else.

use anyhow::{Context, Result, ensure};
use reachd_lab::{inside, test_name};

use super::harness::{Daemon, Ground, REACHD, START};
use super::scene::{QUICK, Scene};

const UNIT: [&str; 5] = [
    "setpriv",
    "--inh-caps=-all,+net_raw",
    "--ambient-caps=-all,+net_raw",
    "--bounding-set=-all,+net_raw",
    "--no-new-privs",
];
const NONE: [&str; 5] =
    ["setpriv", "--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--no-new-privs"];
/// Bit 13, as /proc writes it.
const NET_RAW: &str = "0000000000002000";

/// The capabilities in force of a running daemon.
fn rights(daemon: &mut Daemon) -> Result<String> {
    let path = format!("/proc/{}/status", daemon.id());
    let status = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    Ok(line.context("no capabilities")?.trim().to_owned())
}

#[test]
fn the_units_rights_are_enough_for_raw_mode() {
    inside(test_name!(), |lab| {
        let scene = Scene::build(lab)?;
        let text =
            format!("{QUICK}{}{}", scene.target("t", "t", 3389), scene.target("n2", "n2", 3389));
        let mut daemon = Ground::new(&scene.chain.v1, &text)?.below(&UNIT).start()?;
        ensure!(rights(&mut daemon)? == NET_RAW, "other rights than the unit's");
        let page = daemon.until_page("both have a verdict", START, |page| {
            page.class("t").as_deref() == Some("reachable")
                && page.class("n2").as_deref() == Some("port_closed")
                && page.sum("reachd_capture_packets_total", &[]) > 0.0
        })?;
        let raw = [("vantage", "default"), ("mode", "raw")];
        ensure!(page.value("reachd_vantage_info", &raw) == Some(1.0), "{:#?}", page.story());
        daemon.stop().map(drop)
    });
}

#[test]
fn a_namespace_without_the_right_is_refused_alone() {
    inside(test_name!(), |lab| {
        let scene = Scene::build(lab)?;
        let text = format!(
            "{QUICK}{}[[vantage]]\nname = \"home\"\n[[vantage]]\nname = \"away\"\nnetns = \"v2\"\n\
             [[vantage]]\nname = \"second\"\nsource = \"{}\"\n",
            scene.target("t", "t", 3389),
            scene.chain.v1_second.v4,
        );
        let daemon = Ground::new(&scene.chain.v1, &text)?.below(&UNIT).start()?;
        let page = daemon.until_page("the others work", START + START, |page| {
            let healthy = |name| page.value("reachd_vantage_healthy", &[("vantage", name)]);
            page.class("t").as_deref() == Some("reachable")
                && healthy("home") == Some(1.0)
                && healthy("second") == Some(1.0)
                && healthy("away") == Some(0.0)
        })?;
        for name in ["home", "second"] {
            let seen = page.value("reachd_target_reachable", &[("vantage", name), ("target", "t")]);
            ensure!(seen == Some(1.0), "{name}: {:#?}", page.story());
        }
        let log = daemon.log();
        for word in ["away", "v2", "CAP_SYS_ADMIN", "drop-in"] {
            ensure!(log.contains(word), "the log does not say {word}");
        }
        let told = log.lines().filter(|line| line.contains("CAP_SYS_ADMIN")).count();
        ensure!(told <= 2, "said {told} times");
        daemon.stop().map(drop)
    });
}

#[test]
fn without_rights_sockets_do() {
    inside(test_name!(), |lab| {
        let scene = Scene::build(lab)?;
        let text =
            format!("{QUICK}{}{}", scene.target("t", "t", 3389), scene.target("n2", "n2", 3389));
        let mut daemon = Ground::new(&scene.chain.v1, &text)?.below(&NONE).start()?;
        ensure!(rights(&mut daemon)? == "0000000000000000", "rights are left");
        let page = daemon.until_page("both have a verdict", START, |page| {
            page.class("t").as_deref() == Some("reachable")
                && page.class("n2").as_deref() == Some("port_closed")
        })?;
        let sockets = [("vantage", "default"), ("mode", "sockets")];
        ensure!(page.value("reachd_vantage_info", &sockets) == Some(1.0), "{:#?}", page.story());
        let confidence = page.value("reachd_target_confidence", &[("target", "n2")]);
        ensure!(
            confidence.is_some_and(|sure| sure <= 0.8),
            "too sure without proof: {confidence:?}"
        );
        daemon.stop().map(drop)
    });
}

#[test]
fn the_doctor_says_what_is_missing_and_how_to_get_it() {
    inside(test_name!(), |lab| {
        let scene = Scene::build(lab)?;
        let text = format!(
            "{QUICK}{}[[vantage]]\nname = \"away\"\nnetns = \"v2\"\n",
            scene.target("t", "t", 3389)
        );
        let ground = Ground::new(&scene.chain.v1, &text)?;
        let file = ground.path("reachd.toml").display().to_string();
        let doctor = |rights: &[&str]| {
            let words = [rights, &[REACHD, "doctor", "--config", &file]].concat();
            scene.chain.v1.exec(&words)
        };
        let whole = doctor(&[])?;
        ensure!(whole.status.code() == Some(0), "{whole:?}");
        ensure!(whole.stdout.contains("Nothing is missing"), "{}", whole.stdout);
        let unit = doctor(&UNIT)?;
        ensure!(unit.status.code() == Some(1), "{unit:?}");
        for word in ["vantage away", "CAP_SYS_ADMIN", "fix: ", "namespaces.conf"] {
            ensure!(unit.stdout.contains(word), "{word} is not in {}", unit.stdout);
        }
        let none = doctor(&NONE)?;
        ensure!(none.status.code() == Some(1), "{none:?}");
        for word in ["CAP_NET_RAW", "fix: setcap cap_net_raw+ep reachd", "no_capture"] {
            ensure!(none.stdout.contains(word), "{word} is not in {}", none.stdout);
        }
        Ok(())
    });
}
