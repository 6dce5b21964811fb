//! The wall clock jumps by an hour and by a year, either way, under a running daemon and between
//! two runs. `libfaketime` stands between the daemon and the clock.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reachd_lab::server::Webhook;
use reachd_lab::{inside_within, server, test_name};

use super::harness::{Daemon, Ground, START, record, until};
use super::told::{told, understood};

/// Seconds from the true time.
const JUMPS: [&str; 4] = ["+3600", "-3600", "+31536000", "-31536000"];
/// What a jump may delay at most.
const DELAY_MAX: Duration = Duration::from_secs(60);

const WELL: &str = "reachable";

const HEAD: &str = "\
target_files = [\"targets.json\"]
[defaults]
service = \"tcp\"
siblings = \"off\"
echo_interval = \"1s\"
syn_interval = \"1s\"
open_after = \"0s\"
close_after = \"1s\"
[[receiver]]
name = \"ops\"
url = \"http://127.0.0.1:8081/\"
[[target]]
name = \"well\"
host = \"127.0.0.1\"
port = 7000
";

/// So many targets on closed ports, each in a network of its own.
fn targets(count: usize) -> String {
    let all: Vec<_> = (1..=count).map(|number| format!("\"127.1.{number}.1:1\"")).collect();
    format!("[{{\"targets\": [{}], \"labels\": {{}}}}]", all.join(", "))
}

/// The library, if the package `faketime` is there.
fn library() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.filter_map(Result::ok);
    let mut found = folders.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    found.find(|path| path.exists())
}

fn fail_one_more(daemon: &mut Daemon, count: usize) -> Result<()> {
    daemon.ground()?.write("targets.json", &targets(count))?;
    daemon.signal("HUP")
}

fn until_well(daemon: &Daemon) -> Result<()> {
    let well =
        daemon.until_page("it is well", START, |page| page.class("well").as_deref() == Some(WELL));
    well.map(drop)
}

/// Jumps under a running daemon; the longest time until somebody was told of a new failure.
fn jump_while_it_runs(daemon: &mut Daemon, receiver: &Webhook) -> Result<Duration> {
    let mut worst = Duration::ZERO;
    for (count, jump) in (1..).zip(JUMPS) {
        daemon.ground()?.write("time", jump)?;
        fail_one_more(daemon, count)?;
        let begun = Instant::now();
        receiver.wait_for(count, DELAY_MAX).with_context(|| format!("after {jump} s"))?;
        worst = worst.max(begun.elapsed());
    }
    Ok(worst)
}

/// A message is owed, the daemon is killed, and the clock is another one at the next start.
fn jump_between_runs(
    mut daemon: Daemon,
    receiver: &Webhook,
    (count, jump): (usize, &str),
) -> Result<(Daemon, Duration)> {
    receiver.set_status(503);
    let before = receiver.deliveries().len();
    fail_one_more(&mut daemon, count)?;
    until("it is tried", START, || Ok((receiver.deliveries().len() > before).then_some(())))?;
    let ground = daemon.kill()?;
    ground.write("time", jump)?;
    receiver.set_status(200);
    let daemon = ground.start()?;
    let begun = Instant::now();
    receiver.wait_for(count, DELAY_MAX).with_context(|| format!("after {jump} s"))?;
    Ok((daemon, begun.elapsed()))
}

#[test]
fn a_clock_that_jumps_delays_nothing_and_alarms_nobody() {
    let required = std::env::var("REACHD_REQUIRE_TOOLS").is_ok_and(|value| value == "1");
    let Some(library) = library() else {
        assert!(!required, "libfaketime is required and not there");
        eprintln!("skipped: a clock that jumps needs libfaketime (package faketime)");
        return;
    };
    inside_within(8 * DELAY_MAX, test_name!(), |lab| {
        let node = lab.host("v1")?;
        let receiver = server::webhook(&node, 8081)?;
        let _well = server::silent(&node, 7000)?;
        let ground = Ground::new(&node, HEAD)?;
        ground.write("time", "+0")?;
        ground.write("targets.json", "[{\"targets\": [], \"labels\": {}}]")?;
        let time = ground.path("time").display().to_string();
        let ground = ground.with("FAKETIME_TIMESTAMP_FILE", &time).with("FAKETIME_NO_CACHE", "1");
        let ground = ground.with("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        let ground = ground.with("LD_PRELOAD", &library.display().to_string());
        let mut daemon = ground.start()?;
        until_well(&daemon)?;
        let running = jump_while_it_runs(&mut daemon, &receiver)?;
        // A year ahead of what was written down, then a year behind.
        let (daemon, ahead) = jump_between_runs(daemon, &receiver, (5, "+0"))?;
        let (daemon, behind) = jump_between_runs(daemon, &receiver, (6, "-31536000"))?;
        record(&format!(
            "clock: told {:.1} s after a jump at most, {:.1} s after a start a year ahead, {:.1} s \
             after one a year behind",
            running.as_secs_f64(),
            ahead.as_secs_f64(),
            behind.as_secs_f64()
        ));
        // It began anew a moment ago.
        until_well(&daemon)?;
        let understood = understood(&receiver)?;
        ensure!(understood.len() == 6, "{understood:#?}");
        ensure!(!told(&receiver)?.iter().any(|told| told.label("target") == "well"), "false alarm");
        daemon.stop().map(drop)
    });
}
