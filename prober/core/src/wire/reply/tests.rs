use super::*;
use crate::wire::packet::{self, EchoSpec, SynSpec};
use crate::wire::quote::QuotedTransport;
use std::net::{Ipv4Addr, Ipv6Addr};

const PAIRS: [(IpAddr, IpAddr); 2] = [
    (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7))),
    (IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9))),
];

fn syn((source, dest): (IpAddr, IpAddr), timestamp: Option<u32>) -> Vec<u8> {
    let (ttl, ip_id, source_port, dest_port, mss) = (3, 5, 50_000, 3389, 1400);
    let seq = u32::MAX;
    let spec = SynSpec { source, dest, ttl, ip_id, source_port, dest_port, seq, mss, timestamp };
    packet::emit_syn(&spec).unwrap()
}

fn echo((source, dest): (IpAddr, IpAddr), payload: &[u8]) -> Vec<u8> {
    let (ttl, ip_id, id, seq, dont_fragment) = (3, 5, 7, 9, true);
    let spec = EchoSpec { source, dest, ttl, ip_id, id, seq, payload, dont_fragment };
    packet::emit_echo(&spec).unwrap()
}

fn parse(bytes: &[u8]) -> Packet<'_> {
    Packet::parse(bytes, Checksums::Verify).unwrap()
}

#[test]
fn open_port_answers_the_syn_asked() {
    let stack = Stack { ttl: 128, ip_id: 77, window: 8192, ..Stack::default() };
    for pair in PAIRS {
        let answer = emit_syn_ack(&syn(pair, Some(9)), 1000, &stack).unwrap();
        let packet = parse(&answer);
        assert_eq!((packet.source, packet.dest, packet.ttl), (pair.1, pair.0, 128));
        assert_eq!(packet.ip_id, pair.0.is_ipv4().then_some(77));
        let options = tcp::Options { timestamps: Some((1, 9)), ..Stack::default().options };
        let expected = Segment {
            source_port: 3389,
            dest_port: 50_000,
            seq: 1000,
            ack: 0,
            flags: Flags::SYN | Flags::ACK,
            window: 8192,
            options,
            payload: &[],
        };
        assert_eq!(packet.body, Body::Tcp(expected));
        assert_eq!(emit_syn_ack(&answer, 1, &stack), None, "not a SYN");
        let plain = emit_syn_ack(&syn(pair, None), 1000, &stack).unwrap();
        assert!(matches!(parse(&plain).body, Body::Tcp(segment)
            if segment.options.timestamps.is_none()));
    }
}

#[test]
fn closed_port_resets() {
    let stack = Stack::default();
    for pair in PAIRS {
        let reset = emit_rst_ack(&syn(pair, None), &stack).unwrap();
        let Body::Tcp(segment) = parse(&reset).body else { panic!("{reset:?}") };
        assert_eq!((segment.seq, segment.ack), (0, 0), "SYN at the last number wraps");
        assert_eq!(segment.flags, Flags::RST | Flags::ACK);
        assert_eq!(emit_rst_ack(&reset, &stack), None, "a reset is never answered");
        let syn_ack = emit_syn_ack(&syn(pair, None), 1000, &stack).unwrap();
        let reset = emit_rst_ack(&syn_ack, &stack).unwrap();
        let Body::Tcp(segment) = parse(&reset).body else { panic!("{reset:?}") };
        assert_eq!((segment.seq, segment.flags, segment.dest_port), (0, Flags::RST, 3389));
    }
}

#[test]
fn echo_comes_back_with_its_payload() {
    for pair in PAIRS {
        let reply = emit_echo_reply(&echo(pair, b"payload"), &Stack::default()).unwrap();
        let packet = parse(&reply);
        assert_eq!((packet.source, packet.dest, packet.ttl), (pair.1, pair.0, 64));
        let expected = Icmp::EchoReply { id: 7, seq: 9, payload: b"payload" };
        assert_eq!(packet.body, Body::Icmp(expected));
        assert_eq!(emit_echo_reply(&reply, &Stack::default()), None);
        assert_eq!(emit_echo_reply(&syn(pair, None), &Stack::default()), None);
    }
}

#[test]
fn broken_requests_are_not_answered() {
    let mut request = echo(PAIRS[0], b"payload");
    *request.last_mut().unwrap() ^= 1;
    assert_eq!(emit_echo_reply(&request, &Stack::default()), None);
    let mut request = syn(PAIRS[0], None);
    *request.last_mut().unwrap() ^= 1;
    assert_eq!(emit_syn_ack(&request, 1, &Stack::default()), None);
    assert_eq!(emit_rst_ack(&request, &Stack::default()), None);
}

#[test]
fn error_quotes_what_it_complains_about() {
    for ((source, dest), ty, quoted_max) in [(PAIRS[0], 11, 548), (PAIRS[1], 3, 1232)] {
        let probe = echo((source, dest), &[1; 2000]);
        let bytes = emit_icmp_error(dest, source, ty, 0, &probe, 61).unwrap();
        let packet = parse(&bytes);
        let Body::Icmp(Icmp::Error(error)) = packet.body else { panic!("{packet:?}") };
        assert_eq!((packet.source, packet.dest, packet.ttl), (dest, source, 61));
        assert_eq!((error.ty, error.code, error.mtu), (ty, 0, None));
        assert_eq!(error.quoted, &probe[..quoted_max]);
        let quoted = error.quoted_packet().unwrap();
        assert_eq!((quoted.source, quoted.dest, quoted.ttl), (source, dest, 3));
        assert_eq!(quoted.transport, QuotedTransport::Echo { id: 7, seq: 9 });
        assert_eq!(emit_icmp_error(PAIRS[0].0, PAIRS[1].0, ty, 0, &probe, 61), None);
    }
}

#[test]
fn error_carries_an_mtu() {
    for ((source, dest), ty, code) in [(PAIRS[0], 3, 4), (PAIRS[1], 2, 0)] {
        let quoted = &syn((source, dest), None);
        let spec = ErrorSpec { source, dest, ttl: 64, ty, code, mtu: Some(1400), quoted };
        let bytes = emit_error(&spec).unwrap();
        let Body::Icmp(Icmp::Error(error)) = parse(&bytes).body else { panic!("{bytes:?}") };
        assert_eq!(error.mtu, Some(1400));
    }
}
