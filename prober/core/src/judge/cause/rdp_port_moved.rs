//! The service listens on another port.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "rdp_port_moved",
    class: Class::PortClosed,
    prior: 0.7,
    meaning: Text {
        en: "The host is up, and the service listens on another port than the one that is probed.",
        zh: "主机在线，但服务监听的是其他端口。",
    },
    remedy: Text {
        en: "Read PortNumber under RDP-Tcp and the list of listening ports, then correct the \
             plan, the clients and the security group. Moving the port back ends running \
             sessions.",
        zh: "查看 RDP-Tcp 下的 PortNumber 与监听端口列表，再更正探测计划、客户端与安全组。把端口\
             改回需重启服务，会中断会话。",
    },
    risk: Risk::ReadOnly,
    expect: &[
        (Sign::EchoAnswered, 0.75),
        (Sign::EchoSilent, 0.23),
        (Sign::SynReset, 0.97),
        (Sign::PathReachesTarget, 0.96),
        (Sign::SiblingSame, 0.8),
        (Sign::FromTarget, 0.8),
        (Sign::ResetSame, 0.97),
        (Sign::AlternateOpen, 0.8),
        (Sign::AlternateClosed, 0.12),
    ],
};
