//! The server's certificate cannot be used.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "certificate_broken",
    class: Class::Certificate,
    prior: 0.07,
    meaning: Text {
        en: "The server's certificate or its private key is damaged, so TLS ends at once.",
        zh: "服务器证书或私钥损坏，TLS 握手立即失败。",
    },
    remedy: Text {
        en: "Read events 1057, 1058 and 36870, then delete the certificate in the Remote Desktop \
             store and restart the service, which makes a new one and ends sessions. Do not fall \
             back to plain RDP security.",
        zh: "查看事件 1057、1058 与 36870，再删除“远程桌面”证书存储中的证书并重启服务，将自动重\
             建证书，但会中断会话。不要降级为 RDP 自带加密。",
    },
    risk: Risk::Disruptive,
    expect: &[
        (Sign::EchoAnswered, 0.76),
        (Sign::EchoSilent, 0.2),
        (Sign::SynAccepted, 0.97),
        (Sign::PathReachesTarget, 0.95),
        (Sign::ServiceConfirmed, 0.42),
        (Sign::ServiceUncertified, 0.26),
        (Sign::ServiceClosed, 0.3),
        (Sign::TlsEnded, 0.35),
        (Sign::TlsAlert, 0.18),
        (Sign::TlsGarbled, 0.13),
        (Sign::TlsReset, 0.23),
        // Who has no certificate shares no suite with anybody.
        (Sign::TlsUnshared, 0.08),
        (Sign::TlsSilent, 0.02),
        (Sign::CertificateUnreadable, 0.5),
    ],
};
