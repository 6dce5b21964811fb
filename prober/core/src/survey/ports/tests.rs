use std::net::IpAddr;
use std::time::Duration;

use super::{Ports, signs};
use crate::evidence::{Answer, AnswerKind, IcmpKind, Observation, TcpAnswer};
use crate::judge::Sign;
use crate::monitor::{Baseline, ClosedPort};
use crate::probe::asides::{About, AsideFates};
use crate::probe::series::Tally;
use crate::survey::Depth;
use crate::survey::findings::Findings;
use crate::target::{Service, Target};
use crate::time::Instant;

const CANARY: About = About::Canary(3391);

fn tally(answer: Answer) -> Tally {
    let mut tally = Tally::default();
    tally.absorb(&Observation { answer, sent: None, arrived: None });
    tally
}

/// A host whose port is silent, and what came back for the rest.
fn findings(asides: &[(About, AnswerKind)]) -> Findings {
    Findings {
        port: Some(3389),
        echo: tally(Answer::EchoReply { ttl: Some(120) }),
        syn: Some(tally(Answer::Silence)),
        asides: AsideFates(asides.iter().copied().collect()),
        ..Findings::nothing(
            [192, 0, 2, 10].into(),
            (Instant::ZERO, Instant::from_start(Duration::from_secs(8))),
            Depth::Suspicion,
        )
    }
}

fn read(asides: &[(About, AnswerKind)], learnt: Option<ClosedPort>) -> Vec<Sign> {
    let baseline = Baseline { closed_port: learnt, ..Baseline::default() };
    let seen = signs(&findings(asides), false, Some(&baseline));
    seen.into_iter().map(|seen| seen.sign).collect()
}

#[test]
fn the_canary_port_is_compared_with_what_it_does_in_health() {
    for (now, learnt, sign) in [
        (AnswerKind::Reset, None, Sign::CanaryAnswers),
        (AnswerKind::Reset, Some(ClosedPort::Silent), Sign::CanaryAnswers),
        (AnswerKind::Silence, None, Sign::CanarySilent),
        (AnswerKind::Silence, Some(ClosedPort::Silent), Sign::CanaryStillSilent),
        (AnswerKind::Silence, Some(ClosedPort::Answers), Sign::CanaryFellSilent),
    ] {
        assert_eq!(read(&[(CANARY, now)], learnt), [sign], "{now:?} {learnt:?}");
    }
    let refused = AnswerKind::Icmp(IcmpKind::Prohibited);
    assert!(read(&[(CANARY, refused)], None).is_empty(), "that was said by somebody else");
}

#[test]
fn one_open_alternate_port_is_enough() {
    let ports = |kinds: [AnswerKind; 2]| {
        read(&[(About::Alternate(3390), kinds[0]), (About::Alternate(13_389), kinds[1])], None)
    };
    assert_eq!(ports([AnswerKind::Reset, AnswerKind::SynAck]), [Sign::AlternateOpen]);
    assert_eq!(ports([AnswerKind::Silence, AnswerKind::Reset]), [Sign::AlternateClosed]);
    assert_eq!(ports([AnswerKind::Silence; 2]), [Sign::AlternateSilent]);
}

#[test]
fn who_answers_at_all_lives() {
    let near = |last: u8| About::Neighbour(IpAddr::from([192, 0, 2, last]));
    let (silent, echo) = (AnswerKind::Silence, AnswerKind::EchoReply);
    assert_eq!(read(&[(near(1), silent), (near(2), echo)], None), [Sign::NeighboursAnswer]);
    let gone = AnswerKind::Icmp(IcmpKind::HostUnreachable);
    assert_eq!(read(&[(near(1), silent), (near(2), gone)], None), [Sign::NeighboursSilent]);
    let control = |kind| read(&[(About::Control(135), silent), (About::Control(445), kind)], None);
    assert_eq!(control(AnswerKind::Reset), [Sign::ControlAnswers]);
    assert_eq!(control(silent), [Sign::ControlSilent]);
}

#[test]
fn behind_a_front_only_an_open_port_says_anything() {
    let silent = AnswerKind::Silence;
    let asked = [
        (CANARY, AnswerKind::Reset),
        (About::Control(135), silent),
        (About::Alternate(3390), silent),
    ];
    let seen = signs(&findings(&asked), true, None);
    let seen: Vec<_> = seen.into_iter().map(|seen| seen.sign).collect();
    assert_eq!(seen, [Sign::AlternateSilent]);
}

#[test]
fn a_port_that_answers_needs_no_comparison() {
    let mut well = findings(&[(CANARY, AnswerKind::Silence)]);
    let facts = TcpAnswer { ttl: Some(120), window: None, ip_id: None };
    well.syn = Some(tally(Answer::SynAck(facts)));
    assert!(signs(&well, false, None).is_empty());
}

#[test]
fn the_configuration_bounds_what_is_asked() {
    let mut target = Target::new("192.0.2.10", 3389, Service::Rdp);
    target.alternate_ports = (1..100).collect();
    target.control_ports = (1..100).collect();
    target.canary_port = Some(3391);
    target.neighbours =
        ["192.0.2.10", "192.0.2.11", "2001:db8::1"].map(|a| a.parse().unwrap()).into();
    let ports = Ports::of(&target, true).beside([192, 0, 2, 10].into());
    assert_eq!((ports.alternate.len(), ports.control.len()), (8, 8));
    assert_eq!(ports.neighbours, [IpAddr::from([192, 0, 2, 11])]);
    target.service = Service::Ping;
    let ports = Ports::of(&target, true);
    assert_eq!((ports.canary, ports.alternate.len(), ports.control.len()), (None, 0, 0));
}
