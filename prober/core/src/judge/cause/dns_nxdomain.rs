//! The name does not exist.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "dns_nxdomain",
    class: Class::DnsFailure,
    prior: 0.1,
    meaning: Text {
        en: "The name does not exist in DNS or has no address: a typing error, a deleted record or \
             an expired domain.",
        zh: "域名在 DNS 中不存在或没有地址：拼写错误、解析记录被删除或域名已过期。",
    },
    remedy: Text {
        en: "Check the spelling, the record at the DNS provider and the expiry of the domain, \
             then restore the record. Negative answers stay cached for minutes; do not edit \
             again and again meanwhile.",
        zh: "检查拼写、DNS 服务商处的解析记录与域名到期时间，再恢复记录。否定应答会被缓存数分钟，\
             期间不要反复修改。",
    },
    risk: Risk::Change,
    expect: &[(Sign::NameUnknown, 0.97)],
};
