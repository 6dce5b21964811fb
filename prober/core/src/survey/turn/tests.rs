use std::net::IpAddr;

use super::*;
use crate::evidence::{
    Answer, ConnectReport, IcmpAnswer, IcmpKind, Observation, ServiceAnswer, TcpAnswer,
};
use crate::judge::{Family, Sign};
use crate::probe::series::Series;
use crate::probe::{Engine as _, Question};
use crate::survey::Depth;
use crate::survey::signs::signs;
use crate::target::{Service, Target};
use crate::time::Instant;
use crate::wording::Wording;

const HOST: [u8; 4] = [10, 9, 0, 10];

/// A series asked every 400 ms, each probe given up two seconds later.
fn series(question: Question, answers: &[Answer]) -> Tally {
    let at = |n: usize| Duration::from_millis(400) * u32::try_from(n).unwrap();
    let offsets: Vec<_> = (0..answers.len()).map(at).collect();
    let mut series = Series::new(question, Instant::ZERO, &offsets);
    for (n, answer) in answers.iter().enumerate() {
        let now = Instant::ZERO + at(n);
        let ask = series.poll_ask(now).unwrap();
        let over = now + Duration::from_secs(2);
        let seen = Observation { answer: *answer, sent: None, arrived: None };
        series.handle_observation(over, ask.id, &seen);
    }
    series.tally().clone()
}

const ECHO: Answer = Answer::EchoReply { ttl: Some(60) };
const RESET: Answer = Answer::Reset(TcpAnswer { ttl: Some(60), window: Some(0), ip_id: Some(0) });

/// So many answers, then so many silences.
fn then_silence(answer: Answer, [answered, missed]: [usize; 2]) -> Vec<Answer> {
    let silences = vec![Answer::Silence; missed];
    [vec![answer; answered], silences].concat()
}

fn found(echo: &[Answer], syn: &[Answer]) -> Findings {
    Findings {
        port: Some(3389),
        echo: series(Question::Echo, echo),
        syn: Some(series(Question::Syn { port: 3389 }, syn)),
        connect: Some(ConnectReport {
            service: Some(ServiceAnswer::Confirmed {
                selected: Some(1),
                detail: Wording::same("TLS"),
            }),
            result: ConnectResult::Connected,
            handshake: None,
            retransmits: None,
            service_time: Some(Duration::from_millis(3)),
            local_port: None,
        }),
        icmp_path: Some(Path { hops: Vec::new(), end: PathEnd::Reached(3) }),
        ..Findings::nothing(IpAddr::from(HOST), (Instant::ZERO, Instant::ZERO), Depth::Full)
    }
}

fn read(findings: &Findings, family: Family) -> Option<Sign> {
    let seen = signs(findings, &Target::new("10.9.0.10", 3389, Service::Rdp), None);
    seen.iter().map(|seen| seen.sign).find(|sign| sign.family() == family)
}

#[test]
fn what_was_answered_before_a_silence_says_nothing_of_it() {
    let findings = found(&then_silence(ECHO, [3, 14]), &then_silence(RESET, [2, 12]));
    assert_eq!(
        findings.turn(),
        Some(Turn { since: Since::Silent, answered: 5, connected: false, missed: 26 })
    );
    assert_eq!(read(&findings, Family::Echo), Some(Sign::EchoSilent));
    assert_eq!(read(&findings, Family::Syn), Some(Sign::SynSilent));
    assert_eq!(read(&findings, Family::Service), None);
    assert_eq!(read(&findings, Family::LastHop), None);
    let since = findings.as_it_stands().unwrap();
    assert!(since.echo.counters.adds_up() && since.came_to_nothing());
    assert_eq!(since.echo.valid(), 14);
}

#[test]
fn an_error_of_the_way_is_kept() {
    let gone = IcmpAnswer {
        kind: IcmpKind::HostUnreachable,
        from: IpAddr::from([10, 9, 0, 1]),
        ty: 3,
        code: 1,
        ttl: Some(63),
    };
    let mut echo = then_silence(ECHO, [4, 10]);
    echo.push(Answer::Icmp(gone));
    let findings = found(&echo, &then_silence(RESET, [1, 12]));
    assert_eq!(read(&findings, Family::Echo), Some(Sign::EchoError));
    assert_eq!(read(&findings, Family::Unreachable), Some(Sign::HostUnreachable));
}

#[test]
fn a_loss_a_burst_and_a_limit_are_no_turn() {
    // One answer behind a miss.
    let mut mixed = then_silence(RESET, [4, 10]);
    mixed.push(RESET);
    assert_eq!(found(&then_silence(ECHO, [4, 10]), &mixed).turn(), None);
    // The host goes on to answer SYNs: somebody limits echoes.
    let all = [RESET; 14];
    assert_eq!(found(&then_silence(ECHO, [4, 10]), &all).turn(), None);
    // Too short to be more than a burst.
    let burst = then_silence(ECHO, [10, 7]);
    assert_eq!(found(&burst, &then_silence(RESET, [10, 7])).turn(), None);
    // One answer of many may come first by chance.
    let mut alone = found(&[Answer::Silence; 14], &then_silence(RESET, [1, 13]));
    alone.connect = None;
    assert_eq!(alone.turn(), None);
    // What never answered has not fallen silent.
    let mut never = found(&[Answer::Silence; 14], &[Answer::Silence; 14]);
    never.connect = None;
    assert_eq!(never.turn(), None);
}

#[test]
fn a_connection_that_cannot_be_made_again_counts_as_well() {
    let mut findings = found(&[Answer::Silence; 17], &[Answer::Silence; 14]);
    // Bare SYNs may be eaten where connections pass.
    assert_eq!(findings.turn(), None);
    let first = findings.connect.as_ref().and_then(|report| report.service.clone());
    findings.connection_before = first;
    let last = findings.connect.as_mut().unwrap();
    (last.result, last.service) = (ConnectResult::TimedOut, None);
    let turn = Turn { since: Since::Silent, answered: 0, connected: true, missed: 31 };
    assert_eq!(findings.turn(), Some(turn));
    assert_eq!(read(&findings, Family::Service), Some(Sign::ServiceUnreached));
    // One that was left unanswered before it was answered is another matter.
    findings.connection_before = Some(ServiceAnswer::Silent);
    assert_eq!(findings.turn(), None);
}

#[test]
fn a_port_may_turn_alone() {
    let accepts = Answer::SynAck(TcpAnswer { ttl: Some(60), window: Some(1), ip_id: Some(0) });
    let findings = found(&[ECHO; 14], &then_silence(accepts, [4, 20]));
    let turn = Turn { since: Since::PortSilent, answered: 4, connected: false, missed: 20 };
    assert_eq!(findings.turn(), Some(turn));
    assert_eq!(read(&findings, Family::Echo), Some(Sign::EchoAnswered));
    assert_eq!(read(&findings, Family::Syn), Some(Sign::SynSilent));
    assert_eq!(read(&findings, Family::Service), None);
    assert_eq!(read(&findings, Family::LastHop), None);

    // A single one may come first by chance, but not behind a connection that was answered.
    let single = found(&[ECHO; 14], &then_silence(accepts, [1, 27]));
    assert_eq!(single.turn().map(|turn| turn.since), Some(Since::PortSilent));
    assert_eq!(Findings { connect: None, ..single }.turn(), None);

    // Refusals are no loss.
    let refusal = Answer::Icmp(IcmpAnswer {
        kind: IcmpKind::Prohibited,
        from: IpAddr::from([10, 9, 0, 1]),
        ty: 3,
        code: 13,
        ttl: Some(63),
    });
    let refused = found(&[ECHO; 14], &[vec![accepts], vec![refusal; 12]].concat());
    assert_eq!(refused.turn().map(|turn| turn.since), Some(Since::PortSilent));
    assert_eq!(read(&refused, Family::Syn), Some(Sign::SynError));
    assert_eq!(read(&refused, Family::Unreachable), Some(Sign::Prohibited));

    let closed = [vec![accepts; 3], vec![RESET; 5]].concat();
    let findings = found(&[ECHO; 14], &closed);
    let turn = Turn { since: Since::PortReset, answered: 3, connected: false, missed: 5 };
    assert_eq!(findings.turn(), Some(turn));
    assert_eq!(read(&findings, Family::Syn), Some(Sign::SynReset));
    assert_eq!(read(&findings, Family::Service), None);

    let mixed: Vec<_> = (0..8).map(|n| if n % 2 == 0 { accepts } else { RESET }).collect();
    let findings = found(&[ECHO; 14], &mixed);
    assert_eq!(findings.turn(), None);
    assert_eq!(read(&findings, Family::Syn), Some(Sign::SynMixed));
}
