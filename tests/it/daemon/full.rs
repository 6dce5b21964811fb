//! A disk that fills up under a running daemon, and has room again.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reachd_lab::{inside, server, test_name};

use super::harness::{Daemon, Ground, START, record, until};
use super::told::{Told, told};

/// Thrice the ballast.
pub(super) const DISK: &str = "size=48m";
/// Targets that fail at each stage: more than the log of the database has room for.
const EACH: usize = 12;
/// How soon after there is room again everything must be told.
const BACK: Duration = Duration::from_secs(5);

pub(super) const HEAD: &str = "\
target_files = [\"targets.json\"]
[defaults]
service = \"tcp\"
siblings = \"off\"
open_after = \"0s\"
[[receiver]]
name = \"ops\"
url = \"http://127.0.0.1:8081/\"
";

/// So many targets on closed ports, each in a network of its own.
pub(super) fn targets(count: usize) -> String {
    let all: Vec<_> = (0..count).map(|number| format!("\"127.1.{number}.1:1\"")).collect();
    format!("[{{\"targets\": [{}], \"labels\": {{}}}}]", all.join(", "))
}

/// Writes until there is no room.
pub(super) fn fill(path: &Path) -> Result<()> {
    let mut file = File::create(path).context("make a filler")?;
    for size in [1 << 16, 1 << 10, 1] {
        loop {
            match file.write_all(&vec![1; size]) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => bail!("fill the disk: {error}"),
            }
        }
    }
    Ok(())
}

pub(super) fn fail_more(daemon: &mut Daemon, count: usize) -> Result<()> {
    daemon.ground()?.write("targets.json", &targets(count))?;
    daemon.signal("HUP")
}

fn subjects(all: &[Told]) -> usize {
    all.iter().filter(|told| told.status == "firing").count()
}

#[test]
fn a_full_disk_costs_no_incident() {
    inside(test_name!(), |lab| {
        let node = lab.host("v")?;
        let receiver = server::webhook(&node, 8081)?;
        let ground = Ground::new(&node, HEAD)?;
        let state = ground.path("state");
        fs::create_dir(&state).context("make the folder")?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(&state);
        ensure!(mount.status().context("start mount")?.success(), "mount a small disk");
        ground.write("targets.json", &targets(1))?;
        let mut daemon = ground.start()?;
        let ballast = state.join("reachd.db.ballast");
        ensure!(fs::metadata(&ballast).context("the ballast")?.len() == 16 << 20, "its size");
        receiver.wait_for(1, START)?;

        fill(&state.join("filler"))?;
        fail_more(&mut daemon, 1 + EACH)?;
        receiver.wait_for(1 + EACH, START)?;
        ensure!(!ballast.exists(), "told from where?");
        let spent = "reachd_store_ballast_spent";
        daemon.until_page("the ballast is spent", START, |page| {
            page.value(spent, &[]) == Some(1.0)
        })?;

        fill(&state.join("more"))?;
        fail_more(&mut daemon, 1 + 2 * EACH)?;
        let waiting = "reachd_store_unsaved_steps";
        daemon.until_page("steps wait", START, |page| page.value(waiting, &[]) >= Some(6.0))?;
        let untold = 1 + 2 * EACH - subjects(&told(&receiver)?);
        ensure!(untold >= 6, "told before it was saved: {untold}");
        let sent = |daemon: &Daemon| -> Result<f64> {
            Ok(daemon.metrics()?.sum("reachd_probe_packets_sent_total", &[]))
        };
        let before = sent(&daemon)?;
        until("probing goes on", START, || Ok((sent(&daemon)? > before).then_some(())))?;

        fs::remove_file(state.join("filler")).context("make room")?;
        fs::remove_file(state.join("more")).context("make room")?;
        let begun = std::time::Instant::now();
        until("everything is saved and told", BACK, || {
            let done = daemon.metrics()?.value(waiting, &[]) == Some(0.0)
                && subjects(&told(&receiver)?) == 1 + 2 * EACH;
            Ok(done.then_some(()))
        })?;
        record(&format!(
            "full disk: told {:.1} s after it had room",
            begun.elapsed().as_secs_f64()
        ));
        daemon.until_page("the ballast is back", START, |page| {
            page.value(spent, &[]) == Some(0.0) && ballast.exists()
        })?;
        let failures = daemon.metrics()?.sum("reachd_store_save_failures_total", &[]);
        ensure!(failures >= 1.0, "{failures}");
        daemon.stop().map(drop)
    });
}
