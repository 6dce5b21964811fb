//! A Chinese operator reads the whole report.

use std::net::IpAddr;
use std::time::Duration;

use reachd_core::evidence::{
    Answer, AnswerKind, ConnectReport, ConnectResult, IcmpKind, LocalError, Observation,
    ServiceAnswer,
};
use reachd_core::judge::cause::CAUSES;
use reachd_core::judge::document::{Lens, document};
use reachd_core::judge::verdict::{ViewEvidence, judge};
use reachd_core::judge::{Family, Note};
use reachd_core::path::{Hop, Path, PathEnd};
use reachd_core::probe::series::Tally;
use reachd_core::report::{NextEvidencePart, NotePart};
use reachd_core::survey::Depth;
use reachd_core::survey::findings::{Findings, SiblingPath};
use reachd_core::survey::signs::signs;
use reachd_core::target::{Expect, Service, Target};
use reachd_core::time::Instant;
use reachd_core::vantage::{Mode, Role, Way};
use reachd_core::wording::english_words;

use super::*;

const CHINESE: Style = Style { lang: Lang::Zh, ..PLAIN };

fn address(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

const TOOLS: [&str; 7] = ["ping", "root", "systemd", "conntrack", "nftables", "iptables", "steal"];

/// Lines of a report with English words that are no names.
fn english(report: &TargetReport) -> Vec<String> {
    let text = Screen::new(CHINESE, report).render();
    // Causes and notes are named by the names that documents, alerts and `reachd explain` have,
    // tools by their own.
    let causes = CAUSES.iter().map(|cause| cause.name);
    let notes = Note::ALL.into_iter().map(Note::as_str);
    let modes = [Mode::Raw, Mode::RawErrqueue, Mode::RawStamps, Mode::Sockets];
    let modes = modes.into_iter().map(Mode::as_str);
    let classes = Class::ALL.into_iter().map(Class::as_str);
    let names: Vec<&str> =
        causes.chain(notes).chain(modes).chain(classes).chain(TOOLS).chain(["default"]).collect();
    let is_english = |line: &&str| english_words(line).any(|word| !names.contains(&word));
    text.lines().filter(is_english).map(str::to_owned).collect()
}

fn nothing() -> Vec<String> {
    Vec::new()
}

#[test]
fn every_sign_is_told_in_chinese_beside_its_machine_name() {
    for sign in Family::ALL.into_iter().flat_map(Family::signs) {
        let mut report = report("unknown");
        let signal = sign.family().as_str();
        report.verdict.evidence = vec![EvidencePart {
            signal: signal.to_owned(),
            value: sign.as_str().to_owned(),
            vantage: None,
            detail: Some(Wording::new("2 of 7 answered", "7 个中 2 个有应答")),
        }];
        let text = Screen::new(CHINESE, &report).render();
        let (value, name) = (sign.title().zh, sign.as_str());
        let told = format!("{value}：7 个中 2 个有应答 [{signal}={name}]\n");
        let row = text.lines().find(|line| told.trim_end() == skip_label(line));
        assert_eq!(row.is_some(), !DULL.contains(&signal), "{told} in {text}");
        if let Some(row) = row {
            let label = row.strip_suffix(told.trim_end()).unwrap();
            assert_eq!(label.width(), 2 + LABEL, "{row}");
        }
        assert_eq!(english(&report), nothing());
    }
}

/// What stands behind the label column.
fn skip_label(line: &str) -> &str {
    line.trim_start().split_once("  ").map_or(line, |(_, text)| text.trim_start())
}

#[test]
fn every_note_and_cause_and_class_is_told_in_chinese() {
    for note in Note::ALL {
        let mut report = report("unknown");
        let note = note.as_str().to_owned();
        report.verdict.notes = vec![NotePart { note, detail: None }];
        assert_eq!(english(&report), nothing());
    }
    for class in Class::ALL {
        assert_eq!(english(&report(class.as_str())), nothing());
    }
    for cause in CAUSES.iter().filter(|cause| cause.class != Class::Reachable) {
        let mut report = report(cause.class.as_str());
        report.verdict.causes[0].cause = cause.name.to_owned();
        assert_eq!(english(&report), nothing());
    }
    for next in NEXT_EVIDENCE {
        let mut report = report("unknown");
        let (ask, how) = (next.ask.en.to_owned(), next.how.en.to_owned());
        let splits = next.about.iter().map(|cause| (*cause).to_owned()).collect();
        report.verdict.next_evidence = vec![NextEvidencePart { ask, how, splits }];
        assert_eq!(english(&report), nothing());
    }
}

#[test]
fn every_answer_is_told_in_chinese() {
    let mut report = report("unknown");
    let series = report.vantages[0].connect.as_mut().unwrap();
    series.answers =
        AnswerKind::ALL.into_iter().map(|kind| (kind.title().en.to_owned(), 1)).collect();
    (series.rtt_mean_seconds, series.ttl, series.distance) = (Some(0.1), Some(60), Some(4));
    report.vantages[0].mode = Some("sockets".to_owned());
    assert_eq!(english(&report), nothing());
    let text = Screen::new(CHINESE, &report).render();
    let kinds = text.matches(" 1, ").count() + text.matches(" 1)").count();
    assert_eq!(kinds, AnswerKind::ALL.len(), "{text}");
}

/// A look at a host that never says a word, while its neighbour answers as far away.
fn silence() -> Findings {
    let silent = |count: usize| {
        let seen = Observation { answer: Answer::Silence, sent: None, arrived: None };
        let mut tally = Tally::default();
        (0..count).for_each(|_| tally.absorb(&seen));
        tally
    };
    let hop = |ttl: u8, last: u8| Hop {
        ttl,
        address: (ttl <= last).then(|| address(200 + ttl)),
        rtt: Some(Duration::from_millis(u64::from(ttl))),
    };
    let path = |last: u8, end| Path { hops: (1..=5).map(|ttl| hop(ttl, last)).collect(), end };
    let times = (Instant::ZERO, Instant::from_start(Duration::from_secs(9)));
    Findings {
        port: Some(3389),
        echo: silent(17),
        syn: Some(silent(14)),
        connect: Some(connection(ConnectResult::TimedOut, None)),
        icmp_path: Some(path(3, PathEnd::Silent)),
        tcp_path: Some(path(3, PathEnd::Silent)),
        siblings: vec![SiblingPath { address: address(9), path: path(3, PathEnd::Reached(4)) }],
        packets: 60,
        ..Findings::nothing(address(10), times, Depth::Full)
    }
}

fn connection(result: ConnectResult, service: Option<ServiceAnswer>) -> ConnectReport {
    ConnectReport {
        result,
        handshake: None,
        retransmits: None,
        service,
        service_time: None,
        local_port: None,
    }
}

/// The report of these findings from two vantages.
fn told(findings: &Findings) -> TargetReport {
    let target = Target::new("192.0.2.10", 3389, Service::Rdp);
    let view = |vantage| ViewEvidence {
        vantage,
        role: Role::Outside,
        way: Way::default(),
        mode: Some(Mode::Raw),
        address: Some(findings.address),
        findings: Some(findings),
        seen: signs(findings, &target, None),
        expect: Expect::Reachable,
        baseline: false,
    };
    let views = [view("v1"), view("v2")];
    let lens = |(view, last)| Lens {
        view,
        source: Some(IpAddr::from([198, 51, 100, last])),
        capture: None,
        rdp: None,
    };
    let lenses: Vec<_> = views.iter().zip(1..).map(lens).collect();
    let mut report = document(&target, &judge(&target, &views), &lenses);
    report.started = Some("2026-01-02T03:04:05.000Z".to_owned());
    report
}

#[test]
fn a_silent_host_in_chinese() {
    let report = told(&silence());
    let text = Screen::new(CHINESE, &report).render();
    assert_eq!(text, include_str!("host_silent.zh.txt"), "{text}");
    assert_eq!(english(&report), nothing());
}

#[test]
fn every_connection_is_told_in_chinese() {
    let refused = |kind| {
        let error =
            reachd_core::evidence::IcmpAnswer { from: address(1), kind, ty: 3, code: 1, ttl: None };
        ConnectResult::Icmp(error)
    };
    let kinds = [
        IcmpKind::NetUnreachable,
        IcmpKind::HostUnreachable,
        IcmpKind::PortUnreachable,
        IcmpKind::Prohibited,
        IcmpKind::Other,
    ];
    let hint = Wording::new("another greeting", "问候语不符");
    let said = [
        ServiceAnswer::Refused { code: 5 },
        ServiceAnswer::Foreign { hint },
        ServiceAnswer::Silent,
        ServiceAnswer::Closed { reset: true, heard: 0 },
        ServiceAnswer::Closed { reset: false, heard: 0 },
        ServiceAnswer::NotAsked,
    ];
    let failed = [ConnectResult::Refused, ConnectResult::Local(LocalError::Blocked)];
    let failed = failed.into_iter().chain(kinds.map(refused)).map(|result| (result, None));
    let said = said.map(|answer| (ConnectResult::Connected, Some(answer)));
    for (result, service) in failed.chain(said) {
        let connect = Some(connection(result, service));
        assert_eq!(english(&told(&Findings { connect, ..silence() })), nothing());
    }
}
