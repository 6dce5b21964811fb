//! The disk fails to sync once, at whichever call: nothing is told that was not saved, everything
//! that was saved is told, and the store is whole.
//!
//! `strace` makes the N-th `fsync` or `fdatasync` of the daemon fail with EIO. A daemon that cannot
//! open its store for that ends with a word, as its unit would start it again.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reachd_exporters::store::{State, Store};
use reachd_lab::{inside_within, server, test_name};

use super::harness::{Daemon, Ground, START, record, until};
use super::kills::compare;

/// The calls that fail, one a life; `REACHD_SYNC_SWEEP=20` tries each of the first twenty.
const SOME: [u32; 3] = [2, 7, 12];
/// More commits than the last of those calls.
const TARGETS: u32 = 24;
/// Of a life, on a busy machine.
const LIFE_MAX: Duration = Duration::from_secs(60);

const HEAD: &str = "\
[defaults]
service = \"tcp\"
siblings = \"off\"
open_after = \"0s\"
[[receiver]]
name = \"ops\"
url = \"http://127.0.0.1:8081/\"
";

/// Targets on closed ports, each in a network of its own.
fn configuration() -> String {
    let targets = (0..TARGETS).map(|number| {
        format!("[[target]]\nname = \"t{number}\"\nhost = \"127.1.{number}.1\"\nport = 1\n")
    });
    HEAD.to_owned() + &targets.collect::<String>()
}

/// Starts it; once more if it ended because of the fault.
fn start(ground: Ground) -> Result<(Daemon, bool)> {
    let mut daemon = ground.launch()?;
    let mut ended = None;
    until("it is ready or ends", START + START, || {
        if daemon.get("/-/ready").is_ok_and(|answer| answer.status == 200) {
            return Ok(Some(()));
        }
        ended = daemon.exit()?;
        Ok(ended.map(drop))
    })?;
    let Some(status) = ended else { return Ok((daemon, false)) };
    ensure!(!status.success(), "it ended well with a store that it could not open");
    ensure!(daemon.log().contains("disk I/O error"), "it does not say why it ends");
    let ground = daemon.abandon()?.below(&[]);
    Ok((ground.start()?, true))
}

/// One life in which this call fails; whether the daemon began anew for it.
fn life(lab: &mut reachd_lab::Lab, call: u32) -> Result<(bool, String)> {
    let node = lab.host(&format!("v{call}"))?;
    let receiver = server::webhook(&node, 8081)?;
    let ground = Ground::new(&node, &configuration())?;
    let trace = ground.path("trace").display().to_string();
    let inject = format!("inject=fsync,fdatasync:error=EIO:when={call}");
    let words =
        ["strace", "-D", "-f", "-qq", "-o", &trace, "-e", "trace=fsync,fdatasync", "-e", &inject];
    let (daemon, again) = start(ground.below(&words))?;
    let path = daemon.ground()?.path("state/reachd.db");
    until("everything is saved and told", START + START, || {
        let mut store = Store::read(&path)?;
        let (all, owed) = (store.outbox(None)?.len(), store.outbox(Some(State::Pending))?.len());
        Ok((all >= usize::try_from(TARGETS)? && owed == 0).then_some(()))
    })?;
    let damaged = daemon.log().contains("The store is damaged");
    let ground = daemon.kill()?;
    let told = std::fs::read_to_string(ground.path("trace")).context("read what failed")?;
    ensure!(told.contains("(INJECTED)"), "call {call} never came");
    ensure!(!damaged, "a sync that failed damaged the store");
    let (mut store, damage) = Store::open(&ground.path("state/reachd.db"))?;
    ensure!(damage.is_none(), "call {call} damaged the store: {damage:?}");
    Ok((again, compare(&mut store, &receiver)?))
}

#[test]
fn a_sync_that_fails_costs_nothing() {
    let required = std::env::var("REACHD_REQUIRE_TOOLS").is_ok_and(|value| value == "1");
    if Command::new("strace").arg("-V").output().is_err() {
        assert!(!required, "strace is required and not there");
        eprintln!("skipped: syncs that fail need strace");
        return;
    }
    let most = std::env::var("REACHD_SYNC_SWEEP").ok().and_then(|text| text.parse::<u32>().ok());
    let calls: Vec<u32> = most.map_or_else(|| SOME.to_vec(), |most| (1..=most).collect());
    let limit = LIFE_MAX * u32::try_from(calls.len()).unwrap_or(u32::MAX);
    inside_within(limit, test_name!(), |lab| {
        let mut restarts = 0;
        for call in &calls {
            let (again, figures) = life(lab, *call).with_context(|| format!("call {call}"))?;
            restarts += u32::from(again);
            println!("call {call}: {figures}");
        }
        record(&format!(
            "syncs: {} lives with one failed sync each, 0 lost, {restarts} began anew",
            calls.len()
        ));
        Ok(())
    });
}
