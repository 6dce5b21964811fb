//! The firewall of the guest drops everything.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "host_firewall_all",
    class: Class::HostSilent,
    prior: 0.8,
    meaning: Text {
        en: "The firewall of the guest blocks all inbound traffic, for instance after the \
             network turned into a public profile.",
        zh: "操作系统防火墙阻止了全部入站流量，例如网络切换为“公用”配置文件之后。",
    },
    remedy: Text {
        en: "Log in through VNC, check the active firewall profile, its default action and group \
             policy, and enable the rule that is needed. Do not turn the firewall off.",
        zh: "通过 VNC 登录，检查当前生效的防火墙配置文件、默认入站动作与组策略，启用所需规则。不\
             要关闭防火墙。",
    },
    risk: Risk::Change,
    expect: &[
        (Sign::EchoSilent, 0.96),
        (Sign::SynSilent, 0.96),
        (Sign::PathStops, 0.96),
        (Sign::SiblingSame, 0.95),
        (Sign::SiblingFurther, 0.02),
        (Sign::OthersFail, 0.94),
        (Sign::OthersReach, 0.03),
        (Sign::InsideFails, 0.9),
        (Sign::EchoUsedToAnswer, 0.6),
        (Sign::ComesAndGoes, 0.02),
    ],
};
