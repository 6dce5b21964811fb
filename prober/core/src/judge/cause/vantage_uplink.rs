//! Our own uplink is down.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "vantage_uplink",
    class: Class::VantageFault,
    prior: 0.5,
    meaning: Text {
        en: "The probing side has lost its network: link, route, gateway or uplink.",
        zh: "探测端自身断网：链路、路由、网关或上联故障。",
    },
    remedy: Text {
        en: "Check carrier, default route and gateway on the probing machine and whether other \
             vantages still see the targets. Do not touch the targets: nothing is known about \
             them.",
        zh: "检查探测机的网卡状态、默认路由与网关，以及其他观测点是否仍能访问目标。不要操作目标，\
             目前对其一无所知。",
    },
    risk: Risk::ReadOnly,
    expect: &[
        (Sign::EchoSilent, 0.85),
        (Sign::EchoError, 0.12),
        (Sign::SynSilent, 0.85),
        (Sign::SynError, 0.12),
        (Sign::PathStops, 0.96),
        (Sign::SiblingFailsToo, 0.9),
        (Sign::SiblingSame, 0.08),
        (Sign::NoError, 0.82),
        (Sign::HostUnreachable, 0.12),
        (Sign::FromLastRouter, 0.6),
        (Sign::ErrorDelayed, 0.85),
        (Sign::OthersReach, 0.8),
        (Sign::OthersFail, 0.18),
        (Sign::InsideFails, 0.1),
        (Sign::PathShortened, 0.95),
        (Sign::LocalFine, 0.34),
        (Sign::LocalNoRoute, 0.32),
        (Sign::LocalGatewaySilent, 0.32),
        (Sign::VantageSuspect, 0.45),
        (Sign::VantageFine, 0.05),
        (Sign::VantageUnheard, 0.49),
        (Sign::FrontSilent, 0.95),
        (Sign::CanaryAnswers, 0.02),
        (Sign::ControlSilent, 0.95),
        (Sign::NeighboursSilent, 0.95),
        (Sign::ComesAndGoes, 0.2),
    ],
};
