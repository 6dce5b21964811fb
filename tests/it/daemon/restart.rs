//! What outlives the process, and what keeps it from starting.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reachd_exporters::store::{State, Store};
use reachd_lab::{Lab, inside, server, test_name};
use serde_json::Value;

use super::harness::{Daemon, Ground, SOON, START, record, until};
use super::scene::{QUICK, Scene};
use super::told::{pair_each, told, understood};

/// A wrong second alert would be out after this: the incident opens at once with these settings.
const QUIET: Duration = Duration::from_secs(25);
const RESOLVED: Duration = Duration::from_secs(60);

fn until_class(daemon: &Daemon, target: &str, class: &str) -> Result<()> {
    daemon
        .until_page(&format!("{target} is {class}"), START + START, |page| {
            page.class(target).as_deref() == Some(class)
        })
        .map(drop)
}

/// Waits until somebody was told that it is over.
fn until_over(receiver: &server::Webhook) -> Result<()> {
    until("it is over", RESOLVED, || {
        Ok(told(receiver)?.iter().any(|told| told.status == "resolved").then_some(()))
    })
}

#[test]
fn an_incident_outlives_a_kill() {
    inside(test_name!(), |lab| {
        let mut scene = Scene::build(lab)?;
        let text = format!("{QUICK}{}", scene.target("t", "t", 3389));
        let daemon = Ground::new(&scene.chain.v1, &text)?.start()?;
        until_class(&daemon, "t", "reachable")?;
        scene.servers.retain(|server| server.port() != 3389);
        scene.receiver.wait_for(1, START)?;
        let ground = daemon.kill()?;

        let daemon = ground.start()?;
        until_class(&daemon, "t", "port_closed")?;
        let again = daemon.begun;
        until("nothing more is told", QUIET + SOON, || {
            let told = understood(&scene.receiver)?;
            ensure!(told.len() == 1, "told again after the restart: {told:#?}");
            let page = daemon.metrics()?;
            let firing = [("class", "port_closed"), ("state", "firing")];
            ensure!(page.value("reachd_incidents", &firing) == Some(1.0), "forgotten");
            Ok((again.elapsed() > QUIET).then_some(()))
        })?;
        let rdp = server::rdp_confirm(&scene.chain.lan.target, 3389)?;
        until_over(&scene.receiver)?;
        record(&format!("restart: resolved {:.1} s after a kill", again.elapsed().as_secs_f64()));
        pair_each(&understood(&scene.receiver)?, &["t"])?;
        let bodies = scene.receiver.deliveries().into_iter().map(|delivery| delivery.body);
        let alerts = bodies.map(|body| serde_json::from_str::<Value>(&body).context("a body"));
        let starts: Vec<_> =
            alerts.map(|body| Ok(body?["alerts"][0]["startsAt"].clone())).collect::<Result<_>>()?;
        ensure!(starts.windows(2).all(|pair| pair[0] == pair[1]), "begun anew: {starts:?}");
        drop(rdp);
        Ok(())
    });
}

/// Receivers know a message by incident and version, so these never count from one again.
#[test]
fn versions_grow_over_a_restart() {
    inside(test_name!(), |lab| {
        let mut scene = Scene::build(lab)?;
        let text = format!("{QUICK}{}", scene.target("t", "t", 22));
        let mut ground = Ground::new(&scene.chain.v1, &text)?;
        for round in 1..=2_usize {
            let daemon = ground.start()?;
            until_class(&daemon, "t", "reachable")?;
            scene.servers.retain(|server| server.port() != 22);
            scene.receiver.wait_for(2 * round - 1, START)?;
            let incidents = daemon.json("/api/v1/incidents")?;
            let count = incidents["incidents"].as_array().map(Vec::len);
            ensure!(count == Some(1), "round {round}: {incidents}");
            scene.servers.push(server::ssh_banner(&scene.chain.lan.target, 22)?);
            scene.receiver.wait_for(2 * round, RESOLVED)?;
            ground = daemon.stop()?;
        }
        let told = told(&scene.receiver)?;
        let version = |one: &super::told::Told| one.annotation("version").parse().unwrap_or(0);
        let versions: Vec<u64> = told.iter().map(version).collect();
        ensure!(versions.is_sorted_by(|a, b| a < b) && versions[0] > 0, "{versions:?}");
        ensure!(told.iter().all(|one| one.fingerprint == told[0].fingerprint), "{told:#?}");
        Ok(())
    });
}

#[test]
fn an_incident_whose_target_left_meanwhile_is_taken_back() {
    inside(test_name!(), |lab| {
        let scene = Scene::build(lab)?;
        let (kept, gone) = (scene.target("t", "t", 3389), scene.target("n2", "n2", 3389));
        let text = format!("{QUICK}{kept}{gone}");
        let daemon = Ground::new(&scene.chain.v1, &text)?.start()?;
        scene.receiver.wait_for(1, START)?;
        let ground = daemon.kill()?;
        ground.write("reachd.toml", &format!("{QUICK}{kept}"))?;
        let daemon = ground.start()?;
        until_over(&scene.receiver)?;
        pair_each(&understood(&scene.receiver)?, &["n2"])?;
        let incidents = daemon.json("/api/v1/incidents")?;
        ensure!(incidents["incidents"].as_array().is_some_and(Vec::is_empty), "{incidents}");
        Ok(())
    });
}

#[test]
fn a_vantages_incident_outlives_a_kill() {
    inside(test_name!(), |lab| {
        let scene = Scene::build(lab)?;
        let target = scene.target("t", "t", 3389);
        let text = format!(
            "{QUICK}{target}[[vantage]]\nname = \"home\"\n[[vantage]]\nname = \"away\"\nnetns = \"v3\"\n"
        );
        let daemon = Ground::new(&scene.chain.v1, &text)?.start()?;
        scene.receiver.wait_for(1, START + START)?;
        let ground = daemon.kill()?;
        let away = lab.host("v3")?;
        lab.link(&away, scene.chain.r(1))?;
        lab.converge()?;
        let daemon = ground.start()?;
        until_over(&scene.receiver)?;
        pair_each(&understood(&scene.receiver)?, &["away"])?;
        until_class(&daemon, "t", "reachable")
    });
}

/// A daemon that must not start: it ends with 2 and says all these words.
fn refused(ground: Ground, words: &[&str]) -> Result<Ground> {
    let output = ground.command().output().context("run reachd")?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(2), "{}: {told}", output.status);
    let missing: Vec<_> = words.iter().filter(|word| !told.contains(**word)).collect();
    ensure!(missing.is_empty(), "{missing:?} is not said in: {told}");
    Ok(ground)
}

fn minimal(lab: &mut Lab, more: &str) -> Result<Ground> {
    let node = lab.host("v1")?;
    Ground::new(&node, &format!("[[target]]\nhost = \"192.0.2.1\"\n{more}"))
}

#[test]
fn a_store_of_a_newer_release_is_left_alone() {
    inside(test_name!(), |lab| {
        let ground = minimal(lab, "")?.start()?.stop()?;
        let path = ground.path("state/reachd.db");
        let file = fs::File::options().write(true).open(&path).context("open the store")?;
        // SQLite keeps the user version at byte 60, big-endian.
        file.write_all_at(&99_u32.to_be_bytes(), 60).context("write a version")?;
        let before = fs::read(&path).context("read the store")?;
        let place = path.display().to_string();
        let words = ["open the store", &place, "99", "newer", "move the file away"];
        let _ground = refused(ground, &words)?;
        let after = fs::read(&path).context("read the store again")?;
        ensure!(before == after, "the store was changed");
        Ok(())
    });
}

#[test]
fn a_damaged_store_is_moved_aside() {
    inside(test_name!(), |lab| {
        let ground = minimal(lab, "")?.start()?.stop()?;
        fs::write(ground.path("state/reachd.db"), vec![0x5a; 8192]).context("damage it")?;
        let daemon = ground.start()?;
        ensure!(daemon.log().contains("Began a new store"), "not said");
        let kept = fs::read_dir(daemon.ground()?.path("state")).context("list the folder")?;
        let named = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        let names: Vec<_> = kept.filter_map(Result::ok).map(named).collect();
        ensure!(
            names.iter().any(|name| name != "reachd.db" && name.starts_with("reachd.db")),
            "{names:?}"
        );
        daemon.stop().map(drop)
    });
}

#[test]
fn a_store_that_cannot_be_written_is_said() {
    inside(test_name!(), |lab| {
        let ground = minimal(lab, "[store]\npath = \"occupied\"\n")?;
        ground.write("occupied", "a file where the folder should be")?;
        let place = ground.path("occupied/reachd.db").display().to_string();
        refused(ground, &["open the store", &place, "[store] path"]).map(drop)
    });
}

#[test]
fn an_occupied_port_is_said() {
    inside(test_name!(), |lab| {
        let node = lab.host("v2")?;
        let _other = server::silent(&node, 9639)?;
        let ground = Ground::new(&node, "[[target]]\nhost = \"192.0.2.1\"\n")?;
        let words = ["listen on 127.0.0.1:9639", "another reachd", "--listen", "in use"];
        refused(ground, &words).map(drop)
    });
}

#[test]
fn a_missing_privilege_is_said() {
    inside(test_name!(), |lab| {
        let ground = minimal(lab, "[listen]\naddress = \"127.0.0.1:80\"\n")?;
        let ground = ground.below(&["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"]);
        let words = ["listen on 127.0.0.1:80", "ermission denied", "1024"];
        refused(ground, &words).map(drop)
    });
}

#[test]
fn a_plan_without_targets_is_said() {
    inside(test_name!(), |lab| {
        let node = lab.host("v1")?;
        let ground = Ground::new(&node, "[listen]\naddress = \"127.0.0.1:9639\"\n")?;
        let ground = refused(ground, &["nothing to watch", "--target", "--config"])?;
        ground.write("reachd.toml", "[[target]]\nhst = \"192.0.2.1\"\n")?;
        let ground = refused(ground, &["reachd.toml:2:1", "hst", "did you mean `host`"])?;
        fs::remove_file(ground.path("reachd.toml")).context("remove it")?;
        let file = ground.path("reachd.toml").display().to_string();
        refused(ground, &[&file, "No such file"]).map(drop)
    });
}

#[test]
fn an_incident_told_to_nobody_is_told_after_the_restart() {
    inside(test_name!(), |lab| {
        let mut scene = Scene::build(lab)?;
        scene.receiver.set_status(503);
        let text = format!("{QUICK}{}", scene.target("t", "t", 3389));
        let daemon = Ground::new(&scene.chain.v1, &text)?.start()?;
        until_class(&daemon, "t", "reachable")?;
        scene.servers.retain(|server| server.port() != 3389);
        until("an attempt was refused", START + START, || {
            Ok((!scene.receiver.deliveries().is_empty()).then_some(()))
        })?;
        let ground = daemon.kill()?;
        scene.receiver.set_status(200);
        let _daemon = ground.start()?;
        scene.receiver.wait_for(1, START)?;
        let _rdp = server::rdp_confirm(&scene.chain.lan.target, 3389)?;
        until_over(&scene.receiver)?;
        pair_each(&understood(&scene.receiver)?, &["t"])
    });
}

/// The store of an earlier release has an open incident that `ops` was told of, one that is over and
/// whose end it was not told, and one of a vantage that it heard nothing of. None of their subjects
/// is in the plan.
#[test]
fn a_store_of_an_earlier_release_goes_on_where_it_was() {
    inside(test_name!(), |lab| {
        let node = lab.host("v1")?;
        let receiver = server::webhook(&node, 8081)?;
        let ground = Ground::new(&node, &format!("{QUICK}[[target]]\nhost = \"127.0.0.1\"\n"))?;
        fs::create_dir(ground.path("state")).context("make the folder")?;
        let fixture = super::harness::repository("exporters/testdata/store-schema-1.db");
        fs::copy(fixture, ground.path("state/reachd.db")).context("copy the store")?;
        let daemon = ground.start()?;
        receiver.wait_for(4, START)?;
        let ground = daemon.kill()?;
        let told = understood(&receiver)?;
        let of = |id: &str| {
            let of = told.iter().filter(|told| told.fingerprint == id);
            of.map(|told| (told.status.as_str(), told.annotation("version"))).collect::<Vec<_>>()
        };
        ensure!(of("0123456789abcdef") == [("resolved", "3")], "{told:#?}");
        ensure!(of("aaaaaaaaaaaaaaaa") == [("resolved", "2")], "{told:#?}");
        ensure!(of("bbbbbbbbbbbbbbbb") == [("firing", "1"), ("resolved", "2")], "{told:#?}");
        let copy = ground.path("state/reachd.db.schema-1");
        ensure!(copy.exists(), "no copy of it is kept");
        // The second start finds nothing more to say of them: three rows were taken over.
        let ground = ground.start()?.stop()?;
        let mut store = Store::open(&ground.path("state/reachd.db"))?.0;
        let mut rows = store.outbox(None)?;
        rows.retain(|row| told.iter().any(|told| told.fingerprint == row.fingerprint));
        ensure!(rows.len() == 3 + 4, "{rows:#?}");
        ensure!(rows.iter().all(|row| row.state == State::Delivered), "{rows:#?}");
        Ok(())
    });
}

/// A bit in the head of the first page: `SQLite` refuses the file, its rows are all there.
#[test]
fn an_incident_outlives_a_damaged_store() {
    inside(test_name!(), |lab| {
        let node = lab.host("v1")?;
        let receiver = server::webhook(&node, 8081)?;
        let target = "[[target]]\nhost = \"127.0.0.1\"\nport = 1\nservice = \"tcp\"\n";
        let daemon = Ground::new(&node, &format!("{QUICK}{target}"))?.start()?;
        receiver.wait_for(1, START)?;
        let path = daemon.ground()?.path("state/reachd.db");
        until("the delivery is noted", SOON, || {
            Ok(Store::read(&path)?.outbox(Some(State::Delivered))?.pop())
        })?;
        let ground = daemon.stop()?;
        let file = fs::File::options().read(true).write(true).open(&path).context("open it")?;
        let mut byte = [0];
        file.read_exact_at(&mut byte, 100).context("read a byte")?;
        file.write_all_at(&[byte[0] ^ 4], 100).context("flip a bit")?;
        let daemon = ground.start()?;
        let log = daemon.log();
        ensure!(log.contains("Began a new store") && log.contains("1 incidents"), "not said");
        until_class(&daemon, "127.0.0.1:1", "port_closed")?;
        let salvaged =
            daemon.metrics()?.value("reachd_store_salvaged_rows", &[("table", "outbox")]);
        ensure!(salvaged == Some(1.0), "{salvaged:?}");
        let rows = Store::read(&path)?.load_open_incidents()?;
        ensure!(rows.len() == 1 && rows[0].state == "firing", "{rows:#?}");
        let damaged = daemon.ground()?.path("state/reachd.db.damaged-1");
        ensure!(damaged.exists(), "the damaged file is gone");
        ensure!(understood(&receiver)?.len() == 1, "told again: {:#?}", told(&receiver)?);
        daemon.stop().map(drop)
    });
}
