//! The instance is on its way up or down.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "rebooting",
    class: Class::HostSilent,
    prior: 1.5,
    meaning: Text {
        en: "The instance is restarting, updating or being moved; it usually comes back within \
             15 minutes.",
        zh: "实例正在重启、更新或迁移，通常 15 分钟内恢复。",
    },
    remedy: Text {
        en: "Check planned events, update windows and the console screenshot, and wait. Do not \
             force another restart during an update: it can damage the system.",
        zh: "查看计划内事件、更新窗口与控制台截图，并等待完成。更新期间不要再次强制重启，可能损坏\
             系统。",
    },
    risk: Risk::ReadOnly,
    expect: &[
        (Sign::EchoSilent, 0.86),
        (Sign::EchoError, 0.12),
        (Sign::SynSilent, 0.8),
        (Sign::SynError, 0.1),
        (Sign::SynReset, 0.05),
        (Sign::PathStops, 0.97),
        (Sign::SiblingSame, 0.95),
        (Sign::SiblingFurther, 0.02),
        (Sign::NoError, 0.8),
        (Sign::HostUnreachable, 0.18),
        (Sign::FromLastRouter, 0.93),
        (Sign::FromPath, 0.04),
        (Sign::ErrorDelayed, 0.88),
        (Sign::OthersFail, 0.97),
        (Sign::EchoUsedToAnswer, 0.62),
        (Sign::ComesAndGoes, 0.5),
    ],
};
