use super::*;
use crate::evidence::{Answer, Observation, TcpAnswer};
use crate::probe::series::Tally;
use crate::survey::Depth;
use crate::target::Service;
use crate::time::Instant;

const OPEN: [Sign; 4] =
    [Sign::EchoAnswered, Sign::SynAccepted, Sign::ServiceConfirmed, Sign::LocalFine];
const FILTERED: [Sign; 5] = [
    Sign::EchoAnswered,
    Sign::SynSilent,
    Sign::TcpStopsAlone,
    Sign::ServiceUnreached,
    Sign::LocalFine,
];
const DARK: [Sign; 5] =
    [Sign::EchoSilent, Sign::SynSilent, Sign::PathStops, Sign::ServiceUnreached, Sign::LocalFine];

fn target() -> Target {
    Target::new("192.0.2.10", 3389, Service::Rdp)
}

fn view(vantage: &'static str, signs: &[Sign]) -> ViewEvidence<'static> {
    ViewEvidence {
        vantage,
        role: Role::Outside,
        mode: Some(Mode::Raw),
        address: "192.0.2.10".parse().ok(),
        findings: None,
        seen: signs.iter().map(|sign| Seen::new(*sign, None)).collect(),
        expect: Expect::Reachable,
        baseline: true,
    }
}

fn expecting(expect: Expect, signs: &[Sign]) -> ViewEvidence<'static> {
    ViewEvidence { expect, ..view("outside", signs) }
}

#[test]
fn expected_silence_is_no_failure() {
    let verdict = judge(&target(), &[expecting(Expect::Filtered, &FILTERED)]);
    assert_eq!(verdict.class, Class::Reachable);
    assert!(verdict.exposed.is_empty());
    assert!(verdict.belief_in_failure() < 0.01);
}

#[test]
fn an_open_port_that_should_be_filtered_is_exposed() {
    let verdict = judge(&target(), &[expecting(Expect::Filtered, &OPEN)]);
    assert_eq!(verdict.exposed, ["outside"]);
    assert_eq!(verdict.class, Class::Reachable, "exposed is a finding, not a failure");
}

#[test]
fn a_closed_port_may_be_what_is_expected() {
    let closed = [Sign::EchoAnswered, Sign::SynReset, Sign::ResetSame, Sign::LocalFine];
    let verdict = judge(&target(), &[expecting(Expect::Closed, &closed)]);
    assert_eq!(verdict.class, Class::Reachable);
    let verdict = judge(&target(), &[expecting(Expect::Closed, &OPEN)]);
    assert_eq!(verdict.exposed, ["outside"]);
}

#[test]
fn our_own_fault_is_never_hidden_by_an_expectation() {
    let local = [Sign::EchoSilent, Sign::SynSilent, Sign::LocalNoRoute];
    let verdict = judge(&target(), &[expecting(Expect::Filtered, &local)]);
    assert_eq!((verdict.class, verdict.scope), (Class::VantageFault, Scope::Ourselves));
}

#[test]
fn one_of_three_that_fails_is_a_blocked_source() {
    let views = [view("a", &OPEN), view("b", &OPEN), view("c", &DARK)];
    let verdict = judge(&target(), &views);
    assert_eq!((verdict.class, verdict.scope), (Class::SourceBlocked, Scope::One));
    assert_eq!((verdict.reaching.len(), verdict.failing.as_slice()), (2, &["c".to_owned()][..]));
}

#[test]
fn a_target_without_a_port_has_nothing_behind_one() {
    let ping = Target::new("192.0.2.10", 3389, Service::Ping);
    for signs in [
        &[Sign::EchoAnswered, Sign::PathStops, Sign::LocalFine][..],
        &[Sign::EchoSilent, Sign::PathStops, Sign::LocalFine],
        &[Sign::EchoPartial, Sign::LocalFine],
    ] {
        let verdict = judge(&ping, &[view("a", signs)]);
        let about_ports = verdict.posterior.causes.iter().filter(|(cause, _)| {
            matches!(cause.class, Class::SecurityGroup | Class::PortClosed | Class::ServiceHung)
        });
        assert_eq!(about_ports.count(), 0);
        let total: f64 = verdict.posterior.causes.iter().map(|(_, p)| p).sum();
        assert!((total - 1.0).abs() < 1e-9, "{total}");
    }
    let verdict = judge(&target(), &[view("a", &FILTERED)]);
    assert_eq!(verdict.class, Class::SecurityGroup);
    // Health that filters echo is none where echo is all that is asked: its silence is believed.
    let dark = [Sign::EchoSilent, Sign::PathStops, Sign::LocalFine, Sign::VantageFine];
    let verdict = judge(&ping, &[view("a", &dark)]);
    assert!(verdict.belief_in_failure() > 0.99, "{}", verdict.belief_in_failure());
}

#[test]
fn a_sick_vantage_does_not_speak_for_the_target() {
    let sick = [Sign::LocalBlocked];
    let verdict = judge(&target(), &[view("a", &OPEN), view("b", &sick)]);
    assert_eq!(verdict.class, Class::Reachable);
    assert!(verdict.failing.is_empty());
}

#[test]
fn all_silent_without_siblings_is_spread_and_named_by_the_larger() {
    let verdict = judge(&target(), &[view("a", &DARK)]);
    assert_eq!(verdict.class, Class::HostSilent);
    let blackhole = verdict.posterior.of_class(Class::Blackhole);
    assert!(blackhole >= 0.15 && verdict.confidence <= 0.8, "{blackhole} {}", verdict.confidence);
    let next: Vec<_> = next_evidence(&verdict).iter().map(|(next, _)| next.ask.en).collect();
    assert!(next.contains(&"instance state") && next.contains(&"DDoS blackhole state"), "{next:?}");
}

#[test]
fn an_inside_vantage_settles_a_blackhole() {
    let inside = ViewEvidence { role: Role::Inside, ..view("vpc", &OPEN) };
    let dark: Vec<_> = DARK.into_iter().chain([Sign::SiblingFurther]).collect();
    let verdict = judge(&target(), &[view("a", &dark), inside]);
    assert_eq!(verdict.class, Class::Blackhole);
    assert!(verdict.confidence > 0.9, "{}", verdict.confidence);
}

#[test]
fn one_dead_family_is_the_verdict_unless_any_address_will_do() {
    let v6 = ViewEvidence { address: "2001:db8::10".parse().ok(), ..view("a", &DARK) };
    let views = [view("a", &OPEN), v6];
    let verdict = judge(&target(), &views);
    assert_eq!(verdict.class, Class::HostSilent);
    assert!(verdict.notes.contains_key(&Note::OneAddressFamilyFailed));
    assert_eq!(verdict.addresses.len(), 2);
    let any = Target { addresses: AddressPolicy::Any, ..target() };
    assert_eq!(judge(&any, &views).class, Class::Reachable);
}

#[test]
fn a_family_without_a_route_here_is_our_side_and_not_the_target() {
    let no_route =
        ViewEvidence { address: "2001:db8::10".parse().ok(), ..view("a", &[Sign::LocalNoRoute]) };
    assert_eq!(judge(&target(), &[view("a", &OPEN), no_route]).class, Class::Reachable);
}

#[test]
fn without_evidence_nothing_is_said() {
    assert_eq!(judge(&target(), &[]).class, Class::Unknown);
}

#[test]
fn a_port_whose_fate_is_open_is_not_reachable_yet() {
    let mut echo = Tally::default();
    let reply = Answer::EchoReply { ttl: Some(64) };
    echo.absorb(&Observation { answer: reply, sent: None, arrived: None });
    let findings = Findings {
        address: "192.0.2.10".parse().unwrap(),
        port: Some(3389),
        started: Instant::ZERO,
        ended: Instant::ZERO,
        depth: Depth::Full,
        echo,
        syn: Some(Tally::default()),
        connect: None,
        icmp_path: None,
        tcp_path: None,
        siblings: Vec::new(),
        flows: None,
        large: None,
        rates: None,
        asides: crate::probe::asides::AsideFates::default(),
        local: Vec::new(),
        packets: 1,
    };
    let half = ViewEvidence { findings: Some(&findings), ..view("a", &[Sign::EchoAnswered]) };
    assert_eq!(judge(&target(), &[half]).class, Class::Unknown);
    let facts = TcpAnswer { ttl: None, window: None, ip_id: None };
    assert!(Answer::SynAck(facts).is_from_target());
}
