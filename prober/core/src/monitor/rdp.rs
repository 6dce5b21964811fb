//! Looks at RDP servers: when they are due, and what becomes of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::answers::connect_fate;
use super::flights::{Purpose as Errand, ViewKey};
use super::looks::PATIENT;
use super::{Baseline, Flight, Monitor, Output, Purpose, Timer};
use crate::accounting::Fate;
use crate::evidence::LossReason;
use crate::evidence::rdp::{
    NtlmOutcome, RdpDepth, RdpLook, RdpSeen, RdpStage, StageFailure, TlsOutcome, X224Outcome,
};
use crate::judge::Class;
use crate::probe::rdp::{ATTEMPTS_MAX, OFFERS};
use crate::snapshot::RdpRow;
use crate::survey::findings::Findings;
use crate::survey::rdp::{LookScope, Said};
use crate::survey::service::is_late;
use crate::target::{Service, Target};
use crate::time::{Instant, Stamp, StampSource};
use crate::vantage::VantageId;
use crate::wire::certificate::hexadecimal;

/// A healthy server is looked at this often.
const EVERY: Duration = Duration::from_secs(6 * 3_600);
/// Looks begin at least this far apart, whatever happens.
const APART: Duration = Duration::from_secs(600);
/// Limit of each handshake of a look, and of each stage after it where the service is quick.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const STAGE_TIMEOUT: Duration = Duration::from_secs(3);
/// Stages of a connection: four, and its end.
const STAGES: u32 = 5;

/// Where less time is left no look begins.
const WORTH_BEGINNING: Duration = Duration::from_millis(500);
/// A look whose end is not told so long after its limit is given up.
const WAITED_FOR: Duration = Duration::from_secs(2);

/// One look at an RDP server to make, connection after connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RdpOrder {
    /// The probe, to name when the look has ended.
    pub flight: Flight,
    /// From where.
    pub vantage: VantageId,
    /// To whom.
    pub to: SocketAddr,
    /// How far.
    pub depth: RdpDepth,
    /// The name to say in TLS, where the target has one.
    pub server_name: Option<String>,
    /// What our hello is filled with; no key is made of it.
    pub random: [u8; 32],
    /// Limit of each handshake.
    pub connect_timeout: Duration,
    /// Limit of each stage after that.
    pub stage_timeout: Duration,
    /// Limit of the whole: what is under way then is interrupted.
    pub limit: Duration,
}

/// What is known of an RDP server from one vantage.
#[derive(Debug, Default)]
pub(super) struct RdpWatch {
    /// The last look.
    pub(super) seen: Option<Arc<RdpSeen>>,
    /// What the service had answered before it.
    said: Option<Said>,
    begun: Option<Instant>,
    /// Whether a connection of the last look came to nothing: what it showed is not the whole.
    died: bool,
    flying: bool,
    /// The same as numbers.
    row: Option<Arc<RdpRow>>,
}

impl RdpWatch {
    /// Whether and how far a survey that begins now may look.
    pub(super) fn scope(&self, now: Instant, target: &Target, failing: bool) -> Option<LookScope> {
        let depth = target.rdp_depth;
        let since = self.begun.map(|begun| now.since(begun));
        let rested = since.is_none_or(|since| since >= APART);
        let every = if failing || self.died { APART } else { EVERY };
        let due = since.is_none_or(|since| since >= every);
        let wanted = target.service == Service::Rdp && depth != RdpDepth::Off;
        (wanted && rested).then_some(LookScope { depth, due, said: self.said })
    }

    /// Takes what a survey saw, or gives it what was seen before if the service answers the same.
    ///
    /// What was learnt in health stands for what was seen before a restart.
    pub(super) fn conclude(&mut self, findings: &mut Findings, learnt: Option<&Baseline>) {
        let said = findings.connect.as_ref().and_then(Said::of);
        let Some(fresh) = &mut findings.rdp else {
            // What was seen of a quick server tells nothing of one that has become slow.
            let late = findings.connect.as_ref().is_some_and(|report| is_late(report, learnt));
            if said.is_some() && said == self.said && !late {
                findings.rdp.clone_from(&self.seen);
            }
            return;
        };
        let seen = Arc::make_mut(fresh);
        self.died = seen.look.dead_connection().is_some();
        // What shows nothing does not take the place of what showed something.
        if seen.look.is_blank() && self.row.is_some() {
            return;
        }
        seen.replaced =
            self.note(&seen.look, seen.at, learnt.and_then(|learnt| learnt.certificate));
        (self.seen, self.said) = (Some(Arc::clone(fresh)), said);
    }

    /// Counts a look; gives the fingerprint before, if another certificate was shown.
    fn note(&mut self, look: &RdpLook, at: Instant, learnt: Option<[u8; 32]>) -> Option<String> {
        let known = self.row.take().map(|row| (*row).clone());
        let mut row = known.unwrap_or_else(|| RdpRow {
            at: Stamp { at, source: StampSource::User },
            look: RdpLook::default(),
            fingerprint: learnt.map(|bytes| hexadecimal(&bytes)),
            fingerprint_before: None,
            certificate_changes: 0,
            stages: Default::default(),
        });
        for (stage, histogram) in RdpStage::ALL.iter().zip(&mut row.stages) {
            look.time_of(*stage).into_iter().for_each(|time| histogram.observe(time));
        }
        let shown = look.shown().map(|shown| shown.fingerprint_sha256.clone());
        let changed = shown.is_some() && shown != row.fingerprint;
        let replaced = row.fingerprint.clone().filter(|_| changed);
        if replaced.is_some() {
            row.certificate_changes += 1;
            row.fingerprint_before.clone_from(&replaced);
        }
        row.fingerprint = shown.or(row.fingerprint);
        (row.look, row.at.at) = (look.clone(), at);
        self.row = Some(Arc::new(row));
        replaced
    }

    /// What looks have shown, once there was one.
    pub(super) const fn known(&self) -> Option<&Arc<RdpRow>> {
        self.row.as_ref()
    }
}

impl Monitor {
    /// Whether another vantage, or address, of this target is just being looked at.
    pub(super) fn is_looked_at(&self, key: &ViewKey) -> bool {
        let views = self.targets.get(&key.target).map(|watch| &watch.views);
        views.into_iter().flat_map(|views| views.values()).any(|view| view.rdp.flying)
    }

    /// Whether what fails may be what a look sees.
    pub(super) const fn is_for_a_look(class: Class) -> bool {
        matches!(
            class,
            Class::Certificate
                | Class::RdpRefused
                | Class::ServiceHung
                | Class::WrongService
                | Class::ResetInjected
                | Class::MtuBlackhole
        )
    }

    /// Orders a look, if so many new connections are within the caps.
    pub(super) fn look(&mut self, now: Instant, key: &ViewKey, (number, depth): (u64, RdpDepth)) {
        let random = self.look_random(now, key);
        let Some(watch) = self.targets.get_mut(&key.target) else { return };
        let (port, host) = (watch.target.port, watch.target.host.clone());
        let Some(view) = watch.views.get_mut(&(key.vantage, key.address)) else { return };
        let is_hasty = self.purpose == Purpose::Once && self.patience < PATIENT;
        let left = view.survey.as_ref().map(|(_, survey)| survey.time_for_look(now));
        let left = left.filter(|_| is_hasty);
        if !view.has_connects(now, OFFERS.len()) || left.is_some_and(|left| left < WORTH_BEGINNING)
        {
            if let Some((_, survey)) = &mut view.survey {
                survey.refuse_look();
            }
            return;
        }
        view.rdp.flying = true;
        view.rdp.begun = Some(now);
        let survey = view.survey.as_ref().map(|(_, survey)| survey);
        let stage_timeout = survey.map_or(STAGE_TIMEOUT, |it| it.look_patience(STAGE_TIMEOUT));
        let attempts = u32::try_from(ATTEMPTS_MAX).unwrap_or(u32::MAX);
        let limit = (CONNECT_TIMEOUT + stage_timeout * STAGES) * attempts;
        let limit = left.map_or(limit, |left| limit.min(left));
        let errand = Errand::SurveyLook(number);
        let (whose, waited) = ((key.clone(), errand), limit + WAITED_FOR);
        let order = RdpOrder {
            flight: self.flights.order_connect(now, whose, (port, None), waited),
            vantage: key.vantage,
            to: SocketAddr::new(key.address, port),
            depth,
            server_name: Some(host),
            random,
            connect_timeout: CONNECT_TIMEOUT,
            stage_timeout,
            limit,
        };
        self.outputs.push_back(Output::Look(Box::new(order)));
    }

    fn look_random(&self, now: Instant, key: &ViewKey) -> [u8; 32] {
        let mut random = [0; 32];
        for (salt, chunk) in (0_u64..).zip(random.as_chunks_mut::<8>().0) {
            *chunk = self.secret.hash_address(key.address, now.as_nanos(), salt).to_be_bytes();
        }
        random
    }

    pub(super) fn handle_looked(&mut self, now: Instant, flight: Flight, look: RdpLook) {
        let Some((key, errand, _)) = self.flights.end_connect(flight, None) else { return };
        for _ in 0..look.connections {
            self.budgets.spend(now, key.address);
        }
        self.book_look(&key, &look);
        let Some(view) = self.view(&key) else { return };
        view.rdp.flying = false;
        view.count_connects(now, look.connections);
        if let (Errand::SurveyLook(number), Some((current, survey))) = (errand, &mut view.survey)
            && number == *current
        {
            survey.handle_look(now, look);
        }
        self.wake_views(now, &key);
    }

    /// The connections of a look count as all full connections do.
    fn book_look(&mut self, key: &ViewKey, look: &RdpLook) {
        let Some(row) = self.view(key).and_then(|view| view.rows.connect) else { return };
        let failed = u32::try_from(look.unaccepted.len()).unwrap_or(u32::MAX);
        let took = look.time_of(RdpStage::Connect);
        for number in 0..look.connections.saturating_sub(failed) {
            self.sweep.book(row, Fate::Received, took.filter(|_| number == 0));
        }
        for result in &look.unaccepted {
            self.sweep.book(row, connect_fate(result), None);
        }
        let Some(row) = self.view(key).and_then(|view| view.rows.x224) else { return };
        let fates = look.answers.iter().filter_map(|answer| first_words(&answer.outcome));
        for (number, fate) in fates.enumerate() {
            let took = look.time_of(RdpStage::X224).filter(|_| number == 0);
            self.sweep.book(row, fate, took);
        }
        self.book_security(key, look);
    }

    /// TLS and NTLM count once a look.
    fn book_security(&mut self, key: &ViewKey, look: &RdpLook) {
        let Some(rows) = self.view(key).map(|view| view.rows) else { return };
        if let (Some(row), Some(fate)) = (rows.tls, look.tls.as_ref().and_then(tls_fate)) {
            self.sweep.book(row, fate, look.time_of(RdpStage::Tls));
        }
        if let (Some(row), Some(fate)) = (rows.ntlm, look.ntlm.as_ref().and_then(ntlm_fate)) {
            self.sweep.book(row, fate, look.time_of(RdpStage::Ntlm));
        }
    }

    /// The driver owes us the end of a look.
    pub(super) fn look_lost(&mut self, now: Instant, key: &ViewKey, number: u64) {
        *self.bugs.entry("look_lost").or_default() += 1;
        let Some(view) = self.view(key) else { return };
        view.rdp.flying = false;
        if let Some((current, survey)) = &mut view.survey
            && number == *current
        {
            survey.handle_look_lost();
        }
        self.wake_views(now, key);
    }

    /// Other vantages may have waited for the end of this look.
    fn wake_views(&mut self, now: Instant, key: &ViewKey) {
        let Some(watch) = self.targets.get(&key.target) else { return };
        for (vantage, address) in watch.views.keys() {
            let key = ViewKey { target: key.target.clone(), vantage: *vantage, address: *address };
            self.timers.set(Timer::View(key), Some(now));
        }
    }

    /// Whether a look is to be thought of at all, now that a survey begins with a connection.
    pub(super) fn look_scope(&self, now: Instant, key: &ViewKey) -> Option<LookScope> {
        let watch = self.targets.get(&key.target).filter(|watch| !watch.canary)?;
        let view = watch.views.get(&(key.vantage, key.address))?;
        let failing = self.purpose == Purpose::Watch && Self::is_for_a_look(watch.class);
        view.rdp.scope(now, &watch.target, failing)
    }
}

/// How a stage counts that ended with nothing to read; not at all where it was not reached.
const fn failed_fate(failure: &StageFailure) -> Option<Fate> {
    match failure {
        StageFailure::NotConnected(_) | StageFailure::Local(_) => None,
        StageFailure::TimedOut { .. } => Some(Fate::Lost(LossReason::Silent)),
        StageFailure::Closed | StageFailure::Reset => Some(Fate::Lost(LossReason::ForeignReset)),
    }
}

/// How TLS counts, if it was begun.
const fn tls_fate(outcome: &TlsOutcome) -> Option<Fate> {
    match outcome {
        TlsOutcome::Failed(failure) => failed_fate(failure),
        TlsOutcome::Shown(_)
        | TlsOutcome::Alert(_)
        | TlsOutcome::Unshared(_)
        | TlsOutcome::Foreign(_)
        | TlsOutcome::Malformed
        | TlsOutcome::TooLarge => Some(Fate::Received),
    }
}

/// How NTLM counts, if it was begun.
const fn ntlm_fate(outcome: &NtlmOutcome) -> Option<Fate> {
    match outcome {
        NtlmOutcome::Failed(failure) => failed_fate(failure),
        // Nothing was asked.
        NtlmOutcome::UnsupportedTls => None,
        NtlmOutcome::Challenged { .. } | NtlmOutcome::Error(_) | NtlmOutcome::Malformed => {
            Some(Fate::Received)
        }
    }
}

/// How a connection request of a look counts, if it was sent.
const fn first_words(outcome: &X224Outcome) -> Option<Fate> {
    match outcome {
        X224Outcome::Failed(failure) => failed_fate(failure),
        X224Outcome::Selected { .. }
        | X224Outcome::Plain
        | X224Outcome::Failure(_)
        | X224Outcome::Foreign(_)
        | X224Outcome::Malformed => Some(Fate::Received),
    }
}
