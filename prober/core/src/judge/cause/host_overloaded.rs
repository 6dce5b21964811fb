//! The host is too busy to answer.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "host_overloaded",
    class: Class::ServiceHung,
    prior: 0.13,
    meaning: Text {
        en: "The host has too little CPU, memory or disk left: its kernel answers and its \
             services are late or mute.",
        zh: "主机 CPU、内存或磁盘耗尽：内核仍有应答，服务却迟缓或无响应。",
    },
    remedy: Text {
        en: "Look at CPU, memory, disk and burst credits in the monitor and find the process. An \
             update in progress should be left to finish; otherwise stop the process or resize. \
             Do not force a reboot during an update.",
        zh: "在云监控查看 CPU、内存、磁盘与 CPU 积分，找出占用资源的进程。若在安装更新则等待完\
             成，否则结束进程或升配。更新期间不要强制重启。",
    },
    risk: Risk::ReadOnly,
    expect: &[
        (Sign::EchoAnswered, 0.7),
        (Sign::EchoSilent, 0.18),
        (Sign::EchoPartial, 0.1),
        (Sign::SynAccepted, 0.86),
        (Sign::SynPartial, 0.08),
        (Sign::SynMixed, 0.04),
        (Sign::SynLossAlone, 0.15),
        (Sign::PathReachesTarget, 0.95),
        (Sign::ServiceSilent, 0.55),
        (Sign::ServiceClosed, 0.28),
        (Sign::ServiceLate, 0.15),
        (Sign::ServiceConfirmed, 0.02),
        (Sign::TlsSilent, 0.5),
        (Sign::ComesAndGoes, 0.45),
    ],
};
