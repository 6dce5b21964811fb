use super::*;
use crate::evidence::{Answer, Observation, TcpAnswer};
use crate::judge::text::{Facts, summary};
use crate::probe::series::Tally;
use crate::survey::Depth;
use crate::target::Service;
use crate::time::Instant;
use crate::vantage::{Binding, Vantage};

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
        way: Way::default(),
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
fn a_host_whose_echo_should_be_filtered_is_exposed_by_its_echo() {
    let ping = Target::new("192.0.2.10", 0, Service::Ping);
    let answers = expecting(Expect::Filtered, &[Sign::EchoAnswered, Sign::LocalFine]);
    assert_eq!(judge(&ping, &[answers]).exposed, ["outside"]);
    let silent = expecting(Expect::Filtered, &[Sign::EchoSilent, Sign::LocalFine]);
    let verdict = judge(&ping, &[silent]);
    assert!(verdict.exposed.is_empty());
    assert_eq!(verdict.class, Class::Reachable, "its silence is expected");
}

#[test]
fn expected_silence_proves_of_a_dead_host_that_nobody_reaches_it() {
    let outside = expecting(Expect::Filtered, &DARK);
    let inside = ViewEvidence { role: Role::Inside, ..view("inside", &DARK) };
    let verdict = judge(&target(), &[outside, inside]);
    assert!(matches!(verdict.class, Class::HostSilent | Class::Blackhole), "{:?}", verdict.class);
    assert!(verdict.posterior.of_class(Class::SourceBlocked) < 0.3);
    assert_eq!((verdict.reaching.len(), verdict.scope), (0, Scope::All));
}

#[test]
fn a_ping_that_should_be_closed_is_one_that_should_be_silent() {
    let ping = Target::new("192.0.2.10", 0, Service::Ping);
    let silent = expecting(Expect::Closed, &[Sign::EchoSilent, Sign::LocalFine]);
    assert_eq!(judge(&ping, &[silent]).class, Class::Reachable);
}

#[test]
fn whoever_has_an_address_has_no_failing_name() {
    let dns = |verdict: &Verdict| verdict.posterior.of_class(Class::DnsFailure);
    let known = judge(&target(), &[view("a", &DARK)]);
    assert!(dns(&known) < 0.001, "{}", dns(&known));
    let nothing = [ViewEvidence { address: None, ..view("a", &[]) }];
    assert!(dns(&judge(&target(), &nothing)) > 0.001);
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
fn whoever_looks_into_the_guest_tells_all_that_is_left_apart() {
    let reset = [Sign::EchoAnswered, Sign::SynReset, Sign::ResetSame, Sign::PathReachesTarget];
    let verdict = judge(&target(), &[view("a", &reset)]);
    assert_eq!(verdict.class, Class::PortClosed);
    let next = next_evidence(&verdict);
    let [(guest, splits)] = &next[..] else { panic!("{next:?}") };
    assert_eq!(guest.ask.en, "service and firewall inside the guest");
    assert_eq!(splits[..], ["service_stopped", "rdp_disabled", "rdp_port_moved"]);
}

#[test]
fn an_inside_vantage_settles_a_blackhole() {
    let inside = ViewEvidence { role: Role::Inside, ..view("vpc", &OPEN) };
    let dark: Vec<_> = DARK.into_iter().chain([Sign::SiblingFurther]).collect();
    let verdict = judge(&target(), &[view("a", &dark), inside]);
    assert_eq!(verdict.class, Class::Blackhole);
    assert!(verdict.confidence > 0.9, "{}", verdict.confidence);
}

fn top(verdict: &Verdict) -> &'static str {
    verdict.posterior.causes.first().map_or("", |(cause, _)| cause.name)
}

fn share(verdict: &Verdict, names: &[&str]) -> f64 {
    let named = verdict.posterior.causes.iter().filter(|(cause, _)| names.contains(&cause.name));
    named.map(|(_, p)| p).sum()
}

#[test]
fn a_port_that_fails_inside_as_well_is_the_hosts_own() {
    let inside = |signs| ViewEvidence { role: Role::Inside, ..view("vpc", signs) };
    let cloud = ["security_group_port", "network_acl"];
    let host = ["host_firewall_port", "service_stopped_stealth", "ipsec_policy"];
    let outside_only = judge(&target(), &[view("a", &FILTERED), view("b", &FILTERED)]);
    assert!(!has_sign(&outside_only, Sign::InsideFails));
    let verdict = judge(&target(), &[view("a", &FILTERED), inside(&FILTERED)]);
    assert!(has_sign(&verdict, Sign::OthersFail) && has_sign(&verdict, Sign::InsideFails));
    assert_eq!(verdict.class, Class::SecurityGroup);
    assert!(host.contains(&top(&verdict)), "{}", top(&verdict));
    assert!(share(&verdict, &host) > 2.0 * share(&verdict, &cloud));
    assert!(share(&verdict, &[top(&verdict)]) < 0.8, "the set stays together");
    assert!(share(&verdict, &cloud) < share(&outside_only, &cloud) / 2.0);
    // Two inside say nothing of what lies between.
    let both = [inside(&FILTERED), ViewEvidence { vantage: "vpc2", ..inside(&FILTERED) }];
    assert!(!has_sign(&judge(&target(), &both), Sign::InsideFails));
    assert!(!has_sign(
        &judge(&target(), &[view("a", &FILTERED), inside(&OPEN)]),
        Sign::InsideFails
    ));
}

/// A view from this source address of one host.
fn bound(vantage: &'static str, source: &str, signs: &[Sign]) -> ViewEvidence<'static> {
    let binding = Binding::Source(source.parse().unwrap());
    let bound = Box::leak(Box::new(Vantage { binding, ..Vantage::unbound(vantage) }));
    ViewEvidence { way: bound.way(), ..view(vantage, signs) }
}

#[test]
fn a_block_follows_the_address_and_a_broken_way_the_route() {
    let first = || bound("v1", "203.0.113.1", &DARK);
    let second = |signs| bound("v1b", "203.0.113.2", signs);
    for others in [&[][..], &[view("v2", &OPEN)]] {
        let views: Vec<_> = [first(), second(&OPEN)].into_iter().chain(others.to_vec()).collect();
        let verdict = judge(&target(), &views);
        assert_eq!((verdict.class, top(&verdict)), (Class::SourceBlocked, "source_block"));
        assert!(has_sign(&verdict, Sign::SecondReaches));
        assert_eq!(has_sign(&verdict, Sign::OthersReach), !others.is_empty());
        assert_eq!(verdict.failing, ["v1"]);
    }
    let cut: Vec<_> =
        DARK.into_iter().chain([Sign::SiblingFailsToo, Sign::PathShortened]).collect();
    let views = [bound("v1", "203.0.113.1", &cut), second(&cut), view("v2", &OPEN)];
    let verdict = judge(&target(), &views);
    assert_eq!((verdict.class, top(&verdict)), (Class::SourceBlocked, "return_path_broken"));
    let forth = share(&verdict, &["transit_blackhole", "partial_blackhole"]);
    assert!(forth > 0.2, "the way there may be broken as well: {forth}");
    assert_eq!(verdict.weighed.iter().filter(|(_, s)| s.sign == Sign::SecondFailsToo).count(), 2);
    assert_eq!(verdict.scope, Scope::One, "two addresses are one witness");
}

#[test]
fn a_second_address_is_no_second_opinion() {
    let views = [bound("v1", "203.0.113.1", &DARK), bound("v1b", "203.0.113.2", &DARK)];
    let verdict = judge(&target(), &views);
    assert!(!has_family(&verdict, Family::OtherVantages));
    assert!(has_sign(&verdict, Sign::SecondFailsToo));
    assert_eq!(verdict.class, Class::HostSilent);
    let alone = judge(&target(), &views[..1]);
    let more = share(&verdict, &["source_block"]) / share(&alone, &["source_block"]);
    assert!(more < 0.5, "it speaks against a block of one address: {more}");
}

#[test]
fn who_shares_an_upstream_counts_once_where_it_fails_and_speaks_where_it_reaches() {
    let behind = |name: &'static str, signs: &[Sign]| {
        let upstream = Some("AS64500".to_owned());
        let vantage = Box::leak(Box::new(Vantage { upstream, ..Vantage::unbound(name) }));
        ViewEvidence { way: vantage.way(), ..view(name, signs) }
    };
    let verdict = judge(&target(), &[behind("a", &DARK), behind("b", &DARK)]);
    assert!(!has_family(&verdict, Family::OtherVantages));
    let verdict = judge(&target(), &[behind("a", &DARK), behind("b", &DARK), view("c", &DARK)]);
    assert!(has_sign(&verdict, Sign::OthersFail));
    let verdict = judge(&target(), &[behind("a", &DARK), behind("b", &OPEN)]);
    assert!(has_sign(&verdict, Sign::OthersReach) && !has_family(&verdict, Family::SecondSource));
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
        port: Some(3389),
        echo,
        syn: Some(Tally::default()),
        packets: 1,
        ..Findings::nothing(
            "192.0.2.10".parse().unwrap(),
            (Instant::ZERO, Instant::ZERO),
            Depth::Full,
        )
    };
    let half = ViewEvidence { findings: Some(&findings), ..view("a", &[Sign::EchoAnswered]) };
    assert_eq!(judge(&target(), &[half]).class, Class::Unknown);
    let facts = TcpAnswer { ttl: None, window: None, ip_id: None };
    assert!(Answer::SynAck(facts).is_from_target());
}

#[test]
fn a_loss_that_a_count_leaves_open_takes_from_how_sure_reachable_is() {
    let facts = TcpAnswer { ttl: Some(60), window: None, ip_id: None };
    let counted = |lost: u64, sent: u64| {
        let mut syn = Tally::default();
        let answers = (lost..sent).map(|_| Answer::SynAck(facts));
        for answer in answers.chain((0..lost).map(|_| Answer::Silence)) {
            syn.absorb(&Observation { answer, sent: None, arrived: None });
        }
        let at = (Instant::ZERO, Instant::ZERO);
        let nothing = Findings::nothing("192.0.2.10".parse().unwrap(), at, Depth::Full);
        Findings { port: Some(3389), syn: Some(syn), packets: 1, ..nothing }
    };
    let sure = |findings: &Findings| {
        let target = target();
        let view = ViewEvidence { findings: Some(findings), ..view("a", &OPEN) };
        let verdict = judge(&target, std::slice::from_ref(&view));
        assert_eq!(verdict.class, Class::Reachable);
        let summary = summary(&Facts {
            target: &target,
            verdict: &verdict,
            findings: view.findings,
            source: None,
        });
        assert_eq!(summary.en.contains("that the plan allows"), verdict.confidence < 0.9);
        verdict.confidence
    };
    // Of the threshold of 5 % four of sixty are too few to say, and nothing lost settles it.
    assert!(sure(&counted(0, 60)) > 0.9);
    assert!((0.5..0.6).contains(&sure(&counted(4, 60))));
    assert!(sure(&counted(1, 14)) > 0.9, "fourteen are no count");
}
