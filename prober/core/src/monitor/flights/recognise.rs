//! Whose answer it is: what a received packet proves.

use super::{Flight, Flights, InFlight, Wire};
use crate::evidence::{Answer, AnswerKind, IcmpAnswer, IcmpKind, InvalidReason, TcpAnswer};
use crate::wire::icmp::{Icmp, IcmpError};
use crate::wire::packet::{Body, Packet};
use crate::wire::quote::QuotedTransport;
use crate::wire::{Family, tcp};

impl Flights {
    /// Finds the probe a received packet proves to have seen, and what it says of it.
    pub(super) fn recognise(&mut self, packet: &Packet<'_>) -> Option<(Flight, Answer)> {
        let found = match packet.body {
            Body::Icmp(Icmp::EchoReply { id, seq, payload }) => {
                let flight = *self.by_echo.get(&(packet.source, id, seq))?;
                let proven = self.flying.get(&flight).is_some_and(|probe| {
                    matches!(&probe.wire, Wire::Echo { proof, .. } if payload.starts_with(proof))
                });
                proven.then_some((flight, Answer::EchoReply { ttl: Some(packet.ttl) }))
            }
            Body::Icmp(Icmp::Error(error)) => self.recognise_quote(packet, &error),
            Body::Tcp(segment) => {
                let flow = (packet.source, segment.source_port, segment.dest_port);
                if !self.by_flow.contains_key(&flow) {
                    return None;
                }
                self.recognise_segment(packet, &segment)
            }
            Body::Icmp(_) | Body::Udp(_) | Body::Fragment | Body::Other { .. } => return None,
        };
        self.unmatched += u64::from(found.is_none());
        found
    }

    fn recognise_segment(
        &self,
        packet: &Packet<'_>,
        segment: &tcp::Segment<'_>,
    ) -> Option<(Flight, Answer)> {
        let flow = (packet.source, segment.source_port, segment.dest_port);
        let flights = self.by_flow.get(&flow)?;
        let facts =
            TcpAnswer { ttl: Some(packet.ttl), window: Some(segment.window), ip_id: packet.ip_id };
        let proven = |flight: &&Flight| {
            self.flying.get(flight).is_some_and(|probe| {
                matches!(probe.wire, Wire::Syn { isn, .. } if segment.ack == isn.wrapping_add(1))
            })
        };
        let flags = segment.flags;
        // RFC 9293 3.10.7.1: the reset of a segment takes its number from what that acknowledged.
        let refused = |flight: &&Flight| {
            self.flying.get(flight).is_some_and(
                |probe| matches!(probe.wire, Wire::Segment { ack, .. } if segment.seq == ack),
            )
        };
        if flags.rst()
            && let Some(flight) = flights.iter().find(refused)
        {
            return Some((*flight, Answer::Reset(facts)));
        }
        let answer = match (flags.syn(), flags.rst(), flags.ack()) {
            (true, false, true) => Answer::SynAck(facts),
            (false, true, true) => Answer::Reset(facts),
            (false, true, false) => Answer::BareReset(facts),
            (false, false, true) => Answer::ChallengeAck(facts),
            _ => return None,
        };
        let acknowledged: Vec<_> = match answer {
            Answer::SynAck(_) | Answer::Reset(_) => {
                flights.iter().filter(proven).copied().collect()
            }
            // Neither proves that it saw the SYN; both are believed for the flow alone.
            _ => flights.clone(),
        };
        let echoed = segment.options.timestamps.map(|(_, echoed)| echoed);
        self.pick(&acknowledged, echoed).map(|flight| (flight, answer))
    }

    /// Of several probes of one flow the one whose time stamp was echoed, else the nearest that
    /// can have reached the target.
    fn pick(&self, flights: &[Flight], echoed: Option<u32>) -> Option<Flight> {
        let stamped = |flight: &&Flight| {
            self.flying.get(flight).is_some_and(|probe| {
                let Wire::Syn { timestamp, .. } = probe.wire else { return false };
                timestamp.is_some() && timestamp == echoed
            })
        };
        if let Some(flight) = flights.iter().find(stamped) {
            return Some(*flight);
        }
        let known = |flight: &Flight| self.flying.get(flight).map(|probe| (probe, *flight));
        let expired = |probe: &InFlight| {
            probe.settled.is_some_and(|first| matches!(first.kind, AnswerKind::Icmp(_)))
        };
        let passed = flights.iter().filter_map(known).filter(|(probe, _)| expired(probe));
        let beyond = passed.map(|(probe, _)| probe.ttl).max().unwrap_or(0);
        let candidates: Vec<_> =
            flights.iter().filter_map(known).filter(|(probe, _)| probe.ttl > beyond).collect();
        let open = candidates.iter().find(|(probe, _)| probe.settled.is_none());
        open.or(candidates.last()).map(|(_, flight)| *flight)
    }

    fn recognise_quote(
        &self,
        packet: &Packet<'_>,
        error: &IcmpError<'_>,
    ) -> Option<(Flight, Answer)> {
        let kind = match error.family {
            Family::V4 => IcmpKind::from_v4(error.ty, error.code),
            Family::V6 => IcmpKind::from_v6(error.ty, error.code),
        }?;
        let quoted = error.quoted_packet().ok()?;
        let flight = match quoted.transport {
            QuotedTransport::Echo { id, seq } => {
                let flight = *self.by_echo.get(&(quoted.dest, id, seq))?;
                let proven = match quoted.ip_id {
                    Some(_) => self.quote_proves(flight, quoted.ip_id),
                    None => self.payload_proves(flight, error.quoted),
                };
                proven.then_some(flight)
            }
            QuotedTransport::Tcp { source_port, dest_port, seq, timestamp } => {
                let flights = self.by_flow.get(&(quoted.dest, dest_port, source_port))?;
                let proven = |flight: &&Flight| {
                    let Some(probe) = self.flying.get(flight) else { return false };
                    let (number, own) = match probe.wire {
                        Wire::Syn { isn, timestamp, .. } => (isn, timestamp),
                        Wire::Segment { seq, .. } => (seq, None),
                        Wire::Echo { .. } | Wire::Connect { .. } => return false,
                    };
                    let by_stamp = quoted.ip_id.is_some() || own.is_none() || own == timestamp;
                    seq.is_none_or(|seq| seq == number)
                        && (seq.is_some() || quoted.ip_id.is_some())
                        && by_stamp
                        && self.quote_proves(**flight, quoted.ip_id)
                };
                flights.iter().find(proven).copied()
            }
            QuotedTransport::Udp { .. } | QuotedTransport::Other { .. } | QuotedTransport::None => {
                None
            }
        }?;
        // Our own kernel wrote this to itself: nobody on the path said anything (DESIGN section 4
        // rule 1). Toward an address of our own it is the target that speaks.
        if packet.source == packet.dest && packet.source != quoted.dest {
            return Some((flight, Answer::Invalid(InvalidReason::SendError)));
        }
        let (from, ttl) = (packet.source, Some(packet.ttl));
        Some((flight, Answer::Icmp(IcmpAnswer { from, kind, ty: error.ty, code: error.code, ttl })))
    }

    /// IPv4 quotes must carry the keyed identification; IPv6 has none.
    fn quote_proves(&self, flight: Flight, ip_id: Option<u16>) -> bool {
        let known = self.flying.get(&flight).map(|probe| probe.ip_id);
        ip_id.is_none_or(|quoted| Some(quoted) == known)
    }

    /// IPv6 quotes are long enough (RFC 4443 2.4) to hold an echo's payload, which is keyed.
    fn payload_proves(&self, flight: Flight, quoted: &[u8]) -> bool {
        const PAYLOAD_AT: usize = 40 + 8;
        let Some(Wire::Echo { proof, .. }) = self.flying.get(&flight).map(|probe| &probe.wire)
        else {
            return false;
        };
        quoted.get(PAYLOAD_AT..).is_some_and(|payload| payload.starts_with(proof))
    }
}
