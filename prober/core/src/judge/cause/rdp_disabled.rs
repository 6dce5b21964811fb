//! Remote Desktop is switched off.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "rdp_disabled",
    class: Class::PortClosed,
    prior: 0.9,
    meaning: Text {
        en: "The host is up, and Remote Desktop is switched off by a setting or by group policy.",
        zh: "主机在线，但远程桌面被系统设置或组策略关闭。",
    },
    remedy: Text {
        en: "Check fDenyTSConnections (the copy of group policy wins) and fEnableWinStation, set \
             them to 0 and 1. Restarting the service afterwards ends running sessions.",
        zh: "检查 fDenyTSConnections（组策略副本优先）与 fEnableWinStation，分别设为 0 与 1。之后\
             若重启远程桌面服务，会中断现有会话。",
    },
    risk: Risk::Change,
    expect: &[
        (Sign::EchoAnswered, 0.75),
        (Sign::EchoSilent, 0.23),
        (Sign::SynReset, 0.97),
        (Sign::PathReachesTarget, 0.96),
        (Sign::SiblingSame, 0.8),
        (Sign::FromTarget, 0.8),
        (Sign::ResetSame, 0.97),
    ],
};
