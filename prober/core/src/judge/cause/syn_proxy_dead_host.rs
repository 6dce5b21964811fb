//! A protection device answers for a host that does not.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "syn_proxy_dead_host",
    class: Class::ServiceHung,
    prior: 0.1,
    meaning: Text {
        en: "A protection device or balancer answers the handshake, while the host behind it \
             does not.",
        zh: "防护设备或负载均衡代答了握手，而其后的主机没有应答。",
    },
    remedy: Text {
        en: "Check whether mitigation or a balancer is in front and the health of the host \
             behind it, by its private address. Then treat the host as silent. Do not take the \
             open port for a sign of life.",
        zh: "确认前面是否有流量清洗或负载均衡，并通过内网地址检查后端主机状态，之后按主机无响应处\
             理。不要把端口可连当作主机存活。",
    },
    risk: Risk::ReadOnly,
    expect: &[
        (Sign::EchoSilent, 0.75),
        (Sign::EchoAnswered, 0.2),
        (Sign::SynAccepted, 0.97),
        (Sign::PathReachesTarget, 0.9),
        (Sign::ServiceSilent, 0.5),
        (Sign::ServiceClosed, 0.48),
        (Sign::RequestLost, 0.85),
        (Sign::AcceptNearer, 0.6),
        (Sign::AcceptShort, 0.25),
    ],
};
