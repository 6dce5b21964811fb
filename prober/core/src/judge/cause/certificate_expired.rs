//! The server's certificate is not valid now.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "certificate_expired",
    class: Class::Certificate,
    prior: 0.02,
    meaning: Text {
        en: "The server's certificate has expired or is not valid yet, or the server's clock is \
             wrong.",
        zh: "服务器证书已过期或尚未生效，或服务器时钟错误。",
    },
    remedy: Text {
        en: "Compare the dates in the evidence with the server's clock, then renew the \
             certificate; restarting the service ends sessions. Do not teach users to click the \
             warning away.",
        zh: "将证据中的有效期与服务器时钟比对，再更新证书；重启服务会中断会话。不要让用户习惯性忽\
             略证书警告。",
    },
    risk: Risk::Disruptive,
    expect: &[
        (Sign::EchoAnswered, 0.76),
        (Sign::EchoSilent, 0.2),
        (Sign::SynAccepted, 0.97),
        (Sign::PathReachesTarget, 0.95),
        (Sign::ServiceConfirmed, 0.95),
        (Sign::TlsShown, 0.98),
        (Sign::CertificateExpired, 0.98),
    ],
};
