//! A carrier on the way blocks this port.

use crate::judge::cause::{Cause, Risk, Text};
use crate::judge::class::Class;
use crate::judge::sign::Sign;

pub(super) const CAUSE: Cause = Cause {
    name: "carrier_port_block",
    class: Class::SecurityGroup,
    prior: 0.45,
    meaning: Text {
        en: "A carrier between the vantage and the target drops this port for every host behind \
             it.",
        zh: "观测点与目标之间的运营商封禁了该端口，经过该线路的所有主机均受影响。",
    },
    remedy: Text {
        en: "Compare vantages of other carriers and another port of the same host. If only this \
             line fails, ask the carrier, or use a VPN or another port. Do not change the \
             security group: packets never get there.",
        zh: "对比其他运营商的观测点与同一主机的其他端口。若仅该线路失败，联系运营商，或改用 VPN \
             或其他端口。不要改安全组，数据包根本没有到达。",
    },
    risk: Risk::Change,
    expect: &[
        (Sign::EchoAnswered, 0.7),
        (Sign::EchoSilent, 0.28),
        (Sign::SynSilent, 0.95),
        (Sign::TcpStopsAlone, 0.7),
        (Sign::PathStops, 0.28),
        (Sign::SiblingFailsToo, 0.6),
        (Sign::SiblingSame, 0.2),
        (Sign::OthersReach, 0.75),
        (Sign::OthersFail, 0.2),
        (Sign::InsideFails, 0.1),
        (Sign::PathShortened, 0.2),
        (Sign::VantageFine, 0.75),
        (Sign::VantagePortSuspect, 0.22),
        (Sign::EchoNeverAnswered, 0.62),
        (Sign::CanaryAnswers, 0.46),
        (Sign::ControlAnswers, 0.94),
        (Sign::ComesAndGoes, 0.02),
    ],
};
