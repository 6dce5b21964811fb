//! The delivery contract under `kill -9`: whatever the store has committed, the receiver was told,
//! and it was told nothing else.
//!
//! Targets on closed ports fire half a second after a start; those that left the plan while their
//! incident was open are over at the start. With another choice of targets for each life of the
//! daemon there is always something to commit and to tell at the moment of a kill.

use std::collections::{BTreeMap, BTreeSet};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reachd_exporters::store::{IncidentRow, OutboxRow, State, Store, message_id};
use reachd_lab::server::Webhook;
use reachd_lab::{inside_within, server, test_name};
use serde_json::Value;

use super::harness::{Ground, START, record, until};

/// How many lives; `REACHD_KILL_CYCLES` says otherwise.
const CYCLES: u64 = 100;
const TARGETS: u64 = 12;
/// A life in milliseconds: some end before anything is known, others after everything is told.
const LIFE: (u64, u64) = (40, 1_300);
/// Of a life and of what surrounds it, on a busy machine.
const CYCLE_MAX: Duration = Duration::from_secs(5);
const SEED: u64 = 20_261_126;

const HEAD: &str = "\
target_files = [\"targets.json\"]
[defaults]
service = \"tcp\"
siblings = \"off\"
open_after = \"0s\"
[[receiver]]
name = \"ops\"
url = \"http://127.0.0.1:8081/\"
";

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

/// A choice of targets, each in a network of its own so that none belongs with another.
fn targets(dice: &mut Dice) -> String {
    let mut chosen = vec!["\"127.1.100.1:1\"".to_owned()];
    for number in 0..TARGETS {
        if dice.roll(2) == 0 {
            chosen.push(format!("\"127.1.{number}.1:1\""));
        }
    }
    format!("[{{\"targets\": [{}], \"labels\": {{}}}}]", chosen.join(", "))
}

/// What the receiver was told: identities in order of their first coming, and how often each.
struct Heard {
    order: Vec<(String, u64)>,
    bodies: BTreeMap<(String, u64), (String, usize)>,
}

fn heard(receiver: &Webhook) -> Result<Heard> {
    let mut heard = Heard { order: Vec::new(), bodies: BTreeMap::new() };
    for delivery in receiver.deliveries().into_iter().filter(|one| one.status == 200) {
        let name = delivery.headers.iter().find(|(name, _)| name == "webhook-id");
        let (_, name) = name.context("a message without identity")?;
        let body: Value = serde_json::from_str(&delivery.body).context("read a message")?;
        let told = &body["alerts"][0];
        let fingerprint = told["fingerprint"].as_str().context("a fingerprint")?;
        let version = told["annotations"]["version"].as_str().context("a version")?;
        let id = (fingerprint.to_owned(), version.parse().context("a version")?);
        let opened = told["startsAt"].as_str().context("its beginning")?;
        let expected = message_id("ops", (&id.0, id.1), opened);
        ensure!(*name == expected, "{name} instead of {expected}: {told}");
        let known = heard.bodies.entry(id.clone()).or_insert((delivery.body.clone(), 0));
        ensure!(known.0 == delivery.body, "two texts under one identity {id:?}");
        known.1 += 1;
        if known.1 == 1 {
            heard.order.push(id);
        }
    }
    Ok(heard)
}

/// The steps that somebody is to hear of: the first that fires, and the end of what fired.
fn transitions(store: &mut Store) -> Result<BTreeSet<(String, u64)>> {
    let mut owed = BTreeSet::new();
    for incident in store.load_incidents()? {
        let mut firing = false;
        for (_, step) in store.incident_steps(&incident.fingerprint)? {
            let IncidentRow { fingerprint, version, state, .. } = step;
            let fires = state == "firing";
            let ends = state == "resolved";
            if (fires && !firing) || (ends && firing) {
                owed.insert((fingerprint, version));
            }
            firing = fires;
        }
    }
    Ok(owed)
}

/// Compares the store with what the receiver heard; gives a line of figures.
pub(super) fn compare(store: &mut Store, receiver: &Webhook) -> Result<String> {
    let (heard, rows, owed) = (heard(receiver)?, store.outbox(None)?, transitions(store)?);
    let key = |row: &OutboxRow| (row.fingerprint.clone(), row.version);
    let state: BTreeMap<_, _> = rows.iter().map(|row| (key(row), row.state)).collect();
    for id in &owed {
        ensure!(state.contains_key(id), "{id:?} was committed without its message");
    }
    for (id, state) in &state {
        let told = heard.bodies.contains_key(id);
        let fits = match state {
            State::Delivered => told,
            State::Superseded => true,
            State::Pending | State::Dead => false,
        };
        ensure!(fits, "{id:?} is {state:?} and was told: {told}");
    }
    for id in heard.bodies.keys() {
        ensure!(state.contains_key(id), "{id:?} was told and is not in the store");
    }
    let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
    for (fingerprint, version) in &heard.order {
        let last = newest.insert(fingerprint, *version).unwrap_or(0);
        ensure!(last < *version, "{fingerprint}: version {version} came after {last}");
    }
    let total: usize = heard.bodies.values().map(|(_, times)| times).sum();
    let again = total - heard.bodies.len();
    let superseded = rows.iter().filter(|row| row.state == State::Superseded).count();
    Ok(format!(
        "{} transitions, {} messages, 0 lost, {superseded} superseded, {again} came again",
        owed.len(),
        rows.len()
    ))
}

#[test]
fn nothing_committed_is_lost_over_kills() {
    let cycles = std::env::var("REACHD_KILL_CYCLES").ok().and_then(|text| text.parse().ok());
    let cycles: u64 = cycles.unwrap_or(CYCLES);
    let limit = CYCLE_MAX * u32::try_from(cycles).unwrap_or(u32::MAX) + START + START;
    inside_within(limit, test_name!(), |lab| {
        let node = lab.host("v")?;
        let receiver = server::webhook(&node, 8081)?;
        let mut dice = Dice(SEED);
        let mut ground = Ground::new(&node, HEAD)?;
        for _ in 0..cycles {
            ground.write("targets.json", &targets(&mut dice))?;
            // Now and then it takes nothing for a while.
            receiver.set_status(if dice.roll(5) == 0 { 503 } else { 200 });
            let life = LIFE.0 + dice.roll(LIFE.1 - LIFE.0);
            let daemon = ground.launch()?;
            // The moment of the kill is what is drawn: any condition would spare some moments.
            sleep(Duration::from_millis(life));
            ground = daemon.kill()?;
        }
        receiver.set_status(200);
        let daemon = ground.start()?;
        let path = daemon.ground()?.path("state/reachd.db");
        until("nothing is owed any more", START + START, || {
            let pending = Store::read(&path)?.outbox(Some(State::Pending))?;
            Ok(pending.is_empty().then_some(()))
        })?;
        let damaged = daemon.log().contains("The store is damaged");
        let ground = daemon.kill()?;
        let mut store = Store::open(&ground.path("state/reachd.db"))?.0;
        let figures = compare(&mut store, &receiver)?;
        record(&format!("kills: {cycles} kills, {figures}"));
        ensure!(!damaged, "a kill damaged the store");
        let happened = transitions(&mut store)?.len();
        ensure!(happened >= usize::try_from(cycles)?, "too little happened: {happened}");
        Ok(())
    });
}
