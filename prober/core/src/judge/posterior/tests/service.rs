use super::Bound::{Above, Below, CauseAbove, CauseBelow, Is, Leads, Spread};
use super::{WELL, hold};
use crate::judge::class::Class;
use crate::judge::posterior::posterior;
use crate::judge::sign::Sign;
use crate::judge::sign::Sign::*;

#[test]
fn the_service_speaks_for_itself() {
    hold(&[
        (&[WELL, &[ServiceSilent]], &[Above(Class::ServiceHung, 0.9)]),
        (
            &[&[EchoSilent, SynAccepted, ServiceSilent]],
            &[Above(Class::ServiceHung, 0.9), CauseAbove("syn_proxy_dead_host", 0.15)],
        ),
        (&[WELL, &[ServiceForeign]], &[Above(Class::WrongService, 0.9)]),
        (
            &[WELL, &[ServiceClosed]],
            &[
                Is(Class::ServiceHung),
                Above(Class::ResetInjected, 0.1),
                Above(Class::Certificate, 0.05),
            ],
        ),
        (&[WELL, &[ServiceRefused]], &[CauseAbove("security_layer_mismatch", 0.8)]),
    ]);
    assert!(CauseBelow("syn_proxy_dead_host", 0.1).holds(&posterior(&[&[
        EchoAnswered,
        SynAccepted,
        ServiceSilent
    ]])));
}

#[test]
fn who_answers_tells_a_proxy_and_an_inspector_from_a_service_that_hangs() {
    const MUTE: &[Sign] = &[EchoSilent, SynAccepted, PathReachesTarget, ServiceSilent];
    hold(&[
        (&[MUTE, &[AcceptNearer]], &[CauseAbove("syn_proxy_dead_host", 0.9)]),
        (&[MUTE, &[AcceptShort]], &[CauseAbove("syn_proxy_dead_host", 0.5), Spread(0.8)]),
        (&[MUTE, &[AcceptSame]], &[CauseBelow("syn_proxy_dead_host", 0.15)]),
        // A proxy before a host that lives is no failure.
        (&[WELL, &[ServiceConfirmed, AcceptNearer]], &[Above(Class::Reachable, 0.97)]),
        (&[WELL, &[ServiceConfirmed, AcceptSame]], &[Above(Class::Reachable, 0.97)]),
        (&[WELL, &[ServiceClosed, ServiceResetElsewhere]], &[CauseAbove("dpi_reset", 0.9)]),
        (
            &[WELL, &[ServiceClosed, ServiceResetSame]],
            &[Above(Class::ServiceHung, 0.7), Below(Class::ResetInjected, 0.1)],
        ),
    ]);
}

#[test]
fn how_tls_ends_is_told_apart() {
    const SERVES: &[Sign] = &[EchoAnswered, SynAccepted, PathReachesTarget, ServiceConfirmed];
    hold(&[
        // No shared version or suite looks the same.
        (
            &[SERVES, &[TlsEnded]],
            &[CauseAbove("certificate_broken", 0.8), CauseAbove("security_layer_mismatch", 0.04)],
        ),
        // Hardly anybody shares what neither an old hello nor a new handshake does: a server
        // without a usable certificate, or one that allows too little. A few are only particular.
        (
            &[SERVES, &[TlsUnshared]],
            &[
                Leads(Class::RdpRefused),
                CauseAbove("certificate_broken", 0.2),
                Above(Class::Reachable, 0.05),
            ],
        ),
        (
            &[SERVES, &[TlsAlert]],
            &[Is(Class::Certificate), CauseAbove("security_layer_mismatch", 0.2), Spread(0.8)],
        ),
        (
            &[SERVES, &[TlsGarbled]],
            &[Is(Class::Certificate), CauseAbove("wrong_service", 0.2), Spread(0.8)],
        ),
        // Silence where a large packet is due.
        (
            &[SERVES, &[TlsSilent]],
            &[
                Leads(Class::MtuBlackhole),
                CauseAbove("service_hung", 0.1),
                CauseBelow("certificate_expired", 0.02),
                CauseBelow("certificate_broken", 0.2),
            ],
        ),
        (
            &[SERVES, &[TlsSilent, LargePasses]],
            &[Above(Class::MtuBlackhole, 0.0), CauseAbove("service_hung", 0.3)],
        ),
    ]);
}

#[test]
fn a_late_answer_tells_of_a_host_without_breath() {
    hold(&[
        (
            &[WELL, &[ServiceLate, PathReachesTarget]],
            // One late answer does not tell a host under load from a service that hangs.
            &[Above(Class::ServiceHung, 0.95), CauseAbove("host_overloaded", 0.75), Spread(0.8)],
        ),
        (
            &[WELL, &[ServiceLate, PathReachesTarget, ComesAndGoes]],
            &[CauseAbove("host_overloaded", 0.9)],
        ),
        (&[WELL, &[ServiceSilent, AcceptSame]], &[Above(Class::ServiceHung, 0.95), Spread(0.8)]),
    ]);
}

#[test]
fn who_cannot_be_connected_to_is_not_well() {
    let belief = posterior(&[&[WELL, &[ServiceUnreached, PathReachesTarget]].concat()]);
    assert!(Below(Class::Reachable, 0.05).holds(&belief), "{belief:?}");
    assert!(Above(Class::Reachable, 0.9).holds(&posterior(&[WELL])));
}

#[test]
fn whoever_accepts_some_syns_has_no_closed_port() {
    hold(&[(
        &[&[EchoAnswered, SynPartial, PathReachesTarget]],
        &[Leads(Class::PacketLoss), Below(Class::PortClosed, 0.002)],
    )]);
}

/// An incident opens above 0.99 (DESIGN section 7): what was seen twice must come to that.
#[test]
fn tls_that_fails_twice_is_no_health() {
    const SERVES: &[Sign] = &[EchoAnswered, SynAccepted, PathReachesTarget, ServiceConfirmed];
    for end in [TlsEnded, TlsAlert, TlsGarbled, TlsReset] {
        let signs = [SERVES, &[end, LargePasses]].concat();
        let believed = posterior(&[&signs]).belief_in_failure(0.05);
        assert!(believed > 0.99, "{end:?}: {believed}");
    }
}

/// Who resets some SYNs and accepts others is neither well nor closed.
#[test]
fn accepted_and_reset_is_no_health() {
    for besides in [&[ResetSame][..], &[ResetElsewhere], &[]] {
        let signs =
            [&[EchoAnswered, SynMixed, PathReachesTarget, ServiceConfirmed], besides].concat();
        let found = posterior(&[&signs]);
        assert!(found.of_class(Class::Reachable) < 0.05, "{besides:?}");
        assert!(found.of_class(Class::PortClosed) < 0.3, "{besides:?}");
    }
}
