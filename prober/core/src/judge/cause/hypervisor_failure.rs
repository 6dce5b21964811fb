//! The physical host under the instance failed.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "hypervisor_failure",
    class: Class::HostSilent,
    prior: 0.7,
    meaning: Text {
        en: "The physical host or its network failed; instances on the same host fall silent \
             together.",
        zh: "底层物理机或其网络故障，同一物理机上的实例会同时失联。",
    },
    remedy: Text {
        en: "Look for system events of the instance and wait for the automatic move. If there is \
             none, open a ticket; stopping and starting puts the instance on another host, but \
             erases local disks.",
        zh: "查看实例的系统事件，等待自动迁移恢复。若无事件则提交工单；停止后再启动可换物理机，但\
             会清空本地盘数据。",
    },
    risk: Risk::Disruptive,
    expect: &[
        (Sign::EchoSilent, 0.86),
        (Sign::EchoError, 0.12),
        (Sign::SynSilent, 0.86),
        (Sign::SynError, 0.12),
        (Sign::PathStops, 0.97),
        (Sign::SiblingSame, 0.8),
        (Sign::SiblingFailsToo, 0.15),
        (Sign::NoError, 0.8),
        (Sign::HostUnreachable, 0.18),
        (Sign::FromLastRouter, 0.93),
        (Sign::FromPath, 0.04),
        (Sign::ErrorDelayed, 0.88),
        (Sign::OthersFail, 0.97),
        (Sign::EchoUsedToAnswer, 0.62),
        (Sign::NeighboursAnswer, 0.75),
        (Sign::ComesAndGoes, 0.15),
    ],
};
