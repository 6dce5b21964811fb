//! Answers: what became of each probe, and who needs to know.

use super::flights::{News, Purpose as Errand, Report, ViewKey};
use super::{Flight, Monitor, TapId, Timer};
use crate::accounting::Fate;
use crate::evidence::{
    Answer, ConnectReport, ConnectResult, InvalidReason, LocalError, LossReason, Observation,
    Probe, ServiceAnswer,
};
use crate::survey::Part;
use crate::time::{Instant, Stamp};

impl Monitor {
    pub(super) fn handle_answered(
        &mut self,
        now: Instant,
        flight: Flight,
        (sent, answer, arrived): (Option<Stamp>, Answer, Option<Stamp>),
    ) {
        if let Some(report) = self.flights.settle(flight, Observation { answer, sent, arrived }) {
            self.deliver(now, report);
        }
    }

    pub(super) fn handle_send_failed(&mut self, now: Instant, flight: Flight, error: LocalError) {
        let reason = match error {
            LocalError::NoPrivilege => InvalidReason::NoPrivilege,
            LocalError::NoRoute
            | LocalError::GatewaySilent
            | LocalError::NeighbourSilent
            | LocalError::Blocked
            | LocalError::Exhausted
            | LocalError::VantageGone
            | LocalError::Other(_) => InvalidReason::SendError,
        };
        let observation =
            Observation { answer: Answer::Invalid(reason), sent: None, arrived: None };
        let Some(report) = self.flights.settle(flight, observation) else { return };
        if let Some(view) = self.view(&report.key)
            && let Some((_, survey)) = view.survey.as_mut()
        {
            survey.handle_local_error(error);
        }
        self.deliver(now, report);
    }

    pub(super) fn handle_connected(
        &mut self,
        now: Instant,
        flight: Flight,
        report: Box<ConnectReport>,
    ) {
        let Some((key, errand)) = self.flights.end_connect(flight) else { return };
        let Some(view) = self.view(&key) else { return };
        let (counters, histogram) = view.counters.entry(Probe::Connect).or_default();
        counters.book(connect_fate(&report.result));
        if let Some(handshake) = report.handshake {
            histogram.observe(handshake);
        }
        if let Some(answer) = &report.service {
            let (counters, histogram) = view.counters.entry(Probe::X224).or_default();
            if *answer != ServiceAnswer::NotAsked {
                counters.book(service_fate(answer));
                report.service_time.into_iter().for_each(|time| histogram.observe(time));
            }
        }
        if let (Errand::SurveyConnect(number), Some((current, survey))) =
            (errand, view.survey.as_mut())
            && number == *current
        {
            survey.handle_connect(report);
        }
        self.timers.set(Timer::View(key), Some(now));
    }

    pub(super) fn expire_flights(&mut self, now: Instant) {
        loop {
            let (vantages, disturbed) = (&self.vantages, &self.disturbed);
            let since = |at: Option<Instant>, ordered: Instant| at.is_some_and(|at| at >= ordered);
            let excuse = |key: &ViewKey, ordered: Instant, left: bool| {
                let vantage = vantages.get(&key.vantage)?;
                let dropped = vantage.tap().and_then(|tap| disturbed.drops.get(&tap).copied());
                let reason = if since(dropped, ordered) {
                    InvalidReason::CaptureDrop
                } else if !left {
                    InvalidReason::NotSeenLeaving
                } else if since(disturbed.lag, ordered) {
                    InvalidReason::Lag
                } else if since(disturbed.clock, ordered) {
                    InvalidReason::ClockStep
                } else {
                    return None;
                };
                Some(Answer::Invalid(reason))
            };
            let Some(report) = self.flights.expire(now, excuse) else { return };
            self.deliver(now, report);
        }
    }

    pub(super) fn handle_capture_counts(
        &mut self,
        now: Instant,
        tap: TapId,
        (packets, drops): (u64, u64),
    ) {
        for vantage in self.vantages.values_mut().filter(|vantage| vantage.tap() == Some(tap)) {
            if drops > vantage.capture_drops {
                self.disturbed.drops.insert(tap, now);
            }
            vantage.capture_packets = packets;
            vantage.capture_drops = drops;
        }
    }

    /// Takes news of a probe to where it belongs.
    pub(super) fn deliver(&mut self, now: Instant, report: Report) {
        let key = report.key.clone();
        if report.news == News::ConnectLost {
            return self.connect_lost(now, &key, report.purpose);
        }
        let probe = counted(report.purpose);
        let withdrawn =
            self.vantages.get(&key.vantage).is_some_and(|vantage| !vantage.is_believed());
        let Some(view) = self.view(&key) else { return };
        let survey = match (report.purpose, view.survey.as_mut()) {
            (Errand::Survey { number, part, ask }, Some((current, survey)))
                if number == *current =>
            {
                Some((part, ask, survey))
            }
            _ => None,
        };
        let mut new_fact = None;
        match (report.news, survey) {
            (News::Settled(seen), Some((part, ask, survey))) => {
                survey.handle_observation(now, part, ask, &seen);
            }
            (News::Afterthought { observation, .. }, Some((part, ask, survey))) => {
                survey.handle_afterthought(now, part, ask, &observation);
            }
            (News::Afterthought { observation, late: true }, None) if probe.is_some() => {
                new_fact = Some(observation);
            }
            (
                News::Settled(_) | News::Afterthought { .. } | News::Duplicate | News::ConnectLost,
                _,
            ) => {}
        }
        if let Some(probe) = probe {
            match report.news {
                News::Settled(seen) => view.account(now, probe, &believed(seen, withdrawn)),
                News::Afterthought { late, observation } => {
                    let late = late && observation.answer.is_from_target();
                    view.counters.entry(probe).or_default().0.late += u64::from(late);
                }
                News::Duplicate => view.counters.entry(probe).or_default().0.duplicate += 1,
                News::ConnectLost => {}
            }
        }
        let surprised = match (report.purpose, report.news) {
            (Errand::Sweep(probe), News::Settled(seen)) => {
                view.is_surprised(probe, &seen.answer) && view.may_survey(now)
            }
            _ => false,
        };
        self.after_news(now, &key, (surprised, new_fact.zip(probe)));
        self.timers.set(Timer::View(key), Some(now));
    }

    /// Counts a probe that nobody waits for any more.
    pub(super) fn book(&mut self, now: Instant, report: &Report) {
        if let (Some(probe), News::Settled(seen)) = (counted(report.purpose), report.news)
            && let Some(view) = self.view(&report.key)
        {
            view.account(now, probe, &seen);
        }
    }

    fn after_news(
        &mut self,
        now: Instant,
        key: &ViewKey,
        (surprised, fact): (bool, Option<(Observation, Probe)>),
    ) {
        let canary = self.targets.get(&key.target).is_some_and(|watch| watch.canary);
        if canary {
            self.review_soon(now, key.vantage);
            return;
        }
        if surprised {
            self.hurry_canaries(now, key.vantage);
            self.resurvey(now, &key.target);
            self.review_soon(now, key.vantage);
        }
        // A late host-unreachable is a new fact about a failure that was judged without it.
        if let Some((seen, probe)) = fact
            && let Answer::Icmp(error) = seen.answer
            && let Some(findings) = self.view(key).and_then(|view| view.findings.as_mut())
            && findings.learn(probe, (error, seen.rtt()))
        {
            self.rejudge(now, &key.target);
        }
    }

    /// The driver owes us the end of a connection: nothing is known of it.
    fn connect_lost(&mut self, now: Instant, key: &ViewKey, errand: Errand) {
        *self.bugs.entry("connect_lost").or_default() += 1;
        let Some(view) = self.view(key) else { return };
        let (counters, _) = view.counters.entry(Probe::Connect).or_default();
        counters.book(Fate::Invalid(InvalidReason::Lag));
        if let (Errand::SurveyConnect(number), Some((current, survey))) =
            (errand, view.survey.as_mut())
            && number == *current
        {
            survey.handle_connect_lost();
        }
        self.timers.set(Timer::View(key.clone()), Some(now));
    }
}

/// Which counter a probe belongs to; traces and connections are not counted as packets here.
const fn counted(errand: Errand) -> Option<Probe> {
    match errand {
        Errand::Sweep(probe) => Some(probe),
        Errand::Survey { part: Part::Echo, .. } => Some(Probe::Echo),
        Errand::Survey { part: Part::Syn, .. } => Some(Probe::Syn),
        Errand::Survey { .. } | Errand::SurveyConnect(_) => None,
    }
}

fn believed(seen: Observation, withdrawn: bool) -> Observation {
    if withdrawn && !seen.answer.is_from_target() && !matches!(seen.answer, Answer::Invalid(_)) {
        Observation { answer: Answer::Invalid(InvalidReason::Canary), ..seen }
    } else {
        seen
    }
}

fn connect_fate(result: &ConnectResult) -> Fate {
    match result {
        ConnectResult::Connected | ConnectResult::Refused => Fate::Received,
        ConnectResult::Icmp(_) => Fate::Lost(LossReason::IcmpUnreachable),
        ConnectResult::TimedOut => Fate::Lost(LossReason::Silent),
        ConnectResult::Local(_) => Fate::Invalid(InvalidReason::SendError),
    }
}

fn service_fate(answer: &ServiceAnswer) -> Fate {
    match answer {
        ServiceAnswer::Confirmed { .. }
        | ServiceAnswer::Refused { .. }
        | ServiceAnswer::Foreign { .. }
        | ServiceAnswer::NotAsked => Fate::Received,
        ServiceAnswer::Silent => Fate::Lost(LossReason::Silent),
        ServiceAnswer::Closed { .. } => Fate::Lost(LossReason::ForeignReset),
    }
}
