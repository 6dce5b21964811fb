//! Another program owns the port.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "wrong_service",
    class: Class::WrongService,
    prior: 0.2,
    meaning: Text {
        en: "Another program listens on the port than the one that is expected.",
        zh: "监听该端口的是另一个程序，而非预期的服务。",
    },
    remedy: Text {
        en: "Read the banner in the evidence, list the owner of the port on the host, then \
             correct the plan or move the intruder. Do not kill an unknown process before you \
             know what it is.",
        zh: "查看证据中的应答内容，在主机上查明占用端口的进程，再更正探测计划或迁走该程序。未确认\
             用途前不要结束未知进程。",
    },
    risk: Risk::ReadOnly,
    expect: &[
        (Sign::EchoAnswered, 0.76),
        (Sign::EchoSilent, 0.2),
        (Sign::SynAccepted, 0.97),
        (Sign::AcceptSame, 0.75),
        (Sign::AcceptNearer, 0.15),
        (Sign::PathReachesTarget, 0.95),
        (Sign::ServiceForeign, 0.93),
        // It may know the first words and no more.
        (Sign::ServiceConfirmed, 0.04),
        (Sign::TlsGarbled, 0.7),
    ],
};
