//! Large packets from the target vanish.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "pmtu_blackhole_reverse",
    class: Class::MtuBlackhole,
    prior: 0.03,
    meaning: Text {
        en: "Large packets from the target vanish, so a connection opens and then stalls when \
             the server sends much, such as its certificate.",
        zh: "目标返回方向的大包丢失：连接可建立，但服务器发送大量数据（如证书）时卡住。",
    },
    remedy: Text {
        en: "Check the MTU of the target's interface and tunnels, and let ICMP type 3 code 4 \
             reach the target; or clamp the MSS at the gateway. Do not replace the certificate: \
             it is only the first large packet.",
        zh: "检查目标网卡与隧道的 MTU，确保 ICMP 类型 3 代码 4 能到达目标，或在网关调整 MSS。不要\
             更换证书，它只是第一个大包。",
    },
    risk: Risk::Change,
    expect: &[
        (Sign::EchoAnswered, 0.76),
        (Sign::EchoSilent, 0.2),
        (Sign::SynAccepted, 0.97),
        (Sign::PathReachesTarget, 0.95),
        (Sign::ServiceConfirmed, 0.7),
        (Sign::ServiceSilent, 0.2),
        (Sign::OthersFail, 0.6),
        (Sign::OthersReach, 0.35),
        (Sign::InsideFails, 0.3),
        // A first flight that is smaller than what vanishes arrives.
        (Sign::TlsSilent, 0.45),
        (Sign::TlsShown, 0.53),
        (Sign::LargeReplyLost, 0.6),
        (Sign::LargeLost, 0.34),
        (Sign::LargeForwardLost, 0.02),
    ],
};
