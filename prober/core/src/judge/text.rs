//! The one-sentence summary of a verdict, in English and Chinese: fact, odds, warning.

use super::class::Class;
use super::sign::Sign;
use super::verdict::{Verdict, has_sign};
use crate::evidence::{AnswerKind, ConnectResult, ServiceAnswer};
use crate::probe::exchange::bytes_came;
use crate::probe::series::Tally;
use crate::statistics::{of_one_loss, real, wilson};
use crate::survey::findings::Findings;
use crate::survey::security;
use crate::survey::service::{Blemish, blemish};
use crate::survey::signs::{is_lossy, missing, open_loss};
use crate::survey::turn::{Since, Turn};
use crate::target::Target;
use crate::wording::Wording;

/// What the numbers in a summary come from.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The target.
    pub target: &'a Target,
    /// Its verdict.
    pub verdict: &'a Verdict,
    /// The findings of the vantage that sees most of it.
    pub findings: Option<&'a Findings>,
    /// The probing source address, if known.
    pub source: Option<&'a str>,
}

impl Facts<'_> {
    /// The last hop that answered.
    fn last_hop(&self) -> Option<Wording> {
        let findings = self.findings?;
        let last = findings.last_router();
        let paths = [&findings.tcp_path, &findings.icmp_path];
        let address = paths.into_iter().flatten().find_map(|path| path.at(last))?;
        Some(Wording::new(format!("{address} (hop {last})"), format!("{address}（第 {last} 跳）")))
    }

    fn failing_of_all(&self) -> (usize, usize) {
        let failing = self.verdict.failing.len();
        (failing, failing + self.verdict.reaching.len())
    }

    /// Whether what answers echo is not the host itself.
    fn is_behind_front(&self) -> bool {
        has_sign(self.verdict, Sign::FrontAnswers)
    }

    /// Probes whose first answer went missing, and valid ones: over echo and SYN together where
    /// both tell of one loss, else of those that lose more, and of the others.
    fn loss(&self) -> Loss {
        let count = |tally: &Tally| (missing(tally), tally.valid());
        let Some(findings) = self.findings else { return Loss::Together((0, 0)) };
        let echo = &findings.echo;
        let Some(syn) = &findings.syn else { return Loss::Together(count(echo)) };
        let (echoes, syns) = (count(echo), count(syn));
        match of_one_loss(echoes, syns) {
            true => Loss::Together((echoes.0 + syns.0, echoes.1 + syns.1)),
            false if real(syns.0) * real(echoes.1) > real(echoes.0) * real(syns.1) => {
                Loss::OfSyns(syns, echoes)
            }
            false => Loss::OfEchoes(echoes, syns),
        }
    }

    /// Whatever said no.
    fn refuser(&self) -> Wording {
        let tallies = self
            .findings
            .into_iter()
            .flat_map(|findings| findings.syn.iter().chain([&findings.echo]));
        let error = tallies.filter_map(Tally::main_error).next();
        let Some((kind, from)) = error else { return Wording::new("?", "来源不明") };
        let kind = kind.title();
        Wording::new(format!("{from} ({})", kind.en), format!("由 {from} 回复（{}）", kind.zh))
    }

    /// What the service answered to the full connection.
    fn service(&self) -> Option<&ServiceAnswer> {
        self.findings?.connect.as_ref()?.service.as_ref()
    }

    fn service_words(&self) -> Wording {
        let answer = self.service().and_then(crate::survey::signs::service_detail);
        answer.unwrap_or_else(|| Wording::same("?"))
    }

    /// How many bytes came of an answer that did not end.
    fn half_answer(&self) -> Option<usize> {
        match self.service()? {
            ServiceAnswer::Unfinished { heard }
            | ServiceAnswer::Closed { heard: heard @ 1.., .. } => Some(*heard),
            _ => None,
        }
    }

    /// What is amiss of a service that answers.
    pub(super) fn blemish(&self) -> Option<Blemish<'_>> {
        let answers = has_sign(self.verdict, Sign::ServiceConfirmed);
        blemish(self.findings?, self.target).filter(|_| answers)
    }
}

/// How much was lost, and of how many.
#[derive(Debug, Clone, Copy)]
enum Loss {
    /// Of echoes and SYNs alike.
    Together((u64, u64)),
    /// Of SYNs, and less of echoes.
    OfSyns((u64, u64), (u64, u64)),
    /// Of echoes, and less of SYNs.
    OfEchoes((u64, u64), (u64, u64)),
}

/// The summary: what is seen, how sure, from where.
pub fn summary(facts: &Facts<'_>) -> Wording {
    let first = main_summary(facts);
    let Some(second) = turn(facts).or_else(|| loss_beside(facts)) else { return first };
    Wording::new(format!("{} {}", first.en, second.en), format!("{}{}", first.zh, second.zh))
}

/// That a failure began while it was looked at.
fn turn(facts: &Facts<'_>) -> Option<Wording> {
    let Turn { since, answered, connected, missed } = facts.findings?.turn()?;
    let [first_en, first_zh] = match (answered, connected, since) {
        (_, _, Since::PortSilent | Since::PortReset) => {
            let plural = if answered == 1 { "" } else { "s" };
            [format!("{answered} SYN{plural}"), format!("{answered} 个 SYN ")]
        }
        (0, _, _) => ["a connection".to_owned(), "一次连接".to_owned()],
        (_, true, _) => {
            [format!("a connection and {answered} probes"), format!("一次连接与 {answered} 个探测")]
        }
        (_, false, _) => [format!("{answered} probes"), format!("{answered} 个探测")],
    };
    let [then_en, then_zh] = match since {
        Since::Silent => {
            [format!("none of {missed} probes since"), format!("此后 {missed} 个探测均无应答")]
        }
        Since::PortSilent => [
            format!("none of {missed} since, while echoes pass"),
            format!("此后 {missed} 个均无应答，而 ICMP 正常"),
        ],
        Since::PortReset => [format!("reset {missed} since"), format!("此后 {missed} 个均被 RST")],
    };
    Some(Wording::new(
        format!(
            "It answered {first_en} at first, and {then_en}: what stops it began meanwhile, perhaps \
             because of this look (a guard that bans who asks often)."
        ),
        format!(
            "起初 {first_zh}有应答，{then_zh}：故障在探测期间开始，也可能由探测触发\
             （防护软件封禁频繁访问的来源）。"
        ),
    ))
}

/// A loss that is there as well where something else is what matters most: two causes at once. Of
/// echoes alone it may be their own limit.
fn loss_beside(facts: &Facts<'_>) -> Option<Wording> {
    use Class::{
        Certificate, PortClosed, RdpRefused, Rejected, ResetInjected, ServiceHung, WrongService,
    };
    let answering =
        [Certificate, PortClosed, RdpRefused, Rejected, ResetInjected, ServiceHung, WrongService];
    if facts.verdict.class == Class::Reachable {
        return blemished(facts).or_else(|| loss_left_open(facts));
    }
    if facts.verdict.class == Class::SecurityGroup {
        return echoes_lost_beside(facts);
    }
    let syn = facts.findings.and_then(|findings| findings.syn.as_ref())?;
    let lossy = is_lossy(syn, facts.target.loss_threshold);
    if !lossy || !answering.contains(&facts.verdict.class) {
        return None;
    }
    let ((lost, sent), [en, zh]) = match facts.loss() {
        Loss::Together(count) => (count, ["probes", "探测"]),
        Loss::OfSyns(count, _) => (count, ["SYNs", " SYN "]),
        Loss::OfEchoes(count, _) => (count, ["echoes", "回显"]),
    };
    Some(Wording::new(
        format!("Besides, {lost} of {sent} {en} are lost."),
        format!("此外有丢包：{sent} 个{zh}丢失 {lost} 个。"),
    ))
}

/// What is amiss, or not known, of a service that answers.
fn blemished(facts: &Facts<'_>) -> Option<Wording> {
    let Wording { en, zh } = facts.blemish()?.in_words();
    Some(Wording::new(format!("Yet {en}."), format!("但{zh}。")))
}

/// Echoes that are lost where the port says nothing at all.
fn echoes_lost_beside(facts: &Facts<'_>) -> Option<Wording> {
    let echo = facts.findings.map(|findings| &findings.echo)?;
    let lossy = has_sign(facts.verdict, Sign::EchoPartial);
    let silent = has_sign(facts.verdict, Sign::SynSilent);
    let (lost, sent) = (missing(echo), echo.valid());
    (lossy && silent).then(|| {
        Wording::new(
            format!(
                "Besides, {lost} of {sent} echoes are lost: by the path, or by a limit on echoes."
            ),
            format!("此外 {sent} 个回显丢失 {lost} 个：路径丢包，或回显被限速。"),
        )
    })
}

/// What a patient count lost where that is too little to say that it is more than may be.
fn loss_left_open(facts: &Facts<'_>) -> Option<Wording> {
    let findings = facts.findings?;
    let threshold = facts.target.loss_threshold;
    open_loss(findings, threshold)?;
    let deciding = findings.deciding();
    let (lost, sent) = (missing(deciding), deciding.valid());
    let (low, high) = wilson(lost, sent);
    let [low, high, most] = [low, high, threshold].map(|ratio| ratio * 100.0);
    Some(Wording::new(
        format!(
            "{lost} of {sent} probes are lost (95% interval {low:.0}–{high:.0}%): too few to say \
             whether that is above the {most:.1}% that the plan allows."
        ),
        format!(
            "{sent} 个探测丢失 {lost} 个（95% 区间 {low:.0}–{high:.0}%），样本不足，无法判定是否超过\
             计划允许的 {most:.1}%。"
        ),
    ))
}

/// Silence that the plan expects, in place of an answer.
fn expected_silence(facts: &Facts<'_>) -> Option<Wording> {
    let findings = facts.findings?;
    let main = findings.syn.as_ref().unwrap_or(&findings.echo);
    let port = facts.target.port;
    if has_sign(facts.verdict, Sign::SynReset) {
        return Some(Wording::new(
            format!("As the plan expects: TCP {port} is closed (RST)."),
            format!("符合预期：TCP {port} 未监听（RST）。"),
        ));
    }
    let connected = findings
        .connect
        .as_ref()
        .is_some_and(|report| matches!(report.result, ConnectResult::Connected));
    if main.received() > 0 || connected || main.valid() == 0 {
        return None;
    }
    Some(if findings.syn.is_some() {
        Wording::new(
            format!("As the plan expects: TCP {port} does not answer."),
            format!("符合预期：TCP {port} 无应答。"),
        )
    } else {
        Wording::new("As the plan expects: nothing answers.", "符合预期：无任何应答。")
    })
}

fn blackhole(facts: &Facts<'_>) -> Wording {
    let (failing, all) = facts.failing_of_all();
    let port = facts.target.port;
    let [silent_en, silent_zh] = match facts.target.service.has_port() {
        true => [
            format!("ICMP and TCP {port} are all silent"),
            format!("ICMP 与 TCP {port} 全部无响应"),
        ],
        false => ["ICMP is silent".to_owned(), "ICMP 无响应".to_owned()],
    };
    let [hop_en, hop_zh] = facts.last_hop().map_or_else(Default::default, |hop| {
        [format!(", last answering hop {}", hop.en), format!("，末个应答跳 {}", hop.zh)]
    });
    let [near_en, near_zh] = if has_sign(facts.verdict, Sign::SiblingFurther) {
        [", the path toward neighbours goes further", "，同段邻居路径更远"]
    } else if has_sign(facts.verdict, Sign::SiblingFailsToo) {
        [", and the paths toward its neighbours end there too", "，同段邻居路径同样中断"]
    } else {
        ["", ""]
    };
    Wording::new(
        format!(
            "Suspected blackhole: from {failing} of {all} vantages {silent_en}{hop_en}{near_en}. \
             Not confirmed by the cloud."
        ),
        format!("疑似黑洞：{failing}/{all} 个观测点 {silent_zh}{hop_zh}{near_zh}。未经云侧证实。"),
    )
}

fn main_summary(facts: &Facts<'_>) -> Wording {
    let expected = if facts.verdict.as_expected && facts.verdict.class == Class::Reachable {
        expected_silence(facts)
    } else {
        None
    };
    if let Some(said) = expected.or_else(|| said_within_rdp(facts)) {
        return said;
    }
    let port = facts.target.port;
    let (_, all) = facts.failing_of_all();
    let title = facts.verdict.class.title();
    let meaning = facts.verdict.class.meaning();
    match facts.verdict.class {
        Class::Reachable if facts.target.service.has_port() => Wording::new(
            format!("Reachable: TCP {port} answers from {all} of {all} vantages."),
            format!("可达：{all}/{all} 个观测点 TCP {port} 均有应答。"),
        ),
        Class::PacketLoss => packet_loss(facts),
        Class::PartialPath => partial_path(facts),
        Class::MtuBlackhole => mtu_blackhole(facts),
        Class::SourceBlocked => source_blocked(facts),
        Class::VantageFault => vantage_fault(facts),
        Class::Blackhole => blackhole(facts),
        Class::HostSilent if facts.is_behind_front() => Wording::new(
            format!(
                "The front answers, TCP {port} behind it does not: the host behind is down, or the \
                 port is filtered, which cannot be told apart from outside."
            ),
            format!(
                "前端有应答，其后的 TCP {port} 无应答：后端主机故障或端口被过滤，外部无法区分。"
            ),
        ),
        Class::HostSilent => host_silent(facts),
        Class::SecurityGroup if has_sign(facts.verdict, Sign::SynLossAlone) => thinned(facts),
        Class::SecurityGroup if has_sign(facts.verdict, Sign::SynMixed) => mixed(facts),
        Class::ServiceHung if has_sign(facts.verdict, Sign::ServiceLate) => late(facts),
        Class::SecurityGroup if has_sign(facts.verdict, Sign::ComesAndGoes) => Wording::new(
            format!(
                "TCP {port} falls silent again and again and answers in between: an overrun queue, \
                 often by password guessing, rather than a rule."
            ),
            format!(
                "TCP {port} 时断时续：更可能是连接队列被占满（常见于暴力破解），而不是规则所致。"
            ),
        ),
        Class::SecurityGroup if facts.is_behind_front() => Wording::new(
            format!(
                "TCP {port} is silent behind its front, which answers for itself: whether the host \
                 behind it is down or the port is filtered cannot be told apart from outside."
            ),
            format!(
                "TCP {port} 在前端设备之后无响应，前端的应答不能证明主机在线：主机故障还是端口被过滤，\
                 外部无法区分。"
            ),
        ),
        Class::SecurityGroup => Wording::new(
            format!(
                "Host online, TCP {port} silently filtered: security group, network ACL, host \
                 firewall or a stopped service (stealth mode) cannot be told apart from outside."
            ),
            format!(
                "主机在线，TCP {port} 被静默过滤：安全组、网络 ACL、主机防火墙或服务停止\
                 （隐身模式）外部无法区分。"
            ),
        ),
        Class::PortClosed => Wording::new(
            format!("The host answers RST: nothing listens on {port}."),
            format!("主机回复 RST：{port} 无服务监听。"),
        ),
        Class::Rejected | Class::NoRoute => Wording::new(
            format!("{}: {} says so.", capital(title.en), facts.refuser().en),
            format!("{}：{}。", title.zh, facts.refuser().zh),
        ),
        Class::WrongService => Wording::new(
            format!("Another service answers on TCP {port}: {}.", facts.service_words().en),
            format!("TCP {port} 上是其他服务：{}。", facts.service_words().zh),
        ),
        _ => Wording::new(meaning.en, meaning.zh),
    }
}

/// What a connection request, or TLS behind it, came to, where that is the failure.
fn said_within_rdp(facts: &Facts<'_>) -> Option<Wording> {
    let port = facts.target.port;
    match facts.verdict.class {
        Class::RdpRefused => {
            let refusal = security::refusal(facts.findings?).map(|refusal| refusal.summary());
            refusal.or_else(|| security::fault(facts.findings?))
        }
        Class::Certificate => security::fault(facts.findings?),
        Class::ServiceHung if facts.half_answer().is_some() => facts.half_answer().map(|heard| {
            let bytes = bytes_came(heard);
            Wording::new(
                format!(
                    "TCP {port} accepts, and the service begins an answer ({}) that it does not end.",
                    bytes.en
                ),
                format!("TCP {port} 接受连接，服务开始应答（{}）后再无下文。", bytes.zh),
            )
        }),
        Class::ServiceHung if has_sign(facts.verdict, Sign::TlsSilent) => Some(Wording::new(
            format!(
                "TCP {port} accepts, and the RDP server answers its first request: it says nothing \
                 more where its certificate is due."
            ),
            format!("TCP {port} 接受连接，RDP 服务应答了首个请求，但该出示证书时再无应答。"),
        )),
        _ => None,
    }
}

fn host_silent(facts: &Facts<'_>) -> Wording {
    let (failing, all) = facts.failing_of_all();
    let [path_en, path_zh] = facts.last_hop().map_or_else(Default::default, |hop| {
        [format!("; the path is intact up to {}", hop.en), format!("，路径完好直到 {}", hop.zh)]
    });
    Wording::new(
        format!("Host silent: from {failing} of {all} vantages nothing answers{path_en}."),
        format!("主机无响应：{failing}/{all} 个观测点无任何应答{path_zh}。"),
    )
}

fn packet_loss(facts: &Facts<'_>) -> Wording {
    let ((lost, sent), [of_en, of_zh], [less_en, less_zh]) = match facts.loss() {
        Loss::Together(count) => (count, ["", ""], Default::default()),
        Loss::OfSyns(count, (lost, sent)) => (
            count,
            [" of SYNs", "（SYN）"],
            [format!("; of echoes {lost}/{sent}"), format!("；回显丢失 {lost}/{sent}")],
        ),
        Loss::OfEchoes(count, (lost, sent)) => (
            count,
            [" of echoes", "（回显）"],
            [format!("; of SYNs {lost}/{sent}"), format!("；SYN 丢失 {lost}/{sent}")],
        ),
    };
    let (low, high) = wilson(lost, sent);
    let percent = |ratio: f64| format!("{:.0}", ratio * 100.0);
    let ratio = if sent == 0 { 0.0 } else { real(lost) / real(sent) };
    let (ratio, low, high) = (percent(ratio), percent(low), percent(high));
    Wording::new(
        format!(
            "End-to-end packet loss{of_en} {ratio}% ({lost}/{sent}, 95% interval {low}–{high}%\
             {less_en}). Loss at middle hops is not used as evidence."
        ),
        format!(
            "端到端丢包{of_zh} {ratio}%（{lost}/{sent}，95% 区间 {low}–{high}%{less_zh}）。中间跳丢包不\
             作为依据。"
        ),
    )
}

fn partial_path(facts: &Facts<'_>) -> Wording {
    let meaning = facts.verdict.class.meaning();
    let flows = facts.findings.and_then(|findings| findings.flows.as_ref());
    let Some(flows) = flows.filter(|_| facts.findings.is_some_and(Findings::is_split)) else {
        return Wording::new(meaning.en, meaning.zh);
    };
    let (all, alive, dead) = (flows.repeated(), flows.alive(), flows.dead());
    let ports: Vec<_> = dead.iter().map(u16::to_string).collect();
    let (count, ports) = (dead.len(), ports.join(", "));
    Wording::new(
        format!(
            "Part of the path is dead: of {all} TCP flows asked again {alive} always answer and \
             {count} never do (source ports {ports}). Clients succeed or fail by their source port."
        ),
        format!(
            "部分路径失效：重复探测的 {all} 条 TCP 流中 {alive} 条始终应答，{count} 条始终无应答\
             （源端口 {ports}）。客户端能否连上取决于源端口。"
        ),
    )
}

/// SYNs are lost and echoes are not.
fn thinned(facts: &Facts<'_>) -> Wording {
    let port = facts.target.port;
    let syn = facts.findings.and_then(|findings| findings.syn.as_ref());
    let (lost, sent) = syn.map_or((0, 0), |syn| (missing(syn), syn.valid()));
    Wording::new(
        format!(
            "Host online, {lost} of {sent} SYNs to TCP {port} dropped while echoes pass: the path \
             loses nothing, a full accept queue, a full session table or a guard drops new \
             connections."
        ),
        format!(
            "主机在线，TCP {port} 的 {sent} 个 SYN 中 {lost} 个被丢弃，而 ICMP 正常：路径不丢包，新连接\
             被已满的接受队列、会话表或防护软件丢弃。"
        ),
    )
}

/// SYNs are accepted or reset without an order.
fn mixed(facts: &Facts<'_>) -> Wording {
    let port = facts.target.port;
    let syn = facts.findings.and_then(|findings| findings.syn.as_ref());
    let count = |kind| syn.map_or(0, |syn| syn.count(kind));
    let (accepted, reset) = (count(AnswerKind::SynAck), count(AnswerKind::Reset));
    Wording::new(
        format!(
            "TCP {port} accepts {accepted} SYNs and resets {reset}: a full accept queue, or a guard \
             that refuses some connections."
        ),
        format!(
            "TCP {port} 接受 {accepted} 个 SYN，重置 {reset} 个：连接队列已满，或防护软件拒绝部分连接。"
        ),
    )
}

/// The service answered, when nobody would have waited for it any longer.
fn late(facts: &Facts<'_>) -> Wording {
    let meaning = facts.verdict.class.meaning();
    let slow_stage = |findings: &Findings| findings.rdp.as_deref()?.look.slow_stage();
    if let Some((stage, time)) = facts.findings.and_then(slow_stage) {
        let port = facts.target.port;
        let (stage, time) = (stage.as_str().to_uppercase(), time.as_secs_f64());
        return Wording::new(
            format!(
                "TCP {port} accepts at once and the service answers, but {stage} takes it {time:.1} s."
            ),
            format!("TCP {port} 立即接受连接，服务有应答，但 {stage} 阶段耗时 {time:.1} 秒。"),
        );
    }
    let report = facts.findings.and_then(|findings| findings.connect.as_ref());
    let Some(time) = report.and_then(|report| report.service_time) else {
        return Wording::new(meaning.en, meaning.zh);
    };
    let (port, time) = (facts.target.port, time.as_secs_f64());
    Wording::new(
        format!("TCP {port} accepts at once, and the service answers only after {time:.1} s."),
        format!("TCP {port} 立即接受连接，服务却在 {time:.1} 秒后才应答。"),
    )
}

fn mtu_blackhole(facts: &Facts<'_>) -> Wording {
    let meaning = facts.verdict.class.meaning();
    let large = facts.findings.and_then(|findings| findings.large.as_ref());
    let sizes = large.and_then(|large| Some((large.echo_passes()?, large.echo_fails()?.0)));
    let Some((passes, fails)) = sizes else { return Wording::new(meaning.en, meaning.zh) };
    Wording::new(
        format!(
            "Large packets vanish and nobody says so: echoes of {passes} bytes return, of {fails} \
             bytes never do."
        ),
        format!("大包静默丢失：{passes} 字节的包可往返，{fails} 字节的包始终丢失且无 ICMP 提示。"),
    )
}

fn source_blocked(facts: &Facts<'_>) -> Wording {
    let meaning = facts.verdict.class.meaning();
    let (en, zh) = if has_sign(facts.verdict, Sign::SecondReaches) {
        (
            "Another address of the same host gets through: what blocks follows the address.",
            "同一主机的另一源地址可达：封锁针对地址。",
        )
    } else if has_sign(facts.verdict, Sign::SecondFailsToo) {
        (
            "Another address of the same host fails as well: the failure follows the way.",
            "同一主机的另一源地址同样失败：故障在路径上。",
        )
    } else {
        return Wording::new(meaning.en, meaning.zh);
    };
    Wording::new(format!("{} {en}", meaning.en), format!("{}{zh}", meaning.zh))
}

fn vantage_fault(facts: &Facts<'_>) -> Wording {
    let meaning = facts.verdict.class.meaning();
    if !has_sign(facts.verdict, Sign::VantageProxied) {
        return Wording::new(meaning.en, meaning.zh);
    }
    let port = facts.target.port;
    Wording::new(
        format!(
            "A proxy before the vantage takes TCP connections on {port} itself: it answers for an \
             address that nobody has. Nothing is said about the target."
        ),
        format!(
            "观测点前的透明代理自行接受 TCP {port} 连接：无人使用的地址也有应答。不对目标下结论。"
        ),
    )
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
