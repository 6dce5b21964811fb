use super::*;
use crate::oneshot::{Echo, oneshot_echo};
use crate::sys;
use crate::testing::{in_namespace, run, runtime};
use reachd_core::evidence::{IcmpKind, TcpAnswer};
use reachd_core::vantage::{Vantage, VantageId};

/// What answers does so within this time; what a timer of the kernel ends, within that.
const SOON: Duration = Duration::from_secs(2);
const AT_LEISURE: Duration = Duration::from_secs(5);

/// Two routers in a row behind us; the first counts hop limits, the second rejects.
const PATH: &str = "
    echo '0 0' > /proc/sys/net/ipv4/ping_group_range
    mount -t tmpfs none /run
    ip netns add r; ip netns add s
    sysctl -qw net.ipv6.conf.default.accept_dad=0
    ip netns exec r sysctl -qw net.ipv6.conf.default.accept_dad=0
    ip netns exec s sysctl -qw net.ipv6.conf.default.accept_dad=0
    ip link add va type veth peer name vb netns r
    ip -n r link add vc type veth peer name vd netns s
    ip addr add 10.1.0.1/24 dev va; ip link set va up
    ip -6 addr add fd00:1::1/64 dev va nodad
    ip -n r addr add 10.1.0.2/24 dev vb; ip -n r link set vb up
    ip -n r -6 addr add fd00:1::2/64 dev vb nodad
    ip -n r addr add 10.2.0.2/24 dev vc; ip -n r link set vc up
    ip -n r -6 addr add fd00:2::2/64 dev vc nodad
    ip -n s addr add 10.2.0.3/24 dev vd; ip -n s link set vd up; ip -n s link set lo up
    ip -n s -6 addr add fd00:2::3/64 dev vd nodad
    ip -n s addr add 10.2.0.4/24 dev vd
    ip route add default via 10.1.0.2; ip -n s route add default via 10.2.0.2
    ip -6 route add default via fd00:1::2; ip -n s -6 route add default via fd00:2::2
    ip netns exec r sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
    ip netns exec r sysctl -qw net.ipv4.icmp_ratemask=0 net.ipv6.icmp.ratelimit=0
    ip netns exec s sysctl -qw net.ipv4.icmp_ratemask=0 net.ipv6.icmp.ratelimit=0
    ip netns exec s nft -f - <<EOF
table inet f {
  chain i {
    type filter hook input priority 0;
    ip daddr 10.2.0.4 reject with icmp admin-prohibited
    tcp dport 7 drop
  }
}
EOF
";

fn order(flight: u32, to: &str, ttl: u8, what: ProbePacket) -> SendOrder {
    let to = to.parse().unwrap();
    SendOrder { flight: Flight::Survey(flight), vantage: VantageId(0), to, ttl, ip_id: 1, what }
}

fn echo(flight: u32, to: &str, ttl: u8) -> SendOrder {
    let payload = [u8::try_from(flight).unwrap(); 24];
    // One sequence number for all: the payload or the destination must tell them apart.
    order(flight, to, ttl, ProbePacket::Echo { id: 1, seq: 5, payload })
}

fn syn(flight: u32, to: &str, ttl: u8, dest_port: u16) -> SendOrder {
    let what = ProbePacket::Syn { source_port: 61_000, dest_port, seq: 1, timestamp: None };
    order(flight, to, ttl, what)
}

/// Reads fates until there are so many or the time is over.
fn collect(hands: &mut Hands, clock: &Clock, (count, time): (usize, Duration)) -> Vec<Fate> {
    let mut fates = Vec::new();
    let begun = std::time::Instant::now();
    loop {
        hands.read(clock, |fate| fates.push(fate));
        let left = time.saturating_sub(begun.elapsed());
        if fates.len() >= count || left.is_zero() {
            break;
        }
        let interests: Vec<_> = hands.interests().collect();
        sys::wait(&interests, Some(left), &mut Vec::new()).unwrap();
    }
    fates.sort_by_key(|fate| match fate {
        Fate::Answered { flight, .. } | Fate::Failed { flight, .. } => *flight,
    });
    fates
}

fn answers(fates: &[Fate]) -> Vec<(u32, Answer)> {
    let answer = |fate: &Fate| match fate {
        Fate::Answered { flight: Flight::Survey(number), answer, .. } => (*number, *answer),
        Fate::Answered { .. } | Fate::Failed { .. } => panic!("{fate:?}"),
    };
    fates.iter().map(answer).collect()
}

/// Kind and sender of an ICMP answer.
fn icmp(answer: &Answer) -> (IcmpKind, String) {
    match answer {
        Answer::Icmp(icmp) => (icmp.kind, icmp.from.to_string()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn echoes_and_their_errors_are_told_apart() {
    if !in_namespace("sockets::tests::echoes_and_their_errors_are_told_apart") {
        return;
    }
    run(PATH);
    let clock = Clock::start();
    let place = Place::find(&Vantage::unbound("v")).unwrap();
    let mut hands = Hands::open(&place).unwrap();
    for order in [
        echo(1, "10.2.0.3", 64),
        echo(2, "10.2.0.3", 64),
        echo(3, "10.2.0.3", 1),
        echo(4, "10.2.0.4", 64),
        echo(5, "10.9.0.1", 64),
        echo(6, "fd00:2::3", 64),
        echo(7, "fd00:2::3", 1),
        echo(8, "fd00:9::3", 64),
    ] {
        hands.send(&order, &clock).unwrap();
    }
    let fates = collect(&mut hands, &clock, (8, SOON));
    let answers = answers(&fates);
    assert_eq!(answers.len(), 8, "{answers:?}");
    // The second router is one hop away: 64 - 1.
    let reply = Answer::EchoReply { ttl: Some(63) };
    assert_eq!(answers[..2], [(1, reply), (2, reply)]);
    assert_eq!(icmp(&answers[2].1), (IcmpKind::TimeExceeded, "10.1.0.2".to_owned()));
    assert_eq!(icmp(&answers[3].1), (IcmpKind::Prohibited, "10.2.0.4".to_owned()));
    assert_eq!(icmp(&answers[4].1), (IcmpKind::NetUnreachable, "10.1.0.2".to_owned()));
    assert_eq!(answers[5], (6, reply));
    assert_eq!(icmp(&answers[6].1), (IcmpKind::TimeExceeded, "fd00:1::2".to_owned()));
    assert_eq!(icmp(&answers[7].1), (IcmpKind::NetUnreachable, "fd00:1::2".to_owned()));
    for fate in &fates {
        let Fate::Answered { sent: Some(sent), at, .. } = fate else { panic!("{fate:?}") };
        assert!(at.at >= sent.at && at.at.since(sent.at) < Duration::from_secs(1), "{fate:?}");
    }
    // The witness agrees.
    let witness = runtime().block_on(async {
        oneshot_echo("10.2.0.3".parse().unwrap(), None, Duration::from_secs(1)).await.unwrap()
    });
    assert!(matches!(witness, Echo::Answered { .. }), "{witness:?}");
}

#[test]
fn syns_and_their_errors_are_told_apart() {
    if !in_namespace("sockets::tests::syns_and_their_errors_are_told_apart") {
        return;
    }
    run(PATH);
    run("ip route add 10.60.0.0/16 via 10.1.0.99");
    let clock = Clock::start();
    let place = Place::find(&Vantage::unbound("v")).unwrap();
    let mut hands = Hands::open(&place).unwrap();
    let unseen = TcpAnswer { ttl: None, window: None, ip_id: None };
    for order in [
        syn(1, "10.2.0.3", 64, 9),
        syn(2, "10.2.0.3", 1, 9),
        syn(3, "10.2.0.4", 64, 9),
        syn(4, "fd00:2::3", 64, 9),
        syn(5, "fd00:2::3", 1, 9),
        syn(6, "10.2.0.3", 64, 7),
    ] {
        hands.send(&order, &clock).unwrap();
    }
    let answers = answers(&collect(&mut hands, &clock, (5, SOON)));
    assert_eq!(answers[0], (1, Answer::Reset(unseen)));
    assert_eq!(icmp(&answers[1].1), (IcmpKind::TimeExceeded, "10.1.0.2".to_owned()));
    assert_eq!(icmp(&answers[2].1), (IcmpKind::Prohibited, "10.2.0.4".to_owned()));
    assert_eq!(answers[3], (4, Answer::Reset(unseen)));
    assert_eq!(icmp(&answers[4].1), (IcmpKind::TimeExceeded, "fd00:1::2".to_owned()));
    // The dropped one is silence: it ends without a fate, and its socket is closed.
    assert_eq!(collect(&mut hands, &clock, (1, AT_LEISURE)), []);
    assert_eq!(hands.interests().count(), 2);
    // Our own kernel's word on a silent gateway is a local fact; it comes after three seconds,
    // which an echo waits for and a connect does not.
    hands.send(&echo(7, "10.60.0.1", 64), &clock).unwrap();
    let error = LocalError::GatewaySilent;
    let told = collect(&mut hands, &clock, (1, AT_LEISURE));
    assert_eq!(told, [Fate::Failed { flight: Flight::Survey(7), error }]);
    run("ip route del default");
    let error = hands.send(&syn(8, "198.51.100.1", 64, 9), &clock);
    assert_eq!(error, Err(LocalError::NoRoute));
    let error = hands.send(&echo(9, "198.51.100.1", 64), &clock);
    assert_eq!(error, Err(LocalError::NoRoute));
}
