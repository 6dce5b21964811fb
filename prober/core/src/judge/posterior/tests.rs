use proptest::prelude::*;

use super::{FLOOR, Posterior, likelihood, posterior};
use crate::judge::cause::CAUSES;
use crate::judge::class::Class;
use crate::judge::sign::Sign::*;
use crate::judge::sign::{Family, Sign};

mod ports;
mod service;

/// What a pattern must or must not be believed to be.
#[derive(Debug)]
enum Bound {
    /// This class is named.
    Is(Class),
    /// This class leads, named or not.
    Leads(Class),
    Above(Class, f64),
    Below(Class, f64),
    CauseAbove(&'static str, f64),
    CauseBelow(&'static str, f64),
    /// No single cause is believed more.
    Spread(f64),
}
use Bound::{Above, Below, CauseAbove, CauseBelow, Is, Leads, Spread};

impl Bound {
    fn holds(&self, found: &Posterior) -> bool {
        match *self {
            Is(class) => found.class == class,
            Leads(class) => found.leading == class,
            Above(class, limit) => found.of_class(class) > limit,
            Below(class, limit) => found.of_class(class) <= limit,
            CauseAbove(name, limit) => of_cause(found, name) > limit,
            CauseBelow(name, limit) => of_cause(found, name) <= limit,
            Spread(limit) => found.causes[0].1 <= limit,
        }
    }
}

fn of_cause(found: &Posterior, name: &str) -> f64 {
    found.causes.iter().find(|(cause, _)| cause.name == name).map(|(_, p)| *p).unwrap()
}

type Pattern = (&'static [&'static [Sign]], &'static [Bound]);

const WELL: &[Sign] = &[EchoAnswered, SynAccepted];
const DARK: &[Sign] = &[EchoSilent, SynSilent, PathStops];
const FILTERED: &[Sign] = &[EchoAnswered, SynSilent, TcpStopsAlone];
const REFUSED: &[Sign] = &[EchoAnswered, SynReset];
const REJECTED: &[Sign] = &[EchoError, SynError];
/// Signs that are usually known besides and must not upset a pattern.
const BESIDES: &[Sign] = &[LocalFine, VantageFine, NameResolves, NoError, SingleAnswer];

/// Tries each pattern bare, and with whatever of `BESIDES` it leaves open.
fn hold(patterns: &[Pattern]) {
    for (parts, bounds) in patterns {
        let bare = parts.concat();
        let open = |sign: &&Sign| bare.iter().all(|known| known.family() != sign.family());
        let full: Vec<Sign> = bare.iter().chain(BESIDES.iter().filter(open)).copied().collect();
        for view in [bare.as_slice(), full.as_slice()] {
            let found = posterior(&[view]);
            for bound in *bounds {
                assert!(bound.holds(&found), "{view:?}: {bound:?}\n{}", shown(&found));
            }
        }
    }
}

fn shown(found: &Posterior) -> String {
    let classes = Class::ALL.into_iter().map(|class| (class.as_str(), found.of_class(class)));
    let causes = found.causes.iter().map(|(cause, p)| (cause.name, *p));
    let above = |(_, p): &(&str, f64)| *p > 0.01;
    classes
        .filter(above)
        .chain(causes.filter(above))
        .map(|(n, p)| format!("{n} {p:.3}\n"))
        .collect()
}

#[test]
fn what_answers_is_reachable() {
    hold(&[
        (&[WELL, &[ServiceConfirmed, PathReachesTarget]], &[Above(Class::Reachable, 0.97)]),
        (&[WELL, &[PathReachesTarget]], &[Above(Class::Reachable, 0.97)]),
        (&[WELL], &[Above(Class::Reachable, 0.97)]),
        (&[&[EchoSilent, SynAccepted, ServiceConfirmed]], &[Above(Class::Reachable, 0.95)]),
        (&[&[EchoSilent, SynAccepted]], &[Above(Class::Reachable, 0.9)]),
        (&[&[EchoPartial, SynAccepted, ServiceConfirmed]], &[Above(Class::Reachable, 0.9)]),
    ]);
}

#[test]
fn where_nobody_is_heard_our_own_link_may_be_cut() {
    const NEIGHBOUR: &[Sign] =
        &[EchoError, SynError, HostUnreachable, FromLastRouter, ErrorDelayed, PathStops];
    hold(&[
        (
            &[NEIGHBOUR, &[VantageUnheard]],
            &[
                Is(Class::HostSilent),
                Below(Class::HostSilent, 0.8),
                Above(Class::VantageFault, 0.15),
            ],
        ),
        (
            &[NEIGHBOUR, &[SiblingSame]],
            &[Above(Class::HostSilent, 0.9), Below(Class::VantageFault, 0.02)],
        ),
        (
            &[DARK, &[VantageUnheard]],
            &[Below(Class::HostSilent, 0.8), Above(Class::VantageFault, 0.1)],
        ),
        (&[DARK, &[VantageFine]], &[Below(Class::VantageFault, 0.03)]),
    ]);
}

#[test]
fn a_port_that_opens_to_others_is_not_closed() {
    let reset = &[EchoAnswered, SynReset, ResetSame, PathReachesTarget, OthersReach, ResetForSome];
    let found = posterior(&[reset]);
    assert!(found.of_class(Class::PortClosed) < 0.01, "{}", shown(&found));
    assert_eq!(found.class, Class::SourceBlocked, "{}", shown(&found));
    assert!(found.of_class(Class::ResetInjected) > 0.05, "a bridge resets as well");
}

#[test]
fn who_does_not_acknowledge_is_no_hung_service() {
    const HUNG: &[Sign] = &[EchoAnswered, SynAccepted, ServiceSilent, PathReachesTarget];
    hold(&[
        (&[HUNG, &[RequestTaken]], &[Is(Class::ServiceHung), CauseAbove("service_hung", 0.5)]),
        (
            &[HUNG, &[RequestLost, AcceptSame]],
            &[CauseBelow("service_hung", 0.1), CauseAbove("syn_proxy_dead_host", 0.3)],
        ),
    ]);
}

#[test]
fn a_ban_and_an_access_list_are_called_so_by_their_owner() {
    for sibling in [SiblingFurther, SiblingSame] {
        let view = &[REJECTED, &[Prohibited, FromPath, PathStops, ErrorAtOnce, sibling]].concat();
        let found = posterior(&[view]);
        assert!(found.of_class(Class::Rejected) > 0.9, "{}", shown(&found));
        assert!(of_cause(&found, "null_route_reject") <= 0.8 + 1e-9, "{}", shown(&found));
    }
}

#[test]
fn loss_shows_on_echo_and_tcp() {
    hold(&[
        (&[&[EchoPartial, SynPartial]], &[Above(Class::PacketLoss, 0.9), Spread(0.6)]),
        (&[&[EchoPartial, SynPartial, PathStops]], &[Above(Class::PacketLoss, 0.9)]),
        (&[&[EchoPartial, SynPartial, PathReachesTarget]], &[Above(Class::PacketLoss, 0.9)]),
        // One connection that came about is no proof against the SYNs that were lost.
        (
            &[&[EchoAnswered, SynPartial, PathReachesTarget, ServiceConfirmed]],
            &[Below(Class::Reachable, 0.01), Above(Class::PartialPath, 0.1)],
        ),
        (&[&[EchoPartial, SynPartial, ServiceConfirmed]], &[Above(Class::PacketLoss, 0.9)]),
        (&[&[EchoPartial, SynPartial, ServiceUnreached]], &[Above(Class::PacketLoss, 0.9)]),
        (
            &[&[EchoPartial, SynPartial, PathStops, ServiceUnreached]],
            &[Above(Class::PacketLoss, 0.9)],
        ),
    ]);
}

#[test]
fn flows_tell_a_dead_path_from_loss_by_chance() {
    const TCP: &[Sign] = &[EchoAnswered, SynPartial];
    for service in [ServiceConfirmed, ServiceUnreached] {
        let with = |more: &[Sign]| posterior(&[&[TCP, &[service], more].concat()]);
        for path in [PathReachesTarget, TcpStopsAlone] {
            let split = with(&[path, FlowsSplit]);
            assert!(split.of_class(Class::PartialPath) > 0.9, "{service:?} {path:?}");
        }
        let mixed = with(&[PathReachesTarget, FlowsMixed]);
        assert!(mixed.of_class(Class::PartialPath) < 0.05, "{service:?}");
    }
    hold(&[
        (&[TCP, &[FlowsMixed, ServiceConfirmed]], &[Above(Class::PacketLoss, 0.85)]),
        (&[&[EchoPartial, SynPartial, FlowsMixed]], &[Above(Class::PacketLoss, 0.95)]),
        // Both at once: the flows decide what the packets lost beside them cannot hide.
        (&[&[EchoPartial, SynPartial, FlowsSplit]], &[Is(Class::PartialPath)]),
        (&[TCP, &[ServiceConfirmed]], &[Below(Class::PartialPath, 0.5)]),
    ]);
}

#[test]
fn rates_and_delay_tell_the_kinds_of_loss_apart() {
    const LOSSY: &[Sign] = &[EchoPartial, SynPartial, FlowsMixed, PathReachesTarget];
    hold(&[
        (&[LOSSY, &[QuickLoses, DelayFlat]], &[CauseAbove("policer", 0.7)]),
        (&[LOSSY, &[RatesAlike, DelayFlat]], &[CauseAbove("random_loss", 0.7)]),
        (&[LOSSY, &[RatesAlike, DelayGrows]], &[CauseAbove("congestion", 0.7)]),
        (&[LOSSY, &[DelayFlat]], &[CauseAbove("policer", 0.15), Spread(0.7)]),
        (&[LOSSY], &[Above(Class::PacketLoss, 0.95), Spread(0.6)]),
    ]);
}

#[test]
fn sizes_that_vanish_are_a_blackhole_of_their_direction() {
    const SERVED: &[Sign] = &[EchoAnswered, SynAccepted, ServiceConfirmed, PathReachesTarget];
    hold(&[
        (&[SERVED, &[LargePasses]], &[Above(Class::Reachable, 0.98)]),
        (&[SERVED, &[LargeTold]], &[Above(Class::Reachable, 0.98)]),
        (&[SERVED, &[LargeForwardLost]], &[CauseAbove("pmtu_blackhole_forward", 0.9)]),
        (&[SERVED, &[LargeReplyLost]], &[CauseAbove("pmtu_blackhole_reverse", 0.9)]),
        (&[SERVED, &[LargeLost]], &[Above(Class::MtuBlackhole, 0.9), Spread(0.7)]),
        (&[WELL, &[ServiceSilent, LargeReplyLost]], &[Above(Class::MtuBlackhole, 0.8)]),
        (&[WELL, &[ServiceSilent, LargePasses]], &[Above(Class::ServiceHung, 0.9)]),
    ]);
}

#[test]
fn siblings_tell_a_blackhole_from_a_dead_host() {
    hold(&[
        (&[DARK, &[SiblingFurther]], &[Above(Class::Blackhole, 0.85)]),
        (&[DARK, &[SiblingFurther, OthersFail]], &[Above(Class::Blackhole, 0.8)]),
        (
            &[DARK, &[SiblingSame]],
            &[
                Above(Class::HostSilent, 0.55),
                Below(Class::HostSilent, 0.8),
                Above(Class::SecurityGroup, 0.1),
                Above(Class::Blackhole, 0.01),
                Spread(0.5),
            ],
        ),
        (
            &[DARK, &[SiblingSame, OthersFail]],
            &[
                Above(Class::HostSilent, 0.55),
                Below(Class::HostSilent, 0.8),
                Above(Class::SecurityGroup, 0.1),
                Spread(0.5),
            ],
        ),
        (
            &[DARK, &[SiblingFailsToo]],
            &[Leads(Class::Blackhole), Below(Class::HostSilent, 0.3), Spread(0.6)],
        ),
        (
            &[DARK, &[SiblingFailsToo, OthersFail]],
            &[Leads(Class::Blackhole), Below(Class::HostSilent, 0.3), Spread(0.6)],
        ),
    ]);
}

#[test]
fn silence_without_siblings_is_shared() {
    hold(&[
        (
            &[DARK],
            &[
                Leads(Class::HostSilent),
                Below(Class::HostSilent, 0.8),
                Above(Class::Blackhole, 0.15),
                Above(Class::SecurityGroup, 0.1),
            ],
        ),
        (
            &[DARK, &[OthersFail]],
            &[Is(Class::HostSilent), Below(Class::HostSilent, 0.8), Above(Class::Blackhole, 0.15)],
        ),
        (
            &[&[EchoSilent, SynSilent]],
            &[
                Leads(Class::HostSilent),
                Above(Class::Blackhole, 0.15),
                Above(Class::SecurityGroup, 0.1),
                Below(Class::Reachable, 0.02),
            ],
        ),
    ]);
}

#[test]
fn echo_that_never_answered_proves_less() {
    let filtered = |extra: &[Sign]| {
        let view = [DARK, &[SiblingSame], extra].concat();
        posterior(&[&view]).of_class(Class::SecurityGroup)
    };
    assert!(filtered(&[EchoUsedToAnswer]) < 0.7 * filtered(&[]));
    assert!(filtered(&[EchoNeverAnswered]) > 1.3 * filtered(&[]));
    hold(&[
        (&[DARK, &[SiblingSame, EchoUsedToAnswer]], &[Is(Class::HostSilent)]),
        (
            &[DARK, &[SiblingSame, EchoNeverAnswered]],
            &[Is(Class::HostSilent), Below(Class::HostSilent, 0.75)],
        ),
    ]);
}

#[test]
fn other_vantages_tell_where_it_is_silent() {
    hold(&[
        (
            &[DARK, &[OthersReach]],
            &[
                Above(Class::SourceBlocked, 0.6),
                CauseAbove("source_block", 0.2),
                CauseAbove("return_path_broken", 0.2),
                CauseAbove("partial_blackhole", 0.1),
            ],
        ),
        (
            &[DARK, &[OthersReach, SiblingFurther]],
            &[CauseAbove("partial_blackhole", 0.3), Above(Class::SourceBlocked, 0.3)],
        ),
        (&[DARK, &[OthersReach, SiblingSame]], &[Above(Class::SourceBlocked, 0.7)]),
        (
            &[DARK, &[InsideReaches]],
            &[
                Above(Class::Blackhole, 0.8),
                CauseAbove("bandwidth_zero", 0.02),
                CauseAbove("eip_unbound", 0.02),
            ],
        ),
        (
            &[FILTERED, &[OthersReach]],
            &[Is(Class::SourceBlocked), CauseAbove("carrier_port_block", 0.1)],
        ),
    ]);
}

#[test]
fn no_member_of_a_set_that_looks_alike_is_said_to_be_it() {
    // All that one vantage can see of a blackhole: it may hold elsewhere or not, and an address
    // without an instance ends at the same edge.
    let alone: &[Sign] = &[EchoSilent, SynSilent, PathStops, SiblingFurther, PathShortened];
    let elsewhere = [alone, &[OthersFail]].concat();
    let timed = [alone, &[OthersFail, TimerRanOut]].concat();
    for (view, most, least) in
        [(alone, 0.801, 0.7), (elsewhere.as_slice(), 0.801, 0.75), (timed.as_slice(), 1.0, 0.9)]
    {
        let found = posterior(&[view]);
        let blackhole = of_cause(&found, "ddos_blackhole");
        assert!((least..=most).contains(&blackhole), "{view:?}: {}", shown(&found));
        let sum: f64 = found.causes.iter().map(|(_, p)| p).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
        assert!(found.causes.is_sorted_by(|(_, one), (_, next)| one >= next));
    }
}

#[test]
fn a_filtered_port_has_many_causes() {
    hold(&[
        (&[FILTERED], &[Above(Class::SecurityGroup, 0.9), Spread(0.6)]),
        (&[FILTERED, &[ServiceUnreached]], &[Above(Class::SecurityGroup, 0.9), Spread(0.6)]),
        (&[FILTERED, &[SiblingSame]], &[Above(Class::SecurityGroup, 0.9), Spread(0.6)]),
        (&[FILTERED, &[OthersFail]], &[Above(Class::SecurityGroup, 0.95), Spread(0.6)]),
        (&[FILTERED, &[EchoUsedToAnswer]], &[Above(Class::SecurityGroup, 0.8), Spread(0.6)]),
    ]);
}

#[test]
fn a_reset_is_the_hosts_only_if_it_comes_from_there() {
    hold(&[
        (&[REFUSED, &[ResetSame, SingleAnswer]], &[Above(Class::PortClosed, 0.9), Spread(0.75)]),
        (
            &[REFUSED, &[ResetSame, SingleAnswer, PathReachesTarget, ServiceUnreached, OthersFail]],
            &[Above(Class::PortClosed, 0.9), Spread(0.75)],
        ),
        (
            &[&[EchoSilent, SynReset]],
            &[
                Above(Class::PortClosed, 0.6),
                Below(Class::PortClosed, 0.85),
                Above(Class::ResetInjected, 0.1),
            ],
        ),
        (&[REFUSED], &[Is(Class::PortClosed), Below(Class::PortClosed, 0.8)]),
        (
            &[REFUSED, &[PathReachesTarget, ServiceUnreached]],
            &[Is(Class::PortClosed), Below(Class::PortClosed, 0.81)],
        ),
        (&[REFUSED, &[ResetElsewhere]], &[Above(Class::ResetInjected, 0.85)]),
        (&[REFUSED, &[ResetElsewhere, OthersFail]], &[Above(Class::ResetInjected, 0.85)]),
        (&[REFUSED, &[TwoAnswers]], &[Above(Class::ResetInjected, 0.9)]),
        (&[REFUSED, &[TwoAnswers, ResetSame]], &[Above(Class::ResetInjected, 0.9)]),
        (&[WELL, &[TwoAnswers]], &[Above(Class::ResetInjected, 0.9)]),
        (&[WELL, &[TwoAnswers, ServiceConfirmed]], &[Is(Class::ResetInjected)]),
    ]);
}

#[test]
fn an_icmp_error_is_weighed_by_its_sender_and_delay() {
    hold(&[
        (
            &[&[EchoAnswered, SynError, Prohibited]],
            &[Above(Class::Rejected, 0.9), CauseAbove("path_reject", 0.5)],
        ),
        (
            &[&[EchoAnswered, SynError, PortUnreachable, FromTarget]],
            &[Above(Class::Rejected, 0.9), CauseAbove("path_reject", 0.5)],
        ),
        (
            &[REJECTED, &[Prohibited]],
            &[Above(Class::Rejected, 0.9), CauseAbove("null_route_reject", 0.5)],
        ),
        (&[REJECTED, &[NetUnreachable]], &[Above(Class::NoRoute, 0.85)]),
        (&[REJECTED, &[HostUnreachable, ErrorAtOnce, FromPath]], &[Above(Class::NoRoute, 0.8)]),
        (
            &[REJECTED, &[HostUnreachable, ErrorDelayed, FromLastRouter]],
            &[Above(Class::HostSilent, 0.8)],
        ),
        (
            &[REJECTED, &[HostUnreachable, ErrorAtOnce, FromLastRouter, SiblingFailsToo]],
            &[Is(Class::NoRoute)],
        ),
        (
            &[REJECTED, &[HostUnreachable, FromLastRouter]],
            &[Is(Class::HostSilent), Above(Class::NoRoute, 0.15)],
        ),
    ]);
}

#[test]
fn a_loop_is_a_loop() {
    hold(&[
        (&[REJECTED, &[TimeExceeded]], &[Above(Class::RoutingLoop, 0.9)]),
        (&[REJECTED, &[PathLoops]], &[Above(Class::RoutingLoop, 0.9)]),
        (&[&[EchoSilent, SynSilent, PathLoops]], &[Above(Class::RoutingLoop, 0.9)]),
        (&[DARK, &[TimeExceeded]], &[Above(Class::RoutingLoop, 0.9)]),
    ]);
}

#[test]
fn syns_lost_alone_are_no_loss_on_the_path() {
    const THIN: &[Sign] = &[EchoAnswered, SynPartial, PathReachesTarget, FlowsMixed];
    hold(&[
        (&[THIN, &[SynLossAlone]], &[Above(Class::SecurityGroup, 0.6)]),
        (&[THIN, &[SynLossAlone, ServiceUnreached]], &[Above(Class::SecurityGroup, 0.7)]),
        (&[THIN, &[SynLossAlone, ServiceConfirmed]], &[Leads(Class::SecurityGroup)]),
        (&[THIN, &[SynLossShared]], &[Is(Class::PacketLoss), Below(Class::SecurityGroup, 0.05)]),
        (
            &[&[EchoPartial, SynPartial, PathReachesTarget, SynLossShared]],
            &[Above(Class::PacketLoss, 0.95)],
        ),
    ]);
}

#[test]
fn our_own_fault_outweighs_what_seems_silent() {
    let faults = [LocalNoRoute, LocalBlocked, LocalGatewaySilent, LocalExhausted, LocalNoPrivilege];
    let silences: [&[Sign]; 4] = [
        &[],
        DARK,
        &[EchoSilent, SynSilent],
        &[EchoSilent, SynSilent, PathStops, SiblingSame, OthersFail],
    ];
    for fault in faults {
        for silence in silences {
            let found = posterior(&[&[silence, &[fault]].concat()]);
            assert!(found.of_class(Class::VantageFault) > 0.9, "{fault:?} {silence:?}");
        }
    }
    hold(&[
        (&[DARK, &[VantageSuspect]], &[Above(Class::VantageFault, 0.8)]),
        (
            &[&[EchoAnswered, SynSilent, VantagePortSuspect]],
            &[Above(Class::VantageFault, 0.8), CauseAbove("vantage_egress_blocked", 0.7)],
        ),
        (
            &[FILTERED, &[VantagePortSuspect]],
            &[Above(Class::VantageFault, 0.8), CauseAbove("vantage_egress_blocked", 0.8)],
        ),
    ]);
}

#[test]
fn a_name_fails_by_itself_or_by_our_resolver() {
    hold(&[
        (&[&[NameUnknown]], &[CauseAbove("dns_nxdomain", 0.95)]),
        (&[&[NameServerFails]], &[CauseAbove("dns_servfail", 0.95)]),
        (&[&[NameTimesOut]], &[CauseAbove("dns_timeout", 0.95)]),
        (&[&[ResolverDead]], &[CauseAbove("vantage_resolver", 0.95)]),
    ]);
}

#[test]
fn nothing_seen_is_unknown() {
    hold(&[(&[], &[Is(Class::Unknown)]), (&[&[NoError]], &[Is(Class::Unknown)])]);
    assert_eq!(posterior(&[]).class, Class::Unknown);
}

#[test]
fn several_views_are_not_several_proofs() {
    let dark = [DARK, &[SiblingFurther]].concat();
    let once = posterior(&[&dark]);
    let thrice = posterior(&[&dark, &dark, &dark]);
    assert!((once.confidence - thrice.confidence).abs() < 1e-9);
    let mixed = posterior(&[&dark, &[DARK, &[SiblingSame]].concat()]);
    assert!(mixed.of_class(Class::Blackhole) < once.of_class(Class::Blackhole));
}

#[test]
fn the_sibling_trace_is_the_question_that_splits_silence() {
    let after = |view: &[Sign], family| posterior(&[view]).expected_drop(view, family);
    let drop = |family| after(DARK, family);
    assert!(drop(Family::SiblingPath) > 0.5);
    for family in [Family::ResetDistance, Family::DoubleAnswer, Family::Dns, Family::Service] {
        assert!(drop(Family::SiblingPath) > 2.0 * drop(family), "{family:?}");
    }
    assert_eq!(drop(Family::Echo), 0.0);
    assert!(after(&[EchoSilent], Family::Syn) > 0.5);
}

#[test]
fn what_is_not_listed_shares_what_is_left() {
    let of = |name: &str, sign| {
        likelihood(CAUSES.iter().find(|cause| cause.name == name).unwrap(), sign)
    };
    assert_eq!(of("ddos_blackhole", EchoAnswered), FLOOR);
    assert!((of("partial_blackhole", OthersReach) - 0.92).abs() < 1e-9);
    assert!((of("partial_blackhole", InsideReaches) - 0.04).abs() < 1e-9);
    assert!((of("ddos_blackhole", ResetSame) - 0.5).abs() < 1e-9);
    assert!((of("ddos_blackhole", VantageFine) - 0.95).abs() < 1e-9);
}

/// At most one sign of each family, in any order.
fn views() -> impl Strategy<Value = Vec<Sign>> {
    let one = |family: Family| prop::option::of(prop::sample::select(family.signs()));
    let chosen: Vec<_> = Family::ALL.into_iter().map(one).collect();
    chosen.prop_map(|signs| signs.into_iter().flatten().collect::<Vec<_>>()).prop_shuffle()
}

proptest! {
    #[test]
    fn a_posterior_is_a_distribution(view in views(), other in views()) {
        for found in [posterior(&[&view]), posterior(&[&view, &other])] {
            prop_assert_eq!(found.causes.len(), CAUSES.len());
            prop_assert!(found.causes.iter().all(|(_, p)| (0.0..=1.0).contains(p)));
            prop_assert!(found.causes.is_sorted_by(|(_, left), (_, right)| left >= right));
            let sum: f64 = found.causes.iter().map(|(_, p)| p).sum();
            prop_assert!((sum - 1.0).abs() < 1e-9);
            prop_assert_eq!(found.class == Class::Unknown, found.confidence < 0.5);
            prop_assert!((0.0..=1.0).contains(&found.belief_in_failure(super::OWN_DOUBT)));
            prop_assert!((0.0..=6.0).contains(&found.entropy()));
        }
    }

    #[test]
    fn order_and_repetition_do_not_matter(view in views()) {
        let found = posterior(&[&view]);
        let mut other = view.clone();
        other.reverse();
        other.extend_from_slice(&view);
        let names = |found: &Posterior| -> Vec<_> {
            found.causes.iter().map(|(cause, p)| (cause.name, p.to_bits())).collect()
        };
        prop_assert_eq!(names(&found), names(&posterior(&[&other])));
    }

    #[test]
    fn a_question_never_promises_doubt(view in views(), at in 0..Family::ALL.len()) {
        let drop = posterior(&[&view]).expected_drop(&view, Family::ALL[at]);
        prop_assert!(drop.is_finite() && drop >= 0.0);
    }
}

#[test]
fn every_family_is_nearly_a_distribution_under_every_cause() {
    for cause in CAUSES {
        for family in Family::ALL {
            let sum: f64 = family.signs().iter().map(|sign| likelihood(cause, *sign)).sum();
            assert!((0.95..1.15).contains(&sum), "{}: {} {sum}", cause.name, family.as_str());
        }
    }
}

#[test]
fn every_read_failure_is_believed_enough_to_be_told() {
    let healthy_below = [
        (SynAccepted, ServiceSilent),
        (SynAccepted, ServiceForeign),
        (SynAccepted, ServiceClosed),
        (SynAccepted, ServiceLate),
        (SynReset, ServiceUnreached),
        (SynSilent, ServiceUnreached),
    ];
    for (syn, service) in healthy_below {
        let path = if syn == SynSilent { TcpStopsAlone } else { PathReachesTarget };
        let signs = [EchoAnswered, syn, service, path, LocalFine, NoError];
        let belief = posterior(&[&signs]).belief_in_failure(super::OWN_DOUBT);
        assert!(belief > 0.99, "{syn:?} {service:?}: {belief}");
    }
}

#[test]
fn causes_taken_out_leave_their_share_to_their_class() {
    let signs = [EchoAnswered, SynReset, ResetSame];
    let (all, some) = (posterior(&[&signs]), posterior(&[&signs]).without(&["rdp_disabled"]));
    assert!(some.causes.iter().all(|(cause, _)| cause.name != "rdp_disabled"));
    assert!((all.of_class(Class::PortClosed) - some.of_class(Class::PortClosed)).abs() < 1e-9);
}
