use super::*;
use proptest::prelude::*;

/// A SYN as Linux sends it: MSS 1460, SACK permitted, timestamps, window scale 7.
const LINUX_SYN: [u8; 40] = [
    0xc3, 0x50, 0x0d, 0x3d, 0x01, 0x02, 0x03, 0x04, 0, 0, 0, 0, 0xa0, 0x02, 0xfa, 0xf0, 0, 0, 0, 0,
    2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7,
];

fn options() -> impl Strategy<Value = Options> {
    let values = (any::<Option<u16>>(), any::<Option<u8>>(), any::<bool>());
    (values, any::<Option<(u32, u32)>>()).prop_map(
        |((mss, window_scale, sack_permitted), timestamps)| Options {
            mss,
            window_scale,
            sack_permitted,
            timestamps,
        },
    )
}

fn segments(payload: &[u8]) -> impl Strategy<Value = Segment<'_>> {
    let numbers = (any::<(u16, u16)>(), any::<(u32, u32)>(), any::<u8>(), any::<u16>());
    (numbers, options()).prop_map(move |((ports, numbers, flags, window), options)| Segment {
        source_port: ports.0,
        dest_port: ports.1,
        seq: numbers.0,
        ack: numbers.1,
        flags: Flags(flags),
        window,
        options,
        payload,
    })
}

#[test]
fn linux_syn_is_understood() {
    let expected = Segment {
        source_port: 50_000,
        dest_port: 3389,
        seq: 0x0102_0304,
        ack: 0,
        flags: Flags::SYN,
        window: 64_240,
        options: Options {
            mss: Some(1460),
            window_scale: Some(7),
            sack_permitted: true,
            timestamps: Some((9, 0)),
        },
        payload: &[],
    };
    assert_eq!(parse(&LINUX_SYN), Ok(expected));
}

#[test]
fn wrong_headers_are_refused() {
    let with_offset = |offset: u8| {
        let mut bytes = LINUX_SYN;
        bytes[12] = offset << 4;
        parse(&bytes).map(|segment| segment.payload.len())
    };
    assert_eq!(with_offset(4), Err(ParseError::BadLength));
    assert_eq!(with_offset(5), Ok(20));
    assert_eq!(with_offset(10), Ok(0));
    assert_eq!(with_offset(11), Err(ParseError::Truncated));
    assert_eq!(parse(&LINUX_SYN[..19]), Err(ParseError::Truncated));
}

#[test]
fn options_end_at_the_first_malformed_one() {
    let mss = |mss| Options { mss: Some(mss), ..Options::default() };
    let cases: &[(&[u8], Options)] = &[
        (&[], Options::default()),
        (&[2, 4, 5, 0xb4], mss(1460)),
        (&[1, 1, 2, 4, 5, 0xb4], mss(1460)),
        (&[0, 2, 2, 4, 5, 0xb4], Options::default()),
        (&[2, 4, 5, 0xb4, 4, 0, 3, 3, 7], mss(1460)),
        (&[2, 4, 5, 0xb4, 4, 1, 3, 3, 7], mss(1460)),
        (&[2, 4, 5, 0xb4, 8, 10, 0, 0], mss(1460)),
        (&[2, 4, 5, 0xb4, 3], mss(1460)),
        // An unknown option, then an MSS of the wrong length, are skipped.
        (&[254, 4, 9, 9, 2, 3, 5, 2, 4, 5, 0xb4], mss(1460)),
    ];
    for (bytes, expected) in cases {
        assert_eq!(Options::parse(bytes), *expected, "{bytes:?}");
    }
}

#[test]
fn flags_have_names() {
    let flags = Flags::SYN | Flags::ACK;
    assert!(flags.syn() && flags.ack() && !flags.rst() && !flags.fin());
    assert!(flags.contains(Flags::SYN) && !Flags::SYN.contains(flags));
    assert_eq!(format!("{flags:?} {:?}", Flags(0xe8)), "syn|ack psh|urg|ece|cwr");
}

#[test]
fn syn_and_fin_take_sequence_space() {
    let mut segment = parse(&LINUX_SYN).unwrap();
    assert_eq!(segment.sequence_len(), 1);
    segment = Segment { flags: Flags::FIN | Flags::ACK, payload: &[0; 5], ..segment };
    assert_eq!(segment.sequence_len(), 6);
}

proptest! {
    #[test]
    fn segment_survives_the_wire(segment in segments(b"payload")) {
        let mut bytes = vec![0xee];
        segment.emit(&mut bytes);
        prop_assert_eq!(parse(&bytes[1..]), Ok(segment));
    }

    #[test]
    fn other_reader_agrees(segment in segments(b"")) {
        let mut bytes = Vec::new();
        segment.emit(&mut bytes);
        let (other, rest) = etherparse::TcpHeader::from_slice(&bytes).unwrap();
        prop_assert!(rest.is_empty());
        prop_assert_eq!(other.sequence_number, segment.seq);
        prop_assert_eq!(other.acknowledgment_number, segment.ack);
        prop_assert_eq!(other.window_size, segment.window);
        prop_assert_eq!((other.syn, other.ack, other.rst), {
            let flags = segment.flags;
            (flags.syn(), flags.ack(), flags.rst())
        });
        let mut seen = Options::default();
        for element in other.options_iterator() {
            use etherparse::TcpOptionElement as Element;
            match element.unwrap() {
                Element::MaximumSegmentSize(mss) => seen.mss = Some(mss),
                Element::WindowScale(shift) => seen.window_scale = Some(shift),
                Element::SelectiveAcknowledgementPermitted => seen.sack_permitted = true,
                Element::Timestamp(value, echo) => seen.timestamps = Some((value, echo)),
                Element::Noop | Element::SelectiveAcknowledgement(..) => {}
            }
        }
        prop_assert_eq!(seen, segment.options);
    }

    #[test]
    fn random_bytes_never_panic(
        bytes in proptest::collection::vec(prop_oneof![any::<u8>(), 0_u8..11], 0..200),
    ) {
        let _ = parse(&bytes);
        let _ = Options::parse(&bytes);
    }
}
