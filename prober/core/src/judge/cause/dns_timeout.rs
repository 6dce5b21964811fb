//! The name servers of the domain are silent.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "dns_timeout",
    class: Class::DnsFailure,
    prior: 0.1,
    meaning: Text {
        en: "Questions for this name time out while other names resolve: its name servers are \
             silent.",
        zh: "查询该域名超时，而其他域名正常：其权威服务器无应答。",
    },
    remedy: Text {
        en: "Ask the authoritative servers directly from two networks, and check whether they \
             are up or under attack. Reach the target by address meanwhile; do not freeze that \
             address in the plan.",
        zh: "从两个网络直接查询权威服务器，检查其是否在线或遭受攻击。期间可用 IP 访问目标，但不要\
             把该 IP 写死在计划中。",
    },
    risk: Risk::ReadOnly,
    expect: &[(Sign::NameTimesOut, 0.93), (Sign::ResolverDead, 0.02)],
};
