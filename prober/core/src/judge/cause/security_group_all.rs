//! The security group admits nothing.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "security_group_all",
    class: Class::HostSilent,
    prior: 1.2,
    meaning: Text {
        en: "The security group admits nothing from outside, echo included, as after it was \
             replaced or its rules were removed.",
        zh: "安全组未放行任何外部流量（含 ICMP），例如安全组被更换或规则被清空。",
    },
    remedy: Text {
        en: "Check which security groups the interface is in and whether an inbound rule admits \
             the probing source; look at the audit log for the last change. Then add a rule for \
             that source only. Never open 0.0.0.0/0.",
        zh: "检查网卡所属安全组、入方向规则是否放行探测源 IP，并在操作审计中查最近变更，再仅对该\
             来源添加放行规则。切勿放开 0.0.0.0/0。",
    },
    risk: Risk::Change,
    expect: &[
        (Sign::EchoSilent, 0.96),
        (Sign::SynSilent, 0.96),
        (Sign::PathStops, 0.96),
        (Sign::SiblingSame, 0.95),
        (Sign::SiblingFurther, 0.02),
        (Sign::OthersFail, 0.92),
        (Sign::OthersReach, 0.03),
        (Sign::InsideReaches, 0.05),
        (Sign::InsideFails, 0.45),
        (Sign::EchoUsedToAnswer, 0.6),
        (Sign::ComesAndGoes, 0.02),
    ],
};
