//! Evidence on the disk: written with the incident, read without the daemon, kept within limits.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use reachd_lab::{inside, server, test_name};

use super::full::{DISK, HEAD, fail_more, fill, targets};
use super::harness::{Daemon, Ground, REACHD, SOON, START, pipe, until};
use super::http::{fits_schema, packets_show_a_reset};
use super::scene::{QUICK, Scene};
use super::told::told;

const UNWRITTEN: &str = "reachd_evidence_unwritten_total";

/// The folders of evidence, by name.
fn steps(state: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(state.join("evidence")).into_iter().flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut steps: Vec<_> = paths
        .filter(|path| {
            path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b"."))
        })
        .collect();
    steps.sort();
    steps
}

fn until_steps(state: &Path, count: usize, within: Duration) -> Result<Vec<PathBuf>> {
    until(&format!("{count} steps are on the disk"), within, || {
        let steps = steps(state);
        Ok((steps.len() == count).then_some(steps))
    })
}

fn mode(path: &Path) -> Result<u32> {
    Ok(fs::metadata(path).with_context(|| path.display().to_string())?.permissions().mode() & 0o777)
}

/// The three files of a step are private, whole, and say what they should.
fn is_proof(daemon: &Daemon, step: &Path, host: &str) -> Result<()> {
    ensure!(mode(step)? == 0o700, "{} is not private", step.display());
    for name in ["packets.pcapng", "verdict.json", "trace.txt"] {
        ensure!(mode(&step.join(name))? == 0o600, "{name} is not private");
    }
    let packets = fs::read(step.join("packets.pcapng")).context("read the packets")?;
    packets_show_a_reset(daemon, &packets, host)?;
    let head = String::from_utf8_lossy(&packets[..packets.len().min(4096)]).into_owned();
    for comment in ["ReachdTargetUnreachable: ", "class port_closed, ", "evidence syn="] {
        ensure!(head.contains(comment), "no comment says {comment}");
    }
    let verdict = fs::read(step.join("verdict.json")).context("read the verdict")?;
    let verdict = serde_json::from_slice(&verdict).context("its JSON")?;
    fits_schema(&verdict)?;
    ensure!(verdict["verdict"]["class"] == "port_closed", "{verdict}");
    ensure!(verdict["started"].is_string(), "no date: {verdict}");
    let trace = fs::read_to_string(step.join("trace.txt")).context("read the trace")?;
    ensure!(trace.contains("  TCP\n") && trace.contains(host), "{trace}");
    Ok(())
}

#[test]
fn evidence_outlives_the_daemon() {
    inside(test_name!(), |lab| {
        let mut scene = Scene::build(lab)?;
        let text = format!("{QUICK}{}", scene.target("n2", "n2", 3389));
        let daemon = Ground::new(&scene.chain.v1, &text)?.start()?;
        let (state, host) = (daemon.ground()?.path("state"), scene.chain.lan.n2_at.v4.to_string());
        scene.receiver.wait_for(1, START)?;
        let first = until_steps(&state, 1, SOON)?;
        is_proof(&daemon, &first[0], &host)?;

        let hole = lab.blackhole_route(scene.chain.gateway(), scene.chain.lan.n2_at)?;
        let both = until_steps(&state, 2, START + START)?;
        ensure!(both[0] == first[0] && both[1].to_string_lossy().ends_with("-2"), "{both:?}");
        let opening = told(&scene.receiver)?.remove(0);
        let url = opening.annotation("evidence_url");
        let path = url.find("/api/").map(|at| url[at..].to_owned()).context("no evidence_url")?;
        let served = daemon.get(&path)?;
        ensure!(served.status == 200, "{path}: {}", served.text());
        let whole = served.body;
        packets_show_a_reset(&daemon, &whole, &host)?;
        let head = String::from_utf8_lossy(&whole[..whole.len().min(8192)]).into_owned();
        let says = |class: &str| head.contains(&format!("class {class}, "));
        ensure!(says("port_closed") && says("blackhole"), "not of both steps");

        let ground = daemon.kill()?;
        let saved = ground.path("saved.pcapng").display().to_string();
        let place = state.display().to_string();
        let id = &opening.fingerprint;
        let run = |words: &[&str]| {
            let all = [&[REACHD, "evidence", &id[..6], "--store", &place], words].concat();
            scene.chain.v1.exec(&all)
        };
        let save = run(&["--pcap", &saved])?;
        ensure!(save.status.success(), "{save:?}");
        ensure!(fs::read(&saved).context("read what was saved")? == whole, "something else");
        let listed = run(&[])?;
        let expected: String = both.iter().map(|step| format!("{}\n", step.display())).collect();
        ensure!(listed.stdout == expected, "{listed:?}");
        let unknown = [REACHD, "evidence", "ffffff", "--store", &place, "--pcap", "/none"];
        let unknown = scene.chain.v1.exec(&unknown)?;
        ensure!(unknown.stderr.contains("no evidence is kept of ffffff"), "{unknown:?}");

        let daemon = ground.start()?;
        ensure!(daemon.get(&path)?.body == whole, "an earlier run's evidence is not served");
        drop(hole);
        scene.servers.push(server::rdp_confirm(&scene.chain.lan.n2, 3389)?);
        until("it is over", START + START, || {
            let incidents = daemon.json("/api/v1/incidents")?;
            Ok(incidents["incidents"].as_array().is_some_and(Vec::is_empty).then_some(()))
        })?;
        ensure!(daemon.get(&path)?.status == 200, "what is over has no evidence any more");
        old_evidence_goes(daemon, &text, &path)
    });
}

/// What is over goes with its age, and is then no more served.
fn old_evidence_goes(daemon: Daemon, text: &str, path: &str) -> Result<()> {
    let ground = daemon.stop()?;
    let state = ground.path("state");
    let long_ago = SystemTime::now() - Duration::from_secs(2 * 3_600);
    let steps = steps(&state);
    for step in &steps {
        let folder = fs::File::open(step).context("open a step")?;
        folder.set_modified(long_ago).context("make it old")?;
    }
    let daemon = ground.start()?;
    let page = daemon.metrics()?;
    ensure!(page.value("reachd_evidence_bytes", &[]) > Some(0.0), "gone before its time");
    ensure!(self::steps(&state) == steps, "gone before its time");
    daemon.ground()?.write("reachd.toml", &format!("[evidence]\nmax_age = \"1h\"\n{text}"))?;
    ensure!(daemon.request("POST", "/-/reload", &[])?.status == 200, "not reloaded");
    until_steps(&state, 0, SOON)?;
    daemon.until_page("nothing is kept", SOON, |page| {
        page.value("reachd_evidence_bytes", &[]) == Some(0.0)
    })?;
    ensure!(daemon.get(path)?.status == 404, "served from where?");
    ensure!(daemon.metrics()?.sum(UNWRITTEN, &[]) == 0.0, "something failed");
    daemon.stop().map(drop)
}

/// Neither an obstacle nor a full disk keeps anybody from being told.
#[test]
fn evidence_that_cannot_be_written_holds_nothing_up() {
    inside(test_name!(), |lab| {
        let node = lab.host("v")?;
        let receiver = server::webhook(&node, 8081)?;
        let ground = Ground::new(&node, HEAD)?;
        let state = ground.path("state");
        fs::create_dir(&state).context("make the folder")?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(&state);
        ensure!(mount.status().context("start mount")?.success(), "mount a small disk");
        fs::write(state.join("evidence"), "in the way").context("stand in the way")?;
        ground.write("targets.json", &targets(2))?;
        let mut daemon = ground.start()?;
        receiver.wait_for(2, START)?;
        daemon.until_page("both are counted", SOON, |page| {
            page.value(UNWRITTEN, &[("reason", "disk")]) == Some(2.0)
        })?;
        let said = daemon.log().matches("Evidence is not written").count();
        ensure!(said == 1, "said {said} times");

        fs::remove_file(state.join("evidence")).context("step aside")?;
        fail_more(&mut daemon, 3)?;
        receiver.wait_for(3, START)?;
        let written = until_steps(&state, 1, SOON)?;
        let packets = written[0].join("packets.pcapng").display().to_string();
        let (read, shown) = pipe("unshare", &["--user", "tcpdump", "-nr", &packets], b"")?;
        ensure!(read && shown.contains("127.1.2.1.1"), "{shown}");
        ensure!(daemon.log().contains("Evidence is written again"), "its end is not said");

        fill(&state.join("filler"))?;
        fail_more(&mut daemon, 5)?;
        receiver.wait_for(5, START)?;
        daemon.until_page("both are counted", SOON, |page| {
            page.value(UNWRITTEN, &[("reason", "room")]) == Some(2.0)
        })?;
        let sent = |daemon: &Daemon| -> Result<f64> {
            Ok(daemon.metrics()?.sum("reachd_probe_packets_sent_total", &[]))
        };
        let before = sent(&daemon)?;
        until("probing goes on", START, || Ok((sent(&daemon)? > before).then_some(())))?;
        fs::remove_file(state.join("filler")).context("make room")?;
        // Until it is back, what room there is belongs to it.
        daemon.until_page("the ballast is back", START, |page| {
            page.value("reachd_store_ballast_spent", &[]) == Some(0.0)
        })?;
        fail_more(&mut daemon, 6)?;
        receiver.wait_for(6, START)?;
        until_steps(&state, 2, SOON)?;
        daemon.stop().map(drop)
    });
}
