//! A security product on the guest drops the port.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "third_party_guard",
    class: Class::SecurityGroup,
    prior: 0.7,
    meaning: Text {
        en: "A security product on the guest (antivirus, login guard, IP allow list) drops the \
             port.",
        zh: "操作系统内的第三方安全软件（杀毒、登录防护、IP 白名单）拦截了该端口。",
    },
    remedy: Text {
        en: "Log in through VNC, look at the product's block list and log, and allow the probing \
             source. Uninstall it only if it is broken. Do not disable its protection as a whole.",
        zh: "通过 VNC 登录，查看安全软件的拦截名单与日志，并将探测源 IP 加入白名单。仅在软件本身\
             损坏时卸载。不要整体关闭防护。",
    },
    risk: Risk::Change,
    expect: &[
        (Sign::EchoAnswered, 0.66),
        (Sign::EchoSilent, 0.32),
        (Sign::SynSilent, 0.8),
        (Sign::SynReset, 0.05),
        // One that limits how fast connections come.
        (Sign::SynPartial, 0.1),
        (Sign::SynMixed, 0.03),
        (Sign::SynLossAlone, 0.9),
        (Sign::TcpStopsAlone, 0.66),
        (Sign::PathStops, 0.32),
        (Sign::SiblingSame, 0.94),
        (Sign::SiblingFurther, 0.02),
        (Sign::OthersFail, 0.85),
        (Sign::OthersReach, 0.1),
        (Sign::InsideFails, 0.85),
        (Sign::SecondReaches, 0.1),
        (Sign::EchoNeverAnswered, 0.62),
        (Sign::CanaryAnswers, 0.36),
        (Sign::CanaryFellSilent, 0.1),
        (Sign::CanaryStillSilent, 0.34),
        (Sign::ControlAnswers, 0.8),
        (Sign::AlternateSilent, 0.86),
        (Sign::AlternateOpen, 0.04),
        (Sign::ComesAndGoes, 0.05),
    ],
};
