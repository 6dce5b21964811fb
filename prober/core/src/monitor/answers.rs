//! Answers: what became of each probe, and who needs to know.

use std::time::Duration;

use super::flights::{News, Purpose as Errand, Report, ViewKey};
use super::view::Rows;
use super::watch::TargetWatch;
use super::{Flight, Monitor, TapId, Timer};
use crate::accounting::{Fate, fate};
use crate::evidence::{
    Answer, AnswerKind, ConnectReport, ConnectResult, InvalidReason, LocalError, LossReason,
    Observation, Probe, ServiceAnswer,
};
use crate::survey::Part;
use crate::time::{Instant, Stamp};

/// A ring hands its packets on in blocks, so that a socket may tell of an end before the ring does;
/// blocks wait 20 ms at most, and a busy machine reads them late.
const RING_LAG: Duration = Duration::from_millis(400);

impl Monitor {
    pub(super) fn handle_answered(
        &mut self,
        now: Instant,
        flight: Flight,
        (sent, answer, arrived): (Option<Stamp>, Answer, Option<Stamp>),
    ) {
        let seen = Observation { answer, sent, arrived };
        if let Flight::Sweep(token) = flight {
            return self.sweep.handle_answer(token, seen);
        }
        if let Some(report) = self.flights.settle(flight, seen) {
            self.deliver(now, report);
        }
    }

    pub(super) fn handle_send_failed(&mut self, now: Instant, flight: Flight, error: LocalError) {
        if let Flight::Sweep(token) = flight {
            return self.sweep.handle_send_failed(token, error);
        }
        let answer = Answer::Invalid(error.invalid_reason());
        let observation = Observation { answer, sent: None, arrived: None };
        let Some(report) = self.flights.settle(flight, observation) else { return };
        if let Errand::Survey { part, .. } = report.purpose
            && let Some(view) = self.view(&report.key)
            && let Some((_, survey)) = view.survey.as_mut()
        {
            survey.handle_local_error(part, error);
        }
        self.deliver(now, report);
    }

    pub(super) fn handle_connected(
        &mut self,
        now: Instant,
        flight: Flight,
        report: Box<ConnectReport>,
    ) {
        let closed = matches!(report.service, Some(ServiceAnswer::Closed { .. }));
        if closed && self.flights.awaits_end(flight, report.local_port) {
            self.unheard.push_back((now + RING_LAG, flight, report));
        } else {
            self.end_connect(now, flight, report);
        }
    }

    /// Takes the connections whose end the ring has had time to show.
    pub(super) fn end_unheard(&mut self, now: Instant) {
        while let Some((_, flight, report)) = self.unheard.pop_front_if(|(at, ..)| *at <= now) {
            self.end_connect(now, flight, report);
        }
    }

    fn end_connect(&mut self, now: Instant, flight: Flight, report: Box<ConnectReport>) {
        let ended = self.flights.end_connect(flight, report.local_port);
        let Some((key, errand, (ordered, overheard))) = ended else { return };
        let Some(view) = self.view(&key) else { return };
        let rows = view.rows;
        if let (Errand::SurveyConnect(number), Some((current, survey))) =
            (errand, view.survey.as_mut())
            && number == *current
        {
            survey.handle_connect(now, report.clone(), overheard);
        }
        let excuse = self.connect_excuse(&key, ordered, &report.result);
        self.count_connect(rows, &report, excuse);
        self.timers.set(Timer::View(key), Some(now));
    }

    /// Why a connection that was not accepted says nothing of the target: its vantage is not
    /// believed, we were away, or our own kernel refuses such packets, as it did the SYNs that
    /// were asked beside it. A connection's own packets are not seen leaving.
    fn connect_excuse(
        &mut self,
        key: &ViewKey,
        ordered: Instant,
        result: &ConnectResult,
    ) -> Option<InvalidReason> {
        if *result == ConnectResult::Connected {
            return None;
        }
        let port = self.targets.get(&key.target).and_then(TargetWatch::port);
        if !self.can_judge(key.vantage, port) {
            return Some(InvalidReason::Canary);
        }
        if self.disturbed.lag.is_some_and(|at| at >= ordered) {
            return Some(InvalidReason::Lag);
        }
        let (_, survey) = self.view(key)?.survey.as_ref()?;
        survey.own_fault()
    }

    fn count_connect(&mut self, rows: Rows, report: &ConnectReport, excuse: Option<InvalidReason>) {
        let excuse = excuse.map(Fate::Invalid);
        if let Some(row) = rows.connect {
            let fate = excuse.unwrap_or_else(|| connect_fate(&report.result));
            self.sweep.book(row, fate, report.handshake);
        }
        if let (Some(row), Some(answer)) = (rows.x224, &report.service)
            && *answer != ServiceAnswer::NotAsked
        {
            self.sweep.book(row, service_fate(answer), report.service_time);
        }
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
                self.sweep.note_drops(now, tap);
            }
            vantage.capture_packets = packets;
            vantage.capture_drops = drops;
        }
    }

    /// Takes news of a probe to where it belongs.
    pub(super) fn deliver(&mut self, now: Instant, report: Report) {
        let key = report.key.clone();
        if let Errand::Decoy(port) = report.purpose {
            return self.take_decoy(now, key.vantage, port, report.news);
        }
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
        // Asking a flow again whose first handshake is still held over there is our own doing: what
        // that draws is no fate of a probe.
        let again = matches!(report.purpose, Errand::Survey { part: Part::Flow, .. });
        let held = again
            && match report.news {
                News::Settled(seen) => seen.answer.kind() == AnswerKind::ChallengeAck,
                News::Afterthought { .. } | News::Duplicate | News::ConnectLost => false,
            };
        let row = probe.filter(|_| !held).and_then(|probe| view.rows.of(probe));
        if let Some(row) = row {
            match report.news {
                News::Settled(seen) => self.sweep.account(row, &believed(seen, withdrawn)),
                News::Afterthought { late: true, observation } => {
                    if observation.answer.is_from_target() {
                        self.sweep.count_late(row);
                    }
                }
                News::Duplicate => self.sweep.count_duplicate(row),
                News::Afterthought { .. } | News::ConnectLost => {}
            }
        }
        if let Some((seen, probe)) = new_fact.zip(probe) {
            self.learn_fact(now, &key, (seen, probe));
        }
        self.timers.set(Timer::View(key), Some(now));
    }

    /// Counts a probe that nobody waits for any more.
    pub(super) fn book(&mut self, report: &Report) {
        if let (Some(probe), News::Settled(seen)) = (counted(report.purpose), report.news)
            && let Some(row) = self.view(&report.key).and_then(|view| view.rows.of(probe))
        {
            self.sweep.account(row, &seen);
        }
    }

    /// A late host-unreachable is a new fact about a failure that was judged without it.
    pub(super) fn learn_fact(
        &mut self,
        now: Instant,
        key: &ViewKey,
        (seen, probe): (Observation, Probe),
    ) {
        let believed =
            self.vantages.get(&key.vantage).is_some_and(super::standing::VantageWatch::is_believed);
        if believed
            && let Answer::Icmp(error) = seen.answer
            && let Some(findings) = self.view(key).and_then(|view| view.findings.as_mut())
            && findings.learn(now, probe, (error, seen.rtt()))
        {
            self.rejudge(now, &key.target);
        }
    }

    /// The driver owes us the end of a connection: nothing is known of it.
    fn connect_lost(&mut self, now: Instant, key: &ViewKey, errand: Errand) {
        if let Errand::SurveyLook(number) = errand {
            return self.look_lost(now, key, number);
        }
        *self.bugs.entry("connect_lost").or_default() += 1;
        let Some(view) = self.view(key) else { return };
        let rows = view.rows;
        if let (Errand::SurveyConnect(number), Some((current, survey))) =
            (errand, view.survey.as_mut())
            && number == *current
        {
            survey.handle_connect_lost();
        }
        if let Some(row) = rows.connect {
            self.sweep.book(row, Fate::Invalid(InvalidReason::Lag), None);
        }
        self.timers.set(Timer::View(key.clone()), Some(now));
    }
}

/// Which counter a probe belongs to; traces, connections and large packets are not counted here.
const fn counted(errand: Errand) -> Option<Probe> {
    match errand {
        Errand::Survey { part: Part::Echo | Part::RateEcho, .. } => Some(Probe::Echo),
        Errand::Survey { part: Part::Syn | Part::Flow | Part::RateSyn, .. } => Some(Probe::Syn),
        Errand::Survey { .. }
        | Errand::SurveyConnect(_)
        | Errand::SurveyLook(_)
        | Errand::Decoy(_) => None,
    }
}

fn believed(seen: Observation, withdrawn: bool) -> Observation {
    if withdrawn && !seen.answer.is_from_target() && !matches!(seen.answer, Answer::Invalid(_)) {
        Observation { answer: Answer::Invalid(InvalidReason::Canary), ..seen }
    } else {
        seen
    }
}

pub(super) fn connect_fate(result: &ConnectResult) -> Fate {
    match result {
        ConnectResult::Connected | ConnectResult::Refused => Fate::Received,
        ConnectResult::Icmp(icmp) => fate(&Answer::Icmp(*icmp)),
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
        ServiceAnswer::Silent | ServiceAnswer::Unfinished { .. } => Fate::Lost(LossReason::Silent),
        ServiceAnswer::Closed { .. } => Fate::Lost(LossReason::ForeignReset),
    }
}
