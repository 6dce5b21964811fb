//! Failure classes: what can be seen from outside. A closed list and a metric label for ever.

use super::cause::Text;

/// What can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Answers at every layer asked.
    Reachable,
    /// Part of the end-to-end probes is lost, over flows, TCP too.
    PacketLoss,
    /// Fails for some flows, repeatably.
    PartialPath,
    /// Silent on all protocols, dropped upstream of the target's edge.
    Blackhole,
    /// A router says there is no way.
    NoRoute,
    /// The same addresses alternate to the last hop limit.
    RoutingLoop,
    /// Silent on all protocols with the path intact to the last visible hop.
    HostSilent,
    /// Host alive, this port silently filtered.
    SecurityGroup,
    /// Silent from this vantage or source only.
    SourceBlocked,
    /// A policy says no; the sender is named.
    Rejected,
    /// A reset from the host itself.
    PortClosed,
    /// A reset that is not the host's, or two answers to one SYN.
    ResetInjected,
    /// Small packets pass, large ones vanish.
    MtuBlackhole,
    /// TCP accepts, the service says nothing.
    ServiceHung,
    /// Something else answers on the port.
    WrongService,
    /// The RDP negotiation is refused.
    RdpRefused,
    /// No certificate, or TLS dies, or it is not valid now.
    Certificate,
    /// This name does not resolve while others do.
    DnsFailure,
    /// Our side.
    VantageFault,
    /// Not enough evidence yet.
    Unknown,
}

impl Class {
    /// Every class, in the order of the documentation.
    pub const ALL: [Self; 20] = [
        Self::Reachable,
        Self::PacketLoss,
        Self::PartialPath,
        Self::Blackhole,
        Self::NoRoute,
        Self::RoutingLoop,
        Self::HostSilent,
        Self::SecurityGroup,
        Self::SourceBlocked,
        Self::Rejected,
        Self::PortClosed,
        Self::ResetInjected,
        Self::MtuBlackhole,
        Self::ServiceHung,
        Self::WrongService,
        Self::RdpRefused,
        Self::Certificate,
        Self::DnsFailure,
        Self::VantageFault,
        Self::Unknown,
    ];

    /// The name used in labels, JSON and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reachable => "reachable",
            Self::PacketLoss => "packet_loss",
            Self::PartialPath => "partial_path",
            Self::Blackhole => "blackhole",
            Self::NoRoute => "no_route",
            Self::RoutingLoop => "routing_loop",
            Self::HostSilent => "host_silent",
            Self::SecurityGroup => "security_group",
            Self::SourceBlocked => "source_blocked",
            Self::Rejected => "rejected",
            Self::PortClosed => "port_closed",
            Self::ResetInjected => "reset_injected",
            Self::MtuBlackhole => "mtu_blackhole",
            Self::ServiceHung => "service_hung",
            Self::WrongService => "wrong_service",
            Self::RdpRefused => "rdp_refused",
            Self::Certificate => "certificate",
            Self::DnsFailure => "dns_failure",
            Self::VantageFault => "vantage_fault",
            Self::Unknown => "unknown",
        }
    }

    /// The class of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == name)
    }

    /// A short title for people: for `security_group` what was seen, not what is suspected.
    pub const fn title(self) -> Text {
        match self {
            Self::Reachable => Text { en: "reachable", zh: "可达" },
            Self::PacketLoss => Text { en: "packet loss", zh: "端到端丢包" },
            Self::PartialPath => Text { en: "part of the path is dead", zh: "部分路径失效" },
            Self::Blackhole => Text { en: "suspected blackhole", zh: "疑似黑洞" },
            Self::NoRoute => Text { en: "no route to the host", zh: "无路由" },
            Self::RoutingLoop => Text { en: "routing loop", zh: "路由环路" },
            Self::HostSilent => Text { en: "host silent", zh: "主机无响应" },
            Self::SecurityGroup => {
                Text { en: "port silently filtered", zh: "端口被静默过滤" }
            }
            Self::SourceBlocked => Text { en: "this source is blocked", zh: "来源被封锁" },
            Self::Rejected => Text { en: "rejected by policy", zh: "被策略拒绝" },
            Self::PortClosed => Text { en: "port closed", zh: "端口未监听" },
            Self::ResetInjected => {
                Text { en: "reset by something on the path", zh: "连接被路径设备重置" }
            }
            Self::MtuBlackhole => {
                Text { en: "large packets vanish", zh: "大包丢失（MTU 黑洞）" }
            }
            Self::ServiceHung => Text { en: "service accepts but is mute", zh: "服务挂起" },
            Self::WrongService => {
                Text { en: "another service answers", zh: "端口上是其他服务" }
            }
            Self::RdpRefused => Text { en: "RDP negotiation refused", zh: "RDP 协商被拒绝" },
            Self::Certificate => Text { en: "certificate fault", zh: "证书故障" },
            Self::DnsFailure => Text { en: "name does not resolve", zh: "域名解析失败" },
            Self::VantageFault => Text { en: "fault on our own side", zh: "探测端自身故障" },
            Self::Unknown => Text { en: "not enough evidence", zh: "证据不足" },
        }
    }

    /// What is seen, in one sentence.
    pub const fn meaning(self) -> Text {
        match self {
            Self::Reachable => Text {
                en: "The target answers at every layer that was asked.",
                zh: "目标在所有被探测的层面均有应答。",
            },
            Self::PacketLoss => Text {
                en: "Part of the end-to-end probes is lost, TCP as well as echo.",
                zh: "端到端探测包部分丢失，TCP 与 ICMP 均受影响。",
            },
            Self::PartialPath => Text {
                en: "Some flows always fail and others always work: one of several parallel \
                     paths is dead.",
                zh: "部分流始终失败，其余始终正常：多条并行路径之一失效。",
            },
            Self::Blackhole => Text {
                en: "Every protocol is silent and packets vanish before the target's edge, while \
                     the path toward its neighbours goes further.",
                zh: "所有协议均无响应，数据包在到达目标边缘之前消失，而同网段邻居的路径更远。",
            },
            Self::NoRoute => Text {
                en: "A router on the path answers that it has no way to the target.",
                zh: "路径上的路由器回复目标不可达。",
            },
            Self::RoutingLoop => Text {
                en: "Packets go in circles until their hop limit runs out.",
                zh: "数据包在路由器之间循环，直至 TTL 耗尽。",
            },
            Self::HostSilent => Text {
                en: "Every protocol is silent, and the path is intact up to the last visible hop.",
                zh: "所有协议均无响应，但路径直到最后可见跳都完好。",
            },
            Self::SecurityGroup => Text {
                en: "The host is alive, but this port drops packets without a word. A security \
                     group, a network ACL, a host firewall and a stopped service behind a \
                     stealth firewall look the same from outside.",
                zh: "主机在线，但该端口静默丢包。安全组、网络 ACL、主机防火墙以及隐身模式下的\
                     服务停止，从外部看完全相同。",
            },
            Self::SourceBlocked => Text {
                en: "Silent from this vantage or source address only; others get through.",
                zh: "仅该观测点或源地址无响应，其他来源正常。",
            },
            Self::Rejected => Text {
                en: "Something answers with ICMP that the packet is not allowed; its address is \
                     named in the evidence.",
                zh: "有设备以 ICMP 明确拒绝，其地址见证据。",
            },
            Self::PortClosed => Text {
                en: "The host itself refuses with a reset: nothing listens on the port.",
                zh: "主机自身回复 RST：该端口无服务监听。",
            },
            Self::ResetInjected => Text {
                en: "A reset arrives that does not come from the host: its distance or \
                     fingerprint differs, or there are two answers to one SYN.",
                zh: "收到的 RST 并非来自主机：距离或指纹不符，或同一 SYN 有两个应答。",
            },
            Self::MtuBlackhole => Text {
                en: "Small packets pass and large ones vanish without an ICMP message.",
                zh: "小包可通，大包无声消失。",
            },
            Self::ServiceHung => Text {
                en: "TCP accepts the connection, but the service that must answer says nothing.",
                zh: "TCP 可连接，但服务不作应答。",
            },
            Self::WrongService => Text {
                en: "Something that is not the expected service answers on the port.",
                zh: "端口上应答的不是预期的服务。",
            },
            Self::RdpRefused => Text {
                en: "The RDP server lives and refuses the negotiation.",
                zh: "RDP 服务在线，但拒绝协商。",
            },
            Self::Certificate => Text {
                en: "The server has no usable certificate, or it is not valid now.",
                zh: "服务器没有可用的证书，或证书不在有效期内。",
            },
            Self::DnsFailure => Text {
                en: "This name does not resolve while the resolver answers for others.",
                zh: "该域名无法解析，而解析器对其他域名有应答。",
            },
            Self::VantageFault => Text {
                en: "The fault is on the probing side; nothing is said about the target.",
                zh: "故障在探测端，不对目标下结论。",
            },
            Self::Unknown => Text {
                en: "There is not enough evidence for any class yet.",
                zh: "尚无足够证据归类。",
            },
        }
    }

    /// Whether it says something of a TCP port, and so nothing of a target that has none.
    pub const fn is_about_a_port(self) -> bool {
        matches!(
            self,
            Self::SecurityGroup
                | Self::PortClosed
                | Self::ResetInjected
                | Self::ServiceHung
                | Self::WrongService
                | Self::RdpRefused
                | Self::Certificate
        )
    }

    /// Whether the target counts as up (`reachd_target_up`).
    pub const fn is_up(self) -> bool {
        matches!(self, Self::Reachable | Self::PacketLoss)
    }
}
