//! The security group does not admit this port.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "security_group_port",
    class: Class::SecurityGroup,
    prior: 5.2,
    meaning: Text {
        en: "No inbound rule of the security group admits this port, or a drop rule goes first.",
        zh: "安全组入方向没有放行该端口的规则，或被优先级更高的拒绝规则覆盖。",
    },
    remedy: Text {
        en: "Check that an inbound rule admits the probing source on this port, with its \
             priority and protocol, in every group of the interface. Then add a rule for the \
             sources that need it. Never open 0.0.0.0/0.",
        zh: "核对网卡所属每个安全组的入方向规则是否放行探测源 IP 访问该端口，注意优先级与协议，再\
             为确有需要的来源添加规则。切勿放开 0.0.0.0/0。",
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
        (Sign::OthersReach, 0.02),
        (Sign::InsideReaches, 0.05),
        (Sign::InsideFails, 0.25),
        (Sign::EchoNeverAnswered, 0.62),
        (Sign::CanaryAnswers, 0.42),
        (Sign::CanaryFellSilent, 0.06),
        (Sign::CanaryStillSilent, 0.34),
        (Sign::AlternateSilent, 0.86),
        (Sign::AlternateOpen, 0.04),
        (Sign::ComesAndGoes, 0.02),
    ],
};
