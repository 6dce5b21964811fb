//! The prober may not do what it must.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "no_privilege",
    class: Class::VantageFault,
    prior: 0.2,
    meaning: Text {
        en: "The prober lacks a privilege (CAP_NET_RAW, ping_group_range, namespace), so it \
             could not probe.",
        zh: "探测程序缺少权限（CAP_NET_RAW、ping_group_range、命名空间），无法探测。",
    },
    remedy: Text {
        en: "Run reachd doctor and grant exactly what it names, by the shipped systemd unit. Do \
             not run it as root instead.",
        zh: "运行 `reachd doctor`，通过随附的 systemd 单元只授予其指出的权限。不要改用 root 运行。",
    },
    risk: Risk::Change,
    expect: &[
        (Sign::EchoSilent, 0.7),
        (Sign::EchoAnswered, 0.2),
        (Sign::SynSilent, 0.5),
        (Sign::SynAccepted, 0.4),
        (Sign::PathStops, 0.8),
        (Sign::SiblingFailsToo, 0.8),
        (Sign::SiblingSame, 0.15),
        (Sign::OthersReach, 0.8),
        (Sign::OthersFail, 0.18),
        (Sign::InsideFails, 0.1),
        (Sign::LocalNoPrivilege, 0.95),
        (Sign::VantageSuspect, 0.6),
        (Sign::FrontSilent, 0.8),
        (Sign::ControlAnswers, 0.4),
        (Sign::NeighboursSilent, 0.8),
    ],
};
