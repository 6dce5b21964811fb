//! The sweep: every target watched all the time, at the price of a cache line.
//!
//! One row per (vantage, address, probe), in a slab; a timing wheel that says whose turn it is; a
//! token in every packet that leads its answer back to its row by index. Nothing is allocated and
//! no map is asked per probe. Probes come out in bursts ([`Sweep::poll_burst`]); packets and the
//! fates that sockets tell go in; what the rest of the house must know comes out as changes of
//! state ([`Sweep::poll_change`]), and the numbers are read by others while they grow ([`Cell`]).
//!
//! A probe has one fate: the target itself answered, or it did not, or our own side was at fault
//! and nothing is known. What comes after that is counted as late, duplicate or a new fact.

mod answer;
mod chart;
mod counting;
mod lane;
mod row;
mod tally;
mod token;
mod turn;
mod wheel;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::budget::{Budgets, Lease};
use crate::evidence::{Answer, AnswerKind, InvalidReason, Observation, Probe};
use crate::monitor::{Flight, ProbePacket, SendOrder};
use crate::plan::VERDICT_TIMER;
use crate::probe::FULL_TTL;
use crate::secret::Secret;
use crate::time::Instant;
use crate::vantage::VantageId;

pub use self::answer::Heard;
use self::answer::Lately;
pub use self::lane::LaneState;
use self::lane::Lanes;
use self::row::{Flag, Memory, Row};
pub use self::tally::Cell;
use self::tally::{PAGE, Page};
use self::token::Flow;
pub use self::token::{ROWS_MAX, SWEEP_PORT, Token};
use self::wheel::{Link, Linked, Wheel};

/// Probes that leave back to back at most: more were seen to drown responders and routers.
pub const BURST: usize = 64;
/// Turns that one call may take, so that the driver reads its rings in between.
const TURNS: usize = 1_024;
/// A freed slot rests this long, so that whoever still reads its numbers does not read another
/// row's.
const REST: Duration = Duration::from_secs(60);
/// Steps between wake-ups, by the probes a second above which they hold: fewer wake-ups cost less,
/// shorter steps make smaller bursts.
const STEPS: [(f64, Duration); 3] = [
    (20_000.0, Duration::from_millis(1)),
    (2_000.0, Duration::from_millis(5)),
    (0.0, Duration::from_millis(20)),
];
/// Upper bounds of the lateness classes: doubling from 0.25 ms.
const LATENESS_UNIT: Duration = Duration::from_micros(250);
/// Classes of lateness that are counted.
pub const LATENESS_CLASSES: usize = 16;

/// Bytes that a row takes, everything told.
pub const ROW_BYTES: usize = size_of::<Row>() + size_of::<Memory>() + tally::TALLY_BYTES;

/// A row of the sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowId(u32);

/// What a row asks.
#[derive(Debug, Clone, Copy)]
pub struct RowSpec {
    /// From where.
    pub vantage: VantageId,
    /// Whom.
    pub address: IpAddr,
    /// What; full connections and their first words are only counted here, not sent.
    pub probe: Probe,
    /// The TCP port; 0 for echoes.
    pub port: u16,
    /// Time between two probes.
    pub interval: Duration,
    /// The caller's number for what this row is about; it comes back with every change.
    pub owner: u32,
    /// What may be sent to the address.
    pub lease: Lease,
}

/// Something about a row that the rest of the house must know.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// Which row.
    pub row: RowId,
    /// The caller's number for it.
    pub owner: u32,
    /// What it asks.
    pub probe: Probe,
    /// What happened.
    pub what: What,
    /// The source port of the SYN that this is about, where it went unanswered.
    pub flow: Option<u16>,
}

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum What {
    /// The target left this many probes in a row unanswered; told for the first two.
    Missed(u8),
    /// The target answers again.
    Back,
    /// An answer of another kind than the usual one, or our own side failed.
    Surprise(Answer),
    /// A fact about a probe that had been given up.
    Fact(Observation),
    /// A chart says that part of the probes is lost.
    Loss {
        /// Probes lost.
        lost: u16,
        /// Probes whose fate is known, since all was well.
        sent: u16,
    },
}

impl What {
    /// What came back, if that is what is told.
    pub const fn answer(&self) -> Option<Answer> {
        match self {
            Self::Surprise(answer) => Some(*answer),
            Self::Fact(seen) => Some(seen.answer),
            Self::Missed(_) | Self::Back | Self::Loss { .. } => None,
        }
    }
}

/// How a row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Probes in a row that the target left unanswered, 255 at most.
    pub misses: u8,
    /// Whether the target ever answered it.
    pub ever: bool,
}

/// The slab's hot half, as the wheel sees it.
#[derive(Debug, Default)]
struct Rows(Vec<Row>);

impl Linked for Rows {
    fn link(&mut self, slot: u32) -> Option<&mut Link> {
        self.0.get_mut(usize::try_from(slot).ok()?).map(|row| &mut row.link)
    }
}

impl Rows {
    fn get(&self, slot: u32) -> Option<&Row> {
        self.0.get(usize::try_from(slot).ok()?)
    }

    fn get_mut(&mut self, slot: u32) -> Option<&mut Row> {
        self.0.get_mut(usize::try_from(slot).ok()?)
    }
}

/// All rows, and what they have in common.
#[derive(Debug)]
pub struct Sweep {
    secret: Secret,
    rows: Rows,
    memories: Vec<Memory>,
    pages: Vec<Arc<Page>>,
    leases: Vec<Lease>,
    free: VecDeque<(Instant, u32)>,
    wheel: Wheel,
    lanes: Lanes,
    changes: VecDeque<Change>,
    /// SYN-ACKs whose reset must be seen leaving by this moment.
    resets: VecDeque<(Instant, Token)>,
    /// Probes a second that the intervals make.
    rate: f64,
    live: usize,
    last_turn: Instant,
    /// Whether the last burst was full.
    is_behind: bool,
    held_until: Instant,
    lately: Lately,
    unmatched: u64,
    ordered: u64,
    lateness: Lateness,
}

/// How late probes are ordered.
#[derive(Debug, Default)]
struct Lateness {
    second: u64,
    worst: Duration,
    worst_before: Duration,
    classes: [u64; LATENESS_CLASSES],
}

impl Lateness {
    fn note(&mut self, now: Instant, late: Duration) {
        let second = now.as_nanos() / 1_000_000_000;
        if second != self.second {
            let is_next = second == self.second + 1;
            self.worst_before = if is_next { self.worst } else { Duration::ZERO };
            (self.second, self.worst) = (second, Duration::ZERO);
        }
        self.worst = self.worst.max(late);
        let units = late.as_nanos() / LATENESS_UNIT.as_nanos();
        let class = usize::try_from(u128::BITS - units.leading_zeros()).unwrap_or(usize::MAX);
        let class = class.min(LATENESS_CLASSES - 1);
        self.classes.get_mut(class).into_iter().for_each(|count| *count += 1);
    }
}

impl Sweep {
    /// Nothing to do yet; answers are proven by the secret.
    pub fn new(secret: Secret) -> Self {
        Self {
            secret,
            rows: Rows::default(),
            memories: Vec::new(),
            pages: Vec::new(),
            leases: Vec::new(),
            free: VecDeque::new(),
            wheel: Wheel::new(),
            lanes: Lanes::default(),
            changes: VecDeque::new(),
            resets: VecDeque::new(),
            rate: 0.0,
            live: 0,
            last_turn: Instant::ZERO,
            is_behind: false,
            held_until: Instant::ZERO,
            lately: Lately::default(),
            unmatched: 0,
            ordered: 0,
            lateness: Lateness::default(),
        }
    }

    /// Begins a row whose first probe is due at `first`; `None` when all slots are taken.
    pub fn add(&mut self, now: Instant, spec: RowSpec, first: Instant) -> Option<RowId> {
        let slot = self.take_slot(now)?;
        let row = self.rows.get_mut(slot)?;
        row.begin(spec.address, spec.probe);
        (row.port, row.lane, row.owner) = (spec.port, spec.vantage.0, spec.owner);
        row.interval_us = u32::try_from(spec.interval.as_micros()).unwrap_or(u32::MAX).max(1);
        row.set(Flag::Eager, true);
        // What has no interval of its own here is only counted.
        let is_sent = matches!(spec.probe, Probe::Echo | Probe::Syn);
        if is_sent {
            self.rate += 1.0 / row.interval().as_secs_f64();
            self.wheel.arm(&mut self.rows, slot, millis_up(first));
        }
        let index = usize::try_from(slot).ok()?;
        *self.memories.get_mut(index)? = Memory::default();
        *self.leases.get_mut(index)? = spec.lease;
        self.live += 1;
        Some(RowId(slot))
    }

    fn take_slot(&mut self, now: Instant) -> Option<u32> {
        let full = self.rows.0.len() >= ROWS_MAX;
        let rested = |(at, _): &&(Instant, u32)| full || now.since(*at) >= REST;
        if self.free.front().filter(rested).is_some() {
            let (_, slot) = self.free.pop_front()?;
            self.pages.get(usize::try_from(slot / PAGE).ok()?)?.clear(slot % PAGE);
            return Some(slot);
        }
        if full {
            return None;
        }
        let slot = u32::try_from(self.rows.0.len()).ok()?;
        self.rows.0.push(Row::FREE);
        self.memories.push(Memory::default());
        self.leases.push(Lease::NONE);
        if slot.is_multiple_of(PAGE) {
            self.pages.push(Page::new());
        }
        Some(slot)
    }

    /// Ends a row. Its numbers stay readable for a while, for whoever still holds its cell.
    pub fn remove(&mut self, now: Instant, row: RowId) {
        let Some(known) = self.live_row(row) else { return };
        known.set(Flag::Live, false);
        known.open = 0;
        let (probe, interval) = (known.probe(), known.interval());
        if matches!(probe, Probe::Echo | Probe::Syn) {
            self.rate = (self.rate - 1.0 / interval.as_secs_f64()).max(0.0);
        }
        self.wheel.disarm(&mut self.rows, row.0);
        self.free.push_back((now, row.0));
        self.live -= 1;
    }

    /// Changes a row's interval from now on.
    pub fn set_interval(&mut self, now: Instant, row: RowId, interval: Duration) {
        let Some(known) = self.live_row(row) else { return };
        let before = known.interval();
        known.interval_us = u32::try_from(interval.as_micros()).unwrap_or(u32::MAX).max(1);
        let (after, probe) = (known.interval(), known.probe());
        if before == after || !matches!(probe, Probe::Echo | Probe::Syn) {
            return;
        }
        self.rate = (self.rate + 1.0 / after.as_secs_f64() - 1.0 / before.as_secs_f64()).max(0.0);
        if !self.rows.get(row.0).is_some_and(|row| row.has(Flag::Eager)) {
            self.arm_next(now, row.0);
        }
    }

    /// Asks out of turn, at this moment, unless the next probe is due sooner anyway.
    pub fn hurry(&mut self, row: RowId, at: Instant) {
        let Some(known) = self.live_row(row) else { return };
        let slot = row.0;
        if known.has(Flag::Eager) || turn::due(known, slot) <= at {
            return;
        }
        known.set(Flag::Eager, true);
        self.wheel.arm(&mut self.rows, slot, millis_up(at));
    }

    /// Says what this row usually draws, so that anything else is a surprise; `None` while nothing
    /// is expected.
    pub fn set_usual(&mut self, row: RowId, usual: Option<AnswerKind>) {
        if let Some(row) = self.live_row(row) {
            row.set_usual(usual);
        }
    }

    /// The row's numbers, to be read at any time.
    pub fn cell(&self, row: RowId) -> Option<Cell> {
        Cell::of(&self.pages, row.0)
    }

    /// How the row stands.
    pub fn standing(&self, row: RowId) -> Standing {
        let row = self.rows.get(row.0);
        row.map_or(Standing { misses: 0, ever: false }, |row| Standing {
            misses: row.misses,
            ever: row.has(Flag::Ever),
        })
    }

    /// Rows in use.
    pub const fn len(&self) -> usize {
        self.live
    }

    /// Whether no row is in use.
    pub const fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Answers that found a row and did not prove to have seen its probe.
    pub const fn unmatched(&self) -> u64 {
        self.unmatched
    }

    /// What was heard last proved nothing here, but to another if `proven`.
    pub(crate) fn take_back_doubt(&mut self, proven: bool) {
        self.unmatched = self.unmatched.saturating_sub(u64::from(proven));
    }

    /// Probes ordered so far.
    pub const fn ordered(&self) -> u64 {
        self.ordered
    }

    /// How late the probes of this second and the one before it were ordered at worst.
    pub fn lateness(&self) -> Duration {
        self.lateness.worst.max(self.lateness.worst_before)
    }

    /// How many probes were late by less than 0.25 ms, 0.5 ms, 1 ms and so on, doubling.
    pub const fn lateness_classes(&self) -> [u64; LATENESS_CLASSES] {
        self.lateness.classes
    }

    /// Takes the next change of state.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// Appends the probes that are due, [`BURST`] at most in the whole burst, and gives up those
    /// whose time is over. Call it again while [`Self::next_wake`] is not later than now.
    pub fn poll_burst(&mut self, now: Instant, budgets: &mut Budgets, burst: &mut Vec<SendOrder>) {
        self.last_turn = now;
        self.is_behind = false;
        self.order_resets(now, burst);
        if now < self.held_until {
            return;
        }
        for _ in 0..TURNS {
            if burst.len() >= BURST {
                break;
            }
            let Some(taken) = self.wheel.pop(&mut self.rows, millis(now)) else { return };
            self.turn(now, taken, budgets, burst);
            if now < self.held_until {
                return;
            }
        }
        self.is_behind = true;
    }

    /// When [`Self::poll_burst`] has something to do next; `None` while nothing is planned.
    pub fn next_wake(&self) -> Option<Instant> {
        let step = STEPS.iter().find(|(above, _)| self.rate >= *above).map(|(_, step)| *step);
        let coarse = self.last_turn + step.unwrap_or_default();
        let turn = self.wheel.next().map(|at| {
            let at = Instant::from_start(Duration::from_millis(at));
            let at = if self.is_behind { at } else { at.max(coarse) };
            at.max(self.held_until)
        });
        let reset = self.resets.front().map(|(at, _)| (*at).max(coarse));
        turn.into_iter().chain(reset).min()
    }

    /// Writes a row's next probe.
    fn order(&mut self, now: Instant, slot: u32) -> Option<SendOrder> {
        self.note_reset_failure(slot);
        let (row, memory) = self.at_mut(slot)?;
        row.advance(memory, now);
        let token = Token::new(slot, row.generation);
        let (to, port, probe, lane) = (row.address(), row.port, row.probe(), row.lane);
        let (ip_id, what) = match probe {
            Probe::Syn if self.lanes.get(lane).connects(now) => {
                (1, ProbePacket::Connect { dest_port: port })
            }
            Probe::Syn => {
                let marks = Flow::to(&self.secret, to, port).marks(token);
                let (source_port, seq) = (marks.source_port, marks.isn);
                let timestamp = None;
                (marks.ip_id, ProbePacket::Syn { source_port, dest_port: port, seq, timestamp })
            }
            Probe::Echo | Probe::Connect | Probe::X224 | Probe::Tls | Probe::Ntlm => {
                let marks = token::echo_marks(&self.secret, to, token);
                let (id, seq) = token.to_echo();
                let mut payload = [0; 24];
                payload.first_chunk_mut::<8>().into_iter().for_each(|proof| *proof = marks.proof);
                (marks.ip_id, ProbePacket::Echo { id, seq, payload })
            }
        };
        self.ordered += 1;
        let flight = Flight::Sweep(token);
        Some(SendOrder { flight, vantage: VantageId(lane), to, ttl: FULL_TTL, ip_id, what })
    }

    /// Gives up the probes of a row whose time is over.
    fn expire(&mut self, now: Instant, slot: u32) {
        loop {
            let Some((row, memory)) = self.at(slot) else { return };
            let Some(age) = row.oldest_open() else { return };
            let Some(ordered) = row.ordered(memory, age, now) else { return };
            if ordered + VERDICT_TIMER > now {
                return;
            }
            let left = row.left(memory, age, now).is_some();
            let lane = self.lanes.get(row.lane);
            let excuse = self.lanes.excuse(lane, (ordered, now), left);
            let answer = excuse.map_or(Answer::Silence, Answer::Invalid);
            let seen = Observation { answer, sent: None, arrived: None };
            self.settle_open(slot, age, seen, 0);
        }
    }

    /// Takes the one fate of a probe that was awaited.
    fn settle_open(&mut self, slot: u32, age: u32, seen: Observation, interface: u32) {
        let Some(row) = self.rows.get(slot) else { return };
        let believed = self.lanes.get(row.lane).is_believed();
        let own_fault = matches!(seen.answer, Answer::Invalid(_));
        let answer = if believed || own_fault || seen.answer.is_from_target() {
            seen.answer
        } else {
            Answer::Invalid(InvalidReason::Canary)
        };
        let from_target = answer.is_from_target();
        let Some((row, memory)) = self.at_mut(slot) else { return };
        let was_full = row.is_full();
        row.open &= !(1 << age);
        memory.set_unheard(age, !from_target);
        if age == 0 {
            row.set_drawn(Some(answer.kind()));
        }
        if from_target && age == 0 {
            row.set(Flag::Answered, true);
            row.stamp = seen.arrived.map_or(row.ordered, |stamp| stamp.at.as_nanos());
            row.interface = interface.to_le_bytes()[0];
        }
        if let Some(ttl) = answer.ttl() {
            row.ttl = ttl;
        }
        let surprise = row.usual().is_some_and(|usual| usual != answer.kind());
        let rtt = if from_target { seen.rtt() } else { None };
        self.count(slot, &answer, rtt);
        // A full row waits for a verdict; with room again it may go on as its interval says.
        if was_full && let Some(arrived) = seen.arrived {
            self.arm_next(arrived.at, slot);
        }
        if surprise {
            let flow = (answer == Answer::Silence).then(|| self.flow_of(slot, age)).flatten();
            self.tell(slot, What::Surprise(answer));
            self.changes.back_mut().into_iter().for_each(|change| change.flow = flow);
        }
    }

    fn tell(&mut self, slot: u32, what: What) {
        if let Some(row) = self.rows.get(slot) {
            let (owner, probe) = (row.owner, row.probe());
            self.changes.push_back(Change { row: RowId(slot), owner, probe, what, flow: None });
        }
    }

    /// The source port that the SYN of this age left with.
    fn flow_of(&self, slot: u32, age: u32) -> Option<u16> {
        let row = self.rows.get(slot).filter(|row| row.probe() == Probe::Syn)?;
        let token = Token::new(slot, row.generation.wrapping_sub(u16::try_from(age).ok()?));
        Some(Flow::to(&self.secret, row.address(), row.port).source_port(token))
    }

    fn live_row(&mut self, row: RowId) -> Option<&mut Row> {
        self.rows.get_mut(row.0).filter(|row| row.has(Flag::Live))
    }

    fn at(&self, slot: u32) -> Option<(&Row, &Memory)> {
        let index = usize::try_from(slot).ok()?;
        self.rows.0.get(index).zip(self.memories.get(index))
    }

    fn at_mut(&mut self, slot: u32) -> Option<(&mut Row, &mut Memory)> {
        let index = usize::try_from(slot).ok()?;
        self.rows.0.get_mut(index).zip(self.memories.get_mut(index))
    }

    fn page(&self, slot: u32) -> Option<(&Page, u32)> {
        let page = self.pages.get(usize::try_from(slot / PAGE).ok()?)?;
        Some((page.as_ref(), slot % PAGE))
    }
}

const fn millis(at: Instant) -> u64 {
    at.as_nanos() / 1_000_000
}

const fn millis_up(at: Instant) -> u64 {
    at.as_nanos().div_ceil(1_000_000)
}

#[cfg(test)]
mod tests;
