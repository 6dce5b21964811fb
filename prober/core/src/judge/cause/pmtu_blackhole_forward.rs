//! Large packets toward the target vanish.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "pmtu_blackhole_forward",
    class: Class::MtuBlackhole,
    prior: 0.02,
    meaning: Text {
        en: "Large packets toward the target vanish, and the ICMP message that would say so is \
             filtered.",
        zh: "发往目标方向的大包丢失，而提示需要分片的 ICMP 被过滤。",
    },
    remedy: Text {
        en: "Find the largest size that passes, and check tunnels, VPNs and filters of ICMP type \
             3 code 4 on the way; then clamp the MSS or admit that ICMP. Do not lower the MTU of \
             every host.",
        zh: "测出可通过的最大包长，检查途中的隧道、VPN 及对 ICMP 类型 3 代码 4 的过滤，再调整 \
             MSS 或放行该 ICMP。不要逐台降低主机 MTU。",
    },
    risk: Risk::Change,
    expect: &[
        (Sign::EchoAnswered, 0.76),
        (Sign::EchoSilent, 0.2),
        (Sign::SynAccepted, 0.97),
        (Sign::PathReachesTarget, 0.95),
        (Sign::ServiceConfirmed, 0.75),
        (Sign::ServiceSilent, 0.15),
        (Sign::OthersFail, 0.6),
        (Sign::OthersReach, 0.35),
        (Sign::InsideFails, 0.3),
        (Sign::LargeForwardLost, 0.6),
        (Sign::LargeLost, 0.34),
        (Sign::LargeReplyLost, 0.02),
    ],
};
