//! The operating system does not run any more.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "instance_hung",
    class: Class::HostSilent,
    prior: 2.0,
    meaning: Text {
        en: "The instance counts as running, but its operating system hangs, has crashed or \
             never came up.",
        zh: "实例显示运行中，但操作系统卡死、蓝屏或未能启动。",
    },
    remedy: Text {
        en: "Take a console screenshot (VNC) and look at the health state and the agent's last \
             heartbeat. Reboot only when the screenshot shows a hang; an update in progress must \
             be left to finish.",
        zh: "查看控制台截图（VNC）、健康状态与云助手最近心跳。截图确认卡死后再重启；若正在安装更\
             新，务必等其完成，勿强制重启。",
    },
    risk: Risk::Disruptive,
    expect: &[
        (Sign::EchoSilent, 0.86),
        (Sign::EchoError, 0.12),
        (Sign::SynSilent, 0.86),
        (Sign::SynError, 0.12),
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
        (Sign::ComesAndGoes, 0.1),
    ],
};
