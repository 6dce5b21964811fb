use super::*;
use crate::testing::{drain, in_namespace, run};
use reachd_core::evidence::LocalError;
use reachd_core::monitor::{Direction, Flight, ProbePacket, SendOrder, TapId};
use reachd_core::time::Instant;
use reachd_core::vantage::{Binding, Mode, Vantage, VantageId};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

fn bound(binding: Binding) -> Vantage {
    Vantage { binding, ..Vantage::unbound("v") }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn echo(to: &str) -> SendOrder {
    SendOrder {
        flight: Flight::Survey(1),
        vantage: VantageId(0),
        to: address(to),
        ttl: 9,
        ip_id: 5,
        what: ProbePacket::Echo { id: 1, seq: 1, payload: [1; 24] },
    }
}

const WIRES: &str = "ip link add va type veth peer name vb; ip addr add 10.1.0.1/24 dev va; \
     ip addr add 10.1.0.5/24 dev va; ip link set va up; ip link set vb up; \
     ip -6 addr add fd00:1::1/64 dev va nodad; ip route add unreachable 10.7.0.0/16; \
     ip route add prohibit 10.8.0.0/16; ip route add blackhole 10.9.0.0/16";

#[test]
fn sources_follow_the_route_and_refusals_are_local_facts() {
    if !in_namespace("vantage::tests::sources_follow_the_route_and_refusals_are_local_facts") {
        return;
    }
    run(WIRES);
    let mut vantage = OpenedVantage::open(&bound(Binding::Any)).unwrap();
    assert_eq!(vantage.mode, Mode::Raw);
    let now = Instant::ZERO;
    for (dest, source) in [
        ("127.0.0.1", Ok(address("127.0.0.1"))),
        ("10.1.0.9", Ok(address("10.1.0.1"))),
        ("fd00:1::9", Ok(address("fd00:1::1"))),
        ("::1", Ok(address("::1"))),
        ("10.2.0.1", Err(LocalError::NoRoute)),
        ("fd00:2::1", Err(LocalError::NoRoute)),
        ("10.7.0.1", Err(LocalError::NoRoute)),
        ("10.8.0.1", Err(LocalError::Blocked)),
        ("10.9.0.1", Err(LocalError::NoRoute)),
    ] {
        assert_eq!(vantage.source_toward(address(dest), now), source, "{dest}");
    }
    // Answers are believed until the kernel has news.
    run("ip route add 10.2.0.0/16 via 10.1.0.9");
    assert_eq!(vantage.source_toward(address("10.2.0.1"), now), Ok(address("10.1.0.1")));
    // Where its news are not heard, for ten seconds.
    vantage.give_up_raw();
    run("ip route del 10.2.0.0/16 via 10.1.0.9");
    let cached = vantage.source_toward(address("10.2.0.1"), now + Duration::from_secs(9));
    assert_eq!(cached, Ok(address("10.1.0.1")));
    let fresh = vantage.source_toward(address("10.2.0.1"), now + Duration::from_secs(11));
    assert_eq!(fresh, Err(LocalError::NoRoute));
}

#[test]
fn a_bound_source_is_used_and_missed() {
    if !in_namespace("vantage::tests::a_bound_source_is_used_and_missed") {
        return;
    }
    run(WIRES);
    let spec = bound(Binding::Source(address("10.1.0.5")));
    let mut vantage = OpenedVantage::open(&spec).unwrap();
    assert_eq!(vantage.source_toward(address("10.1.0.9"), Instant::ZERO), Ok(address("10.1.0.5")));
    assert_eq!(
        vantage.source_toward(address("fd00:1::9"), Instant::ZERO),
        Err(LocalError::NoRoute)
    );
    assert_eq!(vantage.place.missing(Some(&own_addresses().unwrap())), None);
    run("ip addr del 10.1.0.5/24 dev va");
    assert!(
        vantage.place.missing(Some(&own_addresses().unwrap())).unwrap().en.contains("10.1.0.5")
    );
    let refusal = OpenedVantage::open(&spec).unwrap_err();
    assert_eq!(refusal.error, LocalError::VantageGone);
}

#[test]
fn a_replaced_interface_is_noticed() {
    if !in_namespace("vantage::tests::a_replaced_interface_is_noticed") {
        return;
    }
    run(WIRES);
    let spec = bound(Binding::Interface("va".to_owned()));
    let vantage = OpenedVantage::open(&spec).unwrap();
    assert_eq!(vantage.place.missing(None), None);
    run("ip link del va; ip link add va type veth peer name vb");
    assert!(vantage.place.missing(None).is_some());
    assert!(OpenedVantage::open(&spec).is_ok());
    run("ip link del va");
    assert_eq!(OpenedVantage::open(&spec).unwrap_err().error, LocalError::VantageGone);
}

#[test]
fn a_replaced_namespace_is_noticed() {
    if !in_namespace("vantage::tests::a_replaced_namespace_is_noticed") {
        return;
    }
    run("mount -t tmpfs none /run; ip netns add x; ip -n x link set lo up");
    let spec = bound(Binding::Namespace("x".to_owned()));
    let mut vantage = OpenedVantage::open(&spec).unwrap();
    assert_ne!(vantage.place.namespace_id(), crate::namespace::own_id().unwrap());
    assert_eq!(vantage.place.addresses().unwrap().len(), 2);
    vantage.send_raw(&echo("127.0.0.1"), Instant::ZERO).unwrap();
    assert_eq!(vantage.place.missing(None), None);
    run("ip netns del x; ip netns add x");
    assert!(vantage.place.missing(None).unwrap().en.contains("namespace x"));
    let again = OpenedVantage::open(&spec).unwrap();
    assert_ne!(again.place.namespace_id(), vantage.place.namespace_id());
    run("ip netns del x");
    assert_eq!(OpenedVantage::open(&spec).unwrap_err().error, LocalError::VantageGone);
}

#[test]
fn our_own_firewall_shows_as_blocked() {
    if !in_namespace("vantage::tests::our_own_firewall_shows_as_blocked") {
        return;
    }
    run("nft add table inet f; nft add chain inet f o '{ type filter hook output priority 0; }'; \
         nft add rule inet f o ip daddr 127.0.0.3 drop");
    let mut vantage = OpenedVantage::open(&bound(Binding::Any)).unwrap();
    vantage.send_raw(&echo("127.0.0.1"), Instant::ZERO).unwrap();
    let error = vantage.send_raw(&echo("127.0.0.3"), Instant::ZERO).unwrap_err();
    assert_eq!(error, LocalError::Blocked);
}

#[test]
fn names_do_not_lead_out_of_the_directory() {
    for name in ["", ".", "..", "../x", "a/b", "a\0b"] {
        assert!(crate::namespace::Namespace::open(name).is_err());
    }
}

#[test]
fn marks_and_interfaces_choose_the_way_out() {
    if !in_namespace("vantage::tests::marks_and_interfaces_choose_the_way_out") {
        return;
    }
    run(WIRES);
    run("ip link add vc type veth peer name vd; ip addr add 10.3.0.1/24 dev vc; \
         ip link set vc up; ip link set vd up; ip route add default via 10.1.0.9; \
         ip rule add fwmark 5 table 100; ip route add default via 10.3.0.9 table 100");
    let dest = address("198.51.100.7");
    let source = |spec: &Vantage| {
        let mut vantage = OpenedVantage::open(spec).unwrap();
        vantage.source_toward(dest, Instant::ZERO)
    };
    let plain = bound(Binding::Any);
    assert_eq!(source(&plain), Ok(address("10.1.0.1")));
    let marked = Vantage { mark: Some(5), ..plain };
    assert_eq!(source(&marked), Ok(address("10.3.0.1")));
    run("ip route add default via 10.3.0.9 metric 50");
    assert_eq!(source(&bound(Binding::Interface("va".to_owned()))), Ok(address("10.1.0.1")));
    assert_eq!(source(&bound(Binding::Interface("vc".to_owned()))), Ok(address("10.3.0.1")));
    // And the packets really leave there.
    run("ip neigh add 10.1.0.9 lladdr 02:00:00:00:00:09 dev va; \
         ip neigh add 10.3.0.9 lladdr 02:00:00:00:00:09 dev vc; \
         ip rule add from 10.1.0.5 table 100");
    let clock = crate::clock::Clock::start();
    let options = crate::tap::TapOptions::default();
    let mut tap = crate::tap::Tap::open(TapId(0), options, &BTreeSet::new()).unwrap();
    let mut store = crate::tap::store::Store::new(0);
    for (spec, interface) in [
        (bound(Binding::Interface("va".to_owned())), "va"),
        (bound(Binding::Interface("vc".to_owned())), "vc"),
        (marked, "vc"),
        (bound(Binding::Source(address("10.1.0.5"))), "vc"),
    ] {
        let mut vantage = OpenedVantage::open(&spec).unwrap();
        vantage.send_raw(&echo("198.51.100.7"), clock.now()).unwrap();
        let index = crate::sys::interface_index(interface).unwrap();
        let mut sent = Vec::new();
        drain(&mut tap, &clock, &mut store, |seen| {
            if seen.direction == Direction::Sent {
                sent.push((seen.interface, seen.bytes[12..16].to_vec()));
            }
        });
        let IpAddr::V4(source) = vantage.source_toward(dest, clock.now()).unwrap() else {
            panic!("not IPv4")
        };
        assert_eq!(sent, [(index, source.octets().to_vec())], "{spec:?}");
    }
}

#[test]
fn a_survey_never_leaves_with_an_address_that_is_gone() {
    if !in_namespace("vantage::tests::a_survey_never_leaves_with_an_address_that_is_gone") {
        return;
    }
    run("ip link add va type veth peer name vb; ip link set va up; ip link set vb up; \
         ip addr add 10.1.0.1/24 dev va; ip addr add 10.1.0.9/24 dev va; \
         ip neigh add 10.1.0.2 lladdr 02:00:00:00:00:02 dev va");
    let mut vantage = OpenedVantage::open(&Vantage::unbound("v")).unwrap();
    let dest: IpAddr = "10.1.0.2".parse().unwrap();
    let source = |vantage: &mut OpenedVantage| vantage.source_toward(dest, Instant::ZERO);
    assert_eq!(source(&mut vantage), Ok("10.1.0.1".parse().unwrap()));
    // The second address stays: without `promote_secondaries` it would go with the first.
    run("sysctl -qw net.ipv4.conf.va.promote_secondaries=1; ip addr del 10.1.0.1/24 dev va");
    assert_eq!(source(&mut vantage), Ok("10.1.0.9".parse().unwrap()));
}
