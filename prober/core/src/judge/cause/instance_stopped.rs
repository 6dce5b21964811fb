//! The instance is not running.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "instance_stopped",
    class: Class::HostSilent,
    prior: 3.5,
    meaning: Text {
        en: "The instance is stopped, released or locked (arrears, expiry, security).",
        zh: "实例已停止、已释放，或因欠费、到期、安全原因被锁定。",
    },
    remedy: Text {
        en: "Look up the instance state, expiry and lock reason in the console. Clear the lock \
             first, then start it. Check the address afterwards: a stop may have released it.",
        zh: "在控制台查看实例状态、到期时间与锁定原因，先解除锁定再启动。启动后核对公网 IP：停机\
             可能已释放原地址。",
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
        (Sign::ComesAndGoes, 0.02),
    ],
};
