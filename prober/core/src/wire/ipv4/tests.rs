use super::*;
use proptest::prelude::*;

/// A header often quoted to explain its checksum: UDP, 192.168.0.1 to 192.168.0.199.
const KNOWN: [u8; 20] = [
    0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01,
    0xc0, 0xa8, 0x00, 0xc7,
];

fn headers() -> impl Strategy<Value = Header> {
    let addresses = (any::<Ipv4Addr>(), any::<Ipv4Addr>());
    let bytes = (any::<u8>(), any::<u8>(), any::<u8>());
    let fragment = (any::<u16>(), any::<bool>(), any::<bool>(), 0_u16..=0x1fff);
    (addresses, bytes, fragment).prop_map(
        |((source, dest), (ttl, protocol, traffic_class), (id, dont_fragment, more, offset))| {
            Header {
                source,
                dest,
                ttl,
                protocol,
                id,
                traffic_class,
                dont_fragment,
                more_fragments: more,
                fragment_offset: offset * 8,
            }
        },
    )
}

#[test]
fn known_header_is_read_and_written_alike() {
    let datagram = parse(&KNOWN).unwrap();
    assert_eq!(datagram.total_len, 115);
    assert_eq!(datagram.header.dest, Ipv4Addr::new(192, 168, 0, 199));
    assert_eq!((datagram.header.ttl, datagram.header.protocol), (64, 17));
    assert!(datagram.header.dont_fragment && !datagram.header.more_fragments);
    assert_eq!(verify(&KNOWN), Ok(()));
    let mut out = Vec::new();
    datagram.header.emit(95, &mut out).unwrap();
    assert_eq!(out, KNOWN);
}

#[test]
fn options_are_honoured() {
    // Router alert (RFC 2113), then an end of list with padding.
    let mut bytes = KNOWN.to_vec();
    bytes[0] = 0x47;
    bytes.extend([148, 4, 0, 0, 0, 0, 0, 0, 0xaa, 0xbb]);
    let datagram = parse(&bytes).unwrap();
    assert_eq!(datagram.options, [148, 4, 0, 0, 0, 0, 0, 0]);
    assert_eq!(datagram.header_len(), 28);
    assert_eq!(datagram.rest, [0xaa, 0xbb]);
    // The sum of KNOWN holds; what the options and the longer IHL add to it does not cancel.
    assert_eq!(verify(&bytes), Err(ParseError::BadChecksum));
    bytes[10..12].fill(0);
    let checksum = checksum::internet(&bytes[..28]);
    bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
    assert_eq!(verify(&bytes), Ok(()));
}

#[test]
fn wrong_headers_are_refused() {
    let with_first = |first| [&[first], &KNOWN[1..]].concat();
    assert_eq!(parse(&[]), Err(ParseError::Truncated));
    assert_eq!(parse(&KNOWN[..19]), Err(ParseError::Truncated));
    assert_eq!(parse(&with_first(0x65)), Err(ParseError::BadVersion));
    assert_eq!(parse(&with_first(0x44)), Err(ParseError::BadLength));
    assert_eq!(parse(&with_first(0x46)), Err(ParseError::Truncated));
}

#[test]
fn overlong_packet_is_not_written() {
    let header = parse(&KNOWN).unwrap().header;
    assert_eq!(header.emit(65_515, &mut Vec::new()), Some(()));
    assert_eq!(header.emit(65_516, &mut Vec::new()), None);
    assert_eq!(header.emit(usize::MAX, &mut Vec::new()), None);
}

proptest! {
    #[test]
    fn header_survives_the_wire(header in headers(), payload_len in 0_usize..=65_515) {
        let mut bytes = vec![0xee; 3];
        header.emit(payload_len, &mut bytes).unwrap();
        let datagram = parse(&bytes[3..]).unwrap();
        prop_assert_eq!(datagram.header, header);
        prop_assert_eq!(datagram.total_len, payload_len + HEADER_LEN);
        prop_assert_eq!(verify(&bytes[3..]), Ok(()));
    }

    #[test]
    fn flipped_bit_is_noticed(header in headers(), bit in 0_usize..160) {
        let mut bytes = Vec::new();
        header.emit(0, &mut bytes).unwrap();
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(verify(&bytes).is_err());
    }

    #[test]
    fn other_reader_agrees(header in headers()) {
        let mut bytes = Vec::new();
        header.emit(0, &mut bytes).unwrap();
        let (other, _) = etherparse::Ipv4Header::from_slice(&bytes).unwrap();
        prop_assert_eq!(Ipv4Addr::from(other.source), header.source);
        prop_assert_eq!(Ipv4Addr::from(other.destination), header.dest);
        prop_assert_eq!(other.identification, header.id);
        prop_assert_eq!(other.time_to_live, header.ttl);
        prop_assert_eq!(other.fragment_offset.value() * 8, header.fragment_offset);
        prop_assert_eq!(other.dont_fragment, header.dont_fragment);
        prop_assert_eq!(other.more_fragments, header.more_fragments);
        prop_assert_eq!(other.header_checksum, other.calc_header_checksum());
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
        let _ = verify(&bytes);
    }
}
