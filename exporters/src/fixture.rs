//! Hand-made snapshots, reports and updates for the tests of this crate.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use reachd_core::accounting::{Counters, Histogram};
use reachd_core::evidence::rdp::{
    NtlmOutcome, RdpAnswer, RdpLook, RdpStage, TlsOutcome, TlsShown, X224Outcome,
};
use reachd_core::evidence::{InvalidReason, LossReason, Probe};
use reachd_core::incident::{AlertKind, IncidentState, IncidentUpdate, Resolution, Subject};
use reachd_core::judge::Class;
use reachd_core::report::rdp::RdpPart;
use reachd_core::report::{
    AddressPart, CapturePart, CausePart, EvidencePart, HopPart, NextEvidencePart, NotePart,
    PathPart, SCHEMA, SeriesPart, ServicePart, Spoken, TargetPart, TargetReport, VantagePart,
    VerdictPart,
};
use reachd_core::snapshot::{ProbeRow, RdpRow, Snapshot, TargetRow, VantageRow, ViewRow};
use reachd_core::sweep::Cell;
use reachd_core::target::{Service, Severity, Target};
use reachd_core::time::{Instant, Stamp, StampSource};
use reachd_core::vantage::{Mode, Role};
use reachd_core::wire::certificate::Certificate;
use reachd_core::wire::ntlm::{self, Challenge};
use reachd_core::wire::tls;
use reachd_core::wire::x224::{FailureCode, Protocols, Selection};
use reachd_core::wording::Wording;

use crate::history::{Change, Hour, TargetHistory};
use crate::prometheus::SelfMetrics;

pub(crate) fn metrics() -> Arc<SelfMetrics> {
    Arc::new(SelfMetrics::new("1.2.3").unwrap())
}

/// Of a target whose last hour has nothing to tell.
pub(crate) fn history() -> TargetHistory {
    let target = "a/b".to_owned();
    let hour = Hour { target: target.clone(), hour: 500_000, ..Hour::default() };
    let change = Change {
        target: target.clone(),
        at_ms: 1_800_000_000_000,
        before: "unknown".to_owned(),
        class: "reachable".to_owned(),
        confidence: 1.0,
        summary: "Fine.".to_owned(),
    };
    let full = Hour {
        looks: 2,
        reachable: 1,
        sent: 4,
        received: 3,
        lost: 1,
        rtt_count: 3,
        rtt_micros: 99,
        ..hour.clone()
    };
    TargetHistory { target, changes: vec![change], hours: vec![hour, full] }
}

pub(crate) fn at(seconds: u64) -> Instant {
    Instant::from_start(Duration::from_secs(seconds))
}

pub(crate) fn target() -> Target {
    let mut target = Target::new("192.0.2.10", 3389, Service::Rdp);
    target.group = Some("office".to_owned());
    target.labels = labels(&[("team", "a\"b\\c\nd"), ("port", "x"), ("a-b", "1"), ("a_b", "2")]);
    target
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn cause(cause: &str, probability: f64) -> CausePart {
    let (meaning, remedy) = ("It is so.".to_owned(), "Look.".to_owned());
    CausePart { cause: cause.to_owned(), probability, meaning, remedy }
}

pub(crate) fn report() -> TargetReport {
    TargetReport {
        schema: SCHEMA,
        target: TargetPart {
            name: "192.0.2.10:3389".to_owned(),
            host: "192.0.2.10".to_owned(),
            port: Some(3389),
            service: "rdp".to_owned(),
            labels: labels(&[("team", "a")]),
        },
        verdict: VerdictPart {
            class: "blackhole".to_owned(),
            confidence: 0.93,
            summary: "Suspected blackhole <b>.".to_owned(),
            causes: vec![
                cause("ddos_blackhole", 0.5),
                cause("transit_blackhole", 0.2),
                cause("partial_blackhole", 0.125),
                cause("instance_stopped", 0.0625),
                cause("nic_down", 0.0625),
                cause("eip_unbound", 0.05),
            ],
            notes: vec![NotePart { note: "no_baseline".to_owned(), detail: None }],
            evidence: vec![EvidencePart {
                signal: "syn".to_owned(),
                value: "silent".to_owned(),
                vantage: Some("default".to_owned()),
                detail: Some(Wording::new("0 of 4", "4 个中 0 个")),
            }],
            next_evidence: vec![NextEvidencePart {
                ask: "blackhole state".to_owned(),
                how: "console".to_owned(),
                splits: vec!["ddos_blackhole".to_owned()],
            }],
            scope: "all".to_owned(),
            reachable_from: Vec::new(),
            unreachable_from: vec!["default".to_owned()],
        },
        addresses: vec![AddressPart {
            address: "192.0.2.10".to_owned(),
            class: "blackhole".to_owned(),
        }],
        vantages: vec![vantage_part()],
        started: Some("2026-01-02T03:04:05.000Z".to_owned()),
        seconds: 9.5,
        packets_sent: 42,
        spoken: Spoken::default(),
    }
}

fn vantage_part() -> VantagePart {
    let series = SeriesPart {
        sent: 4,
        received: 0,
        lost: BTreeMap::from([("silent".to_owned(), 4)]),
        invalid: BTreeMap::new(),
        answers: BTreeMap::new(),
        rtt_min_seconds: None,
        rtt_mean_seconds: None,
        rtt_max_seconds: None,
        ttl: None,
        distance: None,
    };
    let hop = |ttl, address: Option<&str>| HopPart {
        ttl,
        address: address.map(|address| address.parse().unwrap()),
        rtt_seconds: address.map(|_| 0.001),
    };
    VantagePart {
        name: "default".to_owned(),
        mode: Some("raw".to_owned()),
        address: Some("198.51.100.7".to_owned()),
        echo: Some(series.clone()),
        connect: Some(series),
        service: Some(ServicePart {
            connection: "timed_out".to_owned(),
            connection_detail: None,
            handshake_seconds: None,
            answer: None,
            detail: None,
            seconds: None,
        }),
        rdp: Some(RdpPart {
            at: Some("2026-01-02T03:04:00.000Z".to_owned()),
            ..RdpPart::of(&rdp_row())
        }),
        path: PathPart { tcp: Some(vec![hop(1, Some("198.51.100.1")), hop(2, None)]), icmp: None },
        capture: Some(CapturePart { packets: 100, drops: 0 }),
    }
}

/// A server that requires NLA and has changed its certificate, which the captures have.
fn rdp_row() -> RdpRow {
    const DER: &[u8] = include_bytes!("../../tests/captures/rdp/certificates/rsa.der");
    let certificate = Certificate::parse(DER).unwrap();
    let mut stages: [Histogram; 4] = Default::default();
    for (stage, millis) in stages.iter_mut().zip([1, 2, 20, 30]) {
        stage.observe(Duration::from_millis(millis));
    }
    let failure = X224Outcome::Failure(FailureCode::HybridRequiredByServer);
    let both = Protocols::SSL.with(Protocols::HYBRID);
    let selection = Selection::Offered;
    let selected = X224Outcome::Selected { protocol: 2, flags: 0, selection };
    let challenge = Challenge {
        version: Some(ntlm::Version { major: 10, minor: 0, build: 17_763 }),
        netbios_computer_name: Some("WIN-LAB01".to_owned()),
        ..Challenge::default()
    };
    let skew_nanos = Some(-1_500_000_000);
    let fingerprint_sha256 = certificate.fingerprint_sha256.clone();
    RdpRow {
        at: Stamp { at: at(60), source: StampSource::User },
        fingerprint: Some(fingerprint_sha256.clone()),
        fingerprint_before: Some("0".repeat(64)),
        certificate_changes: 1,
        stages,
        look: RdpLook {
            wall: None,
            unaccepted: Vec::new(),
            answers: vec![
                RdpAnswer { offered: both, outcome: selected },
                RdpAnswer { offered: Protocols::RDP, outcome: failure },
            ],
            tls: Some(TlsOutcome::Shown(Box::new(TlsShown {
                version: tls::Version::Tls12,
                cipher_suite: tls::CipherSuite(0xc030),
                certificate: Ok(certificate),
                fingerprint_sha256,
            }))),
            ntlm: Some(NtlmOutcome::Challenged { challenge: Box::new(challenge), skew_nanos }),
            times: vec![(RdpStage::Connect, Duration::from_millis(1))],
            connections: 5,
        },
    }
}

pub(crate) fn snapshot() -> Snapshot {
    let target = target();
    let other = Target::new("2001:db8::1", 0, Service::Ping);
    let mut rtt = Histogram::default();
    rtt.observe(Duration::from_micros(150));
    rtt.observe(Duration::from_micros(150));
    rtt.observe(Duration::from_secs(4));
    let mut counters = Counters { sent: 6, received: 3, ..Counters::default() };
    counters.lost = BTreeMap::from([(LossReason::Silent, 2)]);
    counters.invalid = BTreeMap::from([(InvalidReason::Lag, 1)]);
    let rdp = Some(Arc::new(rdp_row()));
    let view = |target: &Target, reachable, path_hops, rdp| ViewRow {
        vantage: "default".into(),
        target: target.name.clone(),
        reachable,
        path_hops,
        path_changes: 0,
        rdp,
        rdp_names: true,
    };
    Snapshot {
        probes: vec![ProbeRow {
            vantage: "default".into(),
            target: target.name.clone(),
            probe: Probe::Syn,
            cell: Cell::fixed(&counters, &rtt),
            others: Vec::new(),
        }]
        .into(),
        views: vec![view(&target, Some(false), Some(9), rdp), view(&other, None, None, None)],
        vantages: vec![
            vantage_row("default", Some(Mode::Raw)),
            vantage_row("plain", Some(Mode::Sockets)),
        ],
        targets: vec![
            TargetRow {
                target: Arc::new(target),
                report: Some(Arc::new(report())),
                class: Class::Blackhole,
                classes_seen: vec![Class::Unknown, Class::Reachable, Class::Blackhole],
            },
            TargetRow {
                target: Arc::new(other),
                report: None,
                class: Class::Unknown,
                classes_seen: vec![Class::Unknown],
            },
        ],
        unwatched: 0,
        incidents: BTreeMap::from([((Class::Blackhole, IncidentState::Firing), 1)]),
        schedule_lag: Duration::from_micros(1500),
        unmatched: 2,
        bugs: BTreeMap::from([("flight_without_row", 1)]),
    }
}

fn vantage_row(name: &str, mode: Option<Mode>) -> VantageRow {
    VantageRow {
        name: name.to_owned(),
        role: Role::Outside,
        mode,
        healthy: true,
        fault: None,
        capture_packets: if mode == Some(Mode::Raw) { 100 } else { 0 },
        capture_drops: 0,
    }
}

pub(crate) fn update(version: u64, state: IncidentState) -> IncidentUpdate {
    let resolved = state == IncidentState::Resolved;
    IncidentUpdate {
        fingerprint: "0123456789abcdef".to_owned(),
        version,
        kind: AlertKind::Unreachable,
        subject: Subject::Target(Box::new(target())),
        state,
        severity: Severity::Critical,
        class: Class::Blackhole,
        class_now: if resolved { Class::Reachable } else { Class::HostSilent },
        started: at(60).into(),
        ended: resolved.then(|| (at(120).into(), Resolution::Recovered)),
        flaps: 0,
        report: Some(Arc::new(report())),
        summary: ("It is silent.".to_owned(), "无响应。".to_owned()),
        next_step: ("Look at the console.".to_owned(), "查看控制台。".to_owned()),
        notify: true,
        member: false,
    }
}

/// Runs `promtool check metrics` over a page; nothing to say is required.
pub(crate) fn lint(page: &str) {
    let tool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut tool = match tool {
        Ok(tool) => tool,
        Err(error) => {
            let required = std::env::var("REACHD_REQUIRE_TOOLS").is_ok_and(|value| value == "1");
            assert!(!required, "promtool is required and cannot be run: {error}");
            return;
        }
    };
    tool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = tool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}\n{page}");
}

/// A silence of an hour.
pub(crate) fn silence() -> crate::silence::Silence {
    crate::silence::Silence {
        id: "0123456789abcdef".to_owned(),
        matchers: vec![crate::silence::SilenceMatcher {
            name: "site".to_owned(),
            value: "fra".to_owned(),
            is_regex: false,
            is_equal: true,
        }],
        starts_at: jiff::Timestamp::UNIX_EPOCH,
        ends_at: jiff::Timestamp::from_second(3_600).unwrap(),
        created_by: "ops".to_owned(),
        comment: "patching".to_owned(),
    }
}
