//! The few packets the bench makes and reads itself.

use std::net::Ipv4Addr;

/// An echo request without an IP header: type, code, checksum, identifier, number, payload.
pub(crate) fn echo(identifier: u16, number: u16) -> [u8; ECHO_LENGTH] {
    let mut packet = [PAYLOAD; ECHO_LENGTH];
    packet[..4].copy_from_slice(&[ECHO_REQUEST, 0, 0, 0]);
    packet[4..6].copy_from_slice(&identifier.to_be_bytes());
    packet[6..8].copy_from_slice(&number.to_be_bytes());
    let sum = checksum(&packet);
    packet[2..4].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// An echo request with its IP header.
pub(crate) fn ip_echo(source: Ipv4Addr, target: Ipv4Addr, identifier: u16) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 1, 0, 0];
    packet.extend_from_slice(&source.octets());
    packet.extend_from_slice(&target.octets());
    let length = u16::try_from(IP_LENGTH + ECHO_LENGTH).unwrap_or_default();
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend_from_slice(&echo(identifier, 0));
    packet
}

/// Puts another target into a packet made by [`ip_echo`], and mends the checksum.
pub(crate) fn retarget(ip: &mut [u8], target: Ipv4Addr) {
    ip[16..20].copy_from_slice(&target.octets());
    ip[10..12].fill(0);
    let sum = checksum(&ip[..IP_LENGTH]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// Puts an Ethernet header before a packet.
pub(crate) fn ethernet(to: [u8; 6], from: [u8; 6], ip: &[u8]) -> Vec<u8> {
    [&to[..], &from[..], &[8, 0], ip].concat()
}

/// An echo seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A request, to this target.
    Request(Ipv4Addr),
    /// A reply, from this target.
    Reply(Ipv4Addr),
}

/// Reads an IPv4 packet, if it is an echo.
pub(crate) fn read(ip: &[u8]) -> Option<Seen> {
    let [0x40..=0x4f, ..] = *ip else { return None };
    let header = usize::from(ip[0] & 0xf) * 4;
    let is_icmp = *ip.get(9)? == 1;
    let address = |at: usize| {
        let octets: [u8; 4] = ip.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(octets))
    };
    match ip.get(header) {
        Some(&ECHO_REQUEST) if is_icmp => address(16).map(Seen::Request),
        Some(&ECHO_REPLY) if is_icmp => address(12).map(Seen::Reply),
        Some(_) | None => None,
    }
}

/// Turns a request into its reply: swaps the addresses and corrects the ICMP checksum.
pub(crate) fn answer(ip: &mut [u8]) {
    let header = usize::from(ip[0] & 0xf) * 4;
    for at in 12..16 {
        ip.swap(at, at + 4);
    }
    ip[header] = ECHO_REPLY;
    ip[header + 2..header + 4].fill(0);
    let sum = checksum(&ip[header..]);
    ip[header + 2..header + 4].copy_from_slice(&sum.to_be_bytes());
}

/// The Internet checksum, RFC 1071.
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| {
        u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or_default()]))
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Eight bytes of header and 16 of payload, which is what fping is told to send.
pub(crate) const ECHO_LENGTH: usize = 24;

/// An IPv4 header without options.
pub(crate) const IP_LENGTH: usize = 20;

const PAYLOAD: u8 = 0x72;
const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::{IP_LENGTH, Seen, answer, checksum, ip_echo, read, retarget};

    #[test]
    fn request_and_reply_are_read_back_with_right_checksums() {
        let (source, first) = (Ipv4Addr::new(10, 9, 0, 1), Ipv4Addr::new(10, 64, 0, 1));
        let mut packet = ip_echo(source, first, 7);
        assert_eq!(read(&packet), Some(Seen::Request(first)));
        let second = Ipv4Addr::new(10, 127, 255, 254);
        retarget(&mut packet, second);
        assert_eq!(read(&packet), Some(Seen::Request(second)));
        assert_eq!((checksum(&packet[..IP_LENGTH]), checksum(&packet[IP_LENGTH..])), (0, 0));
        answer(&mut packet);
        assert_eq!(read(&packet), Some(Seen::Reply(second)));
        assert_eq!((checksum(&packet[..IP_LENGTH]), checksum(&packet[IP_LENGTH..])), (0, 0));
    }

    #[test]
    fn other_packets_are_no_echo() {
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[0x60; 40]), None);
        assert_eq!(read(&[0x45; 10]), None);
    }
}
