//! What the service said to the full connection of a survey, and to the looks behind it.

use std::time::Duration;

use super::details::service_detail;
use super::findings::Findings;
use super::rdp::SLOW;
use super::signs::{Seen, is_lossy};
use super::{details, security};
use crate::evidence::rdp::{NtlmOutcome, RdpDepth, RdpStage, StageFailure, X224Outcome};
use crate::evidence::{AnswerKind, ConnectReport, ConnectResult, ServiceAnswer};
use crate::judge::Sign;
use crate::monitor::Baseline;
use crate::probe::rdp::OFFERS;
use crate::target::{Service, Target};
use crate::wire::x224::{Protocols, Selection};
use crate::wording::Wording;

/// A service that answers later than this has kept whoever waits for it waiting too long.
const LATE: Duration = Duration::from_secs(4);
/// Of one that is known, so many times what it usually takes is too long, from this on.
const TIMES_LATE: u32 = 8;
const LEAST_LATE: Duration = Duration::from_secs(2);

/// What a full connection was answered.
pub(super) fn sign(
    findings: &Findings,
    target: &Target,
    baseline: Option<&Baseline>,
) -> Option<Seen> {
    let report = findings.connect.as_ref()?;
    // Where TCP itself loses packets, what a connection missed proves nothing about the service.
    let syn = findings.syn.as_ref();
    let lossy = syn.is_some_and(|syn| is_lossy(syn, target.loss_threshold));
    let all_lost = syn.is_some_and(|syn| syn.valid() > 0 && syn.received() == 0);
    let missed = report.service.as_ref().is_some_and(ServiceAnswer::is_missing);
    if missed && (lossy || all_lost) || lossy && report.result == ConnectResult::TimedOut {
        return None;
    }
    let sign = match (&report.result, &report.service) {
        (ConnectResult::Connected, Some(answer)) => {
            let sign = of_answer(answer, findings, target)?;
            let slow = is_late(report, baseline) || slow_stage(findings).is_some();
            let late = sign == Sign::ServiceConfirmed && slow && !lossy;
            if late { Sign::ServiceLate } else { sign }
        }
        (ConnectResult::Connected, None) => return None,
        // Our own kernel says nothing of the service; the local signs tell.
        (ConnectResult::Local(_), _) => return None,
        // Who accepts a bare SYN and resets a whole connection shuts the service, whoever it is.
        (ConnectResult::Refused, _) if accepts_all(findings) => Sign::ServiceClosed,
        // One that vanished beside them met chance, or one path of several, which flows tell.
        (ConnectResult::TimedOut, _) if accepts_all(findings) => return None,
        (ConnectResult::Refused | ConnectResult::TimedOut | ConnectResult::Icmp(_), _) => {
            Sign::ServiceUnreached
        }
    };
    let said = report.service.as_ref().and_then(service_detail);
    let detail = match sign {
        Sign::ServiceClosed if report.result == ConnectResult::Refused => {
            Some(details::refuses_connections())
        }
        Sign::ServiceLate if is_late(report, baseline) => lateness(report, baseline),
        Sign::ServiceLate => slow_stage(findings).map(|(stage, took)| {
            details::slow_stage(stage, took, report.service_time.unwrap_or_default())
        }),
        Sign::ServiceConfirmed => with_blemish(said.as_ref(), findings, target),
        Sign::ServiceRefused => security::violates(findings)
            .or_else(|| refuses_every_offer(findings).then(details::refuses_every_offer)),
        _ => None,
    };
    Some(Seen::new(sign, detail.or(said)))
}

/// A stage of the look behind the first answer that took too long.
fn slow_stage(findings: &Findings) -> Option<(RdpStage, Duration)> {
    findings.rdp.as_deref()?.look.slow_stage()
}

/// What was said, and what is amiss although it was.
fn with_blemish(said: Option<&Wording>, findings: &Findings, target: &Target) -> Option<Wording> {
    let blemish = blemish(findings, target)?;
    let said = said.into_iter().cloned();
    Some(Wording::list(said.chain([blemish.in_words()]), "，"))
}

/// What is amiss, or not known, of a service that answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blemish<'a> {
    /// A connection just before was left so.
    Missed(&'a ServiceAnswer),
    /// A connection just before was refused with this code.
    Refused(u32),
    /// A connection just behind it died.
    Further(&'a StageFailure),
    /// Something else answered one.
    Foreign(&'a Wording),
    /// To an offer that clients of today do not make it selects what was not offered.
    Violates,
    /// NTLM was not come to a challenge.
    Unchallenged(&'a NtlmOutcome),
    /// It took so long that nothing further was asked.
    TooSlow(Duration),
}

impl Blemish<'_> {
    /// The same in a few words.
    pub(crate) fn in_words(self) -> Wording {
        match self {
            Self::Missed(said) => details::connection_before(said),
            Self::Refused(code) => details::refused_before(code),
            Self::Further(failure) => details::further_connection(failure),
            Self::Foreign(hint) => details::security::no_rdp(hint),
            Self::Violates => details::selects_strangely(),
            Self::Unchallenged(outcome) => details::security::without_challenge(outcome),
            Self::TooSlow(time) => details::too_slow_for_a_look(time),
        }
    }
}

/// The gravest blemish of a service that answers, if there is one.
pub(crate) fn blemish<'a>(findings: &'a Findings, target: &Target) -> Option<Blemish<'a>> {
    if let Some(missed) = findings.connection_before.as_ref().filter(|said| said.is_missing()) {
        return Some(Blemish::Missed(missed));
    }
    if target.service != Service::Rdp {
        return None;
    }
    let Some(seen) = findings.rdp.as_deref() else {
        let time = findings.connect.as_ref()?.service_time?;
        let slow = time > SLOW && target.rdp_depth >= RdpDepth::Tls;
        return slow.then_some(Blemish::TooSlow(time));
    };
    if let Some(ServiceAnswer::Refused { code: code @ (0 | 1 | 3..) }) =
        findings.connect.as_ref()?.service
    {
        return Some(Blemish::Refused(code));
    }
    if let Some(failure) = seen.look.dead_connection() {
        return Some(Blemish::Further(failure));
    }
    let answers = || seen.look.answers.iter().map(|answer| &answer.outcome);
    if let Some(hint) = answers().find_map(X224Outcome::foreign) {
        return Some(Blemish::Foreign(hint));
    }
    if answers().any(X224Outcome::is_violation) {
        return Some(Blemish::Violates);
    }
    let ntlm = seen.look.ntlm.as_ref().filter(|outcome| outcome.fails())?;
    Some(Blemish::Unchallenged(ntlm))
}

/// Whether every SYN of the survey that was answered was accepted.
fn accepts_all(findings: &Findings) -> bool {
    findings
        .syn
        .as_ref()
        .is_some_and(|syn| syn.count(AnswerKind::SynAck) > 0 && syn.count(AnswerKind::Reset) == 0)
}

fn of_answer(answer: &ServiceAnswer, findings: &Findings, target: &Target) -> Option<Sign> {
    let is_rdp = target.service == Service::Rdp;
    Some(match answer {
        ServiceAnswer::Confirmed { selected: Some(protocol), .. }
            if is_rdp && is_violation(*protocol) =>
        {
            Sign::ServiceRefused
        }
        ServiceAnswer::Confirmed { .. } if security::violates(findings).is_some() => {
            Sign::ServiceRefused
        }
        // Who takes one connection and then refuses them all serves nobody for long.
        ServiceAnswer::Confirmed { .. } if refuses_all(findings) => match refuses_with(findings) {
            Some(3) => Sign::ServiceUncertified,
            _ => Sign::ServiceRefused,
        },
        ServiceAnswer::Confirmed { .. } => Sign::ServiceConfirmed,
        // What was refused once and then taken is no refusal.
        ServiceAnswer::Refused { .. } if takes_offer_of_today(findings) => Sign::ServiceConfirmed,
        // SSL_CERT_NOT_ON_SERVER ([MS-RDPBCGR] 2.2.1.2.2).
        ServiceAnswer::Refused { code: 3 } => Sign::ServiceUncertified,
        ServiceAnswer::Refused { code } if is_choosy(*code, findings) => Sign::ServiceConfirmed,
        ServiceAnswer::Refused { .. } => Sign::ServiceRefused,
        ServiceAnswer::Foreign { .. } => Sign::ServiceForeign,
        ServiceAnswer::Silent | ServiceAnswer::Unfinished { .. } => Sign::ServiceSilent,
        ServiceAnswer::Closed { .. } => Sign::ServiceClosed,
        ServiceAnswer::NotAsked => return None,
    })
}

/// Whether a refusal of the first offer only tells which security a healthy server wants: code 2
/// asks for standard RDP security, which clients fall back to; a look shows whether it is taken.
/// The other codes ask for what was offered, so whoever offers what clients of today do stays out.
fn is_choosy(code: u32, findings: &Findings) -> bool {
    let answers = findings.rdp.iter().flat_map(|seen| &seen.look.answers);
    let mut asked = answers.map(|answer| &answer.outcome).peekable();
    code == 2 && (asked.peek().is_none() || asked.any(takes))
}

/// Whether a look was taken with what every connection offers, as clients of today do.
pub(super) fn takes_offer_of_today(findings: &Findings) -> bool {
    let [today, ..] = OFFERS;
    let answer = findings.rdp.as_deref().and_then(|seen| seen.look.answer_to(today));
    answer.is_some_and(takes)
}

/// Whether a server takes what it was offered.
const fn takes(outcome: &X224Outcome) -> bool {
    match outcome {
        X224Outcome::Selected { selection, .. } => !matches!(selection, Selection::Violation),
        X224Outcome::Plain => true,
        X224Outcome::Failure(_)
        | X224Outcome::Foreign(_)
        | X224Outcome::Malformed
        | X224Outcome::Failed(_) => false,
    }
}

/// Whether all that may be offered was, and was refused: a look ends before that where answers are
/// slow, and one that asked two of four knows nothing of the others.
pub(super) fn refuses_every_offer(findings: &Findings) -> bool {
    let Some(seen) = &findings.rdp else { return false };
    let refused = |offer| matches!(seen.look.answer_to(offer), Some(X224Outcome::Failure(_)));
    OFFERS.into_iter().all(refused)
}

/// Whether a look was refused whatever it offered.
fn refuses_all(findings: &Findings) -> bool {
    let Some(seen) = &findings.rdp else { return false };
    let answers = &seen.look.answers;
    let refused = |outcome: &X224Outcome| matches!(outcome, X224Outcome::Failure(_));
    answers.len() > 1 && answers.iter().all(|answer| refused(&answer.outcome))
}

/// The code with which the first connection of a look was refused.
fn refuses_with(findings: &Findings) -> Option<u32> {
    match findings.rdp.as_deref()?.look.answers.first()?.outcome {
        X224Outcome::Failure(code) => Some(code.code()),
        _ => None,
    }
}

/// Whether a server that is offered what every connection offers may not select this protocol.
fn is_violation(protocol: u32) -> bool {
    Protocols::SSL.with(Protocols::HYBRID).allows(protocol) == Selection::Violation
}

/// Whether the service answered, but only after a time that tells of distress.
pub fn is_late(report: &ConnectReport, baseline: Option<&Baseline>) -> bool {
    let late = usual(baseline).map_or(LATE, |usual| (usual * TIMES_LATE).max(LEAST_LATE).min(LATE));
    report.service_time.is_some_and(|time| time > late)
}

fn usual(baseline: Option<&Baseline>) -> Option<Duration> {
    baseline.and_then(|baseline| baseline.service_time)
}

/// How late the service answered, beside the handshake before it and what is usual.
fn lateness(report: &ConnectReport, baseline: Option<&Baseline>) -> Option<Wording> {
    let handshake = report.handshake.unwrap_or_default();
    Some(details::lateness(report.service_time?, handshake, usual(baseline)))
}
