//! Every mode against the same peer, in a namespace of its own behind a veth pair.

use super::*;
use crate::namespace::Namespace;
use crate::tap::TapOptions;
use reachd_core::time::StampSource;
use reachd_core::wire::icmp::Icmp;
use reachd_core::wire::packet::{Body, Checksums, Packet};
use std::collections::BTreeMap;

const OPEN: u16 = 7_001;
const CLOSED: u16 = 7_002;
const FORBIDDEN: u16 = 7_003;
const PEERS: [&str; 2] = ["10.1.0.2", "fd00:1::2"];
/// Nobody has these, but the neighbour entry lets packets leave.
const DEAD: [&str; 2] = ["10.1.0.9", "fd00:1::9"];

const WITH_RAW: [Mode; 3] = [Mode::Raw, Mode::RawErrqueue, Mode::RawStamps];

fn wires() {
    run("mount -t tmpfs none /run; ip netns add peer; \
         ip link add va type veth peer name vb netns peer; \
         ip addr add 10.1.0.1/24 dev va; ip -6 addr add fd00:1::1/64 dev va nodad; \
         ip link set va up; \
         ip -n peer addr add 10.1.0.2/24 dev vb; ip -n peer -6 addr add fd00:1::2/64 dev vb nodad; \
         ip -n peer link set lo up; ip -n peer link set vb up; \
         ip neigh replace 10.1.0.9 lladdr 02:00:00:00:00:09 dev va; \
         ip -6 neigh replace fd00:1::9 lladdr 02:00:00:00:00:09 dev va; \
         ip netns exec peer nft 'table inet f { chain i { type filter hook input priority 0; \
         tcp dport 7003 reject with icmpx type admin-prohibited; }; }'");
}

fn listen() -> Vec<TcpListener> {
    let peer = Namespace::open("peer").unwrap();
    let inside = || PEERS.iter().map(|peer| TcpListener::bind((*peer, OPEN))).collect();
    peer.run(inside).unwrap()
}

/// What a packet is, if it is a probe of ours or an answer to one.
fn name(direction: Direction, bytes: &[u8]) -> Option<String> {
    let packet = Packet::parse(bytes, Checksums::Skip).unwrap();
    let what = match packet.body {
        Body::Icmp(Icmp::EchoRequest { seq, .. }) => format!("echo {seq}"),
        Body::Icmp(Icmp::EchoReply { seq, .. }) => format!("reply {seq}"),
        Body::Icmp(Icmp::Error(error)) => format!("icmp {}/{}", error.ty, error.code),
        // Of these only a ring knows.
        Body::Tcp(segment) if direction == Direction::Sent && segment.flags.rst() => return None,
        Body::Tcp(segment) => {
            let (syn, rst) = (segment.flags.syn(), segment.flags.rst());
            format!("syn {syn} rst {rst} {}>{}", segment.source_port, segment.dest_port)
        }
        _ => return None,
    };
    Some(format!("{direction:?} {} > {} {} {what}", packet.source, packet.dest, packet.ttl))
}

/// A named packet.
type Named = (String, Direction, Stamp);

fn named(script: &Script) -> Vec<Named> {
    let all = script.captured.iter().zip(&script.stamps);
    let name = |((direction, bytes), stamp): (&(Direction, Vec<u8>), &Stamp)| {
        Some((name(*direction, bytes)?, *direction, *stamp))
    };
    all.filter_map(name).collect()
}

fn order_probes(brain: &Scripted) {
    for (peer, dead) in PEERS.iter().zip(DEAD) {
        for seq in 1..=20 {
            brain.order(echo(seq, peer));
        }
        brain.order(echo(30, dead));
        brain.order(syn(31, dead, OPEN));
        for port in [OPEN, CLOSED, FORBIDDEN] {
            brain.order(syn(32, peer, port));
        }
    }
}

/// The shortest round trip of the echoes, by family.
fn shortest(seen: &[Named]) -> [Duration; 2] {
    PEERS.map(|peer| {
        let at = |begin: &str, end: &str| {
            let is_it = |name: &str| name.starts_with(begin) && name.ends_with(end);
            seen.iter().position(|(name, _, _)| is_it(name) && name.contains(peer)).unwrap()
        };
        let trips = (1..=20).map(|seq| {
            let sent = at("Sent", &format!(" echo {seq}"));
            let came = at("Received", &format!(" reply {seq}"));
            assert!(sent < came, "the probe is told first");
            seen[came].2.at.since(seen[sent].2.at)
        });
        trips.min().unwrap()
    })
}

/// Everything seen in one mode, and the shortest round trips.
async fn observe(mode: Mode) -> (BTreeMap<String, usize>, [Duration; 2]) {
    let brain = ticking();
    brain.order(open(Binding::Any));
    let options = EngineOptions { best_mode: mode, ..EngineOptions::default() };
    let (engine, _events) = start_with(brain.clone(), options, &Handle::current()).unwrap();
    let targets = [OPEN, CLOSED, FORBIDDEN].map(|port| Target::new(PEERS[0], port, Service::Tcp));
    engine.plan(Plan { targets: targets.into(), ..Plan::default() }).await.unwrap();
    let up = brain.heard("Vantage(").await;
    assert!(up.contains(&format!("mode: {mode:?}, tap: Some(")), "{up}");
    brain.heard("Plan(").await;
    order_probes(&brain);
    // 20 echoes and 3 SYNs with an answer each, and two without, in both families.
    let count = 2 * (2 * 23 + 2);
    brain.until("all is seen", |script| named(script).len() >= count).await;
    brain.until("nothing is dropped", |script| script.counts.is_some_and(|all| all.1 == 0)).await;
    engine.stop().await;
    let seen = named(&brain.0.lock().unwrap());
    for (name, direction, stamp) in &seen {
        let expected = match (mode, direction) {
            (Mode::Raw, _) => StampSource::Capture,
            (Mode::RawStamps, Direction::Sent) => StampSource::User,
            _ => StampSource::Kernel,
        };
        assert_eq!(stamp.source, expected, "{name}");
    }
    let shortest = shortest(&seen);
    let mut counts = BTreeMap::new();
    for (name, _, _) in seen {
        *counts.entry(name).or_insert(0) += 1;
    }
    assert_eq!(counts.values().sum::<usize>(), count, "{counts:#?}");
    (counts, shortest)
}

#[test]
fn every_mode_with_raw_sockets_sees_the_same() {
    if !in_namespace("engine::tests::ladder::every_mode_with_raw_sockets_sees_the_same") {
        return;
    }
    wires();
    let _listening = listen();
    runtime().block_on(async {
        let (ring, fastest) = observe(Mode::Raw).await;
        for text in ["rst true 7002>", "icmp 3/13", "icmp 1/1", "syn true rst false 7001>"] {
            assert!(ring.keys().any(|name| name.contains(text)), "{text}: {ring:#?}");
        }
        for mode in [Mode::RawErrqueue, Mode::RawStamps] {
            let (seen, others) = observe(mode).await;
            assert_eq!(seen, ring, "{mode:?}");
            for (ours, rings) in others.iter().zip(fastest) {
                // A stamp of another clock or unit is off by more, a busy machine by less.
                assert!(ours.abs_diff(rings) < Duration::from_millis(100), "{ours:?} {rings:?}");
            }
        }
    });
}

#[test]
fn a_ring_that_the_kernel_refuses_is_done_without() {
    if !in_namespace("engine::tests::ladder::a_ring_that_the_kernel_refuses_is_done_without") {
        return;
    }
    runtime().block_on(async {
        let brain = ticking();
        brain.order(open(Binding::Any));
        // Blocks must consist of pages.
        let tap = TapOptions { block_size: 1_000, ..TapOptions::default() };
        let options = EngineOptions { tap, ..EngineOptions::default() };
        let (engine, _events) = start_with(brain.clone(), options, &Handle::current()).unwrap();
        let up = brain.heard("Vantage(").await;
        assert!(up.contains("mode: RawErrqueue, tap: Some("), "{up}");
        brain.order(echo(1, "127.0.0.1"));
        brain.until("echo and reply", |script| script.captured.len() == 2).await;
        let file = engine.pcapng(Wanted::default(), vec![]).await.unwrap();
        assert!(file.len() > 2 * 52, "they are evidence");
        engine.stop().await;
    });
}

#[test]
fn a_vantage_whose_packets_are_not_stamped_stamps_them_itself() {
    use super::super::vantages::Vantages;
    if !in_namespace(
        "engine::tests::ladder::a_vantage_whose_packets_are_not_stamped_stamps_them_itself",
    ) {
        return;
    }
    let (clock, ports, id) = (Clock::start(), BTreeSet::new(), VantageId(0));
    let mut store = crate::tap::store::Store::new(0);
    let options = EngineOptions { best_mode: Mode::RawErrqueue, ..EngineOptions::default() };
    let mut vantages = Vantages::new(options);
    vantages.open(id, Vantage::unbound("v"), &ports, &clock);
    for lane in vantages.get(id).unwrap().lanes() {
        sys::set_int(lane, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, 0).unwrap();
    }
    for flight in 1..=16 {
        let Output::Send(order) = echo(flight, "127.0.0.1") else { panic!() };
        vantages.send(&order, &clock).unwrap();
    }
    let mut heard = 0;
    for receiver in vantages.receivers() {
        while let Some(count) = receiver.read(&clock, &mut store, |_| {}) {
            heard += count;
        }
    }
    assert_eq!(heard, 16);
    let changes = vantages.check(&ports, &clock);
    let [(_, VantageState::Up { mode, tap: Some(tap) })] = changes[..] else {
        panic!("{changes:?}")
    };
    assert_eq!((mode, tap), (Mode::RawStamps, TapId(1)));
    let Output::Send(order) = echo(17, "127.0.0.1") else { panic!() };
    vantages.send(&order, &clock).unwrap();
    let mut sent = 0;
    vantages.read_sent(&clock, &mut store, |captured| {
        assert_eq!((captured.tap, captured.direction), (tap, Direction::Sent));
        sent += 1;
    });
    assert_eq!(sent, 1);
    assert!(vantages.check(&ports, &clock).is_empty());
}

/// Watches the peer in a mode until every target has the class that it should.
async fn judge(mode: Mode, targets: &[(Target, &'static str)]) {
    let monitor = Monitor::new(Purpose::Watch, [1, 2]);
    let options = EngineOptions { best_mode: mode, ..EngineOptions::default() };
    let (engine, mut events) = start(monitor, options, &Handle::current()).unwrap();
    let expected: BTreeMap<_, _> = targets
        .iter()
        .map(|(target, class)| (target.name.to_string(), (*class).to_owned()))
        .collect();
    let targets = targets.iter().map(|(target, _)| target.clone()).collect();
    let vantages = vec![Vantage::unbound("here")];
    engine.plan(Plan { targets, vantages, ..Plan::default() }).await.unwrap();
    let mut known = BTreeMap::new();
    let all = async {
        while known != expected {
            match events.recv().await.map(|event| *event) {
                Some(Event::Judged { target, report, .. }) => {
                    known.insert(target.to_string(), report.verdict.class.clone());
                }
                Some(_) => {}
                None => panic!("the engine ended"),
            }
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(60), all).await.is_ok();
    assert!(in_time, "{mode:?}: {known:#?}");
    let snapshot = engine.snapshot().await.unwrap();
    assert_eq!(snapshot.vantages[0].mode, Some(mode));
    assert_eq!(snapshot.vantages[0].capture_drops, 0);
    engine.stop().await;
}

#[test]
fn the_monitor_judges_the_same_in_every_mode() {
    if !in_namespace("engine::tests::ladder::the_monitor_judges_the_same_in_every_mode") {
        return;
    }
    wires();
    let _listening = listen();
    let mut targets = Vec::new();
    for (peer, dead) in PEERS.into_iter().zip(DEAD) {
        targets.push((Target::new(peer, OPEN, Service::Tcp), "reachable"));
        targets.push((Target::new(peer, CLOSED, Service::Tcp), "port_closed"));
        targets.push((Target::new(peer, FORBIDDEN, Service::Tcp), "rejected"));
        targets.push((Target::new(dead, OPEN, Service::Tcp), "host_silent"));
    }
    runtime().block_on(async {
        for mode in WITH_RAW {
            judge(mode, &targets).await;
        }
    });
}
