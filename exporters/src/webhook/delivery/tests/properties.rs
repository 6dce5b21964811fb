use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::*;

/// What the world does to a queue whose rows are on a disk.
#[derive(Debug, Clone)]
enum Step {
    /// An incident opens, changes or is over.
    Commit {
        incident: u8,
        changes: bool,
    },
    Pass(u16),
    Answer(u8),
    /// The receiver takes nothing for so many seconds.
    Outage(u16),
    /// What became of messages is written down.
    Flush,
    Restart {
        clock: i32,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_u8, any::<bool>())
            .prop_map(|(incident, changes)| Step::Commit { incident, changes }),
        3 => (0..400_u16).prop_map(Step::Pass),
        6 => any::<u8>().prop_map(Step::Answer),
        2 => (0..1_000_u16).prop_map(Step::Outage),
        3 => Just(Step::Flush),
        1 => (-YEAR..=YEAR).prop_map(|clock| Step::Restart { clock }),
    ]
}

/// A year in seconds.
const YEAR: i32 = 365 * 86_400;

fn policy() -> impl Strategy<Value = Backlog> {
    prop_oneof![Just(Backlog::All), Just(Backlog::Coalesce), Just(Backlog::Digest)]
}

/// A queue, its rows, and what its receiver has seen.
struct World {
    backlog: Backlog,
    queue: Delivery,
    now: u64,
    rows: BTreeMap<MessageId, (bool, Option<&'static str>)>,
    /// Rows that a digest is to tell, not yet written down; and what each digest tells.
    digested: Vec<MessageId>,
    digests: BTreeMap<String, Vec<MessageId>>,
    flying: Vec<MessageId>,
    seen: BTreeMap<String, Vec<u64>>,
    /// The newest version that the receiver heard of each incident, and whether it fires.
    view: BTreeMap<String, (u64, bool)>,
}

impl World {
    fn new(backlog: Backlog) -> Self {
        let queue = Delivery::new(Limits { backlog, ..Limits::default() }, 3);
        let (rows, flying) = (BTreeMap::new(), Vec::new());
        let (digested, digests) = (Vec::new(), BTreeMap::new());
        let (seen, view) = (BTreeMap::new(), BTreeMap::new());
        Self { backlog, queue, now: 0, rows, digested, digests, flying, seen, view }
    }

    fn commit(&mut self, incident: u8, changes: bool, version: u64) {
        let name = format!("i{incident}");
        let last = self.rows.range(id(&name, 0)..=id(&name, u64::MAX)).next_back();
        let fires = last.is_some_and(|(_, (resolved, _))| !resolved);
        let resolved = fires && !changes;
        self.rows.insert(id(&name, version), (resolved, None));
        self.queue.offer(at(self.now), message(&name, version, resolved));
        self.write_back();
    }

    fn mark(&mut self, id: &MessageId, word: &'static str) {
        let row = self.rows.get_mut(id).expect("every message was committed");
        assert_eq!(row.1, None, "{id} is settled twice");
        row.1 = Some(word);
    }

    fn write_back(&mut self) {
        for change in self.queue.take_changes() {
            match change {
                Change::Delivered(id, _) => self.mark(&id, "delivered"),
                Change::Dead(id, _) => self.mark(&id, "dead"),
                Change::Superseded(id) => self.mark(&id, "superseded"),
                Change::Digested(id) => self.digested.push(id),
                Change::Queued(_) | Change::Retried(..) | Change::Disabled => {}
            }
        }
    }

    /// One transaction: the rows are superseded and their digest is owed.
    fn flush(&mut self) {
        let told = std::mem::take(&mut self.digested);
        if told.is_empty() {
            return;
        }
        for id in &told {
            self.mark(id, "superseded");
            self.queue.settle_summed(id);
        }
        let name = format!("digest-{}", self.digests.len());
        self.digests.insert(name.clone(), told);
        self.rows.insert(id(&name, 1), (true, None));
        self.queue.restore(at(self.now), owed(&name, 1, true));
        self.write_back();
    }

    fn send(&mut self) {
        while let Next::Send(message) = self.queue.poll(at(self.now)) {
            self.flying.push(message.id);
        }
        self.write_back();
    }

    /// The receiver understands a message by its version, whatever its place.
    fn hear(&mut self, heard: &MessageId) {
        let told = match self.digests.get(&heard.fingerprint) {
            Some(told) => told.clone(),
            None => {
                self.seen.entry(heard.fingerprint.clone()).or_default().push(heard.version);
                vec![heard.clone()]
            }
        };
        for id in told {
            let fires = !self.rows[&id].0;
            let known = self.view.entry(id.fingerprint).or_insert((0, false));
            *known = (*known).max((id.version, fires));
        }
    }

    fn settle(&mut self, id: &MessageId, outcome: &Outcome) {
        if *outcome == Outcome::Accepted {
            self.hear(id);
        }
        self.queue.settle(at(self.now), id, outcome);
        self.write_back();
    }

    fn answer(&mut self, dice: u8) {
        if self.flying.is_empty() {
            return;
        }
        let id = self.flying.remove(usize::from(dice) % self.flying.len());
        let outcome = match dice % 8 {
            0..4 => Outcome::Accepted,
            4 => refused(),
            5 => fail(Some(u64::from(dice))),
            _ => fail(None),
        };
        self.settle(&id, &outcome);
    }

    fn outage(&mut self, seconds: u16) {
        for _ in 0..seconds {
            self.now += 1;
            self.send();
            for id in std::mem::take(&mut self.flying) {
                self.settle(&id, &fail(None));
            }
        }
    }

    /// A kill and a start: what was in flight may have arrived; what was not written down is owed.
    fn restart(&mut self, clock: i32) {
        for id in std::mem::take(&mut self.flying).into_iter().step_by(2) {
            self.hear(&id);
        }
        self.digested.clear();
        let seed = u64::from(clock.unsigned_abs());
        let limits = Limits { backlog: self.backlog, ..Limits::default() };
        self.queue = Delivery::new(limits, seed);
        let span = Duration::from_secs(seed);
        for (row, (resolved, state)) in &self.rows {
            let newer = self.rows.range(row..=&id(&row.fingerprint, u64::MAX)).nth(1);
            match state {
                Some(_) if newer.is_some() => {}
                Some(_) => self.queue.remember(row, *resolved),
                None => {
                    let restored = owed(&row.fingerprint, row.version, *resolved);
                    let age = if clock > 0 { span } else { Duration::ZERO };
                    let wait = if clock < 0 { span } else { Duration::ZERO };
                    self.queue.restore(at(self.now), Owed { age, wait, attempts: 1, ..restored });
                }
            }
        }
        self.write_back();
    }

    fn finish(&mut self) {
        for _ in 0..10_000 {
            self.now += 1;
            self.flush();
            self.send();
            for id in std::mem::take(&mut self.flying) {
                self.settle(&id, &Outcome::Accepted);
            }
            if self.queue.queued() == 0 && self.digested.is_empty() {
                return;
            }
        }
        panic!("never drained");
    }

    /// Whether a digest that told of it is a dead letter.
    fn died_in_digest(&self, row: &MessageId) -> bool {
        let dead = |name: &str| self.rows[&id(name, 1)].1 == Some("dead");
        self.digests.iter().any(|(name, told)| told.contains(row) && dead(name))
    }

    /// The invariants of delivery, by their names in the public contract.
    fn check(&self) -> Result<(), TestCaseError> {
        for (id, (_, state)) in &self.rows {
            prop_assert!(state.is_some(), "I1: {} is neither told, dead nor superseded", id);
        }
        for (incident, versions) in &self.seen {
            prop_assert!(versions.is_sorted(), "I2: {}: {:?}", incident, versions);
            for version in versions {
                let resolved = self.rows[&id(incident, *version)].0;
                let before = self.rows.range(id(incident, 0)..id(incident, *version));
                let opened = before.filter(|(_, (resolved, _))| !resolved).count() > 0;
                prop_assert!(!resolved || opened, "I3: {} is over and never began", incident);
            }
        }
        for (row, (resolved, state)) in &self.rows {
            let newest = self.rows.range(row..=&id(&row.fingerprint, u64::MAX)).nth(1).is_none();
            if !newest || !row.is_incident() || *state == Some("dead") || self.died_in_digest(row) {
                continue;
            }
            let known = self.view.get(&row.fingerprint).copied();
            let expected = Some((row.version, !resolved));
            prop_assert_eq!(known, expected, "I4: what the receiver knows of {}", row);
        }
        Ok(())
    }
}

fn id(fingerprint: &str, version: u64) -> MessageId {
    MessageId { fingerprint: fingerprint.to_owned(), version }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_committed_step_is_settled_in_order_and_understood(
        backlog in policy(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut world = World::new(backlog);
        for (index, step) in steps.into_iter().enumerate() {
            match step {
                Step::Commit { incident, changes } => {
                    world.commit(incident, changes, index as u64 + 1);
                }
                Step::Pass(seconds) => world.now += u64::from(seconds),
                Step::Answer(dice) => world.answer(dice),
                Step::Outage(seconds) => world.outage(seconds),
                Step::Flush => world.flush(),
                Step::Restart { clock } => world.restart(clock),
            }
            world.send();
        }
        world.finish();
        world.check()?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// A lane whose receiver answers 4xx to all of it holds up itself alone: the others are told in
    /// the second in which they have something to say.
    #[test]
    fn a_refused_incident_holds_up_nobody_else(
        steps in prop::collection::vec((0..5_u8, any::<bool>(), 1..90_u16), 1..60),
    ) {
        let mut queue = Delivery::new(Limits::default(), 5);
        let (mut now, mut tried) = (0, Vec::new());
        for (index, (incident, resolved, pause)) in steps.into_iter().enumerate() {
            queue.offer(at(now), message(&format!("i{incident}"), index as u64 + 1, resolved));
            for _ in 0..pause {
                while let Next::Send(message) = queue.poll(at(now)) {
                    let poison = message.id.fingerprint == "i0";
                    let outcome = if poison { refused() } else { Outcome::Accepted };
                    tried.extend(poison.then_some((now, message.late.attempts)));
                    queue.settle(at(now), &message.id, &outcome);
                }
                let poisoned = queue.lanes.get("i0").map_or(0, Lane::queued);
                prop_assert_eq!(queue.queued(), poisoned, "somebody else waits at {}", now);
                now += 1;
            }
        }
        for pair in tried.windows(2) {
            let ((before, _), (after, attempts)) = (pair[0], pair[1]);
            let least = if attempts <= 1 { 30 } else { 150 };
            prop_assert!(after - before >= least, "{:?}", pair);
        }
    }
}
