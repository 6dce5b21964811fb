//! The prober has run out of something.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "vantage_limits",
    class: Class::VantageFault,
    prior: 0.2,
    meaning: Text {
        en: "The probing machine has run out of ports, buffers, connection-tracking entries or \
             CPU, so its samples are invalid.",
        zh: "探测机的端口、缓冲区、连接跟踪表或 CPU 耗尽，样本无效。",
    },
    remedy: Text {
        en: "Run reachd doctor, read the drop counters, conntrack and CPU, then raise the limit \
             or shrink the plan. Do not read the loss as the target's.",
        zh: "运行 `reachd doctor`，查看丢弃计数、conntrack 与 CPU，再调高限制或缩减计划。不要把这些\
             丢包算到目标头上。",
    },
    risk: Risk::Change,
    expect: &[
        (Sign::EchoSilent, 0.4),
        (Sign::EchoPartial, 0.3),
        (Sign::EchoAnswered, 0.28),
        (Sign::SynSilent, 0.45),
        (Sign::SynPartial, 0.35),
        (Sign::SynAccepted, 0.16),
        (Sign::PathStops, 0.5),
        (Sign::PathReachesTarget, 0.3),
        (Sign::OthersReach, 0.8),
        (Sign::OthersFail, 0.18),
        (Sign::InsideFails, 0.1),
        (Sign::PathShortened, 0.5),
        (Sign::LocalExhausted, 0.9),
        (Sign::VantageFine, 0.3),
        (Sign::VantageSuspect, 0.5),
    ],
};
