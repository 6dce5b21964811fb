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
