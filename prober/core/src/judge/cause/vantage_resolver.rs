//! Our own resolver is dead.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "vantage_resolver",
    class: Class::VantageFault,
    prior: 0.1,
    meaning: Text {
        en: "The resolver of the probing side answers for no name at all.",
        zh: "探测端所用的 DNS 解析器对任何域名都不应答。",
    },
    remedy: Text {
        en: "Check the configured resolvers and the way to them, then name a second one in the \
             plan. Do not change DNS records of the targets.",
        zh: "检查所配置的 DNS 解析器及其可达性，并在计划中增加备用解析器。不要改动目标的解析记\
             录。",
    },
    risk: Risk::Change,
    expect: &[
        (Sign::ResolverDead, 0.95),
        (Sign::OthersReach, 0.9),
        (Sign::VantageSuspect, 0.6),
        (Sign::VantageFine, 0.35),
    ],
};
