//! Some networks drop the address, others carry it.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "partial_blackhole",
    class: Class::Blackhole,
    prior: 0.65,
    meaning: Text {
        en: "Some carriers or entry points drop the address while others still carry it, as when \
             a blackhole is announced to part of the peers.",
        zh: "部分运营商或入口丢弃该 IP，其余仍可到达，例如黑洞路由只在部分线路生效。",
    },
    remedy: Text {
        en: "List which vantages and carriers fail, check the blackhole state per line, and give \
             the provider traces from a failing and a working side. Do not restart the instance.",
        zh: "列出失败的观测点与运营商，按线路查询黑洞状态，并将失败侧与正常侧的路由跟踪提交云厂\
             商。不要重启实例。",
    },
    risk: Risk::ReadOnly,
    expect: &[
        (Sign::EchoSilent, 0.97),
        (Sign::SynSilent, 0.97),
        (Sign::PathStops, 0.97),
        (Sign::SiblingFurther, 0.85),
        (Sign::SiblingSame, 0.05),
        (Sign::OthersReach, 0.92),
        (Sign::OthersFail, 0.04),
        (Sign::InsideFails, 0.05),
        (Sign::PathShortened, 0.85),
        (Sign::EchoUsedToAnswer, 0.62),
    ],
};
