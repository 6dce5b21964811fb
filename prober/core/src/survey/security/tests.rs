use std::net::Ipv4Addr;
use std::sync::Arc;

use super::*;
use crate::evidence::rdp::{RdpAnswer, RdpStage};
use crate::evidence::{ConnectReport, ConnectResult};
use crate::survey::Depth;
use crate::target::{Service, Target};
use crate::time::Instant;
use crate::wire::captures::capture;
use crate::wire::certificate::fingerprint_sha256;
use crate::wire::tls::{Alert, AlertDescription, AlertLevel};
use crate::wire::x224::Protocols;

const DAY: i64 = 86_400;

fn shown(der: &[u8], version: Version, suite: u16) -> TlsOutcome {
    TlsOutcome::Shown(Box::new(TlsShown {
        version,
        cipher_suite: CipherSuite(suite),
        certificate: Certificate::parse(der),
        fingerprint_sha256: fingerprint_sha256(der),
    }))
}

/// What is read of a look at this moment of the wall clock, in seconds.
fn seen(tls: TlsOutcome, wall: i64) -> Findings {
    let wall = Some(Duration::from_secs(wall.unsigned_abs()));
    let times = vec![(RdpStage::Connect, Duration::from_millis(1))];
    let look = RdpLook { tls: Some(tls), wall, times, ..RdpLook::default() };
    findings(look)
}

fn findings(look: RdpLook) -> Findings {
    let address = Ipv4Addr::LOCALHOST.into();
    let times = (Instant::ZERO, Instant::ZERO);
    let seen = RdpSeen { look, at: Instant::ZERO, replaced: None };
    Findings { rdp: Some(Arc::new(seen)), ..Findings::nothing(address, times, Depth::Full) }
}

fn said(findings: &Findings) -> Vec<Sign> {
    signs(findings).map(|seen| seen.sign).collect()
}

#[test]
fn a_certificate_is_judged_by_whose_it_is() {
    let own = capture!("certificates/rsa.der");
    let issued = capture!("certificates/issued.der");
    let end = |der: &[u8]| Certificate::parse(der).unwrap().not_after;
    let start = |der: &[u8]| Certificate::parse(der).unwrap().not_before;
    use Sign::{CertificateExpired, CertificateValid};
    for (der, wall, expected) in [
        (own, end(own), CertificateValid),
        // Windows makes itself a new one within a day.
        (own, end(own) + DAY, CertificateValid),
        (own, end(own) + DAY + 1, CertificateExpired),
        (issued, end(issued), CertificateValid),
        (issued, end(issued) + 1, CertificateExpired),
        // Clocks differ a little, and not by hours.
        (own, start(own) - 300, CertificateValid),
        (own, start(own) - 301, CertificateExpired),
    ] {
        let findings = seen(shown(der, Version::Tls12, 0xc030), wall);
        assert_eq!(said(&findings), [Sign::TlsShown, expected], "at {wall}");
    }
    let expired =
        seen(shown(capture!("certificates/expired.der"), Version::Tls12, 0xc030), end(own));
    let detail = signs(&expired).last().unwrap().detail.unwrap();
    let text =
        "CN WIN-EXPIRED, self-signed, valid from 2025-01-01 00:00 UTC to 2025-07-01 00:00 UTC";
    assert_eq!(detail.en, text);
    let broken = seen(shown(&own[..100], Version::Tls12, 0xc030), end(own));
    assert_eq!(said(&broken), [Sign::TlsShown, Sign::CertificateUnreadable]);
}

#[test]
fn a_certificate_ends_between_looks() {
    let issued = capture!("certificates/issued.der");
    let end = Certificate::parse(issued).unwrap().not_after;
    let mut findings = seen(shown(issued, Version::Tls12, 0xc030), end - 60);
    assert_eq!(said(&findings), [Sign::TlsShown, Sign::CertificateValid]);
    assert_eq!(fault(&findings), None);
    // A survey two minutes later has the look of before.
    findings.ended = Instant::from_start(Duration::from_secs(120));
    assert_eq!(said(&findings), [Sign::TlsShown, Sign::CertificateExpired]);
    assert!(fault(&findings).unwrap().en.contains("expired on"));
}

#[test]
fn a_certificate_in_its_last_day_of_grace_is_told_as_ended() {
    let own = capture!("certificates/rsa.der");
    let end = Certificate::parse(own).unwrap().not_after;
    let detail = |wall| {
        let findings = seen(shown(own, Version::Tls12, 0xc030), wall);
        signs(&findings).last().unwrap().detail.unwrap().en
    };
    assert!(!detail(end).contains("has ended"));
    assert!(
        detail(end + DAY / 2).ends_with("it has ended, and Windows makes a new one within a day")
    );
}

#[test]
fn every_end_of_tls_has_a_sign() {
    let alert = |number| {
        let description = AlertDescription(number);
        TlsOutcome::Alert(Alert { level: AlertLevel::Fatal, description })
    };
    for (outcome, expected) in [
        (alert(80), vec![Sign::TlsAlert]),
        // Each is about what the old hello offers, and no more.
        (alert(40), vec![]),
        (alert(47), vec![]),
        (alert(70), vec![]),
        (alert(71), vec![]),
        // Nor is what a new handshake offers shared.
        (TlsOutcome::Unshared(Some(AlertDescription(40))), vec![Sign::TlsUnshared]),
        (TlsOutcome::Unshared(None), vec![Sign::TlsUnshared]),
        (TlsOutcome::Malformed, vec![Sign::TlsGarbled]),
        (TlsOutcome::TooLarge, vec![Sign::TlsGarbled]),
        (TlsOutcome::Failed(StageFailure::Closed), vec![Sign::TlsEnded]),
        (TlsOutcome::Failed(StageFailure::Reset), vec![Sign::TlsReset]),
        (TlsOutcome::Failed(StageFailure::TimedOut { heard: true }), vec![Sign::TlsSilent]),
    ] {
        let findings = seen(outcome, 0);
        assert_eq!(said(&findings), expected);
        assert!(signs(&findings).all(|seen| seen.detail.is_some()));
        assert_eq!(fault(&findings).is_some(), !expected.is_empty());
    }
}

#[test]
fn another_certificate_is_told() {
    let findings = seen(shown(capture!("certificates/rsa.der"), Version::Tls12, 0xc030), 0);
    assert!(!said(&findings).contains(&Sign::MachineAnother));
    let mut seen = findings.rdp.as_deref().unwrap().clone();
    seen.replaced = Some("00".repeat(32));
    let findings = Findings { rdp: Some(Arc::new(seen)), ..findings };
    assert!(said(&findings).contains(&Sign::MachineAnother));
}

#[test]
fn weak_security_is_a_note_and_strong_is_none() {
    let weak = |der: &[u8], version, suite| {
        let noted = notes(&seen(shown(der, version, suite), 0));
        noted
            .into_iter()
            .find(|(note, _)| *note == Note::WeakTls)
            .map(|(_, detail)| detail.unwrap().en)
    };
    let rsa = capture!("certificates/rsa.der");
    assert_eq!(weak(rsa, Version::Tls12, 0xc030), None);
    assert_eq!(weak(rsa, Version::Tls10, 0xc014).as_deref(), Some("TLS 1.0"));
    let rc4 = "TLS_RSA_WITH_RC4_128_SHA";
    assert_eq!(weak(rsa, Version::Tls12, 5).as_deref(), Some(rc4));
    let small = weak(capture!("certificates/rsa1024_sha1.der"), Version::Tls12, 0xc030);
    assert_eq!(small.as_deref(), Some("signed with sha1WithRSAEncryption, RSA key of 1024 bits"));
}

/// A look with these protocols selected to 3, 0, 1 and 11; `None` is a refusal with code 5.
fn look_at(selected: [Option<u32>; 4]) -> RdpLook {
    let both = Protocols::SSL.with(Protocols::HYBRID);
    let offers = [both, Protocols::RDP, Protocols::SSL, both.with(Protocols::HYBRID_EX)];
    let outcome = |offered: Protocols, selected: Option<u32>| match selected {
        None => X224Outcome::Failure(5.into()),
        Some(protocol) => {
            let selection = offered.allows(protocol);
            X224Outcome::Selected { protocol, flags: 0, selection }
        }
    };
    let answers = offers.into_iter().zip(selected);
    let answer = |(offered, selected)| RdpAnswer { offered, outcome: outcome(offered, selected) };
    RdpLook { answers: answers.map(answer).collect(), ..RdpLook::default() }
}

#[test]
fn what_secures_sessions_is_noted() {
    let noted = |selected| {
        let notes = notes(&findings(look_at(selected)));
        notes.into_iter().map(|(note, detail)| (note, detail.is_some())).collect::<Vec<_>>()
    };
    use Note::{NlaOff, NlaRequired, PlainRdpSecurity};
    assert_eq!(noted([Some(2), None, None, Some(8)]), [(NlaRequired, false)]);
    assert_eq!(noted([Some(1), None, Some(1), Some(1)]), [(NlaOff, false)]);
    let taken = noted([Some(2), Some(0), Some(1), Some(2)]);
    assert_eq!(taken, [(NlaOff, true), (PlainRdpSecurity, true)]);
    let plain = noted([Some(0), Some(0), Some(0), Some(0)]);
    // TLS was offered and not taken.
    assert_eq!(plain, [(NlaOff, false), (PlainRdpSecurity, true)]);
    let violated = findings(look_at([None, Some(0), Some(4), None]));
    let detail = violates(&violated).unwrap().en;
    assert_eq!(detail, "selects protocol 0x4 where 0x1 was offered");
    // Whoever takes what clients of today offer serves them.
    assert_eq!(violates(&findings(look_at([Some(2), Some(0), Some(4), None]))), None);
}

#[test]
fn nobody_is_told_to_close_the_only_way_in() {
    let mut look = look_at([Some(2), Some(0), Some(1), Some(2)]);
    look.tls = Some(TlsOutcome::Failed(StageFailure::Closed));
    assert_eq!(notes(&findings(look)), []);
}

#[test]
fn what_clients_of_today_are_answered_decides() {
    let refused = |code, look| service(&after(ServiceAnswer::Refused { code }, QUICK, look));
    // Refused once, and taken in each connection behind it.
    for code in [1, 3, 5] {
        let (sign, detail) = refused(code, look_at([Some(2), None, None, Some(8)]));
        assert_eq!(sign, Sign::ServiceConfirmed);
        assert!(detail.contains("a connection just before was refused"), "{detail}");
    }
    // What they offer is refused, a part of it alone is taken.
    let look = || look_at([None, Some(0), Some(1), None]);
    assert_eq!(refused(5, look()).0, Sign::ServiceRefused);
    let findings = after(ServiceAnswer::Refused { code: 5 }, QUICK, look());
    let told = refusal(&findings).unwrap();
    assert_eq!(told, Refusal::Today(5));
    assert!(told.summary().en.contains("what clients of today offer"));
    // Those fall back to standard security where that alone is asked for.
    assert_eq!(refused(2, look()).0, Sign::ServiceConfirmed);
}

/// The full connection before a look, and what it was answered after this time.
fn after(answer: ServiceAnswer, time: Duration, look: RdpLook) -> Findings {
    let report = ConnectReport {
        result: ConnectResult::Connected,
        handshake: Some(Duration::from_millis(1)),
        retransmits: Some(0),
        service: Some(answer),
        service_time: Some(time),
        local_port: None,
    };
    let asked = !look.answers.is_empty();
    let mut findings = Findings { connect: Some(report), ..findings(look) };
    findings.rdp = findings.rdp.filter(|_| asked);
    findings
}

fn selects(protocol: u32) -> ServiceAnswer {
    ServiceAnswer::Confirmed { selected: Some(protocol), detail: Wording::same("said") }
}

const QUICK: Duration = Duration::from_millis(30);

/// What is read of the service, with its particulars.
fn service(findings: &Findings) -> (Sign, String) {
    let target = Target::new("192.0.2.1", 3389, Service::Rdp);
    let seen = super::super::service::sign(findings, &target, None).unwrap();
    (seen.sign, seen.detail.map_or_else(String::new, |detail| detail.en))
}

#[test]
fn a_refusal_says_why() {
    let why = |answer| {
        let refusal = refusal(&after(answer, QUICK, RdpLook::default()));
        refusal.map(|refusal| refusal.summary().en)
    };
    let six = why(ServiceAnswer::Refused { code: 6 }).unwrap();
    assert!(six.contains("code 6 (SSL_WITH_USER_AUTH_REQUIRED_BY_SERVER)"), "{six}");
    let stray = why(selects(4)).unwrap();
    assert!(stray.contains("selects protocol 0x4 where 0x3 was offered"), "{stray}");
    assert_eq!(why(selects(2)), None);
    let (sign, detail) = service(&after(selects(4), QUICK, RdpLook::default()));
    assert_eq!(sign, Sign::ServiceRefused);
    assert_eq!(detail, "selects protocol 0x4 where 0x3 was offered");
    // What breaks the negotiation is told nothing about NLA.
    let look = look_at([Some(8), None, None, Some(8)]);
    assert!(notes(&after(selects(2), QUICK, look)).is_empty());
}

#[test]
fn what_was_not_offered_is_not_said_to_be_refused() {
    let refused = |offers| {
        let mut look = look_at([None; 4]);
        look.answers.truncate(offers);
        let findings = after(ServiceAnswer::Refused { code: 5 }, QUICK, look);
        let (sign, detail) = service(&findings);
        assert_eq!(sign, Sign::ServiceRefused);
        let always = matches!(refusal(&findings), Some(Refusal::Always(5)));
        assert_eq!(always, detail.contains("every security protocol"), "{detail}");
        always
    };
    assert_eq!([2, 3, 4].map(refused), [false, false, true]);
}

#[test]
fn standard_security_where_more_was_offered_is_told_so() {
    let detail = |findings: &Findings| {
        let mut notes = notes(findings).into_iter();
        notes.find(|(note, _)| *note == Note::PlainRdpSecurity).and_then(|(_, detail)| detail)
    };
    let less = after(selects(0), QUICK, look_at([Some(0); 4]));
    assert!(detail(&less).unwrap().en.contains("although TLS was offered"));
    assert!(detail(&after(selects(0), QUICK, RdpLook::default())).is_some(), "without a look");
    let meant = after(ServiceAnswer::Refused { code: 2 }, QUICK, RdpLook::default());
    assert_eq!(detail(&meant), None);
}

#[test]
fn a_look_that_contradicts_the_connection_before_it_counts() {
    let all = |code: u32| {
        let mut look = look_at([None; 4]);
        look.answers.iter_mut().for_each(|it| it.outcome = X224Outcome::Failure(code.into()));
        service(&after(selects(1), QUICK, look)).0
    };
    assert_eq!(all(3), Sign::ServiceUncertified);
    assert_eq!(all(5), Sign::ServiceRefused);
    let first = |outcome| {
        let mut look = look_at([Some(2), None, None, Some(8)]);
        look.answers.truncate(1);
        look.answers[0].outcome = outcome;
        after(selects(2), QUICK, look)
    };
    let foreign = first(X224Outcome::Foreign(Wording::same("ssh")));
    assert!(said(&foreign).contains(&Sign::MachineAnother));
    let died = first(X224Outcome::Failed(StageFailure::Reset));
    let told = service(&died);
    assert_eq!(told, (Sign::ServiceConfirmed, "said, a further connection was reset".to_owned()));
}

#[test]
fn what_is_too_slow_to_be_looked_at_is_told_so() {
    let told = |millis| {
        let time = Duration::from_millis(millis);
        service(&after(selects(2), time, RdpLook::default()))
    };
    assert_eq!(told(2_900), (Sign::ServiceConfirmed, "said".to_owned()));
    let (sign, detail) = told(3_500);
    assert_eq!(sign, Sign::ServiceConfirmed);
    assert!(detail.contains("3.5 s") && detail.contains("certificate is not seen"), "{detail}");
}

#[test]
fn a_slow_stage_behind_a_quick_answer_is_late() {
    let told = |first, tls| {
        let mut look = look_at([Some(2), None, None, Some(8)]);
        let times = [(RdpStage::X224, first), (RdpStage::Tls, tls)];
        look.times = times.map(|(stage, time)| (stage, Duration::from_millis(time))).into();
        service(&after(selects(2), Duration::from_millis(first), look))
    };
    let (sign, detail) = told(30, 2_900);
    assert_eq!(
        (sign, detail.as_str()),
        (Sign::ServiceLate, "TLS took 2.9 s, the first answer 30.0 ms")
    );
    assert_eq!(told(30, 1_900).0, Sign::ServiceConfirmed);
    assert_eq!(told(500, 2_900).0, Sign::ServiceConfirmed, "that one is slow in all");
}
