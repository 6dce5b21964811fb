//! What the sweep tells: suspicion, and how views stand.

use super::flights::ViewKey;
use super::view::Stand;
use super::{Monitor, Timer};
use crate::evidence::{Answer, Observation, Probe};
use crate::path::distance;
use crate::probe::series::Tally;
use crate::survey::Depth;
use crate::survey::findings::Findings;
use crate::sweep::{Change, What};
use crate::time::Instant;

impl Monitor {
    /// Takes every change that the sweep has to tell; whether there was one.
    pub(super) fn handle_changes(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Some(change) = self.sweep.poll_change() {
            any = true;
            if let Some(key) = self.owners.get(change.owner).cloned() {
                self.handle_sweep_change(now, &key, &change);
            }
        }
        any
    }

    fn handle_sweep_change(&mut self, now: Instant, key: &ViewKey, change: &Change) {
        let probe = change.probe;
        let Some(watch) = self.targets.get_mut(&key.target) else { return };
        let canary = watch.canary;
        let Some(view) = watch.views.get_mut(&(key.vantage, key.address)) else { return };
        if let Some(Answer::Icmp(error)) = change.what.answer()
            && error.ttl.is_some_and(|ttl| distance(ttl) > 0)
        {
            view.refused_beyond = Some(now);
        }
        match change.what {
            What::Missed(1) => {
                view.note_missed(probe, Some(now));
                if probe == Probe::Syn {
                    view.spells.note_missed(now);
                }
            }
            What::Back => view.note_missed(probe, None),
            What::Surprise(_) => change.flow.into_iter().for_each(|flow| view.suspect(flow)),
            What::Missed(_) | What::Fact(_) | What::Loss { .. } => {}
        }
        if matches!(change.what, What::Missed(_) | What::Back) {
            self.restand(key);
        }
        if canary {
            return self.review_soon(now, key.vantage);
        }
        match change.what {
            What::Surprise(answer) => self.handle_surprise(now, key, (probe, answer)),
            What::Fact(seen) => self.learn_fact(now, key, (seen, probe)),
            What::Loss { .. } => self.handle_loss(now, key),
            What::Missed(2) => self.judge_by_sweep(now, key),
            What::Missed(_) | What::Back => {}
        }
    }

    /// An answer of another kind starts an investigation of every view of the target.
    fn handle_surprise(&mut self, now: Instant, key: &ViewKey, (probe, answer): (Probe, Answer)) {
        let Some(view) = self.view(key) else { return };
        if view.is_surprised(probe, &answer) && view.may_survey(now) {
            self.hurry_canaries(now, key.vantage);
            self.resurvey(now, &key.target);
            self.review_soon(now, key.vantage);
            self.timers.set(Timer::View(key.clone()), Some(now));
        }
    }

    /// A chart says that part of the probes is lost: worth a close look.
    fn handle_loss(&mut self, now: Instant, key: &ViewKey) {
        let Some(view) = self.view(key) else { return };
        if view.may_survey(now) {
            self.resurvey(now, &key.target);
            self.timers.set(Timer::View(key.clone()), Some(now));
        }
    }

    /// A view whose survey waits for its turn is judged by what the sweep saw: two probes of each
    /// kind, an interval apart, are enough to say down (DESIGN section 7). The survey follows.
    fn judge_by_sweep(&mut self, now: Instant, key: &ViewKey) {
        if !self.queue.holds(key) {
            return;
        }
        let Some(watch) = self.targets.get(&key.target) else { return };
        let Some(view) = watch.views.get(&(key.vantage, key.address)) else { return };
        let silent = |row: Option<crate::sweep::RowId>| {
            let misses = row.map(|row| self.sweep.standing(row).misses)?;
            (misses >= 2).then(|| {
                let seen = Observation { answer: Answer::Silence, sent: None, arrived: None };
                let mut tally = Tally::default();
                (0..misses.min(5)).for_each(|_| tally.absorb(&seen));
                tally
            })
        };
        let has_port = watch.target.service.has_port();
        let (Some(echo), syn) = (silent(view.rows.echo), silent(view.rows.syn)) else { return };
        if has_port && syn.is_none() {
            return;
        }
        let findings = Findings {
            port: has_port.then_some(watch.target.port),
            echo,
            syn,
            ..Findings::nothing(
                key.address,
                (view.missed_since().unwrap_or(now), now),
                Depth::Recheck,
            )
        };
        let Some(view) = self.view(key) else { return };
        let changed = view.conclude(findings, None);
        self.after_conclusion(now, key, changed);
    }

    /// Counts a view's standing anew, for the vantage's.
    pub(super) fn restand(&mut self, key: &ViewKey) {
        let Some(watch) = self.targets.get_mut(&key.target) else { return };
        let (canary, port) = (watch.canary, watch.port());
        let Some(view) = watch.views.get_mut(&(key.vantage, key.address)) else { return };
        let stand = Stand::of(view, &self.sweep);
        let before = view.stand.replace(stand);
        if before.map(|before| before.mute[0]) != Some(stand.mute[0]) {
            self.neighbourhood.note_mute(key.vantage, key.address, stand.mute[0]);
        }
        if let Some(vantage) = self.vantages.get_mut(&key.vantage)
            && before != Some(stand)
        {
            vantage.shares.change((canary, port, key.address.is_ipv4()), before, Some(stand));
        }
    }
}
