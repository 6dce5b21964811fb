//! The network of the guest is down.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "nic_down",
    class: Class::HostSilent,
    prior: 0.8,
    meaning: Text {
        en: "The network adapter of the guest is disabled, or its driver, address, mask or \
             gateway is wrong.",
        zh: "操作系统内网卡被禁用，或驱动、IP、掩码、网关配置错误。",
    },
    remedy: Text {
        en: "Log in through VNC; check the adapter state, its driver, DHCP and the default \
             gateway, then enable or repair it. Keep the console open while you change network \
             settings: there is no other way in.",
        zh: "通过 VNC 登录，检查网卡状态、驱动、DHCP 与默认网关，再启用或修复。修改网络配置期间保\
             持 VNC 会话，这是唯一入口。",
    },
    risk: Risk::Change,
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
        (Sign::ComesAndGoes, 0.2),
    ],
};
