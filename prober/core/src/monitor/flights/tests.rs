use super::*;
use crate::evidence::IcmpKind;
use crate::monitor::{ProbePacket, SendOrder};
use crate::probe::{Ask, Question};
use crate::time::StampSource;
use crate::wire::packet::{Checksums, emit_rst};
use crate::wire::reply::{Stack, emit_icmp_error, emit_rst_ack, emit_syn_ack};

const TAP: TapId = TapId(0);
const PORT: u16 = 3389;

/// Flights from one address to one target.
struct Bench {
    flights: Flights,
    ours: IpAddr,
    to: IpAddr,
    micros: u64,
}

impl Bench {
    fn new(v6: bool) -> Self {
        let [ours, to] =
            if v6 { ["2001:db8::1", "2001:db8::9"] } else { ["192.0.2.1", "192.0.2.9"] };
        let flights = Flights::new(Secret::new([3, 5]));
        Self { flights, ours: ours.parse().unwrap(), to: to.parse().unwrap(), micros: 0 }
    }

    /// Orders a probe; gives its number and its bytes.
    fn order(&mut self, ask: u16, what: Question) -> (SendOrder, Vec<u8>) {
        let target = TargetName::new("t");
        let key = ViewKey { target, vantage: VantageId(0), address: self.to };
        let errand = Purpose::Survey { number: 1, part: Part::Flow, ask };
        let ask = Ask { id: ask, what, ttl: FULL_TTL };
        let order = self.flights.order(Instant::ZERO, (key, errand, self.to), &ask, (Some(TAP), 1));
        let bytes = order.emit(self.ours).unwrap();
        (order, bytes)
    }

    fn see(&mut self, direction: Direction, bytes: &[u8]) -> Option<(u16, Observation)> {
        self.micros += 1_000;
        let at = Instant::from_start(Duration::from_micros(self.micros));
        let captured = Captured {
            tap: TAP,
            interface: 1,
            direction,
            at: Stamp { at, source: StampSource::Capture },
            checksums_final: true,
            bytes,
        };
        let packet = Packet::parse(bytes, Checksums::Verify).unwrap();
        let report = self.flights.handle_packet(&captured, &packet)?;
        match (report.purpose, report.news) {
            (Purpose::Survey { ask, .. }, News::Settled(seen)) => Some((ask, seen)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_flow_asked_again_is_one_flow_with_two_probes() {
    for v6 in [false, true] {
        let mut bench = Bench::new(v6);
        let (first, _) = bench.order(0, Question::Syn { port: PORT });
        let ProbePacket::Syn { source_port, seq, timestamp: None, .. } = first.what else {
            panic!("{first:?}")
        };
        let again = Question::SameFlow { port: PORT, source_port };
        let (_, one) = bench.order(1, again);
        let (_, two) = bench.order(2, again);
        for bytes in [&one, &two] {
            let Body::Tcp(syn) = Packet::parse(bytes, Checksums::Verify).unwrap().body else {
                panic!()
            };
            assert_eq!((syn.source_port, syn.seq), (source_port, seq), "a repetition");
        }
        assert_ne!(one, two, "which differs in its time stamp");
        // Each is seen leaving, and its own answer finds it, the second before the first.
        for bytes in [&one, &two] {
            assert!(bench.see(Direction::Sent, bytes).is_none());
        }
        let accept = |syn: &[u8]| emit_syn_ack(syn, 77, &Stack::default()).unwrap();
        let (ask, seen) = bench.see(Direction::Received, &accept(&two)).unwrap();
        assert_eq!((ask, seen.rtt()), (2, Some(Duration::from_millis(1))));
        let (ask, seen) = bench.see(Direction::Received, &accept(&one)).unwrap();
        assert_eq!((ask, seen.rtt()), (1, Some(Duration::from_millis(3))));
    }
}

#[test]
fn a_segment_is_answered_by_the_reset_that_repeats_its_number() {
    for v6 in [false, true] {
        let mut bench = Bench::new(v6);
        let (order, bytes) = bench.order(4, Question::Segment { port: PORT, size: 1_500 });
        assert!(bench.see(Direction::Sent, &bytes).is_none());
        let ProbePacket::Segment { source_port, ack, .. } = order.what else { panic!() };
        let (theirs, ours) = ((bench.to, PORT).into(), (bench.ours, source_port).into());
        let guess = emit_rst(theirs, ours, ack ^ 1, 60).unwrap();
        assert!(bench.see(Direction::Received, &guess).is_none(), "a guessed number");
        let reset = emit_rst_ack(&bytes, &Stack::default()).unwrap();
        let (ask, seen) = bench.see(Direction::Received, &reset).unwrap();
        assert!(ask == 4 && matches!(seen.answer, Answer::Reset(_)), "{seen:?}");
        assert!(seen.rtt().is_some(), "it was seen leaving");
    }
}

#[test]
fn too_big_is_heard_of_large_packets_of_both_kinds() {
    for (v6, (ty, code)) in [(false, (3, 4)), (true, (2, 0))] {
        let mut bench = Bench::new(v6);
        let what =
            [Question::SizedEcho { size: 1_500 }, Question::Segment { port: PORT, size: 1_500 }];
        for (ask, what) in (0..).zip(what) {
            let (_, bytes) = bench.order(ask, what);
            let router = if v6 { "2001:db8::5" } else { "192.0.2.5" }.parse().unwrap();
            let told = emit_icmp_error(router, bench.ours, ty, code, &bytes, 60).unwrap();
            let (heard, seen) = bench.see(Direction::Received, &told).unwrap();
            let Answer::Icmp(error) = seen.answer else { panic!("{seen:?}") };
            assert_eq!((heard, error.kind, error.from), (ask, IcmpKind::TooBig, router));
        }
    }
}
