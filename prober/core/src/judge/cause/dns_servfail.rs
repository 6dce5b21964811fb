//! The name servers of the domain fail.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "dns_servfail",
    class: Class::DnsFailure,
    prior: 0.1,
    meaning: Text {
        en: "The resolver answers for other names, but gets no valid answer for this one: its \
             name servers or DNSSEC fail.",
        zh: "解析器对其他域名正常，但该域名得不到有效应答：权威服务器或 DNSSEC 故障。",
    },
    remedy: Text {
        en: "Ask the authoritative servers directly and check the delegation and DNSSEC \
             signatures, then have the zone's owner repair them. Do not switch validation off.",
        zh: "直接查询权威服务器，检查委派与 DNSSEC 签名，再由域名管理方修复。不要关闭 DNSSEC 校\
             验。",
    },
    risk: Risk::ReadOnly,
    expect: &[(Sign::NameServerFails, 0.97)],
};
