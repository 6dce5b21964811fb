use super::*;
use crate::wire::captures::capture;
use proptest::prelude::*;

/// Modern Windows, as in nmap's probe file: HYBRID chosen.
const WINDOWS: [u8; 19] = [3, 0, 0, 19, 14, 0xd0, 0, 0, 0x12, 0x34, 0, 2, 0x1f, 8, 0, 2, 0, 0, 0];
/// Windows XP, which does not negotiate.
const WINDOWS_XP: [u8; 11] = [3, 0, 0, 11, 6, 0xd0, 0, 0, 0x12, 0x34, 0];

fn changed(at: usize, value: u8) -> Answer {
    let mut bytes = WINDOWS;
    bytes[at] = value;
    read_answer(&bytes)
}

#[test]
fn request_is_well_formed() {
    let expected = [
        0x03, 0x00, 0x00, 0x13, 0x0e, 0xe0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x08, 0x00,
        0x03, 0x00, 0x00, 0x00,
    ];
    assert_eq!(CONNECTION_REQUEST, expected);
    let all = Protocols::HYBRID_EX.with(Protocols::RDSTLS).with(Protocols::RDSAAD);
    assert_eq!(all.bits(), 0x1c);
    let request = connection_request(all);
    assert_eq!(request[..15], expected[..15]);
    assert_eq!(request[15..], [0x1c, 0, 0, 0]);
    assert_eq!(connection_request(Protocols::RDP)[15..], [0; 4]);
}

#[test]
fn selection_is_compared_with_the_offer() {
    use Selection::{Downgrade, Offered, Violation};
    let both = Protocols::SSL.with(Protocols::HYBRID);
    let cases = [
        (Protocols::RDP, 0, Offered),
        (Protocols::RDP, 1, Violation),
        (both, 0, Downgrade),
        (both, 1, Offered),
        (both, 2, Offered),
        (both, 3, Violation),
        (both, 8, Violation),
        (both.with(Protocols::HYBRID_EX), 8, Offered),
        (Protocols::RDSAAD, 0x10, Offered),
        (Protocols::RDSAAD, 0x20, Violation),
        (both, u32::MAX, Violation),
    ];
    for (offered, selected, expected) in cases {
        assert_eq!(offered.allows(selected), expected, "{offered:?} {selected}");
    }
}

#[test]
fn known_servers_confirm() {
    let flags = ResponseFlags(0x1f);
    assert_eq!(read_answer(&WINDOWS), Answer::Confirm { selected: Some(2), flags });
    let flags = ResponseFlags(0);
    assert_eq!(read_answer(&WINDOWS_XP), Answer::Confirm { selected: None, flags });
    let with_more = [&WINDOWS[..], &[0xff; 600]].concat();
    assert_eq!(read_answer(&with_more), read_answer(&WINDOWS));
}

#[test]
fn real_servers_answer_as_their_security_layer_has_it() {
    let confirm =
        |selected, flags| Answer::Confirm { selected: Some(selected), flags: ResponseFlags(flags) };
    let failure = |code| Answer::Failure { code };
    let cases = [
        (capture!("x224/xrdp_negotiate_0.bin"), confirm(0, 1)),
        (capture!("x224/xrdp_negotiate_1.bin"), confirm(1, 1)),
        (capture!("x224/xrdp_negotiate_3.bin"), confirm(1, 1)),
        (capture!("x224/xrdp_negotiate_8.bin"), confirm(0, 1)),
        (capture!("x224/xrdp_negotiate_11.bin"), confirm(1, 1)),
        (capture!("x224/xrdp_negotiate_16.bin"), Answer::Malformed),
        (capture!("x224/xrdp_tls_0.bin"), failure(FailureCode::SslRequiredByServer)),
        (capture!("x224/xrdp_nocert_3.bin"), failure(FailureCode::SslCertNotOnServer)),
        (capture!("x224/xrdp_rdp_3.bin"), confirm(0, 1)),
        (capture!("x224/freerdp_nla_0.bin"), failure(FailureCode::HybridRequiredByServer)),
        (capture!("x224/freerdp_nla_3.bin"), confirm(2, 3)),
        (capture!("x224/freerdp_nla_11.bin"), confirm(2, 3)),
        (capture!("x224/freerdp_rdp_3.bin"), failure(FailureCode::SslNotAllowedByServer)),
        (capture!("x224/freerdp_tls_0.bin"), failure(FailureCode::SslRequiredByServer)),
    ];
    for (bytes, expected) in cases {
        assert_eq!(read_answer(bytes), expected, "{bytes:02x?}");
    }
    let asked_for_tls = Protocols::SSL.with(Protocols::HYBRID);
    assert_eq!(asked_for_tls.allows(0), Selection::Downgrade, "what xrdp under rdp answers to 3");
}

#[test]
fn failure_carries_its_code() {
    let mut bytes = WINDOWS;
    bytes[11..].copy_from_slice(&[3, 0, 8, 0, 5, 0, 0, 0]);
    assert_eq!(read_answer(&bytes), Answer::Failure { code: FailureCode::HybridRequiredByServer });
    bytes[15..].copy_from_slice(&[1, 2, 3, 4]);
    assert_eq!(read_answer(&bytes), Answer::Failure { code: FailureCode::Unknown(0x0403_0201) });
}

#[test]
fn failure_codes_have_the_names_of_the_specification() {
    let names = [
        "SSL_REQUIRED_BY_SERVER",
        "SSL_NOT_ALLOWED_BY_SERVER",
        "SSL_CERT_NOT_ON_SERVER",
        "INCONSISTENT_FLAGS",
        "HYBRID_REQUIRED_BY_SERVER",
        "SSL_WITH_USER_AUTH_REQUIRED_BY_SERVER",
    ];
    for (code, name) in (1..).zip(names) {
        let failure = FailureCode::from(code);
        assert_eq!((failure.code(), failure.to_string()), (code, name.to_owned()));
    }
    for code in [0, 7, u32::MAX] {
        assert_eq!(FailureCode::from(code), FailureCode::Unknown(code));
        assert_eq!(FailureCode::from(code).code(), code);
    }
    assert_eq!(FailureCode::from(0x1c).to_string(), "failure code 0x1c");
}

#[test]
fn response_flags_are_named() {
    let names = |flags: u8| ResponseFlags(flags).names().collect::<Vec<_>>();
    assert_eq!(names(0x00), [""; 0]);
    assert_eq!(names(0x03), ["EXTENDED_CLIENT_DATA_SUPPORTED", "DYNVC_GFX_PROTOCOL_SUPPORTED"]);
    assert_eq!(names(0x1f).len(), 5);
    let windows_only = "REDIRECTED_AUTHENTICATION_MODE_SUPPORTED";
    assert_eq!(names(0xf0), [windows_only], "higher bits have no name");
}

#[test]
fn part_of_an_answer_needs_more() {
    for len in 0..WINDOWS.len() {
        assert_eq!(read_answer(&WINDOWS[..len]), Answer::NeedMore, "{len}");
    }
}

#[test]
fn frame_length_is_bounded() {
    let of_len = |len: u16| {
        let [high, low] = len.to_be_bytes();
        read_answer(&[3, 0, high, low])
    };
    assert_eq!(of_len(6), Answer::Malformed);
    assert_eq!(of_len(7), Answer::NeedMore);
    assert_eq!(of_len(512), Answer::NeedMore);
    assert_eq!(of_len(513), Answer::Malformed);
    assert_eq!(of_len(0xffff), Answer::Malformed);
}

#[test]
fn other_frames_are_malformed() {
    // The MCS disconnect that xrdp answers instead of a confirmation.
    assert_eq!(read_answer(&[3, 0, 0, 9, 2, 0xf0, 0x80, 0x21, 0x80]), Answer::Malformed);
    assert_eq!(read_answer(&CONNECTION_REQUEST), Answer::Malformed);
    assert_eq!(changed(4, 13), Answer::Malformed, "lengths disagree");
    assert_eq!(changed(5, 0x80), Answer::Malformed, "disconnect request");
    assert_eq!(changed(11, 1), Answer::Malformed, "not a negotiation answer");
    assert_eq!(changed(13, 9), Answer::Malformed, "negotiation length");
    let mut short = WINDOWS[..18].to_vec();
    short[3] = 18;
    short[4] = 13;
    assert_eq!(read_answer(&short), Answer::Malformed);
}

#[test]
fn other_protocols_are_hinted() {
    let hint = |bytes: &[u8]| match read_answer(bytes) {
        Answer::Foreign { hint } => hint,
        other => panic!("{other:?}"),
    };
    assert_eq!(hint(b"SSH-2.0-OpenSSH_9.2p1\r\n"), ForeignHint::Ssh);
    assert_eq!(hint(b"HTTP/1.1 400 Bad Request\r\n"), ForeignHint::Http);
    assert_eq!(hint(b"\x15\x03\x01\x00\x02\x02\x46"), ForeignHint::Tls);
    assert_eq!(hint(b"220 mail.example ESMTP\r\n"), ForeignHint::Smtp);
    assert_eq!(hint(b"S"), ForeignHint::Other);
}

proptest! {
    #[test]
    fn negotiation_survives_the_wire(
        selected in any::<u32>(),
        flags in any::<u8>(),
        kind in 2_u8..4,
    ) {
        let mut bytes = WINDOWS;
        bytes[11..13].copy_from_slice(&[kind, flags]);
        bytes[15..].copy_from_slice(&selected.to_le_bytes());
        let expected = match kind {
            2 => Answer::Confirm { selected: Some(selected), flags: ResponseFlags(flags) },
            _ => Answer::Failure { code: FailureCode::from(selected) },
        };
        prop_assert_eq!(read_answer(&bytes), expected);
    }

    #[test]
    fn random_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = read_answer(&bytes);
        if let [first, _, high, _, ..] = &mut bytes[..] {
            (*first, *high) = (3, 0);
        }
        let needs_more = read_answer(&bytes) == Answer::NeedMore;
        prop_assert!(!needs_more || bytes.len() < TPKT_LEN_MAX);
    }

    #[test]
    fn mutated_answers_never_panic(at in 0_usize..19, value in any::<u8>(), len in 0_usize..=19) {
        let mut bytes = WINDOWS;
        bytes[at] = value;
        let _ = read_answer(&bytes[..len]);
    }
}
