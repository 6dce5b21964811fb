//! A firewall on the way answers with a reset.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "middlebox_reset",
    class: Class::ResetInjected,
    prior: 1.5,
    meaning: Text {
        en: "A firewall or gateway between the vantage and the host answers the SYN with a reset \
             in the host's name.",
        zh: "观测点与主机之间的防火墙或网关冒用主机地址回复了 RST。",
    },
    remedy: Text {
        en: "Compare the distance of the reset with that of the host's answers to find the \
             device, then check the rule for this port there (cloud firewall, company proxy). Do \
             not restart the service: it never saw the SYN.",
        zh: "对比 RST 与主机其他应答的跳数距离，定位该设备，检查其对该端口的规则（云防火墙、企业\
             网关）。不要重启服务，SYN 没有到达主机。",
    },
    risk: Risk::Change,
    expect: &[
        (Sign::EchoAnswered, 0.72),
        (Sign::EchoSilent, 0.25),
        (Sign::SynReset, 0.95),
        // One of several ways has it.
        (Sign::SynMixed, 0.03),
        (Sign::PathReachesTarget, 0.6),
        (Sign::PathStops, 0.2),
        (Sign::ResetElsewhere, 0.95),
        (Sign::SingleAnswer, 0.92),
        (Sign::OthersFail, 0.6),
        (Sign::ResetForSome, 0.3),
        (Sign::OthersReach, 0.3),
        (Sign::InsideFails, 0.3),
    ],
};
