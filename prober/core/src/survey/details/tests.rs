use std::collections::BTreeMap;

use super::*;
use crate::evidence::LocalError;
use crate::evidence::rdp::{NtlmOutcome, StageFailure};
use crate::probe::flows::FlowFate;
use crate::probe::large::{CONTROL, Packet, SizeFate};
use crate::wording::english_words;

const NEAR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 9));

fn check(told: &Wording, en: &str, zh: &str) {
    assert_eq!(*told, Wording::new(en, zh));
    assert_eq!(english_words(zh).next(), None, "{zh}");
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn counts_and_errors_read_in_both_languages() {
    check(&counts(7, 8, 0), "7 of 8 answered", "8 个中 7 个有应答");
    check(
        &counts(7, 8, 2),
        "7 of 8 answered, 2 of them only after a repetition",
        "8 个中 7 个有应答，其中 2 个在重传之后",
    );
    check(&from(NEAR), "from 10.0.0.9", "来自 10.0.0.9");
    check(&after(ms(3_050)), "after 3.050 s", "3.050 秒后");
    check(&two_answers(), "SYN-ACK and RST to one SYN", "同一 SYN 既收到 SYN-ACK 又收到 RST");
    check(
        &reset_distance(3, 9),
        "reset passed 3 routers, echo reply 9",
        "RST 经过 3 跳，回显应答 9 跳",
    );
}

#[test]
fn paths_read_in_both_languages() {
    check(
        &last_answer(2),
        "last answer at hop 2, silent from hop 3",
        "末个应答在第 2 跳，第 3 跳起无应答",
    );
    check(&last_answer(0), "last answer at hop 0, silent from hop 1", "没有一跳应答");
    check(
        &sibling((NEAR, 4), 2),
        "toward 10.0.0.9 routers answer up to hop 4, toward the target up to hop 2",
        "往 10.0.0.9 方向路由器应答到第 4 跳，往目标方向到第 2 跳",
    );
    check(&hop_answers(2), "hop 2 answers", "第 2 跳有应答");
    check(
        &learnt_path(2, 5),
        "routers answer up to hop 2, while it was well up to hop 5",
        "路由器应答到第 2 跳，健康时到第 5 跳",
    );
}

#[test]
fn our_own_side_reads_in_both_languages() {
    check(
        &next_hop_silent(),
        "our own kernel found the next hop silent",
        "本机内核发现下一跳无响应",
    );
    check(&never_left(), "packets never left", "探测包未能发出");
    check(
        &no_neighbour(),
        "no answer to our own neighbour discovery",
        "本机的邻居发现（ARP/ND）无应答",
    );
    check(
        &nobody_heard(),
        "neither a router nor a neighbour was heard: our own link may be what fails",
        "没有收到任何路由器或邻居的应答：故障也可能在本机链路",
    );
    check(
        &neighbours_near(),
        "neighbours answer without a router between",
        "邻居地址直接应答，中间无路由器",
    );
    check(
        &eaten_acceptance(),
        "SYN-ACK on the wire, full connections time out",
        "网线上收到 SYN-ACK，完整连接却超时",
    );
}

#[test]
fn services_read_in_both_languages() {
    check(
        &lateness(ms(6_200), ms(12), None),
        "answered after 6.2 s; the handshake took 12.0 ms",
        "6.2 秒后才应答，握手用时 12.0 ms",
    );
    check(
        &lateness(ms(2_200), ms(12), Some(ms(30))),
        "answered after 2.2 s, usually within 30.0 ms; the handshake took 12.0 ms",
        "2.2 秒后才应答（平时 30.0 ms 以内），握手用时 12.0 ms",
    );
    let said = |answer| service_detail(&answer).unwrap();
    check(
        &said(ServiceAnswer::Refused { code: 5 }),
        "RDP negotiation failure code 5 (HYBRID_REQUIRED_BY_SERVER)",
        "RDP 协商失败代码 5（`HYBRID_REQUIRED_BY_SERVER`）",
    );
    check(&said(ServiceAnswer::Silent), "no answer in time", "限时内未应答");
    let closed = |reset| said(ServiceAnswer::Closed { reset, heard: 0 });
    check(&closed(true), "reset before an answer", "应答前以 RST 断开");
    check(&closed(false), "closed before an answer", "应答前以 FIN 断开");
    assert_eq!(service_detail(&ServiceAnswer::NotAsked), None);
}

#[test]
fn sweeps_read_in_both_languages() {
    let fates = [(0, 3), (3, 0), (3, 0)].map(|(answered, lost)| FlowFate { answered, lost });
    let fates = FlowFates((61_000..).zip(fates).collect());
    check(
        &flows(&fates, &[61_000], 2),
        "of 3 flows asked again 2 always answer, 1 never (source ports 61000)",
        "重复探测的 3 条流中 2 条始终应答，1 条始终无应答（源端口 61000）",
    );
    check(
        &flows(&fates, &[], 2),
        "of 3 flows asked again 2 always answer, 0 never",
        "重复探测的 3 条流中 2 条始终应答，0 条始终无应答",
    );
    check(
        &rates(Counts { answered: 9, lost: 1 }, Counts { answered: 20, lost: 20 }),
        "1 of 10 lost at 0.5 a second, 20 of 40 lost at 20 a second",
        "每秒 0.5 个时 10 个丢 1 个，每秒 20 个时 40 个丢 20 个",
    );
    check(
        &round_trips((ms(2), ms(40)), None),
        "round trips from 2.0 to 40.0 ms",
        "往返时延 2.0 至 40.0 ms",
    );
    check(
        &round_trips((ms(30), ms(40)), Some(ms(2))),
        "round trips from 30.0 to 40.0 ms, when healthy 2.0 ms",
        "往返时延 30.0 至 40.0 ms，健康时 2.0 ms",
    );
    check(
        &syn_loss((9, 20), (1, 20)),
        "9 of 20 SYNs lost, 1 of 20 echoes",
        "20 个 SYN 丢失 9 个，20 个回显丢失 1 个",
    );
}

#[test]
fn sizes_read_in_both_languages() {
    let passes = SizeFate { answered: 1, ..SizeFate::default() };
    let vanishes = SizeFate { lost: 3, ..SizeFate::default() };
    let told = SizeFate { told: Some(NEAR), ..SizeFate::default() };
    for (fates, en, zh) in [
        (
            vec![(Packet::Echo(1_400), passes)],
            "echo of 1400 bytes returns",
            "1400 字节的回显可往返",
        ),
        (
            vec![
                (Packet::Echo(1_500), vanishes),
                (Packet::Segment(CONTROL), passes),
                (Packet::Segment(LARGEST), vanishes),
            ],
            "1500 bytes vanish (3 lost), a segment of 1500 bytes vanishes",
            "1500 字节的丢失（3 个），1500 字节的 TCP 段丢失",
        ),
        (
            vec![(Packet::Echo(1_500), told), (Packet::Segment(LARGEST), passes)],
            "10.0.0.9 says 1500 bytes are too big, a segment of 1500 bytes is answered",
            "10.0.0.9 提示 1500 字节过大，1500 字节的 TCP 段有应答",
        ),
    ] {
        check(&large(&SizeFates(BTreeMap::from_iter(fates))), en, zh);
    }
}

#[test]
fn senders_read_in_both_languages() {
    check(
        &accept_distance(3, 9),
        "acceptance passed 3 routers, echo reply 9",
        "SYN-ACK 经过 3 跳，回显应答 9 跳",
    );
    check(
        &router_beyond(3, 5),
        "accepted at hop 3, a router answers echoes at hop 5",
        "第 3 跳接受连接，第 5 跳仍有路由器应答回显",
    );
    let bare = accept_path(3, None, None);
    check(&bare, "acceptance passed 3 routers", "SYN-ACK 经过 3 跳");
    check(
        &with_empty_window(&accept_path(3, Some(5), Some(4))),
        "acceptance passed 3 routers, the SYN 5, when healthy 4, with an empty window",
        "SYN-ACK 经过 3 跳，SYN 5 跳，健康时 4 跳，窗口为 0",
    );
    check(
        &end_distance(true, 2, 7),
        "reset passed 2 routers, the acceptance 7",
        "RST 经过 2 跳，SYN-ACK 7 跳",
    );
    check(
        &end_too_soon(false, (ms(1), ms(30))),
        "FIN 1.0 ms after the request, round trip 30.0 ms",
        "请求发出 1.0 ms 后即收到 FIN，往返需 30.0 ms",
    );
}

#[test]
fn ports_and_neighbours_read_in_both_languages() {
    let asked = [About::Control(22), About::Neighbour(NEAR), About::NeighbourPort(NEAR, 80)];
    let answers = Text { en: "answers", zh: "有应答" };
    check(
        &of_asides(&asked, answers),
        "port 22, 10.0.0.9, 10.0.0.9 port 80 answers",
        "端口 22、10.0.0.9、10.0.0.9 端口 80 有应答",
    );
    check(&no_answer_from(&[About::Canary(9)]), "no answer from port 9", "端口 9 无应答");
}

#[test]
fn nla_that_fails_says_why() {
    let timed_out = StageFailure::TimedOut { heard: false };
    for (outcome, said) in [
        (NtlmOutcome::Error(0xc000_005e), Some("STATUS_NO_LOGON_SERVERS")),
        (NtlmOutcome::Error(0xc000_0022), Some("0xc0000022")),
        (NtlmOutcome::Malformed, Some("no challenge")),
        (NtlmOutcome::Failed(timed_out), Some("not answered in time")),
        (NtlmOutcome::Failed(StageFailure::Reset), Some("ended the connection")),
        // Ours, not the server's.
        (NtlmOutcome::UnsupportedTls, None),
        (NtlmOutcome::Failed(StageFailure::Local(LocalError::Exhausted)), None),
    ] {
        let told = outcome.fails().then(|| security::without_challenge(&outcome));
        assert_eq!(told.is_some(), said.is_some(), "{outcome:?}");
        assert!(told.is_none_or(|told| said.is_some_and(|said| told.en.contains(said))));
    }
}
