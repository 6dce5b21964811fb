//! A rate limit drops what exceeds it.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "policer",
    class: Class::PacketLoss,
    prior: 1.0,
    meaning: Text {
        en: "A rate limit (bandwidth cap, QoS or attack mitigation) drops what exceeds it.",
        zh: "限速（带宽上限、QoS 或流量清洗）丢弃了超出部分。",
    },
    remedy: Text {
        en: "Read the rate-limit drop counters of the public address and its mitigation state, \
             then raise the cap or reduce the traffic. Do not probe faster to be sure: that adds \
             to the loss.",
        zh: "查看公网 IP 的限速丢包指标与清洗状态，再提升带宽上限或降低流量。不要加快探测来确认，\
             那只会加重丢包。",
    },
    risk: Risk::Change,
    expect: &[
        (Sign::EchoPartial, 0.85),
        (Sign::EchoAnswered, 0.1),
        (Sign::SynPartial, 0.8),
        (Sign::SynAccepted, 0.15),
        (Sign::PathReachesTarget, 0.8),
        (Sign::PathStops, 0.15),
        (Sign::ServiceConfirmed, 0.5),
        (Sign::ServiceUnreached, 0.45),
        (Sign::OthersFail, 0.75),
        (Sign::OthersReach, 0.2),
        (Sign::InsideFails, 0.6),
        (Sign::SecondReaches, 0.3),
        (Sign::FlowsMixed, 0.98),
        (Sign::SynLossAlone, 0.02),
        (Sign::QuickLoses, 0.92),
        (Sign::DelayGrows, 0.15),
        (Sign::ComesAndGoes, 0.3),
        (Sign::LossSameHours, 0.3),
    ],
};
