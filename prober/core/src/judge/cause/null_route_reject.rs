//! A router rejects everything for the address.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "null_route_reject",
    class: Class::Rejected,
    prior: 0.7,
    meaning: Text {
        en: "A router discards everything for this address on purpose and says so: a null route \
             or ban with an answer.",
        zh: "某路由器有意丢弃发往该地址的全部流量并回复 ICMP：带拒绝应答的空路由或封禁。",
    },
    remedy: Text {
        en: "Ask the owner of the answering router (in the evidence) why the address is banned: \
             attack mitigation, abuse report or arrears. Do not restart the instance: the \
             packets do not reach it.",
        zh: "向证据中回复设备的管理方询问封禁原因：攻击缓解、滥用投诉或欠费。不要重启实例，数据包\
             没有到达实例。",
    },
    risk: Risk::ReadOnly,
    expect: &[
        (Sign::EchoError, 0.9),
        (Sign::EchoSilent, 0.08),
        (Sign::SynError, 0.88),
        (Sign::SynSilent, 0.1),
        (Sign::PathStops, 0.96),
        (Sign::SiblingFurther, 0.7),
        (Sign::SiblingFailsToo, 0.2),
        (Sign::Prohibited, 0.9),
        (Sign::HostUnreachable, 0.05),
        (Sign::FromPath, 0.85),
        (Sign::FromLastRouter, 0.12),
        (Sign::ErrorAtOnce, 0.95),
        (Sign::OthersFail, 0.75),
        (Sign::OthersReach, 0.2),
        (Sign::InsideFails, 0.45),
        (Sign::PathShortened, 0.6),
        (Sign::FrontSilent, 0.95),
        (Sign::CanaryAnswers, 0.02),
        (Sign::ControlSilent, 0.95),
    ],
};
