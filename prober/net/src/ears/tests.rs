use super::*;
use crate::testing::{in_namespace, run};
use crate::vantage::OpenedVantage;
use reachd_core::monitor::{Flight, ProbePacket, SendOrder};
use reachd_core::vantage::Vantage;
use std::net::{IpAddr, TcpStream};
use std::time::Instant as StdInstant;

/// One captured packet, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    direction: Direction,
    at: Stamp,
    interface: u32,
    bytes: Vec<u8>,
}

struct Bench {
    clock: Clock,
    store: Store,
    ears: Ears,
    vantage: OpenedVantage,
}

impl Bench {
    fn new(options: EarsOptions) -> Self {
        Self {
            clock: Clock::start(),
            store: Store::new(1 << 20),
            ears: Ears::open(TapId(4), options, &BTreeSet::new()).unwrap(),
            vantage: OpenedVantage::open(&Vantage::unbound("v")).unwrap(),
        }
    }

    fn follow(&mut self) {
        self.ears.follow(VantageId(0), self.vantage.lanes()).unwrap();
    }

    fn echo(&mut self, to: &str, seq: u16) {
        let order = SendOrder {
            flight: Flight::Survey(u32::from(seq)),
            vantage: VantageId(0),
            to: to.parse().unwrap(),
            ttl: 64,
            ip_id: 5,
            what: ProbePacket::Echo { id: 7, seq, payload: [0x5a; 24] },
        };
        self.vantage.send_raw(&order, self.clock.now()).unwrap();
    }

    /// Reads until so many packets were seen.
    fn seen(&mut self, count: usize) -> Vec<Seen> {
        let mut seen = Vec::new();
        let begun = StdInstant::now();
        while seen.len() < count && begun.elapsed() < Duration::from_secs(10) {
            let Self { clock, store, ears, .. } = self;
            let _ = ears.read(clock, store, |captured| {
                assert_eq!((captured.tap, captured.checksums_final), (TapId(4), false));
                seen.push(Seen {
                    direction: captured.direction,
                    at: captured.at,
                    interface: captured.interface,
                    bytes: captured.bytes.to_vec(),
                });
            });
        }
        assert_eq!(seen.len(), count, "{seen:?}");
        seen
    }
}

#[test]
fn what_leaves_comes_back_bare_and_before_its_answer() {
    if !in_namespace("ears::tests::what_leaves_comes_back_bare_and_before_its_answer") {
        return;
    }
    run("ip link add va type veth peer name vb; ip addr add 10.1.0.1/24 dev va; \
         ip link set va up; ip link set vb up; \
         ip neigh add 10.1.0.9 lladdr 02:00:00:00:00:09 dev va");
    let mut bench = Bench::new(EarsOptions::default());
    bench.follow();
    let begun = bench.clock.now();
    for to in ["127.0.0.1", "::1"] {
        for seq in 1..=200 {
            bench.echo(to, seq);
        }
    }
    let seen = bench.seen(2 * 200 * 2);
    let lo = sys::interface_index("lo").unwrap();
    let ended = bench.clock.now();
    assert!(seen.iter().all(|one| one.interface == lo && (begun..=ended).contains(&one.at.at)));
    assert!(seen.iter().all(|one| one.at.source == StampSource::Kernel));
    for family in [0x45, 0x60] {
        let of = |direction| {
            let matches = move |one: &&Seen| one.bytes[0] == family && one.direction == direction;
            seen.iter().filter(matches).collect::<Vec<_>>()
        };
        let (sent, received) = (of(Direction::Sent), of(Direction::Received));
        assert_eq!((sent.len(), received.len()), (200, 200));
        let seq_at = if family == 0x45 { 26 } else { 46 };
        for (sent, received) in sent.iter().zip(&received) {
            assert_eq!(sent.bytes[seq_at..], received.bytes[seq_at..], "the same sequence number");
            assert!(sent.at.at <= received.at.at);
        }
        let place = |direction| {
            seen.iter().position(|one| one.bytes[0] == family && one.direction == direction)
        };
        assert!(place(Direction::Sent) < place(Direction::Received));
    }
    assert_eq!(bench.ears.counts().unwrap(), (800, 0));
    assert_eq!(bench.store.len(), 800);
    // A real link, where nobody answers.
    bench.echo("10.1.0.9", 1);
    let seen = bench.seen(1);
    assert_eq!(seen[0].direction, Direction::Sent);
    assert_eq!(seen[0].interface, sys::interface_index("va").unwrap());
    assert_eq!((seen[0].bytes[0], seen[0].bytes.len()), (0x45, 52));
    assert!(!bench.ears.is_mute());
}

#[test]
fn overflow_is_counted() {
    if !in_namespace("ears::tests::overflow_is_counted") {
        return;
    }
    let mut bench = Bench::new(EarsOptions { receive_buffer: 1 });
    for to in ["127.0.0.1", "::1"] {
        for seq in 1..=500 {
            bench.echo(to, seq);
        }
    }
    let mut heard = 0;
    let Bench { clock, store, ears, .. } = &mut bench;
    while let Some(count) = ears.read(clock, store, |_| {}) {
        heard += u64::try_from(count).unwrap();
    }
    let (packets, drops) = ears.counts().unwrap();
    // The kernel counts the requests that come in here, too, while there is no room.
    assert_eq!(packets, heard);
    assert!(heard < 500 && (1_000..=2_000).contains(&(packets + drops)), "{packets} {drops}");
    assert_eq!(ears.counts().unwrap(), (packets, drops), "each is counted once");
}

#[test]
fn only_probed_ports_are_heard_and_the_list_can_grow() {
    if !in_namespace("ears::tests::only_probed_ports_are_heard_and_the_list_can_grow") {
        return;
    }
    let mut bench = Bench::new(EarsOptions::default());
    let knock = |port: u16| {
        // Nobody listens: the SYN and its reset both come in on loopback.
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        assert!(TcpStream::connect(("::1", port)).is_err());
    };
    knock(2_222);
    bench.ears.set_ports(&[3_333].into()).unwrap();
    knock(2_222);
    knock(3_333);
    let seen = bench.seen(4);
    let Bench { clock, store, ears, .. } = &mut bench;
    assert_eq!(ears.read(clock, store, |_| {}), None);
    for one in seen {
        let packet = reachd_core::wire::packet::Packet::parse(
            &one.bytes,
            reachd_core::wire::packet::Checksums::Skip,
        );
        let packet = packet.unwrap();
        assert!(packet.dest.is_loopback() && packet.ttl == 64, "{packet:?}");
        let reachd_core::wire::packet::Body::Tcp(segment) = packet.body else { panic!() };
        assert!(segment.source_port == 3_333 || segment.dest_port == 3_333);
    }
}

#[test]
fn sockets_that_are_not_stamped_are_noticed_by_their_answers() {
    if !in_namespace("ears::tests::sockets_that_are_not_stamped_are_noticed_by_their_answers") {
        return;
    }
    let mut bench = Bench::new(EarsOptions::default());
    bench.follow();
    for lane in bench.vantage.lanes() {
        sys::set_int(lane, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, 0).unwrap();
    }
    for seq in 1..=15 {
        bench.echo("127.0.0.1", seq);
    }
    bench.seen(15);
    assert!(!bench.ears.is_mute());
    bench.echo("127.0.0.1", 16);
    bench.seen(1);
    assert!(bench.ears.is_mute());
    bench.ears.unfollow(VantageId(0));
    assert!(!bench.ears.is_mute(), "nobody waits for stamps");
}

#[test]
fn one_device_without_stamps_is_noticed_beside_one_with_them() {
    if !in_namespace("ears::tests::one_device_without_stamps_is_noticed_beside_one_with_them") {
        return;
    }
    run("mount -t tmpfs none /run; ip netns add peer; \
         ip link add va type veth peer name vb netns peer; \
         ip addr add 10.1.0.1/24 dev va; ip link set va up; \
         ip -n peer addr add 10.1.0.2/24 dev vb; ip -n peer link set vb up");
    let mut bench = Bench::new(EarsOptions::default());
    bench.follow();
    bench.ears.set_ports(&[3_333].into()).unwrap();
    bench.echo("127.0.0.1", 1);
    bench.seen(2);
    // Strangers at our own port answer nothing.
    for _ in 0..20 {
        assert!(TcpStream::connect(("127.0.0.1", 3_333)).is_err());
    }
    bench.seen(40);
    for lane in bench.vantage.lanes() {
        sys::set_int(lane, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, 0).unwrap();
    }
    for seq in 2..=16 {
        bench.echo("10.1.0.2", seq);
    }
    bench.seen(15);
    assert!(!bench.ears.is_mute());
    bench.echo("10.1.0.2", 17);
    bench.seen(1);
    assert!(bench.ears.is_mute());
}

#[test]
fn what_is_written_down_has_left() {
    if !in_namespace("ears::tests::what_is_written_down_has_left") {
        return;
    }
    let mut bench = Bench::new(EarsOptions::default());
    let clock = bench.clock.clone();
    bench.vantage.keep_journal(&clock);
    let before = clock.now();
    bench.echo("127.0.0.1", 1);
    let after = clock.now();
    let to: IpAddr = "203.0.113.1".parse().unwrap();
    let what = ProbePacket::Echo { id: 7, seq: 2, payload: [0; 24] };
    let flight = Flight::Survey(2);
    let order = SendOrder { flight, vantage: VantageId(0), to, ttl: 64, ip_id: 5, what };
    assert!(bench.vantage.send_raw(&order, clock.now()).is_err(), "there is no route");
    let mut sent = Vec::new();
    let Bench { store, ears, vantage, .. } = &mut bench;
    vantage.journal().unwrap().drain(|at, bytes| {
        ears.note_sent((at, bytes), &clock, store, |captured| {
            sent.push((captured.at, captured.bytes.to_vec()));
        });
    });
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].0.source, StampSource::User);
    assert!((before..=after).contains(&sent[0].0.at));
    assert_eq!((sent[0].1[0], sent[0].1.len()), (0x45, 52));
    vantage.journal().unwrap().drain(|_, _| panic!("it was emptied"));
}
