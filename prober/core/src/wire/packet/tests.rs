use super::*;
use crate::wire::reply;
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};

fn addresses() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    prop_oneof![
        any::<(Ipv4Addr, Ipv4Addr)>().prop_map(|(source, dest)| (source.into(), dest.into())),
        any::<(Ipv6Addr, Ipv6Addr)>().prop_map(|(source, dest)| (source.into(), dest.into())),
    ]
}

fn echo_specs(payload: &[u8]) -> impl Strategy<Value = EchoSpec<'_>> {
    (addresses(), any::<(u8, u16, u16, u16, bool)>()).prop_map(
        move |((source, dest), (ttl, ip_id, id, seq, dont_fragment))| EchoSpec {
            source,
            dest,
            ttl,
            ip_id,
            id,
            seq,
            payload,
            dont_fragment,
        },
    )
}

fn syn_specs() -> impl Strategy<Value = SynSpec> {
    (addresses(), any::<(u8, u16, u16, u16)>(), any::<(u32, u16, Option<u32>)>()).prop_map(
        |((source, dest), (ttl, ip_id, source_port, dest_port), (seq, mss, timestamp))| SynSpec {
            source,
            dest,
            ttl,
            ip_id,
            source_port,
            dest_port,
            seq,
            mss,
            timestamp,
        },
    )
}

/// Whole packets of every kind we emit.
fn packets() -> impl Strategy<Value = Vec<u8>> {
    let udp = (addresses(), any::<(u16, u16)>()).prop_map(|((source, dest), ports)| {
        let datagram =
            udp::Datagram { source_port: ports.0, dest_port: ports.1, payload: b"version?" };
        let body = Body::Udp(datagram);
        let (ip_id, dont_fragment) = (Some(3), true);
        Packet { source, dest, ttl: 9, ip_id, dont_fragment, total_len: 0, body }.emit().unwrap()
    });
    let error = echo_specs(b"quoted").prop_map(|spec| {
        let quoted = emit_echo(&spec).unwrap();
        reply::emit_icmp_error(spec.dest, spec.source, 3, 1, &quoted, 60).unwrap()
    });
    prop_oneof![
        echo_specs(b"reachd!").prop_map(|spec| emit_echo(&spec).unwrap()),
        syn_specs().prop_map(|spec| emit_syn(&spec).unwrap()),
        udp,
        error,
    ]
}

fn syn_v4() -> Vec<u8> {
    let spec = SynSpec {
        source: Ipv4Addr::new(192, 0, 2, 1).into(),
        dest: Ipv4Addr::new(198, 51, 100, 7).into(),
        ttl: 64,
        ip_id: 0x1234,
        source_port: 50_000,
        dest_port: 3389,
        seq: 0x0102_0304,
        mss: 1460,
        timestamp: None,
    };
    emit_syn(&spec).unwrap()
}

/// Puts the right checksum into an IPv4 header without options.
fn seal_v4(bytes: &mut [u8]) {
    bytes[10..12].fill(0);
    let checksum = checksum::internet(&bytes[..20]);
    bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
}

#[test]
fn syn_is_known_byte_for_byte() {
    let expected = [
        0x45, 0, 0, 52, 0x12, 0x34, 0x40, 0, 64, 6, 0x3c, 0x54, 192, 0, 2, 1, 198, 51, 100, 7,
        0xc3, 0x50, 0x0d, 0x3d, 1, 2, 3, 4, 0, 0, 0, 0, 0x80, 0x02, 0xfa, 0xf0, 0xb3, 0x50, 0, 0,
        2, 4, 0x05, 0xb4, 1, 1, 4, 2, 1, 3, 3, 7,
    ];
    assert_eq!(syn_v4(), expected);
}

#[test]
fn link_padding_is_cut() {
    let mut bytes = syn_v4();
    bytes.extend([0xee; 16]);
    let packet = Packet::parse(&bytes, Checksums::Verify).unwrap();
    assert_eq!(packet.total_len, 52);
    assert!(matches!(packet.body, Body::Tcp(Segment { payload: [], .. })));
}

#[test]
fn snapped_packet_is_read_without_judging_its_checksum() {
    let (source, dest) = (Ipv4Addr::LOCALHOST.into(), Ipv4Addr::BROADCAST.into());
    let spec = EchoSpec {
        source,
        dest,
        ttl: 64,
        ip_id: 1,
        id: 2,
        seq: 3,
        payload: &[7; 64],
        dont_fragment: false,
    };
    let bytes = emit_echo(&spec).unwrap();
    let packet = Packet::parse(&bytes[..60], Checksums::Verify).unwrap();
    assert_eq!(packet.total_len, 92);
    let payload = &[7; 32][..];
    assert_eq!(packet.body, Body::Icmp(Icmp::EchoRequest { id: 2, seq: 3, payload }));
    assert!(Packet::parse(&bytes[..28], Checksums::Verify).is_ok());
    assert_eq!(Packet::parse(&bytes[..27], Checksums::Verify), Err(ParseError::Truncated));
    let syn = syn_v4();
    assert_eq!(Packet::parse(&syn[..43], Checksums::Verify), Err(ParseError::Truncated));
}

#[test]
fn fragments_are_told_apart() {
    let mut bytes = syn_v4();
    bytes[6..8].copy_from_slice(&[0x20, 0]);
    bytes[40] ^= 1;
    seal_v4(&mut bytes);
    let first = Packet::parse(&bytes, Checksums::Verify).unwrap();
    assert!(matches!(first.body, Body::Tcp(_)), "a first fragment holds the header");
    bytes[6..8].copy_from_slice(&[0, 1]);
    seal_v4(&mut bytes);
    let later = Packet::parse(&bytes, Checksums::Verify).unwrap();
    assert_eq!(later.body, Body::Fragment);
    assert_eq!(later.emit(), None);
}

#[test]
fn extension_headers_are_passed() {
    let source = Ipv6Addr::LOCALHOST.into();
    let payload = &b"x"[..];
    let body = Body::Icmp(Icmp::EchoReply { id: 1, seq: 2, payload });
    let (ttl, ip_id, dont_fragment) = (5, None, true);
    let sent = Packet { source, dest: source, ttl, ip_id, dont_fragment, total_len: 49, body };
    let mut bytes = sent.emit().unwrap();
    bytes[5] += 8;
    bytes[6] = 0;
    bytes.splice(40..40, [PROTOCOL_ICMPV6, 0, 5, 2, 0, 0, 1, 0]);
    let seen = Packet::parse(&bytes, Checksums::Verify).unwrap();
    assert_eq!(seen, Packet { total_len: 57, ..sent });
    bytes[6] = 44;
    bytes.splice(40..48, [PROTOCOL_ICMPV6, 0, 0x05, 0xa8, 0, 0, 1, 0]);
    assert_eq!(Packet::parse(&bytes, Checksums::Verify).unwrap().body, Body::Fragment);
}

#[test]
fn ipv6_checksum_is_judged_over_whole_packets_only() {
    let source = Ipv6Addr::LOCALHOST.into();
    let body = Body::Icmp(Icmp::EchoRequest { id: 1, seq: 2, payload: &[7; 64] });
    let (ttl, ip_id, dont_fragment) = (5, None, true);
    let packet = Packet { source, dest: source, ttl, ip_id, dont_fragment, total_len: 0, body };
    let mut bytes = packet.emit().unwrap();
    assert!(Packet::parse(&bytes[..100], Checksums::Verify).is_ok(), "snapped");
    bytes[60] ^= 1;
    assert_eq!(Packet::parse(&bytes, Checksums::Verify), Err(ParseError::BadChecksum));
    assert!(Packet::parse(&bytes, Checksums::Skip).is_ok());
    bytes[5] += 8;
    bytes[6] = 44;
    bytes.splice(40..40, [PROTOCOL_ICMPV6, 0, 0, 1, 0, 0, 0, 9]);
    let first = Packet::parse(&bytes, Checksums::Verify).unwrap();
    assert!(matches!(first.body, Body::Icmp(Icmp::EchoRequest { .. })), "first fragment");
    bytes[43] = 0;
    assert_eq!(
        Packet::parse(&bytes, Checksums::Verify),
        Err(ParseError::BadChecksum),
        "an atomic fragment is whole (RFC 6946)",
    );
}

#[test]
fn wrong_lengths_are_refused() {
    let mut bytes = syn_v4();
    for (total_len, expected) in [(19, ParseError::BadLength), (39, ParseError::Truncated)] {
        bytes[3] = total_len;
        seal_v4(&mut bytes);
        assert_eq!(Packet::parse(&bytes, Checksums::Verify), Err(expected));
    }
    assert_eq!(Packet::parse(&[], Checksums::Skip), Err(ParseError::Truncated));
    assert_eq!(Packet::parse(&[0x10; 60], Checksums::Skip), Err(ParseError::BadVersion));
}

#[test]
fn protocols_belong_to_their_family() {
    let mut bytes = syn_v4();
    for protocol in [PROTOCOL_ICMPV6, 50, 0] {
        bytes[9] = protocol;
        seal_v4(&mut bytes);
        let seen = Packet::parse(&bytes, Checksums::Verify).unwrap();
        assert_eq!(seen.body, Body::Other { protocol });
    }
}

#[test]
fn udp_checksum_may_be_absent_over_ipv4_only() {
    let datagram = udp::Datagram { source_port: 53, dest_port: 5353, payload: b"reply" };
    let of = |source: IpAddr| Packet {
        source,
        dest: source,
        ttl: 64,
        ip_id: Some(9),
        dont_fragment: false,
        total_len: 0,
        body: Body::Udp(datagram),
    };
    let mut v4 = of(Ipv4Addr::LOCALHOST.into()).emit().unwrap();
    let mut v6 = of(Ipv6Addr::LOCALHOST.into()).emit().unwrap();
    for (bytes, header_len) in [(&mut v4, 20), (&mut v6, 40)] {
        let seen = Packet::parse(bytes, Checksums::Verify).unwrap();
        assert_eq!(seen.body, Body::Udp(datagram));
        bytes[header_len + UDP_CHECKSUM_AT..][..2].fill(0);
    }
    assert!(Packet::parse(&v4, Checksums::Verify).is_ok());
    assert_eq!(Packet::parse(&v6, Checksums::Verify), Err(ParseError::BadChecksum));
    v4[25] += 1;
    assert_eq!(Packet::parse(&v4, Checksums::Verify), Err(ParseError::BadLength));
    assert!(Packet::parse(&v4, Checksums::Skip).is_ok());
}

#[test]
fn udp_checksum_of_zero_is_sent_as_all_ones() {
    // The last two bytes are the checksum of the rest, which brings the sum to all ones.
    let emit = |payload: &[u8]| {
        let source = Ipv4Addr::LOCALHOST.into();
        let body = Body::Udp(udp::Datagram { source_port: 1, dest_port: 2, payload });
        let (ip_id, dont_fragment) = (Some(1), true);
        Packet { source, dest: source, ttl: 1, ip_id, dont_fragment, total_len: 0, body }.emit()
    };
    let bytes = emit(&[0, 0]).unwrap();
    let bytes = emit(&bytes[26..28]).unwrap();
    assert_eq!(bytes[26..28], [0xff, 0xff]);
    assert!(Packet::parse(&bytes, Checksums::Verify).is_ok());
}

#[test]
fn mixed_families_give_nothing() {
    let (v4, v6) = (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST));
    assert_eq!(emit_rst((v4, 1).into(), (v6, 2).into(), 3, 64), None);
    assert_eq!(emit_rst((v6, 1).into(), (v4, 2).into(), 3, 64), None);
}

#[test]
fn overlong_echo_gives_nothing() {
    let emit = |source: IpAddr, payload: &[u8]| {
        let (ttl, ip_id, id, seq, dont_fragment) = (1, 1, 1, 1, true);
        let dest = source;
        emit_echo(&EchoSpec { source, dest, ttl, ip_id, id, seq, payload, dont_fragment })
    };
    let payload = vec![0; 65_528];
    assert!(emit(Ipv4Addr::LOCALHOST.into(), &payload[..65_507]).is_some());
    assert!(emit(Ipv4Addr::LOCALHOST.into(), &payload[..65_508]).is_none());
    assert!(emit(Ipv6Addr::LOCALHOST.into(), &payload[..65_527]).is_some());
    assert!(emit(Ipv6Addr::LOCALHOST.into(), &payload).is_none());
}

proptest! {
    #[test]
    fn echo_survives_the_wire(spec in echo_specs(b"reachd probe")) {
        let bytes = emit_echo(&spec).unwrap();
        let is_v4 = spec.source.is_ipv4();
        let EchoSpec { id, seq, payload, .. } = spec;
        let expected = Packet {
            source: spec.source,
            dest: spec.dest,
            ttl: spec.ttl,
            ip_id: is_v4.then_some(spec.ip_id),
            dont_fragment: !is_v4 || spec.dont_fragment,
            total_len: bytes.len(),
            body: Body::Icmp(Icmp::EchoRequest { id, seq, payload }),
        };
        prop_assert_eq!(Packet::parse(&bytes, Checksums::Verify), Ok(expected));
    }

    #[test]
    fn syn_survives_the_wire(spec in syn_specs()) {
        let bytes = emit_syn(&spec).unwrap();
        let packet = Packet::parse(&bytes, Checksums::Verify).unwrap();
        prop_assert_eq!((packet.source, packet.dest), (spec.source, spec.dest));
        prop_assert_eq!(packet.ttl, spec.ttl);
        prop_assert_eq!(packet.ip_id, spec.source.is_ipv4().then_some(spec.ip_id));
        prop_assert!(packet.dont_fragment);
        let Body::Tcp(segment) = packet.body else { panic!("{packet:?}") };
        let ports = (spec.source_port, spec.dest_port);
        prop_assert_eq!((segment.source_port, segment.dest_port), ports);
        prop_assert_eq!((segment.seq, segment.ack, segment.flags), (spec.seq, 0, Flags::SYN));
        let timestamps = spec.timestamp.map(|value| (value, 0));
        let options = tcp::Options {
            mss: Some(spec.mss),
            window_scale: Some(SYN_WINDOW_SCALE),
            sack_permitted: true,
            timestamps,
        };
        prop_assert_eq!(segment.options, options);
    }

    #[test]
    fn rst_survives_the_wire(
        (source, dest) in addresses(),
        ports in any::<(u16, u16)>(),
        (seq, ttl) in any::<(u32, u8)>(),
    ) {
        let bytes = emit_rst((source, ports.0).into(), (dest, ports.1).into(), seq, ttl).unwrap();
        let packet = Packet::parse(&bytes, Checksums::Verify).unwrap();
        let Body::Tcp(segment) = packet.body else { panic!("{packet:?}") };
        prop_assert_eq!((segment.source_port, segment.dest_port), ports);
        prop_assert_eq!((segment.seq, segment.flags, packet.ttl), (seq, Flags::RST, ttl));
    }

    #[test]
    fn emit_undoes_parse(bytes in packets()) {
        let packet = Packet::parse(&bytes, Checksums::Verify).unwrap();
        prop_assert_eq!(packet.emit(), Some(bytes));
    }

    #[test]
    fn other_reader_agrees_on_checksums(bytes in packets()) {
        let sliced = etherparse::SlicedPacket::from_ip(&bytes).unwrap();
        let (net, transport) = (sliced.net.unwrap(), sliced.transport.unwrap());
        use etherparse::{NetSlice, TransportSlice};
        match (net, transport) {
            (NetSlice::Ipv4(ip), TransportSlice::Tcp(tcp)) => {
                let header = ip.header();
                let [source, dest] = [header.source(), header.destination()];
                prop_assert_eq!(tcp.calc_checksum_ipv4(source, dest), Ok(tcp.checksum()));
            }
            (NetSlice::Ipv6(ip), TransportSlice::Tcp(tcp)) => {
                let header = ip.header();
                let [source, dest] = [header.source(), header.destination()];
                prop_assert_eq!(tcp.calc_checksum_ipv6(source, dest), Ok(tcp.checksum()));
            }
            (NetSlice::Ipv4(_), TransportSlice::Icmpv4(icmp)) => {
                let checksum = icmp.header().icmp_type.calc_checksum(icmp.payload());
                prop_assert_eq!(checksum, icmp.checksum());
            }
            (NetSlice::Ipv6(ip), TransportSlice::Icmpv6(icmp)) => {
                let header = ip.header();
                let [source, dest] = [header.source(), header.destination()];
                prop_assert!(icmp.is_checksum_valid(source, dest));
            }
            (NetSlice::Ipv4(ip), TransportSlice::Udp(udp)) => {
                let header = ip.header().to_header();
                let checksum = udp.to_header().calc_checksum_ipv4(&header, udp.payload());
                prop_assert_eq!(checksum, Ok(udp.checksum()));
            }
            (NetSlice::Ipv6(ip), TransportSlice::Udp(udp)) => {
                let header = ip.header().to_header();
                let checksum = udp.to_header().calc_checksum_ipv6(&header, udp.payload());
                prop_assert_eq!(checksum, Ok(udp.checksum()));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flipped_bit_is_noticed(mut bytes in packets(), bit in any::<prop::sample::Index>()) {
        // Not protected: the version, and in IPv6 what comes before the addresses.
        let is_v4 = bytes[0] >> 4 == 4;
        let protected_from = if is_v4 { 8 } else { 8 * 8 };
        let bit = protected_from + bit.index(bytes.len() * 8 - protected_from);
        bytes[bit / 8] ^= 1 << (bit % 8);
        // A UDP checksum that becomes 0 reads as absent.
        prop_assume!(!(is_v4 && bytes[9] == PROTOCOL_UDP && bytes[26..28] == [0, 0]));
        prop_assert!(Packet::parse(&bytes, Checksums::Verify).is_err(), "bit {}", bit);
    }

    #[test]
    fn mutated_packets_never_panic(
        mut bytes in packets(),
        mutations in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        len in any::<prop::sample::Index>(),
    ) {
        for (at, value) in mutations {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(len.index(bytes.len() + 1));
        for checksums in [Checksums::Verify, Checksums::Skip] {
            if let Ok(packet) = Packet::parse(&bytes, checksums) {
                let _ = packet.emit();
            }
        }
    }

    #[test]
    fn random_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Packet::parse(&bytes, Checksums::Verify);
        for (first, protocol_at) in [(0x45, 9), (0x4f, 9), (0x60, 6)] {
            for protocol in [PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_ICMPV6, 0, 44] {
                if bytes.len() > protocol_at {
                    bytes[0] = first;
                    bytes[protocol_at] = protocol;
                }
                let _ = Packet::parse(&bytes, Checksums::Skip);
            }
        }
    }
}
