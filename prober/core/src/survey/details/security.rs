//! The particulars of TLS, of certificates and of clocks.

use crate::evidence::rdp::{NtlmOutcome, StageFailure};
use crate::wire::certificate::{Certificate, Issuance, date};
use crate::wire::tls::{AlertDescription, CipherSuite, Version};
use crate::wire::x224::FailureCode;
use crate::wording::{Text, Wording};

/// The NTSTATUS of a member server that finds no domain controller ([MS-ERREF] 2.3.1).
const STATUS_NO_LOGON_SERVERS: u32 = 0xc000_005e;

pub(crate) fn connection(version: Version, suite: CipherSuite) -> Wording {
    Wording::same(format!("{version}, {suite}"))
}

pub(crate) fn alert(description: AlertDescription) -> Wording {
    Wording::new(
        format!("alert {description} in place of a certificate"),
        format!("未给出证书，而是告警 `{description}`"),
    )
}

/// Server and prober found nothing that both know.
pub(crate) fn unshared(said: Option<AlertDescription>) -> Wording {
    let [en, zh] = said.map_or_else(Default::default, |said| {
        [format!(" (alert {said})"), format!("（告警 `{said}`）")]
    });
    Wording::new(
        format!(
            "no common version, suite or key type with the prober{en}: the certificate is not seen"
        ),
        format!("与探测端没有共同的版本、套件或密钥类型{zh}，未见到证书"),
    )
}

pub(crate) fn no_tls(hint: &Wording) -> Wording {
    Wording::new(format!("{} in place of TLS", hint.en), format!("应答不是 TLS，而是{}", hint.zh))
}

/// Another connection to the same port is answered by something else.
pub(crate) fn no_rdp(hint: &Wording) -> Wording {
    Wording::new(
        format!("a further connection is answered by {} in place of RDP", hint.en),
        format!("后续连接的应答不是 RDP，而是{}", hint.zh),
    )
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

/// The same of one that has ended and that Windows renews by itself when a connection comes.
pub(crate) fn renewing(of: &Wording) -> Wording {
    Wording::new(
        format!("{}; it has ended, and Windows makes a new one within a day", of.en),
        format!("{}；已到期，Windows 会在一天内自动更新", of.zh),
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

/// A failure code with its name, where it has one.
pub(crate) fn refusal(code: u32) -> Wording {
    let name = match FailureCode::from(code) {
        FailureCode::Unknown(_) => [String::new(), String::new()],
        known => [format!(" ({known})"), format!("（`{known}`）")],
    };
    let [en, zh] = name;
    Wording::new(
        format!("RDP negotiation failure code {code}{en}"),
        format!("RDP 协商失败代码 {code}{zh}"),
    )
}

/// Why no session can be had, in a sentence.
pub(crate) fn refused(why: &Wording) -> Wording {
    Wording::new(
        format!("The RDP server answers and takes no client: {}.", why.en),
        format!("RDP 服务有应答，但不接受客户端：{}。", why.zh),
    )
}

/// A refusal of what clients of today offer.
pub(crate) fn of_today(why: &Wording) -> Wording {
    Wording::new(
        format!("{} to what clients of today offer (TLS and NLA)", why.en),
        format!("客户端提供 TLS 与 NLA 时，{}", why.zh),
    )
}

/// A refusal that no other offer changes.
pub(crate) fn always(why: &Wording) -> Wording {
    Wording::new(
        format!("{}, whatever it is offered", why.en),
        format!("{}，无论客户端提供何种协议", why.zh),
    )
}

/// Why the server issued no NTLM challenge, or none that can be read. Clients of its domain may
/// still log on by Kerberos, of which a prober without a password sees nothing.
pub(crate) fn without_challenge(outcome: &NtlmOutcome) -> Wording {
    match outcome {
        NtlmOutcome::Error(STATUS_NO_LOGON_SERVERS) => Wording::new(
            "NLA fails: no domain controller can be reached (STATUS_NO_LOGON_SERVERS)",
            "NLA 失败：无法联系域控制器（`STATUS_NO_LOGON_SERVERS`）",
        ),
        NtlmOutcome::Error(status) => Wording::new(
            format!("NLA by NTLM fails with status {status:#010x}"),
            format!("NLA（NTLM）失败，状态 {status:#010x}"),
        ),
        NtlmOutcome::Failed(StageFailure::TimedOut { .. }) => {
            Wording::new("NLA was not answered in time", "NLA 限时内无应答")
        }
        NtlmOutcome::Failed(_) => Wording::new("NLA ended the connection", "NLA 阶段连接被断开"),
        NtlmOutcome::Malformed | NtlmOutcome::Challenged { .. } | NtlmOutcome::UnsupportedTls => {
            Wording::new("NLA was answered with no challenge", "NLA 的应答不是质询")
        }
    }
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

pub(crate) fn downgrade() -> Wording {
    Wording::new(
        "selected although TLS was offered: its certificate may be missing or unreadable, or it is \
         configured so",
        "客户端提供了 TLS 仍选择此项：证书可能缺失或无法读取，也可能是有意配置",
    )
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
    let (en, zh) = if seconds < 0 { ("behind", "慢") } else { ("ahead of", "快") };
    let seconds = seconds.unsigned_abs();
    Wording::new(format!("{seconds} s {en} ours"), format!("比本机{zh} {seconds} 秒"))
}
