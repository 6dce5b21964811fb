//! The public address leads to no instance.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "eip_unbound",
    class: Class::HostSilent,
    prior: 0.5,
    meaning: Text {
        en: "The public address is not bound to the instance, or the binding is stale at the \
             cloud's edge.",
        zh: "弹性公网 IP 未绑定到实例，或云边界上的绑定关系失效。",
    },
    remedy: Text {
        en: "Compare the address with the console: is it bound, in use and on this instance? \
             Bind it, or unbind and bind it again. Do not release it: it may never come back.",
        zh: "在控制台核对该 EIP 是否已绑定、状态是否使用中、是否绑在本实例，再绑定或解绑后重新绑\
             定。不要释放 EIP，释放后可能无法找回。",
    },
    risk: Risk::Change,
    expect: &[
        (Sign::EchoSilent, 0.96),
        (Sign::SynSilent, 0.96),
        (Sign::PathStops, 0.96),
        // Some edges know no mapping and drop before the subnet's own routers, others behind them.
        (Sign::SiblingSame, 0.72),
        (Sign::SiblingFurther, 0.22),
        (Sign::OthersFail, 0.76),
        (Sign::InsideReaches, 0.21),
        (Sign::InsideFails, 0.35),
        (Sign::PathShortened, 0.45),
        (Sign::EchoUsedToAnswer, 0.62),
        (Sign::FrontSilent, 0.9),
        (Sign::ComesAndGoes, 0.02),
    ],
};
