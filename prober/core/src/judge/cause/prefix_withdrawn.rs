//! The whole prefix is no longer announced.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "prefix_withdrawn",
    class: Class::NoRoute,
    prior: 0.6,
    meaning: Text {
        en: "The route of the whole prefix is gone from the Internet, so its neighbours are \
             unreachable too.",
        zh: "整个网段的路由已从互联网撤销，同段邻居同样不可达。",
    },
    remedy: Text {
        en: "Check the announcement in a looking glass or route collector and ask the owner of \
             the prefix; expect minutes to hours. Do not change the instance: all its neighbours \
             fail too.",
        zh: "通过 Looking Glass 或路由监测平台核实 BGP 宣告，并联系网段所有者；恢复可能需要数分钟\
             到数小时。不要改动实例，同段地址均不可达。",
    },
    risk: Risk::ReadOnly,
    expect: &[
        (Sign::EchoSilent, 0.5),
        (Sign::EchoError, 0.47),
        (Sign::SynSilent, 0.5),
        (Sign::SynError, 0.47),
        (Sign::PathStops, 0.96),
        (Sign::SiblingFailsToo, 0.92),
        (Sign::SiblingFurther, 0.03),
        (Sign::NetUnreachable, 0.4),
        (Sign::NoError, 0.35),
        (Sign::HostUnreachable, 0.22),
        (Sign::FromPath, 0.9),
        (Sign::FromLastRouter, 0.08),
        (Sign::ErrorAtOnce, 0.95),
        (Sign::OthersFail, 0.85),
        (Sign::InsideFails, 0.35),
        (Sign::PathShortened, 0.9),
        (Sign::NeighboursSilent, 0.95),
        (Sign::ComesAndGoes, 0.15),
    ],
};
