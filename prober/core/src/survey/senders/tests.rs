use std::net::IpAddr;

use super::*;
use crate::evidence::{Answer, ConnectReport, ConnectResult, Observation};
use crate::path::Hop;
use crate::probe::series::Tally;
use crate::survey::Depth;
use crate::target::Service;
use crate::time::{Instant, Stamp, StampSource};

fn target() -> Target {
    Target::new("192.0.2.10", 3389, Service::Rdp)
}

fn tcp(ttl: u8, window: u16) -> TcpAnswer {
    TcpAnswer { ttl: Some(ttl), window: Some(window), ip_id: None }
}

fn tally(answer: Answer) -> Tally {
    let stamp = |millis| Stamp {
        at: Instant::from_start(Duration::from_millis(millis)),
        source: StampSource::Capture,
    };
    let mut tally = Tally::default();
    for _ in 0..3 {
        tally.absorb(&Observation { answer, sent: Some(stamp(0)), arrived: Some(stamp(20)) });
    }
    tally
}

/// Routers that answer at each hop limit below `end`, which is where it ends if it does.
fn path(routers: u8, end: PathEnd) -> Path {
    let hop = |ttl| Hop { ttl, address: Some(IpAddr::from([10, 0, 0, ttl])), rtt: None };
    Path { hops: (1..=routers).map(hop).collect(), end }
}

fn findings(echo: Answer, accepted: TcpAnswer) -> Findings {
    Findings {
        port: Some(3389),
        echo: tally(echo),
        syn: Some(tally(Answer::SynAck(accepted))),
        packets: 1,
        ..Findings::nothing(
            "192.0.2.10".parse().unwrap(),
            (Instant::ZERO, Instant::ZERO),
            Depth::Full,
        )
    }
}

fn shown(findings: &Findings, learnt: Option<u8>) -> Option<Sign> {
    let baseline = learnt.map(|distance| Baseline {
        echo_answered: true,
        distance: Some(distance),
        path_length: Some(distance + 1),
        ..Baseline::default()
    });
    let seen = signs(findings, &target(), baseline.as_ref());
    let mut others = seen.iter().filter(|seen| seen.sign != Sign::MachineMoved);
    let first = others.next().map(|seen| seen.sign);
    assert!(others.next().is_none(), "{seen:?}");
    first
}

#[test]
fn a_host_that_echoes_from_elsewhere_is_told() {
    let findings = findings(ECHO, tcp(125, 64_240));
    let moved = |distance| {
        let baseline = Baseline { distance, ..Baseline::default() };
        let seen = signs(&findings, &target(), Some(&baseline));
        seen.iter().any(|seen| seen.sign == Sign::MachineMoved)
    };
    assert_eq!([moved(Some(3)), moved(Some(9)), moved(None)], [false, true, false]);
}

const ECHO: Answer = Answer::EchoReply { ttl: Some(125) };
const MUTE: Answer = Answer::Silence;

#[test]
fn an_acceptance_is_compared_with_the_echo_first() {
    let seen = |ttl| shown(&findings(ECHO, tcp(ttl, 64_240)), Some(9));
    assert_eq!(seen(125), Some(Sign::AcceptSame));
    assert_eq!(seen(61), Some(Sign::AcceptSame), "another number to count down from");
    assert_eq!(seen(62), Some(Sign::AcceptNearer));
    assert_eq!(seen(60), None, "then somebody else echoes");
}

#[test]
fn without_echo_what_was_learnt_and_the_path_speak() {
    let reached = |ttl| path(ttl - 1, PathEnd::Reached(ttl));
    let seen = |(ttl, window), reach: Option<u8>, learnt| {
        let tcp_path = reach.map(reached);
        shown(&Findings { tcp_path, ..findings(MUTE, tcp(ttl, window)) }, learnt)
    };
    const OPEN: u16 = 64_240;
    assert_eq!(seen((62, OPEN), None, Some(3)), Some(Sign::AcceptNearer));
    assert_eq!(seen((61, OPEN), None, Some(3)), Some(Sign::AcceptSame));
    assert_eq!(seen((62, OPEN), Some(4), Some(3)), Some(Sign::AcceptNearer));
    assert_eq!(seen((62, OPEN), Some(3), Some(3)), None, "the way has become shorter");
    assert_eq!(seen((62, OPEN), Some(4), None), Some(Sign::AcceptShort));
    assert_eq!(seen((62, 0), Some(4), None), Some(Sign::AcceptNearer), "an empty window");
    assert_eq!(seen((61, OPEN), Some(4), None), Some(Sign::AcceptSame));
    assert_eq!(seen((59, OPEN), Some(4), None), None, "a longer way back");
    assert_eq!(seen((61, OPEN), None, None), None);
    // A silent last router leaves open where the path ends.
    let tcp_path = Some(path(2, PathEnd::Reached(4)));
    assert_eq!(shown(&Findings { tcp_path, ..findings(MUTE, tcp(62, OPEN)) }, None), None);
}

#[test]
fn routers_beyond_the_acceptance_tell_a_proxy() {
    let tcp_path = Some(path(2, PathEnd::Reached(3)));
    let icmp_path = Some(path(4, PathEnd::Silent));
    let proxied = Findings { tcp_path, icmp_path, ..findings(MUTE, tcp(62, 64_240)) };
    assert_eq!(shown(&proxied, None), Some(Sign::AcceptNearer));
}

#[test]
fn nothing_is_said_behind_a_balancer_or_without_packets() {
    let mut fronted = target();
    fronted.fronted = Fronted::Balancer;
    assert_eq!(signs(&findings(ECHO, tcp(62, 64_240)), &fronted, None), []);
    let unseen = TcpAnswer { ttl: None, window: None, ip_id: None };
    assert_eq!(shown(&findings(ECHO, unseen), Some(3)), None);
}

fn ended(ttl: u8, after: Option<u64>) -> Findings {
    let report = ConnectReport {
        result: ConnectResult::Connected,
        handshake: None,
        retransmits: None,
        service: Some(ServiceAnswer::Closed { reset: true, heard: 0 }),
        service_time: None,
        local_port: Some(40_000),
    };
    let after = after.map(Duration::from_millis);
    let overheard = Overheard {
        accepted: tcp(125, 64_240),
        round_trip: Duration::from_millis(20),
        end: Some(PeerEnd { reset: true, ttl, after }),
        acknowledged: Some(true),
    };
    let connect = Some(report);
    Findings { connect, overheard: Some(overheard), ..findings(MUTE, tcp(125, 64_240)) }
}

#[test]
fn an_end_is_the_hosts_if_it_comes_from_there_and_not_too_soon() {
    for (ttl, after, sign) in [
        (125, Some(20), Sign::ServiceResetSame),
        (61, Some(25), Sign::ServiceResetSame),
        (125, None, Sign::ServiceResetSame),
        (62, Some(20), Sign::ServiceResetElsewhere),
        (253, None, Sign::ServiceResetElsewhere),
        (125, Some(8), Sign::ServiceResetElsewhere),
        (125, Some(17), Sign::ServiceResetSame),
    ] {
        let seen = shown(&ended(ttl, after), None);
        assert_eq!(seen, Some(sign), "{ttl} {after:?}");
    }
    let mut proxied = ended(125, Some(30));
    proxied.overheard.as_mut().unwrap().accepted = tcp(62, 0);
    proxied.echo = tally(ECHO);
    let seen = signs(&proxied, &target(), None);
    let all: Vec<_> = seen.iter().map(|seen| seen.sign).collect();
    // The raw acceptances come from the host here, so the whole is not nearer.
    assert_eq!(all, [Sign::AcceptSame, Sign::ServiceResetSame]);
    let mut unheard = ended(62, None);
    unheard.overheard = None;
    assert_eq!(shown(&unheard, None), None, "nobody saw it");
}

#[test]
fn a_request_that_nobody_acknowledges_is_lost() {
    let after = |millis| Some(Duration::from_millis(millis));
    let told = |service, end: Option<PeerEnd>, acknowledged| {
        let mut found = ended(60, None);
        found.connect.as_mut().unwrap().service = Some(service);
        let line = found.overheard.as_mut().unwrap();
        (line.end, line.acknowledged) = (end, acknowledged);
        receipt(&found).map(|seen| seen.sign)
    };
    let silent = || ServiceAnswer::Silent;
    assert_eq!(told(silent(), None, Some(false)), Some(Sign::RequestLost));
    assert_eq!(told(silent(), None, Some(true)), Some(Sign::RequestTaken));
    assert_eq!(told(silent(), None, None), None, "nothing was said");
    let closed = || ServiceAnswer::Closed { reset: false, heard: 0 };
    let fin = |millis| Some(PeerEnd { reset: false, ttl: 60, after: after(millis) });
    assert_eq!(told(closed(), fin(4_000), Some(false)), Some(Sign::RequestLost));
    assert_eq!(told(closed(), fin(30), Some(false)), None, "it hung up at once");
}

#[test]
fn a_request_among_losses_may_be_lost_by_chance() {
    let told = |lost: u32| {
        let mut found = ended(60, None);
        found.connect.as_mut().unwrap().service = Some(ServiceAnswer::Silent);
        let line = found.overheard.as_mut().unwrap();
        (line.end, line.acknowledged) = (None, Some(false));
        let mut syn = Tally::default();
        let accepted = Answer::SynAck(tcp(60, 64_240));
        for answer in (0..28).map(|index| if index < lost { MUTE } else { accepted }) {
            syn.absorb(&Observation { answer, sent: None, arrived: None });
        }
        found.syn = Some(syn);
        receipt(&found).map(|seen| seen.sign)
    };
    // Of 28 SYNs: none, one in nine, half and most.
    assert_eq!([told(0), told(3)], [Some(Sign::RequestLost); 2]);
    assert_eq!([told(15), told(25)], [None; 2]);
}
