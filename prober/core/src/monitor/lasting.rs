//! A loss that is looked at again: what is known of it adds up.
//!
//! One look of a dozen probes gets through a loss of 5 % unharmed every other time. Judged by
//! itself it would take back what the looks before it had counted, and the class would come and go.

use super::view::View;
use super::watch::TargetWatch;
use crate::evidence::AnswerKind;
use crate::judge::Class;
use crate::probe::series::Tally;
use crate::statistics::real;
use crate::survey::findings::Findings;

/// If the loss went on, so long a run of answers would come by chance this rarely: it is over.
const OVER: f64 = 0.05;
/// Probes beyond which the older half is forgotten, so that a loss that changes is followed.
const REMEMBERED: u64 = 200;

impl TargetWatch {
    /// Whether what fails is a share of its probes, which has to be counted: of all packets, or of
    /// the SYNs that a queue or a table has no room for.
    pub(super) fn loses(&self) -> bool {
        let thinned = |view: &View| {
            let syn = view.findings.as_ref().and_then(|findings| findings.syn.as_ref());
            syn.is_some_and(|syn| syn.received() > 0 && syn.received() < syn.valid())
        };
        match self.class {
            Class::PacketLoss => true,
            Class::SecurityGroup => self.views.values().any(thinned),
            _ => false,
        }
    }
}

/// Adds to a fresh look at a partial loss what the looks before it had counted.
///
/// Nothing is added when the loss is over, or when something else is the matter now.
pub(super) fn add_up(view: &mut View, findings: &mut Findings) {
    let clean = std::mem::take(&mut view.clean);
    let Some(before) = &view.findings else { return };
    if findings.saw_a_turn() || before.saw_a_turn() || !is_same_matter(before, findings) {
        return;
    }
    let (missed_before, sent_before) = counts(before);
    let (missed, sent) = counts(findings);
    if missed_before == 0 {
        return;
    }
    if missed == 0 {
        let clean = clean + sent;
        let share = real(missed_before) / real(sent_before);
        let exponent = i32::try_from(clean).unwrap_or(i32::MAX);
        if (1.0 - share).powi(exponent) < OVER {
            return;
        }
        view.clean = clean;
    }
    let halve = sent_before > REMEMBERED;
    let add = |fresh: &mut Tally, known: &Tally| {
        let mut known = known.clone();
        if halve {
            known.forget_half();
        }
        fresh.add(&known);
    };
    add(&mut findings.echo, &before.echo);
    if let (Some(fresh), Some(known)) = (&mut findings.syn, &before.syn) {
        add(fresh, known);
    }
}

fn tallies(findings: &Findings) -> impl Iterator<Item = &Tally> {
    [Some(&findings.echo), findings.syn.as_ref()].into_iter().flatten()
}

/// Probes missed and sent, where any were answered: echo alone may be filtered.
fn counts(findings: &Findings) -> (u64, u64) {
    let heard = tallies(findings).filter(|tally| tally.received() > 0);
    heard.fold((0, 0), |(missed, sent), tally| {
        (missed + tally.valid().saturating_sub(tally.received()), sent + tally.valid())
    })
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
