//! The first exchange of RDP: an X.224 connection request in a TPKT frame and its answer.
//!
//! RFC 1006 section 6 has the frame, MS-RDPBCGR sections 2.2.1.1 and 2.2.1.2 the negotiation.
//! The frame is big-endian, the negotiation block little-endian.

use super::ParseError;
pub use super::banner::ForeignHint;
use super::banner::hint;
use super::reader::Reader;
use std::fmt;

/// A connection request that offers SSL and HYBRID (CredSSP): servers that want one of them
/// may refuse a request for the other alone.
pub const CONNECTION_REQUEST: [u8; 19] = connection_request(Protocols::SSL.with(Protocols::HYBRID));

const TPKT_VERSION: u8 = 3;
const TPKT_LEN_MIN: usize = 7;
const TPKT_LEN_MAX: usize = 512;
/// What the X.224 length does not count: the TPKT header and itself.
const BEFORE_X224: usize = 5;
const CONNECTION_CONFIRM: u8 = 0xd0;
const NEGOTIATION_RESPONSE: u8 = 2;
const NEGOTIATION_FAILURE: u8 = 3;
const NEGOTIATION_LEN: u16 = 8;

/// What a peer that should speak RDP has answered so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The peer takes the connection.
    Confirm {
        /// The security protocol chosen; `None` from a server that does not negotiate.
        selected: Option<u32>,
        /// Flags of the negotiation response, none without one.
        flags: ResponseFlags,
    },
    /// The peer refuses the protocols offered.
    Failure {
        /// Why.
        code: FailureCode,
    },
    /// The answer is not whole yet.
    NeedMore,
    /// The peer does not speak TPKT.
    Foreign {
        /// What it may speak instead.
        hint: ForeignHint,
    },
    /// The peer speaks TPKT, but this is no answer to a connection request.
    Malformed,
}

/// The security protocols of a negotiation request as bits (MS-RDPBCGR section 2.2.1.1.1).
///
/// A server selects exactly one of them (section 2.2.1.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocols(u32);

/// How the protocol that a server selected relates to the ones offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Selection {
    /// One of those offered; standard RDP security when nothing else was.
    Offered,
    /// Standard RDP security although more was offered: legal, and weaker than it could be.
    Downgrade,
    /// A protocol that was not offered, several at once, or none that is known.
    Violation,
}

/// What a server that negotiates can do besides (MS-RDPBCGR section 2.2.1.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct ResponseFlags(pub u8);

/// Why a server refuses the protocols offered (MS-RDPBCGR section 2.2.1.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureCode {
    /// The server takes nothing below TLS (code 1).
    SslRequiredByServer,
    /// The server is configured for standard RDP security only (code 2).
    SslNotAllowedByServer,
    /// The server has no certificate that it can use (code 3).
    SslCertNotOnServer,
    /// The requested protocols contradict each other (code 4).
    InconsistentFlags,
    /// The server takes nothing below CredSSP, that is Network Level Authentication (code 5).
    HybridRequiredByServer,
    /// The server wants TLS with a certificate of the client (code 6).
    SslWithUserAuthRequiredByServer,
    /// A code that the specification does not name.
    Unknown(u32),
}

/// Builds a connection request that offers these protocols, without cookie or routing token.
pub const fn connection_request(protocols: Protocols) -> [u8; 19] {
    let [a, b, c, d] = protocols.0.to_le_bytes();
    [
        3, 0, 0, 19, // TPKT: version, reserved, length
        14, 0xe0, 0, 0, 0, 0, 0, // X.224: length, connection request, references, class
        1, 0, 8, 0, a, b, c, d, // negotiation request: type, flags, length, protocols
    ]
}

/// Reads an answer from all bytes received so far; those behind its frame are ignored.
pub fn read_answer(bytes: &[u8]) -> Answer {
    match bytes {
        [] | [TPKT_VERSION] | [TPKT_VERSION, _] | [TPKT_VERSION, _, _] => Answer::NeedMore,
        &[TPKT_VERSION, _, high, low, ..] => {
            let len = usize::from(u16::from_be_bytes([high, low]));
            match bytes.get(..len) {
                _ if !(TPKT_LEN_MIN..=TPKT_LEN_MAX).contains(&len) => Answer::Malformed,
                Some(frame) => read_confirm(frame).unwrap_or(Answer::Malformed),
                None => Answer::NeedMore,
            }
        }
        [_, ..] => Answer::Foreign { hint: hint(bytes) },
    }
}

/// Reads a whole TPKT frame.
fn read_confirm(frame: &[u8]) -> Result<Answer, ParseError> {
    let mut reader = Reader::new(frame);
    let _tpkt: [u8; 4] = reader.array()?;
    let [length, code] = reader.array()?;
    let _references_and_class: [u8; 5] = reader.array()?;
    if usize::from(length) + BEFORE_X224 != frame.len() {
        return Err(ParseError::BadLength);
    }
    // X.224 section 13.4: the low half of the code is a credit, which class 0 leaves at 0.
    if code & 0xf0 != CONNECTION_CONFIRM {
        return Err(ParseError::Unsupported);
    }
    if reader.rest().is_empty() {
        return Ok(Answer::Confirm { selected: None, flags: ResponseFlags::default() });
    }
    let [kind, flags] = reader.array()?;
    let negotiation_len = u16::from_le_bytes(reader.array()?);
    let value = u32::from_le_bytes(reader.array()?);
    match (kind, negotiation_len) {
        (NEGOTIATION_RESPONSE, NEGOTIATION_LEN) => {
            Ok(Answer::Confirm { selected: Some(value), flags: ResponseFlags(flags) })
        }
        (NEGOTIATION_FAILURE, NEGOTIATION_LEN) => {
            Ok(Answer::Failure { code: FailureCode::from(value) })
        }
        _ => Err(ParseError::BadLength),
    }
}

impl Protocols {
    /// `PROTOCOL_RDP`: standard RDP security, which is no bit and always implied.
    pub const RDP: Self = Self(0);
    /// `PROTOCOL_SSL`: TLS.
    pub const SSL: Self = Self(1);
    /// `PROTOCOL_HYBRID`: CredSSP within TLS.
    pub const HYBRID: Self = Self(2);
    /// `PROTOCOL_RDSTLS`: the RDSTLS protocol within TLS.
    pub const RDSTLS: Self = Self(4);
    /// `PROTOCOL_HYBRID_EX`: CredSSP that ends with an early user authorization result.
    pub const HYBRID_EX: Self = Self(8);
    /// `PROTOCOL_RDSAAD`: authentication by a directory in the cloud, within TLS.
    pub const RDSAAD: Self = Self(0x10);

    /// Gives these protocols and others.
    pub const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Gives the bits of the request.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Compares the protocol that a server selected with these, which were offered to it.
    pub const fn allows(self, selected: u32) -> Selection {
        match selected {
            0 if self.0 == 0 => Selection::Offered,
            0 => Selection::Downgrade,
            _ if selected.is_power_of_two() && self.0 & selected != 0 => Selection::Offered,
            _ => Selection::Violation,
        }
    }
}

impl ResponseFlags {
    /// The flags with the names of the specification.
    pub const NAMES: [(u8, &'static str); 5] = [
        (0x01, "EXTENDED_CLIENT_DATA_SUPPORTED"),
        (0x02, "DYNVC_GFX_PROTOCOL_SUPPORTED"),
        (0x04, "NEGRSP_FLAG_RESERVED"),
        (0x08, "RESTRICTED_ADMIN_MODE_SUPPORTED"),
        (0x10, "REDIRECTED_AUTHENTICATION_MODE_SUPPORTED"),
    ];

    /// Gives the names of the flags that are set, from the lowest bit on.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(bit, _)| self.0 & bit != 0).map(|(_, name)| name)
    }
}

impl FailureCode {
    /// Gives the code as it travels.
    pub const fn code(self) -> u32 {
        match self {
            Self::SslRequiredByServer => 1,
            Self::SslNotAllowedByServer => 2,
            Self::SslCertNotOnServer => 3,
            Self::InconsistentFlags => 4,
            Self::HybridRequiredByServer => 5,
            Self::SslWithUserAuthRequiredByServer => 6,
            Self::Unknown(code) => code,
        }
    }

    /// Gives the name that the specification has for it, `UNKNOWN` where it has none.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SslRequiredByServer => "SSL_REQUIRED_BY_SERVER",
            Self::SslNotAllowedByServer => "SSL_NOT_ALLOWED_BY_SERVER",
            Self::SslCertNotOnServer => "SSL_CERT_NOT_ON_SERVER",
            Self::InconsistentFlags => "INCONSISTENT_FLAGS",
            Self::HybridRequiredByServer => "HYBRID_REQUIRED_BY_SERVER",
            Self::SslWithUserAuthRequiredByServer => "SSL_WITH_USER_AUTH_REQUIRED_BY_SERVER",
            Self::Unknown(_) => "UNKNOWN",
        }
    }
}

impl From<u32> for FailureCode {
    fn from(code: u32) -> Self {
        match code {
            1 => Self::SslRequiredByServer,
            2 => Self::SslNotAllowedByServer,
            3 => Self::SslCertNotOnServer,
            4 => Self::InconsistentFlags,
            5 => Self::HybridRequiredByServer,
            6 => Self::SslWithUserAuthRequiredByServer,
            code => Self::Unknown(code),
        }
    }
}

impl fmt::Display for FailureCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(code) => write!(f, "failure code {code:#x}"),
            named => f.pad(named.as_str()),
        }
    }
}

#[cfg(test)]
mod tests;
