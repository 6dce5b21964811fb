//! The target's side does not admit this source.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "source_block",
    class: Class::SourceBlocked,
    prior: 4.65,
    meaning: Text {
        en: "A rule, deny list or login guard on the target's side drops this source address; \
             others get through.",
        zh: "目标侧的规则、黑名单或登录防护丢弃了该来源 IP，其他来源正常。",
    },
    remedy: Text {
        en: "Check the allow and deny lists for the probing address (security group sources, \
             cloud firewall, fail2ban or antivirus), then admit this address. A lockout ends by \
             itself after some minutes. Never open 0.0.0.0/0.",
        zh: "核对探测源 IP 是否被拦截（安全组授权对象、云防火墙、登录防护或杀毒黑名单），再单独放\
             行该 IP。登录锁定通常数分钟后自动解除。切勿放开 0.0.0.0/0。",
    },
    risk: Risk::Change,
    expect: &[
        (Sign::EchoSilent, 0.61),
        (Sign::EchoAnswered, 0.37),
        (Sign::SynSilent, 0.76),
        (Sign::SynReset, 0.2),
        (Sign::PathStops, 0.54),
        (Sign::TcpStopsAlone, 0.36),
        (Sign::PathReachesTarget, 0.1),
        (Sign::ResetSame, 0.9),
        (Sign::SiblingSame, 0.75),
        (Sign::SiblingFailsToo, 0.13),
        (Sign::ResetForSome, 0.9),
        (Sign::OthersReach, 0.96),
        (Sign::OthersFail, 0.02),
        (Sign::InsideFails, 0.05),
        (Sign::SecondReaches, 0.88),
        (Sign::PathAsLearnt, 0.88),
        (Sign::FrontAnswers, 0.4),
        (Sign::CanaryAnswers, 0.18),
        (Sign::CanaryFellSilent, 0.28),
        (Sign::ControlAnswers, 0.38),
        (Sign::AlternateSilent, 0.8),
        (Sign::NeighboursAnswer, 0.78),
        (Sign::ComesAndGoes, 0.05),
    ],
};
