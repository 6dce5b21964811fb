//! Outside checkers: what must hold at every step, whatever the world does.
#![expect(clippy::panic, reason = "a checker that finds a fault must stop the test")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use reachd_core::evidence::Probe;
use reachd_core::incident::{IncidentState, IncidentUpdate, Subject};
use reachd_core::monitor::{Event, Flight, ProbePacket, SendOrder};
use reachd_core::plan::VERDICT_TIMER;
use reachd_core::probe::FULL_TTL;
use reachd_core::snapshot::Snapshot;
use reachd_core::time::Instant;
use reachd_core::wording::english_words;

/// The sweep turns this seldom at low rates.
const STEP: Duration = Duration::from_millis(25);

/// Names of our worlds that look like words.
const NAMES: [&str; 1] = ["default"];

/// A probe is listened for a minute; long after that its number may come back.
const FORGOTTEN: Duration = Duration::from_secs(3_600);

/// A Chinese operator can read it: no English word is left but names.
fn told_in_chinese(text: &str) {
    let english: Vec<_> = english_words(text).filter(|word| !NAMES.contains(word)).collect();
    assert!(english.is_empty(), "{english:?} in {text}");
}

/// What a checker remembers.
#[derive(Debug, Default)]
pub struct Checker {
    flights: BTreeMap<Flight, Instant>,
    /// Moments of full-distance probes by (vantage, address, probe, port).
    attempts: BTreeMap<(String, IpAddr, Probe, u16), Vec<Instant>>,
    incidents: BTreeMap<String, (IncidentState, u64, Instant)>,
    /// Packets sent in all.
    pub packets: u64,
    /// Of these, those meant to expire on the way.
    pub traced: u64,
}

impl Checker {
    /// A packet was ordered: its number is new.
    pub(crate) fn sent(&mut self, now: Instant, vantage: &str, order: &SendOrder) {
        let is_reset = matches!(order.what, ProbePacket::Reset { .. });
        // The reset belongs to the probe it ends; and a row's tokens come back after 4096 probes.
        let known = if is_reset { None } else { self.flights.insert(order.flight, now) };
        let fresh = known.is_none_or(|before| now.since(before) > FORGOTTEN);
        assert!(fresh, "{:?} was ordered twice", order.flight);
        assert!((1..=FULL_TTL).contains(&order.ttl), "hop limit {}", order.ttl);
        self.packets += 1;
        self.traced += u64::from(order.ttl < FULL_TTL);
        let (probe, port) = match order.what {
            ProbePacket::Echo { .. } => (Probe::Echo, 0),
            ProbePacket::Syn { dest_port, .. } | ProbePacket::Connect { dest_port } => {
                (Probe::Syn, dest_port)
            }
            // Large packets and segments are asked beside the counted probes.
            ProbePacket::SizedEcho { .. }
            | ProbePacket::Segment { .. }
            | ProbePacket::Reset { .. } => return,
        };
        if order.ttl == FULL_TTL {
            let key = (vantage.to_owned(), order.to, probe, port);
            self.attempts.entry(key).or_default().push(now);
        }
    }

    /// Something was told: verdicts rest on evidence, incidents do not flap.
    pub(crate) fn told(&mut self, now: Instant, event: &Event) {
        match event {
            Event::Judged { report, .. } => {
                let verdict = &report.verdict;
                let claims = !matches!(verdict.class.as_str(), "reachable" | "unknown");
                assert!(
                    !claims || !verdict.evidence.is_empty(),
                    "{} rests on nothing",
                    verdict.class
                );
                assert!((0.0..=1.0).contains(&verdict.confidence), "{}", verdict.confidence);
                let total: f64 = verdict.causes.iter().map(|cause| cause.probability).sum();
                assert!(total <= 1.000_001, "causes sum to {total}");
                let details = verdict.evidence.iter().filter_map(|part| part.detail.as_ref());
                let notes = verdict.notes.iter().filter_map(|part| part.detail.as_ref());
                details.chain(notes).for_each(|detail| told_in_chinese(&detail.zh));
            }
            Event::Incident(update) => self.told_incident(now, update),
            Event::Bug { id } => panic!("a bug was told: {id}"),
            Event::VantageHealth { .. } | Event::Baseline { .. } => {}
        }
    }

    fn told_incident(&mut self, now: Instant, update: &IncidentUpdate) {
        let (open_after, close_after) = match &update.subject {
            Subject::Target(target) => (target.open_after, target.close_after),
            Subject::Vantage(_) | Subject::Group(_) => {
                (Duration::from_secs(10), Duration::from_secs(15))
            }
        };
        if let Some((state, version, since)) = self.incidents.get(&update.fingerprint) {
            assert!(update.version > *version, "versions grow: {update:?}");
            let lasted = now.since(*since);
            let removed = update
                .ended
                .is_some_and(|(_, why)| why == reachd_core::incident::Resolution::Removed);
            match (state, update.state) {
                (IncidentState::Firing, IncidentState::Resolved) if !removed => {
                    assert!(
                        lasted >= close_after.min(Duration::from_secs(15)),
                        "flapped shut: {update:?}"
                    );
                }
                (IncidentState::Resolved, IncidentState::Firing) => {
                    assert!(lasted >= open_after, "flapped open: {update:?}");
                }
                (IncidentState::Resolved, IncidentState::Resolved) => {
                    panic!("resolved twice: {update:?}");
                }
                (IncidentState::Pending | IncidentState::Firing, _)
                | (IncidentState::Resolved, IncidentState::Pending) => {}
            }
        }
        assert_eq!(update.ended.is_some(), update.state == IncidentState::Resolved);
        assert!(!update.summary.0.is_empty() && !update.next_step.0.is_empty());
        told_in_chinese(&update.summary.1);
        let since = match self.incidents.get(&update.fingerprint) {
            Some((state, _, since)) if *state == update.state => *since,
            Some(_) | None => now,
        };
        let known = (update.state, update.version, since);
        self.incidents.insert(update.fingerprint.clone(), known);
    }

    /// The books: every fate adds up, and every attempt is booked exactly once.
    pub fn check_books(&self, now: Instant, snapshot: &Snapshot) {
        assert!(snapshot.bugs.is_empty(), "bugs of ours: {:?}", snapshot.bugs);
        let mut shared: BTreeMap<&str, u32> = BTreeMap::new();
        for row in &snapshot.targets {
            *shared.entry(row.target.host.as_str()).or_default() += 1;
        }
        let hosts: BTreeMap<_, _> = snapshot
            .targets
            .iter()
            .filter(|row| shared.get(row.target.host.as_str()) == Some(&1))
            .map(|row| (&row.target.name, &*row.target))
            .collect();
        for row in snapshot.probes.iter() {
            let (counters, rtt) = row.numbers();
            assert!(counters.adds_up(), "{row:?}");
            assert!(rtt.count <= counters.received, "{row:?}");
            let Some(target) = hosts.get(&row.target) else { continue };
            let Ok(address) = target.host.parse() else { continue };
            // Other ports of the host are asked beside the counted one.
            let port = if row.probe == Probe::Echo { 0 } else { target.port };
            let key = (row.vantage.to_string(), address, row.probe, port);
            let Some(attempts) = self.attempts.get(&key) else { continue };
            let all = u64::try_from(attempts.len()).unwrap_or(u64::MAX);
            let due = attempts.iter().filter(|at| now.since(**at) > VERDICT_TIMER + STEP).count();
            let due = u64::try_from(due).unwrap_or(u64::MAX);
            let booked = counters.sent;
            assert!(
                (due..=all).contains(&booked),
                "{} {} from {}: {booked} booked, {due} due, {all} sent",
                row.target,
                row.probe.as_str(),
                row.vantage
            );
        }
    }
}
