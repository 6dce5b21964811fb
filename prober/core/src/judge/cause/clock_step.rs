//! The clock of the prober jumped or stood still.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "clock_step",
    class: Class::VantageFault,
    prior: 0.05,
    meaning: Text {
        en: "The probing machine's clock jumped or the machine was paused, so what was late \
             looks lost.",
        zh: "探测机时钟跳变或机器被暂停，迟到的应答被误认为丢失。",
    },
    remedy: Text {
        en: "Check time synchronisation, suspension and CPU steal of the probing machine; the \
             next samples settle it. Do not act on verdicts from that minute.",
        zh: "检查探测机的时间同步、挂起与 CPU 被抢占（steal）情况；后续样本会给出结论。不要依据那\
             一分钟的结论操作。",
    },
    risk: Risk::Change,
    expect: &[
        (Sign::EchoPartial, 0.4),
        (Sign::EchoAnswered, 0.4),
        (Sign::EchoSilent, 0.18),
        (Sign::SynPartial, 0.4),
        (Sign::SynAccepted, 0.4),
        (Sign::SynSilent, 0.18),
        (Sign::OthersReach, 0.9),
        (Sign::VantageSuspect, 0.7),
        (Sign::VantageFine, 0.25),
    ],
};
