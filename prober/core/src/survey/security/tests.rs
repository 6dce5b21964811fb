use std::net::Ipv4Addr;
use std::sync::Arc;

use super::*;
use crate::evidence::rdp::{RdpAnswer, RdpStage};
use crate::survey::Depth;
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
fn every_end_of_tls_has_a_sign() {
    let alert = Alert { level: AlertLevel::Fatal, description: AlertDescription(80) };
    for (outcome, expected) in [
        (TlsOutcome::Alert(alert), vec![Sign::TlsAlert]),
        (TlsOutcome::Malformed, vec![Sign::TlsGarbled]),
        (TlsOutcome::TooLarge, vec![Sign::TlsGarbled]),
        (TlsOutcome::Failed(StageFailure::Closed), vec![Sign::TlsEnded]),
        (TlsOutcome::Failed(StageFailure::Reset), vec![Sign::TlsReset]),
        (TlsOutcome::Failed(StageFailure::TimedOut { heard: true }), vec![Sign::TlsSilent]),
    ] {
        let findings = seen(outcome, 0);
        assert_eq!(said(&findings), expected);
        assert!(signs(&findings).all(|seen| seen.detail.is_some()));
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
    assert_eq!(plain, [(NlaOff, false), (PlainRdpSecurity, false)]);
    let violated = findings(look_at([Some(2), Some(0), Some(4), None]));
    let detail = violates(&violated).unwrap().en;
    assert_eq!(detail, "selects protocol 0x4 where 0x1 was offered");
}
