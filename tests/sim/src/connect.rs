//! Full connections through the virtual Internet, as the kernel's own TCP would make them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use reachd_core::evidence::{
    ConnectReport, ConnectResult, IcmpAnswer, IcmpKind, LocalError, ServiceAnswer,
};
use reachd_core::monitor::{ConnectOrder, Direction};
use reachd_core::target::Service;
use reachd_core::time::Instant;
use reachd_core::wire::icmp::Icmp;
use reachd_core::wire::packet::{
    Body, Checksums, Packet, SegmentSpec, SynSpec, emit_segment, emit_syn,
};
use reachd_core::wire::reply::{Stack, emit_rst_ack};
use reachd_core::wire::tcp::{Flags, Options, Segment};
use reachd_core::wire::x224::CONNECTION_REQUEST;
use reachd_core::wording::Wording;

use crate::host::{Port, Speaks};
use crate::rdp::Said;
use crate::world::{Delivery, LocalFault, World};

/// When Linux sends a SYN again.
pub(crate) const SYNS: [u64; 3] = [0, 1_000, 3_000];
/// When it sends the request again.
pub(crate) const REQUESTS: [u64; 4] = [0, 300, 900, 2_100];
/// The number of the kernel's SYNs.
const ISN: u32 = 1;

/// A full connection, as its socket and the ring see it.
#[derive(Debug)]
pub struct Connection {
    /// How long it took until the report.
    pub took: Duration,
    /// What the socket tells.
    pub report: ConnectReport,
    /// Its packets, and how long after the order each passed our own device.
    pub frames: Vec<(Duration, Direction, Vec<u8>)>,
}

/// A packet that drew an answer: when it left, what it was, and the first that came back.
pub(crate) struct Answered {
    offset: Duration,
    sent: Vec<u8>,
    pub(crate) first: Delivery,
}

impl Answered {
    /// When the answer came.
    pub(crate) fn at(&self) -> Duration {
        self.offset + self.first.after
    }

    /// What the ring sees of both, `later` than the order.
    fn frames(self, later: Duration) -> [(Duration, Direction, Vec<u8>); 2] {
        let came = later + self.at();
        [
            (later + self.offset, Direction::Sent, self.sent),
            (came, Direction::Received, self.first.bytes),
        ]
    }
}

impl World {
    /// Makes one full connection.
    pub fn connect(&mut self, now: Instant, from: &str, order: &ConnectOrder) -> Connection {
        let fault = self.places.get(from).map_or(LocalFault::None, |place| place.fault);
        let mut report = ConnectReport {
            result: ConnectResult::TimedOut,
            handshake: None,
            retransmits: None,
            service: None,
            service_time: None,
            local_port: Some(40_000),
        };
        let over = |took, report| Connection { took, report, frames: Vec::new() };
        if let Some(error) = fault.refuses(order.to.ip(), Some(order.to.port())) {
            report.result = ConnectResult::Local(error);
            return over(Duration::ZERO, report);
        }
        if fault == LocalFault::Swallows {
            return over(order.connect_timeout, report);
        }
        let answered = self.first_answer(now, from, &SYNS, |world| world.dial(from, order.to));
        if fault == LocalFault::EatsAnswers {
            // The ring stands before whatever eats it.
            let port = answered.as_ref().and_then(|answered| dialled(&answered.first.bytes));
            report.local_port = port.or(report.local_port);
            let frames = answered.map(|answered| Vec::from(answered.frames(Duration::ZERO)));
            let frames = frames.unwrap_or_default();
            return Connection { took: order.connect_timeout, report, frames };
        }
        let answered = answered.filter(|answered| answered.at() <= order.connect_timeout);
        let read = answered.and_then(|answered| Some((read(&answered.first.bytes)?, answered)));
        let Some((result, answered)) = read else { return over(order.connect_timeout, report) };
        report.result = result;
        let took = answered.at();
        if report.result != ConnectResult::Connected {
            return over(took, report);
        }
        report.handshake = Some(answered.first.after);
        let accepted = answered.first.bytes.clone();
        let frames = Vec::from(answered.frames(Duration::ZERO));
        self.talk((now, from), order, (took, &accepted), Connection { took, report, frames })
    }

    fn talk(
        &mut self,
        (now, from): (Instant, &str),
        order: &ConnectOrder,
        (connected, accepted): (Duration, &[u8]),
        mut done: Connection,
    ) -> Connection {
        let asks = match order.service {
            Service::Rdp | Service::Ssh => true,
            Service::Tcp => order.expect_banner.is_some() || order.send.is_some(),
            Service::Ping => false,
        };
        let Some((request, port)) = ask(order, accepted).filter(|_| asks) else {
            done.report.service = Some(ServiceAnswer::NotAsked);
            return done;
        };
        done.report.local_port = Some(port);
        self.talking = true;
        let later = now + connected;
        let answered = self.first_answer(later, from, &REQUESTS, |_| Some(request.clone()));
        self.talking = false;
        let speaks = self.hosts.get(&order.to.ip()).map(|host| host.port(order.to.port()).clone());
        // A host whose service is late has the request: only who never answers leaves it open.
        let lost = answered.is_none();
        let heard = answered.filter(|answered| answered.at() <= order.service_timeout);
        let answer = heard.as_ref().and_then(|heard| said(&heard.first.bytes, speaks, order));
        let took = heard.as_ref().map(Answered::at).filter(|_| answer.is_some());
        match heard {
            Some(heard) => done.frames.extend(heard.frames(connected)),
            None if lost => done.frames.push((connected, Direction::Sent, request)),
            None => {}
        }
        let closed = matches!(answer, Some(ServiceAnswer::Closed { .. }));
        done.report.service_time = took.filter(|_| !closed);
        done.report.service = Some(answer.unwrap_or(ServiceAnswer::Silent));
        done.took = connected + took.unwrap_or(order.service_timeout);
        done
    }

    /// The SYN of a connection, from any port.
    pub(crate) fn dial(&mut self, from: &str, to: SocketAddr) -> Option<Vec<u8>> {
        let source = self.places.get(from)?.address(to.ip());
        let port = u16::try_from(self.random.below(20_000)).unwrap_or_default() + 35_000;
        emit_syn(&SynSpec {
            source,
            dest: to.ip(),
            ttl: 64,
            ip_id: 0,
            source_port: port,
            dest_port: to.port(),
            seq: ISN,
            mss: 1_460,
            timestamp: Some(1),
        })
    }

    /// Sends packets at these offsets until one is answered.
    pub(crate) fn first_answer(
        &mut self,
        now: Instant,
        from: &str,
        offsets: &[u64],
        write: impl Fn(&mut Self) -> Option<Vec<u8>>,
    ) -> Option<Answered> {
        for offset in offsets {
            let offset = Duration::from_millis(*offset);
            let sent = write(self)?;
            let came = self.carry(now + offset, from, &sent);
            let first = came.into_iter().min_by_key(|delivery| delivery.after);
            if let Some(first) = first.filter(|first| read(&first.bytes).is_some()) {
                return Some(Answered { offset, sent, first });
            }
        }
        None
    }
}

/// The port of ours that a segment came to.
fn dialled(answer: &[u8]) -> Option<u16> {
    match Packet::parse(answer, Checksums::Verify).ok()?.body {
        Body::Tcp(segment) => Some(segment.dest_port),
        Body::Icmp(_) | Body::Udp(_) | Body::Fragment | Body::Other { .. } => None,
    }
}

/// The first segment behind the handshake, and our port: what the client says, or nothing where the
/// server speaks first.
fn ask(order: &ConnectOrder, accepted: &[u8]) -> Option<(Vec<u8>, u16)> {
    let payload: &[u8] = match order.service {
        Service::Rdp => &CONNECTION_REQUEST,
        Service::Tcp => order.send.as_deref().unwrap_or_default().as_bytes(),
        Service::Ssh | Service::Ping => &[],
    };
    behind(accepted, payload)
}

/// A segment of ours on the connection that this packet accepted, and our port.
pub(crate) fn behind(accepted: &[u8], payload: &[u8]) -> Option<(Vec<u8>, u16)> {
    let packet = Packet::parse(accepted, Checksums::Verify).ok()?;
    let Body::Tcp(segment) = packet.body else { return None };
    let request = emit_segment(&SegmentSpec {
        source: (packet.dest, segment.dest_port).into(),
        dest: (packet.source, segment.source_port).into(),
        ttl: 64,
        ip_id: 0,
        seq: ISN + 1,
        ack: segment.seq.wrapping_add(1),
        payload,
    });
    Some((request?, segment.dest_port))
}

/// What came back on a connection says, where its port speaks so; `None` for a bare acknowledgement.
fn said(bytes: &[u8], speaks: Option<Port>, order: &ConnectOrder) -> Option<ServiceAnswer> {
    let packet = Packet::parse(bytes, Checksums::Verify).ok()?;
    let Body::Tcp(segment) = packet.body else { return None };
    if segment.flags.rst() || segment.flags.fin() {
        return Some(ServiceAnswer::Closed { reset: segment.flags.rst(), heard: 0 });
    }
    match speaks.filter(|_| !segment.payload.is_empty())? {
        Port::Open(Speaks::Foreign(hint)) => {
            Some(ServiceAnswer::Foreign { hint: Wording::same(hint) })
        }
        Port::Open(Speaks::Refuses(code)) => Some(ServiceAnswer::Refused { code }),
        Port::Open(Speaks::PlainOnly) => Some(ServiceAnswer::Refused { code: 2 }),
        _ => {
            let selected = (order.service == Service::Rdp).then_some(2);
            let detail = Wording::same("CredSSP (NLA)");
            Some(ServiceAnswer::Confirmed { selected, detail })
        }
    }
}

impl Speaks {
    /// What a host's port answers to a segment of a connection, and how much later than it could.
    pub(crate) fn reply(&self, request: &[u8], stack: &Stack) -> Option<(Vec<u8>, Duration)> {
        let asked = Packet::parse(request, Checksums::Verify).ok()?;
        let Body::Tcp(segment) = asked.body else { return None };
        let said = self.says(segment.dest_port, segment.payload);
        let flags = match said {
            Said::Nothing => Flags::ACK,
            Said::Resets => return Some((emit_rst_ack(request, stack)?, Duration::ZERO)),
            Said::Closes => Flags::FIN | Flags::ACK,
            Said::Words(_) => Flags::PSH | Flags::ACK,
        };
        let payload = if let Said::Words(words) = said { words } else { Vec::new() };
        let data = u32::try_from(segment.payload.len()).unwrap_or_default();
        let body = Body::Tcp(Segment {
            source_port: segment.dest_port,
            dest_port: segment.source_port,
            seq: segment.ack,
            ack: segment.seq.wrapping_add(data),
            flags,
            window: stack.window,
            options: Options::default(),
            payload: &payload,
        });
        let (source, dest, ttl) = (asked.dest, asked.source, stack.ttl);
        let (ip_id, dont_fragment) = (Some(stack.ip_id), true);
        let packet = Packet { source, dest, ttl, ip_id, dont_fragment, total_len: 0, body };
        let late = if let Self::Late(time) = self { *time } else { Duration::ZERO };
        Some((packet.emit()?, late))
    }
}

pub(crate) fn read(bytes: &[u8]) -> Option<ConnectResult> {
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
    /// Whether the kernel refuses a packet toward this address and TCP port, or an echo, and why.
    pub fn refuses(self, to: IpAddr, port: Option<u16>) -> Option<LocalError> {
        match self {
            Self::RefusesV6(error) => to.is_ipv6().then_some(error),
            Self::Refuses(error) => Some(error),
            Self::RefusesPort(blocked, error) => (port == Some(blocked)).then_some(error),
            Self::None | Self::Swallows | Self::EatsAnswers => None,
        }
    }
}
