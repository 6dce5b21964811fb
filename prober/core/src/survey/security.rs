//! Signs and notes of a look at an RDP server: TLS, its certificate, and how it secures sessions.

use std::cmp::Ordering;
use std::time::Duration;

use super::details::security as details;
use super::findings::Findings;
use super::service::{refuses_every_offer, takes_offer_of_today};
use super::signs::Seen;
use crate::evidence::ServiceAnswer;
use crate::evidence::rdp::{
    Nla, NtlmOutcome, RdpAnswer, RdpLook, RdpSeen, SecurityLayer, StageFailure, TlsOutcome,
    TlsShown, X224Outcome,
};
use crate::judge::{Note, Sign};
use crate::wire::certificate::{Certificate, Issuance, KeyAlgorithm};
use crate::wire::tls::{CipherSuite, Version};
use crate::wire::x224::{Protocols, Selection};
use crate::wording::Wording;

/// Windows renews an expired certificate of its own when a connection comes (event 1058), so that
/// one is broken only this long after its end.
const RENEWAL: Duration = Duration::from_secs(24 * 3_600);
/// Clocks may differ by so much before a certificate counts as not valid yet: what Kerberos allows
/// (RFC 4120 section 1.6).
const CLOCKS_DIFFER: Duration = Duration::from_secs(300);
/// A clock that is off by more is worth a note.
const SKEWED: Duration = Duration::from_secs(60);
/// RSA keys below this are weak (NIST SP 800-131A revision 2 section 3).
const RSA_BITS: u32 = 2_048;
/// `TLS_RSA_WITH_RC4_128_SHA` (RFC 7465) and `TLS_RSA_WITH_3DES_EDE_CBC_SHA` (RFC 9325 4.1).
const WEAK_SUITES: [CipherSuite; 2] = [CipherSuite(0x0005), CipherSuite(0x000a)];

/// What the last look says.
pub(super) fn signs(findings: &Findings) -> impl Iterator<Item = Seen> {
    let seen = findings.rdp.as_deref();
    let look = seen.map(|seen| &seen.look);
    let answered = |sign| matches!(sign, Sign::TlsShown | Sign::TlsAlert | Sign::TlsUnshared);
    let tls = look.and_then(tls).filter(|seen| answered(seen.sign) || !loses(findings));
    [tls, certificate(findings), seen.and_then(machine)].into_iter().flatten()
}

/// Whether packets are lost, so that a stage which died proves nothing about the server.
fn loses(findings: &Findings) -> bool {
    let mut tallies = [Some(&findings.echo), findings.syn.as_ref()].into_iter().flatten();
    tallies.any(|tally| tally.received() > 0 && tally.received() < tally.valid())
}

fn tls(look: &RdpLook) -> Option<Seen> {
    let (sign, detail) = match look.tls.as_ref()? {
        TlsOutcome::Shown(shown) => {
            (Sign::TlsShown, details::connection(shown.version, shown.cipher_suite))
        }
        // What is said of our old hello alone is not said of the server.
        TlsOutcome::Alert(alert) if alert.description.is_about_the_offer() => return None,
        TlsOutcome::Alert(alert) => (Sign::TlsAlert, details::alert(alert.description)),
        TlsOutcome::Unshared(said) => (Sign::TlsUnshared, details::unshared(*said)),
        TlsOutcome::Foreign(hint) => (Sign::TlsGarbled, details::no_tls(hint)),
        TlsOutcome::Malformed => (Sign::TlsGarbled, details::unreadable_tls()),
        TlsOutcome::TooLarge => (Sign::TlsGarbled, details::endless_tls()),
        TlsOutcome::Failed(StageFailure::Reset) => (Sign::TlsReset, details::tls_died(true)),
        TlsOutcome::Failed(StageFailure::Closed) => (Sign::TlsEnded, details::tls_died(false)),
        TlsOutcome::Failed(StageFailure::TimedOut { .. }) => {
            (Sign::TlsSilent, details::tls_silent())
        }
        TlsOutcome::Failed(StageFailure::NotConnected(_) | StageFailure::Local(_)) => return None,
    };
    Some(Seen::new(sign, Some(detail)))
}

/// What our clock says now, by what it said during the look: a certificate may end after it.
fn wall(findings: &Findings) -> Option<Duration> {
    let seen = findings.rdp.as_deref()?;
    Some(seen.look.wall? + findings.ended.since(seen.at))
}

fn certificate(findings: &Findings) -> Option<Seen> {
    let shown = findings.rdp.as_deref()?.look.shown()?;
    let Ok(certificate) = &shown.certificate else {
        return Some(Seen::new(Sign::CertificateUnreadable, Some(details::unreadable())));
    };
    let now = wall(findings)?;
    let sign = match validity(certificate, now) {
        Ordering::Equal => Sign::CertificateValid,
        Ordering::Less | Ordering::Greater => Sign::CertificateExpired,
    };
    let detail = details::certificate(certificate);
    let renewing = sign == Sign::CertificateValid && seconds(now) > certificate.not_after;
    Some(Seen::new(sign, Some(if renewing { details::renewing(&detail) } else { detail })))
}

/// Whether something came in place of TLS that is none.
pub(crate) fn is_no_tls(findings: &Findings) -> bool {
    let tls = findings.rdp.as_deref().and_then(|seen| seen.look.tls.as_ref());
    matches!(tls, Some(TlsOutcome::Foreign(_) | TlsOutcome::Malformed))
}

/// What is wrong with the certificate or with TLS, in a sentence, as far as a look shows it.
pub(crate) fn fault(findings: &Findings) -> Option<Wording> {
    let look = &findings.rdp.as_deref()?.look;
    let Some(shown) = look.shown() else {
        let seen = tls(look)?;
        return seen.detail.as_ref().map(details::tls_fault);
    };
    let certificate = shown.certificate.as_ref().ok()?;
    match validity(certificate, wall(findings)?) {
        Ordering::Less => Some(details::not_yet(certificate.not_before)),
        Ordering::Equal => None,
        Ordering::Greater => Some(details::expired(certificate.not_after)),
    }
}

/// Whether now is before the time in which a certificate may be used, within it or behind it, given
/// what Windows does by itself and how far clocks may differ.
fn validity(certificate: &Certificate, now: Duration) -> Ordering {
    let now = seconds(now);
    let own = certificate.issuance != Issuance::Foreign;
    let after = certificate.not_after.saturating_add(if own { seconds(RENEWAL) } else { 0 });
    let before = certificate.not_before.saturating_sub(seconds(CLOCKS_DIFFER));
    if now < before {
        Ordering::Less
    } else if now > after {
        Ordering::Greater
    } else {
        Ordering::Equal
    }
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// Whether the certificate is the one that was seen before, as far as it was.
fn machine(seen: &RdpSeen) -> Option<Seen> {
    let foreign = seen.look.answers.iter().find_map(|answer| match &answer.outcome {
        X224Outcome::Foreign(hint) => Some(hint),
        _ => None,
    });
    if let Some(hint) = foreign {
        return Some(Seen::new(Sign::MachineAnother, Some(details::no_rdp(hint))));
    }
    seen.replaced.as_ref()?;
    let detail = details::replaced(&seen.look.shown()?.fingerprint_sha256);
    Some(Seen::new(Sign::MachineAnother, Some(detail)))
}

/// Whether the server selected what was not offered, in a look or in the connection before it.
///
/// Whoever takes what clients of today offer serves them, whatever it makes of other offers.
pub(super) fn violates(findings: &Findings) -> Option<Wording> {
    if takes_offer_of_today(findings) {
        return None;
    }
    let looks = findings.rdp.iter().flat_map(|seen| &seen.look.answers);
    let mut violations = looks.filter_map(|answer| match answer.outcome {
        X224Outcome::Selected { protocol, selection: Selection::Violation, .. } => {
            Some(details::violation(answer.offered.bits(), protocol))
        }
        _ => None,
    });
    violations.next().or_else(|| {
        let protocol = selected_at_first(findings)?;
        let stray = OFFERED.allows(protocol) == Selection::Violation;
        stray.then(|| details::violation(OFFERED.bits(), protocol))
    })
}

/// What a full connection offers.
const OFFERED: Protocols = Protocols::SSL.with(Protocols::HYBRID);

/// What the full connection before a look was answered.
fn selected_at_first(findings: &Findings) -> Option<u32> {
    match findings.connect.as_ref()?.service.as_ref()? {
        ServiceAnswer::Confirmed { selected, .. } => *selected,
        _ => None,
    }
}

/// Why nobody gets a session, as far as the negotiation tells.
pub(crate) fn refusal(findings: &Findings) -> Option<Refusal> {
    if let Some(how) = violates(findings) {
        return Some(Refusal::Violates(how));
    }
    let looked = findings.rdp.as_deref().is_some_and(|seen| seen.look.answers.len() > 1);
    let code = |code| match refuses_every_offer(findings) {
        true => Refusal::Always(code),
        false if looked => Refusal::Today(code),
        false => Refusal::Code(code),
    };
    if let ServiceAnswer::Refused { code: first } = findings.connect.as_ref()?.service.as_ref()? {
        return Some(code(*first));
    }
    // One connection may be taken, and the look behind it refused.
    match findings.rdp.as_deref()?.look.answers.first()?.outcome {
        X224Outcome::Failure(first) => Some(code(first.code())),
        _ => None,
    }
}

/// How an RDP server refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It selects what was not offered.
    Violates(Wording),
    /// It says so, with this code.
    Code(u32),
    /// It says so of what clients of today offer, and takes something else.
    Today(u32),
    /// It says so whatever it is offered, with this code at first.
    Always(u32),
}

impl Refusal {
    /// Whether a server's settings refuse, and not something that is no RDP server of Windows.
    pub(crate) const fn is_of_settings(&self) -> bool {
        match self {
            Self::Violates(_) => false,
            Self::Code(code) | Self::Today(code) | Self::Always(code) => matches!(code, 1 | 2 | 5),
        }
    }

    /// The same in a sentence.
    pub(crate) fn summary(&self) -> Wording {
        match self {
            Self::Violates(how) => details::refused(how),
            Self::Code(code) => details::refused(&details::refusal(*code)),
            Self::Today(code) => details::refused(&details::of_today(&details::refusal(*code))),
            Self::Always(code) => details::refused(&details::always(&details::refusal(*code))),
        }
    }
}

/// Findings about security that are no failure.
pub(crate) fn notes(findings: &Findings) -> Vec<(Note, Option<Wording>)> {
    let Some(seen) = findings.rdp.as_deref() else {
        return first_answer(findings).into_iter().collect();
    };
    let look = &seen.look;
    let (layer, nla) = look.security();
    let mut notes = Vec::new();
    // Where TLS fails, standard security may be all that lets anybody in.
    let tls_fails = look.tls.is_some() && look.shown().is_none();
    let fails = look.ntlm.as_ref().filter(|outcome| outcome.fails());
    match nla {
        Some(Nla::Required) => {
            notes.push((Note::NlaRequired, fails.map(details::without_challenge)));
        }
        // Whoever demanded it now would shut everybody out.
        Some(Nla::Optional) if fails.is_some() => {}
        Some(Nla::Optional | Nla::Off) if tls_fails => {}
        Some(Nla::Optional) => notes.push((Note::NlaOff, Some(details::optional()))),
        Some(Nla::Off) => notes.push((Note::NlaOff, None)),
        None => {}
    }
    match layer {
        _ if tls_fails => {}
        Some(SecurityLayer::Rdp) => {
            let less = |answer: &RdpAnswer| answer.outcome.is_downgrade();
            let detail = look.answers.iter().any(less).then(details::downgrade);
            notes.push((Note::PlainRdpSecurity, detail));
        }
        Some(SecurityLayer::Negotiate) => {
            notes.push((Note::PlainRdpSecurity, Some(details::also_plain())));
        }
        Some(SecurityLayer::Tls) | None => {}
    }
    let weak = look.shown().and_then(weakness);
    notes.extend(weak.map(|detail| (Note::WeakTls, Some(detail))));
    if let Some(NtlmOutcome::Challenged { skew_nanos: Some(skew), .. }) = look.ntlm
        && skew.unsigned_abs() > SKEWED.as_nanos()
    {
        notes.push((Note::ClockSkew, Some(details::skew(skew))));
    }
    notes
}

/// What the first answer of a connection says alone.
fn first_answer(findings: &Findings) -> Option<(Note, Option<Wording>)> {
    match findings.connect.as_ref()?.service.as_ref()? {
        // One that selects NLA may take less as well; one that refuses with code 5 does not.
        ServiceAnswer::Refused { code: 5 } => Some((Note::NlaRequired, None)),
        ServiceAnswer::Confirmed { selected: Some(1), .. } => Some((Note::NlaOff, None)),
        // One without negotiation may be of any service; a look tells.
        ServiceAnswer::Confirmed { selected: Some(0), .. } => {
            Some((Note::PlainRdpSecurity, Some(details::downgrade())))
        }
        ServiceAnswer::Refused { code: 2 } => Some((Note::PlainRdpSecurity, None)),
        ServiceAnswer::Confirmed { .. }
        | ServiceAnswer::Refused { .. }
        | ServiceAnswer::Foreign { .. }
        | ServiceAnswer::Silent
        | ServiceAnswer::Unfinished { .. }
        | ServiceAnswer::Closed { .. }
        | ServiceAnswer::NotAsked => None,
    }
}

/// What is weak in how TLS is served, if anything is.
fn weakness(shown: &TlsShown) -> Option<Wording> {
    let old = (shown.version < Version::Tls12).then(|| Wording::same(shown.version.as_str()));
    let suite = WEAK_SUITES.contains(&shown.cipher_suite);
    let suite = suite.then(|| Wording::same(shown.cipher_suite.to_string()));
    let certificate = shown.certificate.as_ref().ok();
    let signature = certificate.filter(|it| it.signature_algorithm.is_weak());
    let signature = signature.map(|it| details::weak_signature(it.signature_algorithm.as_str()));
    let small = certificate.filter(|it| {
        let key = it.public_key;
        key.algorithm == KeyAlgorithm::Rsa && key.bits.is_some_and(|bits| bits < RSA_BITS)
    });
    let small = small.and_then(|it| it.public_key.bits).map(details::small_key);
    let all = [old, suite, signature, small];
    let any = all.iter().any(Option::is_some);
    any.then(|| Wording::list(all.into_iter().flatten(), "，"))
}

#[cfg(test)]
mod tests;
