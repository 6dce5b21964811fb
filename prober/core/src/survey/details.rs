//! The numbers behind signs, in words: English for documents and tickets, Chinese for people.

pub(super) mod security;

use std::net::IpAddr;
use std::time::Duration;

use crate::evidence::ServiceAnswer;
use crate::evidence::rdp::{RdpStage, StageFailure};
use crate::probe::asides::About;
use crate::probe::exchange::bytes_came;
use crate::probe::flows::FlowFates;
use crate::probe::large::{LARGEST, SizeFates};
use crate::probe::rates::Counts;
use crate::wording::{Text, Wording};

/// How many of all probes were answered, some of them only when they were repeated.
pub(super) fn counts(received: u64, valid: u64, repeated: u64) -> Wording {
    let [late_en, late_zh] = match repeated {
        0 => [String::new(), String::new()],
        count => [
            format!(", {count} of them only after a repetition"),
            format!("，其中 {count} 个在重传之后"),
        ],
    };
    Wording::new(
        format!("{received} of {valid} answered{late_en}"),
        format!("{valid} 个中 {received} 个有应答{late_zh}"),
    )
}

/// Who sent an error.
pub(super) fn from(sender: IpAddr) -> Wording {
    Wording::new(format!("from {sender}"), format!("来自 {sender}"))
}

/// Whose error it is that a neighbour drew.
pub(super) fn of_neighbours(sender: IpAddr) -> Wording {
    Wording::new(
        format!("from {sender}, of a neighbour that fell silent at the same time"),
        format!("来自 {sender}，针对同时失去响应的同段地址"),
    )
}

/// How long after the probe an error came.
pub(super) fn after(delay: Duration) -> Wording {
    let seconds = delay.as_secs_f64();
    Wording::new(format!("after {seconds:.3} s"), format!("{seconds:.3} 秒后"))
}

pub(super) fn two_answers() -> Wording {
    Wording::new("SYN-ACK and RST to one SYN", "同一 SYN 既收到 SYN-ACK 又收到 RST")
}

/// Routers that a reset passed, and that an echo reply did.
pub(super) fn reset_distance(reset: u8, host: u8) -> Wording {
    Wording::new(
        format!("reset passed {reset} routers, echo reply {host}"),
        format!("RST 经过 {reset} 跳，回显应答 {host} 跳"),
    )
}

/// The last hop of a path that answers.
pub(super) fn last_answer(last: u8) -> Wording {
    let silent = last + 1;
    let zh = match last {
        0 => "没有一跳应答".to_owned(),
        last => format!("末个应答在第 {last} 跳，第 {silent} 跳起无应答"),
    };
    Wording::new(format!("last answer at hop {last}, silent from hop {silent}"), zh)
}

/// How far routers answer toward a neighbour, and toward the target.
pub(super) fn sibling((neighbour, further): (IpAddr, u8), own: u8) -> Wording {
    Wording::new(
        format!(
            "toward {neighbour} routers answer up to hop {further}, toward the target up to hop {own}"
        ),
        format!("往 {neighbour} 方向路由器应答到第 {further} 跳，往目标方向到第 {own} 跳"),
    )
}

pub(super) fn hop_answers(hop: u8) -> Wording {
    Wording::new(format!("hop {hop} answers"), format!("第 {hop} 跳有应答"))
}

/// How far routers answer now, and how far they did in health.
pub(super) fn learnt_path(last: u8, learnt: u8) -> Wording {
    Wording::new(
        format!("routers answer up to hop {last}, while it was well up to hop {learnt}"),
        format!("路由器应答到第 {last} 跳，健康时到第 {learnt} 跳"),
    )
}

/// How late a service answered, beside the handshake before it and what is usual.
pub(super) fn lateness(service: Duration, handshake: Duration, usual: Option<Duration>) -> Wording {
    let (seconds, shook) = (service.as_secs_f64(), millis(handshake));
    let [usual_en, usual_zh] = usual.map(millis).map_or_else(Default::default, |usual| {
        [format!(", usually within {usual:.1} ms"), format!("（平时 {usual:.1} ms 以内）")]
    });
    Wording::new(
        format!("answered after {seconds:.1} s{usual_en}; the handshake took {shook:.1} ms"),
        format!("{seconds:.1} 秒后才应答{usual_zh}，握手用时 {shook:.1} ms"),
    )
}

/// A stage behind the first answer that took too long.
pub(super) fn slow_stage(stage: RdpStage, took: Duration, first: Duration) -> Wording {
    let (took, first) = (took.as_secs_f64(), millis(first));
    let name = stage.as_str().to_uppercase();
    Wording::new(
        format!("{name} took {took:.1} s, the first answer {first:.1} ms"),
        format!("`{name}` 阶段用时 {took:.1} 秒，首次应答 {first:.1} ms"),
    )
}

/// A connection behind the first one that came to nothing.
pub(super) fn further_connection(failure: &StageFailure) -> Wording {
    match failure {
        StageFailure::NotConnected(_) => {
            Wording::new("a further connection was not accepted", "后续连接未被接受")
        }
        StageFailure::TimedOut { .. } => {
            Wording::new("a further connection was not answered in time", "后续连接限时内无应答")
        }
        StageFailure::Closed => Wording::new("a further connection was closed", "后续连接被断开"),
        StageFailure::Reset => Wording::new("a further connection was reset", "后续连接被 RST"),
        StageFailure::Local(_) => {
            Wording::new("a further connection could not be made from here", "本机无法建立后续连接")
        }
    }
}

/// How a connection was left that was made just before one that was answered.
pub(super) fn connection_before(said: &ServiceAnswer) -> Wording {
    match said {
        ServiceAnswer::Closed { reset: true, .. } => {
            Wording::new("a connection just before was reset", "此前一次连接被 RST")
        }
        ServiceAnswer::Closed { reset: false, .. } => {
            Wording::new("a connection just before was closed", "此前一次连接被断开")
        }
        _ => Wording::new(
            "a connection just before was not answered in time",
            "此前一次连接限时内无应答",
        ),
    }
}

/// With which code a connection was refused that was made just before one that was taken.
pub(super) fn refused_before(code: u32) -> Wording {
    let Wording { en, zh } = security::refusal(code);
    Wording::new(
        format!("a connection just before was refused ({en})"),
        format!("此前一次连接被拒绝（{zh}）"),
    )
}

/// A server that serves what clients offer and answers other offers with what was not offered.
pub(super) fn selects_strangely() -> Wording {
    Wording::new(
        "to some offers it selects what was not offered",
        "对某些协议组合，其选择了客户端未提供的协议",
    )
}

/// A service that answers, but so slowly that nothing further was asked.
pub(super) fn too_slow_for_a_look(time: Duration) -> Wording {
    let seconds = time.as_secs_f64();
    Wording::new(
        format!(
            "answered after {seconds:.1} s, too slow to be looked at: its certificate is not seen"
        ),
        format!("{seconds:.1} 秒后才应答，过慢而未进一步查看，未见到证书"),
    )
}

pub(super) fn refuses_connections() -> Wording {
    Wording::new(
        "a whole connection is reset though bare SYNs are accepted",
        "单独的 SYN 被接受，完整连接却被 RST",
    )
}

pub(super) fn refuses_every_offer() -> Wording {
    Wording::new("refuses every security protocol that is offered", "拒绝所提供的全部安全协议")
}

/// What a service said, in a few words.
pub fn service_detail(answer: &ServiceAnswer) -> Option<Wording> {
    Some(match answer {
        ServiceAnswer::Confirmed { detail, .. } => detail.clone(),
        ServiceAnswer::Refused { code } => security::refusal(*code),
        ServiceAnswer::Foreign { hint } => hint.clone(),
        ServiceAnswer::Silent => Wording::new("no answer in time", "限时内未应答"),
        ServiceAnswer::Unfinished { heard } => {
            begun(*heard, ["and did not end it in time", "限时内未完成"])
        }
        ServiceAnswer::Closed { reset: true, heard: 0 } => {
            Wording::new("reset before an answer", "应答前以 RST 断开")
        }
        ServiceAnswer::Closed { reset: false, heard: 0 } => {
            Wording::new("closed before an answer", "应答前以 FIN 断开")
        }
        ServiceAnswer::Closed { reset: true, heard } => {
            begun(*heard, ["and reset the connection within it", "以 RST 断开"])
        }
        ServiceAnswer::Closed { reset: false, heard } => {
            begun(*heard, ["and closed the connection within it", "以 FIN 断开"])
        }
        ServiceAnswer::NotAsked => return None,
    })
}

/// An answer of which so much came, and how it went on.
fn begun(heard: usize, [en, zh]: [&str; 2]) -> Wording {
    let bytes = bytes_came(heard);
    Wording::new(
        format!("began an answer ({}) {en}", bytes.en),
        format!("应答开始（{}）后{zh}", bytes.zh),
    )
}

pub(super) fn next_hop_silent() -> Wording {
    Wording::new("our own kernel found the next hop silent", "本机内核发现下一跳无响应")
}

/// How many probes were spoilt by our own side, of all.
pub(super) fn spoilt(spoilt: u64, sent: u64) -> Wording {
    Wording::new(
        format!("{spoilt} of {sent} probes were spoilt by our own delays and count for nothing"),
        format!("{sent} 个探测中有 {spoilt} 个因本机延误而作废"),
    )
}

/// How far away the host is, and was.
pub(super) fn moved(now: u8, learnt: u8) -> Wording {
    Wording::new(
        format!("its answers pass {now} routers, and passed {learnt} while it was well"),
        format!("应答经过 {now} 个路由器，健康时为 {learnt} 个"),
    )
}

pub(super) fn never_left() -> Wording {
    Wording::new("packets never left", "探测包未能发出")
}

pub(super) fn no_neighbour() -> Wording {
    Wording::new("no answer to our own neighbour discovery", "本机的邻居发现（ARP/ND）无应答")
}

pub(super) fn request_lost() -> Wording {
    Wording::new(
        "the handshake passed, what was said behind it was never acknowledged",
        "握手成功，其后发送的数据始终未被确认",
    )
}

pub(super) fn nobody_heard() -> Wording {
    Wording::new(
        "neither a router nor a neighbour was heard: our own link may be what fails",
        "没有收到任何路由器或邻居的应答：故障也可能在本机链路",
    )
}

pub(super) fn neighbours_near() -> Wording {
    Wording::new("neighbours answer without a router between", "邻居地址直接应答，中间无路由器")
}

pub(super) fn eaten_acceptance() -> Wording {
    Wording::new(
        "SYN-ACK on the wire, full connections time out",
        "网线上收到 SYN-ACK，完整连接却超时",
    )
}

/// How the flows fared that were asked again.
pub(super) fn flows(fates: &FlowFates, dead: &[u16], alive: usize) -> Wording {
    let ports = dead.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    let [named_en, named_zh] = match dead {
        [] => [String::new(), String::new()],
        _ => [format!(" (source ports {ports})"), format!("（源端口 {ports}）")],
    };
    let (all, never) = (fates.repeated(), dead.len());
    Wording::new(
        format!("of {all} flows asked again {alive} always answer, {never} never{named_en}"),
        format!("重复探测的 {all} 条流中 {alive} 条始终应答，{never} 条始终无应答{named_zh}"),
    )
}

/// What was lost at half a probe a second, and at twenty.
pub(super) fn rates(slow: Counts, quick: Counts) -> Wording {
    let [slow, quick] = [slow, quick].map(|counts| (counts.lost, counts.lost + counts.answered));
    let ((slow_lost, slow_sent), (quick_lost, quick_sent)) = (slow, quick);
    Wording::new(
        format!(
            "{slow_lost} of {slow_sent} lost at 0.5 a second, {quick_lost} of {quick_sent} lost at \
             20 a second"
        ),
        format!(
            "每秒 0.5 个时 {slow_sent} 个丢 {slow_lost} 个，每秒 20 个时 {quick_sent} 个丢 \
             {quick_lost} 个"
        ),
    )
}

/// Round trips while packets are lost, and in health where that tells.
pub(super) fn round_trips((least, most): (Duration, Duration), usual: Option<Duration>) -> Wording {
    let (least, most) = (millis(least), millis(most));
    let [usual_en, usual_zh] = usual.map(millis).map_or_else(Default::default, |usual| {
        [format!(", when healthy {usual:.1} ms"), format!("，健康时 {usual:.1} ms")]
    });
    Wording::new(
        format!("round trips from {least:.1} to {most:.1} ms{usual_en}"),
        format!("往返时延 {least:.1} 至 {most:.1} ms{usual_zh}"),
    )
}

/// Lost and sent SYNs, and echoes beside them.
pub(super) fn syn_loss((lost, sent): (u64, u64), (echo_lost, echo_sent): (u64, u64)) -> Wording {
    Wording::new(
        format!("{lost} of {sent} SYNs lost, {echo_lost} of {echo_sent} echoes"),
        format!("{sent} 个 SYN 丢失 {lost} 个，{echo_sent} 个回显丢失 {echo_lost} 个"),
    )
}

/// Which sizes pass and which do not.
pub(super) fn large(fates: &SizeFates) -> Wording {
    let passes = fates.echo_passes().map(|size| {
        Wording::new(format!("echo of {size} bytes returns"), format!("{size} 字节的回显可往返"))
    });
    let fails = fates.echo_fails().map(|(size, lost)| {
        Wording::new(
            format!("{size} bytes vanish ({lost} lost)"),
            format!("{size} 字节的丢失（{lost} 个）"),
        )
    });
    let told = fates.told().map(|(size, from)| {
        Wording::new(
            format!("{from} says {size} bytes are too big"),
            format!("{from} 提示 {size} 字节过大"),
        )
    });
    let segment = fates.segment_passes().map(|passes| {
        let (en, zh) = if passes { ("is answered", "有应答") } else { ("vanishes", "丢失") };
        Wording::new(
            format!("a segment of {LARGEST} bytes {en}"),
            format!("{LARGEST} 字节的 TCP 段{zh}"),
        )
    });
    Wording::list([passes, fails, told, segment].into_iter().flatten(), "，")
}

/// Routers that the acceptance passed, and that an echo reply did.
pub(super) fn accept_distance(accepted: u8, echoed: u8) -> Wording {
    Wording::new(
        format!("acceptance passed {accepted} routers, echo reply {echoed}"),
        format!("SYN-ACK 经过 {accepted} 跳，回显应答 {echoed} 跳"),
    )
}

/// Where SYNs are accepted, and a router further away that answers echoes.
pub(super) fn router_beyond(accepted: u8, router: u8) -> Wording {
    Wording::new(
        format!("accepted at hop {accepted}, a router answers echoes at hop {router}"),
        format!("第 {accepted} 跳接受连接，第 {router} 跳仍有路由器应答回显"),
    )
}

/// Routers that the acceptance passed, that the SYN did, and those of health.
pub(super) fn accept_path(accepted: u8, path: Option<u8>, learnt: Option<u8>) -> Wording {
    let [path_en, path_zh] = path.map_or_else(Default::default, |routers| {
        [format!(", the SYN {routers}"), format!("，SYN {routers} 跳")]
    });
    let [learnt_en, learnt_zh] = learnt.map_or_else(Default::default, |routers| {
        [format!(", when healthy {routers}"), format!("，健康时 {routers} 跳")]
    });
    Wording::new(
        format!("acceptance passed {accepted} routers{path_en}{learnt_en}"),
        format!("SYN-ACK 经过 {accepted} 跳{path_zh}{learnt_zh}"),
    )
}

/// The same of an acceptance whose window was empty.
pub(super) fn with_empty_window(of: &Wording) -> Wording {
    Wording::new(format!("{}, with an empty window", of.en), format!("{}，窗口为 0", of.zh))
}

/// Routers that the end of a connection passed, and that its acceptance did.
pub(super) fn end_distance(reset: bool, ended: u8, accepted: u8) -> Wording {
    let (en, zh) = ending(reset);
    Wording::new(
        format!("{en} passed {ended} routers, the acceptance {accepted}"),
        format!("{zh} 经过 {ended} 跳，SYN-ACK {accepted} 跳"),
    )
}

/// How soon after the request the end of a connection came, and how long an answer takes.
pub(super) fn end_too_soon(reset: bool, (after, least): (Duration, Duration)) -> Wording {
    let ((en, zh), after, least) = (ending(reset), millis(after), millis(least));
    Wording::new(
        format!("{en} {after:.1} ms after the request, round trip {least:.1} ms"),
        format!("请求发出 {after:.1} ms 后即收到 {zh}，往返需 {least:.1} ms"),
    )
}

/// What is said of ports and neighbours.
pub(super) fn of_asides(asked: &[About], what: Text) -> Wording {
    let names = names(asked);
    Wording::new(format!("{} {}", names.en, what.en), format!("{} {}", names.zh, what.zh))
}

/// Ports and neighbours of which none answers.
pub(super) fn no_answer_from(asked: &[About]) -> Wording {
    let names = names(asked);
    Wording::new(format!("no answer from {}", names.en), format!("{} 无应答", names.zh))
}

fn names(asked: &[About]) -> Wording {
    let name = |about: &About| match about {
        About::Canary(port) | About::Control(port) | About::Alternate(port) => {
            Wording::new(format!("port {port}"), format!("端口 {port}"))
        }
        About::Neighbour(address) => Wording::same(address.to_string()),
        About::NeighbourPort(address, port) => {
            Wording::new(format!("{address} port {port}"), format!("{address} 端口 {port}"))
        }
    };
    Wording::list(asked.iter().map(name), "、")
}

const fn ending(reset: bool) -> (&'static str, &'static str) {
    if reset { ("reset", "RST") } else { ("FIN", "FIN") }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests;
