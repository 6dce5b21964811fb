//! A loss that is looked at again: what is known of it adds up.
//!
//! One look of a dozen probes gets through a loss of 5 % unharmed every other time. Judged by
//! itself it would take back what the looks before it had counted, and the class would come and go.

use super::view::View;
use super::watch::TargetWatch;
use crate::evidence::AnswerKind;
use crate::judge::Class;
use crate::probe::large::SizeFates;
use crate::probe::series::Tally;
use crate::statistics::{at_least, real};
use crate::survey::findings::Findings;

/// If the loss went on, so long a run of answers would come by chance this rarely: it is over.
const OVER: f64 = 0.01;
/// If the loss went on, so few misses would come by chance this rarely: it is another now.
const ANOTHER: f64 = 0.001;
/// Probes beyond which the older half is forgotten, so that a loss that changes is followed.
const REMEMBERED: u64 = 200;

impl TargetWatch {
    /// Whether what fails is a share of its probes, which has to be counted: of all packets, or of
    /// the SYNs that a queue or a table has no room for.
    pub(super) fn loses(&self) -> bool {
        let thinned = |view: &View| view.findings.as_ref().is_some_and(Findings::loses_syns);
        match self.class {
            Class::PacketLoss => true,
            Class::SecurityGroup => self.views.values().any(thinned),
            _ => false,
        }
    }
}

/// Adds to a fresh look at a partial loss what the looks before it had counted, of echoes and of
/// SYNs each by itself: that echoes are limited says nothing of SYNs.
///
/// Nothing is added of a loss that is over, or when something else is the matter now. Gives whether
/// all was well this time, but for too short a while to say that it is over.
pub(super) fn add_up(view: &mut View, findings: &mut Findings) -> bool {
    let clean = std::mem::take(&mut view.clean);
    let Some(before) = &view.findings else { return false };
    if findings.saw_a_turn() || before.saw_a_turn() || !is_same_matter(before, findings) {
        return false;
    }
    let fresh = [Some(&mut findings.echo), findings.syn.as_mut()].into_iter().flatten();
    let known = [Some(&before.echo), before.syn.as_ref()].into_iter().flatten();
    let mut pairs: Vec<_> = fresh.zip(known).zip(clean).collect();
    let chances: Vec<_> =
        pairs.iter().map(|((fresh, known), clean)| chance(fresh, known, *clean)).collect();
    // Where both go well, they tell together that it is over.
    let together: f64 = chances.iter().flatten().product();
    let well = pairs.iter().all(|((fresh, _), _)| missed(fresh) == 0 || fresh.received() == 0);
    let mut doubtful = false;
    for ((((fresh, known), clean), chance), kept) in
        pairs.iter_mut().zip(chances).zip(&mut view.clean)
    {
        let over = match chance {
            // Nothing was missed before, or nothing ever comes.
            None => missed(known) == 0,
            Some(_) if well => together < OVER,
            Some(chance) if missed(fresh) == 0 => chance < OVER,
            Some(chance) => chance < ANOTHER,
        };
        if over {
            continue;
        }
        if chance.is_some() && missed(fresh) == 0 {
            doubtful = true;
            *kept = *clean + fresh.valid();
        }
        add(fresh, known);
    }
    well && doubtful
}

/// How probable it is that so few are missed after so many answers in a row, if the loss goes on of
/// which `known` tells; `None` where that tells of none.
fn chance(fresh: &Tally, known: &Tally, clean: u64) -> Option<f64> {
    if missed(known) == 0 || known.received() == 0 || fresh.received() == 0 {
        return None;
    }
    let share = real(missed(known)) / real(known.valid());
    Some(1.0 - at_least(missed(fresh) + 1, clean + fresh.valid(), share))
}

/// Whether a fault seems to have come while a healthy target was looked at: until now it answered
/// all, in this look up to a moment, and from then on nothing. A loss that has just begun looks so
/// by chance, and is known one look later.
pub(super) fn fell_silent(view: &View, findings: &Findings) -> bool {
    let Some(before) = &view.findings else { return false };
    let fell = |before: &Tally, now: &Tally| {
        before.valid() > 0 && before.received() == before.valid() && now.fell_silent()
    };
    let syn = before.syn.as_ref().zip(findings.syn.as_ref());
    fell(&before.echo, &findings.echo) || syn.is_some_and(|(before, now)| fell(before, now))
}

/// Puts flows that seem to fail for good aside until they are asked again, where their packets were
/// known to be lost by chance: of eight flows and a loss of most SYNs, one look in some hundreds
/// sees just this. Gives whether it did.
pub(super) fn put_aside(view: &mut View, findings: &mut Findings) -> bool {
    let known = view.findings.as_ref().is_some_and(Findings::is_split);
    let seen = std::mem::replace(&mut view.split_seen, findings.is_split());
    if known || seen || !findings.is_split() {
        return false;
    }
    let dead = findings.flows.take().map(|flows| flows.dead()).unwrap_or_default();
    dead.into_iter().for_each(|flow| view.suspect(flow));
    true
}

/// The same of packets that seem to vanish for their size, where that was not known: a host that
/// limits its echoes takes all large ones in one look of some hundreds.
pub(super) fn put_sizes_aside(view: &mut View, findings: &mut Findings) -> bool {
    let fails = |found: &Findings| found.large.as_ref().is_some_and(SizeFates::any_failed);
    let known = view.findings.as_ref().is_some_and(fails);
    let seen = std::mem::replace(&mut view.sizes_seen, fails(findings));
    if known || seen || !fails(findings) {
        return false;
    }
    findings.large = None;
    true
}

fn add(fresh: &mut Tally, known: &Tally) {
    let mut known = known.clone();
    if known.valid() > REMEMBERED {
        known.forget_half();
    }
    fresh.add(&known);
}

fn missed(tally: &Tally) -> u64 {
    tally.valid().saturating_sub(tally.received())
}

/// Whether both looks drew answers of the same kinds.
fn is_same_matter(before: &Findings, after: &Findings) -> bool {
    let answers = |findings: &Findings| {
        [Some(&findings.echo), findings.syn.as_ref()].map(|tally| {
            let kinds = [AnswerKind::EchoReply, AnswerKind::SynAck, AnswerKind::Reset];
            tally.map(|tally| kinds.map(|kind| tally.count(kind) > 0))
        })
    };
    answers(before) == answers(after)
}
