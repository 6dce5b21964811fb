//! The lab's own probes, simple enough to trust: they prove a topology, and stand beside the
//! prober as a second opinion.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::kernel::{self, Travel};
use crate::node::{Node, in_namespace};
use crate::packet::{ACK, Envelope, Icmp, Packet, RST, SYN, Segment};

/// What came back for a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An echo reply.
    EchoReply {
        /// Who sent it.
        from: IpAddr,
        /// The TTL or hop limit with which it arrived.
        ttl: u8,
    },
    /// An ICMP error that quotes the probe.
    IcmpError {
        /// Who sent it.
        from: IpAddr,
        /// The ICMP or ICMPv6 type.
        kind: u8,
        /// The code.
        code: u8,
    },
    /// A segment that takes the connection.
    SynAck {
        /// The TTL or hop limit with which it arrived.
        ttl: u8,
    },
    /// A reset.
    Reset {
        /// The TTL or hop limit with which it arrived.
        ttl: u8,
    },
}

impl Answer {
    /// Gives the sender of an echo reply or an ICMP error.
    pub fn from(self) -> Option<IpAddr> {
        match self {
            Self::EchoReply { from, .. } | Self::IcmpError { from, .. } => Some(from),
            Self::SynAck { .. } | Self::Reset { .. } => None,
        }
    }
}

/// Sends one echo request with the given TTL and gives the answer, if one comes in time.
pub fn ping(
    node: &Node,
    target: impl Into<IpAddr>,
    ttl: u8,
    within: Duration,
) -> Result<Option<Answer>> {
    let mut pinger = Pinger::new(node, target)?;
    pinger.send(ttl)?;
    pinger.answer(within)
}

/// Names the hops on the way to a target: one ping for each TTL, until the target answers.
pub fn trace(
    node: &Node,
    target: impl Into<IpAddr>,
    hops_max: u8,
    within: Duration,
) -> Result<Vec<Option<IpAddr>>> {
    let target = target.into();
    let mut hops = Vec::new();
    for ttl in 1..=hops_max {
        let answer = ping(node, target, ttl, within)?;
        hops.push(answer.and_then(Answer::from));
        if matches!(answer, Some(Answer::EchoReply { .. })) {
            break;
        }
    }
    Ok(hops)
}

/// Connects from a node through its kernel, and gives the kernel's own error.
pub fn connect(node: &Node, target: SocketAddr, within: Duration) -> Result<io::Result<TcpStream>> {
    in_namespace(node, || TcpStream::connect_timeout(&target, within))
}

/// Sends one SYN and gives the answers to it, until there are `wanted` or the time is over.
pub fn syn(
    node: &Node,
    target: SocketAddr,
    wanted: usize,
    within: Duration,
) -> Result<Vec<Answer>> {
    let mut wire = Wire::open(node, target.ip(), None)?;
    let source_port = FIRST_PORT + NEXT_IDENTIFIER.fetch_add(1, Ordering::Relaxed) % PORTS;
    let syn = Segment {
        source_port,
        target_port: target.port(),
        sequence: SEQUENCE,
        acknowledged: None,
        flags: Some(SYN),
    };
    wire.send(|envelope| envelope.tcp(syn), DEFAULT_TTL)?;
    let deadline = Instant::now() + within;
    let mut answers = Vec::new();
    while answers.len() < wanted {
        let Some(answer) = wire.receive(deadline, |packet| answer_to_syn(packet, target, syn))?
        else {
            break;
        };
        answers.push(answer);
    }
    Ok(answers)
}

/// Many echo requests to one target.
#[derive(Debug)]
pub struct Pinger {
    wire: Wire,
    identifier: u16,
    sequence: u16,
}

impl Pinger {
    /// Prepares to ping from the address that the node would choose.
    pub fn new(node: &Node, target: impl Into<IpAddr>) -> Result<Self> {
        Self::open(node, target.into(), None)
    }

    /// Prepares to ping from the given address of the node.
    pub fn with_source(
        node: &Node,
        target: impl Into<IpAddr>,
        source: impl Into<IpAddr>,
    ) -> Result<Self> {
        Self::open(node, target.into(), Some(source.into()))
    }

    /// Sends one request.
    pub fn send(&mut self, ttl: u8) -> Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let (identifier, sequence) = (self.identifier, self.sequence);
        self.wire.send(|envelope| envelope.echo(identifier, sequence), ttl)
    }

    /// Waits for the next answer to any of the requests.
    pub fn answer(&mut self, within: Duration) -> Result<Option<Answer>> {
        let identifier = self.identifier;
        self.wire.receive(Instant::now() + within, |packet| answer_to_echo(packet, identifier))
    }

    fn open(node: &Node, target: IpAddr, source: Option<IpAddr>) -> Result<Self> {
        let identifier = NEXT_IDENTIFIER.fetch_add(1, Ordering::Relaxed);
        Ok(Self { wire: Wire::open(node, target, source)?, identifier, sequence: 0 })
    }
}

/// A way to send whole packets to one target and to see what comes back.
#[derive(Debug)]
struct Wire {
    outlet: OwnedFd,
    inlet: OwnedFd,
    source: IpAddr,
    target: IpAddr,
}

impl Wire {
    fn open(node: &Node, target: IpAddr, source: Option<IpAddr>) -> Result<Self> {
        let open = || -> io::Result<Self> {
            let source = match source {
                Some(source) => source,
                None => chosen_source(target)?,
            };
            let inlet = kernel::packet_socket()?;
            Ok(Self { outlet: kernel::raw_socket(target)?, inlet, source, target })
        };
        in_namespace(node, open)?.with_context(|| format!("prepare to probe {target} from {node}"))
    }

    fn send(&self, build: impl Fn(Envelope) -> Vec<u8>, ttl: u8) -> Result<()> {
        let envelope = Envelope { source: self.source, target: self.target, ttl };
        kernel::send_raw(&self.outlet, &build(envelope), self.target)
            .with_context(|| format!("send a probe to {}", self.target))
    }

    fn receive(
        &mut self,
        deadline: Instant,
        wanted: impl Fn(&Packet<'_>) -> Option<Answer>,
    ) -> Result<Option<Answer>> {
        let mut buffer = [0; 2048];
        loop {
            let received = kernel::receive_packet(&self.inlet, &mut buffer).context("receive")?;
            if let Some((length, travel)) = received {
                let packet = Packet::parse(&buffer[..length]);
                let answer = packet.filter(|_| travel == Travel::Incoming).and_then(|p| wanted(&p));
                if answer.is_some() {
                    return Ok(answer);
                }
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            kernel::wait_readable([self.inlet.as_fd()], Some(left)).context("wait")?;
        }
    }
}

fn chosen_source(target: IpAddr) -> io::Result<IpAddr> {
    let any: SocketAddr = match target {
        IpAddr::V4(_) => ([0; 4], 0).into(),
        IpAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect((target, 9))?;
    Ok(socket.local_addr()?.ip())
}

fn answer_to_echo(packet: &Packet<'_>, identifier: u16) -> Option<Answer> {
    match packet.icmp()? {
        Icmp::EchoReply((id, _)) if id == identifier => {
            Some(Answer::EchoReply { from: packet.source, ttl: packet.ttl })
        }
        Icmp::Error { kind, code, quote } => match Packet::parse(quote)?.icmp()? {
            Icmp::EchoRequest((id, _)) if id == identifier => {
                Some(Answer::IcmpError { from: packet.source, kind, code })
            }
            _ => None,
        },
        Icmp::EchoReply(_) | Icmp::EchoRequest(_) => None,
    }
}

fn answer_to_syn(packet: &Packet<'_>, target: SocketAddr, syn: Segment) -> Option<Answer> {
    if let Some(Icmp::Error { kind, code, quote }) = packet.icmp() {
        let quoted = Packet::parse(quote)?.tcp()?;
        let ours = (quoted.source_port, quoted.target_port) == (syn.source_port, syn.target_port);
        return ours.then_some(Answer::IcmpError { from: packet.source, kind, code });
    }
    let segment = packet.tcp()?;
    let ports = (segment.source_port, segment.target_port);
    let ours = packet.source == target.ip() && ports == (syn.target_port, syn.source_port);
    match segment.flags? {
        _ if !ours => None,
        flags if flags & RST != 0 => Some(Answer::Reset { ttl: packet.ttl }),
        flags if flags & (SYN | ACK) == SYN | ACK => Some(Answer::SynAck { ttl: packet.ttl }),
        _ => None,
    }
}

/// The TTL of probes that are meant to arrive.
pub const DEFAULT_TTL: u8 = 64;

static NEXT_IDENTIFIER: AtomicU16 = AtomicU16::new(1);

/// Below the kernel's own range of ports, so no connection of the node's is in the way.
const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 10_000;
const SEQUENCE: u32 = 0x1ab0_0001;
