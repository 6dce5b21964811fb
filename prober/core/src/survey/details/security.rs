//! The particulars of TLS, of certificates and of clocks.

use crate::wire::certificate::{Certificate, Issuance, date};
use crate::wire::tls::{AlertDescription, CipherSuite, Version};
use crate::wording::{Text, Wording};

pub(crate) fn connection(version: Version, suite: CipherSuite) -> Wording {
    Wording::same(format!("{version}, {suite}"))
}

pub(crate) fn alert(description: AlertDescription) -> Wording {
    Wording::new(
        format!("alert {description} in place of a certificate"),
        format!("未给出证书，而是告警 `{description}`"),
    )
}

pub(crate) fn no_tls(hint: &Wording) -> Wording {
    Wording::new(format!("{} in place of TLS", hint.en), format!("应答不是 TLS，而是{}", hint.zh))
}

pub(crate) fn unreadable_tls() -> Wording {
    Wording::new("an answer that is no TLS handshake", "应答不是有效的 TLS 握手")
}

pub(crate) fn endless_tls() -> Wording {
    Wording::new("more than a certificate may take", "数据超出证书应有的大小")
}

pub(crate) fn tls_died(reset: bool) -> Wording {
    match reset {
        true => Wording::new("reset in place of a certificate", "未给出证书即被 RST"),
        false => Wording::new("closed in place of a certificate", "未给出证书即断开"),
    }
}

pub(crate) fn tls_silent() -> Wording {
    Wording::new("no certificate came", "一直没有收到证书")
}

pub(crate) fn unreadable() -> Wording {
    Wording::new("the certificate cannot be read", "证书无法解析")
}

/// Whose a certificate is, from when and until when.
pub(crate) fn certificate(certificate: &Certificate) -> Wording {
    let name = certificate.subject_common_name.as_deref().unwrap_or("-");
    let (from, until) = (date(certificate.not_before), date(certificate.not_after));
    let by = match certificate.issuance {
        Issuance::Foreign => Text { en: "issued by a CA", zh: "CA 签发" },
        Issuance::SelfSigned | Issuance::SelfIssued | Issuance::Unverified => {
            Text { en: "self-signed", zh: "自签名" }
        }
    };
    Wording::new(
        format!("CN {name}, {}, valid from {from} to {until}", by.en),
        format!("CN `{name}`，{}，有效期 {from} 至 {until}", by.zh),
    )
}

/// A certificate whose time is over.
pub(crate) fn expired(end: i64) -> Wording {
    let end = date(end);
    Wording::new(
        format!("The RDP server's certificate expired on {end}."),
        format!("RDP 服务器证书已于 {end} 过期。"),
    )
}

/// A certificate whose time has not come.
pub(crate) fn not_yet(start: i64) -> Wording {
    let start = date(start);
    Wording::new(
        format!(
            "The RDP server's certificate is valid from {start} on, which is still to come: a \
             clock is or was wrong."
        ),
        format!("RDP 服务器证书自 {start} 起生效，目前尚未生效：时钟有误，或签发时时钟有误。"),
    )
}

/// TLS that came to no certificate.
pub(crate) fn tls_fault(how: &Wording) -> Wording {
    Wording::new(
        format!("The RDP server answers, but TLS fails: {}.", how.en),
        format!("RDP 服务有应答，但 TLS 失败：{}。", how.zh),
    )
}

pub(crate) fn replaced(fingerprint: &str) -> Wording {
    let start: String = fingerprint.chars().take(16).collect();
    Wording::new(
        format!("another certificate than before, SHA-256 {start}…"),
        format!("证书与之前不同，SHA-256 {start}…"),
    )
}

pub(crate) fn violation(offered: u32, selected: u32) -> Wording {
    Wording::new(
        format!("selects protocol {selected:#x} where {offered:#x} was offered"),
        format!("提供的协议为 {offered:#x}，却选择了 {selected:#x}"),
    )
}

pub(crate) fn optional() -> Wording {
    Wording::new("on offer, not demanded", "可用但不强制")
}

pub(crate) fn also_plain() -> Wording {
    Wording::new("taken beside TLS", "与 TLS 并存")
}

pub(crate) fn weak_signature(algorithm: &str) -> Wording {
    Wording::new(format!("signed with {algorithm}"), format!("签名算法 `{algorithm}`"))
}

pub(crate) fn small_key(bits: u32) -> Wording {
    Wording::new(format!("RSA key of {bits} bits"), format!("RSA 密钥仅 {bits} 位"))
}

/// By how much a server's clock is off, in nanoseconds.
pub(crate) fn skew(nanos: i128) -> Wording {
    let seconds = nanos / 1_000_000_000;
    let (en, zh) = if seconds < 0 { ("behind", "慢") } else { ("ahead", "快") };
    let seconds = seconds.unsigned_abs();
    Wording::new(format!("{seconds} s {en} of ours"), format!("比本机{zh} {seconds} 秒"))
}
