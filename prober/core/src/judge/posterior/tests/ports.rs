use super::Bound::{Above, Below, CauseAbove, CauseBelow, Is, Spread};
use super::{DARK, FILTERED, REFUSED, hold};
use crate::judge::class::Class;
use crate::judge::posterior::posterior;
use crate::judge::sign::Sign;
use crate::judge::sign::Sign::*;

#[test]
fn other_ports_tell_a_filter_from_a_dead_host_and_a_stopped_service() {
    hold(&[
        // The canary port resets: no stealth, and the filter concerns the port alone.
        (
            &[FILTERED, &[CanaryAnswers]],
            &[Above(Class::SecurityGroup, 0.9), CauseBelow("service_stopped_stealth", 0.01)],
        ),
        (&[FILTERED, &[CanaryAnswers]], &[Spread(0.8)]),
        // It is as silent as ever: nothing is decided.
        (
            &[FILTERED, &[CanaryStillSilent]],
            &[CauseAbove("service_stopped_stealth", 0.15), Spread(0.6)],
        ),
        (&[FILTERED, &[CanaryFellSilent]], &[CauseBelow("service_stopped_stealth", 0.2)]),
        // Whoever answers on another port lives, echo or not.
        (&[DARK, &[ControlAnswers]], &[Above(Class::SecurityGroup, 0.8)]),
        (&[DARK, &[CanaryAnswers]], &[Above(Class::SecurityGroup, 0.7)]),
        (&[DARK, &[ControlSilent, CanaryFellSilent]], &[Below(Class::SecurityGroup, 0.1)]),
    ]);
}

#[test]
fn an_open_alternate_port_is_where_the_service_went() {
    hold(&[
        (
            &[REFUSED, &[ResetSame, AlternateOpen]],
            &[Above(Class::PortClosed, 0.9), CauseAbove("rdp_port_moved", 0.8)],
        ),
        (&[REFUSED, &[ResetSame, AlternateClosed]], &[CauseBelow("rdp_port_moved", 0.1)]),
        (&[REFUSED, &[ResetSame]], &[Spread(0.6)]),
    ]);
}

#[test]
fn neighbours_tell_a_host_from_its_network() {
    hold(&[
        (&[DARK, &[NeighboursAnswer]], &[Below(Class::NoRoute, 0.05)]),
        (&[DARK, &[NeighboursSilent]], &[CauseAbove("transit_blackhole", 0.1)]),
    ]);
    let host = |sign| posterior(&[&[DARK, &[sign]].concat()]).of_class(Class::HostSilent);
    assert!(host(NeighboursAnswer) > host(NeighboursSilent) + 0.1);
}

#[test]
fn behind_a_front_a_dead_host_and_a_filter_are_one_picture() {
    const SILENT: &[Sign] = &[FrontAnswers, SynSilent, ServiceUnreached];
    hold(&[
        (
            &[SILENT],
            &[
                Above(Class::HostSilent, 0.2),
                Above(Class::SecurityGroup, 0.3),
                Below(Class::SecurityGroup, 0.8),
                Below(Class::Blackhole, 0.05),
            ],
        ),
        (&[&[FrontAnswers, SynAccepted]], &[Above(Class::Reachable, 0.97)]),
        (&[&[FrontAnswers, SynReset]], &[Above(Class::PortClosed, 0.6)]),
        (&[&[FrontSilent, SynSilent, PathStops]], &[Below(Class::SecurityGroup, 0.4)]),
    ]);
}

#[test]
fn what_comes_and_goes_is_hardly_a_changed_rule() {
    hold(&[
        (
            &[FILTERED, &[ComesAndGoes]],
            &[Is(Class::SecurityGroup), CauseAbove("accept_queue_full", 0.4), Spread(0.8)],
        ),
        // A host that starts again and again, or whose link flaps.
        (
            &[DARK, &[SiblingSame, ComesAndGoes]],
            &[Is(Class::HostSilent), CauseBelow("accept_queue_full", 0.2), Spread(0.8)],
        ),
        (&[FILTERED, &[OnsetOnce]], &[CauseBelow("accept_queue_full", 0.1), Spread(0.6)]),
    ]);
}
