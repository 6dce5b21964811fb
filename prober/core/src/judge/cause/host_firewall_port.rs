//! The firewall of the guest drops this port.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "host_firewall_port",
    class: Class::SecurityGroup,
    prior: 3.0,
    meaning: Text {
        en: "The firewall of the guest has no rule for this port, or the rule is off, limited to \
             other sources or to another profile.",
        zh: "操作系统防火墙没有放行该端口，或规则被禁用、仅限其他来源或其他配置文件。",
    },
    remedy: Text {
        en: "Through VNC or the cloud's command channel check the active profile and the port's \
             inbound rule (for RDP: Remote Desktop - User Mode (TCP-In)) and enable it for the \
             sources needed. Do not turn the firewall off.",
        zh: "通过 VNC 或云助手检查当前配置文件与该端口的入站规则（RDP 为“远程桌面 - 用户模式\
             (TCP-In)”），对所需来源启用。不要关闭防火墙。",
    },
    risk: Risk::Change,
    expect: &[
        (Sign::EchoAnswered, 0.66),
        (Sign::EchoSilent, 0.32),
        (Sign::SynSilent, 0.96),
        (Sign::TcpStopsAlone, 0.66),
        (Sign::PathStops, 0.32),
        (Sign::SiblingSame, 0.94),
        (Sign::SiblingFurther, 0.02),
        (Sign::OthersFail, 0.93),
        (Sign::OthersReach, 0.03),
        (Sign::InsideFails, 0.9),
        (Sign::EchoNeverAnswered, 0.62),
        (Sign::CanaryAnswers, 0.42),
        (Sign::CanaryFellSilent, 0.06),
        (Sign::CanaryStillSilent, 0.34),
        (Sign::AlternateSilent, 0.86),
        (Sign::AlternateOpen, 0.04),
        (Sign::ComesAndGoes, 0.02),
    ],
};
