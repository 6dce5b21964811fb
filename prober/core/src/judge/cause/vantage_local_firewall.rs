//! A firewall on the probing machine drops probes.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "vantage_local_firewall",
    class: Class::VantageFault,
    prior: 0.2,
    meaning: Text {
        en: "A firewall on the probing machine drops probes or their answers.",
        zh: "探测机自身的防火墙丢弃了探测包或应答。",
    },
    remedy: Text {
        en: "Run reachd doctor, look at the output and input rules on the probing machine \
             (nftables, iptables, security software), and admit the probes. Do not switch the \
             firewall off.",
        zh: "运行 `reachd doctor`，检查探测机的出、入方向规则（nftables、iptables、安全软件），放行\
             探测流量。不要关闭防火墙。",
    },
    risk: Risk::Change,
    expect: &[
        (Sign::EchoAnswered, 0.5),
        (Sign::EchoSilent, 0.48),
        (Sign::SynSilent, 0.75),
        (Sign::SynAccepted, 0.2),
        (Sign::TcpStopsAlone, 0.3),
        (Sign::PathStops, 0.6),
        (Sign::SiblingFailsToo, 0.8),
        (Sign::SiblingSame, 0.15),
        (Sign::OthersReach, 0.8),
        (Sign::OthersFail, 0.18),
        (Sign::InsideFails, 0.1),
        (Sign::PathShortened, 0.7),
        (Sign::LocalBlocked, 0.9),
        (Sign::VantageSuspect, 0.4),
        (Sign::VantagePortSuspect, 0.45),
        (Sign::FrontSilent, 0.5),
        (Sign::ControlAnswers, 0.5),
        (Sign::NeighboursAnswer, 0.5),
    ],
};
