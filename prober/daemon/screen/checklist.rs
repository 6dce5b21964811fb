//! The provider's manual checklist, with what could be verified from here.

use reachd_core::judge::{Class, Text};
use reachd_core::report::{SeriesPart, TargetReport, VantagePart};
use reachd_core::survey::turn::Since;

use super::Mark;

type Row = (Mark, Text, Option<Text>);

/// What the answers of all vantages prove.
struct Proof {
    echo: bool,
    /// Whether something before the host answers in its name.
    fronted: bool,
    /// Whether anything was asked of the target that our own side did not spoil.
    asked: bool,
    accepted: bool,
    refused: bool,
    /// Whether the port opened to each vantage that fails as well: a rule may name its source.
    accepted_everywhere: bool,
    /// Whether each of them was answered anything.
    arrives_everywhere: bool,
    served: bool,
    silent_service: bool,
}

impl Proof {
    fn of(report: &TargetReport) -> Self {
        let all = || report.vantages.iter();
        let connects = || all().filter_map(|vantage| vantage.connect.as_ref());
        // What was answered before it turned proves nothing of now.
        let since = report.spoken.since;
        let turned = |kind: &str| match since {
            None => false,
            Some(Since::Silent | Since::PortSilent) => true,
            Some(Since::PortReset) => kind == "syn_ack",
        };
        let has =
            |series: &SeriesPart, kind: &str| !turned(kind) && series.answers.contains_key(kind);
        let echoes = |series: &SeriesPart| since != Some(Since::Silent) && series.received > 0;
        let came = |series: &SeriesPart| {
            let silent = matches!(since, Some(Since::Silent | Since::PortSilent));
            !silent && series.received > 0
        };
        let answers = |kind: &str| connects().any(|series| has(series, kind));
        let arrived = |vantage: &VantagePart| {
            let echoed = vantage.echo.as_ref().is_some_and(echoes);
            echoed || vantage.connect.as_ref().is_some_and(came)
        };
        // Whoever fails; one that sees what the plan expects of it proves no more than it saw.
        let fails =
            |vantage: &&VantagePart| report.verdict.unreachable_from.contains(&vantage.name);
        let opened = |vantage: &VantagePart| {
            vantage.connect.as_ref().is_none_or(|series| has(series, "syn_ack"))
        };
        let served = |answer: &str| {
            all()
                .filter_map(|vantage| vantage.service.as_ref())
                .any(|service| since.is_none() && service.answer.as_deref() == Some(answer))
        };
        let ours = report.verdict.class == Class::VantageFault.as_str();
        Self {
            asked: !ours && all().any(|vantage| vantage.echo.is_some()),
            echo: all().filter_map(|vantage| vantage.echo.as_ref()).any(echoes),
            // Who refuses echoes leaves no such evidence, but the plan knows.
            fronted: report.spoken.fronted
                || report.verdict.evidence.iter().any(|part| part.signal == "front"),
            accepted: answers("syn_ack"),
            accepted_everywhere: all().filter(fails).all(opened),
            arrives_everywhere: all().filter(fails).all(arrived),
            refused: answers("reset"),
            served: served("confirmed") || served("refused"),
            // What a connection missed where packets are lost is no evidence.
            silent_service: said(report, "service", &["silent"]),
        }
    }

    /// Whether packets to this address arrive anywhere.
    const fn arrives(&self) -> bool {
        self.echo || self.accepted || self.refused
    }

    /// Whether the host itself answers: what a front says, it may say for a dead one.
    const fn alive(&self) -> bool {
        if self.fronted { self.served } else { self.arrives() }
    }

    /// Whether connections get as far as the host itself.
    const fn lets_in(&self) -> bool {
        let opens = if self.fronted { self.served } else { self.accepted };
        opens && self.accepted_everywhere
    }
}

fn proven(proof: bool, label: Text, otherwise: Text) -> Row {
    if proof { (Mark::Good, label, None) } else { (Mark::Hidden, label, Some(otherwise)) }
}

/// The rows: verified, failed, or not visible from outside and where to look.
pub(super) fn rows(report: &TargetReport) -> Vec<Row> {
    let class = Class::from_name(&report.verdict.class).unwrap_or(Class::Unknown);
    let proof = Proof::of(report);
    let foreign = class == Class::ResetInjected;
    let mut rows = vec![
        name_row(class, report.addresses.is_empty()),
        proven(proof.alive() && !foreign, INSTANCE, AT_CONSOLE_STATE),
        blackhole_row(class, &proof),
        ping_row(&proof),
        path_row(report),
    ];
    if report.target.port.is_some() {
        let rdp = report.target.service == "rdp";
        rows.extend(port_rows(class, &proof, rdp));
        if rdp {
            rows.push(certificate_row(report));
            rows.push(match class {
                Class::RdpRefused if !report.spoken.settings => {
                    (Mark::Hidden, REGISTRY, Some(NOT_ASKED))
                }
                Class::RdpRefused => (Mark::Hidden, REGISTRY, Some(IN_GUEST_SECURITY)),
                _ => proven(proof.served, REGISTRY, IN_GUEST_REGISTRY),
            });
        }
    }
    rows.extend([
        proven(proof.alive() && !foreign, NIC, IN_GUEST),
        (Mark::Hidden, LOAD, Some(AT_MONITORING)),
        proven(proof.lets_in(), IPSEC, IN_GUEST),
        proven(proof.lets_in(), ANTIVIRUS, IN_GUEST),
    ]);
    rows
}

fn ping_row(proof: &Proof) -> Row {
    match (proof.echo, proof.asked) {
        (true, _) if proof.fronted => (Mark::Good, PING, Some(BY_FRONT)),
        (true, _) => (Mark::Good, PING, None),
        (false, true) => (Mark::Bad, PING, Some(PING_NOTE)),
        (false, false) => (Mark::Hidden, PING, Some(NOT_ASKED)),
    }
}

fn name_row(class: Class, unresolved: bool) -> Row {
    match (class, unresolved) {
        (Class::DnsFailure, _) => (Mark::Bad, NAME, None),
        (_, true) => (Mark::Hidden, NAME, Some(NOT_ASKED)),
        (_, false) => (Mark::Good, NAME, None),
    }
}

fn blackhole_row(class: Class, proof: &Proof) -> Row {
    match class {
        Class::Blackhole => (Mark::Bad, BLACKHOLE, Some(AT_CONSOLE_DDOS)),
        _ => proven(proof.arrives() && proof.arrives_everywhere, BLACKHOLE, AT_CONSOLE_DDOS),
    }
}

fn path_row(report: &TargetReport) -> Row {
    let verdict = &report.verdict;
    let last_hop = verdict.evidence.iter().find(|part| part.signal == "last_hop");
    match last_hop.map(|part| part.value.as_str()) {
        Some("reaches_target") => (Mark::Good, PATH, None),
        Some("tcp_stops_alone") => (Mark::Bad, PATH, Some(TCP_STOPS)),
        Some(_) => (Mark::Bad, PATH, None),
        None => (Mark::Hidden, PATH, None),
    }
}

fn port_rows(class: Class, proof: &Proof, rdp: bool) -> Vec<Row> {
    let (name, look) = if rdp { (RDP_SERVICE, IN_GUEST_RDP) } else { (SERVICE, IN_GUEST_SERVICE) };
    let own = !matches!(class, Class::ResetInjected | Class::SourceBlocked);
    let refuses = proof.refused && !proof.fronted && own && proof.arrives_everywhere;
    let passes = proof.lets_in() || refuses;
    let port = match (proof.accepted, proof.refused) {
        (true, _) if !proof.accepted_everywhere => (Mark::Bad, PORT, Some(NOT_TO_ALL)),
        (true, _) => (Mark::Good, PORT, None),
        (false, true) => (Mark::Bad, PORT, Some(PORT_CLOSED)),
        (false, false) if proof.asked => (Mark::Bad, PORT, Some(PORT_SILENT)),
        (false, false) => (Mark::Hidden, PORT, Some(NOT_ASKED)),
    };
    let service = match (proof.served, proof.silent_service) {
        // It confirms a connection and is silent where TLS begins.
        _ if class == Class::ServiceHung => (Mark::Bad, name, Some(look)),
        (true, _) => (Mark::Good, name, None),
        (false, true) => (Mark::Bad, name, Some(look)),
        (false, false) if class == Class::WrongService => (Mark::Bad, name, Some(OTHER_SERVICE)),
        (false, false) => (Mark::Hidden, name, Some(look)),
    };
    vec![
        port,
        proven(passes, GROUP, AT_CONSOLE_RULES),
        // A firewall of the host may answer with a reset as well.
        proven(proof.lets_in(), FIREWALL, IN_GUEST),
        service,
    ]
}

/// Whether this is among the evidence, with one of these values.
fn said(report: &TargetReport, signal: &str, values: &[&str]) -> bool {
    let mut evidence = report.verdict.evidence.iter();
    evidence.any(|part| part.signal == signal && values.contains(&part.value.as_str()))
}

/// The certificate that was shown, or what came in its place.
fn certificate_row(report: &TargetReport) -> Row {
    let said = |signal: &str, values: &[&str]| said(report, signal, values);
    if said("certificate", &["not_valid"]) {
        (Mark::Bad, CERTIFICATE, Some(NOT_VALID))
    } else if said("certificate", &["unreadable"])
        || said("tls", &["ended", "alert", "garbled", "reset", "silent"])
        || said("service", &["no_certificate"])
    {
        (Mark::Bad, CERTIFICATE, Some(NOT_SHOWN))
    } else {
        proven(said("certificate", &["valid"]), CERTIFICATE, NOT_SEEN)
    }
}

const NAME: Text = Text { en: "name resolves", zh: "域名解析" };
const INSTANCE: Text = Text { en: "instance running", zh: "实例运行中" };
const BLACKHOLE: Text = Text { en: "no DDoS blackhole", zh: "未处于 DDoS 黑洞" };
const PING: Text = Text { en: "ping", zh: "ping" };
const PATH: Text = Text { en: "path (MTR)", zh: "路径（MTR）" };
const PORT: Text = Text { en: "TCP port answers", zh: "TCP 端口有应答" };
const GROUP: Text = Text { en: "security group, ACL", zh: "安全组与网络 ACL" };
const FIREWALL: Text = Text { en: "host firewall", zh: "主机防火墙" };
const RDP_SERVICE: Text = Text { en: "Remote Desktop service", zh: "远程桌面服务" };
const SERVICE: Text = Text { en: "service", zh: "服务" };
const CERTIFICATE: Text = Text { en: "certificate", zh: "证书" };
const REGISTRY: Text = Text { en: "registry settings", zh: "注册表设置" };
const NIC: Text = Text { en: "network interface", zh: "网卡" };
const LOAD: Text = Text { en: "CPU and bandwidth", zh: "CPU 与带宽" };
const IPSEC: Text = Text { en: "IPsec policy", zh: "IPsec 策略" };
const ANTIVIRUS: Text = Text { en: "antivirus, guards", zh: "杀毒与防护软件" };

const AT_CONSOLE_STATE: Text = Text {
    en: "not visible from outside: console, instance state",
    zh: "外部不可见：控制台查看实例状态",
};
const AT_CONSOLE_DDOS: Text = Text {
    en: "not visible from outside: console, DDoS protection",
    zh: "外部不可见：控制台查看 DDoS 防护",
};
const AT_CONSOLE_RULES: Text = Text {
    en: "not visible from outside: console, inbound rules",
    zh: "外部不可见：控制台查看入方向规则",
};
const AT_MONITORING: Text =
    Text { en: "not visible from outside: cloud monitoring", zh: "外部不可见：云监控" };
const IN_GUEST: Text = Text {
    en: "not visible from outside: look inside the guest",
    zh: "外部不可见：登录系统内查看",
};
const IN_GUEST_RDP: Text = Text {
    en: "look inside the guest: TermService and its listener",
    zh: "系统内查看 TermService 及其监听",
};
const IN_GUEST_SERVICE: Text = Text {
    en: "look inside the guest: the service and its listener",
    zh: "系统内查看该服务及其监听",
};
const IN_GUEST_REGISTRY: Text = Text {
    en: "look inside the guest: fDenyTSConnections, PortNumber",
    zh: "系统内查看 fDenyTSConnections、PortNumber",
};
const IN_GUEST_SECURITY: Text = Text {
    en: "look inside the guest: SecurityLayer, UserAuthentication",
    zh: "系统内查看 SecurityLayer、UserAuthentication",
};
const NOT_ASKED: Text =
    Text { en: "nothing can be said of it from here", zh: "此处无法判断" };
const TCP_STOPS: Text =
    Text { en: "ICMP reaches the host, TCP does not", zh: "ICMP 可达主机，TCP 不可达" };
const BY_FRONT: Text = Text {
    en: "answered before the host (NAT, balancer, anycast)",
    zh: "由主机前方设备应答（NAT、负载均衡、任播）",
};
const PING_NOTE: Text = Text {
    en: "no answer; Windows drops echo by default",
    zh: "无应答；Windows 默认丢弃 ICMP 回显",
};
const PORT_CLOSED: Text = Text { en: "reset", zh: "RST" };
const NOT_TO_ALL: Text = Text { en: "from some vantages only", zh: "仅部分观测点有应答" };
const PORT_SILENT: Text = Text { en: "no answer", zh: "无应答" };
const OTHER_SERVICE: Text = Text { en: "something else answers", zh: "应答的是其他服务" };
const NOT_VALID: Text = Text { en: "not valid now", zh: "不在有效期" };
const NOT_SHOWN: Text = Text { en: "none came that can be read", zh: "未收到可用的证书" };
const NOT_SEEN: Text = Text {
    en: "none was seen: look inside the guest",
    zh: "未见到证书：登录系统内查看",
};
