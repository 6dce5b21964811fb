use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::evidence::rdp::{
    NtlmOutcome, RdpAnswer, RdpLook, RdpSeen, StageFailure, TlsOutcome, X224Outcome,
};
use crate::evidence::{ConnectReport, ConnectResult, ServiceAnswer};
use crate::judge::cause::find;
use crate::judge::note::Note;
use crate::judge::text::summary;
use crate::judge::verdict::{Verdict, ViewEvidence, judge};
use crate::probe::rdp::OFFERS;
use crate::survey::Depth;
use crate::survey::findings::Findings;
use crate::survey::signs::{Seen, signs};
use crate::target::{Expect, Target};
use crate::time::Instant;
use crate::vantage::{Mode, Role, Way};
use crate::wire::tls::AlertDescription;
use crate::wire::x224::{Protocols, Selection};

fn target() -> Target {
    Target::new("127.0.0.1", 3389, Service::Rdp)
}

fn selects(protocol: u32) -> ServiceAnswer {
    ServiceAnswer::Confirmed { selected: Some(protocol), detail: Wording::same("TLS") }
}

/// An RDP server that answered so, and the look behind it.
fn found(answer: ServiceAnswer, look: Option<RdpLook>) -> Findings {
    let times = (Instant::ZERO, Instant::ZERO);
    let seen = |look| Arc::new(RdpSeen { look, at: Instant::ZERO, replaced: None });
    Findings {
        port: Some(3389),
        connect: Some(ConnectReport {
            result: ConnectResult::Connected,
            handshake: Some(Duration::from_millis(1)),
            retransmits: None,
            service: Some(answer),
            service_time: Some(Duration::from_millis(20)),
            local_port: None,
        }),
        rdp: look.map(seen),
        ..Findings::nothing(Ipv4Addr::LOCALHOST.into(), times, Depth::Full)
    }
}

fn verdict_of(findings: &Findings) -> Verdict {
    let open = [Sign::EchoAnswered, Sign::SynAccepted, Sign::PathReachesTarget, Sign::LargePasses];
    let open = open.map(|sign| Seen::new(sign, None));
    let seen = open.into_iter().chain(signs(findings, &target(), None)).collect();
    judge(&target(), &[view(findings, seen)])
}

fn view(findings: &Findings, seen: Vec<Seen>) -> ViewEvidence<'_> {
    ViewEvidence {
        vantage: "default",
        role: Role::Outside,
        way: Way::default(),
        mode: Some(Mode::Raw),
        address: Some(findings.address),
        findings: Some(findings),
        seen,
        expect: Expect::Reachable,
        baseline: true,
    }
}

/// The class, the summary and the next step.
fn told(findings: &Findings) -> (Class, Wording, Wording) {
    let (target, verdict) = (target(), verdict_of(findings));
    let facts =
        Facts { target: &target, verdict: &verdict, findings: Some(findings), source: None };
    (verdict.class, summary(&facts), next_step(&facts))
}

fn selected(offered: Protocols, protocol: u32) -> RdpAnswer {
    let selection = Selection::Offered;
    RdpAnswer { offered, outcome: X224Outcome::Selected { protocol, flags: 0, selection } }
}

/// A look that was answered the first offer alone.
fn look() -> RdpLook {
    RdpLook { answers: vec![selected(OFFERS[0], 2)], connections: 1, ..RdpLook::default() }
}

#[test]
fn what_to_do_about_a_refusal_is_one_thing_wherever_it_is_said() {
    let refuses = |code: u32| {
        let refused = |offered| RdpAnswer { offered, outcome: X224Outcome::Failure(code.into()) };
        let look = RdpLook { answers: OFFERS.map(refused).into(), ..RdpLook::default() };
        found(ServiceAnswer::Refused { code }, Some(look))
    };
    let half = |code| found(ServiceAnswer::Refused { code }, None);
    for (findings, step) in [
        (refuses(5), "no other client helps"),
        (refuses(6), "client certificate"),
        (refuses(7), "Find out what answers"),
        (found(selects(4), None), "Find out what answers"),
        // Of four offers one was refused: nothing is known of the others.
        (half(5), "look again"),
        (half(1), "look again"),
        (half(6), "client certificate"),
    ] {
        let (class, summary, next) = told(&findings);
        assert_eq!(class, Class::RdpRefused, "{}", summary.en);
        assert!(next.en.contains(step), "{step}: {}", next.en);
        let (target, verdict) = (target(), verdict_of(&findings));
        let findings = Some(&findings);
        let facts = Facts { target: &target, verdict: &verdict, findings, source: None };
        assert_eq!(remedy(&facts, find(SECURITY_LAYER_MISMATCH).unwrap()), next);
    }
}

#[test]
fn tls_that_shares_nothing_is_about_versions_and_suites() {
    let said = Some(AlertDescription(40));
    let findings =
        found(selects(2), Some(RdpLook { tls: Some(TlsOutcome::Unshared(said)), ..look() }));
    let (class, summary, next) = told(&findings);
    assert_eq!(class, Class::RdpRefused);
    assert!(summary.en.contains("TLS fails") && summary.en.contains("handshake_failure"));
    assert!(next.en.contains("versions and suites") && !next.en.contains("contradict"));
    // What is no TLS at all is no reason to delete a certificate.
    let http = TlsOutcome::Foreign(Wording::same("HTTP"));
    let findings = found(selects(2), Some(RdpLook { tls: Some(http), ..look() }));
    let (class, _, next) = told(&findings);
    assert_eq!(class, Class::Certificate);
    assert!(next.en.contains("before you touch the certificate"), "{}", next.en);
    // So it is where a damaged certificate is more probable.
    let closed = TlsOutcome::Failed(StageFailure::Closed);
    let findings = found(selects(2), Some(RdpLook { tls: Some(closed), ..look() }));
    let (target, verdict) = (target(), verdict_of(&findings));
    assert_eq!(verdict.class, Class::Certificate);
    let facts =
        Facts { target: &target, verdict: &verdict, findings: Some(&findings), source: None };
    let second = remedy(&facts, find(SECURITY_LAYER_MISMATCH).unwrap());
    assert!(second.en.contains("versions and suites"), "{}", second.en);
}

#[test]
fn what_is_amiss_of_a_service_that_answers_is_told_with_what_to_do() {
    let well = found(selects(2), Some(look()));
    let (class, summary, next) = told(&well);
    assert_eq!((class, next.en.as_str()), (Class::Reachable, "Nothing to do."));
    assert!(!summary.en.contains("Yet"));

    let mut missed = well.clone();
    missed.connection_before = Some(ServiceAnswer::Silent);
    let mut further = look();
    let died = X224Outcome::Failed(StageFailure::Reset);
    further.answers.push(RdpAnswer { offered: OFFERS[1], outcome: died });
    let ntlm = RdpLook { ntlm: Some(NtlmOutcome::Error(0xc000_005e)), ..look() };
    let mut shared = look();
    let ssh = X224Outcome::Foreign(Wording::same("ssh"));
    shared.answers.push(RdpAnswer { offered: OFFERS[1], outcome: ssh });
    let once = found(ServiceAnswer::Refused { code: 3 }, Some(look()));
    let mut slow = found(selects(2), None);
    slow.connect.as_mut().unwrap().service_time = Some(Duration::from_millis(3_500));
    for (findings, yet, step) in [
        (missed, "Yet a connection just before was not answered", "One connection in two"),
        (found(selects(2), Some(further)), "Yet a further connection was reset", "look again"),
        (
            found(selects(2), Some(ntlm)),
            "Yet NLA fails: no domain controller",
            "Do not require NLA",
        ),
        (found(selects(2), Some(shared)), "answered by ssh", "who shares this port"),
        (once, "Yet a connection just before was refused", "look again"),
        (slow, "Yet answered after 3.5 s", "CPU, memory and disk"),
    ] {
        let (class, summary, next) = told(&findings);
        assert_eq!(class, Class::Reachable);
        assert!(summary.en.contains(yet), "{}", summary.en);
        assert!(summary.zh.contains('但'), "{}", summary.zh);
        assert!(next.en.contains(step), "{}", next.en);
    }
}

#[test]
fn nobody_is_told_to_require_nla_where_it_fails() {
    // NLA and TLS are taken.
    let answers = vec![selected(OFFERS[0], 2), selected(Protocols::SSL, 1)];
    let notes = |ntlm| {
        let findings =
            found(selects(2), Some(RdpLook { answers: answers.clone(), ntlm, ..look() }));
        verdict_of(&findings).notes
    };
    assert!(notes(None).contains_key(&Note::NlaOff));
    assert!(!notes(Some(NtlmOutcome::Error(0xc000_00bb))).contains_key(&Note::NlaOff));
}

#[test]
fn a_failure_that_began_during_the_look_is_told_so() {
    use crate::evidence::{Answer, Observation};
    use crate::probe::series::Series;
    use crate::probe::{Engine as _, Question};
    let series = |question, answered| {
        let at = |n: u64| Instant::ZERO + Duration::from_millis(400 * n);
        let offsets: Vec<_> = (0..14).map(|n| Duration::from_millis(400 * n)).collect();
        let mut series = Series::new(question, Instant::ZERO, &offsets);
        for n in 0..14 {
            let ask = series.poll_ask(at(n)).unwrap();
            let echo = Answer::EchoReply { ttl: Some(60) };
            let answer = if n < answered { echo } else { Answer::Silence };
            let seen = Observation { answer, sent: None, arrived: None };
            series.handle_observation(at(n) + Duration::from_secs(2), ask.id, &seen);
        }
        series.tally().clone()
    };
    let mut findings = found(selects(2), None);
    findings.echo = series(Question::Echo, 3);
    findings.syn = Some(series(Question::Syn { port: 3389 }, 0));
    let seen = signs(&findings, &target(), None);
    let verdict = judge(&target(), &[view(&findings, seen)]);
    assert_ne!(verdict.class, Class::Reachable);
    assert_ne!(verdict.class, Class::PacketLoss);
    assert!(verdict.posterior.causes.iter().any(|(it, p)| it.name == "source_block" && *p > 0.02));
    let target = target();
    let facts =
        Facts { target: &target, verdict: &verdict, findings: Some(&findings), source: None };
    let said = summary(&facts);
    assert!(said.en.contains("It answered 3 probes at first, and none of 25"), "{}", said.en);
    assert!(said.zh.contains("起初 3 个探测有应答"), "{}", said.zh);
}
