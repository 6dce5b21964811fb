//! Notes: findings that are no failure. A closed list.

use super::cause::Text;

/// A finding that is no failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Note {
    /// Echo is filtered; TCP answers.
    IcmpFiltered,
    /// Echo is limited; TCP loses nothing.
    IcmpRateLimited,
    /// A hop on the way limits its own ICMP; nothing behind it suffers.
    IcmpLimitedHop,
    /// The path is not the one of before.
    PathChanged,
    /// Network Level Authentication is demanded.
    NlaRequired,
    /// Network Level Authentication is off.
    NlaOff,
    /// The server offers RDP's own encryption only.
    PlainRdpSecurity,
    /// TLS older than 1.2 or a weak suite.
    WeakTls,
    /// The server's clock is off.
    ClockSkew,
    /// No capture ring: what it alone can tell is unknown.
    NoCapture,
    /// No healthy state was ever learnt.
    NoBaseline,
    /// One address family fails, the other works.
    OneAddressFamilyFailed,
    /// Vantages get different addresses for the name.
    ResolvesDifferently,
    /// A port that should be filtered answers.
    Exposed,
    /// A failure shorter than the confirmation.
    MicroOutage,
}

impl Note {
    /// Every note.
    pub const ALL: [Self; 15] = [
        Self::IcmpFiltered,
        Self::IcmpRateLimited,
        Self::IcmpLimitedHop,
        Self::PathChanged,
        Self::NlaRequired,
        Self::NlaOff,
        Self::PlainRdpSecurity,
        Self::WeakTls,
        Self::ClockSkew,
        Self::NoCapture,
        Self::NoBaseline,
        Self::OneAddressFamilyFailed,
        Self::ResolvesDifferently,
        Self::Exposed,
        Self::MicroOutage,
    ];

    /// The name used in JSON and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IcmpFiltered => "icmp_filtered",
            Self::IcmpRateLimited => "icmp_rate_limited",
            Self::IcmpLimitedHop => "icmp_limited_hop",
            Self::PathChanged => "path_changed",
            Self::NlaRequired => "nla_required",
            Self::NlaOff => "nla_off",
            Self::PlainRdpSecurity => "plain_rdp_security",
            Self::WeakTls => "weak_tls",
            Self::ClockSkew => "clock_skew",
            Self::NoCapture => "no_capture",
            Self::NoBaseline => "no_baseline",
            Self::OneAddressFamilyFailed => "one_address_family_failed",
            Self::ResolvesDifferently => "resolves_differently",
            Self::Exposed => "exposed",
            Self::MicroOutage => "micro_outage",
        }
    }

    /// The note of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|note| note.as_str() == name)
    }

    /// What it means and whether anything should be done.
    pub const fn meaning(self) -> Text {
        match self {
            Self::IcmpFiltered => Text {
                en: "Echo is filtered on the way or at the host; the service answers, so this is \
                     no fault.",
                zh: "ICMP 回显被过滤，但服务有应答，不属于故障。",
            },
            Self::IcmpRateLimited => Text {
                en: "Some echoes are lost while TCP loses nothing: somebody limits ICMP.",
                zh: "部分 ICMP 丢失而 TCP 无丢失：ICMP 被限速。",
            },
            Self::IcmpLimitedHop => Text {
                en: "A router on the way answers only some TTL-limited probes. That is its own \
                     limit, not loss.",
                zh: "中间路由器只应答部分 TTL 探测，这是其自身限速，并非丢包。",
            },
            Self::PathChanged => Text {
                en: "The path differs from the one of before.",
                zh: "路径与之前不同。",
            },
            Self::NlaRequired => Text {
                en: "The server demands Network Level Authentication, as it should.",
                zh: "服务器要求网络级身份验证（NLA），属正常。",
            },
            Self::NlaOff => Text {
                en: "Network Level Authentication is not demanded: anybody can reach the logon \
                     screen.",
                zh: "未要求网络级身份验证（NLA）：任何人都能到达登录界面。",
            },
            Self::PlainRdpSecurity => Text {
                en: "The server takes RDP's own encryption, alone or beside TLS, which does not prove \
                     who it is.",
                zh: "服务器接受 RDP 自带加密（仅此一种或与 TLS 并存），无法证明身份。",
            },
            Self::WeakTls => Text {
                en: "The server's TLS is old or weak.",
                zh: "服务器的 TLS 过时或强度不足。",
            },
            Self::ClockSkew => {
                Text { en: "The server's clock is off.", zh: "服务器时钟存在偏差。" }
            }
            Self::NoCapture => Text {
                en: "Without CAP_NET_RAW no packets are captured: a reset from the path cannot be \
                     told from the host's own.",
                zh: "没有 CAP_NET_RAW，无法抓包：无法区分路径设备与主机自身的 RST。",
            },
            Self::NoBaseline => Text {
                en: "The target was never seen healthy, so nothing can be compared with before.",
                zh: "从未见过目标健康时的状态，无法与之前比较。",
            },
            Self::OneAddressFamilyFailed => Text {
                en: "One address family fails while the other works.",
                zh: "IPv4 与 IPv6 之一失败，另一个正常。",
            },
            Self::ResolvesDifferently => Text {
                en: "Vantages get different addresses for the same name.",
                zh: "不同观测点解析到不同的地址。",
            },
            Self::Exposed => Text {
                en: "What the plan expects to be filtered or closed answers from here.",
                zh: "计划中应被过滤或关闭的目标从此处有应答。",
            },
            Self::MicroOutage => Text {
                en: "A failure came and went within the confirmation time; no alert.",
                zh: "短暂中断，在确认期内自行恢复，不告警。",
            },
        }
    }

    /// What to do about it, where something should be done.
    pub const fn remedy(self) -> Option<Text> {
        match self {
            Self::NlaOff => Some(Text {
                en: "Require NLA (UserAuthentication = 1, or the group policy \"Require user \
                     authentication for remote connections by using NLA\") once every client \
                     knows it; it takes effect for new connections.",
                zh: "确认客户端均支持后，启用 NLA（UserAuthentication = 1，或组策略“要求使用网络级身份\
                     验证”），对新连接生效。",
            }),
            Self::PlainRdpSecurity => Some(Text {
                en: "Set SecurityLayer to 2 (TLS) and MinEncryptionLevel to 3. Where TLS is \
                     configured already, the server may not be able to read its certificate: see \
                     its log.",
                zh: "将 SecurityLayer 设为 2（TLS），MinEncryptionLevel 设为 3。若已配置 TLS，可能是服\
                     务器无法读取证书，请查看其日志。",
            }),
            Self::WeakTls => Some(Text {
                en: "Switch TLS 1.0 and 1.1, 3DES and RC4 off in Schannel (or the server's own \
                     settings), and replace a certificate with a short key or a SHA-1 signature; \
                     test old clients first.",
                zh: "在 Schannel（或服务器自身配置）中停用 TLS 1.0/1.1、3DES 与 RC4，更换短密钥或 SHA-1 \
                     签名的证书；请先测试旧客户端。",
            }),
            Self::ClockSkew => Some(Text {
                en: "Compare `w32tm /query /status` on the server with a clock you trust, and set \
                     its time source right: Kerberos refuses logons from five minutes on.",
                zh: "在服务器上运行 `w32tm /query /status`，与可信时钟比对并修正时间源：偏差超过五分钟 \
                     Kerberos 将拒绝登录。",
            }),
            Self::IcmpFiltered
            | Self::IcmpRateLimited
            | Self::IcmpLimitedHop
            | Self::PathChanged
            | Self::NlaRequired
            | Self::NoCapture
            | Self::NoBaseline
            | Self::OneAddressFamilyFailed
            | Self::ResolvesDifferently
            | Self::Exposed
            | Self::MicroOutage => None,
        }
    }
}
