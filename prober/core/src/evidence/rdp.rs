//! What an RDP server shows before anybody logs in: one look, stage by stage, without a password.
//!
//! A look makes a few connections, one after another, and none goes past the challenge of NTLM:
//! no AUTHENTICATE, no MCS. Every text in here comes from the peer and is printable and bounded.

use std::time::Duration;

use super::{ConnectResult, LocalError};
use crate::time::Instant;
use crate::wire::certificate::{Certificate, CertificateError};
use crate::wire::ntlm::Challenge;
use crate::wire::tls::{Alert, CipherSuite, Version};
use crate::wire::x224::{FailureCode, Protocols, Selection};
use crate::wording::Wording;

/// How far a look goes; each depth includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum RdpDepth {
    /// No look is made; the full connect still sends its one connection request.
    Off,
    /// The answers to connection requests that offer 0, 1, 3 and 11.
    X224,
    /// The certificate and the version of TLS besides.
    #[default]
    Tls,
    /// The challenge of NTLM besides: names, build and clock.
    Ntlm,
}

/// One stage of a connection, in the order in which they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RdpStage {
    /// The handshake of TCP.
    Connect,
    /// From the connection request to its answer.
    X224,
    /// From ClientHello to the certificate, or to the end of the handshake where one is completed.
    Tls,
    /// From the NEGOTIATE message to the CHALLENGE.
    Ntlm,
}

/// What one look showed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RdpLook {
    /// What was answered to each connection request, in the order in which they were asked.
    pub answers: Vec<RdpAnswer>,
    /// What came of TLS; `None` where it was not asked or the server selected nothing that uses it.
    pub tls: Option<TlsOutcome>,
    /// What came of NTLM; `None` where it was not asked or TLS did not come so far.
    pub ntlm: Option<NtlmOutcome>,
    /// How long each stage took, of the first connection on which it succeeded.
    pub times: Vec<(RdpStage, Duration)>,
    /// Time since the Unix epoch by our own clock when it last heard something.
    pub wall: Option<Duration>,
    /// Connections made, those that failed included.
    pub connections: u32,
    /// How those ended that were not accepted.
    pub unaccepted: Vec<ConnectResult>,
}

/// A look that was made, and when it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RdpSeen {
    /// What it showed.
    pub look: RdpLook,
    /// When it ended.
    pub at: Instant,
    /// The fingerprint of the certificate that was shown before, where another is shown now.
    pub replaced: Option<String>,
}

/// What a server answered to a connection request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RdpAnswer {
    /// What was offered.
    pub offered: Protocols,
    /// What came.
    pub outcome: X224Outcome,
}

/// How the X.224 stage ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum X224Outcome {
    /// The server selected a security protocol.
    Selected {
        /// The protocol as it travels.
        protocol: u32,
        /// The flags of the response.
        flags: u8,
        /// Whether it was offered.
        selection: Selection,
    },
    /// A confirm without a negotiation block: an ancient server, or a peer that knows only X.224.
    Plain,
    /// The server refuses what was offered.
    Failure(FailureCode),
    /// Something else speaks.
    Foreign(Wording),
    /// TPKT, but no answer to a connection request.
    Malformed,
    /// Nothing that could be read.
    Failed(StageFailure),
}

/// How the TLS stage ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsOutcome {
    /// The server showed a certificate.
    Shown(Box<TlsShown>),
    /// The server ended the handshake with an alert.
    Alert(Alert),
    /// Something else speaks.
    Foreign(Wording),
    /// TLS, but no answer to our hello.
    Malformed,
    /// More than is ever read of a first flight.
    TooLarge,
    /// Nothing that could be read.
    Failed(StageFailure),
}

/// What a server shows of itself in TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsShown {
    /// The version of the connection.
    pub version: Version,
    /// Its suite.
    pub cipher_suite: CipherSuite,
    /// The server's own certificate, or why it could not be read.
    pub certificate: Result<Certificate, CertificateError>,
    /// SHA-256 over the certificate as it came, in hexadecimal.
    pub fingerprint_sha256: String,
}

/// How the NTLM stage ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NtlmOutcome {
    /// The server challenged.
    Challenged {
        /// What it says of itself.
        challenge: Box<Challenge>,
        /// Its clock minus ours in nanoseconds, corrected by half the stage's round trip; `None`
        /// where it told no time.
        skew_nanos: Option<i128>,
    },
    /// The server answered with an NTSTATUS.
    Error(u32),
    /// No version or suite of TLS is shared with the library that this stage needs.
    UnsupportedTls,
    /// An answer that is no challenge.
    Malformed,
    /// Nothing that could be read.
    Failed(StageFailure),
}

/// Why a stage ended with nothing to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StageFailure {
    /// There was no connection.
    NotConnected(ConnectResult),
    /// Nothing, or nothing whole, came in time.
    TimedOut {
        /// Whether anything came.
        heard: bool,
    },
    /// The peer closed the connection.
    Closed,
    /// The peer reset the connection.
    Reset,
    /// Our own side failed.
    Local(LocalError),
}

/// The setting of a server's security layer, as far as its answers tell (MS-RDPBCGR 5.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecurityLayer {
    /// Standard RDP security and nothing else.
    Rdp,
    /// TLS is required.
    Tls,
    /// Both are taken.
    Negotiate,
}

/// Whether Network Level Authentication is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Nla {
    /// Nobody gets a session without it.
    Required,
    /// It is on offer, and so are weaker ways.
    Optional,
    /// It is not on offer.
    Off,
}

impl RdpDepth {
    /// The word used in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::X224 => "x224",
            Self::Tls => "tls",
            Self::Ntlm => "ntlm",
        }
    }
}

impl RdpStage {
    /// All of them, in the order in which they come.
    pub const ALL: [Self; 4] = [Self::Connect, Self::X224, Self::Tls, Self::Ntlm];

    /// The label exported in metrics and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::X224 => "x224",
            Self::Tls => "tls",
            Self::Ntlm => "ntlm",
        }
    }
}

impl SecurityLayer {
    /// The label exported in metrics and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rdp => "rdp",
            Self::Tls => "tls",
            Self::Negotiate => "negotiate",
        }
    }
}

impl Nla {
    /// The label exported in metrics and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Optional => "optional",
            Self::Off => "off",
        }
    }
}

impl NtlmOutcome {
    /// The server's clock minus ours in seconds, if it told its time.
    pub fn skew_seconds(&self) -> Option<f64> {
        let Self::Challenged { skew_nanos, .. } = self else { return None };
        let millis = i32::try_from(skew_nanos.as_ref()? / 1_000_000).ok()?;
        Some(f64::from(millis) / 1_000.0)
    }
}

impl RdpLook {
    /// What was answered to these protocols.
    pub fn answer_to(&self, offered: Protocols) -> Option<&X224Outcome> {
        self.answers.iter().find(|answer| answer.offered == offered).map(|answer| &answer.outcome)
    }

    /// How long a stage took, if it succeeded.
    pub fn time_of(&self, stage: RdpStage) -> Option<Duration> {
        self.times.iter().find(|(of, _)| *of == stage).map(|(_, time)| *time)
    }

    /// What the server shows in TLS, if it came so far.
    pub fn shown(&self) -> Option<&TlsShown> {
        match &self.tls {
            Some(TlsOutcome::Shown(shown)) => Some(shown),
            _ => None,
        }
    }

    /// The security layer and NLA as the answers to 0, 1, 3 and 11 tell them; each is `None` where
    /// they do not.
    ///
    /// A server that selects standard RDP security whatever is offered is told as that layer, for
    /// from outside it is; an xrdp without a certificate does the same.
    pub fn security(&self) -> (Option<SecurityLayer>, Option<Nla>) {
        let said = |offered| self.answer_to(offered);
        let takes = |offered, bits: u32| match said(offered) {
            Some(X224Outcome::Selected { protocol, .. }) => {
                protocol & bits != 0 || *protocol == bits
            }
            // A server that does not negotiate knows nothing else.
            Some(X224Outcome::Plain) => bits == 0,
            _ => false,
        };
        let both = Protocols::SSL.with(Protocols::HYBRID);
        let early = both.with(Protocols::HYBRID_EX);
        let credssp = Protocols::HYBRID.bits() | Protocols::HYBRID_EX.bits();
        let plain = takes(Protocols::RDP, 0);
        let tls = takes(Protocols::SSL, Protocols::SSL.bits());
        let hybrid = takes(both, credssp) || takes(early, credssp);
        let layer = match (plain, tls || hybrid) {
            (true, true) => Some(SecurityLayer::Negotiate),
            (true, false) => Some(SecurityLayer::Rdp),
            (false, true) => Some(SecurityLayer::Tls),
            (false, false) => None,
        };
        let nla = match (hybrid, plain || tls) {
            (true, true) => Some(Nla::Optional),
            (true, false) => Some(Nla::Required),
            (false, true) => Some(Nla::Off),
            (false, false) => None,
        };
        (layer, nla)
    }
}

#[cfg(test)]
mod tests;
