//! The full connection of a survey, and the one that is made once more where the first settles
//! nothing: it was left unanswered, as happens once to a service that was just restarted, or it was
//! answered, and not one SYN has been since.

use std::time::Duration;

use super::{Depth, Survey};
use crate::evidence::{AnswerKind, ConnectReport, ConnectResult, Overheard, ServiceAnswer};
use crate::time::Instant;

/// A connection that was ended without an answer is made again after this long; one that was
/// waited for has had its time.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
/// One that would begin later than this would not be waited for long enough: a service that is well
/// answers within a second.
const LATEST: Duration = Duration::from_millis(8_400);
/// So many silent SYNs make doubtful that a connection could still be made.
const SYNS_SILENT: u64 = 3;
/// When it must be over, from the start of the survey (DESIGN section 9); a goodbye that nobody
/// answers takes a second more.
const ENDS: Duration = Duration::from_millis(10_500);

/// How far the connection of a survey has come.
#[derive(Debug)]
pub(super) struct Connection {
    state: State,
    /// What came of the first, once it is made again.
    first: Option<Ended>,
}

#[derive(Debug)]
enum State {
    NotAsked,
    Wanted(Instant),
    Flying,
    Done(Ended),
}

/// A connection that ended, and what the ring saw of it.
type Ended = (Box<ConnectReport>, Option<Overheard>);

impl Connection {
    pub(super) const fn new(wanted: bool, now: Instant) -> Self {
        let state = if wanted { State::Wanted(now) } else { State::NotAsked };
        Self { state, first: None }
    }

    /// Whether it is to be made now; it then is under way.
    fn poll(&mut self, now: Instant) -> bool {
        let due = matches!(self.state, State::Wanted(at) if at <= now);
        if due {
            self.state = State::Flying;
        }
        due
    }

    /// Whether there is something to wait for.
    pub(super) const fn is_open(&self) -> bool {
        matches!(self.state, State::Wanted(_) | State::Flying)
    }

    /// Whether the first of all is under way.
    pub(super) const fn is_first_flying(&self) -> bool {
        matches!(self.state, State::Flying) && self.first.is_none()
    }

    /// What is known of it: of the first, as long as it is made again.
    fn known(&self) -> Option<&Ended> {
        match &self.state {
            State::Done(ended) => Some(ended),
            State::NotAsked | State::Wanted(_) | State::Flying => self.first.as_ref(),
        }
    }

    pub(super) fn report(&self) -> Option<&ConnectReport> {
        self.known().map(|(report, _)| &**report)
    }

    pub(super) fn overheard(&self) -> Option<Overheard> {
        self.known().and_then(|(_, overheard)| *overheard)
    }

    /// The same, once nothing more is to come.
    pub(super) fn ended(&self) -> Option<&ConnectReport> {
        self.report().filter(|_| !self.is_open())
    }

    /// What the first was answered, where the one after it came to the contrary.
    pub(super) fn before(&self) -> Option<&ServiceAnswer> {
        let ((first, _), State::Done((last, _))) = (self.first.as_ref()?, &self.state) else {
            return None;
        };
        first.service.as_ref().filter(|_| is_answered(first) != is_answered(last))
    }

    fn end(&mut self, ended: Ended, again: Option<Instant>) {
        self.state = match (self.first.take(), again) {
            (None, Some(at)) => {
                self.first = Some(ended);
                State::Wanted(at)
            }
            (None, None) => State::Done(ended),
            // Whoever ends one may shut others out from then on: that says less than the first.
            (Some(first), _) if !is_answered(&first.0) && !is_answered(&ended.0) => {
                State::Done(first)
            }
            (Some(first), _) => {
                self.first = Some(first);
                State::Done(ended)
            }
        };
    }

    fn repeat(&mut self, now: Instant) {
        let state = std::mem::replace(&mut self.state, State::Wanted(now));
        if let State::Done(ended) = state {
            self.first = Some(ended);
        }
    }

    fn lose(&mut self) {
        self.state = self.first.take().map_or(State::NotAsked, State::Done);
    }
}

/// Whether the service was reached and said something, or need not say anything.
fn is_answered(report: &ConnectReport) -> bool {
    let said = report.service.as_ref().is_none_or(|said| !said.is_missing());
    report.result == ConnectResult::Connected && said
}

impl Survey {
    /// Whether a connection is to be made now, and if so, whether it is the second.
    pub(super) fn poll_connection(&mut self, now: Instant) -> Option<bool> {
        self.connection.poll(now).then(|| self.connection.first.is_some())
    }

    /// Takes the end of a full connection, and what the ring saw of it.
    pub fn handle_connect(
        &mut self,
        now: Instant,
        report: Box<ConnectReport>,
        overheard: Option<Overheard>,
    ) {
        let again = self.connects_again_at(now, &report);
        self.connection.end((report, overheard), again);
    }

    /// A full connection's end was never told, or there may be none: what an earlier one showed
    /// stands.
    pub fn handle_connect_lost(&mut self) {
        self.connection.lose();
    }

    /// When to make a connection once more that ended so. What packets are lost with, it is lost
    /// with as well.
    fn connects_again_at(&self, now: Instant, report: &ConnectReport) -> Option<Instant> {
        let wanted = self.scope.connect_again && self.scope.depth != Depth::Recheck;
        if !wanted || report.result != ConnectResult::Connected || self.misses_any() {
            return None;
        }
        let at = match report.service.as_ref()? {
            ServiceAnswer::Silent | ServiceAnswer::Unfinished { .. } => now,
            ServiceAnswer::Closed { .. } => now + AGAIN_AFTER,
            _ => return None,
        };
        (at.since(self.started) <= LATEST).then_some(at)
    }

    /// Makes a connection once more that was answered, where SYNs are not: something may let whole
    /// connections pass and no bare SYN, or nothing at all any more.
    pub(super) fn plan_connection(&mut self, now: Instant) {
        let silent = self.syn.as_ref().is_some_and(|syn| {
            let tally = syn.tally();
            tally.received() == 0 && tally.count(AnswerKind::Silence) >= SYNS_SILENT
        });
        let in_time = now.since(self.started) <= LATEST;
        let wanted = self.scope.connect_again && self.scope.depth != Depth::Recheck;
        let first = self.connection.first.is_none();
        if silent && in_time && wanted && first && self.connection.ended().is_some_and(is_answered)
        {
            self.connection.repeat(now);
        }
    }

    /// How long a connection that is made now may take to be accepted, and its service to answer.
    pub fn connection_patience(&self, now: Instant, usual: [Duration; 2]) -> [Duration; 2] {
        if self.connection.first.is_none() {
            return usual;
        }
        let left = ENDS.saturating_sub(now.since(self.started));
        let [accept, answer] = usual;
        [accept.min(left / 3), answer.min(left * 2 / 3)]
    }
}

#[cfg(test)]
mod tests;
