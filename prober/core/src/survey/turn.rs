//! A fault that came while a survey looked.
//!
//! All answers came before all misses, more of both than chance would order so: half of what was
//! seen is of before. Counted together they look like a loss; what stands is what was seen since.
//! A guard that bans whoever asks too often looks so, and then it is the look that brought it
//! about.

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

/// So many refusals, and what chance of their order is enough then.
const REFUSED: usize = 3;
const REFUSED_BY_CHANCE: f64 = 0.1;
/// A service that answered within this time answered at once.
const AT_ONCE: Duration = Duration::from_secs(1);
/// The same of SYNs alone, of which a loss may take nearly all.
const SYNS_BY_CHANCE: f64 = 0.005;

/// How an address fared until a moment within a survey, and what it did from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// What it did from then on.
    pub since: Since,
    /// Probes answered before; SYNs alone where only those turned.
    pub answered: u64,
    /// Whether a full connection was made before and could not be made again.
    pub connected: bool,
    /// Probes that were not answered since, or that were reset.
    pub missed: u64,
}

/// What an address does from a moment on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// It answers nothing.
    Silent,
    /// It answers echoes, and no SYN.
    PortSilent,
    /// It resets SYNs, which it accepted before.
    PortReset,
}

impl Findings {
    /// The moment within this survey from which on the address, or its port, fared otherwise for
    /// good, if there is one.
    pub fn turn(&self) -> Option<Turn> {
        self.fell_silent().or_else(|| self.port_fell_silent()).or_else(|| self.port_closed())
    }

    /// Nothing at all was answered from some moment on.
    fn fell_silent(&self) -> Option<Turn> {
        let tallies = || [Some(&self.echo), self.syn.as_ref()].into_iter().flatten();
        let asked = || tallies().filter(|tally| tally.valid() > 0);
        if !asked().any(has_lasted) || !asked().all(ends_silent) {
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
        let (answered, missed) = (sum(Tally::received), sum(missed));
        let turned = answered + made > 0 && chance < BY_CHANCE;
        turned.then_some(Turn { since: Since::Silent, answered, connected, missed })
    }

    /// No SYN was answered from some moment on, and echoes were.
    fn port_fell_silent(&self) -> Option<Turn> {
        let syn = self.syn.as_ref().filter(|syn| ends_silent(syn))?;
        let (answered, missed) = (syn.received(), missed(syn));
        // What somebody refuses is not lost by chance.
        let refused = syn.errors.len() >= REFUSED && syn.errors.len() as u64 * 2 >= missed;
        if !refused && !has_lasted(syn) {
            return None;
        }
        let limit = if refused { REFUSED_BY_CHANCE } else { SYNS_BY_CHANCE };
        // A connection begins with the survey: the SYN of one that was answered at once came first.
        let at_once = self.connection_before.is_none()
            && self.connect.as_ref().and_then(|report| report.service_time) < Some(AT_ONCE);
        let connected = at_once && self.connect.as_ref().is_some_and(is_served);
        let first = answered + u64::from(connected);
        let turned = answered > 0 && by_chance(first, missed) < limit;
        let turned = turned && self.echo.received() > 0;
        turned.then_some(Turn { since: Since::PortSilent, answered, connected: false, missed })
    }

    /// All SYNs were accepted up to some moment, and reset from then on.
    fn port_closed(&self) -> Option<Turn> {
        let syn = self.syn.as_ref()?;
        let (answered, missed) = (syn.count(AnswerKind::SynAck), syn.count(AnswerKind::Reset));
        let turned = syn.turned_to() == Some(AnswerKind::Reset);
        turned.then_some(Turn { since: Since::PortReset, answered, connected: false, missed })
    }

    /// What was found since that moment; `None` where there is none.
    pub(super) fn as_it_stands(&self) -> Option<Self> {
        let since_then = self.turn()?.since;
        // A connection that was made, a path that was walked to its end and large packets that
        // returned are of before; what failed or stopped may be of either.
        let connected = |result: &ConnectResult| match result {
            ConnectResult::Connected => true,
            ConnectResult::Refused => since_then != Since::PortReset,
            ConnectResult::TimedOut | ConnectResult::Icmp(_) | ConnectResult::Local(_) => false,
        };
        let open = |path: &Option<Path>| path.clone().filter(|path| !arrived(path));
        let of_port = Self {
            connection_before: None,
            connect: self.connect.clone().filter(|report| !connected(&report.result)),
            overheard: None,
            rdp: None,
            flows: None,
            rates: None,
            ..self.clone()
        };
        let stops = self.tcp_path.as_ref().is_some_and(|path| !arrived(path));
        Some(match since_then {
            Since::PortReset => of_port,
            Since::PortSilent => Self {
                syn: self.syn.as_ref().map(since),
                icmp_path: self.icmp_path.clone().filter(|_| stops),
                tcp_path: open(&self.tcp_path),
                ..of_port
            },
            Since::Silent => Self {
                echo: since(&self.echo),
                syn: self.syn.as_ref().map(since),
                icmp_path: open(&self.icmp_path),
                tcp_path: open(&self.tcp_path),
                large: None,
                ..of_port
            },
        })
    }
}

fn arrived(path: &Path) -> bool {
    matches!(path.end, PathEnd::Reached(_))
}

fn has_lasted(tally: &Tally) -> bool {
    tally.missed_for() >= Some(LASTED)
}

fn is_served(report: &ConnectReport) -> bool {
    report.result == ConnectResult::Connected && report.service_time.is_some()
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
