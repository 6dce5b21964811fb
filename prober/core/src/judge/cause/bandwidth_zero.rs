//! The public bandwidth is zero or locked.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "bandwidth_zero",
    class: Class::HostSilent,
    prior: 0.5,
    meaning: Text {
        en: "The public bandwidth is set to 0, or locked because of arrears, so nothing passes \
             to the Internet.",
        zh: "公网带宽为 0 Mbps，或因欠费被限制，公网不通。",
    },
    remedy: Text {
        en: "Check the public bandwidth of the instance or EIP and the account's balance, then \
             raise the bandwidth or settle the bill. Private access still works meanwhile; no \
             restart is needed.",
        zh: "检查实例或 EIP 的公网带宽与账户余额，再调高带宽或结清欠费。期间内网仍可访问，无需重\
             启。",
    },
    risk: Risk::Change,
    expect: &[
        (Sign::EchoSilent, 0.96),
        (Sign::SynSilent, 0.96),
        (Sign::PathStops, 0.96),
        (Sign::SiblingSame, 0.85),
        (Sign::SiblingFurther, 0.08),
        (Sign::OthersFail, 0.76),
        (Sign::InsideReaches, 0.21),
        (Sign::InsideFails, 0.35),
        (Sign::PathShortened, 0.15),
        (Sign::EchoUsedToAnswer, 0.62),
        (Sign::FrontSilent, 0.9),
        (Sign::NeighboursAnswer, 0.7),
    ],
};
