//! A flow sweep: the same TCP flows again and again, to find a part of them that never arrives.
//!
//! Routers spread flows over equal paths by addresses and ports. When one of those paths is dead,
//! its flows fail for ever and all others never, while loss by chance strikes every flow alike.
//! One answer of each flow cannot tell the two apart; repeated ones can.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::{Ask, Engine, FULL_TTL, Question};
use crate::evidence::{AnswerKind, Observation};
use crate::statistics::real;
use crate::time::Instant;

/// Flows asked again in one sweep: what finds one dead path of two with 99 % (0.5 to the 7th).
pub const FLOWS: usize = 7;
/// Of these at most so many are flows that went unanswered: the others are the control.
const UNANSWERED_MAX: usize = 4;
/// Flows of earlier sweeps that are remembered at most.
const KNOWN_MAX: usize = 4 * FLOWS;
/// How often each of them is asked again.
const ROUNDS: u64 = 2;
/// Between two SYNs of a round, and between the beginnings of two rounds: a bad spell of a second
/// must not strike one flow twice and spare the others.
const GAP: Duration = Duration::from_millis(200);
const ROUND: Duration = Duration::from_millis(2_200);

/// Shares of dead paths that are thought of.
const DEAD_SHARES: [f64; 7] = [3.0 / 4.0, 2.0 / 3.0, 1.0 / 2.0, 1.0 / 3.0, 0.25, 0.125, 0.0625];
/// How probable an answer over a dead path is, and a loss over a living one.
const STRAY: f64 = 0.001;
const BACKGROUND: f64 = 0.01;

/// Odds from which flows count as split: by chance they come up once in 300 surveys at most.
const SPLIT: f64 = 300.0;
/// How much higher they must be where echoes are partly lost. Not more: they may have met a limit
/// of their own.
const MIXED_BESIDE: f64 = 30.0;
/// Odds of a dead path below which flows count as mixed.
const MIXED: f64 = 0.05;

/// What became of the SYNs of one flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlowFate {
    /// How many were answered.
    pub answered: u32,
    /// How many were not.
    pub lost: u32,
}

impl FlowFate {
    /// Adds the fate of one more SYN; what was our own fault says nothing. Who still holds an older
    /// handshake of the flow answers with a bare acknowledgement, and has heard us.
    pub const fn note(&mut self, kind: AnswerKind) {
        match kind {
            AnswerKind::SynAck | AnswerKind::Reset | AnswerKind::ChallengeAck => self.answered += 1,
            AnswerKind::Silence => self.lost += 1,
            AnswerKind::EchoReply
            | AnswerKind::BareReset
            | AnswerKind::Icmp(_)
            | AnswerKind::Invalid => {}
        }
    }

    /// Whether it was asked more than once.
    const fn is_repeated(self) -> bool {
        self.answered + self.lost >= 2
    }

    /// Whether it was asked more than once and never answered.
    pub const fn is_dead(self) -> bool {
        self.answered == 0 && self.lost >= 2
    }

    /// Whether it was asked more than once and always answered.
    pub const fn is_alive(self) -> bool {
        self.lost == 0 && self.answered >= 2
    }
}

/// The fates of all flows of a survey, by source port.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FlowFates(pub BTreeMap<u16, FlowFate>);

impl FlowFates {
    /// Source ports of flows that never answer, the most often asked first.
    pub fn dead(&self) -> Vec<u16> {
        let mut dead: Vec<_> = self.0.iter().filter(|(_, fate)| fate.is_dead()).collect();
        dead.sort_by_key(|(port, fate)| (std::cmp::Reverse(fate.lost), **port));
        dead.into_iter().map(|(port, _)| *port).collect()
    }

    /// Adds the fates of flows that another sweep asked again.
    pub fn add_repeated(&mut self, others: &Self) {
        let repeated = others.0.iter().filter(|(_, fate)| fate.is_repeated());
        for (port, other) in repeated.take(KNOWN_MAX) {
            let fate = self.0.entry(*port).or_default();
            fate.answered += other.answered;
            fate.lost += other.lost;
        }
    }

    /// How many flows always answer.
    pub fn alive(&self) -> usize {
        self.0.values().filter(|fate| fate.is_alive()).count()
    }

    /// How many flows were asked more than once.
    pub fn repeated(&self) -> usize {
        self.0.values().filter(|fate| fate.is_repeated()).count()
    }

    /// Whether they tell of a dead path: some never answer, some always do, and the odds against
    /// chance are high.
    ///
    /// Where the flow of the echoes loses a part, something loses by chance, and the odds must be
    /// higher.
    pub fn is_split(&self, echoes_mixed: bool) -> bool {
        let least = if echoes_mixed { SPLIT * MIXED_BESIDE } else { SPLIT };
        let split = self.odds_of_dead_path().is_some_and(|odds| odds >= least);
        split && self.is_divided()
    }

    /// Whether some never answer and some always do.
    fn is_divided(&self) -> bool {
        self.alive() > 0 && self.0.values().any(|fate| fate.is_dead())
    }

    /// Source ports of flows which, asked once more, may settle what the odds leave open: those
    /// that never answer and those that always do. Empty where nothing is open.
    pub fn undecided(&self, echoes_mixed: bool) -> Vec<u16> {
        let open = !self.is_split(echoes_mixed) && !self.is_mixed() && self.is_divided();
        let alive: Vec<_> = self.0.iter().filter(|(_, fate)| fate.is_alive()).collect();
        let dead = self.dead().into_iter().take(UNANSWERED_MAX.max(FLOWS - alive.len().min(FLOWS)));
        let alive = alive.into_iter().map(|(port, _)| *port);
        if open { dead.chain(alive).take(FLOWS).collect() } else { Vec::new() }
    }

    /// Whether they tell of loss by chance: all flows fare alike.
    pub fn is_mixed(&self) -> bool {
        self.repeated() > 0 && self.odds_of_dead_path().is_some_and(|odds| odds <= MIXED)
    }

    /// How much more probable these fates are when one of several paths is dead than when packets
    /// are lost by chance: above 1 speaks for a dead path. `None` while nothing was lost.
    ///
    /// Both sides are averaged over what is not known: the share of dead paths over three of four,
    /// two of three and one of 2, 3, 4, 8 and 16, the ratio of loss over everything from 0 to 1.
    /// Under loss by chance a ratio of `k` comes up at most once in `k` surveys (Ville's
    /// inequality), however flows are chosen and whenever the asking ends.
    pub fn odds_of_dead_path(&self) -> Option<f64> {
        let total = |count: fn(&FlowFate) -> u32| -> u64 {
            self.0.values().map(|fate| u64::from(count(fate))).sum()
        };
        let (lost, answered) = (total(|fate| fate.lost), total(|fate| fate.answered));
        if lost == 0 {
            return None;
        }
        let with = |share| self.0.values().map(|fate| fate.log_given(share)).sum::<f64>();
        let logs = DEAD_SHARES.map(with);
        let peak = logs.into_iter().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logs.iter().map(|log| (log - peak).exp()).sum();
        let count = f64::from(u32::try_from(DEAD_SHARES.len()).unwrap_or(1));
        let dead_path = peak + (sum / count).ln();
        Some((dead_path - log_by_chance(lost, answered)).exp())
    }
}

impl FlowFate {
    /// The logarithm of how probable it is when this share of the flows is dead.
    fn log_given(self, share: f64) -> f64 {
        let (answered, lost) = (f64::from(self.answered), f64::from(self.lost));
        let dead = answered * STRAY.ln() + lost * (1.0 - STRAY).ln();
        let alive = answered * (1.0 - BACKGROUND).ln() + lost * BACKGROUND.ln();
        (share * dead.exp() + (1.0 - share) * alive.exp()).ln()
    }
}

/// The logarithm of how probable one order of so many losses and answers is by chance, whatever the
/// ratio: the beta function of both counts plus one.
pub(crate) fn log_by_chance(lost: u64, answered: u64) -> f64 {
    let of = |count: u64| (1..=count).map(|n| real(n).ln()).sum::<f64>();
    of(lost) + of(answered) - of(lost + answered + 1)
}

/// A flow sweep in progress.
#[derive(Debug)]
pub struct Flows {
    port: u16,
    due: VecDeque<(Instant, u16)>,
    outstanding: BTreeMap<u16, (u16, Instant)>,
    fates: FlowFates,
    next_id: u16,
    swept: bool,
    asked_once_more: bool,
}

impl Flows {
    /// A sweep that asks the flows of these source ports once: they never answered before.
    pub fn new(port: u16, now: Instant, unanswered: &[u16]) -> Self {
        let due = unanswered.iter().zip(0_u32..).map(|(source, at)| (now + GAP * at, *source));
        Self {
            port,
            due: due.collect(),
            outstanding: BTreeMap::new(),
            fates: FlowFates::default(),
            next_id: 0,
            swept: false,
            asked_once_more: false,
        }
    }

    /// Asks flows again, round by round, whose first SYNs were or seem unanswered, and answered
    /// ones beside them.
    pub fn sweep(&mut self, now: Instant, unanswered: &BTreeSet<u16>, answered: &BTreeSet<u16>) {
        self.swept = true;
        let few = UNANSWERED_MAX.max(FLOWS.saturating_sub(answered.len()));
        let chosen = unanswered.iter().take(few);
        let chosen: Vec<u16> = chosen.chain(answered).take(FLOWS).copied().collect();
        let start = now + GAP;
        for round in 0..ROUNDS {
            let from = start + ROUND.mul_f64(real(round));
            let times = (0_u32..).map(|at| from + GAP * at);
            self.due.extend(times.zip(chosen.iter().copied()));
        }
    }

    /// Asks these flows one more time, of which the rounds before left something open.
    pub fn ask_once_more(&mut self, now: Instant, flows: &[u16]) {
        self.asked_once_more = true;
        let times = (0_u32..).map(|at| now + GAP * at);
        self.due.extend(times.zip(flows.iter().copied()));
    }

    /// Whether the rounds of a sweep were sent and nothing was asked after them.
    pub fn may_ask_once_more(&self) -> bool {
        self.swept && !self.asked_once_more && self.due.is_empty()
    }

    /// Whether any SYN went unanswered.
    pub fn lost_any(&self) -> bool {
        self.fates.0.values().any(|fate| fate.lost > 0)
    }

    /// Whether flows were asked again.
    pub const fn has_swept(&self) -> bool {
        self.swept
    }

    /// What became of the flows so far.
    pub const fn fates(&self) -> &FlowFates {
        &self.fates
    }

    /// Whether every SYN planned so far was sent.
    pub fn all_sent(&self) -> bool {
        self.due.is_empty()
    }

    /// How many SYNs have no fate yet.
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// Source ports of the SYNs that were asked before this moment and have no fate yet.
    pub fn overdue(&self, before: Instant) -> impl Iterator<Item = u16> {
        let late = self.outstanding.values().filter(move |(_, asked)| *asked < before);
        late.map(|(source, _)| *source)
    }
}

impl Engine for Flows {
    fn poll_ask(&mut self, now: Instant) -> Option<Ask> {
        let (at, source_port) = *self.due.front()?;
        if at > now {
            return None;
        }
        self.due.pop_front();
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        self.outstanding.insert(id, (source_port, now));
        let what = Question::SameFlow { port: self.port, source_port };
        Some(Ask { id, what, ttl: FULL_TTL })
    }

    fn handle_observation(&mut self, _now: Instant, ask: u16, observation: &Observation) {
        if let Some((source_port, _)) = self.outstanding.remove(&ask) {
            self.fates.0.entry(source_port).or_default().note(observation.answer.kind());
        }
    }

    fn handle_afterthought(&mut self, _now: Instant, _ask: u16, _observation: &Observation) {}

    fn poll_timeout(&self) -> Option<Instant> {
        self.due.front().map(|(at, _)| *at)
    }

    fn is_done(&self) -> bool {
        self.due.is_empty() && self.outstanding.is_empty()
    }

    fn planned(&self) -> usize {
        self.due.len()
    }
}

#[cfg(test)]
mod tests;
