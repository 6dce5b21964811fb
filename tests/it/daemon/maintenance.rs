//! Maintenance windows: what they hold back, over a kill, and what is told when they close. And the
//! heartbeat, which goes on in them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use reachd_lab::{inside, test_name};

use super::harness::{Daemon, Ground, REACHD, START};
use super::scene::{QUICK, Scene};
use super::told::understood;

/// How long the window stays open: a daemon starts and comes back within it.
const OPEN: Duration = Duration::from_secs(45);

#[test]
fn what_fails_in_a_window_is_told_when_it_closes() {
    inside(test_name!(), |lab| {
        let scene = Scene::build(lab)?;
        let end = Timestamp::now() + OPEN;
        let window = format!(
            "[[maintenance]]\nname = \"patch night\"\nmatch = {{ site = \"fra\" }}\n\
             start = 2026-01-01T00:00:00Z\nend = {end}\n"
        );
        let text = format!(
            "{QUICK}{window}{}labels = {{ site = \"fra\" }}\n{}",
            scene.target("held", "n2", 3389),
            scene.target("told", "n2", 22)
        );
        let firing = |name: &str| -> Result<usize> {
            let all = understood(&scene.receiver)?;
            Ok(all.iter().filter(|told| told.is("firing", name)).count())
        };
        let is_held = |daemon: &Daemon| -> Result<bool> {
            let metrics = daemon.metrics()?;
            Ok(metrics.value("reachd_incidents_muted", &[]) == Some(1.0))
        };
        let daemon = Ground::new(&scene.chain.v1, &text)?.start()?;
        daemon.until("one is told and one is held", START, || {
            Ok((firing("told")? == 1 && is_held(&daemon)?).then_some(()))
        })?;
        // It is known, it is saved, and nobody was told.
        let open = daemon.json("/api/v1/incidents")?;
        ensure!(open["incidents"].as_array().context("incidents")?.len() == 2, "{open}");
        let daemon = daemon.kill()?.start()?;
        daemon.until("held again", START, || Ok(is_held(&daemon)?.then_some(())))?;
        ensure!(Timestamp::now() < end, "the window closed before the daemon was back");
        ensure!(firing("held")? == 0, "told within the window");
        daemon
            .until("told at its end", OPEN + START, || Ok((firing("held")? == 1).then_some(())))?;
        ensure!(Timestamp::now() >= end, "told before the end");
        ensure!(!is_held(&daemon)? && firing("told")? == 1);
        Ok(())
    });
}

#[test]
fn a_heartbeat_says_that_it_lives() {
    inside(test_name!(), |lab| {
        let scene = Scene::build(lab)?;
        let beats = reachd_lab::server::webhook(&scene.chain.v1, 8082)?;
        let text = format!(
            "{QUICK}[heartbeat]\nurl = \"http://127.0.0.1:8082/\"\ninterval = \"1s\"\n{}",
            scene.target("t", "t", 3389)
        );
        let _daemon = Ground::new(&scene.chain.v1, &text)?.start()?;
        beats.wait_for(3, START)?;
        for body in beats.bodies() {
            let body: serde_json::Value = serde_json::from_str(&body).context("read a beat")?;
            let alive: Timestamp = body["alive"].as_str().context("alive")?.parse()?;
            ensure!(alive.duration_until(Timestamp::now()).as_secs() < 60, "{body}");
        }
        Ok(())
    });
}

#[test]
fn a_silence_outlives_a_kill_and_its_end_is_told() {
    inside(test_name!(), |lab| {
        let scene = Scene::build(lab)?;
        let held = format!("{}labels = {{ site = \"fra\" }}\n", scene.target("held", "n2", 3389));
        let text = format!("{QUICK}{}", scene.target("t", "t", 3389));
        let run = |words: &[&str]| -> Result<String> {
            let done = scene.chain.v1.exec(&[&[REACHD, "silence"], words].concat())?;
            ensure!(done.status.success(), "{words:?}: {}", done.stderr);
            Ok(done.stdout.trim().to_owned())
        };
        let firing = || -> Result<usize> {
            let all = understood(&scene.receiver)?;
            Ok(all.iter().filter(|told| told.is("firing", "held")).count())
        };
        let is_held = |daemon: &Daemon| -> Result<bool> {
            Ok(daemon.metrics()?.value("reachd_incidents_muted", &[]) == Some(1.0))
        };
        let daemon = Ground::new(&scene.chain.v1, &text)?.start()?;
        let id = run(&["add", "--match", "site=fra", "--for", "1h", "--by", "ops"])?;
        ensure!(id.len() == 16, "{id}");
        daemon.ground()?.write("reachd.toml", &format!("{text}{held}"))?;
        ensure!(daemon.request("POST", "/-/reload", &[])?.status == 200);
        daemon.until("held", START, || Ok(is_held(&daemon)?.then_some(())))?;
        let daemon = daemon.kill()?.start()?;
        daemon.until("held again", START, || Ok(is_held(&daemon)?.then_some(())))?;
        ensure!(firing()? == 0, "told in spite of the silence");
        let listed = run(&["list"])?;
        ensure!(listed.contains(&id) && listed.contains("site=fra"), "{listed}");
        run(&["expire", &id])?;
        daemon.until("told at its end", START, || Ok((firing()? == 1).then_some(())))?;
        ensure!(run(&["list"])?.contains("over"));
        let unknown = scene.chain.v1.exec(&[REACHD, "silence", "expire", "ffff"])?;
        ensure!(!unknown.status.success() && unknown.stderr.contains("no such silence"));
        let wrong = ["silence", "add", "--match", "site", "--for", "1h"];
        let wrong = scene.chain.v1.exec(&[&[REACHD], &wrong[..]].concat())?;
        ensure!(wrong.stderr.contains("label=value"), "{wrong:?}");
        Ok(())
    });
}
