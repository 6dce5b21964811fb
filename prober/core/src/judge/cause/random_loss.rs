//! A link or device drops packets at random.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "random_loss",
    class: Class::PacketLoss,
    prior: 2.0,
    meaning: Text {
        en: "A faulty link, port or cable on the way drops packets whatever the load.",
        zh: "路径上的链路、端口或光模块故障，与负载无关地随机丢包。",
    },
    remedy: Text {
        en: "Compare vantages to find the shared stretch, and send the carrier traces of both \
             directions with the interval of the first affected hop. Do not act on loss that \
             only a middle hop shows.",
        zh: "对比各观测点找出共同路段，将双向 MTR 与首个受影响区间提交运营商。不要以中间跳的丢包\
             作为依据。",
    },
    risk: Risk::ReadOnly,
    expect: &[
        (Sign::EchoPartial, 0.9),
        (Sign::EchoAnswered, 0.05),
        (Sign::SynPartial, 0.85),
        (Sign::SynAccepted, 0.11),
        (Sign::PathReachesTarget, 0.8),
        (Sign::PathStops, 0.15),
        (Sign::ServiceConfirmed, 0.5),
        (Sign::ServiceUnreached, 0.45),
        (Sign::OthersFail, 0.6),
        (Sign::OthersReach, 0.35),
        (Sign::InsideFails, 0.5),
        (Sign::SecondReaches, 0.15),
        (Sign::FlowsMixed, 0.98),
        (Sign::SynLossAlone, 0.02),
        (Sign::QuickLoses, 0.04),
        (Sign::DelayGrows, 0.12),
        (Sign::ComesAndGoes, 0.2),
    ],
};
