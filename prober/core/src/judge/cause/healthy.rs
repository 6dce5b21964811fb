//! Nothing is wrong.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "healthy",
    class: Class::Reachable,
    prior: 40.0,
    meaning: Text {
        en: "Nothing is wrong: the target answers at every layer that was asked.",
        zh: "一切正常：目标在所有被探测的层面均有应答。",
    },
    remedy: Text { en: "Nothing to do.", zh: "无需处理。" },
    risk: Risk::ReadOnly,
    expect: &[
        (Sign::EchoAnswered, 0.78),
        (Sign::EchoSilent, 0.16),
        (Sign::EchoPartial, 0.05),
        (Sign::SynAccepted, 0.98),
        (Sign::PathReachesTarget, 0.96),
        (Sign::ServiceConfirmed, 0.98),
        (Sign::ResetForSome, 0.5),
        (Sign::OthersReach, 0.9),
        (Sign::InsideFails, 0.1),
        (Sign::SecondReaches, 0.9),
    ],
};
