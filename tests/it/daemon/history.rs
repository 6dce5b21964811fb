//! History: kept over restarts, shown by command and over HTTP, and in nobody's way.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use reachd_lab::{inside, test_name};
use serde_json::Value;

use super::full::{DISK, HEAD, fill, targets};
use super::harness::{Daemon, Ground, REACHD, SOON, START};
use super::scene::{QUICK, Scene};

const LOST: &str = "reachd_history_lost_total";

fn until_class(daemon: &Daemon, class: &str) -> Result<()> {
    let what = format!("t is {class}");
    daemon.until_page(&what, START, |page| page.class("t").as_deref() == Some(class)).map(drop)
}

#[test]
fn a_target_has_a_history_over_restarts() {
    inside(test_name!(), |lab| {
        let scene = Scene::build(lab)?;
        let text = format!("{QUICK}{}", scene.target("t", "t", 3389));
        let daemon = Ground::new(&scene.chain.v1, &text)?.start()?;
        until_class(&daemon, "reachable")?;
        let ground = daemon.stop()?;
        let place = ground.path("state").display().to_string();
        let run = |words: &[&str]| {
            scene.chain.v1.exec(&[&[REACHD, "history", "--store", &place], words].concat())
        };
        let shown = run(&["t"])?;
        let says = |word: &str| shown.stdout.contains(word);
        ensure!(says("unknown -> reachable") && says("reachable 100.00 %"), "{shown:?}");
        let document: Value = serde_json::from_str(&run(&["t", "--json"])?.stdout)?;
        let hour = &document["hours"][0];
        ensure!(hour["sent"].as_u64() > Some(0) && hour["loss"] == 0.0, "{document}");
        ensure!(hour["rtt_mean_seconds"].as_f64() > Some(0.0), "{document}");
        let stranger = run(&["nobody"])?;
        ensure!(stranger.stderr.contains("nothing is known of nobody"), "{stranger:?}");

        let daemon = ground.start()?;
        ensure!(daemon.json("/api/v1/targets/t/history")? == document, "another one over HTTP");
        let ground = daemon.stop()?;
        fs::write(ground.path("state/history.db"), vec![0x5a; 8_192]).context("damage it")?;
        let daemon = ground.start()?;
        until_class(&daemon, "reachable")?;
        ensure!(daemon.log().contains("The history is broken"), "not said");
        ensure!(daemon.metrics()?.value(LOST, &[]) == Some(0.0), "nothing was lost by it");
        let ground = daemon.stop()?;
        ensure!(ground.path("state/history.db.broken").exists(), "it was not moved aside");
        let again: Value = serde_json::from_str(&run(&["t", "--json"])?.stdout)?;
        ensure!(again["changes"].as_array().map(Vec::len) == Some(1), "{again}");
        Ok(())
    });
}

/// A folder in its place, then a full disk: the daemon starts and works all the same.
#[test]
fn a_history_that_cannot_be_had_stops_nothing() {
    inside(test_name!(), |lab| {
        let node = lab.host("v")?;
        let ground = Ground::new(&node, HEAD)?;
        let state = ground.path("state");
        fs::create_dir(&state).context("make the folder")?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(&state);
        ensure!(mount.status().context("start mount")?.success(), "mount a small disk");
        fs::create_dir_all(state.join("history.db/own")).context("stand in its place")?;
        ground.write("targets.json", &targets(1))?;
        let daemon = ground.start()?;
        daemon.until_page("it is counted", SOON, |page| page.value(LOST, &[]) >= Some(1.0))?;
        let said = daemon.log().matches("History is not kept").count();
        ensure!(said == 1 && state.join("history.db/own").exists(), "said {said} times");
        let ground = daemon.stop()?;
        fs::remove_dir_all(state.join("history.db")).context("make place")?;
        fill(&state.join("filler"))?;
        let daemon = ground.start()?;
        daemon.until_page("it is counted", SOON, |page| page.value(LOST, &[]) >= Some(1.0))?;
        let answer = daemon.get("/api/v1/targets/nobody/history")?;
        ensure!(answer.status == 404, "{}", answer.text());
        daemon.stop().map(drop)
    });
}
