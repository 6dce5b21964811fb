//! The classic BPF program of the ring: our probes, their answers, and nothing else.
//!
//! Offsets count from the network header, which is where a `SOCK_DGRAM` packet socket begins on
//! every kind of interface; a TUN device has no Ethernet header to count from.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use socket2::SockFilter;

/// The first of the ports that raw SYN probes leave from; above Linux's ephemeral range.
pub const OWN_PORTS: RangeInclusive<u16> = 61_000..=65_535;

/// Bytes kept of an ICMP packet: a whole quote of the least IPv6 MTU fits.
const ICMP_SNAP: u32 = 1_536;
/// Bytes kept of a TCP packet: all headers and the beginning of the data.
const TCP_SNAP: u32 = 512;
/// Port ranges looked for one by one; beyond that all TCP is captured. Older kernels have room
/// for 20,480 bytes of socket options (`net.core.optmem_max`).
const RANGES_MAX: usize = 256;

const LD_BYTE: u16 = 0x30;
const LD_HALF: u16 = 0x28;
const LD_BYTE_X: u16 = 0x50;
const LD_HALF_X: u16 = 0x48;
const LDX_HEADER_LEN: u16 = 0xb1;
const LDX_IMMEDIATE: u16 = 0x01;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQ: u16 = 0x15;
const JUMP_GT: u16 = 0x25;
const JUMP_GE: u16 = 0x35;
const JUMP_SET: u16 = 0x45;
const RETURN: u16 = 0x06;

/// Places in the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Label {
    V4,
    V6,
    HopByHop,
    Listener,
    IcmpV4,
    IcmpV6,
    TcpV4,
    TcpV6,
    Tcp,
    KeepIcmp,
    KeepTcp,
    Drop,
}

/// An assembler with symbolic jumps.
#[derive(Default)]
struct Program {
    code: Vec<(u16, u8, u8, u32)>,
    jumps: Vec<(usize, Label)>,
    labels: Vec<(Label, usize)>,
}

impl Program {
    fn place(&mut self, label: Label) {
        self.labels.push((label, self.code.len()));
    }

    fn op(&mut self, code: u16, k: u32) {
        self.code.push((code, 0, 0, k));
    }

    fn jump(&mut self, label: Label) {
        self.jumps.push((self.code.len(), label));
        self.op(JUMP, 0);
    }

    /// Jumps if the test holds; a plain jump behind it reaches any distance.
    fn jump_if(&mut self, test: u16, k: u32, label: Label) {
        self.code.push((test, 0, 1, k));
        self.jump(label);
    }

    /// Resolves the labels; a jump to a label that is not placed stays where it is.
    fn finish(mut self) -> Vec<SockFilter> {
        for (at, label) in self.jumps {
            let target = self.labels.iter().find(|(placed, _)| *placed == label);
            let Some(&(_, target)) = target else { continue };
            let distance = u32::try_from(target.saturating_sub(at + 1)).unwrap_or(0);
            if let Some(jump) = self.code.get_mut(at) {
                jump.3 = distance;
            }
        }
        let instruction = |(code, yes, no, k)| SockFilter::new(code, yes, no, k);
        self.code.into_iter().map(instruction).collect()
    }
}

/// Builds the program that keeps ICMP errors, echoes and TCP from or to these ports or ours.
pub fn build(ports: &BTreeSet<u16>) -> Vec<SockFilter> {
    let mut program = Program::default();
    program.op(LD_BYTE, 0);
    program.op(AND, 0xf0);
    program.jump_if(JUMP_EQ, 0x40, Label::V4);
    program.jump_if(JUMP_EQ, 0x60, Label::V6);
    program.jump(Label::Drop);
    add_v4(&mut program);
    add_v6(&mut program);
    add_tcp(&mut program, &ranges(ports));
    add_ends(&mut program);
    program.finish()
}

/// Builds the program of a raw ICMP socket of IPv4: echo replies and errors.
pub(crate) fn build_icmp_v4() -> Vec<SockFilter> {
    let mut program = Program::default();
    program.op(LDX_HEADER_LEN, 0);
    program.op(LD_BYTE_X, 0);
    for ty in [0, 3, 4, 11, 12] {
        program.jump_if(JUMP_EQ, ty, Label::KeepIcmp);
    }
    program.jump(Label::Drop);
    add_ends(&mut program);
    program.finish()
}

/// Builds the program of a raw TCP socket of IPv4, where packets begin with the network header.
pub(crate) fn build_tcp_v4(ports: &BTreeSet<u16>) -> Vec<SockFilter> {
    let mut program = Program::default();
    program.op(LDX_HEADER_LEN, 0);
    add_tcp(&mut program, &ranges(ports));
    add_ends(&mut program);
    program.finish()
}

/// Builds the program of a raw TCP socket of IPv6, where packets begin with the segment.
pub(crate) fn build_tcp_v6(ports: &BTreeSet<u16>) -> Vec<SockFilter> {
    let mut program = Program::default();
    program.op(LDX_IMMEDIATE, 0);
    add_tcp(&mut program, &ranges(ports));
    add_ends(&mut program);
    program.finish()
}

/// Where the programs end.
fn add_ends(program: &mut Program) {
    program.place(Label::KeepIcmp);
    program.op(RETURN, ICMP_SNAP);
    program.place(Label::KeepTcp);
    program.op(RETURN, TCP_SNAP);
    program.place(Label::Drop);
    program.op(RETURN, 0);
}

fn add_v4(program: &mut Program) {
    program.place(Label::V4);
    // Later fragments have no transport header.
    program.op(LD_HALF, 6);
    program.jump_if(JUMP_SET, 0x1fff, Label::Drop);
    program.op(LDX_HEADER_LEN, 0);
    program.op(LD_BYTE, 9);
    program.jump_if(JUMP_EQ, 1, Label::IcmpV4);
    program.jump_if(JUMP_EQ, 6, Label::TcpV4);
    program.jump(Label::Drop);
    program.place(Label::IcmpV4);
    program.op(LD_BYTE_X, 0);
    // Echo reply, unreachable, source quench, echo, time exceeded, parameter problem.
    for ty in [0, 3, 4, 8, 11, 12] {
        program.jump_if(JUMP_EQ, ty, Label::KeepIcmp);
    }
    program.jump(Label::Drop);
}

fn add_v6(program: &mut Program) {
    program.place(Label::V6);
    program.op(LD_BYTE, 6);
    program.jump_if(JUMP_EQ, 58, Label::IcmpV6);
    program.jump_if(JUMP_EQ, 6, Label::TcpV6);
    // Routing, fragment, destination and hop-by-hop options: rare, so judged later.
    for next in [43, 44, 60] {
        program.jump_if(JUMP_EQ, next, Label::KeepIcmp);
    }
    program.jump_if(JUMP_EQ, 0, Label::HopByHop);
    program.jump(Label::Drop);
    // Except multicast listener messages (RFC 3810), which are everywhere and would wake us.
    program.place(Label::HopByHop);
    program.op(LD_BYTE, 41);
    program.jump_if(JUMP_GE, 1, Label::KeepIcmp);
    program.op(LD_BYTE, 40);
    program.jump_if(JUMP_EQ, 58, Label::Listener);
    program.jump(Label::KeepIcmp);
    program.place(Label::Listener);
    program.op(LD_BYTE, 48);
    for ty in [130, 131, 132, 143] {
        program.jump_if(JUMP_EQ, ty, Label::Drop);
    }
    program.jump(Label::KeepIcmp);
    program.place(Label::IcmpV6);
    program.op(LD_BYTE, 40);
    // The four errors, echo and its reply; no neighbour discovery.
    for ty in [1, 2, 3, 4, 128, 129] {
        program.jump_if(JUMP_EQ, ty, Label::KeepIcmp);
    }
    program.jump(Label::Drop);
    program.place(Label::TcpV6);
    program.op(LDX_IMMEDIATE, 40);
    program.jump(Label::Tcp);
}

/// TCP of either family, with the header's place in X.
fn add_tcp(program: &mut Program, ranges: &[RangeInclusive<u16>]) {
    program.place(Label::TcpV4);
    program.place(Label::Tcp);
    if ranges.len() > RANGES_MAX {
        program.jump(Label::KeepTcp);
        return;
    }
    for port_at in [0, 2] {
        program.op(LD_HALF_X, port_at);
        for range in ranges {
            let (first, last) = (u32::from(*range.start()), u32::from(*range.end()));
            if first == last {
                program.jump_if(JUMP_EQ, first, Label::KeepTcp);
            } else if last == u32::from(u16::MAX) {
                program.jump_if(JUMP_GE, first, Label::KeepTcp);
            } else {
                // Below the range: over the next test and the jump. Above it: over the jump.
                program.code.push((JUMP_GE, 0, 2, first));
                program.code.push((JUMP_GT, 1, 0, last));
                program.jump(Label::KeepTcp);
            }
        }
    }
    program.jump(Label::Drop);
}

/// Our own ports and the given ones as disjoint ranges, ours first because most packets match it.
fn ranges(ports: &BTreeSet<u16>) -> Vec<RangeInclusive<u16>> {
    let mut ranges = vec![OWN_PORTS];
    for port in ports.iter().copied().filter(|port| !OWN_PORTS.contains(port)) {
        match ranges.last_mut() {
            Some(last) if last.end().checked_add(1) == Some(port) => *last = *last.start()..=port,
            _ => ranges.push(port..=port),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_ports_share_a_range_and_ours_swallow_theirs() {
        let ports = BTreeSet::from([22, 80, 81, 82, 3389, 60_999, 61_000, 65_535]);
        let ranges = ranges(&ports);
        assert_eq!(ranges, [OWN_PORTS, 22..=22, 80..=82, 3389..=3389, 60_999..=60_999]);
    }

    #[test]
    fn the_program_stays_within_what_an_old_kernel_takes() {
        let few: BTreeSet<u16> = (0..512).step_by(2).collect();
        assert!(build(&few).len() * 8 < 20_480);
        let many: BTreeSet<u16> = (0..60_000).step_by(2).collect();
        assert!(build(&many).len() < 100);
    }
}
