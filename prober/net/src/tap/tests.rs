use super::store::Wanted;
use super::*;
use crate::testing::{self, in_namespace, in_namespace_without, run};
use crate::vantage::OpenedVantage;
use reachd_core::monitor::{Direction, Flight, ProbePacket, SendOrder};
use reachd_core::vantage::{Vantage, VantageId};
use std::net::{IpAddr, TcpStream, UdpSocket};

/// A captured packet, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    direction: Direction,
    at: u64,
    checksums_final: bool,
    bytes: Vec<u8>,
}

fn open(ports: &[u16]) -> Tap {
    let ports = ports.iter().copied().collect();
    Tap::open(TapId(3), TapOptions::default(), &ports).unwrap()
}

/// What comes, owned.
fn drain(tap: &mut Tap, clock: &Clock, store: &mut Store) -> Vec<Seen> {
    let mut seen = Vec::new();
    testing::drain(tap, clock, store, |captured| {
        assert_eq!(captured.tap, TapId(3));
        seen.push(Seen {
            direction: captured.direction,
            at: captured.at.at.as_nanos(),
            checksums_final: captured.checksums_final,
            bytes: captured.bytes.to_vec(),
        });
    });
    seen
}

fn echo(to: IpAddr, seq: u16) -> SendOrder {
    SendOrder {
        flight: Flight::Survey(u32::from(seq)),
        vantage: VantageId(0),
        to,
        ttl: 64,
        ip_id: 0,
        what: ProbePacket::Echo { id: 7, seq, payload: [0x5a; 24] },
    }
}

fn syn(to: IpAddr, port: u16) -> SendOrder {
    let what = ProbePacket::Syn {
        source_port: 61_234,
        dest_port: port,
        seq: 0x0102_0304,
        timestamp: Some(9),
    };
    SendOrder { what, ..echo(to, 0) }
}

#[test]
fn loopback_counts_are_exact_and_stamps_are_ours() {
    // On one processor: two of them may stamp in one order and enter the ring in the other.
    let test = "tap::tests::loopback_counts_are_exact_and_stamps_are_ours";
    if !in_namespace_without(test, "", "taskset -pc 0 $$ >/dev/null") {
        return;
    }
    let clock = Clock::start();
    let mut store = Store::new(4 << 20);
    let mut tap = open(&[]);
    let mut vantage = OpenedVantage::open(&Vantage::unbound("v")).unwrap();
    let begun = clock.now();
    for to in ["127.0.0.1", "::1"] {
        for seq in 1..=500 {
            vantage.send_raw(&echo(to.parse().unwrap(), seq), clock.now()).unwrap();
        }
    }
    let seen = drain(&mut tap, &clock, &mut store);
    // Request and reply, each leaving and coming, in both families.
    assert_eq!(seen.len(), 2 * 500 * 4);
    let sent = seen.iter().filter(|packet| packet.direction == Direction::Sent).count();
    assert_eq!(sent, 2 * 500 * 2);
    assert_eq!(tap.counts().unwrap(), (4_000, 0));
    let ended = clock.now();
    assert!(seen.iter().all(|packet| (begun.as_nanos()..=ended.as_nanos()).contains(&packet.at)));
    assert!(seen.is_sorted_by_key(|packet| packet.at));
    // Ours is the only packet whose checksum nobody postponed.
    assert!(seen.iter().all(|packet| packet.checksums_final));
    // The identification of a request is never left to the kernel; that of its reply is, and may
    // be any, zero too.
    let requests = seen.iter().map(|packet| &packet.bytes).filter(|b| b[0] == 0x45 && b[20] == 8);
    let identifications: Vec<_> = requests.map(|bytes| [bytes[4], bytes[5]]).collect();
    assert_eq!(identifications, [[0, 1]; 2 * 500]);
    assert_eq!(store.len(), 4_000);
}

#[test]
fn only_probed_ports_are_captured_and_the_list_can_grow() {
    if !in_namespace("tap::tests::only_probed_ports_are_captured_and_the_list_can_grow") {
        return;
    }
    let clock = Clock::start();
    let mut store = Store::new(0);
    let mut tap = open(&[2_222]);
    let knock = |port: u16| {
        // Nobody listens: the SYN and its reset, each leaving and coming.
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        assert!(TcpStream::connect(("::1", port)).is_err());
    };
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.send_to(b"x", udp.local_addr().unwrap()).unwrap();
    knock(2_222);
    knock(3_333);
    let seen = drain(&mut tap, &clock, &mut store);
    assert_eq!(seen.len(), 8, "{seen:?}");
    tap.set_ports(&[2_222, 3_333].into()).unwrap();
    knock(3_333);
    assert_eq!(drain(&mut tap, &clock, &mut store).len(), 8);
    // Our own source port is captured whatever the destination.
    let mut vantage = OpenedVantage::open(&Vantage::unbound("v")).unwrap();
    for to in ["127.0.0.1", "::1"] {
        vantage.send_raw(&syn(to.parse().unwrap(), 4_444), clock.now()).unwrap();
    }
    assert_eq!(drain(&mut tap, &clock, &mut store).len(), 8);
}

#[test]
fn errors_are_captured_and_tun_like_devices_need_no_other_filter() {
    if !in_namespace("tap::tests::errors_are_captured_and_tun_like_devices_need_no_other_filter") {
        return;
    }
    run("ip tuntap add t0 mode tun; ip addr add 10.9.0.1/24 dev t0; ip link set t0 up");
    let clock = Clock::start();
    let mut store = Store::new(0);
    let mut tap = open(&[]);
    // Without a reader of its TUN side the device has no carrier; `lo` carries a quoted error.
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.send_to(b"x", "127.0.0.1:9").unwrap();
    let seen = drain(&mut tap, &clock, &mut store);
    assert_eq!(seen.len(), 2, "the port unreachable, leaving and coming: {seen:?}");
    assert_eq!(seen[0].bytes[20..22], [3, 3]);
}

#[test]
fn tcpdump_reads_what_we_write() {
    if !in_namespace("tap::tests::tcpdump_reads_what_we_write") {
        return;
    }
    let clock = Clock::start();
    let mut store = Store::new(1 << 20);
    let mut tap = open(&[]);
    let mut vantage = OpenedVantage::open(&Vantage::unbound("v")).unwrap();
    for to in ["127.0.0.1", "127.0.0.2", "::1"] {
        vantage.send_raw(&echo(to.parse().unwrap(), 77), clock.now()).unwrap();
    }
    drain(&mut tap, &clock, &mut store);
    // One of another ring, as with several vantages.
    let (like, bytes) = store.packets(&Wanted::default()).last().unwrap();
    let other = Record::new(like.wall, TapId(9), 7, like.direction, like.wire_len);
    store.push(other, &bytes);
    let read = |wanted: &Wanted| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("evidence.pcapng");
        let mut file = std::fs::File::create(&path).unwrap();
        let comments = ["what it is about".to_owned()];
        let count = pcapng::write_pcapng(&mut file, &store, wanted, &comments).unwrap();
        let output = std::process::Command::new("unshare")
            // As nobody in particular: as root it wants to become somebody else.
            .args(["--user", "tcpdump", "-n", "-tttt", "--nano", "-r"])
            .arg(&path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().count(), count, "{text}");
        text
    };
    let all = read(&Wanted::default());
    assert_eq!(all.matches("ICMP echo request, id 7, seq 77, length 32").count(), 4, "{all}");
    assert_eq!(all.matches("ICMP6, echo reply, id 7, seq 77, length 32").count(), 3, "{all}");
    let one = Wanted { hosts: vec!["127.0.0.2".parse().unwrap()], ..Wanted::default() };
    assert_eq!(read(&one).lines().count(), 4);
}
