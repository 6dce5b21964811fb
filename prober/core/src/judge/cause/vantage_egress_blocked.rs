//! The network of the vantage blocks this port outward, or takes its connections itself.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "vantage_egress_blocked",
    class: Class::VantageFault,
    prior: 0.2,
    meaning: Text {
        en: "The network of the probing side blocks this port outward, or a proxy there takes its \
             connections: nothing on it from here is the target's own answer.",
        zh: "探测端所在网络禁止该端口出站，或由代理代为应答：从此处访问该端口得到的都不是目标自身的\
             应答。",
    },
    remedy: Text {
        en: "Check the outbound rules of the probing side (security group egress, company \
             firewall, carrier), open the port there or probe from elsewhere. Do not change the \
             targets.",
        zh: "检查探测端的出方向规则（安全组出方向、企业防火墙、运营商），在该处放行端口或换观测点\
             探测。不要改动目标。",
    },
    risk: Risk::Change,
    expect: &[
        (Sign::EchoAnswered, 0.8),
        (Sign::EchoSilent, 0.18),
        (Sign::SynSilent, 0.9),
        (Sign::TcpStopsAlone, 0.7),
        (Sign::PathStops, 0.25),
        (Sign::SiblingFailsToo, 0.95),
        (Sign::OthersReach, 0.92),
        (Sign::InsideFails, 0.1),
        (Sign::PathShortened, 0.6),
        (Sign::VantagePortSuspect, 0.75),
        (Sign::VantageProxied, 0.2),
        (Sign::VantageFine, 0.04),
    ],
};
