//! Numbers of TLS and the names that their specifications give them.

use std::fmt;

/// A protocol version, from the weakest to the strongest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// SSL 3.0 (RFC 6101), which RFC 7568 forbids.
    Ssl30,
    /// TLS 1.0 (RFC 2246), which RFC 8996 deprecates.
    Tls10,
    /// TLS 1.1 (RFC 4346), which RFC 8996 deprecates.
    Tls11,
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

/// A cipher suite by its number in the registry (RFC 5246 section 7.4.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CipherSuite(pub u16);

/// The level of an alert (RFC 5246 section 7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertLevel {
    /// The connection may go on.
    Warning,
    /// The connection ends at once.
    Fatal,
}

/// What an alert says (RFC 8446 section 6, RFC 5246 section 7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertDescription(pub u8);

impl Version {
    /// Gives the version of its number in a hello; `None` for any that is not in use.
    pub const fn from_wire(number: u16) -> Option<Self> {
        match number {
            0x0300 => Some(Self::Ssl30),
            0x0301 => Some(Self::Tls10),
            0x0302 => Some(Self::Tls11),
            0x0303 => Some(Self::Tls12),
            0x0304 => Some(Self::Tls13),
            _ => None,
        }
    }

    /// Gives the stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ssl30 => "SSL 3.0",
            Self::Tls10 => "TLS 1.0",
            Self::Tls11 => "TLS 1.1",
            Self::Tls12 => "TLS 1.2",
            Self::Tls13 => "TLS 1.3",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl CipherSuite {
    /// The suites that a hello of ours offers, the strongest first.
    pub const OFFERED: [(Self, &'static str); 27] = [
        (Self(0xc02c), "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
        (Self(0xc02b), "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
        (Self(0xc030), "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
        (Self(0xc02f), "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
        (Self(0xcca8), "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
        (Self(0x009f), "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384"),
        (Self(0x009e), "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256"),
        (Self(0xc024), "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384"),
        (Self(0xc023), "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256"),
        (Self(0xc028), "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384"),
        (Self(0xc027), "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256"),
        (Self(0x006b), "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256"),
        (Self(0x0067), "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256"),
        (Self(0xc00a), "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"),
        (Self(0xc009), "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"),
        (Self(0xc014), "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"),
        (Self(0xc013), "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
        (Self(0x0039), "TLS_DHE_RSA_WITH_AES_256_CBC_SHA"),
        (Self(0x0033), "TLS_DHE_RSA_WITH_AES_128_CBC_SHA"),
        (Self(0x009d), "TLS_RSA_WITH_AES_256_GCM_SHA384"),
        (Self(0x009c), "TLS_RSA_WITH_AES_128_GCM_SHA256"),
        (Self(0x003d), "TLS_RSA_WITH_AES_256_CBC_SHA256"),
        (Self(0x003c), "TLS_RSA_WITH_AES_128_CBC_SHA256"),
        (Self(0x0035), "TLS_RSA_WITH_AES_256_CBC_SHA"),
        (Self(0x002f), "TLS_RSA_WITH_AES_128_CBC_SHA"),
        (Self(0x000a), "TLS_RSA_WITH_3DES_EDE_CBC_SHA"),
        (Self(0x0005), "TLS_RSA_WITH_RC4_128_SHA"),
    ];

    /// Gives the name in the registry of a suite that is offered, `None` for any other.
    pub fn name(self) -> Option<&'static str> {
        Self::OFFERED.into_iter().find(|(suite, _)| *suite == self).map(|(_, name)| name)
    }
}

impl fmt::Display for CipherSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "cipher suite {:#06x}", self.0),
        }
    }
}

impl AlertLevel {
    /// Gives the name that the specification has for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Fatal => "fatal",
        }
    }
}

impl AlertDescription {
    /// The sender will send nothing more.
    pub const CLOSE_NOTIFY: Self = Self(0);
    /// Nothing that the client offers is acceptable.
    pub const HANDSHAKE_FAILURE: Self = Self(40);
    /// The client offers nothing that is strong enough.
    pub const INSUFFICIENT_SECURITY: Self = Self(71);
    /// The server itself failed: what one with a broken key says.
    pub const INTERNAL_ERROR: Self = Self(80);
    /// The client's version is refused.
    pub const PROTOCOL_VERSION: Self = Self(70);

    /// Whether it may be about nothing but what we offer, and so says nothing of the server.
    pub const fn is_about_the_offer(self) -> bool {
        // 47 is illegal_parameter, 109 missing_extension (RFC 8446 section 6.2).
        matches!(
            self,
            Self::HANDSHAKE_FAILURE
                | Self::PROTOCOL_VERSION
                | Self::INSUFFICIENT_SECURITY
                | Self(47 | 109)
        )
    }

    /// Gives the name that the specification has for it, `None` where it has none.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0 => "close_notify",
            10 => "unexpected_message",
            20 => "bad_record_mac",
            21 => "decryption_failed",
            22 => "record_overflow",
            30 => "decompression_failure",
            40 => "handshake_failure",
            41 => "no_certificate",
            42 => "bad_certificate",
            43 => "unsupported_certificate",
            44 => "certificate_revoked",
            45 => "certificate_expired",
            46 => "certificate_unknown",
            47 => "illegal_parameter",
            48 => "unknown_ca",
            49 => "access_denied",
            50 => "decode_error",
            51 => "decrypt_error",
            60 => "export_restriction",
            70 => "protocol_version",
            71 => "insufficient_security",
            80 => "internal_error",
            86 => "inappropriate_fallback",
            90 => "user_canceled",
            100 => "no_renegotiation",
            109 => "missing_extension",
            110 => "unsupported_extension",
            111 => "certificate_unobtainable",
            112 => "unrecognized_name",
            113 => "bad_certificate_status_response",
            114 => "bad_certificate_hash_value",
            115 => "unknown_psk_identity",
            116 => "certificate_required",
            120 => "no_application_protocol",
            _ => return None,
        })
    }
}

impl fmt::Display for AlertDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "alert {}", self.0),
        }
    }
}
