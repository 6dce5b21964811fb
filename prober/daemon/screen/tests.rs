use std::collections::BTreeMap;

use reachd_core::report::{
    CausePart, EvidencePart, PathPart, SCHEMA, Spoken, TargetPart, VantagePart, VerdictPart,
};

use super::*;

mod chinese;

fn report(class: &str) -> TargetReport {
    let series = SeriesPart {
        sent: 7,
        received: 0,
        lost: BTreeMap::from([("silent".to_owned(), 7)]),
        invalid: BTreeMap::new(),
        answers: BTreeMap::from([("silence".to_owned(), 7)]),
        rtt_min_seconds: None,
        rtt_mean_seconds: None,
        rtt_max_seconds: None,
        ttl: None,
        distance: None,
    };
    TargetReport {
        schema: SCHEMA,
        target: TargetPart {
            name: "win-1".to_owned(),
            host: "192.0.2.10".to_owned(),
            port: Some(3389),
            service: "rdp".to_owned(),
            labels: BTreeMap::new(),
        },
        verdict: VerdictPart {
            class: class.to_owned(),
            confidence: 0.91,
            summary: "summary".to_owned(),
            causes: vec![CausePart {
                cause: "security_group_port".to_owned(),
                probability: 0.3,
                meaning: String::new(),
                remedy: String::new(),
            }],
            notes: Vec::new(),
            evidence: Vec::new(),
            next_evidence: Vec::new(),
            scope: "all".to_owned(),
            reachable_from: Vec::new(),
            unreachable_from: vec!["default".to_owned()],
        },
        addresses: Vec::new(),
        vantages: vec![VantagePart {
            name: "default".to_owned(),
            mode: Some("raw".to_owned()),
            address: Some("192.0.2.1".to_owned()),
            echo: Some(SeriesPart { received: 7, ..series.clone() }),
            connect: Some(series),
            service: None,
            path: PathPart::default(),
            rdp: None,
            capture: None,
        }],
        started: Some("2026-01-02T03:04:05.000Z".to_owned()),
        seconds: 11.0,
        packets_sent: 60,
        spoken: Spoken {
            summary: ("filtered.".to_owned(), "被过滤。".to_owned()),
            next_step: ("Next.".to_owned(), "下一步。".to_owned()),
            remedy: None,
            since: None,
            settings: true,
            instance_id: Some("i-123".to_owned()),
            fronted: false,
        },
    }
}

/// A connection that was answered so.
fn connected(answer: &str) -> ServicePart {
    ServicePart {
        connection: "connected".to_owned(),
        connection_detail: None,
        handshake_seconds: None,
        answer: Some(answer.to_owned()),
        detail: None,
        seconds: None,
    }
}

fn render(class: &str, style: Style) -> String {
    Screen::new(style, &report(class)).render()
}

const PLAIN: Style = Style { lang: Lang::En, ascii: false, colour: false };

#[test]
fn the_first_line_says_what_how_sure_and_since_when() {
    let text = render("security_group", PLAIN);
    let first = text.lines().next().unwrap();
    assert_eq!(first, "✗ win-1: port silently filtered (91%, seen 2026-01-02T03:04:05.000Z)");
    assert!(text.contains("i-123"), "the ticket names the instance");
}

#[test]
fn chinese_labels_keep_the_column() {
    let text = render("security_group", Style { lang: Lang::Zh, ..PLAIN });
    assert!(text.contains("端口被静默过滤") && text.contains("被过滤。"));
    let columns: Vec<usize> = text
        .lines()
        .filter(|line| line.contains("外部不可见"))
        .map(|line| line.split("外部不可见").next().unwrap().width())
        .collect();
    assert!(columns.len() > 3 && columns.windows(2).all(|pair| pair[0] == pair[1]), "{columns:?}");
}

#[test]
fn ascii_means_ascii_marks() {
    let text = render("security_group", Style { ascii: true, ..PLAIN });
    assert!(text.is_ascii(), "{text}");
    assert!(text.contains("[!!]") && text.contains("[ok]") && text.contains("[??]"));
}

#[test]
fn a_host_that_echoes_proves_the_instance_and_not_the_port() {
    let text = render("security_group", PLAIN);
    assert!(text.contains("✓ instance running"));
    assert!(text.contains("✗ TCP port answers"));
    assert!(text.contains("? host firewall"));
}

#[test]
fn what_answered_before_it_fell_silent_is_not_ticked_off() {
    let mut report = report("host_silent");
    report.spoken.since = Some(reachd_core::survey::turn::Since::Silent);
    let text = Screen::new(PLAIN, &report).render();
    for row in ["? instance running", "✗ ping", "? network interface"] {
        assert!(text.contains(row), "{row} in {text}");
    }
}

#[test]
fn what_stands_before_the_host_proves_nothing_of_it() {
    let mut report = report("security_group");
    report.verdict.evidence.push(EvidencePart {
        signal: "front".to_owned(),
        value: "answers".to_owned(),
        vantage: Some("default".to_owned()),
        detail: None,
    });
    let text = Screen::new(PLAIN, &report).render();
    for row in ["? instance running", "✓ no DDoS blackhole", "? network interface"] {
        assert!(text.contains(row), "{row} in {text}");
    }
    assert!(text.contains("answered before the host"), "{text}");
}

#[test]
fn a_front_that_refuses_echoes_is_known_from_the_plan() {
    let mut report = report("service_hung");
    report.spoken.fronted = true;
    let vantage = report.vantages.first_mut().unwrap();
    vantage.echo.as_mut().unwrap().received = 0;
    vantage.connect.as_mut().unwrap().answers.insert("syn_ack".to_owned(), 7);
    let text = Screen::new(PLAIN, &report).render();
    for row in ["? instance running", "✓ TCP port answers", "? host firewall"] {
        assert!(text.contains(row), "{row} in {text}");
    }
}

#[test]
fn a_reset_proves_the_security_group_and_not_the_hosts_firewall() {
    let mut report = report("port_closed");
    let connect = report.vantages[0].connect.as_mut().unwrap();
    connect.answers = BTreeMap::from([("reset".to_owned(), 7)]);
    let text = Screen::new(PLAIN, &report).render();
    assert!(text.contains("✓ security group, ACL") && text.contains("? host firewall"), "{text}");
}

#[test]
fn a_ticket_for_a_ping_names_no_port() {
    let mut report = report("host_silent");
    report.target.port = None;
    let text = Screen::new(PLAIN, &report).render();
    assert!(text.contains("192.0.2.10 ICMP echo") && !text.contains("TCP"), "{text}");
}

#[test]
fn without_capture_the_first_line_says_what_is_lost() {
    let mut report = report("port_closed");
    report.vantages[0].mode = Some("sockets".to_owned());
    let text = Screen::new(PLAIN, &report).render();
    assert!(text.starts_with("No CAP_NET_RAW"), "{text}");
}

#[test]
fn nothing_is_ticked_off_that_was_not_asked() {
    let mut report = report("vantage_fault");
    report.vantages[0].echo = None;
    let text = Screen::new(PLAIN, &report).render();
    for row in ["? ping", "? TCP port answers", "? name resolves"] {
        assert!(text.contains(row), "{row} in {text}");
    }
    assert!(!text.contains("✗ ping"));
}

#[test]
fn what_a_connection_missed_among_losses_is_no_fault_of_the_service() {
    let mut report = report("packet_loss");
    report.vantages[0].service = Some(connected("silent"));
    let text = Screen::new(PLAIN, &report).render();
    assert!(text.contains("? Remote Desktop service"), "{text}");
    report.verdict.evidence.push(EvidencePart {
        signal: "service".to_owned(),
        value: "silent".to_owned(),
        vantage: Some("default".to_owned()),
        detail: None,
    });
    let text = Screen::new(PLAIN, &report).render();
    assert!(text.contains("✗ Remote Desktop service"), "{text}");
}

#[test]
fn a_server_that_takes_no_client_has_its_settings_to_look_at() {
    let mut report = report("rdp_refused");
    report.verdict.causes[0].cause = "security_layer_mismatch".to_owned();
    report.spoken.next_step = ("Do this.".to_owned(), "这样做。".to_owned());
    report.spoken.remedy = Some(report.spoken.next_step.clone());
    report.vantages[0].service = Some(connected("refused"));
    let text = Screen::new(PLAIN, &report).render();
    assert!(text.contains("? registry settings         look inside the guest: SecurityLayer"));
    // One remedy, not two that contradict each other.
    assert!(text.contains("  Do this.\n  [changes a setting]\n"), "{text}");
}

#[test]
fn evidence_of_several_vantages_is_told_once_and_says_whose_it_is() {
    let mut report = report("blackhole");
    let mut second = report.vantages[0].clone();
    second.name = "far".to_owned();
    report.vantages.push(second);
    let part = |value: &str, vantage: &str| EvidencePart {
        signal: "last_hop".to_owned(),
        value: value.to_owned(),
        vantage: Some(vantage.to_owned()),
        detail: Some(Wording::new("last answer at hop 2", "末个应答在第 2 跳")),
    };
    report.verdict.evidence =
        vec![part("stops", "default"), part("stops", "far"), part("loops", "far")];
    let text = Screen::new(PLAIN, &report).render();
    assert_eq!(text.matches("last_hop").count(), 2, "{text}");
    assert!(text.contains("stops: last answer at hop 2 (default, far)\n"), "{text}");
    assert!(text.contains("loops: last answer at hop 2 (far)\n"), "{text}");
}
