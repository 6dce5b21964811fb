//! The service does not run.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "service_stopped",
    class: Class::PortClosed,
    prior: 1.6,
    meaning: Text {
        en: "The host is up, and the service that should listen on this port does not run. A \
             firewall of the host that refuses with resets looks the same; the one of Windows \
             never does.",
        zh: "主机在线，但应监听该端口的服务没有运行。主机防火墙以 RST 拒绝时外部表现相同；Windows \
             防火墙不会这样做。",
    },
    remedy: Text {
        en: "Check the service and why it ended (for RDP: Remote Desktop Services, TermService, \
             and its dependencies), then start it. Changing the security group does not help: \
             packets do arrive.",
        zh: "检查服务状态及停止原因（RDP 查 Remote Desktop Services，即 TermService 及其依赖），\
             再启动服务。修改安全组无用，数据包已经到达。",
    },
    risk: Risk::Change,
    expect: &[
        (Sign::EchoAnswered, 0.75),
        (Sign::EchoSilent, 0.23),
        (Sign::SynReset, 0.97),
        (Sign::PathReachesTarget, 0.96),
        (Sign::SiblingSame, 0.8),
        (Sign::FromTarget, 0.8),
        (Sign::ResetSame, 0.97),
        (Sign::ComesAndGoes, 0.12),
    ],
};
