//! Probes as they leave: what each hides, and by what it will be known again.

use std::net::IpAddr;

use super::{FIRST_PORT, Flights, Flow, InFlight, Purpose, Stage, ViewKey, Wire};
use crate::monitor::{Flight, ProbePacket, SendOrder, TapId};
use crate::plan::VERDICT_TIMER;
use crate::probe::{Ask, Question};
use crate::secret::low16;
use crate::sweep::SWEEP_PORT;
use crate::time::Instant;
use crate::vantage::VantageId;

impl Flights {
    /// Writes one probe; `survey` tells the passes of different surveys apart.
    pub(in crate::monitor) fn order(
        &mut self,
        now: Instant,
        route: (ViewKey, Purpose, IpAddr),
        ask: &Ask,
        (tap, survey): (Option<TapId>, u64),
    ) -> SendOrder {
        let (key, purpose, to) = route;
        let flight = self.token();
        let vantage = key.vantage;
        let ip_id = self.ip_id(to, flight);
        let (wire, what) = match ask.what {
            Question::Echo => self.echo(to, flight, vantage),
            Question::Syn { port } => {
                let flow = self.fresh_flow(to, port);
                self.syn(flow, port, None)
            }
            Question::FlowSyn { port, pass } => {
                let flow = self.pass_flow((key.clone(), pass, survey), to, port);
                self.syn(flow, port, Some(self.timestamp(to, flight, ask.ttl)))
            }
            Question::SameFlow { port, source_port } => {
                let flow = self.flow(to, port, source_port);
                self.syn(flow, port, Some(self.timestamp(to, flight, ask.ttl)))
            }
            Question::SizedEcho { size } => {
                let (wire, what) = self.echo(to, flight, vantage);
                (wire, sized(what, size))
            }
            Question::Segment { port, size } => self.segment((to, port), flight, size),
        };
        self.index(to, &wire, flight);
        self.deadlines.insert((now + VERDICT_TIMER, flight, Stage::Verdict));
        let ttl = ask.ttl;
        self.by_view.insert((key.clone(), flight));
        let probe = InFlight::new(key, purpose, (to, ttl), wire);
        self.flying.insert(flight, InFlight { ip_id, ordered: now, tap, ..probe });
        SendOrder { flight, vantage, to, ttl, ip_id, what }
    }

    fn ip_id(&self, to: IpAddr, flight: Flight) -> u16 {
        low16(self.secret.hash_address(to, number(flight), 4)).max(1)
    }

    fn echo(&mut self, to: IpAddr, flight: Flight, vantage: VantageId) -> (Wire, ProbePacket) {
        let id = low16(self.secret.hash_address(to, u64::from(vantage.0), 5));
        self.next_seq = self.next_seq.wrapping_add(1);
        let seq = self.next_seq;
        let proof = self.secret.hash_address(to, number(flight), 6).to_be_bytes();
        let mut payload = [0; 24];
        for (byte, value) in payload.iter_mut().zip(proof) {
            *byte = value;
        }
        (Wire::Echo { id, seq, proof }, ProbePacket::Echo { id, seq, payload })
    }

    fn syn(&self, flow: Flow, dest_port: u16, timestamp: Option<u32>) -> (Wire, ProbePacket) {
        let Flow { source_port, isn } = flow;
        (
            Wire::Syn { source_port, dest_port, isn, timestamp },
            ProbePacket::Syn { source_port, dest_port, seq: isn, timestamp },
        )
    }

    /// A flow that no probe in flight has.
    fn fresh_flow(&mut self, to: IpAddr, port: u16) -> Flow {
        let range = SWEEP_PORT - FIRST_PORT;
        for _ in 0..range {
            self.next_port = (self.next_port + 1) % range;
            if !self.by_flow.contains_key(&(to, port, FIRST_PORT + self.next_port)) {
                break;
            }
        }
        self.flow(to, port, FIRST_PORT + self.next_port)
    }

    /// The flow of this source port. Its number is always the same, so that a SYN asked again is a
    /// repetition to a host that still waits for the end of the first handshake.
    fn flow(&self, to: IpAddr, port: u16, source_port: u16) -> Flow {
        let ports = u64::from(port) << 16 | u64::from(source_port);
        Flow { source_port, isn: low32(self.secret.hash_address(to, ports, 7)) }
    }

    /// The time stamp that tells the SYNs of one flow apart.
    fn timestamp(&self, to: IpAddr, flight: Flight, ttl: u8) -> u32 {
        low32(self.secret.hash_address(to, number(flight), u64::from(ttl))).max(1)
    }

    fn segment(
        &mut self,
        (to, dest_port): (IpAddr, u16),
        flight: Flight,
        size: u16,
    ) -> (Wire, ProbePacket) {
        let Flow { source_port, isn: seq } = self.fresh_flow(to, dest_port);
        let ack = low32(self.secret.hash_address(to, number(flight), 10));
        (
            Wire::Segment { source_port, dest_port, seq, ack },
            ProbePacket::Segment { source_port, dest_port, seq, ack, size },
        )
    }

    fn pass_flow(&mut self, pass: (ViewKey, u8, u64), to: IpAddr, port: u16) -> Flow {
        if let Some(flow) = self.passes.get(&pass) {
            return *flow;
        }
        let flow = self.fresh_flow(to, port);
        // Of one view only one survey runs: the flows of those before it are over.
        for known in self.passes_of(&pass.0) {
            if known.2 != pass.2 {
                self.passes.remove(&known);
            }
        }
        self.passes.insert(pass, flow);
        flow
    }

    pub(super) fn passes_of(&self, view: &ViewKey) -> Vec<(ViewKey, u8, u64)> {
        let of_view = (view.clone(), 0, 0)..=(view.clone(), u8::MAX, u64::MAX);
        self.passes.range(of_view).map(|(pass, _)| pass.clone()).collect()
    }
}

/// The same echo, filled up to this many bytes on the wire.
fn sized(echo: ProbePacket, size: u16) -> ProbePacket {
    match echo {
        ProbePacket::Echo { id, seq, payload } => ProbePacket::SizedEcho { id, seq, payload, size },
        other => other,
    }
}

fn number(flight: Flight) -> u64 {
    match flight {
        Flight::Survey(number) => number.into(),
        // Those of the sweep are kept in its rows.
        Flight::Sweep(_) => 0,
    }
}

fn low32(word: u64) -> u32 {
    u32::try_from(word & u64::from(u32::MAX)).unwrap_or_default()
}
