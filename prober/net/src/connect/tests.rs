use super::*;
use crate::testing::{in_namespace, run, runtime};
use reachd_core::evidence::{IcmpKind, ServiceAnswer};
use reachd_core::monitor::Flight;
use reachd_core::target::Service;
use reachd_core::vantage::{Vantage, VantageId};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Instant;

fn order(to: &str, service: Service) -> ConnectOrder {
    ConnectOrder {
        flight: Flight::Survey(1),
        vantage: VantageId(0),
        to: to.parse().unwrap(),
        service,
        expect_banner: None,
        send: None,
        connect_timeout: Duration::from_millis(500),
        service_timeout: Duration::from_millis(300),
    }
}

fn place() -> Place {
    Place::find(&Vantage::unbound("v")).unwrap()
}

fn connect_to(to: &str) -> ConnectReport {
    runtime().block_on(async { connect(&order(to, Service::Tcp), &place()).await.0 })
}

/// Answers one connection with these bytes and tells how the peer ended it.
fn server(answer: &'static [u8]) -> (String, std::thread::JoinHandle<io::Result<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        stream.write_all(answer)?;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest)
    });
    (address, thread)
}

#[test]
fn a_greeting_is_heard_and_the_end_is_a_fin() {
    let (address, thread) = server(b"SSH-2.0-OpenSSH_9.2\r\n and more that is never read");
    let runtime = runtime();
    let report = runtime.block_on(async {
        let (report, stream) = connect(&order(&address, Service::Ssh), &place()).await;
        talk::part(stream.unwrap()).await;
        report
    });
    assert_eq!(report.result, ConnectResult::Connected);
    assert!(matches!(report.service, Some(ServiceAnswer::Confirmed { .. })), "{report:?}");
    assert!(report.handshake.unwrap() < Duration::from_millis(100));
    assert_eq!(report.retransmits, Some(0));
    assert!(report.service_time.is_some() && report.local_port.is_some());
    // A reset would be an error here.
    assert_eq!(thread.join().unwrap().unwrap(), 0);
}

#[test]
fn endings_without_an_answer_differ() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        let silent = listener.accept().unwrap();
        drop(listener.accept().unwrap());
        let (reset, _) = listener.accept().unwrap();
        // Closing with unread data resets; the request is there when it can be peeked at.
        assert_eq!(reset.peek(&mut [0]).unwrap(), 1);
        drop(reset);
        silent
    });
    let runtime = runtime();
    let ask = || runtime.block_on(connect(&order(&address, Service::Rdp), &place())).0.service;
    assert_eq!(ask(), Some(ServiceAnswer::Silent));
    assert!(matches!(ask(), Some(ServiceAnswer::Closed { .. })));
    assert_eq!(ask(), Some(ServiceAnswer::Closed { reset: true, heard: 0 }));
    drop(thread.join().unwrap());
    let refused = runtime.block_on(connect(&order(&address, Service::Rdp), &place())).0;
    assert_eq!(refused.result, ConnectResult::Refused);
    assert_eq!(refused.service, None);
}

#[test]
fn a_reset_behind_the_handshake_is_the_answer_of_the_service() {
    let error = io::Error::from_raw_os_error(libc::ECONNRESET);
    assert_eq!(explain_errno(Some(&error)), ConnectResult::Connected);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    const TIMES: usize = 40;
    let thread = std::thread::spawn(move || {
        for stream in listener.incoming().take(TIMES).flatten() {
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
    });
    let (runtime, order, place) = (runtime(), order(&address, Service::Rdp), place());
    // Whether the reset comes before or behind the request is chance.
    for _ in 0..TIMES {
        let report = runtime.block_on(connect(&order, &place)).0;
        assert_eq!(report.result, ConnectResult::Connected);
        assert_eq!(report.service, Some(ServiceAnswer::Closed { reset: true, heard: 0 }));
    }
    thread.join().unwrap();
}

/// A far network behind a router that rejects in every way, all in namespaces.
const ROUTER: &str = "
    mount -t tmpfs none /run
    ip netns add r
    ip link add va type veth peer name vb netns r
    ip addr add 10.1.0.1/24 dev va; ip link set va up
    ip -6 addr add fd00:1::1/64 dev va nodad
    ip -n r addr add 10.1.0.2/24 dev vb; ip -n r link set vb up; ip -n r link set lo up
    ip -n r -6 addr add fd00:1::2/64 dev vb nodad
    ip route add default via 10.1.0.2
    ip -6 route add default via fd00:1::2
    ip -n r addr add 10.5.0.1/32 dev lo
    ip netns exec r sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
    ip netns exec r sysctl -qw net.ipv4.icmp_ratemask=0
    ip netns exec r nft -f - <<EOF
table inet f {
  chain p {
    type filter hook prerouting priority 0;
    ip daddr 10.5.0.10 tcp dport 1 drop
  }
  chain i {
    type filter hook input priority 0;
    ip daddr 10.5.0.1 tcp dport 2 reject with icmp port-unreachable
    ip daddr 10.5.0.1 tcp dport 3 reject with icmp admin-prohibited
    ip daddr 10.5.0.1 tcp dport 4 reject with icmp host-unreachable
    ip daddr 10.5.0.1 tcp dport 5 reject with tcp reset
    ip daddr 10.5.0.1 tcp dport 6 drop
    ip6 daddr fd00:1::2 tcp dport 3 reject with icmpv6 admin-prohibited
  }
}
EOF
";

#[test]
fn the_error_queue_tells_what_the_errno_hides() {
    if !in_namespace("connect::tests::the_error_queue_tells_what_the_errno_hides") {
        return;
    }
    run(ROUTER);
    let icmp = |to: &str| match connect_to(to).result {
        ConnectResult::Icmp(answer) => (answer.kind, answer.ty, answer.code, answer.from),
        other => panic!("{to}: {other:?}"),
    };
    let router = "10.5.0.1".parse().unwrap();
    assert_eq!(icmp("10.5.0.1:2"), (IcmpKind::PortUnreachable, 3, 3, router));
    assert_eq!(icmp("10.5.0.1:3"), (IcmpKind::Prohibited, 3, 13, router));
    assert_eq!(icmp("10.5.0.1:4"), (IcmpKind::HostUnreachable, 3, 1, router));
    let router = "10.1.0.2".parse().unwrap();
    assert_eq!(icmp("10.77.0.1:1"), (IcmpKind::NetUnreachable, 3, 0, router));
    let router = "fd00:1::2".parse().unwrap();
    assert_eq!(icmp("[fd00:1::2]:3"), (IcmpKind::Prohibited, 1, 1, router));
    assert_eq!(icmp("[fd00:9::1]:3"), (IcmpKind::NetUnreachable, 1, 0, router));
    assert_eq!(connect_to("10.5.0.1:5").result, ConnectResult::Refused);
    assert_eq!(connect_to("10.5.0.1:7").result, ConnectResult::Refused);
    assert_eq!(connect_to("10.5.0.1:6").result, ConnectResult::TimedOut);
}

#[test]
fn our_own_faults_are_local_facts() {
    if !in_namespace("connect::tests::our_own_faults_are_local_facts") {
        return;
    }
    run(ROUTER);
    run("ip route add 10.60.0.0/16 via 10.1.0.99; ip route del default; \
         nft add table inet f; nft add chain inet f o '{ type filter hook output priority 0; }'; \
         nft add rule inet f o tcp dport 8 reject with icmpx admin-prohibited");
    let local = |to: &str, limit: u64| {
        let connect_timeout = Duration::from_secs(limit);
        let order = ConnectOrder { connect_timeout, ..order(to, Service::Tcp) };
        runtime().block_on(async { connect(&order, &place()).await.0.result })
    };
    assert_eq!(local("10.66.0.1:1", 1), ConnectResult::Local(LocalError::NoRoute));
    assert_eq!(local("10.1.0.2:8", 1), ConnectResult::Local(LocalError::Blocked));
    // Nobody answers for the gateway: our own kernel says so after three seconds.
    let begun = Instant::now();
    assert_eq!(local("10.60.0.1:1", 6), ConnectResult::Local(LocalError::GatewaySilent));
    assert!(begun.elapsed() < Duration::from_secs(5));
}
