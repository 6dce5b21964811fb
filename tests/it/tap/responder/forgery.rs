//! Lies about a probe, as somebody tells them who knows the plan and guesses the rest.

use std::net::IpAddr;

use reachd_core::wire::icmp::Icmp;
use reachd_core::wire::packet::{Body, Packet};
use reachd_core::wire::reply::{Stack, emit_icmp_error, emit_rst_ack, emit_syn_ack};
use reachd_core::wire::tcp::{Flags, Options, Segment};

/// The hop limit of what a stranger sends.
const STRANGER_TTL: u8 = 61;

/// Lies with a guess that is wrong, and whether each counts as an answer that proved nothing.
///
/// The forger knows addresses, ports, identifiers and sequence numbers of echoes; it guesses the
/// sequence number of a SYN, the IP identification and the payload of an echo. A guess that does
/// not even meet the port or the sequence number of an echo belongs to somebody else's traffic and
/// is not counted.
pub(super) fn lies(request: &[u8], packet: &Packet<'_>) -> Vec<(bool, Vec<u8>)> {
    let mut lies = Vec::new();
    match packet.body {
        Body::Icmp(Icmp::EchoRequest { id, seq, payload }) => {
            let other = payload.iter().map(|byte| !byte).collect::<Vec<_>>();
            let reply = |id, seq, payload| {
                let body = Body::Icmp(Icmp::EchoReply { id, seq, payload });
                reversed(packet, body).emit()
            };
            lies.extend(reply(id, seq, &other).map(|bytes| (true, bytes)));
            lies.extend(reply(id, seq ^ 0x8000, payload).map(|bytes| (false, bytes)));
            let guess = Body::Icmp(Icmp::EchoRequest { id, seq, payload: &other });
            lies.extend(errors(&Packet { body: guess, ..wrong_id(packet) }));
        }
        Body::Tcp(segment) => {
            let guess = Segment { seq: segment.seq ^ 0x0f0f_0f0f, ..segment };
            let next = Segment { source_port: segment.source_port ^ 0x0400, ..segment };
            let stack = Stack { ttl: STRANGER_TTL, ..Stack::default() };
            for (counts, guess) in [(true, guess), (false, next)] {
                let Some(guess) = (Packet { body: Body::Tcp(guess), ..*packet }).emit() else {
                    continue;
                };
                let answers = [emit_syn_ack(&guess, 5, &stack), emit_rst_ack(&guess, &stack)];
                lies.extend(answers.into_iter().flatten().map(|bytes| (counts, bytes)));
            }
            lies.extend(errors(&Packet { body: Body::Tcp(guess), ..*packet }));
            if packet.source.is_ipv4() {
                lies.extend(quoting(packet, &with_other_id(request)));
            }
        }
        _ => {}
    }
    lies
}

/// What proves neither way: a reset and an acknowledgement by one who knows the port.
pub(super) fn unproven(packet: &Packet<'_>) -> Vec<Vec<u8>> {
    let Body::Tcp(segment) = packet.body else { return Vec::new() };
    let flags = [Flags::RST, Flags::ACK];
    let forged = flags.map(|flags| {
        let body = Segment {
            source_port: segment.dest_port,
            dest_port: segment.source_port,
            seq: 1,
            ack: 0x5555,
            flags,
            window: 0,
            options: Options::default(),
            payload: &[],
        };
        reversed(packet, Body::Tcp(body)).emit()
    });
    forged.into_iter().flatten().collect()
}

/// Makes the checksum of a TCP segment or an ICMP message wrong.
pub(super) fn spoil(mut packet: Vec<u8>) -> Vec<u8> {
    let is_v4 = packet.first().is_some_and(|first| first >> 4 == 4);
    let (header, protocol) = if is_v4 { (20, packet.get(9)) } else { (40, packet.get(6)) };
    let checksum = header + if protocol == Some(&TCP) { 16 } else { 2 };
    if let Some(byte) = packet.get_mut(checksum) {
        *byte ^= 0x55;
    }
    packet
}

/// Every error a router tells, quoting this packet that never was.
fn errors(quoted: &Packet<'_>) -> Vec<(bool, Vec<u8>)> {
    quoted.emit().map(|bytes| quoting(quoted, &bytes)).unwrap_or_default()
}

fn quoting(packet: &Packet<'_>, quoted: &[u8]) -> Vec<(bool, Vec<u8>)> {
    // Host unreachable, prohibited, port unreachable, hop limit exceeded.
    let kinds: [(u8, u8); 4] = match packet.source {
        IpAddr::V4(_) => [(3, 1), (3, 13), (3, 3), (11, 0)],
        IpAddr::V6(_) => [(1, 3), (1, 1), (1, 4), (3, 0)],
    };
    let error = |(ty, code)| {
        let (router, us) = (packet.dest, packet.source);
        let bytes = emit_icmp_error(router, us, ty, code, quoted, STRANGER_TTL)?;
        Some((true, bytes))
    };
    kinds.into_iter().filter_map(error).collect()
}

fn wrong_id<'a>(packet: &Packet<'a>) -> Packet<'a> {
    Packet { ip_id: packet.ip_id.map(|id| id ^ 0x0101), ..*packet }
}

/// The same bytes with another identification, whose header checksum quotes do not need.
fn with_other_id(request: &[u8]) -> Vec<u8> {
    let mut bytes = request.to_vec();
    if let Some(byte) = bytes.get_mut(4) {
        *byte ^= 0x11;
    }
    bytes
}

fn reversed<'a>(packet: &Packet<'_>, body: Body<'a>) -> Packet<'a> {
    Packet {
        source: packet.dest,
        dest: packet.source,
        ttl: STRANGER_TTL,
        ip_id: Some(9),
        dont_fragment: true,
        total_len: 0,
        body,
    }
}

const TCP: u8 = 6;
