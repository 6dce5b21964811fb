//! The provider has black-holed the address because of an attack.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "ddos_blackhole",
    class: Class::Blackhole,
    prior: 5.8,
    meaning: Text {
        en: "The address is dropped upstream, as a provider does with an address under a DDoS \
             attack. The instance usually runs on untouched.",
        zh: "该公网 IP 在上游被丢弃，符合遭受 DDoS 攻击后被云厂商拉入黑洞的情形，实例本身通常仍在\
             正常运行。",
    },
    remedy: Text {
        en: "Check the DDoS blackhole state of the address and its release time, usually 2 to 24 \
             hours after the attack (2.5 by default at Alibaba Cloud); until then \
             reach the instance from the same region or private network. Then wait, change the \
             address or buy protection. Do not restart the instance first: that releases nothing.",
        zh: "查询该 IP 的 DDoS 黑洞状态与解封时间（通常 2 至 24 小时，阿里云默认 2.5 小时）；解封前可\
             从同地域或内网访问实例。之后等待自动解\
             封、更换公网 IP 或购买防护。勿先重启实例，重启不会解除黑洞。",
    },
    risk: Risk::ReadOnly,
    expect: &[
        (Sign::EchoSilent, 0.97),
        (Sign::SynSilent, 0.97),
        (Sign::PathStops, 0.97),
        (Sign::SiblingFurther, 0.93),
        (Sign::SiblingSame, 0.03),
        (Sign::OthersFail, 0.5),
        (Sign::InsideReaches, 0.48),
        (Sign::InsideFails, 0.03),
        (Sign::PathShortened, 0.8),
        (Sign::EchoUsedToAnswer, 0.62),
        (Sign::TimerRanOut, 0.55),
    ],
};
