use std::net::IpAddr;

use super::*;
use crate::evidence::{Answer, IcmpAnswer, Observation, Overheard, ServiceAnswer, TcpAnswer};
use crate::judge::Family;
use crate::path::Hop;
use crate::probe::series::Series;
use crate::probe::{Engine as _, Question};
use crate::survey::findings::SiblingPath;
use crate::target::Service;
use crate::time::{Instant, Stamp, StampSource};

fn router(hop: u8) -> IpAddr {
    IpAddr::from([10, 1, hop, 1])
}

/// A path on which these hops answered, of five asked.
fn traced(answering: &[u8], end: PathEnd) -> Path {
    let hop = |ttl| Hop { ttl, address: answering.contains(&ttl).then(|| router(ttl)), rtt: None };
    Path { hops: (1..=5).map(hop).collect(), end }
}

fn tally(answers: &[Answer]) -> Tally {
    let mut tally = Tally::default();
    for answer in answers {
        tally.absorb(&Observation { answer: *answer, sent: None, arrived: None });
    }
    tally
}

/// What was found of a target that does not answer at all.
fn silent(path: Path, siblings: Vec<Path>) -> Findings {
    let sibling = |path| SiblingPath { address: IpAddr::from([10, 9, 0, 2]), path };
    Findings {
        port: Some(3389),
        echo: tally(&[Answer::Silence; 5]),
        syn: Some(tally(&[Answer::Silence; 3])),
        icmp_path: Some(path),
        siblings: siblings.into_iter().map(sibling).collect(),
        ..Findings::nothing(
            IpAddr::from([10, 9, 0, 10]),
            (Instant::ZERO, Instant::ZERO),
            Depth::Suspicion,
        )
    }
}

fn learnt(last_router: u8) -> Baseline {
    Baseline { echo_answered: true, last_router: Some(last_router), ..Baseline::default() }
}

fn read(findings: &Findings, baseline: Option<&Baseline>, family: Family) -> Option<Sign> {
    let target = Target::new("10.9.0.10", 3389, Service::Rdp);
    let seen = signs(findings, &target, baseline);
    seen.iter().map(|seen| seen.sign).find(|sign| sign.family() == family)
}

#[test]
fn a_path_that_ends_before_it_was_learnt_to_is_shortened() {
    let findings = silent(traced(&[1, 2], PathEnd::Silent), Vec::new());
    let change = |baseline: Baseline| read(&findings, Some(&baseline), Family::BaselineChange);
    assert_eq!(read(&findings, None, Family::BaselineChange), None, "nothing was learnt");
    assert_eq!(change(Baseline::default()), None, "no path was");
    assert_eq!(change(learnt(3)), Some(Sign::PathShortened));
    assert_eq!(change(learnt(2)), Some(Sign::PathAsLearnt));
    assert_eq!(change(learnt(1)), Some(Sign::PathAsLearnt), "further is not shorter");
    // Routers limit what they answer to traces: who refuses from where the last one stood is it.
    let refused = |ttl| {
        let (kind, ttl) = (IcmpKind::HostUnreachable, Some(ttl));
        let error = IcmpAnswer { from: router(9), kind, ty: 3, code: 1, ttl };
        let refused = Findings { echo: tally(&[Answer::Icmp(error)]), ..findings.clone() };
        // The way back is one router longer than the way there.
        let learnt = Baseline { distance: Some(4), path_length: Some(4), ..learnt(3) };
        read(&refused, Some(&learnt), Family::BaselineChange)
    };
    assert_eq!(refused(252), Some(Sign::PathAsLearnt));
    assert_eq!(refused(253), Some(Sign::PathShortened));
    // What answers has its path, wherever a trace ended.
    let mut alive = findings.clone();
    alive.echo = tally(&[Answer::EchoReply { ttl: Some(60) }; 5]);
    assert_eq!(read(&alive, Some(&learnt(3)), Family::BaselineChange), None);
}

#[test]
fn neighbours_behind_the_same_cut_fail_too() {
    let sibling = |path| {
        let findings = silent(traced(&[1, 2], PathEnd::Silent), vec![path]);
        let sign = |baseline| read(&findings, baseline, Family::SiblingPath);
        (sign(None), sign(Some(&learnt(3))))
    };
    let cut = sibling(traced(&[1, 2], PathEnd::Silent));
    assert_eq!(cut, (None, Some(Sign::SiblingFailsToo)), "only what was learnt tells");
    let further = sibling(traced(&[1, 2, 3], PathEnd::Silent));
    assert_eq!(further, (Some(Sign::SiblingFurther), Some(Sign::SiblingFurther)));
    let arrives = sibling(traced(&[1, 2], PathEnd::Reached(3)));
    assert_eq!(arrives, (Some(Sign::SiblingSame), Some(Sign::SiblingSame)));
    let none = silent(traced(&[1, 2], PathEnd::Silent), Vec::new());
    assert_eq!(read(&none, Some(&learnt(3)), Family::SiblingPath), None, "nobody was asked");
}

#[test]
fn whoever_refuses_behind_the_first_router_proves_the_way_out() {
    let refusing = |ttl, hop| PathEnd::Unreachable { ttl, from: router(hop) };
    let heard = |path| silent(path, Vec::new()).furthest_word();
    assert_eq!(heard(traced(&[1], refusing(2, 2))), 2);
    assert_eq!(heard(traced(&[1], refusing(2, 1))), 1, "the first router misses its neighbour");
    assert_eq!(heard(traced(&[1], PathEnd::Silent)), 1);
    // Of an error to a probe of the full hop limit the hops that it passed tell.
    let error = |hop, ttl| {
        let (from, kind, ttl) = (router(hop), IcmpKind::HostUnreachable, Some(ttl));
        Answer::Icmp(IcmpAnswer { from, kind, ty: 3, code: 1, ttl })
    };
    let told = |answer| {
        let findings = silent(traced(&[1], PathEnd::Silent), Vec::new());
        Findings { echo: tally(&[answer]), ..findings }.furthest_word()
    };
    assert_eq!(told(error(2, 63)), 2);
    assert_eq!(told(error(2, 255)), 1, "it passed no router");
    assert_eq!(told(error(1, 254)), 1, "the first router by another way back");
    let beyond = silent(traced(&[1], refusing(2, 2)), Vec::new());
    assert_eq!(read(&beyond, None, Family::Vantage), Some(Sign::VantageFine));
    let near = silent(traced(&[1], PathEnd::Silent), Vec::new());
    assert_eq!(read(&near, None, Family::Vantage), None);
}

#[test]
fn a_target_that_speaks_for_a_silent_host_is_a_front() {
    let stamp = |millis| Stamp {
        at: Instant::ZERO + Duration::from_millis(millis),
        source: StampSource::Capture,
    };
    let far = |after: u64, from: IpAddr, way: u64| {
        let kind = IcmpKind::HostUnreachable;
        let error = IcmpAnswer { kind, ty: 3, code: 1, from, ttl: None };
        let mut findings = silent(traced(&[1, 2], PathEnd::Reached(3)), Vec::new());
        let mut syn = Tally::default();
        for _ in 0..3 {
            syn.absorb(&Observation {
                answer: Answer::Icmp(error),
                sent: Some(stamp(0)),
                arrived: Some(stamp(after)),
            });
        }
        findings.syn = Some(syn);
        for _ in 0..3 {
            findings.echo.absorb(&Observation {
                answer: Answer::EchoReply { ttl: Some(62) },
                sent: Some(stamp(0)),
                arrived: Some(stamp(way)),
            });
        }
        let front = read(&findings, None, Family::Front);
        (front, read(&findings, None, Family::UnreachableFrom))
    };
    let told = |after, from| far(after, from, 1);
    let target = IpAddr::from([10, 9, 0, 10]);
    // A translator asks for its host in vain before it says so.
    assert_eq!(told(3_000, target), (Some(Sign::FrontAnswers), Some(Sign::FromLastRouter)));
    // A firewall of the host says no at once.
    assert_eq!(told(2, target), (None, Some(Sign::FromTarget)));
    assert_eq!(far(850, target, 840).0, None, "and is no later for being far away");
    assert_eq!(told(3_000, router(2)).0, None, "a router speaks for itself");
}

/// An observed series: its probes in their order.
fn series(answers: &[Answer]) -> Tally {
    let offsets = vec![Duration::ZERO; answers.len()];
    let question = Question::Syn { port: 3389 };
    let mut series = Series::new(question, Instant::ZERO, &offsets);
    for answer in answers {
        let ask = series.poll_ask(Instant::ZERO).unwrap();
        let observation = Observation { answer: *answer, sent: None, arrived: None };
        series.handle_observation(Instant::ZERO, ask.id, &observation);
    }
    series.tally().clone()
}

fn answered(echo: Tally, syn: Tally) -> Findings {
    Findings { echo, syn: Some(syn), ..silent(traced(&[1], PathEnd::Reached(2)), Vec::new()) }
}

#[test]
fn a_port_is_what_it_turned_into() {
    let tcp = TcpAnswer { ttl: Some(60), window: None, ip_id: None };
    let (accepted, reset) = (Answer::SynAck(tcp), Answer::Reset(tcp));
    let said = |answers: &[Answer]| read(&answered(tally(&[]), series(answers)), None, Family::Syn);
    assert_eq!(said(&[reset, reset, reset, accepted]), Some(Sign::SynAccepted), "just begun");
    assert_eq!(said(&[accepted, accepted, accepted, reset]), Some(Sign::SynReset), "just ended");
    assert_eq!(said(&[reset, accepted, reset, reset]), Some(Sign::SynReset), "the most");
}

#[test]
fn what_eats_an_acceptance_is_here_only_if_it_came_here() {
    let accepted = TcpAnswer { ttl: Some(52), window: None, ip_id: None };
    let report = ConnectReport {
        result: ConnectResult::TimedOut,
        handshake: None,
        retransmits: None,
        service: None,
        service_time: None,
        local_port: None,
    };
    let syn = series(&[Answer::SynAck(accepted); 4]);
    let timed_out = Findings { connect: Some(report), ..answered(tally(&[]), syn) };
    assert_eq!(read(&timed_out, None, Family::Local), Some(Sign::LocalFine));
    let overheard = Overheard {
        accepted,
        round_trip: Duration::from_millis(20),
        end: None,
        acknowledged: None,
    };
    let eaten = Findings { overheard: Some(overheard), ..timed_out };
    assert_eq!(read(&eaten, None, Family::Local), Some(Sign::LocalBlocked));
}

#[test]
fn what_our_own_side_spoilt_may_all_be_lost() {
    let echoed = Answer::EchoReply { ttl: Some(60) };
    let lag = Answer::Invalid(InvalidReason::Lag);
    let of = |spoilt: usize, echoes: usize| {
        let mut answers = vec![echoed; echoes];
        answers.extend(vec![lag; spoilt]);
        answered(tally(&answers), tally(&[]))
    };
    let echo = |findings: &Findings| read(findings, None, Family::Echo);
    assert_eq!(echo(&of(0, 10)), Some(Sign::EchoAnswered));
    assert_eq!(echo(&of(1, 10)), Some(Sign::EchoAnswered), "one of eleven is no matter");
    assert_eq!(echo(&of(10, 10)), None, "half may be lost, or none");
    let detail = local(&of(10, 10)).detail.unwrap();
    assert!(detail.en.starts_with("10 of 20 probes"), "{}", detail.en);
}

/// What was found of a target that answers these SYNs, and a whole connection so.
fn connected(syns: &[Answer], result: ConnectResult) -> Findings {
    let report = ConnectReport {
        result,
        handshake: None,
        retransmits: None,
        service: None,
        service_time: None,
        local_port: None,
    };
    Findings {
        syn: Some(tally(syns)),
        connect: Some(report),
        ..silent(traced(&[1, 2], PathEnd::Silent), Vec::new())
    }
}

#[test]
fn who_accepts_bare_syns_and_resets_connections_shuts_the_service() {
    let tcp = TcpAnswer { ttl: Some(62), window: Some(64_240), ip_id: None };
    let (accepted, reset) = (Answer::SynAck(tcp), Answer::Reset(tcp));
    let service = |syns: &[Answer], result| read(&connected(syns, result), None, Family::Service);
    let refused = ConnectResult::Refused;
    assert_eq!(service(&[accepted; 5], refused.clone()), Some(Sign::ServiceClosed));
    // A port that is closed, or was while we asked, is no riddle.
    let closes = [accepted, accepted, reset, reset, reset];
    assert_eq!(service(&closes, refused.clone()), Some(Sign::ServiceUnreached));
    assert_eq!(service(&[reset; 5], refused), Some(Sign::ServiceUnreached));
    let timed_out = service(&[Answer::Silence; 5], ConnectResult::TimedOut);
    assert_eq!(timed_out, Some(Sign::ServiceUnreached));
    // One that vanished beside accepted SYNs met a burst, or a path that the others did not take.
    assert_eq!(service(&[accepted; 5], ConnectResult::TimedOut), None);
    // What our own kernel could not do says nothing of the service.
    let ours = ConnectResult::Local(LocalError::TooLarge);
    assert_eq!(service(&[accepted; 5], ours), None);
}

#[test]
fn what_a_connection_missed_among_losses_is_not_kept_beyond_them() {
    let tcp = TcpAnswer { ttl: Some(62), window: Some(64_240), ip_id: None };
    let (accepted, lost) = (Answer::SynAck(tcp), Answer::Silence);
    let looked = |syns: &[Answer], service| {
        let mut found = connected(syns, ConnectResult::Connected);
        found.connect.as_mut().unwrap().service = Some(service);
        found
    };
    let kept = |before: &Findings| {
        let mut now = connected(&[accepted; 5], ConnectResult::Connected);
        now.connect = None;
        now.complete_from(before);
        now.connect.is_some()
    };
    let losses = [accepted, lost, accepted, lost, lost];
    let answer = ServiceAnswer::Confirmed { selected: None, detail: Wording::same("RDP") };
    for (syns, service, is_kept) in [
        (&losses, ServiceAnswer::Silent, false),
        (&losses, answer, true),
        (&[accepted; 5], ServiceAnswer::Silent, true),
    ] {
        assert_eq!(kept(&looked(syns, service.clone())), is_kept, "{service:?}");
    }
}
