//! One raw receiving socket.

use std::collections::BTreeSet;
use std::io;

use socket2::{Domain, Protocol, Socket, Type};

use crate::sys::catch::{Catch, Facts, HEADROOM, Queue};
use crate::sys::{self};
use crate::tap::filter;

/// Calls that empty a socket of what came before its filter; a flood must not hold us up.
const EMPTYING_MAX: usize = 64;

/// ICMPv6: the four errors and the echo reply.
const ICMP_V6: [u8; 5] = [1, 2, 3, 4, 129];

/// What a socket hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    IcmpV4,
    TcpV4,
    IcmpV6,
    TcpV6,
}

impl Kind {
    /// The received packet from the network header on; `room` begins with the headroom.
    pub(super) fn packet<'a>(self, facts: &Facts, room: &'a mut [u8]) -> Option<&'a [u8]> {
        match self {
            Self::IcmpV4 | Self::TcpV4 => room.get(HEADROOM..),
            Self::IcmpV6 => with_header(libc::IPPROTO_ICMPV6, facts, room),
            Self::TcpV6 => with_header(libc::IPPROTO_TCP, facts, room),
        }
    }

    const fn is_v6(self) -> bool {
        matches!(self, Self::IcmpV6 | Self::TcpV6)
    }
}

/// Puts an IPv6 header before a payload, from what the kernel told of the real one; extension
/// headers, traffic class and flow label are not told.
fn with_header<'a>(protocol: libc::c_int, facts: &Facts, room: &'a mut [u8]) -> Option<&'a [u8]> {
    let (source, dest, hop_limit) = (facts.source?, facts.dest?, facts.hop_limit?);
    let length = u16::try_from(room.len().checked_sub(HEADROOM)?).ok()?;
    let header = room.first_chunk_mut::<HEADROOM>()?;
    header[..4].copy_from_slice(&[0x60, 0, 0, 0]);
    header[4..6].copy_from_slice(&length.to_be_bytes());
    header[6] = u8::try_from(protocol).ok()?;
    header[7] = hop_limit;
    header[8..24].copy_from_slice(&source.octets());
    header[24..].copy_from_slice(&dest.octets());
    Some(room)
}

/// One raw receiving socket.
#[derive(Debug)]
pub(super) struct Ear {
    pub(super) kind: Kind,
    pub(super) socket: Socket,
    drops: u32,
}

impl Ear {
    /// Opens a socket in the calling thread's network namespace.
    pub(super) fn open(kind: Kind, buffer: u32, ports: &BTreeSet<u16>) -> io::Result<Self> {
        let (domain, protocol) = match kind {
            Kind::IcmpV4 => (Domain::IPV4, Protocol::ICMPV4),
            Kind::TcpV4 => (Domain::IPV4, Protocol::TCP),
            Kind::IcmpV6 => (Domain::IPV6, Protocol::ICMPV6),
            Kind::TcpV6 => (Domain::IPV6, Protocol::TCP),
        };
        let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
        let ear = Self { kind, socket, drops: 0 };
        match kind {
            Kind::IcmpV4 => ear.socket.attach_filter(&filter::build_icmp_v4())?,
            Kind::IcmpV6 => sys::pass_icmp_v6(&ear.socket, &ICMP_V6)?,
            Kind::TcpV4 | Kind::TcpV6 => ear.set_ports(ports)?,
        }
        ear.socket.set_nonblocking(true)?;
        enlarge(&ear.socket, buffer);
        sys::set_int(&ear.socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
        if kind.is_v6() {
            sys::set_int(&ear.socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
            sys::set_int(&ear.socket, libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, 1)?;
        } else {
            sys::set_int(&ear.socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
        }
        Ok(ear)
    }

    /// Hears TCP from and to these ports from now on.
    pub(super) fn set_ports(&self, ports: &BTreeSet<u16>) -> io::Result<()> {
        match self.kind {
            Kind::IcmpV4 | Kind::IcmpV6 => Ok(()),
            Kind::TcpV4 => self.socket.attach_filter(&filter::build_tcp_v4(ports)),
            Kind::TcpV6 => self.socket.attach_filter(&filter::build_tcp_v6(ports)),
        }
    }

    /// Throws away what came between the socket's making and its filter: a raw socket hears from
    /// its first moment on.
    pub(super) fn forget_unfiltered(&self, catch: &mut Catch) -> io::Result<()> {
        for _ in 0..EMPTYING_MAX {
            if catch.receive(&self.socket, Queue::Data)? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Packets dropped since it was last asked.
    pub(super) fn new_drops(&mut self) -> io::Result<u32> {
        let drops = match sys::socket_drops(&self.socket) {
            // Before Linux 4.12 nobody tells.
            Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => return Ok(0),
            drops => drops?,
        };
        let before = std::mem::replace(&mut self.drops, drops);
        Ok(drops.wrapping_sub(before))
    }
}

/// Makes room for what is received, as far as we may.
pub(super) fn enlarge(socket: &Socket, bytes: u32) {
    let (level, bytes) = (libc::SOL_SOCKET, i32::try_from(bytes).unwrap_or(i32::MAX));
    if sys::set_int(socket, level, libc::SO_RCVBUFFORCE, bytes).is_err() {
        let _ = sys::set_int(socket, level, libc::SO_RCVBUF, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reachd_core::wire::packet::{Body, Checksums, Packet};
    use std::net::{IpAddr, Ipv6Addr};

    #[test]
    fn the_header_is_rebuilt_from_what_was_told() {
        let facts = Facts {
            source: Some("fd00::2".parse().unwrap()),
            dest: Some(Ipv6Addr::LOCALHOST),
            hop_limit: Some(57),
            ..Facts::default()
        };
        let mut room = [0xff; HEADROOM + 20];
        room[HEADROOM + 12] = 0x50;
        let bytes = Kind::TcpV6.packet(&facts, &mut room).unwrap();
        let packet = Packet::parse(bytes, Checksums::Skip).unwrap();
        assert_eq!((packet.source, packet.ttl), ("fd00::2".parse::<IpAddr>().unwrap(), 57));
        assert_eq!(packet.dest, IpAddr::from(Ipv6Addr::LOCALHOST));
        assert!(matches!(packet.body, Body::Tcp(_)), "{packet:?}");
        assert!(Kind::TcpV6.packet(&Facts::default(), &mut room).is_none());
    }
}
