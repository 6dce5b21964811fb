//! The service has no room for new connections.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "accept_queue_full",
    class: Class::SecurityGroup,
    prior: 0.6,
    meaning: Text {
        en: "The service's queue of waiting connections is full, often because of password \
             guessing, so new SYNs are dropped.",
        zh: "服务的等待连接队列已满（常见于暴力破解），新的 SYN 被丢弃。",
    },
    remedy: Text {
        en: "Count half-open and waiting connections and failed logons on the guest, and limit \
             the port to known sources. Restart the service only after that: the queue fills \
             again at once.",
        zh: "在系统内统计半连接、排队连接数与登录失败次数，并将端口限制为已知来源。之后才考虑重启\
             服务，否则队列会立即再次占满。",
    },
    risk: Risk::ReadOnly,
    expect: &[
        (Sign::EchoAnswered, 0.66),
        (Sign::EchoSilent, 0.32),
        // A queue drains as long as the service still takes from it.
        (Sign::SynSilent, 0.6),
        (Sign::SynPartial, 0.25),
        (Sign::SynReset, 0.09),
        // Windows resets what its queue has no room for.
        (Sign::SynMixed, 0.04),
        (Sign::SynLossAlone, 0.95),
        // One SYN that is accepted proves the path, as one connection proves the service.
        (Sign::PathReachesTarget, 0.2),
        (Sign::TcpStopsAlone, 0.56),
        (Sign::PathStops, 0.23),
        (Sign::ServiceUnreached, 0.78),
        (Sign::ServiceConfirmed, 0.2),
        (Sign::SiblingSame, 0.94),
        (Sign::SiblingFurther, 0.02),
        (Sign::OthersFail, 0.97),
        (Sign::SecondReaches, 0.1),
        (Sign::EchoNeverAnswered, 0.62),
        (Sign::CanaryAnswers, 0.44),
        (Sign::CanaryFellSilent, 0.03),
        (Sign::ControlAnswers, 0.96),
        (Sign::AlternateSilent, 0.5),
        (Sign::AlternateOpen, 0.04),
        (Sign::ComesAndGoes, 0.6),
    ],
};
