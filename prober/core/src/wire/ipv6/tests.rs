use super::*;
use proptest::prelude::*;

const TCP: u8 = 6;

fn headers() -> impl Strategy<Value = Header> {
    let addresses = (any::<Ipv6Addr>(), any::<Ipv6Addr>());
    (addresses, any::<[u8; 3]>(), 0_u32..1 << 20).prop_map(
        |((source, dest), [hop_limit, next_header, traffic_class], flow_label)| Header {
            source,
            dest,
            hop_limit,
            next_header,
            traffic_class,
            flow_label,
        },
    )
}

/// An extension header of `units` times 8 bytes with zeros inside.
fn extension(next: u8, units: u8) -> Vec<u8> {
    let mut bytes = vec![0; usize::from(units) * 8];
    bytes[..2].copy_from_slice(&[next, units - 1]);
    bytes
}

fn fragment(next: u8, offset: u16, more: bool) -> Vec<u8> {
    let mut bytes = vec![next, 0];
    bytes.extend((offset | u16::from(more)).to_be_bytes());
    bytes.extend(0x0102_0304_u32.to_be_bytes());
    bytes
}

#[test]
fn chain_is_walked_to_the_transport() {
    // RFC 4302 section 2.2: length 4 means 6 words of 4 bytes.
    let authentication = [&[DESTINATION_OPTIONS, 4][..], &[0; 22]].concat();
    let bytes = [
        extension(ROUTING, 1),
        extension(FRAGMENT, 3),
        fragment(AUTHENTICATION, 0, true),
        authentication,
        extension(TCP, 2),
        vec![0xaa, 0xbb],
    ]
    .concat();
    let chain = walk(HOP_BY_HOP, &bytes).unwrap();
    assert_eq!((chain.protocol, chain.payload), (TCP, &[0xaa, 0xbb][..]));
    let fragment = Fragment { id: 0x0102_0304, offset: 0, more_fragments: true };
    assert_eq!(chain.fragment, Some(fragment));
}

#[test]
fn later_fragment_ends_the_walk() {
    // The payload would read as a chain of hop-by-hop headers.
    let bytes = [fragment(HOP_BY_HOP, 1448, false), vec![HOP_BY_HOP; 64]].concat();
    let chain = walk(FRAGMENT, &bytes).unwrap();
    assert_eq!((chain.protocol, chain.payload.len()), (HOP_BY_HOP, 64));
    let fragment = Fragment { id: 0x0102_0304, offset: 1448, more_fragments: false };
    assert_eq!(chain.fragment, Some(fragment));
}

#[test]
fn routing_with_segments_left_ends_the_walk() {
    let mut bytes = extension(TCP, 1);
    assert_eq!(walk(ROUTING, &bytes).unwrap().protocol, TCP);
    bytes[3] = 1;
    assert_eq!(walk(ROUTING, &bytes).unwrap().protocol, ROUTING);
}

#[test]
fn eight_extensions_are_walked_and_nine_are_not() {
    let chain_of = |count: usize| {
        let mut bytes = extension(DESTINATION_OPTIONS, 1).repeat(count - 1);
        bytes.extend(extension(TCP, 1));
        bytes
    };
    assert_eq!(walk(DESTINATION_OPTIONS, &chain_of(8)).unwrap().protocol, TCP);
    assert_eq!(walk(DESTINATION_OPTIONS, &chain_of(9)), Err(ParseError::Unsupported));
}

#[test]
fn cut_extension_is_truncated() {
    let bytes = extension(TCP, 2);
    for len in 0..16 {
        assert_eq!(walk(HOP_BY_HOP, &bytes[..len]), Err(ParseError::Truncated), "{len}");
        assert_eq!(walk(ROUTING, &bytes[..len]), Err(ParseError::Truncated), "{len}");
        assert_eq!(walk(FRAGMENT, &bytes[..len]).is_ok(), len >= 8, "{len}");
    }
}

#[test]
fn wrong_headers_are_refused() {
    assert_eq!(parse(&[0x60; 39]), Err(ParseError::Truncated));
    assert_eq!(parse(&[0x45; 40]), Err(ParseError::BadVersion));
    let header = parse(&[0x60; 40]).unwrap().header;
    assert_eq!(header.emit(65_536, &mut Vec::new()), None);
}

proptest! {
    #[test]
    fn header_survives_the_wire(header in headers(), payload_len in 0_usize..=65_535) {
        let mut bytes = Vec::new();
        header.emit(payload_len, &mut bytes).unwrap();
        let datagram = parse(&bytes).unwrap();
        prop_assert_eq!(datagram.header, header);
        prop_assert_eq!(datagram.total_len, payload_len + HEADER_LEN);
        let (other, _) = etherparse::Ipv6Header::from_slice(&bytes).unwrap();
        prop_assert_eq!(other.source_addr(), header.source);
        prop_assert_eq!(other.destination_addr(), header.dest);
        prop_assert_eq!(other.flow_label.value(), header.flow_label);
        prop_assert_eq!(other.traffic_class, header.traffic_class);
        prop_assert_eq!(usize::from(other.payload_length), payload_len);
        prop_assert_eq!(other.next_header.0, header.next_header);
        prop_assert_eq!(other.hop_limit, header.hop_limit);
    }

    #[test]
    fn random_bytes_never_panic(
        next in prop_oneof![any::<u8>(), Just(0), Just(43), Just(44), Just(51), Just(60)],
        bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0), Just(60)], 0..200),
    ) {
        let _ = parse(&bytes);
        if let Ok(chain) = walk(next, &bytes) {
            prop_assert!(bytes.ends_with(chain.payload));
        }
    }
}
