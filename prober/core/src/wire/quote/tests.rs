use super::*;
use crate::wire::packet::{self, EchoSpec, SynSpec};
use proptest::prelude::*;

fn syn(source: &str, dest: &str) -> Vec<u8> {
    let spec = SynSpec {
        source: source.parse().unwrap(),
        dest: dest.parse().unwrap(),
        ttl: 1,
        ip_id: 0xbeef,
        source_port: 50_000,
        dest_port: 3389,
        seq: 0x0102_0304,
        mss: 1460,
        timestamp: None,
    };
    packet::emit_syn(&spec).unwrap()
}

fn transport(bytes: &[u8]) -> QuotedTransport {
    parse(bytes).unwrap().transport
}

const SYN: QuotedTransport = QuotedTransport::Tcp {
    source_port: 50_000,
    dest_port: 3389,
    seq: Some(0x0102_0304),
    timestamp: None,
};
const PORTS: QuotedTransport =
    QuotedTransport::Tcp { source_port: 50_000, dest_port: 3389, seq: None, timestamp: None };

#[test]
fn quote_cut_after_eight_bytes_is_enough() {
    let bytes = syn("192.0.2.1", "198.51.100.7");
    let quoted = Quoted {
        source: "192.0.2.1".parse().unwrap(),
        dest: "198.51.100.7".parse().unwrap(),
        ttl: 1,
        ip_id: Some(0xbeef),
        transport: SYN,
    };
    assert_eq!(parse(&bytes[..28]), Ok(quoted));
    assert_eq!(parse(&bytes), Ok(quoted));
    let bytes = syn("2001:db8::1", "2001:db8::2");
    let seen = parse(&bytes[..48]).unwrap();
    assert_eq!((seen.ttl, seen.ip_id, seen.transport), (1, None, SYN));
}

#[test]
fn shorter_quotes_say_less() {
    for (bytes, header_len) in
        [(syn("192.0.2.1", "198.51.100.7"), 20), (syn("2001:db8::1", "2001:db8::2"), 40)]
    {
        for len in 0..header_len {
            assert_eq!(parse(&bytes[..len]), Err(ParseError::Truncated), "{len}");
        }
        for len in 0..8 {
            let expected = if len < 4 { QuotedTransport::None } else { PORTS };
            assert_eq!(transport(&bytes[..header_len + len]), expected, "{len}");
        }
    }
    assert_eq!(parse(&[0x55; 60]), Err(ParseError::BadVersion));
}

#[test]
fn lengths_and_checksums_of_a_quote_are_not_believed() {
    let mut bytes = syn("192.0.2.1", "198.51.100.7");
    for total_len in [[0, 0], [0, 24], [44, 0], [0xff, 0xff]] {
        bytes[2..4].copy_from_slice(&total_len);
        bytes[10..12].fill(0xee);
        assert_eq!(transport(&bytes), SYN, "{total_len:?}");
    }
}

#[test]
fn options_and_extensions_are_passed() {
    let mut bytes = syn("192.0.2.1", "198.51.100.7");
    bytes[0] = 0x46;
    bytes.splice(20..20, [148, 4, 0, 0]);
    assert_eq!(transport(&bytes[..32]), SYN);
    let mut bytes = syn("2001:db8::1", "2001:db8::2");
    bytes[6] = 60;
    bytes.splice(40..40, [PROTOCOL_TCP, 0, 1, 4, 0, 0, 0, 0]);
    assert_eq!(transport(&bytes[..56]), SYN);
    assert_eq!(transport(&bytes[..47]), QuotedTransport::None);
}

#[test]
fn later_fragment_has_no_transport() {
    let mut bytes = syn("192.0.2.1", "198.51.100.7");
    bytes[7] = 1;
    assert_eq!(transport(&bytes), QuotedTransport::None);
    let mut bytes = syn("2001:db8::1", "2001:db8::2");
    bytes[6] = 44;
    bytes.splice(40..40, [PROTOCOL_TCP, 0, 0, 9, 0, 0, 0, 0]);
    assert_eq!(transport(&bytes), QuotedTransport::None);
    bytes[43] = 1;
    assert_eq!(transport(&bytes), SYN, "a first fragment has one");
}

#[test]
fn echo_requests_are_told_from_other_icmp() {
    for (source, dest, header_len, reply) in
        [("192.0.2.1", "198.51.100.7", 20, 0), ("2001:db8::1", "2001:db8::2", 40, 129)]
    {
        let spec = EchoSpec {
            source: source.parse().unwrap(),
            dest: dest.parse().unwrap(),
            ttl: 1,
            ip_id: 1,
            id: 7,
            seq: 9,
            payload: b"reachd",
            dont_fragment: true,
        };
        let mut bytes = packet::emit_echo(&spec).unwrap();
        assert_eq!(transport(&bytes[..header_len + 8]), QuotedTransport::Echo { id: 7, seq: 9 });
        assert_eq!(transport(&bytes[..header_len + 7]), QuotedTransport::None);
        let protocol = if header_len == 20 { PROTOCOL_ICMP } else { PROTOCOL_ICMPV6 };
        bytes[header_len] = reply;
        assert_eq!(transport(&bytes), QuotedTransport::Other { protocol });
    }
}

#[test]
fn other_transports_are_named() {
    let mut bytes = syn("192.0.2.1", "198.51.100.7");
    bytes[9] = PROTOCOL_UDP;
    let udp = QuotedTransport::Udp { source_port: 50_000, dest_port: 3389 };
    assert_eq!(transport(&bytes[..24]), udp);
    bytes[9] = PROTOCOL_ICMPV6;
    let protocol = PROTOCOL_ICMPV6;
    assert_eq!(transport(&bytes), QuotedTransport::Other { protocol }, "not IPv4's own ICMP");
}

proptest! {
    #[test]
    fn mutated_quotes_never_panic(
        is_v4 in any::<bool>(),
        mutations in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        len in any::<prop::sample::Index>(),
    ) {
        let mut bytes = if is_v4 { syn("192.0.2.1", "192.0.2.2") } else { syn("::1", "::2") };
        for (at, value) in mutations {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = parse(&bytes[..len.index(bytes.len() + 1)]);
    }

    #[test]
    fn random_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
        for first in [0x45, 0x4f, 0x60] {
            if let Some(byte) = bytes.first_mut() {
                *byte = first;
            }
            let _ = parse(&bytes);
        }
    }
}
