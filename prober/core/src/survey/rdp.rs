//! The look at an RDP server, after the full connection of a survey has shown that it answers.

use std::sync::Arc;
use std::time::Duration;

use super::Survey;
use crate::evidence::rdp::{RdpDepth, RdpLook, RdpSeen, TlsOutcome};
use crate::evidence::{ConnectReport, ConnectResult, ServiceAnswer};
use crate::time::Instant;

/// A look whose TLS stage, or one of whose connections, died is made once more after this long: a
/// service that was just restarted, or a burst of loss, is no finding.
const ONCE_MORE_AFTER: Duration = Duration::from_secs(2);

/// A service whose first answer took longer is not asked for more: each stage would take as long.
pub(super) const SLOW: Duration = Duration::from_secs(3);
/// A stage of a look may take so many times as long as the first answer did.
const TIMES_SLOWER: u32 = 2;
/// A further look that begins later than this would not end within the time of a survey.
const LATEST: Duration = Duration::from_secs(4);
/// When a look must be over, from the start of a survey that somebody waits for (DESIGN section 9).
const ENDS: Duration = Duration::from_millis(11_500);

/// Whether and how far a survey looks at the RDP server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookScope {
    /// How far.
    pub depth: RdpDepth,
    /// Whether it is time for a look whatever the service answers.
    pub due: bool,
    /// What the service answered when it was last looked at: another answer is worth a look.
    pub said: Option<Said>,
}

/// What a service answers to the connection request of a full connection, without its particulars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It selects this protocol, or none because it does not negotiate.
    Selects(Option<u32>),
    /// It refuses with this code.
    Refuses(u32),
}

/// How far the look of a survey has come.
#[derive(Debug, Default)]
pub(super) enum Looking {
    #[default]
    NotAsked,
    Flying,
    /// It ended then with a stage that died, and waits to be made again.
    Doubtful(Box<RdpLook>, Instant),
    /// As before, and it is under way.
    FlyingAgain(Box<RdpLook>, Instant),
    Done(Box<RdpLook>, Instant),
}

impl Said {
    /// What this connection was answered, if that was an answer of an RDP server.
    pub fn of(report: &ConnectReport) -> Option<Self> {
        match report.service {
            Some(ServiceAnswer::Confirmed { selected, .. }) => Some(Self::Selects(selected)),
            Some(ServiceAnswer::Refused { code }) => Some(Self::Refuses(code)),
            _ => None,
        }
    }
}

impl Survey {
    /// The look to make now, if there is one.
    pub(super) fn poll_look(&mut self, now: Instant) -> Option<RdpDepth> {
        let scope = self.scope.look.filter(|_| !self.look_held)?;
        self.looking = match std::mem::take(&mut self.looking) {
            Looking::NotAsked if self.wants_look(scope) => Looking::Flying,
            Looking::Doubtful(look, at) if now >= at + ONCE_MORE_AFTER => {
                Looking::FlyingAgain(look, at)
            }
            other => {
                self.looking = other;
                return None;
            }
        };
        Some(scope.depth)
    }

    fn wants_look(&self, scope: LookScope) -> bool {
        let Some(report) = self.connection.ended() else { return false };
        let quick = report.service_time.is_some_and(|time| time <= SLOW);
        let connected = report.result == ConnectResult::Connected;
        let said = Said::of(report).filter(|_| connected && quick && !self.misses_any());
        said.is_some() && (scope.due || scope.said != said)
    }

    /// How long a stage of a look may take, given how long the first answer took; what is quick is
    /// not waited for longer than `usual`.
    pub fn look_patience(&self, usual: Duration) -> Duration {
        let Some(report) = self.connection.ended() else { return usual };
        report.service_time.map_or(usual, |time| usual.max(time * TIMES_SLOWER))
    }

    /// How long a look that begins now may take where the survey is waited for.
    pub fn time_for_look(&self, now: Instant) -> Duration {
        ENDS.saturating_sub(now.since(self.started))
    }

    /// Whether there is nothing to wait for.
    pub(super) fn look_is_over(&self) -> bool {
        match &self.looking {
            Looking::Flying | Looking::FlyingAgain(..) | Looking::Doubtful(..) => false,
            Looking::Done(..) => true,
            Looking::NotAsked => !self.scope.look.is_some_and(|scope| self.wants_look(scope)),
        }
    }

    /// Whether a look may begin: others of the same target may be under way.
    pub const fn hold_look(&mut self, held: bool) {
        self.look_held = held;
    }

    /// No more connections may be made now: what was seen must do.
    pub fn refuse_look(&mut self) {
        self.scope.look = None;
        self.end_looking();
    }

    /// Takes what a look showed.
    pub fn handle_look(&mut self, now: Instant, look: RdpLook) {
        // One that was interrupted has come to less than the one before it.
        let less = |first: &RdpLook| {
            first.tls.is_some() && look.tls.is_none() && look.dead_connection().is_none()
        };
        let came_to_less = matches!(&self.looking, Looking::FlyingAgain(first, _) if less(first));
        if look.answers.is_empty() || came_to_less {
            self.handle_look_lost();
            return;
        }
        if look.unaccepted.iter().any(is_shut) {
            self.ask_behind_a_look(now);
        }
        let look = Box::new(look);
        // What packets are lost with, a look is as well; another one would settle nothing.
        let in_time = now.since(self.started) <= LATEST && !self.misses_any();
        self.looking = match self.looking {
            Looking::Flying if died(&look) && in_time => Looking::Doubtful(look, now),
            _ => Looking::Done(look, now),
        };
    }

    /// The look's end was never told, or came before any answer: what an earlier one showed stands.
    pub fn handle_look_lost(&mut self) {
        self.scope.look = None;
        self.end_looking();
    }

    fn end_looking(&mut self) {
        self.looking = match std::mem::take(&mut self.looking) {
            Looking::Doubtful(look, at)
            | Looking::FlyingAgain(look, at)
            | Looking::Done(look, at) => Looking::Done(look, at),
            Looking::NotAsked | Looking::Flying => Looking::NotAsked,
        };
    }

    /// What the look showed, if one was made and stands.
    pub(super) fn seen_look(&self) -> Option<Arc<RdpSeen>> {
        let (look, at) = match &self.looking {
            Looking::Done(look, at) | Looking::Doubtful(look, at) => (look, at),
            Looking::NotAsked | Looking::Flying | Looking::FlyingAgain(..) => return None,
        };
        Some(Arc::new(RdpSeen { look: (**look).clone(), at: *at, replaced: None }))
    }
}

/// Whether a connection was not accepted, by no fault of ours.
const fn is_shut(result: &ConnectResult) -> bool {
    matches!(result, ConnectResult::Refused | ConnectResult::TimedOut | ConnectResult::Icmp(_))
}

/// Whether a stage ended with nothing to read, or took so long that it is worth a second opinion.
fn died(look: &RdpLook) -> bool {
    let tls = matches!(look.tls, Some(TlsOutcome::Failed(_)));
    look.dead_connection().is_some() || tls || look.slow_stage().is_some()
}
