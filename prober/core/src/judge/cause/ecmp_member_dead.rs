//! One of several parallel paths is dead.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "ecmp_member_dead",
    class: Class::PartialPath,
    prior: 0.3,
    meaning: Text {
        en: "One of several parallel links or devices is dead: each flow always works or always \
             fails, by its addresses and ports.",
        zh: "多条等价路径（ECMP/LAG）之一失效：每条流按五元组固定成功或固定失败。",
    },
    remedy: Text {
        en: "Note a source port that works and one that fails, and give the carrier or the cloud \
             both with traces. Until then a client can retry from another source port. Do not \
             conclude from one successful retry that it is healed.",
        zh: "记录一个成功与一个失败的源端口，连同各自的路由跟踪提交运营商或云厂商。在此之前客户端\
             可换源端口重试。不要因一次重试成功就认为已恢复。",
    },
    risk: Risk::ReadOnly,
    expect: &[
        (Sign::EchoAnswered, 0.5),
        (Sign::EchoSilent, 0.25),
        (Sign::EchoPartial, 0.2),
        (Sign::SynPartial, 0.6),
        (Sign::SynAccepted, 0.2),
        (Sign::SynSilent, 0.18),
        (Sign::PathReachesTarget, 0.45),
        (Sign::TcpStopsAlone, 0.25),
        (Sign::PathStops, 0.28),
        (Sign::ServiceConfirmed, 0.5),
        (Sign::ServiceUnreached, 0.4),
        (Sign::OthersReach, 0.6),
        (Sign::OthersFail, 0.35),
        (Sign::InsideFails, 0.4),
        (Sign::SecondReaches, 0.3),
        (Sign::PathShortened, 0.4),
        (Sign::FlowsSplit, 0.96),
        // Echoes are one flow, which a living path may carry; but then the flows of SYNs tell.
        (Sign::SynLossAlone, 0.15),
        (Sign::DelayFlat, 0.8),
    ],
};
