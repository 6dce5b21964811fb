use super::{CAUSES, find};
use crate::judge::class::Class;
use crate::judge::sign::Family;

/// The classes and causes of the design, in its order.
const DESIGN: &[(Class, &[&str])] = &[
    (Class::Reachable, &["healthy"]),
    (Class::PacketLoss, &["random_loss", "congestion", "policer"]),
    (Class::PartialPath, &["ecmp_member_dead"]),
    (Class::Blackhole, &["ddos_blackhole", "partial_blackhole", "transit_blackhole"]),
    (Class::NoRoute, &["no_route", "prefix_withdrawn"]),
    (Class::RoutingLoop, &["routing_loop"]),
    (
        Class::HostSilent,
        &[
            "instance_stopped",
            "instance_hung",
            "rebooting",
            "hypervisor_failure",
            "nic_down",
            "eip_unbound",
            "bandwidth_zero",
            "security_group_all",
            "host_firewall_all",
        ],
    ),
    (
        Class::SecurityGroup,
        &[
            "security_group_port",
            "network_acl",
            "host_firewall_port",
            "service_stopped_stealth",
            "ipsec_policy",
            "third_party_guard",
            "accept_queue_full",
            "session_table_full",
            "carrier_port_block",
        ],
    ),
    (Class::SourceBlocked, &["source_block", "return_path_broken"]),
    (Class::Rejected, &["path_reject", "null_route_reject"]),
    (Class::PortClosed, &["service_stopped", "rdp_disabled", "rdp_port_moved"]),
    (Class::ResetInjected, &["middlebox_reset", "injected_reset", "dpi_reset"]),
    (Class::MtuBlackhole, &["pmtu_blackhole_forward", "pmtu_blackhole_reverse"]),
    (Class::ServiceHung, &["service_hung", "host_overloaded", "syn_proxy_dead_host"]),
    (Class::WrongService, &["wrong_service", "address_reused"]),
    (Class::RdpRefused, &["security_layer_mismatch", "session_or_licence_limit"]),
    (Class::Certificate, &["certificate_broken", "certificate_expired"]),
    (Class::DnsFailure, &["dns_nxdomain", "dns_servfail", "dns_timeout"]),
    (
        Class::VantageFault,
        &[
            "vantage_uplink",
            "vantage_limits",
            "vantage_resolver",
            "vantage_local_firewall",
            "vantage_egress_blocked",
            "no_privilege",
            "clock_step",
        ],
    ),
];

#[test]
fn the_table_is_the_design() {
    let expected =
        DESIGN.iter().flat_map(|(class, names)| names.iter().map(|name| (*class, *name)));
    let found = CAUSES.iter().map(|cause| (cause.class, cause.name));
    assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[test]
fn a_file_is_named_as_its_cause() {
    let source = include_str!("../cause.rs");
    let (_, list) = source.split_once("causes! {").unwrap();
    let (list, _) = list.split_once('}').unwrap();
    let modules: Vec<_> = list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    assert_eq!(CAUSES.iter().map(|cause| cause.name).collect::<Vec<_>>(), modules);
}

#[test]
fn every_text_is_written_in_both_languages() {
    let han = |character: char| ('\u{4e00}'..='\u{9fff}').contains(&character);
    for cause in CAUSES {
        for text in [cause.meaning, cause.remedy] {
            assert!(text.en.is_ascii() && text.en.ends_with('.'), "{}: {}", cause.name, text.en);
            assert!(text.zh.chars().any(han) && text.zh.ends_with('。'), "{}", cause.name);
            for gap in ["  ", " ，", " 。", "\n"] {
                assert!(
                    !text.en.contains(gap) && !text.zh.contains(gap),
                    "{}: {gap:?}",
                    cause.name
                );
            }
        }
    }
}

#[test]
fn no_text_is_used_twice() {
    let texts = CAUSES.iter().flat_map(|cause| [cause.meaning, cause.remedy]);
    let mut all: Vec<_> = texts.flat_map(|text| [text.en, text.zh]).collect();
    all.sort_unstable();
    assert!(all.is_sorted_by(|left, right| left < right));
}

#[test]
fn a_row_lists_a_sign_once_and_leaves_no_family_above_one() {
    for cause in CAUSES {
        assert!(cause.prior > 0.0, "{}", cause.name);
        let mut signs: Vec<_> = cause.expect.iter().map(|(sign, _)| *sign).collect();
        signs.sort_unstable();
        assert!(signs.is_sorted_by(|left, right| left < right), "{} repeats a sign", cause.name);
        for family in Family::ALL {
            let of_family = cause.expect.iter().filter(|(sign, _)| sign.family() == family);
            let sum: f64 = of_family.map(|(_, probability)| probability).sum();
            assert!(sum <= 1.0 + 1e-9, "{}: {} sums to {sum}", cause.name, family.as_str());
        }
    }
}

#[test]
fn health_is_no_cause_to_look_up() {
    assert!(find("healthy").is_none());
    assert!(find("ddos_blackhole").is_some_and(|cause| cause.class == Class::Blackhole));
    assert!(find("no_such_cause").is_none());
}
