//! The rows of the deduction table, and the measured answers of real servers.

use super::*;

fn selected(protocol: u32) -> X224Outcome {
    X224Outcome::Selected { protocol, flags: 0, selection: Selection::Offered }
}

fn failure(code: u32) -> X224Outcome {
    X224Outcome::Failure(FailureCode::from(code))
}

/// A look with these answers to 0, 1, 3 and 11.
fn look(outcomes: [X224Outcome; 4]) -> RdpLook {
    let ssl = Protocols::SSL;
    let both = ssl.with(Protocols::HYBRID);
    let offers = [Protocols::RDP, ssl, both, both.with(Protocols::HYBRID_EX)];
    let answers = offers.into_iter().zip(outcomes);
    let answers = answers.map(|(offered, outcome)| RdpAnswer { offered, outcome }).collect();
    RdpLook { answers, ..RdpLook::default() }
}

#[test]
fn settings_follow_from_the_answers() {
    use SecurityLayer::{Negotiate, Rdp, Tls};
    let rows = [
        // Windows as installed: NLA required; FreeRDP with `/sec:nla`.
        ([failure(5), failure(5), selected(2), selected(8)], Some(Tls), Some(Nla::Required)),
        ([failure(5), failure(5), selected(2), selected(2)], Some(Tls), Some(Nla::Required)),
        // TLS, NLA not required; xrdp with `tls`.
        ([failure(1), selected(1), selected(2), selected(8)], Some(Tls), Some(Nla::Optional)),
        ([failure(1), selected(1), selected(1), selected(1)], Some(Tls), Some(Nla::Off)),
        // Negotiate, with and without NLA on offer; xrdp with `negotiate`.
        (
            [selected(0), selected(1), selected(2), selected(2)],
            Some(Negotiate),
            Some(Nla::Optional),
        ),
        ([selected(0), selected(1), selected(1), selected(1)], Some(Negotiate), Some(Nla::Off)),
        // Standard RDP security only, as Windows and FreeRDP say it and as xrdp does.
        ([selected(0), failure(2), failure(2), failure(2)], Some(Rdp), Some(Nla::Off)),
        ([selected(0), selected(0), selected(0), selected(0)], Some(Rdp), Some(Nla::Off)),
        // No certificate: nothing is known of the setting.
        ([failure(3), failure(3), failure(3), failure(3)], None, None),
        // No negotiation at all: whoever was built before it knows nothing better.
        (
            [X224Outcome::Plain, X224Outcome::Plain, X224Outcome::Plain, X224Outcome::Plain],
            Some(Rdp),
            Some(Nla::Off),
        ),
    ];
    for (outcomes, layer, nla) in rows {
        let look = look(outcomes);
        assert_eq!(look.security(), (layer, nla), "{:?}", look.answers);
    }
}

/// A look with these answers to these offers, and no others.
fn partial(answers: &[(u32, X224Outcome)]) -> RdpLook {
    let offers = [Protocols::RDP, Protocols::SSL, Protocols::SSL.with(Protocols::HYBRID)];
    let early = offers[2].with(Protocols::HYBRID_EX);
    let offered = |bits| offers.into_iter().chain([early]).find(|it| it.bits() == bits).unwrap();
    let answer = |(bits, outcome): &(u32, X224Outcome)| RdpAnswer {
        offered: offered(*bits),
        outcome: outcome.clone(),
    };
    RdpLook { answers: answers.iter().map(answer).collect(), ..RdpLook::default() }
}

#[test]
fn what_was_not_answered_is_not_refused() {
    let died = || X224Outcome::Failed(StageFailure::Reset);
    let stray =
        |protocol| X224Outcome::Selected { protocol, flags: 0, selection: Selection::Violation };
    let tls = Some(SecurityLayer::Tls);
    let rows: [(&[(u32, X224Outcome)], _); 13] = [
        (&[], (None, None)),
        // The connection that offers 0 is reset: nothing is said about what is required.
        (&[(3, selected(2)), (0, died())], (None, None)),
        // A slow server: the look ends before 1 was asked.
        (&[(3, selected(2)), (0, failure(1))], (tls, None)),
        (&[(3, selected(2)), (0, failure(1)), (1, died())], (tls, None)),
        (&[(3, selected(2)), (0, failure(1)), (1, selected(1))], (tls, Some(Nla::Optional))),
        (
            &[(3, selected(2)), (0, selected(0))],
            (Some(SecurityLayer::Negotiate), Some(Nla::Optional)),
        ),
        // Code 5 says that nothing below CredSSP is taken.
        (&[(3, selected(2)), (0, failure(5))], (tls, Some(Nla::Required))),
        (&[(3, selected(1))], (None, Some(Nla::Off))),
        (&[(3, selected(1)), (0, failure(1))], (tls, Some(Nla::Off))),
        (&[(3, failure(2)), (0, died())], (None, None)),
        (&[(0, selected(0)), (1, died()), (3, died())], (None, None)),
        // Of who selects what was not offered nothing is believed.
        (&[(3, selected(2)), (0, stray(2)), (1, stray(2))], (None, None)),
        (&[(3, stray(8)), (0, failure(5)), (1, failure(5)), (11, selected(8))], (None, None)),
    ];
    for (answers, expected) in rows {
        assert_eq!(partial(answers).security(), expected, "{answers:?}");
    }
}

#[test]
fn a_clock_may_be_off_by_years() {
    let challenge = Box::<Challenge>::default();
    let skew = |nanos| {
        let challenge = challenge.clone();
        NtlmOutcome::Challenged { challenge, skew_nanos: Some(nanos) }.skew_seconds()
    };
    assert_eq!(skew(-1_500_000_000), Some(-1.5));
    // Thirty days ahead, ten years behind, and the year 1601.
    assert_eq!(skew(2_592_000_250_000_000), Some(2_592_000.25));
    assert_eq!(skew(-315_360_000_000_000_000), Some(-315_360_000.0));
    assert_eq!(skew(-13_400_000_000_000_000_000), Some(-13_400_000_000.0));
}
