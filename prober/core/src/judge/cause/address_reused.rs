//! The address belongs to another machine now.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "address_reused",
    class: Class::WrongService,
    prior: 0.03,
    meaning: Text {
        en: "The address, or the name, leads to another machine than before.",
        zh: "该 IP 或域名现在指向另一台机器。",
    },
    remedy: Text {
        en: "Compare the address in the console and in DNS with the plan, and the certificate \
             with the one seen before. Update the plan. Do not log in with real credentials \
             until the machine is proven.",
        zh: "将控制台与 DNS 中的地址同探测计划核对，并比对证书与此前是否一致，再更新计划。确认机\
             器身份前不要输入真实凭据登录。",
    },
    risk: Risk::ReadOnly,
    expect: &[
        (Sign::EchoAnswered, 0.6),
        (Sign::EchoSilent, 0.38),
        (Sign::SynAccepted, 0.6),
        (Sign::SynReset, 0.2),
        (Sign::SynSilent, 0.18),
        (Sign::AcceptSame, 0.75),
        (Sign::AcceptNearer, 0.15),
        (Sign::PathReachesTarget, 0.8),
        (Sign::ServiceForeign, 0.5),
        (Sign::ServiceUnreached, 0.3),
        (Sign::ServiceConfirmed, 0.1),
        (Sign::MachineAnother, 0.7),
        (Sign::MachineMoved, 0.2),
    ],
};
