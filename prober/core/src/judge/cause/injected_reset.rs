//! Something beside the path forges resets.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "injected_reset",
    class: Class::ResetInjected,
    prior: 0.35,
    meaning: Text {
        en: "Something on the path forges resets while the host's own answer also arrives.",
        zh: "路径上有设备伪造 RST，而主机自身的应答也同时到达。",
    },
    remedy: Text {
        en: "Keep the packets as evidence and compare carriers: does it follow the path or the \
             port? Use a VPN or another line until it is settled. Do not change the host: it \
             answers as it should.",
        zh: "保留抓包作为证据，并对比不同运营商：随线路出现还是随端口出现？解决前可改走 VPN 或其\
             他线路。不要改动主机，其应答正常。",
    },
    risk: Risk::ReadOnly,
    expect: &[
        (Sign::EchoAnswered, 0.72),
        (Sign::EchoSilent, 0.25),
        (Sign::SynReset, 0.46),
        (Sign::SynAccepted, 0.44),
        (Sign::SynMixed, 0.08),
        (Sign::PathReachesTarget, 0.9),
        (Sign::ResetElsewhere, 0.85),
        (Sign::TwoAnswers, 0.95),
        (Sign::ServiceResetElsewhere, 0.85),
        (Sign::ServiceClosed, 0.25),
        (Sign::ServiceConfirmed, 0.35),
        (Sign::ServiceUnreached, 0.35),
        (Sign::ResetForSome, 0.6),
        (Sign::OthersReach, 0.7),
        (Sign::OthersFail, 0.25),
        (Sign::InsideFails, 0.2),
    ],
};
