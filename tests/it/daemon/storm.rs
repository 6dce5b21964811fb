//! Two hundred reloads in a row: memory stays flat, counters run on.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reachd_lab::{inside, test_name};

use super::harness::{Daemon, Ground, START, until};

/// Targets that stay, and those that two configurations exchange.
const KEPT: u32 = 490;
const EXCHANGED: u32 = 10;
const RELOADS: u32 = 200;
/// Freed rows rest for a minute and everything has its room after so many.
const SETTLED: u32 = 60;

const KIBI: u64 = 1_024;

/// Addresses of the loopback network, which all answer.
fn configuration(variant: u32) -> String {
    let kept = (0..KEPT).map(|index| format!("\"127.1.{}.{}\"", index / 250, 1 + index % 250));
    let other = (0..EXCHANGED).map(|index| format!("\"127.2.{variant}.{}\"", 1 + index));
    let targets: Vec<_> = kept.chain(other).collect();
    format!("[{{\"targets\": [{}], \"labels\": {{}}}}]", targets.join(", "))
}

const HEAD: &str = "\
target_files = [\"targets.json\"]
[budget]
packets_per_second = 100000
per_prefix = 50000
[defaults]
service = \"ping\"
siblings = \"off\"
echo_interval = \"2s\"
";

/// Resident memory in KiB, threads and open files.
fn size(id: u32) -> Result<[u64; 3]> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).context("read its status")?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let word = line.and_then(|line| line.split_whitespace().next());
        word.and_then(|word| word.parse().ok()).with_context(|| format!("no {name}"))
    };
    let files = fs::read_dir(format!("/proc/{id}/fd")).context("list its files")?.count();
    Ok([field("VmRSS:")?, field("Threads:")?, u64::try_from(files)?])
}

fn sent(daemon: &Daemon, target: &str) -> Result<f64> {
    Ok(daemon.metrics()?.sum("reachd_probe_packets_sent_total", &[("target", target)]))
}

fn has(daemon: &Daemon, target: &str) -> Result<bool> {
    Ok(daemon.metrics()?.text.contains(&format!("reachd_target_info{{target=\"{target}\"")))
}

#[test]
fn two_hundred_reloads_leave_memory_flat_and_counters_running() {
    inside(test_name!(), |lab| {
        let node = lab.host("v")?;
        let ground = Ground::new(&node, HEAD)?;
        ground.write("targets.json", &configuration(0))?;
        let mut daemon = ground.start()?;
        let id = daemon.id();
        let mut least = 0.0;
        let mut settled = [0; 3];
        for round in 1..=RELOADS {
            let variant = round % 2;
            daemon.ground()?.write("targets.json", &configuration(variant))?;
            // By both ways in.
            if round.is_multiple_of(4) {
                daemon.signal("HUP")?;
            } else {
                let answer = daemon.request("POST", "/-/reload", &[])?;
                ensure!(answer.status == 200, "reload {round}: {}", answer.text());
            }
            if round.is_multiple_of(20) {
                let (came, went) =
                    (format!("127.2.{variant}.1"), format!("127.2.{}.1", 1 - variant));
                until(&format!("reload {round} is applied"), START, || {
                    Ok((has(&daemon, &came)? && !has(&daemon, &went)?).then_some(()))
                })?;
                let now = sent(&daemon, "127.1.0.1")?;
                ensure!(now >= least, "a counter fell from {least} to {now}");
                least = now;
            }
            if round == SETTLED {
                settled = size(id)?;
            }
        }
        until("probing goes on", Duration::from_secs(10), || {
            Ok((sent(&daemon, "127.1.0.1")? > least).then_some(()))
        })?;
        let after = size(id)?;
        println!(
            "resident KiB, threads, files: {settled:?} after {SETTLED}, {after:?} after {RELOADS}"
        );
        ensure!(
            after[0] <= settled[0] + settled[0] / 10 + 6 * KIBI,
            "{} KiB grew to {} KiB",
            settled[0],
            after[0]
        );
        ensure!(after[1] <= settled[1] + 1, "threads grew: {settled:?} to {after:?}");
        ensure!(after[2] <= settled[2] + 2, "open files grew: {settled:?} to {after:?}");
        let page = daemon.metrics()?;
        ensure!(page.sum("reachd_bugs_total", &[]) == 0.0, "a bug of ours was counted");
        daemon.stop().map(drop)
    });
}
