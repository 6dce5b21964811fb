//! What an RDP server shows before anybody logs in: one look, stage by stage, without a password.
//!
//! A look makes a few connections, one after another, and none goes past the challenge of NTLM:
//! no AUTHENTICATE, no MCS. Every text in here comes from the peer and is printable and bounded.

use std::time::Duration;

use super::{ConnectResult, LocalError};
use crate::time::Instant;
use crate::wire::certificate::{Certificate, CertificateError};
use crate::wire::ntlm::Challenge;
use crate::wire::tls::{Alert, AlertDescription, CipherSuite, Version};
use crate::wire::x224::{FailureCode, Protocols, Selection};
use crate::wording::Wording;

/// A stage takes some round trips and some computing: longer than this, and than so many times the
/// first answer, it takes only on a host that is busy.
const SLOW: Duration = Duration::from_secs(2);
const TIMES_SLOWER: u32 = 8;

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
    /// Neither our hello nor a whole handshake of the prober's library shares a suite, a version or
    /// a type of key with the server, with the alert that said so, if one did: nothing is known of
    /// its certificate.
    Unshared(Option<AlertDescription>),
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
    /// Whether the server was asked for a challenge and issued none.
    pub const fn fails(&self) -> bool {
        match self {
            Self::Error(_) | Self::Malformed => true,
            Self::Failed(failure) => {
                !matches!(failure, StageFailure::NotConnected(_) | StageFailure::Local(_))
            }
            Self::Challenged { .. } | Self::UnsupportedTls => false,
        }
    }

    /// The server's clock minus ours in seconds, if it told its time.
    pub fn skew_seconds(&self) -> Option<f64> {
        let Self::Challenged { skew_nanos, .. } = self else { return None };
        let nanos = skew_nanos.as_ref()?;
        let millis = u64::try_from(nanos.unsigned_abs() / 1_000_000).ok()?;
        let seconds = Duration::from_millis(millis).as_secs_f64();
        Some(if *nanos < 0 { -seconds } else { seconds })
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

    /// A stage behind the first answer that took longer than whoever logs in bears, though that
    /// answer came quickly.
    pub fn slow_stage(&self) -> Option<(RdpStage, Duration)> {
        let first = self.time_of(RdpStage::X224)?;
        let stages = [RdpStage::Tls, RdpStage::Ntlm].into_iter();
        let mut times = stages.filter_map(|stage| Some((stage, self.time_of(stage)?)));
        times.find(|(_, time)| *time > SLOW && *time > first * TIMES_SLOWER)
    }

    /// How a connection of the look ended that was answered nothing, if one did.
    pub fn dead_connection(&self) -> Option<&StageFailure> {
        self.answers.iter().find_map(|answer| match &answer.outcome {
            X224Outcome::Failed(failure) => Some(failure),
            _ => None,
        })
    }

    /// Whether it shows nothing of the server: no connection request was answered.
    pub fn is_blank(&self) -> bool {
        self.answers.iter().all(|answer| matches!(answer.outcome, X224Outcome::Failed(_)))
    }

    /// What the server shows in TLS, if it came so far.
    pub fn shown(&self) -> Option<&TlsShown> {
        match &self.tls {
            Some(TlsOutcome::Shown(shown)) => Some(shown),
            _ => None,
        }
    }

    /// The security layer and NLA as the answers to 0, 1, 3 and 11 tell them; each is `None` where
    /// they do not: what was not asked or came to nothing is no refusal, and of a server that
    /// selects what was not offered nothing is believed.
    ///
    /// A server that selects standard RDP security whatever is offered is told as that layer, for
    /// from outside it is; an xrdp without a certificate does the same.
    pub fn security(&self) -> (Option<SecurityLayer>, Option<Nla>) {
        if self.answers.iter().any(|answer| answer.outcome.is_violation()) {
            return (None, None);
        }
        let [plain, tls, hybrid] = Way::ALL.map(|way| self.takes(way));
        let layer = match (plain, either(tls, hybrid)) {
            (Some(true), Some(true)) => Some(SecurityLayer::Negotiate),
            (Some(true), Some(false)) => Some(SecurityLayer::Rdp),
            (Some(false), Some(true)) => Some(SecurityLayer::Tls),
            (Some(false), Some(false)) | (None, _) | (_, None) => None,
        };
        let nla = match (hybrid, either(plain, tls)) {
            (Some(true), Some(true)) => Some(Nla::Optional),
            (Some(true), Some(false)) => Some(Nla::Required),
            (Some(false), Some(true)) => Some(Nla::Off),
            (Some(false), Some(false)) | (None, _) | (_, None) => None,
        };
        (layer, nla)
    }

    /// Whether the server takes this, as far as any answer tells.
    fn takes(&self, way: Way) -> Option<bool> {
        let told = self.answers.iter().map(|answer| answer.tells(way));
        told.fold(None, |known, told| match (known, told) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), _) | (_, Some(false)) => Some(false),
            (None, None) => None,
        })
    }
}

/// How a session may be secured, the weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Plain,
    Tls,
    Hybrid,
}

impl Way {
    const ALL: [Self; 3] = [Self::Plain, Self::Tls, Self::Hybrid];

    /// The one of a protocol that was selected, if it is one of them.
    const fn of(protocol: u32) -> Option<Self> {
        match protocol {
            0 => Some(Self::Plain),
            1 => Some(Self::Tls),
            2 | 8 => Some(Self::Hybrid),
            _ => None,
        }
    }

    /// Whether a request offers it.
    const fn is_in(self, offered: Protocols) -> bool {
        match self {
            Self::Plain => offered.bits() == 0,
            Self::Tls => offered.bits() & Protocols::SSL.bits() != 0,
            Self::Hybrid => offered.bits() & Protocols::HYBRID.bits() != 0,
        }
    }
}

impl RdpAnswer {
    /// Whether this answer says that the server takes it; `None` where it does not say.
    fn tells(&self, way: Way) -> Option<bool> {
        match &self.outcome {
            X224Outcome::Selected { protocol, .. } => match Way::of(*protocol)? {
                chosen if chosen == way => Some(true),
                // Of what is offered a server selects the strongest that it takes.
                chosen => (chosen < way && way.is_in(self.offered)).then_some(false),
            },
            // A server that does not negotiate knows nothing else.
            X224Outcome::Plain => Some(way == Way::Plain),
            X224Outcome::Failure(code) => match (code, way) {
                (FailureCode::SslRequiredByServer, Way::Plain)
                | (FailureCode::SslNotAllowedByServer, Way::Tls | Way::Hybrid)
                | (FailureCode::HybridRequiredByServer, Way::Plain | Way::Tls) => Some(false),
                (FailureCode::SslRequiredByServer, way) => way.is_in(self.offered).then_some(false),
                _ => None,
            },
            X224Outcome::Foreign(_) | X224Outcome::Malformed | X224Outcome::Failed(_) => None,
        }
    }
}

impl X224Outcome {
    /// Whether the server selected what was not offered.
    pub const fn is_violation(&self) -> bool {
        matches!(self, Self::Selected { selection: Selection::Violation, .. })
    }

    /// What else answered, if something else did.
    pub const fn foreign(&self) -> Option<&Wording> {
        match self {
            Self::Foreign(hint) => Some(hint),
            _ => None,
        }
    }

    /// Whether the server selected standard RDP security although more was offered.
    pub const fn is_downgrade(&self) -> bool {
        matches!(self, Self::Selected { selection: Selection::Downgrade, .. })
    }
}

/// Whether one of both holds, as far as that is known.
const fn either(one: Option<bool>, other: Option<bool>) -> Option<bool> {
    match (one, other) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        (None, _) | (_, None) => None,
    }
}

#[cfg(test)]
mod tests;
