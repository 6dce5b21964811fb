//! Server and client agree on no security layer.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "security_layer_mismatch",
    class: Class::RdpRefused,
    prior: 0.1,
    meaning: Text {
        en: "The RDP server refuses what the client offers: its security layer or NLA setting \
             does not match.",
        zh: "RDP 服务器拒绝了客户端提供的协议：安全层或 NLA 设置不匹配。",
    },
    remedy: Text {
        en: "Read in the evidence what is refused. Every offer: no other client helps, SecurityLayer \
             and UserAuthentication contradict themselves or the group policy. One offer: compare \
             them with what clients use. Within TLS: compare the versions and suites that the \
             server allows. Do not switch NLA off.",
        zh: "查看证据中被拒绝的协议。若全部被拒绝：更换客户端无效，服务器的 SecurityLayer 与 \
             UserAuthentication 自相矛盾或与组策略冲突。若只拒绝部分：核对其与客户端能力是否一致。若在 \
             TLS 阶段失败：核对服务器允许的 TLS 版本与套件。不要关闭 NLA。",
    },
    risk: Risk::Change,
    expect: &[
        (Sign::EchoAnswered, 0.76),
        (Sign::EchoSilent, 0.2),
        (Sign::SynAccepted, 0.97),
        (Sign::PathReachesTarget, 0.95),
        (Sign::ServiceRefused, 0.86),
        // Client and server may share no version or suite of TLS either.
        (Sign::ServiceConfirmed, 0.12),
        (Sign::TlsAlert, 0.33),
        // Schannel says nothing of it, and closes (event 36874).
        (Sign::TlsEnded, 0.32),
        // Others say so.
        (Sign::TlsUnshared, 0.34),
    ],
};
