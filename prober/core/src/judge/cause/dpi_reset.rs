//! Content inspection kills the connection.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "dpi_reset",
    class: Class::ResetInjected,
    prior: 0.03,
    meaning: Text {
        en: "A device that inspects content lets the handshake pass and resets the connection, or \
             drops what follows, when it sees the protocol or the name in it.",
        zh: "内容检测设备放行握手，在识别出协议或域名后重置连接，或丢弃其后的数据。",
    },
    remedy: Text {
        en: "Compare the reset's distance with the SYN-ACK's and try from inside the private \
             network; check content filters and the site filing rules of the domain. Do not \
             reinstall the certificate or the service for it.",
        zh: "对比 RST 与 SYN-ACK 的跳数距离，并从内网复测；检查内容过滤策略与域名备案。不要为此重\
             装证书或服务。",
    },
    risk: Risk::Change,
    expect: &[
        (Sign::EchoAnswered, 0.72),
        (Sign::EchoSilent, 0.25),
        (Sign::SynAccepted, 0.95),
        (Sign::PathReachesTarget, 0.95),
        (Sign::ServiceResetElsewhere, 0.9),
        (Sign::ServiceClosed, 0.8),
        (Sign::ServiceConfirmed, 0.12),
        (Sign::ServiceSilent, 0.06),
        // One that drops instead.
        (Sign::RequestLost, 0.7),
        (Sign::TlsReset, 0.9),
        (Sign::TlsEnded, 0.04),
        (Sign::ResetForSome, 0.5),
        (Sign::OthersReach, 0.6),
        (Sign::OthersFail, 0.35),
        (Sign::InsideFails, 0.15),
    ],
};
