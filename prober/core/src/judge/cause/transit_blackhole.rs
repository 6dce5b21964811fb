//! A device in transit swallows traffic in silence.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "transit_blackhole",
    class: Class::Blackhole,
    prior: 1.2,
    meaning: Text {
        en: "A router or link in the middle silently swallows packets for a whole group of \
             addresses, not only for this one.",
        zh: "中间网络的路由器或链路静默丢弃了一批地址的流量，受影响的不只是该目标。",
    },
    remedy: Text {
        en: "See which other targets stop behind the same hop, read the status pages of the \
             carrier and the provider, and report the last answering hop. Do not change the \
             instance: it is not the cause.",
        zh: "查看还有哪些目标止于同一跳，查阅运营商与云厂商的状态公告，上报末个应答跳。不要改动实\
             例，原因不在实例。",
    },
    risk: Risk::ReadOnly,
    expect: &[
        (Sign::EchoSilent, 0.97),
        (Sign::SynSilent, 0.97),
        (Sign::PathStops, 0.97),
        (Sign::SiblingFailsToo, 0.9),
        (Sign::SiblingFurther, 0.06),
        (Sign::OthersFail, 0.72),
        (Sign::OthersReach, 0.22),
        (Sign::InsideFails, 0.1),
        (Sign::PathShortened, 0.93),
        (Sign::EchoUsedToAnswer, 0.62),
        (Sign::NeighboursSilent, 0.9),
    ],
};
