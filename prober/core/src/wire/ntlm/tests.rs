use super::*;
use crate::wire::captures::{capture, challenge, utf16le};
use proptest::prelude::*;

/// The flags of a server that is in a domain.
const DOMAIN: u32 = 0xe289_8235;

/// A member of a domain, on Windows Server 2016.
fn windows() -> Vec<u8> {
    let clock = (FILETIME_OF_UNIX_EPOCH + 1_560_422_315 * FILETIME_PER_SECOND + 1_234_567)
        .to_le_bytes()
        .to_vec();
    let pairs = [
        (AV_NB_DOMAIN_NAME, utf16le("LAB")),
        (AV_NB_COMPUTER_NAME, utf16le("SRV01")),
        (AV_DNS_DOMAIN_NAME, utf16le("lab.example")),
        (AV_DNS_COMPUTER_NAME, utf16le("srv01.lab.example")),
        (AV_DNS_TREE_NAME, utf16le("example")),
        (AV_TIMESTAMP, clock),
        (AV_EOL, Vec::new()),
    ];
    let pairs = pairs.each_ref().map(|(id, value)| (*id, &value[..]));
    challenge(DOMAIN, &utf16le("LAB"), &pairs)
}

fn read(flags: u32, pairs: &[(u16, &[u8])]) -> Result<Challenge, ParseError> {
    parse_challenge(&challenge(flags, &utf16le("T"), pairs))
}

fn some(name: &str) -> Option<String> {
    Some(name.to_owned())
}

#[test]
fn negotiate_is_known_byte_for_byte() {
    let expected = [
        0x4e, 0x54, 0x4c, 0x4d, 0x53, 0x53, 0x50, 0x00, 0x01, 0x00, 0x00, 0x00, 0x35, 0x82, 0x08,
        0xe2, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x0a, 0x00, 0x63, 0x45, 0x00, 0x00, 0x00, 0x0f,
    ];
    assert_eq!(NEGOTIATE, expected);
}

#[test]
fn freerdp_is_understood() {
    let answer = capture!("credssp/freerdp_challenge.bin");
    let at = answer.windows(8).position(|window| window == SIGNATURE).unwrap();
    let seen = parse_challenge(&answer[at..]).unwrap();
    assert_eq!(seen.target_name, some("WIN-NLA01"));
    assert_eq!(seen.version.unwrap().to_string(), "6.1.7601");
    assert_eq!(seen.negotiate_flags, NegotiateFlags(0xe288_8235));
    let names = [
        seen.netbios_computer_name,
        seen.netbios_domain_name,
        seen.dns_computer_name,
        seen.dns_domain_name,
    ];
    assert_eq!(names, [const { "WIN-NLA01" }; 4].map(some));
    assert_eq!(seen.dns_tree_name, None);
    // It was taken 0.63 s later; FreeRDP's clock has whole seconds.
    assert_eq!(seen.timestamp, Some(Duration::from_secs(1_795_683_015)));
}

#[test]
fn windows_is_understood() {
    let expected = Challenge {
        target_name: some("LAB"),
        negotiate_flags: NegotiateFlags(DOMAIN),
        version: Some(Version { major: 10, minor: 0, build: 14_393 }),
        netbios_computer_name: some("SRV01"),
        netbios_domain_name: some("LAB"),
        dns_computer_name: some("srv01.lab.example"),
        dns_domain_name: some("lab.example"),
        dns_tree_name: some("example"),
        timestamp: Some(Duration::new(1_560_422_315, 123_456_700)),
    };
    let seen = parse_challenge(&windows()).unwrap();
    assert_eq!(seen, expected);
    assert!(seen.negotiate_flags.contains(NegotiateFlags::TARGET_TYPE_DOMAIN));
    assert!(!seen.negotiate_flags.contains(NegotiateFlags::TARGET_TYPE_SERVER));
    assert_eq!(format!("{:?}", seen.negotiate_flags), "NegotiateFlags(0xe2898235)");
}

#[test]
fn older_servers_say_less() {
    let all = challenge(0, b"OLD\xff", &[(AV_NB_COMPUTER_NAME, b"x\0"), (AV_EOL, b"")]);
    let seen = parse_challenge(&all).unwrap();
    let expected = Challenge { target_name: some("OLD\u{fffd}"), ..Challenge::default() };
    assert_eq!(seen, expected, "without flags there are no pairs and no version");
    let bare = challenge(0, b"", &[]);
    assert_eq!(parse_challenge(&bare[..40]), Ok(Challenge::default()));
    let version_only = challenge(NegotiateFlags::VERSION.0, b"", &[]);
    let seen = parse_challenge(&version_only).unwrap();
    assert_eq!(seen.version.unwrap().build, 14_393);
}

#[test]
fn names_are_made_printable_and_short() {
    let flags = DOMAIN;
    let seen = read(flags, &[(1, &utf16le("a\0\u{202e}b\n")), (0, b"")]).unwrap();
    assert_eq!(seen.netbios_computer_name, some(r"a\0\u{202e}b\n"));
    let seen = read(flags, &[(3, &utf16le("服务器")), (4, b"\x41\0\x42"), (0, b"")]).unwrap();
    assert_eq!(seen.dns_computer_name, some("服务器"));
    assert_eq!(seen.dns_domain_name, some("A"), "an odd byte is dropped");
    let seen = read(flags, &[(3, &utf16le(&"x".repeat(30_000))), (0, b"")]).unwrap();
    assert_eq!(seen.dns_computer_name.unwrap().chars().count(), 257);
    let seen = read(flags, &[(2, b"A\0"), (2, b"B\0"), (1, b""), (0, b"")]).unwrap();
    assert_eq!(seen.netbios_domain_name, some("A"), "the first counts");
    assert_eq!(seen.netbios_computer_name, None, "an empty name is none");
}

#[test]
fn clocks_are_converted_with_care() {
    let clock = |filetime: u64| since_unix_epoch(filetime.to_le_bytes());
    assert_eq!(clock(0), None);
    assert_eq!(clock(FILETIME_OF_UNIX_EPOCH - 1), None);
    assert_eq!(clock(FILETIME_OF_UNIX_EPOCH), Some(Duration::ZERO));
    assert_eq!(clock(FILETIME_OF_UNIX_EPOCH + 1), Some(Duration::from_nanos(100)));
    // MS-DTYP section 2.3.3 counts from 1601-01-01: 369 years, 89 of them leap years.
    assert_eq!(FILETIME_OF_UNIX_EPOCH / FILETIME_PER_SECOND, (369 * 365 + 89) * 86_400);
    let seconds = (u64::MAX - FILETIME_OF_UNIX_EPOCH) / FILETIME_PER_SECOND;
    assert_eq!(clock(u64::MAX).unwrap().as_secs(), seconds);
}

#[test]
fn hostile_messages_are_refused() {
    let cases = [
        (capture!("hostile/ntlm/authenticate.bin"), ParseError::Unsupported),
        (capture!("hostile/ntlm/signature.bin"), ParseError::Unsupported),
        (capture!("hostile/ntlm/target_name_beyond.bin"), ParseError::BadLength),
        (capture!("hostile/ntlm/target_name_at_4_gib.bin"), ParseError::BadLength),
        (capture!("hostile/ntlm/target_info_beyond.bin"), ParseError::BadLength),
        (capture!("hostile/ntlm/av_pair_beyond.bin"), ParseError::Truncated),
        (capture!("hostile/ntlm/av_pairs_without_end.bin"), ParseError::Truncated),
        (capture!("hostile/ntlm/timestamp_of_7_bytes.bin"), ParseError::BadLength),
        (capture!("hostile/ntlm/no_version.bin"), ParseError::Truncated),
    ];
    for (bytes, error) in cases {
        assert_eq!(parse_challenge(bytes), Err(error), "{bytes:02x?}");
    }
    let whole = windows();
    assert_eq!(parse_challenge(&whole[..12]), Err(ParseError::Truncated));
    for len in 0..whole.len() {
        assert!(parse_challenge(&whole[..len]).is_err(), "{len}");
    }
}

proptest! {
    #[test]
    fn names_and_clock_survive_the_wire(
        name in "[a-zA-Z0-9.-]{1,64}",
        id in 1_u16..6,
        filetime in any::<u64>(),
    ) {
        let text = utf16le(&name);
        let pairs = [(id, &text[..]), (AV_TIMESTAMP, &filetime.to_le_bytes()[..]), (0, b"")];
        let seen = read(DOMAIN, &pairs).unwrap();
        let names = [
            seen.netbios_computer_name,
            seen.netbios_domain_name,
            seen.dns_computer_name,
            seen.dns_domain_name,
            seen.dns_tree_name,
        ];
        prop_assert_eq!(names[usize::from(id) - 1].as_ref(), Some(&name));
        prop_assert_eq!(names.iter().flatten().count(), 1);
        prop_assert_eq!(seen.timestamp, since_unix_epoch(filetime.to_le_bytes()));
    }

    #[test]
    fn mutated_messages_never_panic(
        mutations in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        len in any::<prop::sample::Index>(),
    ) {
        let mut bytes = windows();
        for (at, value) in mutations {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(seen) = parse_challenge(&bytes[..len.index(bytes.len() + 1)]) {
            let longest = seen.dns_computer_name.map_or(0, |name| name.len());
            prop_assert!(longest < 300);
        }
    }

    #[test]
    fn random_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_challenge(&bytes);
        if let Some(start) = bytes.get_mut(..12) {
            start.copy_from_slice(b"NTLMSSP\0\x02\0\0\0");
        }
        let _ = parse_challenge(&bytes);
    }
}
