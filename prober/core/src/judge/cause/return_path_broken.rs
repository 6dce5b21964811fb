//! Answers do not find the way back.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "return_path_broken",
    class: Class::SourceBlocked,
    prior: 1.4,
    meaning: Text {
        en: "Packets arrive, but the answers do not find the way back to this vantage.",
        zh: "请求能够到达，但应答无法返回该观测点。",
    },
    remedy: Text {
        en: "Trace from the target, or from a host beside it, back to the vantage, and check the \
             target's routes and the announcement of the vantage's prefix. Do not judge by the \
             forward trace alone: it ends where answers get lost.",
        zh: "从目标或同网段主机反向跟踪到观测点，检查目标侧路由与观测点网段的 BGP 宣告。不要只看\
             正向路由跟踪，它止于应答丢失之处。",
    },
    risk: Risk::Change,
    expect: &[
        (Sign::EchoSilent, 0.95),
        (Sign::SynSilent, 0.95),
        (Sign::PathStops, 0.95),
        (Sign::SiblingFailsToo, 0.6),
        (Sign::SiblingSame, 0.28),
        (Sign::ResetForSome, 0.3),
        (Sign::OthersReach, 0.93),
        (Sign::OthersFail, 0.04),
        (Sign::InsideFails, 0.05),
        (Sign::SecondFailsToo, 0.9),
        (Sign::PathShortened, 0.7),
        (Sign::FrontSilent, 0.95),
        (Sign::CanaryAnswers, 0.02),
        (Sign::CanaryFellSilent, 0.34),
        (Sign::ControlSilent, 0.95),
        (Sign::NeighboursAnswer, 0.3),
        (Sign::ComesAndGoes, 0.15),
    ],
};
