//! What a host or router answers to a probe: the far side of a simulated wire.

use super::Family;
use super::icmp::{Extensions, Icmp, IcmpError};
use super::packet::{Body, Checksums, Packet};
use super::tcp::{self, Flags, Segment};
use std::net::IpAddr;

/// How much of a packet an error quotes: RFC 1812 section 4.3.2.3, RFC 4443 section 2.4 (c).
const QUOTED_LEN_MAX_V4: usize = 576 - 28;
const QUOTED_LEN_MAX_V6: usize = 1280 - 48;

/// The habits of an answering host's network stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stack {
    /// TTL or hop limit of the answer as it is sent; the simulator takes hops off.
    pub ttl: u8,
    /// Identification; ignored in IPv6.
    pub ip_id: u16,
    /// Receive window of a SYN-ACK.
    pub window: u16,
    /// Options of a SYN-ACK, as far as the SYN asks for them; TSecr is taken from the SYN.
    pub options: tcp::Options,
}

/// An ICMP error to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorSpec<'a> {
    /// The router or host that complains.
    pub source: IpAddr,
    /// Who sent the packet that it complains about; the family of `source`.
    pub dest: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Type of the error in the numbering of the family.
    pub ty: u8,
    /// Code of the error.
    pub code: u8,
    /// MTU of the next hop in bytes, for ICMPv4 3/4 and ICMPv6 2.
    pub mtu: Option<u32>,
    /// The packet that caused the error; cut to what routers quote at most.
    pub quoted: &'a [u8],
}

impl Default for Stack {
    /// Gives the habits of Linux.
    fn default() -> Self {
        let options = tcp::Options {
            mss: Some(1460),
            window_scale: Some(7),
            sack_permitted: true,
            timestamps: Some((1, 0)),
        };
        Self { ttl: 64, ip_id: 0, window: 64_240, options }
    }
}

/// Answers a SYN as an open port does; `None` if the request is not a SYN.
pub fn emit_syn_ack(request: &[u8], seq: u32, stack: &Stack) -> Option<Vec<u8>> {
    let (packet, segment) = read_segment(request)?;
    if !segment.flags.syn() || segment.flags.ack() {
        return None;
    }
    let answer = Segment {
        source_port: segment.dest_port,
        dest_port: segment.source_port,
        seq,
        ack: segment.seq.wrapping_add(segment.sequence_len()),
        flags: Flags::SYN | Flags::ACK,
        window: stack.window,
        options: agree(&segment.options, &stack.options),
        payload: &[],
    };
    answer_with(&packet, stack, Body::Tcp(answer))
}

/// Answers a segment as a closed port does (RFC 9293 section 3.10.7.1); `None` to a RST.
pub fn emit_rst_ack(request: &[u8], stack: &Stack) -> Option<Vec<u8>> {
    let (packet, segment) = read_segment(request)?;
    if segment.flags.rst() {
        return None;
    }
    let (seq, ack, flags) = if segment.flags.ack() {
        (segment.ack, 0, Flags::RST)
    } else {
        (0, segment.seq.wrapping_add(segment.sequence_len()), Flags::RST | Flags::ACK)
    };
    let answer = Segment {
        source_port: segment.dest_port,
        dest_port: segment.source_port,
        seq,
        ack,
        flags,
        window: 0,
        options: tcp::Options::default(),
        payload: &[],
    };
    answer_with(&packet, stack, Body::Tcp(answer))
}

/// Answers an echo request; `None` if the request is anything else.
pub fn emit_echo_reply(request: &[u8], stack: &Stack) -> Option<Vec<u8>> {
    let packet = Packet::parse(request, Checksums::Verify).ok()?;
    let Body::Icmp(Icmp::EchoRequest { id, seq, payload }) = packet.body else {
        return None;
    };
    answer_with(&packet, stack, Body::Icmp(Icmp::EchoReply { id, seq, payload }))
}

/// Gives an ICMP error without an MTU; `None` if the addresses differ in family.
pub fn emit_icmp_error(
    from: IpAddr,
    to: IpAddr,
    ty: u8,
    code: u8,
    quoted: &[u8],
    ttl: u8,
) -> Option<Vec<u8>> {
    emit_error(&ErrorSpec { source: from, dest: to, ttl, ty, code, mtu: None, quoted })
}

/// Gives an ICMP error; `None` if the addresses differ in family.
pub fn emit_error(spec: &ErrorSpec<'_>) -> Option<Vec<u8>> {
    let ErrorSpec { source, dest, ttl, ty, code, mtu, quoted } = *spec;
    let family = Family::of(source);
    let quoted_max = match family {
        Family::V4 => QUOTED_LEN_MAX_V4,
        Family::V6 => QUOTED_LEN_MAX_V6,
    };
    let quoted = quoted.get(..quoted_max).unwrap_or(quoted);
    let extensions = Extensions::default();
    let error = IcmpError { family, ty, code, mtu, quoted, extensions };
    let body = Body::Icmp(Icmp::Error(error));
    let dont_fragment = false;
    Packet { source, dest, ttl, ip_id: Some(0), dont_fragment, total_len: 0, body }.emit()
}

/// Gives the options of a SYN-ACK: what both sides want (RFC 7323, RFC 2018), and our MSS.
fn agree(asked: &tcp::Options, ours: &tcp::Options) -> tcp::Options {
    let timestamps = ours.timestamps.zip(asked.timestamps);
    tcp::Options {
        mss: ours.mss,
        window_scale: ours.window_scale.filter(|_| asked.window_scale.is_some()),
        sack_permitted: ours.sack_permitted && asked.sack_permitted,
        timestamps: timestamps.map(|((value, _), (asked_value, _))| (value, asked_value)),
    }
}

fn read_segment(request: &[u8]) -> Option<(Packet<'_>, Segment<'_>)> {
    let packet = Packet::parse(request, Checksums::Verify).ok()?;
    match packet.body {
        Body::Tcp(segment) => Some((packet, segment)),
        Body::Icmp(_) | Body::Udp(_) | Body::Fragment | Body::Other { .. } => None,
    }
}

fn answer_with(request: &Packet<'_>, stack: &Stack, body: Body<'_>) -> Option<Vec<u8>> {
    let answer = Packet {
        source: request.dest,
        dest: request.source,
        ttl: stack.ttl,
        ip_id: Some(stack.ip_id),
        dont_fragment: request.dont_fragment,
        total_len: 0,
        body,
    };
    answer.emit()
}

#[cfg(test)]
mod tests;
