use super::*;
use crate::clock::Clock;
use crate::sys::interface_index;
use crate::sys::tun;
use crate::tap::store::Store;
use crate::tap::{Tap, TapOptions};
use crate::testing::{in_namespace, run};
use reachd_core::monitor::{Direction, Flight, ProbePacket, TapId};
use reachd_core::sweep::Token;
use reachd_core::vantage::{Binding, Vantage, VantageId};
use std::collections::BTreeSet;
use std::io::Read;
use std::os::fd::AsFd;
use std::time::Duration;

/// Both ends in one namespace: what comes in at `vb` is for nobody there, and is only captured.
const WIRE: &str = "ip link add va address 02:00:00:00:00:01 type veth \
     peer name vb address 02:00:00:00:00:02; ip link set va up; ip link set vb up; \
     ip addr add 10.1.0.1/24 dev va; ip addr add 10.1.0.5/24 dev va; \
     ip -6 addr add fd00:1::1/64 dev va nodad; ip -6 addr add fd00:1::5/64 dev va nodad; \
     ip neigh add 10.1.0.9 lladdr 02:00:00:00:00:02 dev va; \
     ip neigh add fd00:1::9 lladdr 02:00:00:00:00:02 dev va; \
     ip route add 10.64.0.0/10 via 10.1.0.9 src 10.1.0.1; \
     ip route add fd64::/16 via fd00:1::9 src fd00:1::1";

const BOTH: [Means; 2] = [Means::Raw, Means::Packet];
const LIMIT: Duration = Duration::from_secs(10);

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn place(vantage: &Vantage) -> Place {
    Place::find(vantage).unwrap()
}

fn open(means: Means) -> Transmit {
    Transmit::open_inside(&place(&Vantage::unbound("v")), means).unwrap()
}

/// The order of one row; kinds alternate.
fn order(row: u32, to: IpAddr) -> SendOrder {
    let seq = u16::try_from(row).unwrap();
    let timestamp = row.is_multiple_of(2).then_some(row);
    let what = match row % 3 {
        0 => ProbePacket::Echo { id: 7, seq, payload: [0x5a; 24] },
        _ => ProbePacket::Syn { source_port: 61_001, dest_port: 3_389, seq: row, timestamp },
    };
    let flight = Flight::Sweep(Token::new(row, 5));
    SendOrder { flight, vantage: VantageId(0), to, ttl: 61, ip_id: seq, what }
}

/// As many orders, to both families in turn.
fn mixed(count: u32) -> Vec<SendOrder> {
    let dest = |row: u32| match row % 2 {
        0 => address(&format!("10.64.0.{row}")),
        _ => address(&format!("fd64::{row:x}")),
    };
    (1..=count).map(|row| order(row, dest(row))).collect()
}

fn source_of(order: &SendOrder) -> IpAddr {
    address(if order.to.is_ipv4() { "10.1.0.1" } else { "fd00:1::1" })
}

fn packet(order: &SendOrder) -> Vec<u8> {
    order.emit(source_of(order)).unwrap()
}

/// What the ring sees of probes.
struct Wire {
    clock: Clock,
    tap: Tap,
    store: Store,
}

impl Wire {
    fn open() -> Self {
        let ports = BTreeSet::from([3_389]);
        let tap = Tap::open(TapId(0), TapOptions::default(), &ports).unwrap();
        Self { clock: Clock::start(), tap, store: Store::new(0) }
    }

    /// The next packets that go this way on an interface, as many as these; fails when they do not
    /// come.
    fn next(&mut self, interface: &str, direction: Direction, count: usize) -> Vec<Vec<u8>> {
        let index = interface_index(interface).unwrap();
        let mut seen = Vec::new();
        let mut ready = Vec::new();
        let limit = self.clock.now() + LIMIT;
        while seen.len() < count {
            let rest = limit.since(self.clock.now());
            assert!(!rest.is_zero(), "only {} of {count}", seen.len());
            let interests = [sys::Interest { fd: self.tap.as_fd(), events: libc::POLLIN }];
            sys::wait(&interests, Some(rest), &mut ready).unwrap();
            while self
                .tap
                .read_block(&self.clock, &mut self.store, |captured| {
                    if captured.interface == index && captured.direction == direction {
                        seen.push(captured.bytes.to_vec());
                    }
                })
                .is_some()
            {}
        }
        seen
    }

    fn received(&mut self, count: usize) -> Vec<Vec<u8>> {
        self.next("vb", Direction::Received, count)
    }
}

fn send(transmit: &mut Transmit, orders: &[SendOrder], now: Instant) -> Vec<(usize, LocalError)> {
    let mut failed = Vec::new();
    transmit.send(orders, now, &mut failed);
    failed
}

/// Where the next frame of an order would go; `None` if the kernel would send it.
fn aim(transmit: &mut Transmit, order: &SendOrder, now: Instant) -> Option<To> {
    if let Some(frames) = &mut transmit.frames {
        frames.questions_left = 1;
    }
    let (_, way) = transmit.way(order, now).unwrap();
    match way {
        Way::Raw => None,
        Way::Hop(hop) => transmit.frames.as_mut()?.routes.aim(hop, order.to.is_ipv6(), now),
    }
}

fn frame(interface: &str, last: u8) -> Option<To> {
    let interface = interface_index(interface).unwrap();
    Some(To::Link { interface, is_v6: false, address: Some([2, 0, 0, 0, 0, last]) })
}

#[test]
fn a_burst_arrives_whole_and_in_order() {
    if !in_namespace("transmit::tests::a_burst_arrives_whole_and_in_order") {
        return;
    }
    run(WIRE);
    let mut wire = Wire::open();
    for means in BOTH {
        let mut transmit = open(means);
        mixed(150).iter().for_each(|order| {
            aim(&mut transmit, order, Instant::ZERO);
        });
        // The last time it is more than one batch.
        for count in [64, 150] {
            let orders = mixed(count);
            assert_eq!(send(&mut transmit, &orders, Instant::ZERO), []);
            let mut expected: Vec<_> = orders.iter().map(packet).collect();
            let mut seen = wire.received(orders.len());
            if means == Means::Raw {
                // Each family has a socket of its own; the sort is stable.
                seen.sort_by_key(|packet| packet[0] >> 4);
                expected.sort_by_key(|packet| packet[0] >> 4);
            }
            assert_eq!(seen, expected, "{means:?}");
        }
    }
}

#[test]
fn a_burst_asks_for_few_routes() {
    if !in_namespace("transmit::tests::a_burst_asks_for_few_routes") {
        return;
    }
    run(WIRE);
    let mut wire = Wire::open();
    let mut transmit = open(Means::Packet);
    let orders = mixed(40);
    let left = |transmit: &Transmit| transmit.frames.as_ref().unwrap().questions_left;
    for expected in [0, 0, 8, 16] {
        assert_eq!(send(&mut transmit, &orders, Instant::ZERO), []);
        assert_eq!(left(&transmit), expected);
        let mut seen = wire.received(40);
        let mut expected: Vec<_> = orders.iter().map(packet).collect();
        seen.sort();
        expected.sort();
        assert_eq!(seen, expected);
    }
}

#[test]
fn a_refusal_stops_nothing_else() {
    if !in_namespace("transmit::tests::a_refusal_stops_nothing_else") {
        return;
    }
    run(WIRE);
    let mut wire = Wire::open();
    let orders: Vec<_> =
        (1..=9).map(|row| order(row, address(&format!("10.64.0.{row}")))).collect();
    let but = |rows: &[usize]| {
        let others = orders.iter().enumerate().filter(|(at, _)| !rows.contains(at));
        others.map(|(_, order)| packet(order)).collect::<Vec<_>>()
    };
    for means in BOTH {
        let mut transmit = open(means);
        assert_eq!(send(&mut transmit, &orders, Instant::ZERO), []);
        assert_eq!(wire.received(9), but(&[]));
        run("ip route add prohibit 10.64.0.4; ip route add prohibit 10.64.0.5; \
             ip route add unreachable 10.64.0.9");
        let expected =
            [(3, LocalError::Blocked), (4, LocalError::Blocked), (8, LocalError::NoRoute)];
        if means == Means::Raw {
            // Not heard of yet: `sendmmsg` itself stops at them.
            let mut failed = Vec::new();
            transmit.send_burst(&orders, Instant::ZERO, &mut failed);
            assert_eq!(failed, expected);
            assert_eq!(wire.received(6), but(&[3, 4, 8]));
        }
        assert_eq!(send(&mut transmit, &orders, Instant::ZERO), expected);
        assert_eq!(wire.received(6), but(&[3, 4, 8]));
        run("ip route del prohibit 10.64.0.4; ip route del prohibit 10.64.0.5; \
             ip route del unreachable 10.64.0.9");
        // The refusal is over as soon as the news are read, which every call does.
        assert_eq!(send(&mut transmit, &orders, Instant::ZERO), []);
        assert_eq!(wire.received(9), but(&[]));
    }
}

#[test]
fn a_dead_device_is_the_kernels_to_explain() {
    if !in_namespace("transmit::tests::a_dead_device_is_the_kernels_to_explain") {
        return;
    }
    run(WIRE);
    run("ip link add vc type veth peer name vd; ip addr add 10.3.0.1/24 dev vc; \
         ip link set vc up; ip link set vd up; \
         ip neigh add 10.3.0.9 lladdr 02:00:00:00:00:09 dev vc; \
         ip route add 10.64.0.0/16 via 10.3.0.9 metric 50; \
         ip route add 10.64.0.0/16 via 10.1.0.9 src 10.1.0.1 metric 40");
    let mut wire = Wire::open();
    let mut transmit = open(Means::Packet);
    let orders = [order(1, address("10.64.0.1")), order(2, address("10.65.0.2"))];
    assert_eq!(send(&mut transmit, &orders, Instant::ZERO), []);
    wire.received(2);
    run("ip link set va down");
    // Nobody told us: the frames are refused, and the kernel knows another way for the first.
    let failed = send(&mut transmit, &orders, Instant::ZERO);
    assert_eq!(failed, [(1, LocalError::NoRoute)]);
    let expected = orders[0].emit(address("10.3.0.1")).unwrap();
    assert_eq!(wire.next("vc", Direction::Sent, 1), [expected]);
}

/// Reads news until they are what is waited for.
fn hear_until(watch: &mut Watch, is_it: impl Fn(&[News]) -> bool) {
    let mut news = Vec::new();
    let mut ready = Vec::new();
    loop {
        watch.read(|one| news.push(one));
        if is_it(&news) {
            return;
        }
        let interests = [sys::Interest { fd: watch.as_fd(), events: libc::POLLIN }];
        sys::wait(&interests, Some(LIMIT), &mut ready).unwrap();
        assert_ne!(ready, [0], "nothing more comes after {news:?}");
    }
}

#[test]
fn changes_of_every_kind_are_heard() {
    if !in_namespace("transmit::tests::changes_of_every_kind_are_heard") {
        return;
    }
    run(WIRE);
    for neighbours in [Neighbours::Heard, Neighbours::Ignored] {
        let mut watch = Watch::open_inside(neighbours).unwrap();
        let is_change = |news: &News| *news == News::Routes;
        for command in [
            "ip link set va mtu 1400",
            "ip link set va mtu 1500",
            "ip addr add 10.1.0.6/24 dev va",
            "ip addr del 10.1.0.6/24 dev va",
            "ip -6 addr add fd00:1::6/64 dev va nodad",
            "ip -6 addr del fd00:1::6/64 dev va",
            "ip route add 10.9.0.0/16 via 10.1.0.9",
            "ip route del 10.9.0.0/16",
            "ip route add fd09::/16 via fd00:1::9",
            "ip -6 route del fd09::/16",
            "ip rule add fwmark 9 table 9",
            "ip rule del fwmark 9",
            "ip -6 rule add fwmark 9 table 9",
            "ip -6 rule del fwmark 9",
            "ip nexthop add id 9 via 10.1.0.9 dev va",
            "ip nexthop del id 9",
        ] {
            run(command);
            // IPv6 tells of addresses from a worker thread.
            hear_until(&mut watch, |news| news.iter().any(is_change));
        }
        // The kernel has news of its own there: IPv6 sets itself up.
        let interface = interface_index("va").unwrap();
        let mut heard_of = |command: &str| {
            run(command);
            let mut seen = Vec::new();
            watch.read(|news| match news {
                News::Neighbour(neighbour) if neighbour.address == address("10.1.0.9") => {
                    seen.push((neighbour.interface, neighbour.link, neighbour.is_fresh));
                }
                News::Neighbour(_) | News::Routes | News::Lost => {}
            });
            seen
        };
        let is_heard = neighbours == Neighbours::Heard;
        let seen = heard_of("ip neigh change 10.1.0.9 lladdr 02:00:00:00:00:07 nud stale dev va");
        let stale = (interface, Some([2, 0, 0, 0, 0, 7]), false);
        assert_eq!(seen, if is_heard { vec![stale] } else { vec![] });
        let gone = heard_of("ip neigh del 10.1.0.9 dev va");
        assert!(gone.iter().all(|seen| *seen == (interface, None, false)), "{gone:?}");
        assert_ne!(gone.is_empty(), is_heard);
        heard_of("ip neigh add 10.1.0.9 lladdr 02:00:00:00:00:02 dev va");
    }
}

#[test]
fn lost_news_are_told() {
    if !in_namespace("transmit::tests::lost_news_are_told") {
        return;
    }
    run(WIRE);
    let mut watch = Watch::open_inside(Neighbours::Heard).unwrap();
    // A neighbour's news take more than a kibibyte there; far more than there is room for.
    let batch: String = (0..20_000)
        .map(|at| {
            format!(
                "neigh replace 10.1.{}.{} lladdr 02:00:00:00:00:02 dev va\n",
                at >> 8 & 127,
                at & 255
            )
        })
        .collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), batch).unwrap();
    run(&format!("ip -batch {}", file.path().display()));
    let mut news = BTreeSet::new();
    for _ in 0..40 {
        watch.read(|one| {
            news.insert(one == News::Lost);
        });
    }
    assert!(news.contains(&true));
}

#[test]
fn source_and_way_follow_addresses_and_routes() {
    if !in_namespace("transmit::tests::source_and_way_follow_addresses_and_routes") {
        return;
    }
    run(WIRE);
    let mut wire = Wire::open();
    let orders = [order(1, address("10.64.0.1")), order(2, address("fd64::2"))];
    let now = Instant::ZERO;
    for means in BOTH {
        let mut transmit = open(means);
        let mut sources = |transmit: &mut Transmit| {
            assert_eq!(send(transmit, &orders, now), []);
            let mut seen = wire.received(2);
            seen.sort_by_key(|packet| packet[0] >> 4);
            [seen[0][15], seen[1][23]]
        };
        assert_eq!(sources(&mut transmit), [1, 1]);
        run("ip route change 10.64.0.0/10 via 10.1.0.9 src 10.1.0.5; \
             ip route replace fd64::/16 via fd00:1::9 src fd00:1::5");
        assert_eq!(sources(&mut transmit), [5, 5]);
        run("ip route del 10.64.0.0/10; ip -6 route del fd64::/16");
        transmit.hear_news(now);
        let no_route = [(0, LocalError::NoRoute), (1, LocalError::NoRoute)];
        assert_eq!(send(&mut transmit, &orders, now), no_route);
        run("ip route add 10.64.0.0/10 via 10.1.0.9 src 10.1.0.1; \
             ip route add fd64::/16 via fd00:1::9 src fd00:1::1");
        assert_eq!(sources(&mut transmit), [1, 1]);
    }
}

#[test]
fn a_bound_source_is_used() {
    if !in_namespace("transmit::tests::a_bound_source_is_used") {
        return;
    }
    run(WIRE);
    let mut wire = Wire::open();
    let source = address("10.1.0.5");
    let spec = Vantage { binding: Binding::Source(source), ..Vantage::unbound("v") };
    let orders = [order(1, address("10.64.0.1")), order(2, address("fd64::2"))];
    for means in BOTH {
        let mut transmit = Transmit::open_inside(&place(&spec), means).unwrap();
        let failed = send(&mut transmit, &orders, Instant::ZERO);
        assert_eq!(failed, [(1, LocalError::NoRoute)]);
        assert_eq!(wire.received(1), [orders[0].emit(source).unwrap()]);
    }
}

#[test]
fn frames_follow_the_neighbour() {
    if !in_namespace("transmit::tests::frames_follow_the_neighbour") {
        return;
    }
    run("mount -t tmpfs none /run; ip netns add x; \
         ip link add va type veth peer name vb address 02:00:00:00:00:02 netns x; \
         ip addr add 10.1.0.1/24 dev va; ip link set va up; \
         ip -n x addr add 10.1.0.9/24 dev vb; ip -n x link set vb up; \
         ip route add 10.64.0.0/10 via 10.1.0.9");
    let mut wire = Wire::open();
    let mut transmit = open(Means::Packet);
    let orders = [order(1, address("10.64.0.1"))];
    let now = Instant::ZERO;
    let mut sent = |transmit: &mut Transmit| {
        assert_eq!(send(transmit, &orders, now), []);
        assert_eq!(wire.next("va", Direction::Sent, 1), [packet(&orders[0])]);
    };
    // Nobody asked for the neighbour yet: the kernel does, with our packet.
    assert_eq!(aim(&mut transmit, &orders[0], now), None);
    sent(&mut transmit);
    transmit.hear_news(now);
    assert_eq!(aim(&mut transmit, &orders[0], now), frame("va", 2));
    sent(&mut transmit);
    // Another machine takes the address over.
    run("ip -n x link set vb address 02:00:00:00:00:03; \
         ip neigh change 10.1.0.9 lladdr 02:00:00:00:00:03 nud reachable dev va");
    transmit.hear_news(now);
    assert_eq!(aim(&mut transmit, &orders[0], now), frame("va", 3));
    sent(&mut transmit);
    // Its entry is lost, and found again by the kernel.
    run("ip neigh del 10.1.0.9 dev va");
    transmit.hear_news(now);
    assert_eq!(aim(&mut transmit, &orders[0], now), None);
    sent(&mut transmit);
    transmit.hear_news(now);
    assert_eq!(aim(&mut transmit, &orders[0], now), frame("va", 3));
    run("ip neigh change 10.1.0.9 nud failed dev va");
    transmit.hear_news(now);
    assert_eq!(aim(&mut transmit, &orders[0], now), None);
    // An entry in doubt is verified at once, a good one every now and then.
    run("ip neigh change 10.1.0.9 lladdr 02:00:00:00:00:03 nud stale dev va");
    transmit.hear_news(now);
    assert_eq!(aim(&mut transmit, &orders[0], now), None);
    assert_eq!(aim(&mut transmit, &orders[0], now), frame("va", 3));
    let later = now + Duration::from_secs(15);
    assert_eq!(aim(&mut transmit, &orders[0], later), None);
    assert_eq!(aim(&mut transmit, &orders[0], later), frame("va", 3));
}

#[test]
fn only_plain_routes_are_ours() {
    if !in_namespace("transmit::tests::only_plain_routes_are_ours") {
        return;
    }
    run(WIRE);
    run("ip neigh add 10.1.0.8 lladdr 02:00:00:00:00:02 dev va; \
         ip neigh add fd00:1::8 lladdr 02:00:00:00:00:02 dev va; \
         ip link add vc type veth peer name vd; \
         ip link set vc arp off; ip link set vc up; ip link set vd up; \
         ip addr add 10.3.0.1/24 dev vc; \
         ip route add 10.70.0.0/16 nexthop via 10.1.0.9 nexthop via 10.1.0.8; \
         ip route add fd70::/16 nexthop via fd00:1::9 dev va nexthop via fd00:1::8 dev va; \
         ip nexthop add id 1 via 10.1.0.9 dev va; ip nexthop add id 2 via 10.1.0.8 dev va; \
         ip nexthop add id 10 group 1/2; ip route add 10.71.0.0/16 nhid 10; \
         ip route add 10.72.0.0/16 nhid 1; ip route add 10.73.0.0/16 via 10.1.0.9 mtu 100; \
         ip route add 10.74.0.0/16 via inet6 fd00:1::9 dev va");
    let mut transmit = open(Means::Packet);
    let mut row = 0;
    let mut is_ours = |to: &str| {
        row += 1;
        let order = order(row, address(to));
        aim(&mut transmit, &order, Instant::ZERO).is_some()
    };
    for to in ["10.64.0.1", "fd64::1", "10.72.0.1", "10.74.0.1", "10.1.0.9", "fd00:1::9"] {
        assert!(is_ours(to), "{to}");
    }
    for to in ["127.0.0.1", "::1", "10.1.0.1", "fd00:1::1", "10.1.0.77", "10.3.0.9", "10.73.0.1"] {
        assert!(!is_ours(to), "{to}");
    }
    for to in ["10.70.0.1", "10.71.0.1", "fd70::1"] {
        assert!(!is_ours(to), "{to}");
    }
}

#[test]
fn a_device_without_frames_takes_packets() {
    if !in_namespace("transmit::tests::a_device_without_frames_takes_packets") {
        return;
    }
    let mut device = tun::open("t0").unwrap();
    run("ip link set t0 up; ip addr add 10.1.0.1/24 dev t0; \
         ip -6 addr add fd00:1::1/64 dev t0 nodad");
    let orders: Vec<_> = (1..=8)
        .map(|row| order(row, address(if row < 5 { "10.1.0.7" } else { "fd00:1::7" })))
        .collect();
    let expected: Vec<_> = orders.iter().map(packet).collect();
    for means in BOTH {
        let mut transmit = open(means);
        let is_ours = aim(&mut transmit, &orders[0], Instant::ZERO).is_some();
        assert_eq!(is_ours, means == Means::Packet);
        assert_eq!(send(&mut transmit, &orders, Instant::ZERO), []);
        // What is sent into a TUN device is there at once. The kernel has its own to say there.
        let mut seen = Vec::new();
        let mut buffer = [0; 2_048];
        while let Ok(length) = device.read(&mut buffer) {
            seen.push(buffer[..length].to_vec());
        }
        seen.retain(|packet| expected.contains(packet));
        assert_eq!(seen, expected, "{means:?}");
    }
}

#[test]
fn marks_and_interfaces_choose_the_way_out() {
    if !in_namespace("transmit::tests::marks_and_interfaces_choose_the_way_out") {
        return;
    }
    run(WIRE);
    run("ip link add vc type veth peer name vd; ip addr add 10.3.0.1/24 dev vc; \
         ip link set vc up; ip link set vd up; \
         ip neigh add 10.3.0.9 lladdr 02:00:00:00:00:09 dev vc; \
         ip rule add fwmark 5 table 100; ip route add default via 10.3.0.9 table 100; \
         ip route add 10.64.0.0/10 via 10.3.0.9 metric 50; \
         ip rule add from 10.1.0.5 table 100");
    let mut wire = Wire::open();
    let orders = [order(1, address("10.64.0.1"))];
    let bound = |binding| Vantage { binding, ..Vantage::unbound("v") };
    for (spec, interface, source) in [
        (bound(Binding::Any), "va", "10.1.0.1"),
        (Vantage { mark: Some(5), ..bound(Binding::Any) }, "vc", "10.3.0.1"),
        (bound(Binding::Interface("va".to_owned())), "va", "10.1.0.1"),
        (bound(Binding::Interface("vc".to_owned())), "vc", "10.3.0.1"),
        (bound(Binding::Source(address("10.1.0.5"))), "vc", "10.1.0.5"),
    ] {
        for means in BOTH {
            let mut transmit = Transmit::open_inside(&place(&spec), means).unwrap();
            let is_ours = aim(&mut transmit, &orders[0], Instant::ZERO).is_some();
            assert_eq!(is_ours, means == Means::Packet, "{spec:?}");
            assert_eq!(send(&mut transmit, &orders, Instant::ZERO), []);
            let expected = orders[0].emit(address(source)).unwrap();
            assert_eq!(wire.next(interface, Direction::Sent, 1), [expected], "{spec:?}");
        }
    }
    // A rule that comes later is followed too.
    for means in BOTH {
        let mut transmit = open(means);
        assert_eq!(send(&mut transmit, &orders, Instant::ZERO), []);
        wire.next("va", Direction::Sent, 1);
        run("ip rule add to 10.64.0.0/10 table 100");
        transmit.hear_news(Instant::ZERO);
        assert_eq!(send(&mut transmit, &orders, Instant::ZERO), []);
        wire.next("vc", Direction::Sent, 1);
        run("ip rule del to 10.64.0.0/10 table 100");
    }
}

#[test]
fn a_vantage_in_a_namespace_sends_and_hears_there() {
    if !in_namespace("transmit::tests::a_vantage_in_a_namespace_sends_and_hears_there") {
        return;
    }
    run("mount -t tmpfs none /run; ip netns add x; \
         ip link add va type veth peer name vb address 02:00:00:00:00:02; \
         ip link set va netns x; ip link set vb up; \
         ip -n x addr add 10.1.0.1/24 dev va; ip -n x link set va up; \
         ip -n x neigh add 10.1.0.9 lladdr 02:00:00:00:00:02 dev va");
    let spec = Vantage { binding: Binding::Namespace("x".to_owned()), ..Vantage::unbound("v") };
    let place = place(&spec);
    let mut wire = Wire::open();
    let orders = [order(1, address("10.1.0.9"))];
    for means in BOTH {
        let mut transmit = place.enter(|| Transmit::open_inside(&place, means)).unwrap();
        assert_eq!(send(&mut transmit, &orders, Instant::ZERO), []);
        assert_eq!(wire.received(1), [packet(&orders[0])]);
        run("ip -n x link set va down");
        transmit.hear_news(Instant::ZERO);
        let failed = send(&mut transmit, &orders, Instant::ZERO);
        assert_eq!(failed, [(0, LocalError::NoRoute)]);
        run(
            "ip -n x link set va up; ip -n x neigh replace 10.1.0.9 lladdr 02:00:00:00:00:02 dev va",
        );
    }
}
