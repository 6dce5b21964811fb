//! Signs: the closed set of values that evidence is reduced to before it is weighed.

/// A signal: one question with a closed set of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// What came back for echoes.
    Echo,
    /// What came back for SYNs to the probed port.
    Syn,
    /// What kind of ICMP error came, if any did.
    Unreachable,
    /// Where that error came from.
    UnreachableFrom,
    /// How fast a host-unreachable came: a route answers at once, a dead neighbour after seconds.
    UnreachableDelay,
    /// How far the resetting machine is, compared with the host's other answers.
    ResetDistance,
    /// Whether one SYN drew two different answers.
    DoubleAnswer,
    /// Whether whoever asks is reset, or some are while the port opens to others.
    ResetScope,
    /// Where the path ends.
    LastHop,
    /// How far the path toward neighbouring addresses goes, compared with the target's.
    SiblingPath,
    /// What the service said after the handshake.
    Service,
    /// How far TLS came on the probed port.
    Tls,
    /// Whether the certificate that was shown may be used now.
    Certificate,
    /// Whether certificate and distance are those of the machine that was seen before.
    Machine,
    /// What other vantages see at the same time.
    OtherVantages,
    /// Whether a vantage inside fails like those outside, expected of setups that have one. That it
    /// is spared is told by what the others see.
    InsideVantage,
    /// What another source address of the same vantage sees, over the same way.
    SecondSource,
    /// What our own kernel and network say.
    Local,
    /// What the canaries and the other targets say of this vantage.
    Vantage,
    /// What the resolver said.
    Dns,
    /// What echo did while the target was healthy.
    EchoHistory,
    /// Whether the path still goes as far as it did while the target was healthy.
    BaselineChange,
    /// Whether flows fail one by one and for good, or all alike by chance.
    FlowSplit,
    /// Whether what is sent quickly is lost more often than what is sent slowly.
    RateSplit,
    /// Whether round trips grow while packets are lost, as before a full queue.
    Queueing,
    /// Whether large packets arrive, there and back.
    LargePacket,
    /// Whether SYNs are lost alone, or as the echoes sent beside them.
    SynLoss,
    /// How far the accepting machine is, compared with the host's other answers and its path.
    AcceptDistance,
    /// Whether who ended the connection after the handshake is who accepted it.
    ServiceReset,
    /// Whether the host acknowledged the request that its service leaves unanswered: a kernel does,
    /// whatever its services do.
    Receipt,
    /// What came back for echoes where a front answers them in the host's place.
    Front,
    /// What the ports answer that the service may have moved to.
    AlternatePort,
    /// What a port does on which nothing listens, compared with what it does in health.
    CanaryPort,
    /// Whether other ports of the host that usually answer still do.
    ControlPort,
    /// Whether addresses of the same network answer.
    Neighbours,
    /// Whether the failure came once or comes and goes.
    Onset,
    /// Whether the silence before this one ended as providers lift a blackhole, by timer.
    BlackholeTimer,
    /// Whether a loss comes back at the same hours of each day.
    DailyLoss,
}

/// One value of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are the meaning; `describe` gives each a sentence")]
pub enum Sign {
    EchoAnswered,
    EchoPartial,
    EchoSilent,
    EchoError,
    SynAccepted,
    SynPartial,
    SynMixed,
    SynReset,
    SynSilent,
    SynError,
    NoError,
    NetUnreachable,
    HostUnreachable,
    Prohibited,
    PortUnreachable,
    TimeExceeded,
    FromTarget,
    FromLastRouter,
    FromPath,
    ErrorAtOnce,
    ErrorDelayed,
    ResetSame,
    ResetElsewhere,
    SingleAnswer,
    TwoAnswers,
    ResetForAll,
    ResetForSome,
    PathReachesTarget,
    TcpStopsAlone,
    PathStops,
    PathLoops,
    SiblingFurther,
    SiblingSame,
    SiblingFailsToo,
    ServiceConfirmed,
    ServiceSilent,
    ServiceForeign,
    ServiceClosed,
    ServiceRefused,
    ServiceUncertified,
    ServiceLate,
    ServiceUnreached,
    TlsShown,
    TlsEnded,
    TlsAlert,
    TlsGarbled,
    TlsReset,
    TlsSilent,
    TlsUnshared,
    CertificateValid,
    CertificateExpired,
    CertificateUnreadable,
    MachineSame,
    MachineAnother,
    MachineMoved,
    OthersFail,
    OthersReach,
    InsideReaches,
    InsideFails,
    InsideSpared,
    SecondReaches,
    SecondFailsToo,
    LocalFine,
    LocalNoRoute,
    LocalBlocked,
    LocalGatewaySilent,
    LocalExhausted,
    LocalNoPrivilege,
    VantageFine,
    VantageUnheard,
    VantageSuspect,
    VantagePortSuspect,
    VantageProxied,
    NameResolves,
    NameUnknown,
    NameServerFails,
    NameTimesOut,
    ResolverDead,
    EchoUsedToAnswer,
    EchoNeverAnswered,
    PathAsLearnt,
    PathShortened,
    FlowsSplit,
    FlowsMixed,
    QuickLoses,
    RatesAlike,
    DelayGrows,
    DelayFlat,
    LargePasses,
    LargeTold,
    LargeForwardLost,
    LargeReplyLost,
    LargeLost,
    SynLossAlone,
    SynLossShared,
    AcceptSame,
    AcceptNearer,
    AcceptShort,
    ServiceResetSame,
    ServiceResetElsewhere,
    RequestTaken,
    RequestLost,
    FrontAnswers,
    FrontSilent,
    AlternateOpen,
    AlternateClosed,
    AlternateSilent,
    CanaryAnswers,
    CanarySilent,
    CanaryStillSilent,
    CanaryFellSilent,
    ControlAnswers,
    ControlSilent,
    NeighboursAnswer,
    NeighboursSilent,
    OnsetOnce,
    ComesAndGoes,
    TimerRanOut,
    EndedAtAnyTime,
    LossSameHours,
    LossAnyHour,
}

impl Family {
    /// Every signal.
    pub const ALL: [Self; 38] = [
        Self::Echo,
        Self::Syn,
        Self::Unreachable,
        Self::UnreachableFrom,
        Self::UnreachableDelay,
        Self::ResetDistance,
        Self::DoubleAnswer,
        Self::ResetScope,
        Self::LastHop,
        Self::SiblingPath,
        Self::Service,
        Self::Tls,
        Self::Certificate,
        Self::Machine,
        Self::OtherVantages,
        Self::InsideVantage,
        Self::SecondSource,
        Self::Local,
        Self::Vantage,
        Self::Dns,
        Self::EchoHistory,
        Self::BaselineChange,
        Self::FlowSplit,
        Self::RateSplit,
        Self::Queueing,
        Self::LargePacket,
        Self::SynLoss,
        Self::AcceptDistance,
        Self::ServiceReset,
        Self::Receipt,
        Self::Front,
        Self::AlternatePort,
        Self::CanaryPort,
        Self::ControlPort,
        Self::Neighbours,
        Self::Onset,
        Self::BlackholeTimer,
        Self::DailyLoss,
    ];

    /// The name used in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Syn => "syn",
            Self::Unreachable => "unreachable",
            Self::UnreachableFrom => "unreachable_from",
            Self::UnreachableDelay => "unreachable_delay",
            Self::ResetDistance => "reset_distance",
            Self::DoubleAnswer => "double_answer",
            Self::ResetScope => "reset_scope",
            Self::LastHop => "last_hop",
            Self::SiblingPath => "sibling_path",
            Self::Service => "service",
            Self::Tls => "tls",
            Self::Certificate => "certificate",
            Self::Machine => "machine",
            // One signal to readers: a value of its own beside what the others say.
            Self::OtherVantages | Self::InsideVantage => "other_vantages",
            Self::SecondSource => "second_source",
            Self::Local => "local",
            Self::Vantage => "vantage",
            Self::Dns => "dns",
            Self::EchoHistory => "echo_history",
            Self::BaselineChange => "baseline_change",
            Self::FlowSplit => "flow_split",
            Self::RateSplit => "rate_split",
            Self::Queueing => "queueing",
            Self::LargePacket => "large_packet",
            Self::SynLoss => "syn_loss",
            Self::AcceptDistance => "accept_distance",
            Self::ServiceReset => "service_reset",
            Self::Receipt => "request_receipt",
            Self::Front => "front",
            Self::AlternatePort => "alternate_port",
            Self::CanaryPort => "canary_port",
            Self::ControlPort => "control_port",
            Self::Neighbours => "neighbours",
            Self::Onset => "onset",
            Self::BlackholeTimer => "blackhole_timer",
            Self::DailyLoss => "daily_loss",
        }
    }

    /// The values this signal can take.
    pub const fn signs(self) -> &'static [Sign] {
        use Sign as S;
        match self {
            Self::Echo => &[S::EchoAnswered, S::EchoPartial, S::EchoSilent, S::EchoError],
            Self::Syn => &[
                S::SynAccepted,
                S::SynPartial,
                S::SynMixed,
                S::SynReset,
                S::SynSilent,
                S::SynError,
            ],
            Self::Unreachable => &[
                S::NoError,
                S::NetUnreachable,
                S::HostUnreachable,
                S::Prohibited,
                S::PortUnreachable,
                S::TimeExceeded,
            ],
            Self::UnreachableFrom => &[S::FromTarget, S::FromLastRouter, S::FromPath],
            Self::UnreachableDelay => &[S::ErrorAtOnce, S::ErrorDelayed],
            Self::ResetDistance => &[S::ResetSame, S::ResetElsewhere],
            Self::DoubleAnswer => &[S::SingleAnswer, S::TwoAnswers],
            Self::ResetScope => &[S::ResetForAll, S::ResetForSome],
            Self::LastHop => &[S::PathReachesTarget, S::TcpStopsAlone, S::PathStops, S::PathLoops],
            Self::SiblingPath => &[S::SiblingFurther, S::SiblingSame, S::SiblingFailsToo],
            Self::Service => &[
                S::ServiceConfirmed,
                S::ServiceSilent,
                S::ServiceForeign,
                S::ServiceClosed,
                S::ServiceRefused,
                S::ServiceUncertified,
                S::ServiceLate,
                S::ServiceUnreached,
            ],
            Self::Tls => &[
                S::TlsShown,
                S::TlsEnded,
                S::TlsAlert,
                S::TlsGarbled,
                S::TlsReset,
                S::TlsSilent,
                S::TlsUnshared,
            ],
            Self::Certificate => {
                &[S::CertificateValid, S::CertificateExpired, S::CertificateUnreadable]
            }
            Self::Machine => &[S::MachineSame, S::MachineAnother, S::MachineMoved],
            Self::OtherVantages => &[S::OthersFail, S::OthersReach, S::InsideReaches],
            Self::InsideVantage => &[S::InsideFails, S::InsideSpared],
            Self::SecondSource => &[S::SecondReaches, S::SecondFailsToo],
            Self::Local => &[
                S::LocalFine,
                S::LocalNoRoute,
                S::LocalBlocked,
                S::LocalGatewaySilent,
                S::LocalExhausted,
                S::LocalNoPrivilege,
            ],
            Self::Vantage => &[
                S::VantageFine,
                S::VantageUnheard,
                S::VantageSuspect,
                S::VantagePortSuspect,
                S::VantageProxied,
            ],
            Self::Dns => &[
                S::NameResolves,
                S::NameUnknown,
                S::NameServerFails,
                S::NameTimesOut,
                S::ResolverDead,
            ],
            Self::EchoHistory => &[S::EchoUsedToAnswer, S::EchoNeverAnswered],
            Self::BaselineChange => &[S::PathAsLearnt, S::PathShortened],
            Self::FlowSplit => &[S::FlowsSplit, S::FlowsMixed],
            Self::RateSplit => &[S::QuickLoses, S::RatesAlike],
            Self::Queueing => &[S::DelayGrows, S::DelayFlat],
            Self::LargePacket => &[
                S::LargePasses,
                S::LargeTold,
                S::LargeForwardLost,
                S::LargeReplyLost,
                S::LargeLost,
            ],
            Self::SynLoss => &[S::SynLossAlone, S::SynLossShared],
            Self::AcceptDistance => &[S::AcceptSame, S::AcceptNearer, S::AcceptShort],
            Self::ServiceReset => &[S::ServiceResetSame, S::ServiceResetElsewhere],
            Self::Receipt => &[S::RequestTaken, S::RequestLost],
            Self::Front => &[S::FrontAnswers, S::FrontSilent],
            Self::AlternatePort => &[S::AlternateOpen, S::AlternateClosed, S::AlternateSilent],
            Self::CanaryPort => {
                &[S::CanaryAnswers, S::CanarySilent, S::CanaryStillSilent, S::CanaryFellSilent]
            }
            Self::ControlPort => &[S::ControlAnswers, S::ControlSilent],
            Self::Neighbours => &[S::NeighboursAnswer, S::NeighboursSilent],
            Self::Onset => &[S::OnsetOnce, S::ComesAndGoes],
            Self::BlackholeTimer => &[S::TimerRanOut, S::EndedAtAnyTime],
            Self::DailyLoss => &[S::LossSameHours, S::LossAnyHour],
        }
    }
}

impl Sign {
    /// The signal this is a value of.
    pub fn family(self) -> Family {
        let holds = |family: &Family| family.signs().contains(&self);
        Family::ALL.into_iter().find(holds).unwrap_or(Family::Echo)
    }

    /// The name used in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EchoAnswered
            | Self::SynAccepted
            | Self::FrontAnswers
            | Self::CanaryAnswers
            | Self::ControlAnswers
            | Self::NeighboursAnswer => "answered",
            Self::EchoPartial | Self::SynPartial => "partial",
            Self::SynMixed => "accepted_and_reset",
            Self::EchoSilent
            | Self::SynSilent
            | Self::ServiceSilent
            | Self::TlsSilent
            | Self::FrontSilent
            | Self::AlternateSilent
            | Self::CanarySilent
            | Self::ControlSilent
            | Self::NeighboursSilent => "silent",
            Self::EchoError | Self::SynError => "icmp_error",
            Self::SynReset | Self::TlsReset => "reset",
            Self::TlsShown => "certificate_shown",
            Self::TlsEnded => "ended",
            Self::TlsAlert => "alert",
            Self::TlsGarbled => "garbled",
            Self::TlsUnshared => "nothing_shared",
            Self::CertificateValid => "valid",
            Self::CertificateExpired => "not_valid",
            Self::CertificateUnreadable => "unreadable",
            Self::MachineAnother => "another",
            Self::MachineMoved => "elsewhere",
            Self::NoError => "none",
            Self::NetUnreachable => "net_unreachable",
            Self::HostUnreachable => "host_unreachable",
            Self::Prohibited => "prohibited",
            Self::PortUnreachable => "port_unreachable",
            Self::TimeExceeded => "time_exceeded",
            Self::FromTarget => "target",
            Self::FromLastRouter => "last_router",
            Self::FromPath => "path",
            Self::ErrorAtOnce => "at_once",
            Self::ErrorDelayed => "delayed",
            Self::ResetSame
            | Self::AcceptSame
            | Self::ServiceResetSame
            | Self::SiblingSame
            | Self::MachineSame => "same",
            Self::ResetElsewhere | Self::ServiceResetElsewhere => "different",
            Self::SingleAnswer => "single",
            Self::TwoAnswers => "two_answers",
            Self::ResetForAll => "all",
            Self::ResetForSome => "some",
            Self::PathReachesTarget => "reaches_target",
            Self::TcpStopsAlone => "tcp_stops_alone",
            Self::PathStops => "stops",
            Self::PathLoops => "loops",
            Self::SiblingFurther => "further",
            Self::SiblingFailsToo | Self::SecondFailsToo => "fails_too",
            Self::ServiceConfirmed => "confirmed",
            Self::ServiceForeign => "foreign",
            Self::ServiceClosed => "closed",
            Self::ServiceRefused => "refused",
            Self::ServiceUncertified => "no_certificate",
            Self::ServiceLate => "late",
            Self::ServiceUnreached => "unreached",
            Self::OthersFail => "fail",
            Self::OthersReach => "reach",
            Self::InsideReaches | Self::InsideSpared => "inside_reaches",
            Self::InsideFails => "inside_fails",
            Self::SecondReaches => "reaches",
            Self::LocalFine | Self::VantageFine => "fine",
            Self::LocalNoRoute => "no_route",
            Self::LocalBlocked => "blocked",
            Self::LocalGatewaySilent => "gateway_silent",
            Self::LocalExhausted => "exhausted",
            Self::LocalNoPrivilege => "no_privilege",
            Self::VantageUnheard => "nobody_heard",
            Self::VantageSuspect => "suspect",
            Self::VantagePortSuspect => "port_suspect",
            Self::VantageProxied => "proxied",
            Self::NameResolves => "resolves",
            Self::NameUnknown => "nxdomain",
            Self::NameServerFails => "servfail",
            Self::NameTimesOut => "timeout",
            Self::ResolverDead => "resolver_dead",
            Self::EchoUsedToAnswer => "used_to_answer",
            Self::EchoNeverAnswered => "never_answered",
            Self::PathAsLearnt => "path_as_learnt",
            Self::PathShortened => "path_shortened",
            Self::FlowsSplit => "split",
            Self::FlowsMixed => "mixed",
            Self::QuickLoses => "quick_loses",
            Self::RatesAlike => "alike",
            Self::DelayGrows => "grows",
            Self::DelayFlat => "flat",
            Self::LargePasses => "passes",
            Self::LargeTold => "told",
            Self::LargeForwardLost => "lost_forward",
            Self::LargeReplyLost => "lost_in_reply",
            Self::LargeLost => "lost",
            Self::SynLossAlone => "alone",
            Self::SynLossShared => "shared",
            Self::RequestTaken => "acknowledged",
            Self::RequestLost => "unacknowledged",
            Self::AcceptNearer => "nearer",
            Self::AcceptShort => "nearer_than_path",
            Self::AlternateOpen => "open",
            Self::AlternateClosed => "closed",
            Self::CanaryStillSilent => "silent_as_learnt",
            Self::CanaryFellSilent => "fell_silent",
            Self::OnsetOnce => "once",
            Self::ComesAndGoes => "comes_and_goes",
            Self::TimerRanOut => "ran_out",
            Self::EndedAtAnyTime => "ended_otherwise",
            Self::LossSameHours => "same_hours",
            Self::LossAnyHour => "any_hour",
        }
    }
}
