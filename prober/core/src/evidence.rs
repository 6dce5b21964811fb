//! What was seen: one outcome per probe, with no opinion attached.

pub mod rdp;

use std::net::IpAddr;
use std::time::Duration;

use crate::time::Stamp;
use crate::wording::Wording;

/// The kinds of standing probe; the `probe` label of the packet counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Probe {
    /// ICMP echo.
    Echo,
    /// One TCP SYN.
    Syn,
    /// A full TCP connection.
    Connect,
    /// An RDP connection request on it.
    X224,
    /// The handshake of TLS behind that.
    Tls,
    /// The challenge of NTLM within TLS.
    Ntlm,
}

impl Probe {
    /// The label exported in metrics and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Syn => "syn",
            Self::Connect => "connect",
            Self::X224 => "x224",
            Self::Tls => "tls",
            Self::Ntlm => "ntlm",
        }
    }
}

/// Why a probe counts as lost: the target itself did not answer in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LossReason {
    /// Nothing came.
    Silent,
    /// A router or host said unreachable.
    IcmpUnreachable,
    /// A router or host said prohibited.
    IcmpProhibited,
    /// The hop limit ran out on the way.
    TtlExceeded,
    /// A reset came that is not the host's.
    ForeignReset,
}

impl LossReason {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Silent,
        Self::IcmpUnreachable,
        Self::IcmpProhibited,
        Self::TtlExceeded,
        Self::ForeignReset,
    ];

    /// The label exported in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::IcmpUnreachable => "icmp_unreachable",
            Self::IcmpProhibited => "icmp_prohibited",
            Self::TtlExceeded => "ttl_exceeded",
            Self::ForeignReset => "foreign_reset",
        }
    }
}

/// Why a probe says nothing about the target: something was wrong on our side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InvalidReason {
    /// The ring is open and never saw the packet leave.
    NotSeenLeaving,
    /// The ring dropped packets while the answer was due.
    CaptureDrop,
    /// The kernel refused to send.
    SendError,
    /// We were late to send or to read.
    Lag,
    /// The vantage's canaries failed at the same time.
    Canary,
    /// The wall clock was stepped.
    ClockStep,
    /// We may not open the socket.
    NoPrivilege,
}

impl InvalidReason {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::NotSeenLeaving,
        Self::CaptureDrop,
        Self::SendError,
        Self::Lag,
        Self::Canary,
        Self::ClockStep,
        Self::NoPrivilege,
    ];

    /// The label exported in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotSeenLeaving => "not_seen_leaving",
            Self::CaptureDrop => "capture_drop",
            Self::SendError => "send_error",
            Self::Lag => "lag",
            Self::Canary => "canary",
            Self::ClockStep => "clock_step",
            Self::NoPrivilege => "no_privilege",
        }
    }
}

/// What an ICMP error says, over both families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IcmpKind {
    /// No route to the network (ICMP 3/0, 3/6, 3/11; `ICMPv6` 1/0).
    NetUnreachable,
    /// No such host on its network (ICMP 3/1, 3/7, 3/12; `ICMPv6` 1/3).
    HostUnreachable,
    /// No listener on the port, or a reject rule that says so (ICMP 3/3; `ICMPv6` 1/4).
    PortUnreachable,
    /// A policy forbids it (ICMP 3/9, 3/10, 3/13; `ICMPv6` 1/1, 1/5, 1/6).
    Prohibited,
    /// The packet is too large for the path (ICMP 3/4; `ICMPv6` 2/0).
    TooBig,
    /// The hop limit ran out (ICMP 11/0; `ICMPv6` 3/0).
    TimeExceeded,
    /// Any other error.
    Other,
}

impl IcmpKind {
    /// Reads an ICMPv4 type and code (RFC 792, RFC 1812 5.2.7.1); `None` for what is no error.
    pub const fn from_v4(ty: u8, code: u8) -> Option<Self> {
        match (ty, code) {
            (3, 0 | 6 | 11) => Some(Self::NetUnreachable),
            (3, 1 | 7 | 12) => Some(Self::HostUnreachable),
            (3, 3) => Some(Self::PortUnreachable),
            (3, 4) => Some(Self::TooBig),
            (3, 9 | 10 | 13) => Some(Self::Prohibited),
            (11, 0) => Some(Self::TimeExceeded),
            (3 | 4 | 11 | 12, _) => Some(Self::Other),
            _ => None,
        }
    }

    /// Reads an `ICMPv6` type and code (RFC 4443 section 3); `None` for what is no error.
    pub const fn from_v6(ty: u8, code: u8) -> Option<Self> {
        match (ty, code) {
            (1, 0) => Some(Self::NetUnreachable),
            (1, 3) => Some(Self::HostUnreachable),
            (1, 4) => Some(Self::PortUnreachable),
            (1, 1 | 5 | 6) => Some(Self::Prohibited),
            (2, _) => Some(Self::TooBig),
            (3, 0) => Some(Self::TimeExceeded),
            (1 | 3 | 4, _) => Some(Self::Other),
            _ => None,
        }
    }

    /// A word for reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NetUnreachable => "net_unreachable",
            Self::HostUnreachable => "host_unreachable",
            Self::PortUnreachable => "port_unreachable",
            Self::Prohibited => "prohibited",
            Self::TooBig => "too_big",
            Self::TimeExceeded => "time_exceeded",
            Self::Other => "other",
        }
    }
}

/// An ICMP error that quotes one of our probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcmpAnswer {
    /// Who sent it.
    pub from: IpAddr,
    /// What it says.
    pub kind: IcmpKind,
    /// The ICMP type as received.
    pub ty: u8,
    /// The ICMP code as received.
    pub code: u8,
    /// Received hop limit of the error itself, where it could be read.
    pub ttl: Option<u8>,
}

/// What the answering TCP looks like; resets of other machines differ in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpAnswer {
    /// Received hop limit; `None` where only the socket told us.
    pub ttl: Option<u8>,
    /// Advertised window.
    pub window: Option<u16>,
    /// IPv4 identification.
    pub ip_id: Option<u16>,
}

/// The fate of one probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The target echoed.
    EchoReply {
        /// Received hop limit, where it could be read.
        ttl: Option<u8>,
    },
    /// The port accepts.
    SynAck(TcpAnswer),
    /// The port refuses, with an acknowledgement that proves our SYN was seen.
    Reset(TcpAnswer),
    /// A reset without acknowledgement; a real stack ignores it (RFC 9293 3.10.7.3).
    BareReset(TcpAnswer),
    /// An acknowledgement of something else: an old connection lives (RFC 5961 section 4).
    ChallengeAck(TcpAnswer),
    /// An ICMP error.
    Icmp(IcmpAnswer),
    /// Nothing within the verdict timer.
    Silence,
    /// Our own fault; says nothing about the target.
    Invalid(InvalidReason),
}

impl Answer {
    /// Whether the target itself answered, which is what `received` counts.
    pub const fn is_from_target(&self) -> bool {
        matches!(self, Self::EchoReply { .. } | Self::SynAck(_) | Self::Reset(_))
    }

    /// The received hop limit, if the target answered and it could be read.
    pub const fn ttl(&self) -> Option<u8> {
        match self {
            Self::EchoReply { ttl } => *ttl,
            Self::SynAck(tcp) | Self::Reset(tcp) | Self::BareReset(tcp) => tcp.ttl,
            Self::ChallengeAck(tcp) => tcp.ttl,
            Self::Icmp(_) | Self::Silence | Self::Invalid(_) => None,
        }
    }

    /// The kind of answer without its details: a change of kind raises suspicion.
    pub const fn kind(&self) -> AnswerKind {
        match self {
            Self::EchoReply { .. } => AnswerKind::EchoReply,
            Self::SynAck(_) => AnswerKind::SynAck,
            Self::Reset(_) => AnswerKind::Reset,
            Self::BareReset(_) => AnswerKind::BareReset,
            Self::ChallengeAck(_) => AnswerKind::ChallengeAck,
            Self::Icmp(icmp) => AnswerKind::Icmp(icmp.kind),
            Self::Silence => AnswerKind::Silence,
            Self::Invalid(_) => AnswerKind::Invalid,
        }
    }
}

/// An [`Answer`] without its details.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AnswerKind {
    /// The target echoed.
    EchoReply,
    /// The port accepts.
    SynAck,
    /// The port refuses.
    Reset,
    /// A reset without acknowledgement.
    BareReset,
    /// A challenge acknowledgement.
    ChallengeAck,
    /// An ICMP error of this kind.
    Icmp(IcmpKind),
    /// Nothing.
    Silence,
    /// Our own fault.
    Invalid,
}

/// All that is known of one probe once its fate is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// What came back.
    pub answer: Answer,
    /// When the probe left, if anybody saw it leave.
    pub sent: Option<Stamp>,
    /// When the answer came; `None` for silence.
    pub arrived: Option<Stamp>,
}

impl Observation {
    /// The round-trip time: only from two stamps of one clock, never guessed.
    pub fn rtt(&self) -> Option<Duration> {
        let (sent, arrived) = (self.sent?, self.arrived?);
        Some(arrived.at.since(sent.at))
    }
}

/// How far a full connection came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectResult {
    /// The handshake completed.
    Connected,
    /// The peer reset it; no ICMP error was queued.
    Refused,
    /// An ICMP error ended it, as the socket's error queue told.
    Icmp(IcmpAnswer),
    /// The handshake did not complete in time.
    TimedOut,
    /// The kernel refused to try.
    Local(LocalError),
}

/// Why the kernel refused to send or connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LocalError {
    /// No route from here (`ENETUNREACH`, or an error whose offender is our own address).
    NoRoute,
    /// Our own address answered that the next hop is silent (`EHOSTUNREACH` from ourselves).
    GatewaySilent,
    /// The target shares our own link and does not answer neighbour discovery: not our fault.
    NeighbourSilent,
    /// Our own firewall refused (`EPERM`).
    Blocked,
    /// We may not open such a socket (`EACCES`, or `EPERM` on opening).
    NoPrivilege,
    /// Buffers, ports, descriptors or memory ran out.
    Exhausted,
    /// The vantage's address, interface or namespace is gone.
    VantageGone,
    /// The packet is larger than our own link takes (`EMSGSIZE`): it says nothing of the path.
    TooLarge,
    /// Something else.
    Other(i32),
}

impl LocalError {
    /// Why a probe that met this says nothing.
    pub const fn invalid_reason(self) -> InvalidReason {
        match self {
            Self::NoPrivilege => InvalidReason::NoPrivilege,
            Self::NoRoute
            | Self::GatewaySilent
            | Self::NeighbourSilent
            | Self::Blocked
            | Self::Exhausted
            | Self::VantageGone
            | Self::TooLarge
            | Self::Other(_) => InvalidReason::SendError,
        }
    }

    /// A word for reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoRoute => "no_route",
            Self::GatewaySilent => "gateway_silent",
            Self::NeighbourSilent => "neighbour_silent",
            Self::Blocked => "blocked_by_own_firewall",
            Self::NoPrivilege => "no_privilege",
            Self::Exhausted => "exhausted",
            Self::VantageGone => "vantage_gone",
            Self::TooLarge => "larger_than_our_link",
            Self::Other(_) => "other",
        }
    }
}

/// What a service said after the handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceAnswer {
    /// It answered as its protocol demands.
    Confirmed {
        /// For RDP: the selected security protocol, if a negotiation block came.
        selected: Option<u32>,
        /// A short printable description: a banner or the negotiated protocol.
        detail: Wording,
    },
    /// RDP: a negotiation failure with this code; the service lives.
    Refused {
        /// `RDP_NEG_FAILURE` code ([MS-RDPBCGR] 2.2.1.2.2).
        code: u32,
    },
    /// Something else speaks on the port.
    Foreign {
        /// What it seems to be.
        hint: Wording,
    },
    /// It accepted the connection and said nothing in time.
    Silent,
    /// It began an answer of its protocol and did not end it in time.
    Unfinished {
        /// How many bytes came.
        heard: usize,
    },
    /// It closed or reset the connection without a whole answer.
    Closed {
        /// Whether by reset instead of FIN.
        reset: bool,
        /// How many bytes of an answer came before that.
        heard: usize,
    },
    /// Nothing was asked: for this service an accepted connection is all.
    NotAsked,
}

impl ServiceAnswer {
    /// Whether no whole answer came, of whomever.
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::Silent | Self::Unfinished { .. } | Self::Closed { .. })
    }
}

/// The report of one full connection attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectReport {
    /// How far the connection came.
    pub result: ConnectResult,
    /// The handshake's round-trip time (`TCP_INFO`), if it completed.
    pub handshake: Option<Duration>,
    /// SYN retransmissions the kernel made, if it told.
    pub retransmits: Option<u32>,
    /// What the service said, if it was asked.
    pub service: Option<ServiceAnswer>,
    /// Time from the request to the service's answer.
    pub service_time: Option<Duration>,
    /// The local port used.
    pub local_port: Option<u16>,
}

/// What the ring saw of a full connection, whose packets the kernel writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overheard {
    /// The acceptance as received.
    pub accepted: TcpAnswer,
    /// Time from our SYN to it.
    pub round_trip: Duration,
    /// How the other side ended the connection, if it did before we did.
    pub end: Option<PeerEnd>,
    /// Whether the other side acknowledged what we said; `None` if nothing was said.
    pub acknowledged: Option<bool>,
}

/// The segment by which the other side ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerEnd {
    /// Whether it was a reset instead of a FIN.
    pub reset: bool,
    /// Received hop limit.
    pub ttl: u8,
    /// Time since our first data left; `None` if it came before any.
    pub after: Option<Duration>,
}
