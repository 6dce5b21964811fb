//! A router has no route to the address.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "no_route",
    class: Class::NoRoute,
    prior: 0.8,
    meaning: Text {
        en: "A router on the way says that it has no route to the address.",
        zh: "路径上的路由器回复没有到达该地址的路由。",
    },
    remedy: Text {
        en: "Take the address of the answering router from the evidence, and check the route \
             tables of the VPC, VPN or leased line and whether the address is still assigned. \
             Then add the missing route. Do not add a broad default route to get by.",
        zh: "从证据中取得回复的路由器地址，检查 VPC、VPN 或专线的路由表，以及该地址是否仍已分配，\
             再补上缺失的路由。不要用大范围默认路由应付。",
    },
    risk: Risk::Change,
    expect: &[
        (Sign::EchoError, 0.62),
        (Sign::EchoSilent, 0.35),
        (Sign::SynError, 0.62),
        (Sign::SynSilent, 0.35),
        (Sign::PathStops, 0.96),
        (Sign::SiblingFailsToo, 0.5),
        (Sign::SiblingFurther, 0.3),
        (Sign::HostUnreachable, 0.5),
        (Sign::NetUnreachable, 0.4),
        (Sign::FromPath, 0.75),
        (Sign::FromLastRouter, 0.22),
        (Sign::ErrorAtOnce, 0.92),
        (Sign::OthersFail, 0.7),
        (Sign::OthersReach, 0.25),
        (Sign::InsideFails, 0.35),
        (Sign::PathShortened, 0.85),
        (Sign::NeighboursSilent, 0.55),
        (Sign::ComesAndGoes, 0.15),
    ],
};
