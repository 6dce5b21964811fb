//! Where a notification may go: the guard against requests forged through us (SSRF).
//!
//! Link-local addresses, the metadata services of clouds, multicast and addresses that mean "this
//! host" are refused always, whatever form they are written in. Private networks and loopback are
//! where many receivers live: the owner's own plan (file, command line, files it names) may name
//! them; a URL from anywhere else may not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Who wrote a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The owner's plan.
    Plan,
    /// Anybody else: a redirect, an API, a template.
    Elsewhere,
}

/// Why an address or a host is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Only this link has it: cloud metadata, and neighbours without a zone.
    #[error("it is link-local, where clouds keep their metadata")]
    LinkLocal,
    /// A metadata service outside of the link-local networks.
    #[error("it is a cloud's metadata service")]
    Metadata,
    /// It is no single host's.
    #[error("it is no address of one host")]
    NoHost,
    /// It is private or our own, and nobody in the plan said so.
    #[error("it is private, and not named in the plan")]
    Private,
    /// A number in a form that readers and resolvers understand differently.
    #[error("it is a number that is no plain IP address")]
    Disguised,
}

/// Metadata services that have an address of another network: Alibaba Cloud, Oracle Cloud (both in
/// their manuals), Azure's platform address.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(168, 63, 129, 16),
];

/// Amazon's and Google's metadata services over IPv6.
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

/// Names of metadata services; a proxy would resolve them where we cannot see it.
const METADATA_NAMES: [&str; 5] = [
    "metadata.google.internal",
    "metadata.goog",
    "metadata",
    "instance-data",
    "instance-data.ec2.internal",
];

/// Whether a notification may go to an address.
pub fn address(address: IpAddr, origin: Origin) -> Result<(), Refusal> {
    let (worst, private) = match address {
        IpAddr::V4(v4) => four(v4),
        IpAddr::V6(v6) => six(v6),
    };
    match (worst, private, origin) {
        (Some(refusal), _, _) => Err(refusal),
        (None, true, Origin::Elsewhere) => Err(Refusal::Private),
        (None, _, _) => Ok(()),
    }
}

/// Whether a host as written in a URL may be asked for at all. A name that passes is resolved, and
/// each of its addresses looked at.
pub fn host(host: &str, origin: Origin) -> Result<(), Refusal> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(literal) = bare.parse() {
        return address(literal, origin);
    }
    let name = bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase();
    if METADATA_NAMES.contains(&name.as_str()) {
        return Err(Refusal::Metadata);
    }
    // `inet_aton` takes 0x7f.1, 0177.0.0.1 and 2130706433 for addresses. No name of the DNS ends in
    // a part that is a number (RFC 3696 2).
    let last = name.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x").unwrap_or("-");
    let number = |text: &str, radix: u32| text.chars().all(|letter| letter.is_digit(radix));
    if number(last, 10) || number(hexadecimal, 16) || bare.contains(['%', ':']) {
        return Err(Refusal::Disguised);
    }
    let own = name == "localhost" || name.ends_with(".localhost");
    if own && origin == Origin::Elsewhere {
        return Err(Refusal::Private);
    }
    Ok(())
}

/// Why an IPv4 address is refused always, and whether it is private.
fn four(address: Ipv4Addr) -> (Option<Refusal>, bool) {
    let [a, b, c, _] = address.octets();
    let refusal = if METADATA_V4.contains(&address) {
        Some(Refusal::Metadata)
    } else if address.is_link_local() {
        Some(Refusal::LinkLocal)
    } else if a == 0 || address.is_multicast() || address.is_broadcast() {
        Some(Refusal::NoHost)
    } else {
        None
    };
    // RFC 6890: shared, protocol assignments, benchmarking, reserved.
    let special = (a == 100 && b & 0xc0 == 64)
        || (a, b, c) == (192, 0, 0)
        || (a == 198 && b & 0xfe == 18)
        || a >= 240;
    (refusal, address.is_private() || address.is_loopback() || special)
}

fn six(address: Ipv6Addr) -> (Option<Refusal>, bool) {
    if METADATA_V6.contains(&address) {
        return (Some(Refusal::Metadata), true);
    }
    if address.is_loopback() {
        return (None, true);
    }
    if address.is_unspecified() || address.is_multicast() {
        return (Some(Refusal::NoHost), false);
    }
    if address.is_unicast_link_local() {
        return (Some(Refusal::LinkLocal), true);
    }
    if let Some(inner) = embedded(address) {
        return four(inner);
    }
    // Unique local (RFC 4193) and the site-local that came before it.
    let first = address.segments().first().copied().unwrap_or(0);
    (None, first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfec0)
}

/// The IPv4 address that an IPv6 one stands for, if it does.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match [a, b, c, d, e, f] {
        // IPv4-mapped, IPv4-translated (RFC 2765) and IPv4-compatible.
        [0, 0, 0, 0, 0, 0xffff | 0] | [0, 0, 0, 0, 0xffff, 0] => Some(join(g, h)),
        // NAT64: the well-known prefix and the local one of RFC 8215, as a /96.
        [0x64, 0xff9b, 0, 0, 0, 0] | [0x64, 0xff9b, 1, ..] => Some(join(g, h)),
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => Some(join(high, low)),
        // Teredo keeps the client's address inverted (RFC 4380 4).
        [0x2001, 0, ..] => Some(join(!g, !h)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
