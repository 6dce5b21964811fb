//! The Internet checksum (RFC 1071) and the pseudo headers that go into it.

use super::PROTOCOL_ICMP;
use std::net::IpAddr;

/// Adds bytes to a running sum, which starts at 0.
///
/// The sum cannot overflow before 2^48 words. Every piece but the last must have an even
/// length: an odd one is padded with a zero byte (RFC 1071 section 1).
pub fn sum(running: u64, bytes: &[u8]) -> u64 {
    let (words, odd) = bytes.as_chunks::<2>();
    let words: u64 = words.iter().map(|word| u64::from(u16::from_be_bytes(*word))).sum();
    let odd = odd.first().map_or(0, |&byte| u64::from(byte) << 8);
    running.wrapping_add(words).wrapping_add(odd)
}

/// Folds a running sum into the checksum: the complement of its one's complement sum.
///
/// Over bytes that contain their own checksum the result is 0 exactly when it holds.
pub fn fold(mut running: u64) -> u16 {
    while running > 0xffff {
        running = (running & 0xffff) + (running >> 16);
    }
    !(running as u16)
}

/// Gives the checksum of bytes, as IPv4 headers and ICMPv4 messages carry it.
pub fn internet(bytes: &[u8]) -> u16 {
    fold(sum(0, bytes))
}

/// Gives the running sum of a pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1).
///
/// Both layouts add up to the same number; `length` is that of the transport message in bytes.
pub fn pseudo_header(source: IpAddr, dest: IpAddr, protocol: u8, length: usize) -> u64 {
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    let addresses = [source, dest].into_iter().fold(0, |running, address| match address {
        IpAddr::V4(address) => sum(running, &address.octets()),
        IpAddr::V6(address) => sum(running, &address.octets()),
    });
    sum(sum(addresses, &length), &[0, protocol])
}

/// Gives the checksum of a transport message; ICMPv4 alone has no pseudo header.
pub fn transport(source: IpAddr, dest: IpAddr, protocol: u8, message: &[u8]) -> u16 {
    let seed = match protocol {
        PROTOCOL_ICMP => 0,
        _ => pseudo_header(source, dest, protocol, message.len()),
    };
    fold(sum(seed, message))
}

#[cfg(test)]
mod tests;
