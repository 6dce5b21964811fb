//! A queue overflows at busy hours.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "congestion",
    class: Class::PacketLoss,
    prior: 2.0,
    meaning: Text {
        en: "A link on the way, or the instance's own bandwidth, is full: delay rises and \
             packets are dropped together with the load.",
        zh: "路径上的链路或实例自身带宽跑满：时延升高，并随负载丢包。",
    },
    remedy: Text {
        en: "Compare the loss with the bandwidth graph of the instance and of the link. If its \
             own bandwidth is full, find the talker or raise the limit; otherwise report it to \
             the carrier. Do not reboot.",
        zh: "对照实例与链路的带宽监控曲线。若自身带宽跑满，找出占用流量的进程或升配带宽；否则向运\
             营商报障。不要重启实例。",
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
        (Sign::OthersFail, 0.75),
        (Sign::OthersReach, 0.2),
        (Sign::InsideFails, 0.6),
        (Sign::SecondReaches, 0.15),
        (Sign::FlowsMixed, 0.98),
        (Sign::SynLossAlone, 0.02),
        (Sign::QuickLoses, 0.08),
        (Sign::DelayGrows, 0.88),
        (Sign::ComesAndGoes, 0.4),
        (Sign::LossSameHours, 0.55),
    ],
};
