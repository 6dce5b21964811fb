//! An IPsec policy of the guest blocks the port.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "ipsec_policy",
    class: Class::SecurityGroup,
    prior: 0.4,
    meaning: Text {
        en: "An IP security policy or connection security rule of the guest blocks the port or \
             demands IPsec that the client does not speak.",
        zh: "操作系统的 IP 安全策略或连接安全规则阻止了该端口，或要求客户端不支持的 IPsec。",
    },
    remedy: Text {
        en: "Check the assigned IP security policy and the connection security rules \
             (secpol.msc, group policy), and have the owner of the policy exempt the port. Do \
             not delete a policy that comes from the domain.",
        zh: "检查已指派的 IP 安全策略与连接安全规则（secpol.msc、组策略），由策略负责人豁免该端\
             口。不要删除域下发的策略。",
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
        (Sign::OthersFail, 0.92),
        (Sign::OthersReach, 0.03),
        (Sign::InsideFails, 0.85),
        (Sign::EchoNeverAnswered, 0.62),
        (Sign::CanaryAnswers, 0.34),
        (Sign::CanaryFellSilent, 0.12),
        (Sign::CanaryStillSilent, 0.34),
        (Sign::ControlAnswers, 0.75),
        (Sign::AlternateSilent, 0.86),
        (Sign::AlternateOpen, 0.04),
    ],
};
