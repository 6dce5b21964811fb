use super::*;
use proptest::prelude::*;

/// Time exceeded from an MPLS router: quote of `quoted_len` bytes, then one label (RFC 4950).
fn time_exceeded(length_attribute: u8, quoted_len: usize) -> Vec<u8> {
    let mut bytes = vec![11, 0, 0, 0, 0, length_attribute, 0, 0];
    bytes.resize(8 + quoted_len, 0x45);
    bytes.extend(structure(&[(1, 1, &[0x00, 0x01, 0x8b, 0x3f])]));
    bytes
}

/// An extension structure with its checksum.
fn structure(objects: &[(u8, u8, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0x20, 0, 0, 0];
    for (class, ty, payload) in objects {
        bytes.extend((payload.len() as u16 + 4).to_be_bytes());
        bytes.extend([*class, *ty]);
        bytes.extend_from_slice(payload);
    }
    let checksum = checksum::internet(&bytes);
    bytes[2..4].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

fn error(family: Family, bytes: &[u8]) -> IcmpError<'_> {
    match parse(family, bytes) {
        Ok(Icmp::Error(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn labels(error: &IcmpError<'_>) -> Vec<MplsLabel> {
    error.extensions.mpls_labels().collect()
}

const LABEL: MplsLabel = MplsLabel { label: 24, traffic_class: 5, bottom: true, ttl: 63 };

#[test]
fn echo_is_read_per_family() {
    let bytes = |ty| [ty, 0, 0, 0, 0, 7, 0, 9, 0xaa];
    let (id, seq, payload) = (7, 9, &[0xaa][..]);
    assert_eq!(parse(Family::V4, &bytes(8)), Ok(Icmp::EchoRequest { id, seq, payload }));
    assert_eq!(parse(Family::V4, &bytes(0)), Ok(Icmp::EchoReply { id, seq, payload }));
    assert_eq!(parse(Family::V6, &bytes(128)), Ok(Icmp::EchoRequest { id, seq, payload }));
    assert_eq!(parse(Family::V6, &bytes(129)), Ok(Icmp::EchoReply { id, seq, payload }));
    assert_eq!(parse(Family::V6, &bytes(8)), Ok(Icmp::Other { ty: 8, code: 0 }));
    assert_eq!(parse(Family::V4, &bytes(128)), Ok(Icmp::Other { ty: 128, code: 0 }));
    assert_eq!(parse(Family::V4, &bytes(8)[..7]), Err(ParseError::Truncated));
}

#[test]
fn mtu_is_read_where_there_is_one() {
    let mtu = |family, bytes: [u8; 8]| error(family, &bytes).mtu;
    assert_eq!(mtu(Family::V4, [3, 4, 0, 0, 0, 0, 0x05, 0x14]), Some(1300));
    assert_eq!(mtu(Family::V4, [3, 4, 0, 0, 0, 0, 0, 0]), None, "RFC 1191 section 5");
    assert_eq!(mtu(Family::V4, [3, 1, 0, 0, 0, 0, 0x05, 0x14]), None);
    assert_eq!(mtu(Family::V6, [2, 0, 0, 0, 0, 1, 0, 0]), Some(65_536));
    assert_eq!(mtu(Family::V6, [1, 4, 0, 0, 0, 0, 0x05, 0x14]), None);
}

#[test]
fn declared_length_parts_quote_from_extensions() {
    let bytes = time_exceeded(32, 128);
    let seen = error(Family::V4, &bytes);
    assert_eq!(seen.quoted, [0x45; 128]);
    assert_eq!(labels(&seen), [LABEL]);
    let mut bytes = time_exceeded(0, 136);
    bytes[..5].copy_from_slice(&[3, 0, 0, 0, 17]);
    let seen = error(Family::V6, &bytes);
    assert_eq!(seen.quoted.len(), 136);
    assert_eq!(labels(&seen), [LABEL]);
}

#[test]
fn undeclared_extensions_need_a_checksum() {
    let mut bytes = time_exceeded(0, 128);
    assert_eq!(labels(&error(Family::V4, &bytes)), [LABEL]);
    bytes[138..140].fill(0);
    let seen = error(Family::V4, &bytes);
    assert_eq!((seen.quoted.len(), seen.extensions.is_empty()), (140, true));
    bytes[5] = 32;
    assert_eq!(labels(&error(Family::V4, &bytes)), [LABEL], "0 is not computed");
}

#[test]
fn oversized_length_makes_all_of_it_the_quote() {
    for attribute in [36, 64, 255] {
        let bytes = time_exceeded(attribute, 128);
        let seen = error(Family::V4, &bytes);
        assert_eq!((seen.quoted.len(), seen.extensions.is_empty()), (140, true), "{attribute}");
    }
}

#[test]
fn broken_structure_is_no_extension() {
    for (at, flip) in [(136, 0x10), (138, 0x01), (144, 0x80)] {
        let mut bytes = time_exceeded(32, 128);
        bytes[at] ^= flip;
        let seen = error(Family::V4, &bytes);
        assert_eq!((seen.quoted.len(), seen.extensions.is_empty()), (128, true), "{at}");
    }
    for len in 136..148 {
        let bytes = time_exceeded(32, 128);
        assert!(error(Family::V4, &bytes[..len]).extensions.is_empty(), "{len}");
    }
}

#[test]
fn objects_are_bounded() {
    let count = |bytes: &[u8]| Extensions::parse(bytes, true).unwrap().objects().count();
    assert_eq!(count(&structure(&[])), 0);
    assert_eq!(count(&structure(&[(2, 0, &[][..]); 16])), 16);
    assert_eq!(count(&structure(&[(2, 0, &[][..]); 40])), 16);
    let stack = structure(&[(1, 1, &[0; 400]), (2, 0, &[1, 2])]);
    let extensions = Extensions::parse(&stack, true).unwrap();
    assert_eq!((extensions.objects().count(), extensions.mpls_labels().count()), (2, 16));
}

#[test]
fn objects_end_at_the_first_malformed_one() {
    for len in [0_u16, 3, 9, 0xffff] {
        let mut bytes = structure(&[(2, 0, &[]), (2, 0, &[0; 4])]);
        bytes[8..10].copy_from_slice(&len.to_be_bytes());
        bytes[2..4].fill(0);
        let extensions = Extensions::parse(&bytes, false).unwrap();
        assert_eq!(extensions.objects().count(), 1, "{len}");
    }
}

#[test]
fn quote_must_be_of_the_family_of_the_error() {
    let mut bytes = vec![11, 0, 0, 0, 0, 0, 0, 0, 0x45];
    bytes.resize(8 + 28, 0);
    assert!(error(Family::V4, &bytes).quoted_packet().is_ok());
    bytes[0] = 3;
    assert_eq!(error(Family::V6, &bytes).quoted_packet(), Err(ParseError::BadVersion));
}

fn family_and_type() -> impl Strategy<Value = (Family, u8)> {
    prop_oneof![
        prop::sample::select(vec![3_u8, 4, 5, 11, 12]).prop_map(|ty| (Family::V4, ty)),
        (1_u8..=4).prop_map(|ty| (Family::V6, ty)),
    ]
}

proptest! {
    #[test]
    fn error_survives_the_wire(
        (family, ty) in family_and_type(),
        code in 0_u8..16,
        mtu in 1_u32..=0xffff,
        quoted in proptest::collection::vec(any::<u8>(), 0..128),
    ) {
        let has_mtu = matches!((family, ty, code), (Family::V4, 3, 4) | (Family::V6, 2, _));
        let extensions = Extensions::default();
        let mtu = has_mtu.then_some(mtu);
        let sent = Icmp::Error(IcmpError { family, ty, code, mtu, quoted: &quoted, extensions });
        let mut bytes = Vec::new();
        sent.emit(family, &mut bytes);
        prop_assert_eq!(parse(family, &bytes), Ok(sent));
    }

    #[test]
    fn extensions_survive_the_wire(
        (family, ty) in prop::sample::select(vec![
            (Family::V4, 3), (Family::V4, 11), (Family::V4, 12), (Family::V6, 1), (Family::V6, 3),
        ]),
        quoted in proptest::collection::vec(any::<u8>(), 0..2500),
        payload in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let structure = structure(&[(2, 7, &payload)]);
        let extensions = Extensions::parse(&structure, true).unwrap();
        let sent = IcmpError { family, ty, code: 0, mtu: None, quoted: &quoted, extensions };
        let mut bytes = Vec::new();
        Icmp::Error(sent).emit(family, &mut bytes);
        let seen = error(family, &bytes);
        prop_assert_eq!(seen.extensions, extensions);
        let object = seen.extensions.objects().next().unwrap();
        prop_assert_eq!((object.class, object.ty, object.payload), (2, 7, &payload[..]));
        let common = seen.quoted.len().min(quoted.len());
        prop_assert_eq!(&seen.quoted[..common], &quoted[..common]);
        prop_assert!(seen.quoted[common..].iter().all(|byte| *byte == 0));
        prop_assert!(seen.quoted.len() >= 128);
    }

    #[test]
    fn echo_survives_the_wire(
        family in prop::sample::select(vec![Family::V4, Family::V6]),
        (id, seq) in any::<(u16, u16)>(),
        payload in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let payload = &payload[..];
        for sent in [Icmp::EchoRequest { id, seq, payload }, Icmp::EchoReply { id, seq, payload }] {
            let mut bytes = Vec::new();
            sent.emit(family, &mut bytes);
            prop_assert_eq!(parse(family, &bytes), Ok(sent));
        }
    }

    #[test]
    fn mutated_errors_never_panic(
        mut bytes in (any::<u8>(), 100_usize..160).prop_map(|(len, at)| time_exceeded(len, at)),
        mutations in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        len in any::<prop::sample::Index>(),
        family in prop::sample::select(vec![Family::V4, Family::V6]),
    ) {
        for (at, value) in mutations {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(len.index(bytes.len() + 1));
        if let Ok(Icmp::Error(error)) = parse(family, &bytes) {
            prop_assert!(error.extensions.objects().count() <= OBJECTS_MAX);
            prop_assert!(labels(&error).len() <= OBJECTS_MAX);
            let _ = error.quoted_packet();
        }
    }

    #[test]
    fn random_objects_never_panic(bytes in proptest::collection::vec(0_u8..12, 0..200)) {
        prop_assert!(Extensions(&bytes).objects().count() <= OBJECTS_MAX);
        prop_assert!(Extensions(&bytes).mpls_labels().count() <= OBJECTS_MAX);
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(Family::V4, &bytes);
        let _ = parse(Family::V6, &bytes);
    }
}
