//! The first two messages of NTLM: what names the server, its build and its clock (MS-NLMP).
//!
//! Only NEGOTIATE is ever built. No AUTHENTICATE follows, so nothing counts as a logon attempt,
//! and of the CHALLENGE the challenge itself is not kept.

use super::ParseError;
use super::reader::Reader;
use super::text::{printable, utf16};
use std::{fmt, time::Duration};

/// A NEGOTIATE message (MS-NLMP section 2.2.1.1) that names neither domain nor workstation.
pub const NEGOTIATE: [u8; 40] = {
    let [a, b, c, d] = NegotiateFlags::ASKED.0.to_le_bytes();
    [
        b'N', b'T', b'L', b'M', b'S', b'S', b'P', 0, // Signature
        1, 0, 0, 0, // MessageType
        a, b, c, d, // NegotiateFlags
        0, 0, 0, 0, 0, 0, 0, 0, // DomainNameFields
        0, 0, 0, 0, 0, 0, 0, 0, // WorkstationFields
        10, 0, 0x63, 0x45, 0, 0, 0, 15, // Version: 10.0.17763, revision 15
    ]
};

/// What starts every NTLM message.
const SIGNATURE: [u8; 8] = *b"NTLMSSP\0";
const CHALLENGE: u32 = 2;

/// The identifiers of AV pairs that are read (MS-NLMP section 2.2.2.1).
const AV_EOL: u16 = 0;
const AV_NB_COMPUTER_NAME: u16 = 1;
const AV_NB_DOMAIN_NAME: u16 = 2;
const AV_DNS_COMPUTER_NAME: u16 = 3;
const AV_DNS_DOMAIN_NAME: u16 = 4;
const AV_DNS_TREE_NAME: u16 = 5;
const AV_TIMESTAMP: u16 = 7;

/// MS-DTYP section 2.3.3: a FILETIME counts steps of 100 ns since 1601.
const FILETIME_PER_SECOND: u64 = 10_000_000;
const FILETIME_OF_UNIX_EPOCH: u64 = 11_644_473_600 * FILETIME_PER_SECOND;

/// Flags of a message (MS-NLMP section 2.2.2.5), of which few are named here.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct NegotiateFlags(pub u32);

/// What a CHALLENGE message says of its server (MS-NLMP section 2.2.1.2).
///
/// Names are printable and at most 257 characters long; `None` is a name that was not given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Challenge {
    /// `TargetName`: the domain, or the computer when it is in none.
    pub target_name: Option<String>,
    /// `NegotiateFlags`.
    pub negotiate_flags: NegotiateFlags,
    /// `Version`, which is there with [`NegotiateFlags::VERSION`].
    pub version: Option<Version>,
    /// `MsvAvNbComputerName`: the computer's NetBIOS name.
    pub netbios_computer_name: Option<String>,
    /// `MsvAvNbDomainName`: the domain's NetBIOS name, or the computer's when it is in none.
    pub netbios_domain_name: Option<String>,
    /// `MsvAvDnsComputerName`: the computer's full name in the DNS.
    pub dns_computer_name: Option<String>,
    /// `MsvAvDnsDomainName`: the domain's full name in the DNS.
    pub dns_domain_name: Option<String>,
    /// `MsvAvDnsTreeName`: the forest's full name in the DNS.
    pub dns_tree_name: Option<String>,
    /// `MsvAvTimestamp`: the server's clock, since the Unix epoch; `None` before it.
    pub timestamp: Option<Duration>,
}

/// The version of a server's operating system (MS-NLMP section 2.2.2.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// `ProductMajorVersion`.
    pub major: u8,
    /// `ProductMinorVersion`.
    pub minor: u8,
    /// `ProductBuild`.
    pub build: u16,
}

/// Reads a CHALLENGE message.
pub fn parse_challenge(message: &[u8]) -> Result<Challenge, ParseError> {
    let mut reader = Reader::new(message);
    if reader.array()? != SIGNATURE || u32::from_le_bytes(reader.array()?) != CHALLENGE {
        return Err(ParseError::Unsupported);
    }
    let target_name = payload(message, reader.array()?)?;
    let negotiate_flags = NegotiateFlags(u32::from_le_bytes(reader.array()?));
    let _server_challenge_and_reserved: [u8; 16] = reader.array()?;
    let mut challenge = Challenge {
        target_name: target_name_text(target_name, negotiate_flags),
        negotiate_flags,
        ..Challenge::default()
    };
    if negotiate_flags.contains(NegotiateFlags::TARGET_INFO) {
        challenge.read_target_info(payload(message, reader.array()?)?)?;
    } else if negotiate_flags.contains(NegotiateFlags::VERSION) {
        let _target_info_fields: [u8; 8] = reader.array()?;
    }
    if negotiate_flags.contains(NegotiateFlags::VERSION) {
        let [major, minor, low, high] = reader.array()?;
        challenge.version = Some(Version { major, minor, build: u16::from_le_bytes([low, high]) });
    }
    Ok(challenge)
}

impl Challenge {
    /// Reads the list of AV pairs, which ends with one that says so; the first of a kind counts.
    fn read_target_info(&mut self, target_info: &[u8]) -> Result<(), ParseError> {
        let mut reader = Reader::new(target_info);
        loop {
            let id = u16::from_le_bytes(reader.array()?);
            let len = u16::from_le_bytes(reader.array()?);
            let value = reader.take(usize::from(len))?;
            let name = match id {
                AV_EOL => return Ok(()),
                AV_NB_COMPUTER_NAME => &mut self.netbios_computer_name,
                AV_NB_DOMAIN_NAME => &mut self.netbios_domain_name,
                AV_DNS_COMPUTER_NAME => &mut self.dns_computer_name,
                AV_DNS_DOMAIN_NAME => &mut self.dns_domain_name,
                AV_DNS_TREE_NAME => &mut self.dns_tree_name,
                AV_TIMESTAMP => {
                    let filetime = value.try_into().map_err(|_| ParseError::BadLength)?;
                    self.timestamp = self.timestamp.or(since_unix_epoch(filetime));
                    continue;
                }
                _ => continue,
            };
            if name.is_none() {
                *name = unicode(value);
            }
        }
    }
}

impl NegotiateFlags {
    /// `NTLMSSP_NEGOTIATE_UNICODE`: texts are UTF-16LE.
    pub const UNICODE: Self = Self(0x0000_0001);
    /// `NTLMSSP_REQUEST_TARGET`: the server is to say its target name.
    pub const REQUEST_TARGET: Self = Self(0x0000_0004);
    /// `NTLMSSP_TARGET_TYPE_DOMAIN`: the target name is a domain's.
    pub const TARGET_TYPE_DOMAIN: Self = Self(0x0001_0000);
    /// `NTLMSSP_TARGET_TYPE_SERVER`: the target name is a computer's.
    pub const TARGET_TYPE_SERVER: Self = Self(0x0002_0000);
    /// `NTLMSSP_NEGOTIATE_TARGET_INFO`: there are AV pairs.
    pub const TARGET_INFO: Self = Self(0x0080_0000);
    /// `NTLMSSP_NEGOTIATE_VERSION`: there is a version.
    pub const VERSION: Self = Self(0x0200_0000);
    /// What clients that mean to go on ask for: beside the above, `SIGN`, `SEAL`, `NTLM`,
    /// `ALWAYS_SIGN`, `EXTENDED_SESSIONSECURITY`, `128`, `KEY_EXCH` and `56`.
    const ASKED: Self =
        Self(Self::UNICODE.0 | Self::REQUEST_TARGET.0 | Self::VERSION.0 | 0xe008_8230);

    /// Whether all these flags are set.
    pub const fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }
}

impl fmt::Debug for NegotiateFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NegotiateFlags({:#010x})", self.0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.build)
    }
}

/// Gives what a field of length, maximum length and offset points to in its message.
fn payload(message: &[u8], fields: [u8; 8]) -> Result<&[u8], ParseError> {
    let mut reader = Reader::new(&fields);
    let len = usize::from(u16::from_le_bytes(reader.array()?));
    let _maximum: [u8; 2] = reader.array()?;
    let offset = u32::from_le_bytes(reader.array()?);
    if len == 0 {
        return Ok(&[]);
    }
    let offset = usize::try_from(offset).map_err(|_| ParseError::BadLength)?;
    let payload = message.get(offset..).and_then(|from| from.get(..len));
    payload.ok_or(ParseError::BadLength)
}

/// Reads the target name, which is in the sender's code page unless it is UTF-16LE.
fn target_name_text(name: &[u8], flags: NegotiateFlags) -> Option<String> {
    if flags.contains(NegotiateFlags::UNICODE) {
        unicode(name)
    } else {
        (!name.is_empty()).then(|| printable(String::from_utf8_lossy(name).chars()))
    }
}

/// Reads a name in UTF-16LE; an odd last byte is dropped.
fn unicode(name: &[u8]) -> Option<String> {
    let (units, _odd) = name.as_chunks();
    let units = units.iter().map(|unit| u16::from_le_bytes(*unit));
    (!name.is_empty()).then(|| printable(utf16(units)))
}

/// Converts a FILETIME; `None` for what lies before the Unix epoch.
fn since_unix_epoch(filetime: [u8; 8]) -> Option<Duration> {
    let steps = u64::from_le_bytes(filetime).checked_sub(FILETIME_OF_UNIX_EPOCH)?;
    let nanoseconds = (steps % FILETIME_PER_SECOND) * 100;
    Some(Duration::new(steps / FILETIME_PER_SECOND, u32::try_from(nanoseconds).ok()?))
}

#[cfg(test)]
mod tests;
