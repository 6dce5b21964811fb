//! The service accepts and then says nothing.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "service_hung",
    class: Class::ServiceHung,
    prior: 0.25,
    meaning: Text {
        en: "The service hangs: the kernel accepts connections and nobody serves them.",
        zh: "服务挂起：内核接受了连接，但无进程处理。",
    },
    remedy: Text {
        en: "Take CPU, memory, session count and the event log through VNC or the command \
             channel first; then restart the service. That ends its sessions, so warn the users; \
             do not reboot before you have looked.",
        zh: "先通过 VNC 或云助手采集 CPU、内存、会话数与事件日志，再重启服务。重启会中断会话，请\
             先通知用户；未查看前不要重启实例。",
    },
    risk: Risk::Disruptive,
    expect: &[
        (Sign::EchoAnswered, 0.76),
        (Sign::EchoSilent, 0.2),
        (Sign::SynAccepted, 0.97),
        (Sign::PathReachesTarget, 0.95),
        (Sign::ServiceSilent, 0.54),
        (Sign::ServiceClosed, 0.32),
        (Sign::ServiceConfirmed, 0.1),
        (Sign::ServiceLate, 0.03),
        (Sign::TlsSilent, 0.8),
        (Sign::ComesAndGoes, 0.1),
    ],
};
