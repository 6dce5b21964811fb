//! Routers hand the packet to each other.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "routing_loop",
    class: Class::RoutingLoop,
    prior: 0.8,
    meaning: Text {
        en: "Two or more routers hand the packets to each other until the hop limit runs out.",
        zh: "两台或多台路由器互相转发数据包，直至 TTL 耗尽。",
    },
    remedy: Text {
        en: "Give the owner of the repeating addresses the trace. Loops of seconds are normal \
             while routes converge; if it is your own VPN or VPC, look for two routes that point \
             at each other. Do not restart the target.",
        zh: "将重复出现的地址及路由跟踪提交其管理方。路由收敛期间数秒的环路属正常；若在自己的 \
             VPN 或 VPC 内，查找互相指向的两条路由。不要重启目标。",
    },
    risk: Risk::ReadOnly,
    expect: &[
        (Sign::EchoError, 0.6),
        (Sign::EchoSilent, 0.37),
        (Sign::SynError, 0.5),
        (Sign::SynSilent, 0.47),
        (Sign::PathLoops, 0.9),
        (Sign::PathStops, 0.07),
        (Sign::SiblingFailsToo, 0.8),
        (Sign::SiblingFurther, 0.15),
        (Sign::TimeExceeded, 0.72),
        (Sign::NoError, 0.24),
        (Sign::FromPath, 0.9),
        (Sign::OthersFail, 0.6),
        (Sign::OthersReach, 0.35),
        (Sign::InsideFails, 0.3),
        (Sign::NeighboursSilent, 0.75),
        (Sign::ComesAndGoes, 0.2),
    ],
};
