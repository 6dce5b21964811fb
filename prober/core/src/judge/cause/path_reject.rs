//! A firewall rejects this port by ICMP.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "path_reject",
    class: Class::Rejected,
    prior: 1.0,
    meaning: Text {
        en: "A firewall on the way, or the host itself, answers that this port is not allowed.",
        zh: "路径上的防火墙或主机自身以 ICMP 明确拒绝了该端口。",
    },
    remedy: Text {
        en: "Take the sender of the ICMP error from the evidence: it is the machine whose rule \
             matters. Admit the probing source for this port there. Do not search the target \
             when a router is the sender.",
        zh: "从证据中取得 ICMP 错误的发送者，需要修改的规则就在该设备上，为探测源 IP 放行该端口。\
             若发送者是路由器，不必在目标上排查。",
    },
    risk: Risk::Change,
    expect: &[
        (Sign::EchoAnswered, 0.75),
        (Sign::EchoSilent, 0.12),
        (Sign::EchoError, 0.12),
        (Sign::SynError, 0.9),
        // Some flows, or what exceeds a rate.
        (Sign::SynPartial, 0.06),
        (Sign::TcpStopsAlone, 0.65),
        (Sign::PathStops, 0.25),
        (Sign::Prohibited, 0.55),
        (Sign::PortUnreachable, 0.38),
        (Sign::FromPath, 0.4),
        (Sign::FromLastRouter, 0.3),
        (Sign::OthersFail, 0.7),
        (Sign::OthersReach, 0.25),
        (Sign::InsideFails, 0.4),
        (Sign::PathShortened, 0.5),
        (Sign::ControlAnswers, 0.6),
    ],
};
