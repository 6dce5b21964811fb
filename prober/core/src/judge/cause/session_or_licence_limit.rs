//! No session or licence is left.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "session_or_licence_limit",
    class: Class::RdpRefused,
    prior: 0.02,
    meaning: Text {
        en: "The server has no free session or Remote Desktop licence left, so logons fail \
             although the port answers.",
        zh: "服务器的会话数或远程桌面授权已用尽：端口正常，但无法登录。",
    },
    remedy: Text {
        en: "List sessions (quser) and the licence state; log off idle sessions or use mstsc \
             /admin, then repair licensing. Logging a user off loses unsaved work.",
        zh: "查看会话（`quser`）与授权状态，注销空闲会话或使用 `mstsc /admin`，再修复授权。注销会丢失\
             用户未保存的工作。",
    },
    risk: Risk::Change,
    expect: &[
        (Sign::EchoAnswered, 0.76),
        (Sign::EchoSilent, 0.2),
        (Sign::SynAccepted, 0.97),
        (Sign::PathReachesTarget, 0.95),
        (Sign::ServiceConfirmed, 0.7),
        (Sign::ServiceRefused, 0.15),
        (Sign::ServiceClosed, 0.1),
    ],
};
