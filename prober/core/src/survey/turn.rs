//! A fault that came while a survey looked.
//!
//! All answers came before all misses, more of both than chance would order so: half of what was
//! seen is of before. Counted together they look like a loss; what stands is what was seen since.
//! A guard that bans whoever asks too often looks so, and then it is the look that brought it about.

use std::time::Duration;

use super::findings::Findings;
use crate::accounting::Counters;
use crate::evidence::{AnswerKind, ConnectReport, ConnectResult};
use crate::path::{Path, PathEnd};
use crate::probe::series::Tally;
use crate::statistics::real;

/// A silence that has lasted for less may be a burst of loss.
const LASTED: Duration = Duration::from_secs(3);
/// So rarely may chance order answers and misses like this.
const BY_CHANCE: f64 = 0.01;

/// What an address answered until it fell silent, and what it did not since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Probes answered before.
    pub answered: u64,
    /// Whether a full connection was made before.
    pub connected: bool,
    /// Probes that were not answered since.
    pub missed: u64,
}

impl Findings {
    /// The moment within this survey from which on nothing at all was answered, if there is one.
    pub fn fell_silent(&self) -> Option<Turn> {
        let tallies = || [Some(&self.echo), self.syn.as_ref()].into_iter().flatten();
        let asked = || tallies().filter(|tally| tally.valid() > 0);
        let lasted = tallies().filter_map(Tally::missed_for).max()? >= LASTED;
        if !lasted || !asked().all(ends_silent) {
            return None;
        }
        // A connection begins with the survey; one that was answered and then could not be made
        // again proves that SYN and request passed.
        let answered = self.connection_before.as_ref().is_some_and(|said| !said.is_missing());
        let connected = answered && self.connect.as_ref().is_some_and(is_lost);
        let made = if connected { 2 } else { 0 };
        let beside = |tally: &Tally| if Some(tally) == self.syn.as_ref() { made } else { 0 };
        let chance =
            asked().map(|tally| by_chance(tally.received() + beside(tally), missed(tally)));
        let chance: f64 = chance.product();
        let sum = |of: fn(&Tally) -> u64| asked().map(of).sum();
        let turn = Turn { answered: sum(Tally::received), connected, missed: sum(missed) };
        (turn.answered + made > 0 && chance < BY_CHANCE).then_some(turn)
    }

    /// What was found since that moment, or all of it where there is none.
    pub(super) fn as_it_stands(&self) -> Option<Self> {
        self.fell_silent()?;
        // A connection that was made, a path that was walked to its end and large packets that
        // returned are of before; what failed or stopped may be of either.
        let connected = |result: &ConnectResult| {
            matches!(result, ConnectResult::Connected | ConnectResult::Refused)
        };
        let arrived = |path: &Path| matches!(path.end, PathEnd::Reached(_));
        let is_open = |path: &Path| !arrived(path);
        Some(Self {
            echo: since(&self.echo),
            syn: self.syn.as_ref().map(since),
            connection_before: None,
            connect: self.connect.clone().filter(|report| !connected(&report.result)),
            overheard: None,
            rdp: None,
            icmp_path: self.icmp_path.clone().filter(is_open),
            tcp_path: self.tcp_path.clone().filter(is_open),
            flows: None,
            large: None,
            rates: None,
            ..self.clone()
        })
    }
}

fn is_lost(report: &ConnectReport) -> bool {
    matches!(report.result, ConnectResult::TimedOut | ConnectResult::Icmp(_))
}

fn missed(tally: &Tally) -> u64 {
    tally.valid().saturating_sub(tally.received())
}

/// Whether nothing was answered behind the first miss. What was not numbered has no order.
fn ends_silent(tally: &Tally) -> bool {
    let [answered, missed] = tally.numbered;
    let sorted = match (tally.answered, tally.missed) {
        (Some((_, last)), Some((first, _))) => last < first,
        (None, Some(_)) => true,
        (_, None) => false,
    };
    sorted && missed > 0 && answered == tally.received()
}

/// How probably so many answers come first of all, if any order is as probable as any other.
fn by_chance(answered: u64, missed: u64) -> f64 {
    (1..=missed).map(|n| real(n) / real(answered + n)).product()
}

/// The same tally without its answers.
fn since(tally: &Tally) -> Tally {
    let own = [AnswerKind::EchoReply, AnswerKind::SynAck, AnswerKind::Reset];
    let mut kinds = tally.kinds.clone();
    kinds.retain(|kind, _| !own.contains(kind));
    let counters = Counters {
        sent: tally.counters.sent.saturating_sub(tally.received()),
        received: 0,
        ..tally.counters.clone()
    };
    Tally {
        counters,
        kinds,
        errors: tally.errors.clone(),
        gave_up: tally.gave_up,
        missed: tally.missed,
        numbered: [0, missed(tally)],
        missed_between: tally.missed_between,
        ..Tally::default()
    }
}

#[cfg(test)]
mod tests;
