//! Nothing listens and a stealth firewall hides it.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "service_stopped_stealth",
    class: Class::SecurityGroup,
    prior: 3.2,
    meaning: Text {
        en: "Nothing listens on the port, and the firewall's stealth mode swallows the reset \
             that would say so.",
        zh: "该端口无服务监听，而防火墙的隐身模式吞掉了本应返回的 RST。",
    },
    remedy: Text {
        en: "Through VNC or the cloud's command channel check whether the service runs and which \
             port it listens on (for RDP: TermService, fDenyTSConnections, PortNumber), then \
             start it. Do not loosen the security group for it: that changes nothing.",
        zh: "通过 VNC 或云助手检查服务是否运行、监听哪个端口（RDP 查 TermService、\
             fDenyTSConnections、PortNumber），再启动服务。不要为此放宽安全组，无济于事。",
    },
    risk: Risk::Change,
    expect: &[
        (Sign::EchoAnswered, 0.66),
        (Sign::EchoSilent, 0.32),
        (Sign::SynSilent, 0.96),
        (Sign::TcpStopsAlone, 0.66),
        (Sign::PathStops, 0.32),
        (Sign::SiblingSame, 0.94),
        (Sign::SiblingFurther, 0.02),
        (Sign::OthersFail, 0.97),
        (Sign::EchoNeverAnswered, 0.62),
        (Sign::CanaryAnswers, 0.02),
        (Sign::CanaryFellSilent, 0.04),
        (Sign::CanaryStillSilent, 0.64),
        (Sign::ControlAnswers, 0.96),
        (Sign::AlternateSilent, 0.88),
        (Sign::AlternateOpen, 0.1),
        (Sign::ComesAndGoes, 0.03),
    ],
};
