//! A stateful device on the way has no room for new sessions.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "session_table_full",
    class: Class::SecurityGroup,
    prior: 0.3,
    meaning: Text {
        en: "The session table of a NAT gateway, firewall or the instance is full: old \
             connections live on, new ones fail.",
        zh: "NAT 网关、防火墙或实例的会话表已满：已有连接正常，新建连接失败。",
    },
    remedy: Text {
        en: "Compare the session count with its limit (NAT gateway, firewall, instance type), \
             find the source of the flood, and raise the limit or shorten timeouts. Do not clear \
             the table: that cuts every living session.",
        zh: "对比会话数与规格上限（NAT 网关、防火墙、实例规格），找出大量建连的来源，再升配或缩短\
             老化时间。不要清空会话表，会中断全部现有连接。",
    },
    risk: Risk::Disruptive,
    expect: &[
        (Sign::EchoSilent, 0.5),
        (Sign::EchoAnswered, 0.4),
        (Sign::EchoPartial, 0.08),
        (Sign::SynSilent, 0.75),
        (Sign::SynPartial, 0.22),
        // Echoes need a session as well, where the device counts them.
        (Sign::SynLossAlone, 0.75),
        (Sign::PathReachesTarget, 0.18),
        (Sign::TcpStopsAlone, 0.42),
        (Sign::PathStops, 0.38),
        (Sign::ServiceUnreached, 0.85),
        (Sign::ServiceConfirmed, 0.12),
        (Sign::SiblingSame, 0.94),
        (Sign::SiblingFurther, 0.02),
        (Sign::OthersFail, 0.96),
        (Sign::InsideFails, 0.55),
        (Sign::SecondReaches, 0.1),
        (Sign::EchoNeverAnswered, 0.62),
        (Sign::CanaryAnswers, 0.1),
        (Sign::CanaryFellSilent, 0.38),
        (Sign::CanaryStillSilent, 0.34),
        (Sign::ControlAnswers, 0.25),
        (Sign::AlternateSilent, 0.94),
        (Sign::ComesAndGoes, 0.45),
    ],
};
