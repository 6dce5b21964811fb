//! A subnet's access list or a cloud firewall drops the port.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "network_acl",
    class: Class::SecurityGroup,
    prior: 1.2,
    meaning: Text {
        en: "The network ACL of the subnet or a cloud firewall drops the port or its answers; \
             the whole subnet is affected.",
        zh: "交换机（子网）的网络 ACL 或云防火墙丢弃了该端口的请求或应答，影响整个子网。",
    },
    remedy: Text {
        en: "Check the inbound and outbound rules of the network ACL and the cloud firewall; a \
             stateless list needs a rule for the return ports too. Change only the rule that \
             matches. Do not unbind the ACL: that opens the whole subnet.",
        zh: "检查网络 ACL 与云防火墙的入、出方向规则；无状态 ACL 还须放行返回端口。只修改命中的那\
             条规则。不要解绑 ACL，否则整个子网失去防护。",
    },
    risk: Risk::Change,
    expect: &[
        (Sign::EchoAnswered, 0.66),
        (Sign::EchoSilent, 0.32),
        (Sign::SynSilent, 0.96),
        (Sign::TcpStopsAlone, 0.66),
        (Sign::PathStops, 0.32),
        (Sign::SiblingSame, 0.8),
        (Sign::SiblingFailsToo, 0.15),
        (Sign::OthersFail, 0.93),
        (Sign::OthersReach, 0.02),
        (Sign::InsideReaches, 0.05),
        (Sign::InsideFails, 0.4),
        (Sign::EchoNeverAnswered, 0.62),
        (Sign::CanaryAnswers, 0.3),
        (Sign::CanaryFellSilent, 0.16),
        (Sign::CanaryStillSilent, 0.34),
        (Sign::ControlAnswers, 0.65),
        (Sign::AlternateSilent, 0.86),
        (Sign::AlternateOpen, 0.04),
        (Sign::ComesAndGoes, 0.02),
    ],
};
