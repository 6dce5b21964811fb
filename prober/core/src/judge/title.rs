//! Names of signals, their values and answers, for people. The English ones are the machine names
//! that JSON has as well; operators search for those in any language.

use super::sign::{Family, Sign};
use super::verdict::answer_name;
use crate::evidence::{AnswerKind, IcmpKind, LocalError};
use crate::wording::Text;

impl Family {
    /// What the signal is called; in Chinese it fits a column of 16.
    pub const fn title(self) -> Text {
        let zh = match self {
            Self::Echo => "ICMP 回显",
            Self::Syn => "SYN 应答",
            Self::Unreachable => "ICMP 差错",
            Self::UnreachableFrom => "差错来源",
            Self::UnreachableDelay => "差错延迟",
            Self::ResetDistance => "RST 距离",
            Self::DoubleAnswer => "双重应答",
            Self::ResetScope => "RST 的范围",
            Self::LastHop => "路径终点",
            Self::SiblingPath => "邻居路径",
            Self::Service => "服务应答",
            Self::Tls => "TLS",
            Self::Certificate => "证书",
            Self::Machine => "机器身份",
            Self::OtherVantages | Self::InsideVantage => "其他观测点",
            Self::SecondSource => "另一源地址",
            Self::Local => "探测主机",
            Self::Vantage => "观测点状态",
            Self::Dns => "域名解析",
            Self::EchoHistory => "以往回显",
            Self::BaselineChange => "路径变化",
            Self::FlowSplit => "逐流对比",
            Self::RateSplit => "速率对比",
            Self::Queueing => "排队时延",
            Self::LargePacket => "大包",
            Self::SynLoss => "SYN 丢失",
            Self::AcceptDistance => "SYN-ACK 距离",
            Self::ServiceReset => "断开者",
            Self::Receipt => "请求的 TCP 确认",
            Self::Front => "前端回显",
            Self::AlternatePort => "备选端口",
            Self::CanaryPort => "金丝雀端口",
            Self::ControlPort => "对照端口",
            Self::Neighbours => "邻居地址",
            Self::Onset => "故障规律",
            Self::BlackholeTimer => "黑洞时长",
            Self::DailyLoss => "丢包时段",
        };
        Text { en: self.as_str(), zh }
    }
}

impl Sign {
    /// The value of this name of a signal of this name.
    pub fn from_names(signal: &str, value: &str) -> Option<Self> {
        let families = Family::ALL.into_iter().filter(|family| family.as_str() == signal);
        let mut signs = families.flat_map(Family::signs);
        signs.find(|sign| sign.as_str() == value).copied()
    }

    /// What the value is called.
    pub const fn title(self) -> Text {
        Text { en: self.as_str(), zh: self.chinese() }
    }

    const fn chinese(self) -> &'static str {
        match self {
            Self::EchoAnswered
            | Self::SynAccepted
            | Self::FrontAnswers
            | Self::CanaryAnswers
            | Self::ControlAnswers
            | Self::NeighboursAnswer => "有应答",
            Self::EchoPartial | Self::SynPartial => "部分应答",
            Self::SynMixed => "部分接受、部分被重置",
            Self::EchoSilent
            | Self::SynSilent
            | Self::ServiceSilent
            | Self::TlsSilent
            | Self::FrontSilent
            | Self::AlternateSilent
            | Self::CanarySilent
            | Self::ControlSilent
            | Self::NeighboursSilent => "无应答",
            Self::EchoError | Self::SynError => "收到 ICMP 差错",
            Self::SynReset | Self::TlsReset => "收到 RST",
            Self::TlsShown => "已出示证书",
            Self::TlsEnded => "中途结束",
            Self::TlsAlert => "收到告警",
            Self::TlsGarbled => "应答无法解析",
            Self::TlsUnshared => "无共同算法",
            Self::CertificateValid => "有效",
            Self::CertificateExpired => "不在有效期",
            Self::CertificateUnreadable => "无法解析",
            Self::MachineSame => "与之前相同",
            Self::MachineAnother => "与之前不同",
            Self::MachineMoved => "位置与之前不同",
            Self::NoError => "无",
            Self::NetUnreachable => IcmpKind::NetUnreachable.title().zh,
            Self::HostUnreachable => IcmpKind::HostUnreachable.title().zh,
            Self::Prohibited => IcmpKind::Prohibited.title().zh,
            Self::PortUnreachable => IcmpKind::PortUnreachable.title().zh,
            Self::TimeExceeded => IcmpKind::TimeExceeded.title().zh,
            Self::FromTarget => "目标自身",
            Self::FromLastRouter => "末跳路由器",
            Self::FromPath => "中途路由器",
            Self::ErrorAtOnce => "立即返回",
            Self::ErrorDelayed => "延迟返回",
            Self::ResetSame | Self::AcceptSame => "与主机一致",
            Self::ResetElsewhere => "与主机不符",
            Self::ServiceResetSame => "与建立连接者一致",
            Self::ServiceResetElsewhere => "与建立连接者不符",
            Self::SingleAnswer => "单一应答",
            Self::TwoAnswers => "两种应答",
            Self::ResetForAll => "对所有来源相同",
            Self::ResetForSome => "仅对部分来源",
            Self::PathReachesTarget => "到达目标",
            Self::TcpStopsAlone => "仅 TCP 中断",
            Self::PathStops => "中途中断",
            Self::PathLoops => "环路",
            Self::SiblingFurther => "走得更远",
            Self::SiblingSame => "与目标相同",
            Self::SiblingFailsToo => "同样中断",
            Self::OthersFail | Self::SecondFailsToo => "同样失败",
            Self::OthersReach | Self::SecondReaches => "可达",
            Self::InsideReaches | Self::InsideSpared => "云内可达",
            Self::InsideFails => "云内同样失败",
            Self::ServiceConfirmed | Self::LocalFine | Self::VantageFine => "正常",
            Self::ServiceForeign => "其他服务",
            Self::ServiceClosed => "应答前断开",
            Self::ServiceRefused => "拒绝协商",
            Self::ServiceUncertified => "没有证书",
            Self::ServiceLate => "应答迟缓",
            Self::ServiceUnreached => "未能连接",
            Self::LocalNoRoute => LocalError::NoRoute.title().zh,
            Self::LocalBlocked => LocalError::Blocked.title().zh,
            Self::LocalGatewaySilent => LocalError::GatewaySilent.title().zh,
            Self::LocalExhausted => LocalError::Exhausted.title().zh,
            Self::LocalNoPrivilege => LocalError::NoPrivilege.title().zh,
            Self::VantageUnheard => "没有收到任何应答",
            Self::VantageSuspect => "自身可疑",
            Self::VantagePortSuspect => "该端口出方向可疑",
            Self::VantageProxied => "被透明代理",
            Self::NameResolves => "解析正常",
            Self::NameUnknown => "域名不存在",
            Self::NameServerFails => "域名服务器报错",
            Self::NameTimesOut => "解析超时",
            Self::ResolverDead => "解析器无响应",
            Self::EchoUsedToAnswer => "健康时有应答",
            Self::EchoNeverAnswered => "从未应答",
            Self::PathAsLearnt => "与健康时相同",
            Self::PathShortened => "比健康时短",
            Self::FlowsSplit => "部分流始终失败",
            Self::FlowsMixed => "各流时通时断",
            Self::QuickLoses => "发得快丢得多",
            Self::RatesAlike => "与速率无关",
            Self::DelayGrows => "时延增大",
            Self::DelayFlat => "时延平稳",
            Self::LargePasses => "可通过",
            Self::LargeTold => "有 ICMP 提示",
            Self::LargeForwardLost => "去程丢失",
            Self::LargeReplyLost => "回程丢失",
            Self::LargeLost => "丢失",
            Self::SynLossAlone => "仅 SYN 丢失",
            Self::SynLossShared => "与回显一同丢失",
            Self::RequestTaken => "主机已确认",
            Self::RequestLost => "主机未确认",
            Self::AcceptNearer => "比主机近",
            Self::AcceptShort => "比路径短",
            Self::AlternateOpen => "开放",
            Self::AlternateClosed => "未监听",
            Self::CanaryStillSilent => "与健康时一样无应答",
            Self::CanaryFellSilent => "不再应答",
            Self::OnsetOnce => "持续未断",
            Self::ComesAndGoes => "时断时续",
            Self::TimerRanOut => "与云厂商解封时长相符",
            Self::EndedAtAnyTime => "与云厂商解封时长不符",
            Self::LossSameHours => "每天同一时段",
            Self::LossAnyHour => "不分时段",
        }
    }
}

impl IcmpKind {
    /// What the error is called.
    pub const fn title(self) -> Text {
        let zh = match self {
            Self::NetUnreachable => "网络不可达",
            Self::HostUnreachable => "主机不可达",
            Self::PortUnreachable => "端口不可达",
            Self::Prohibited => "被策略禁止",
            Self::TooBig => "包过大",
            Self::TimeExceeded => "TTL 耗尽",
            Self::Other => "其他 ICMP 差错",
        };
        Text { en: self.as_str(), zh }
    }
}

impl LocalError {
    /// What the refusal is called.
    pub const fn title(self) -> Text {
        let zh = match self {
            Self::NoRoute => "本机无路由",
            Self::GatewaySilent => "网关无响应",
            Self::NeighbourSilent => "同网段目标无响应",
            Self::Blocked => "被本机防火墙拦截",
            Self::NoPrivilege => "权限不足",
            Self::Exhausted => "本机资源耗尽",
            Self::VantageGone => "地址、网卡或命名空间不存在",
            Self::TooLarge => "超出本机链路 MTU",
            Self::Other(_) => "其他错误",
        };
        Text { en: self.as_str(), zh }
    }
}

impl AnswerKind {
    /// Every kind of answer.
    pub const ALL: [Self; 14] = [
        Self::EchoReply,
        Self::SynAck,
        Self::Reset,
        Self::BareReset,
        Self::ChallengeAck,
        Self::Icmp(IcmpKind::NetUnreachable),
        Self::Icmp(IcmpKind::HostUnreachable),
        Self::Icmp(IcmpKind::PortUnreachable),
        Self::Icmp(IcmpKind::Prohibited),
        Self::Icmp(IcmpKind::TooBig),
        Self::Icmp(IcmpKind::TimeExceeded),
        Self::Icmp(IcmpKind::Other),
        Self::Silence,
        Self::Invalid,
    ];

    /// The kind that has this name in JSON.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| answer_name(*kind) == name)
    }

    /// What the answer is called.
    pub const fn title(self) -> Text {
        let zh = match self {
            Self::EchoReply => "回显应答",
            Self::SynAck => "SYN-ACK",
            Self::Reset => "RST",
            Self::BareReset => "不带 ACK 的 RST",
            Self::ChallengeAck => "挑战 ACK",
            Self::Icmp(kind) => kind.title().zh,
            Self::Silence => "无应答",
            Self::Invalid => "无效",
        };
        Text { en: answer_name(self), zh }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wording::english_words;

    #[test]
    fn every_sign_is_found_by_its_names_and_has_a_chinese_one() {
        for family in Family::ALL {
            for sign in family.signs() {
                let found = Sign::from_names(family.as_str(), sign.as_str());
                let titles = found.map(|found| (found.as_str(), found.title()));
                // What the vantages inside see is one value of two signals.
                assert_eq!(titles, Some((sign.as_str(), sign.title())));
                assert_eq!(english_words(sign.title().zh).next(), None);
            }
            assert_eq!(english_words(family.title().zh).next(), None);
        }
        assert_eq!(Sign::from_names("last_hop", "confirmed"), None);
    }

    #[test]
    fn every_answer_is_found_by_its_name() {
        for kind in AnswerKind::ALL {
            assert_eq!(AnswerKind::from_name(kind.title().en), Some(kind));
            assert_eq!(english_words(kind.title().zh).next(), None);
        }
    }
}
