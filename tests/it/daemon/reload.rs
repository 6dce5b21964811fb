//! New plans while the daemon runs: only the difference is applied, and never half of a broken one.

use anyhow::{Context, Result, ensure};
use reachd_lab::{inside, server, test_name};
use serde_json::Value;

use super::harness::{Daemon, Ground, SOON, START, until};
use super::scene::{QUICK, Scene};
use super::told::told;

const GOOD: &str = "reachd_config_last_reload_successful";
const FILE_GOOD: &str = "reachd_config_target_file_successful";

fn sent(daemon: &Daemon, target: &str) -> Result<f64> {
    Ok(daemon.metrics()?.sum("reachd_probe_packets_sent_total", &[("target", target)]))
}

fn until_class(daemon: &Daemon, target: &str, class: &str) -> Result<()> {
    daemon
        .until_page(&format!("{target} is {class}"), START + START, |page| {
            page.class(target).as_deref() == Some(class)
        })
        .map(drop)
}

/// Waits for the outcome of a reload, while every page shows at least what the last one did.
fn until_reloaded(daemon: &Daemon, outcome: f64, target: &str) -> Result<()> {
    let mut least = sent(daemon, target)?;
    ensure!(least > 0.0, "nothing was sent to {target}");
    until("the reload is booked", SOON, || {
        let now = sent(daemon, target)?;
        ensure!(now >= least, "the counters of {target} fell from {least} to {now}");
        least = now;
        Ok((daemon.metrics()?.value(GOOD, &[]) == Some(outcome)).then_some(()))
    })?;
    daemon
        .until_page("probing goes on", SOON, |page| {
            page.sum("reachd_probe_packets_sent_total", &[("target", target)]) > least
        })
        .map(drop)
}

#[test]
fn a_reload_applies_the_difference() {
    inside(test_name!(), |lab| {
        let scene = Scene::build(lab)?;
        let kept = scene.target("kept", "t", 3389);
        let old = format!("{QUICK}{kept}{}", scene.target("gone", "n2", 3389));
        let mut daemon = Ground::new(&scene.chain.v1, &old)?.start()?;
        until_class(&daemon, "kept", "reachable")?;
        until_class(&daemon, "gone", "port_closed")?;
        scene.receiver.wait_for(1, START)?;

        let before = sent(&daemon, "kept")?;
        let new = format!("{QUICK}{kept}{}", scene.target("fresh", "n1", 22));
        daemon.ground()?.write("reachd.toml", &new)?;
        daemon.signal("HUP")?;
        until_class(&daemon, "fresh", "reachable")?;
        let page = daemon.metrics()?;
        ensure!(!page.text.contains("target=\"gone\""), "series of a removed target are left");
        ensure!(
            page.sum("reachd_probe_packets_sent_total", &[("target", "kept")]) >= before,
            "reset"
        );
        scene.receiver.wait_for(2, SOON)?;
        let told = told(&scene.receiver)?;
        let [firing, resolved] = &told[..] else { anyhow::bail!("not a pair: {told:#?}") };
        ensure!(firing.is("firing", "gone") && resolved.is("resolved", "gone"), "{told:#?}");
        ensure!(firing.fingerprint == resolved.fingerprint, "{told:#?}");
        ensure!(resolved.annotation("summary").contains("emoved from the plan"), "{resolved:#?}");
        Ok(())
    });
}

/// A second receiver, on port 8082 of the daemon's node.
const SECOND: &str = "\
[[receiver]]
name = \"second\"
url = \"http://127.0.0.1:8082/\"
";

#[test]
fn receivers_that_come_later_or_again_are_told_what_they_missed() {
    inside(test_name!(), |lab| {
        let mut scene = Scene::build(lab)?;
        let second = server::webhook(&scene.chain.v1, 8082)?;
        let target = scene.target("t", "t", 3389);
        let both = format!("{QUICK}{SECOND}{target}");
        let (head, _) = QUICK.split_once("[[receiver]]").context("no receiver")?;
        let mut daemon = Ground::new(&scene.chain.v1, &format!("{QUICK}{target}"))?.start()?;
        until_class(&daemon, "t", "reachable")?;
        scene.servers.retain(|server| server.port() != 3389);
        scene.receiver.wait_for(1, START)?;

        // One that is new hears of what is open; the other is not told twice.
        daemon.ground()?.write("reachd.toml", &both)?;
        daemon.signal("HUP")?;
        second.wait_for(1, START)?;
        // Then nobody is left who could be told of the end.
        daemon.ground()?.write("reachd.toml", &format!("{head}{target}"))?;
        let answer = daemon.request("POST", "/-/reload", &[])?;
        ensure!(answer.status == 200, "{}", answer.text());
        let _rdp = server::rdp_confirm(&scene.chain.lan.target, 3389)?;
        daemon.until_page("it is over", START + START, |page| {
            let firing = [("class", "port_closed"), ("state", "firing")];
            page.value("reachd_incidents", &firing).is_none_or(|open| open == 0.0)
        })?;
        daemon.ground()?.write("reachd.toml", &both)?;
        let answer = daemon.request("POST", "/-/reload", &[])?;
        ensure!(answer.status == 200, "{}", answer.text());
        for receiver in [&scene.receiver, &second] {
            receiver.wait_for(2, START)?;
            let told = told(receiver)?;
            let [firing, resolved] = &told[..] else { anyhow::bail!("not a pair: {told:#?}") };
            ensure!(firing.is("firing", "t") && resolved.is("resolved", "t"), "{told:#?}");
        }
        daemon.stop().map(drop)
    });
}

#[test]
fn a_broken_file_leaves_the_old_plan_running() {
    inside(test_name!(), |lab| {
        let scene = Scene::build(lab)?;
        let good = format!("{QUICK}{}", scene.target("kept", "t", 3389));
        let mut daemon = Ground::new(&scene.chain.v1, &good)?.start()?;
        until_class(&daemon, "kept", "reachable")?;
        ensure!(daemon.metrics()?.value(GOOD, &[]) == Some(1.0), "a good start is no good reload");

        daemon.ground()?.write("reachd.toml", &format!("{good}porrt = 1\n"))?;
        daemon.signal("HUP")?;
        until_reloaded(&daemon, 0.0, "kept")?;
        let answer = daemon.request("POST", "/-/reload", &[])?;
        let line = good.lines().count() + 1;
        let told = answer.text();
        ensure!(answer.status == 500, "{told}");
        let place = format!("reachd.toml:{line}:");
        ensure!(told.contains(&place) && told.contains("did you mean `port`"), "{told}");
        ensure!(daemon.log().contains(&place), "the log does not say what is wrong");

        let stranger = ["Sec-Fetch-Site: cross-site"];
        ensure!(daemon.request("POST", "/-/reload", &stranger)?.status == 403, "not refused");
        ensure!(daemon.get("/-/reload")?.status == 405, "a GET reloads");

        let more = format!("{good}{}", scene.target("fresh", "n1", 3389));
        daemon.ground()?.write("reachd.toml", &more)?;
        let answer = daemon.request("POST", "/-/reload", &[])?;
        ensure!(answer.status == 200, "{}", answer.text());
        until_reloaded(&daemon, 1.0, "kept")?;
        until_class(&daemon, "fresh", "reachable")?;
        ensure!(scene.receiver.deliveries().is_empty(), "a reload alarmed somebody");
        Ok(())
    });
}

#[test]
fn a_spoilt_target_file_keeps_its_old_targets() {
    inside(test_name!(), |lab| {
        let scene = Scene::build(lab)?;
        let text = format!("target_files = [\"list.json\"]\n{QUICK}");
        let ground = Ground::new(&scene.chain.v1, &text)?;
        let lan = &scene.chain.lan;
        let one = format!("[{{\"targets\": [\"{}:3389\"]}}]", lan.target_at.v4);
        let two =
            format!("[{{\"targets\": [\"{}:3389\", \"{}\"]}}]", lan.target_at.v4, lan.n1_at.v4);
        ground.write("list.json", &one)?;
        let mut daemon = ground.start()?;
        let name = format!("{}:3389", lan.target_at.v4);
        until_class(&daemon, &name, "reachable")?;
        let file = daemon.ground()?.path("list.json").display().to_string();
        let file = [("file", file.as_str())];
        ensure!(daemon.metrics()?.value(FILE_GOOD, &file) == Some(1.0), "good, and said bad");

        for spoilt in ["", "[]", "[{\"targets\": [", "[{\"targets\": [\"10.0.0.0/8\"]}]"] {
            daemon.ground()?.write("list.json", spoilt)?;
            daemon
                .until_page("the file is called bad", SOON, |page| {
                    page.value(FILE_GOOD, &file) == Some(0.0)
                })
                .with_context(|| format!("spoilt: {spoilt:?}"))?;
            daemon.signal("HUP")?;
            until_probed_again(&daemon, &name)?;
            daemon.ground()?.write("list.json", &one)?;
            daemon.until_page("the file is called good again", SOON, |page| {
                page.value(FILE_GOOD, &file) == Some(1.0)
            })?;
        }

        std::fs::remove_file(daemon.ground()?.path("list.json")).context("remove the list")?;
        daemon.until_page("the missing file is called bad", SOON, |page| {
            page.value(FILE_GOOD, &file) == Some(0.0)
        })?;
        until_probed_again(&daemon, &name)?;
        daemon.ground()?.write("list.json", &two)?;
        until_class(&daemon, &format!("{}:3389", lan.n1_at.v4), "reachable")?;
        ensure!(
            daemon.metrics()?.class(&name).as_deref() == Some("reachable"),
            "the first is lost"
        );
        Ok(())
    });
}

fn until_probed_again(daemon: &Daemon, target: &str) -> Result<()> {
    let before = sent(daemon, target)?;
    ensure!(before > 0.0, "{target} has no counters");
    until("the old target is probed on", SOON, || {
        let now = sent(daemon, target)?;
        ensure!(now >= before, "its counters fell");
        Ok((now > before + 1.0).then_some(()))
    })
}

#[test]
fn an_alertmanager_that_a_reload_adds_learns_at_once_what_is_open() {
    inside(test_name!(), |lab| {
        let node = lab.host("v1")?;
        let receiver = server::webhook(&node, 8081)?;
        let cluster = server::webhook(&node, 9093)?;
        let target =
            "[[target]]\nname = \"t\"\nhost = \"127.0.0.1\"\nport = 1\nservice = \"tcp\"\n";
        let text = format!("{QUICK}{target}");
        let daemon = Ground::new(&node, &text)?.start()?;
        let told = receiver.wait_for(1, START)?;
        let firing: Value = serde_json::from_str(&told[0]).context("read a message")?;
        let more = "[[receiver]]\nname = \"am\"\nkind = \"alertmanager\"\n\
                    urls = [\"http://127.0.0.1:9093\"]\n";
        daemon.ground()?.write("reachd.toml", &format!("{text}{more}"))?;
        ensure!(daemon.request("POST", "/-/reload", &[])?.status == 200, "no reload");
        // Sooner than states are repeated, which is every thirty seconds.
        let pushed = cluster.wait_for(1, SOON)?;
        let alerts: Value = serde_json::from_str(&pushed[0]).context("read a push")?;
        ensure!(alerts.as_array().map(Vec::len) == Some(1), "{alerts}");
        ensure!(alerts[0]["labels"]["target"] == "t", "{alerts}");
        ensure!(alerts[0]["startsAt"] == firing["alerts"][0]["startsAt"], "{alerts} {firing}");
        ensure!(receiver.deliveries().len() == 1, "told again: {:#?}", receiver.deliveries());
        Ok(())
    });
}
