//! Full connections through the virtual Internet, as the kernel's own TCP would make them.

use std::time::Duration;

use reachd_core::evidence::{
    ConnectReport, ConnectResult, IcmpAnswer, IcmpKind, LocalError, ServiceAnswer,
};
use reachd_core::monitor::ConnectOrder;
use reachd_core::target::Service;
use reachd_core::time::Instant;
use reachd_core::wire::icmp::Icmp;
use reachd_core::wire::packet::{Body, Checksums, Packet, SynSpec, emit_syn};

use crate::host::{Port, Speaks};
use crate::world::{LocalFault, World};

/// When Linux sends a SYN again.
const SYNS: [u64; 3] = [0, 1_000, 3_000];
/// When it sends the request again.
const REQUESTS: [u64; 4] = [0, 300, 900, 2_100];

impl World {
    /// Makes one full connection; gives when it ends and how.
    pub fn connect(
        &mut self,
        now: Instant,
        from: &str,
        order: &ConnectOrder,
    ) -> (Duration, ConnectReport) {
        let fault = self.places.get(from).map_or(LocalFault::None, |place| place.fault);
        let mut report = ConnectReport {
            result: ConnectResult::TimedOut,
            handshake: None,
            retransmits: None,
            service: None,
            service_time: None,
            local_port: Some(40_000),
        };
        if let Some(error) = fault.refuses(Some(order.to.port())) {
            report.result = ConnectResult::Local(error);
            return (Duration::ZERO, report);
        }
        if matches!(fault, LocalFault::Swallows | LocalFault::EatsAnswers) {
            return (order.connect_timeout, report);
        }
        let answered = self.first_answer(now, from, (order, &SYNS));
        let Some((after, result)) = answered.filter(|(after, _)| *after <= order.connect_timeout)
        else {
            return (order.connect_timeout, report);
        };
        report.result = result;
        if report.result != ConnectResult::Connected {
            return (after, report);
        }
        report.handshake = Some(after);
        self.talk(now, from, (order, after), report)
    }

    fn talk(
        &mut self,
        now: Instant,
        from: &str,
        (order, connected): (&ConnectOrder, Duration),
        mut report: ConnectReport,
    ) -> (Duration, ConnectReport) {
        let asks = match order.service {
            Service::Rdp | Service::Ssh => true,
            Service::Tcp => order.expect_banner.is_some() || order.send.is_some(),
            Service::Ping => false,
        };
        if !asks {
            report.service = Some(ServiceAnswer::NotAsked);
            return (connected, report);
        }
        // What a SYN proxy accepted, a dead host never hears of.
        let host = self.hosts.get(&order.to.ip()).filter(|host| host.alive);
        let speaks = host.map(|host| host.port(order.to.port()).clone());
        let answered = self.first_answer(now + connected, from, (order, &REQUESTS));
        let (took, answer) = match (speaks, answered) {
            (Some(Port::Open(Speaks::Expected)), Some((took, ConnectResult::Connected))) => {
                let selected = (order.service == Service::Rdp).then_some(2);
                let detail = "CredSSP (NLA)".to_owned();
                (took, ServiceAnswer::Confirmed { selected, detail })
            }
            (Some(Port::Open(Speaks::Foreign(hint))), Some((took, ConnectResult::Connected))) => {
                (took, ServiceAnswer::Foreign { hint })
            }
            (Some(Port::Open(Speaks::Refuses(code))), Some((took, ConnectResult::Connected))) => {
                (took, ServiceAnswer::Refused { code })
            }
            (
                Some(Port::Open(Speaks::Closes { reset })),
                Some((took, ConnectResult::Connected)),
            ) => (took, ServiceAnswer::Closed { reset }),
            _ => (order.service_timeout, ServiceAnswer::Silent),
        };
        report.service_time = Some(took).filter(|_| answer != ServiceAnswer::Silent);
        report.service = Some(answer);
        (connected + took, report)
    }

    /// Sends SYNs at these offsets until one is answered. What carries a request meets the same
    /// fate as a SYN, so both are asked this way.
    fn first_answer(
        &mut self,
        now: Instant,
        from: &str,
        (order, offsets): (&ConnectOrder, &[u64]),
    ) -> Option<(Duration, ConnectResult)> {
        let source = self.places.get(from)?.address(order.to.ip());
        for offset in offsets {
            let offset = Duration::from_millis(*offset);
            let port = u16::try_from(self.random.below(20_000)).unwrap_or_default() + 35_000;
            let syn = emit_syn(&SynSpec {
                source,
                dest: order.to.ip(),
                ttl: 64,
                ip_id: 0,
                source_port: port,
                dest_port: order.to.port(),
                seq: 1,
                mss: 1_460,
                timestamp: Some(1),
            })?;
            let came = self.carry(now + offset, from, &syn);
            let first = came.iter().min_by_key(|delivery| delivery.after);
            let read = first.and_then(|first| Some((first.after, read(&first.bytes)?)));
            if let Some((after, result)) = read {
                return Some((offset + after, result));
            }
        }
        None
    }
}

fn read(bytes: &[u8]) -> Option<ConnectResult> {
    let packet = Packet::parse(bytes, Checksums::Verify).ok()?;
    match packet.body {
        Body::Tcp(segment) if segment.flags.rst() => Some(ConnectResult::Refused),
        Body::Tcp(_) => Some(ConnectResult::Connected),
        Body::Icmp(Icmp::Error(error)) => {
            let kind = if packet.source.is_ipv4() {
                IcmpKind::from_v4(error.ty, error.code)
            } else {
                IcmpKind::from_v6(error.ty, error.code)
            };
            let (ty, code, ttl) = (error.ty, error.code, Some(packet.ttl));
            Some(ConnectResult::Icmp(IcmpAnswer {
                from: packet.source,
                kind: kind?,
                ty,
                code,
                ttl,
            }))
        }
        Body::Icmp(_) | Body::Udp(_) | Body::Fragment | Body::Other { .. } => None,
    }
}

impl LocalFault {
    /// Whether the kernel refuses a packet toward this TCP port, or an echo, and why.
    pub fn refuses(self, port: Option<u16>) -> Option<LocalError> {
        match self {
            Self::Refuses(error) => Some(error),
            Self::RefusesPort(blocked, error) => (port == Some(blocked)).then_some(error),
            Self::None | Self::Swallows | Self::EatsAnswers => None,
        }
    }
}
