//! Failures that come and go: what one view saw of them, and what is believed in between.
//!
//! A queue that overflows in waves, or a service that crashes and is started again, is up at every
//! other look. Judged look by look it would seem reachable half of the time and alert nobody. From
//! the third spell within ten minutes on, the target is judged by what it fails with until it has
//! been well for longer than it used to be.

use std::collections::VecDeque;
use std::time::Duration;

use super::flights::ViewKey;
use super::view::View;
use super::{Baseline, Monitor};
use crate::evidence::{Answer, AnswerKind, ConnectResult, Observation};
use crate::judge::verdict::Verdict;
use crate::judge::{Class, Note, Sign};
use crate::probe::series::Tally;
use crate::survey::findings::Findings;
use crate::survey::signs::{Seen, signs};
use crate::target::{Expect, Target};
use crate::time::Instant;
use crate::wording::Wording;

/// Spells within this time belong together.
const WINDOW: Duration = Duration::from_secs(600);
/// So many of them are no coincidence, where looks saw at least so many and the sweep the others.
const MANY: usize = 3;
const SEEN: usize = 2;
/// So many SYNs of the sweep lost within this time, though every look found all well, are worth
/// looking again and again for a while: the spells may be shorter than the way to a look.
const MISSES: usize = 2;
const UNEASY: Duration = Duration::from_secs(120);
/// A SYN of before the end of a spell is known to be lost only so long after it.
const AFTERMATH: Duration = Duration::from_secs(5);
/// A miss so shortly before a spell is part of it.
const SAME_SPELL: Duration = Duration::from_secs(15);
/// A failing look of fewer probes may be chance.
const PROBES: u64 = 3;
/// What comes and goes is held against a target for this long at least, and at most, after it was
/// last seen; in between for twice the longest time from one spell to the next.
const HOLD: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(300));
/// What was over within a look and the wait for it was no outage that people would have seen.
const BRIEF: Duration = Duration::from_secs(15);
/// What has failed for so long without a pause came once.
const STEADY: Duration = Duration::from_secs(120);

/// The spells of failure that one view saw.
#[derive(Debug, Default)]
pub(super) struct Spells {
    lately: VecDeque<Spell>,
    /// When the sweep lost a SYN while looks found all well.
    misses: VecDeque<Instant>,
    /// What the last one looked like.
    shape: Option<Box<Findings>>,
}

#[derive(Debug, Clone, Copy)]
struct Spell {
    begun: Instant,
    ended: Option<Instant>,
}

impl Spell {
    /// Whether it was over before anybody could have been told.
    fn is_brief(&self) -> bool {
        self.ended.is_some_and(|ended| ended.since(self.begun) <= BRIEF)
    }
}

/// What one look saw of the main port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    Well,
    Fails,
    FailsFirst,
    FailsLast,
    Unclear,
}

impl Spells {
    /// Takes what a look saw.
    pub(super) fn note(&mut self, findings: &Findings) {
        let course = course(main(findings));
        match course {
            // A partial loss explains what the sweep lost.
            Course::Unclear => return self.misses.clear(),
            Course::Well => {
                self.end(findings.started);
                if self.within(findings.ended).next().is_none() {
                    self.shape = None;
                }
            }
            Course::Fails => self.begin(findings.started),
            Course::FailsFirst => {
                self.begin(findings.started);
                self.end(findings.ended);
            }
            Course::FailsLast => {
                self.end(findings.started);
                self.begin(findings.ended);
            }
        }
        if course != Course::Well {
            self.shape = Some(Box::new(failing_part(findings)));
        }
    }

    /// Takes that the sweep lost a SYN.
    pub(super) fn note_missed(&mut self, now: Instant) {
        let over = |spell: &Spell| spell.ended.is_some_and(|at| now.since(at) > AFTERMATH);
        if self.lately.back().is_none_or(over) {
            self.misses.push_back(now);
            self.misses.retain(|at| now.since(*at) <= WINDOW);
        }
    }

    /// Whether it should be looked at again soon, well as it seems.
    pub(super) fn is_uneasy(&self, now: Instant) -> bool {
        self.misses.iter().filter(|at| now.since(**at) <= UNEASY).count() >= MISSES
    }

    fn begin(&mut self, at: Instant) {
        if self.failing().is_none() {
            self.misses.retain(|missed| at.since(*missed) > SAME_SPELL);
            self.lately.push_back(Spell { begun: at, ended: None });
            while self.lately.front().is_some_and(|spell| at.since(spell.begun) > WINDOW) {
                self.lately.pop_front();
            }
        }
    }

    fn end(&mut self, at: Instant) {
        if let Some(spell) = self.lately.back_mut() {
            spell.ended.get_or_insert(at);
        }
    }

    /// Since when it fails, if it does.
    fn failing(&self) -> Option<Instant> {
        self.lately.back().filter(|spell| spell.ended.is_none()).map(|spell| spell.begun)
    }

    fn within(&self, now: Instant) -> impl Iterator<Item = &Spell> {
        self.lately.iter().filter(move |spell| now.since(spell.begun) <= WINDOW)
    }

    /// How many spells began lately.
    fn count(&self, now: Instant) -> usize {
        let misses = self.misses.iter().filter(|at| now.since(**at) <= WINDOW);
        self.within(now).count() + misses.count()
    }

    fn comes_and_goes(&self, now: Instant) -> bool {
        self.count(now) >= MANY && self.within(now).count() >= SEEN
    }

    /// What it fails with, while that is still held against it.
    fn held(&self, now: Instant) -> Option<&Findings> {
        let gaps = self.lately.iter().zip(self.lately.iter().skip(1));
        let longest = gaps.map(|(one, next)| next.begun.since(one.begun)).max();
        let hold = (longest.unwrap_or_default() * 2).clamp(HOLD.0, HOLD.1);
        let last = self.lately.back()?;
        let recent = last.ended.is_none_or(|at| now.since(at) <= hold);
        self.shape.as_deref().filter(|_| recent && self.comes_and_goes(now))
    }

    fn onset(&self, now: Instant) -> Option<Seen> {
        let steady = || self.failing().filter(|since| now.since(*since) >= STEADY);
        if self.comes_and_goes(now) {
            let count = self.count(now);
            let detail = Wording::new(
                format!("{count} times within ten minutes"),
                format!("十分钟内 {count} 次"),
            );
            Some(Seen::new(Sign::ComesAndGoes, Some(detail)))
        } else {
            steady().map(|since| {
                let seconds = now.since(since).as_secs();
                let detail = Wording::new(
                    format!("for {seconds} s without a pause"),
                    format!("已持续 {seconds} 秒，未曾中断"),
                );
                Seen::new(Sign::OnsetOnce, Some(detail))
            })
        }
    }
}

fn is_partial(findings: &Findings) -> bool {
    let partial = |tally: &Tally| tally.received() > 0 && tally.received() < tally.valid();
    [Some(&findings.echo), findings.syn.as_ref()].into_iter().flatten().any(partial)
}

fn main(findings: &Findings) -> &Tally {
    findings.syn.as_ref().unwrap_or(&findings.echo)
}

fn course(main: &Tally) -> Course {
    let accepted = main.count(AnswerKind::SynAck) + main.count(AnswerKind::EchoReply);
    let valid = main.valid();
    if accepted == 0 && valid >= PROBES {
        return Course::Fails;
    }
    if accepted > 0 && accepted == valid {
        return Course::Well;
    }
    // So many misses in a row with nothing but answers before or behind them are no chance. Probes
    // of other engines count as well, but their order is not known.
    let (Some(answered), Some(missed)) = (main.answered, main.missed) else {
        return Course::Unclear;
    };
    let in_a_row = u64::from(missed.1 - missed.0) + 1;
    if in_a_row < PROBES {
        Course::Unclear
    } else if missed.1 < answered.0 {
        Course::FailsFirst
    } else if answered.1 < missed.0 {
        Course::FailsLast
    } else {
        Course::Unclear
    }
}

/// Of a look that saw both, what belongs to the failure.
fn failing_part(findings: &Findings) -> Findings {
    if course(main(findings)) == Course::Fails {
        return findings.clone();
    }
    let silent = |tally: &Tally| {
        let seen = Observation { answer: Answer::Silence, sent: None, arrived: None };
        let mut part = Tally::default();
        let missed = tally.valid().saturating_sub(tally.received());
        (0..missed).for_each(|_| part.absorb(&seen));
        part
    };
    let turned = |tally: &Tally| matches!(course(tally), Course::FailsFirst | Course::FailsLast);
    let of_failure = |tally: &Tally| if turned(tally) { silent(tally) } else { tally.clone() };
    // The connection, and the traces, may belong to either part.
    let timed_out = |result: &ConnectResult| *result == ConnectResult::TimedOut;
    Findings {
        echo: of_failure(&findings.echo),
        syn: findings.syn.as_ref().map(of_failure),
        connect: findings.connect.clone().filter(|report| timed_out(&report.result)),
        icmp_path: None,
        tcp_path: None,
        flows: None,
        large: None,
        rates: None,
        ..findings.clone()
    }
}

impl View {
    /// The findings that this view is judged by, and their signs.
    pub(super) fn evidence(
        &self,
        now: Instant,
        target: &Target,
        baseline: Option<&Baseline>,
    ) -> Option<(&Findings, Vec<Seen>)> {
        let fresh = self.findings.as_ref()?;
        let fails = course(main(fresh)) == Course::Fails;
        let held = self.spells.held(now).filter(|_| !fails);
        let findings = held.unwrap_or(fresh);
        let mut seen = signs(findings, target, baseline);
        if held.is_some() || fails && baseline.is_some() {
            seen.extend(self.spells.onset(now));
        }
        seen.extend(self.recurrence.signs(now).filter(|_| fails || is_partial(findings)));
        Some((findings, seen))
    }
}

impl Monitor {
    /// Remembers how a view's last look went; what our own side spoilt says nothing.
    pub(super) fn note_spell(&mut self, key: &ViewKey) {
        let Some(watch) = self.targets.get(&key.target) else { return };
        let Some(vantage) = self.vantages.get(&key.vantage).map(|at| &at.vantage) else { return };
        let expect = watch.target.expected_from(&vantage.name, vantage.role.as_str());
        let doubtful = self.is_doubtful(key);
        let believed = self.can_judge(key.vantage, watch.port()) && !doubtful;
        let threshold = watch.target.loss_threshold;
        let Some(view) = self.view(key) else { return };
        if let Some(findings) = view.findings.as_ref().filter(|_| believed && view.local.is_none())
        {
            view.recurrence.note(findings, threshold);
        }
        // Where silence is what should be, its spells are no failures; what our own side may have
        // done is neither a spell nor the end of one.
        if expect != Expect::Reachable {
            view.spells = Spells::default();
        } else if !believed || view.local.is_some() {
            view.recurrence.interrupt();
        } else if let Some(findings) = &view.findings {
            view.spells.note(findings);
        }
    }
}

/// Notes on a target that is well how often it was not, lately.
pub(super) fn note_lately<'a>(
    now: Instant,
    views: impl Iterator<Item = &'a View>,
    verdict: &mut Verdict,
) {
    let brief = |view: &View| view.spells.within(now).filter(|spell| spell.is_brief()).count();
    let most = views.map(brief).max().unwrap_or(0);
    if verdict.class == Class::Reachable && most > 0 {
        let detail =
            Wording::new(format!("{most} within ten minutes"), format!("十分钟内 {most} 次"));
        verdict.notes.insert(Note::MicroOutage, Some(detail));
    }
}

#[cfg(test)]
mod tests;
