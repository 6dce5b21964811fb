use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::time::{Instant, StampSource};
use crate::wire::packet::{Checksums, SegmentSpec, SynSpec, emit_rst, emit_segment, emit_syn};
use crate::wire::reply::{Stack, emit_rst_ack, emit_syn_ack};

const TAP: TapId = TapId(0);
const OURS: u32 = 1_000;
const THEIRS: u32 = 77;

/// A connection of the kernel's own to a target, as its ring sees it.
struct Line {
    talks: Talks,
    ours: SocketAddr,
    theirs: SocketAddr,
    millis: u64,
}

impl Line {
    fn new(v6: bool) -> Self {
        let [ours, theirs] = match v6 {
            true => ["[2001:db8::1]:40000", "[2001:db8::9]:3389"],
            false => ["192.0.2.1:40000", "192.0.2.9:3389"],
        };
        let (ours, theirs): (SocketAddr, SocketAddr) =
            (ours.parse().unwrap(), theirs.parse().unwrap());
        let mut talks = Talks::default();
        talks.open((TAP, theirs.ip(), theirs.port()), Flight::Survey(1));
        Self { talks, ours, theirs, millis: 0 }
    }

    fn place(&self) -> Place {
        (TAP, self.theirs.ip(), self.theirs.port())
    }

    fn see(&mut self, direction: Direction, bytes: &[u8]) {
        self.millis += 10;
        let at = Instant::from_start(Duration::from_millis(self.millis));
        let captured = Captured {
            tap: TAP,
            interface: 1,
            direction,
            at: Stamp { at, source: StampSource::Capture },
            checksums_final: true,
            bytes,
        };
        self.talks.note(&captured, &Packet::parse(bytes, Checksums::Verify).unwrap());
    }

    fn heard(&self) -> Option<Overheard> {
        self.talks.overheard(self.place(), self.ours.port())
    }

    fn syn(&self) -> Vec<u8> {
        let spec = SynSpec {
            source: self.ours.ip(),
            dest: self.theirs.ip(),
            ttl: 64,
            ip_id: 1,
            source_port: self.ours.port(),
            dest_port: self.theirs.port(),
            seq: OURS,
            mss: 1_460,
            timestamp: None,
        };
        emit_syn(&spec).unwrap()
    }

    fn request(&self, payload: &[u8]) -> Vec<u8> {
        let (source, dest) = (self.ours, self.theirs);
        let (seq, ack) = (OURS + 1, THEIRS + 1);
        emit_segment(&SegmentSpec { source, dest, ttl: 64, ip_id: 2, seq, ack, payload }).unwrap()
    }

    /// The handshake, and a request.
    fn begin(&mut self) -> Vec<u8> {
        let syn = self.syn();
        self.see(Direction::Sent, &syn);
        let stack = Stack { ttl: 125, ..Stack::default() };
        self.see(Direction::Received, &emit_syn_ack(&syn, THEIRS, &stack).unwrap());
        let (nothing, request) = (self.request(&[]), self.request(b"hello"));
        self.see(Direction::Sent, &nothing);
        self.see(Direction::Sent, &request);
        request
    }
}

#[test]
fn the_reset_that_ends_a_connection_is_known_by_its_number() {
    for v6 in [false, true] {
        let mut line = Line::new(v6);
        let request = line.begin();
        let open = line.heard().unwrap();
        assert_eq!((open.accepted.ttl, open.end), (Some(125), None));
        assert_eq!(open.round_trip, Duration::from_millis(10));
        let guess = emit_rst(line.theirs, line.ours, THEIRS + 2, 60).unwrap();
        line.see(Direction::Received, &guess);
        assert_eq!(line.heard().unwrap().end, None, "a guessed number");
        let reset = emit_rst_ack(&request, &Stack { ttl: 62, ..Stack::default() }).unwrap();
        line.see(Direction::Received, &reset);
        let after = Some(Duration::from_millis(20));
        let end = PeerEnd { reset: true, ttl: 62, after };
        assert_eq!(line.heard().unwrap().end, Some(end));
        // What comes behind it changes nothing.
        let late = emit_rst(line.theirs, line.ours, THEIRS + 1, 125).unwrap();
        line.see(Direction::Received, &late);
        assert_eq!(line.heard().unwrap().end, Some(end));
    }
}

#[test]
fn an_end_behind_data_carries_the_number_behind_it() {
    let mut line = Line::new(false);
    line.begin();
    let answer = emit_segment(&SegmentSpec {
        source: line.theirs,
        dest: line.ours,
        ttl: 125,
        ip_id: 3,
        seq: THEIRS + 1,
        ack: OURS + 6,
        payload: b"well",
    });
    line.see(Direction::Received, &answer.unwrap());
    let early = emit_rst(line.theirs, line.ours, THEIRS + 1, 125).unwrap();
    line.see(Direction::Received, &early);
    assert_eq!(line.heard().unwrap().end, None);
    let reset = emit_rst(line.theirs, line.ours, THEIRS + 5, 125).unwrap();
    line.see(Direction::Received, &reset);
    assert!(line.heard().unwrap().end.is_some_and(|end| end.ttl == 125));
}

#[test]
fn whoever_has_the_request_acknowledges_it() {
    let mut line = Line::new(false);
    let syn = line.syn();
    line.see(Direction::Sent, &syn);
    line.see(Direction::Received, &emit_syn_ack(&syn, THEIRS, &Stack::default()).unwrap());
    assert_eq!(line.heard().unwrap().acknowledged, None, "nothing was said");
    line.see(Direction::Sent, &line.request(b"hello"));
    let answer = |ack| {
        let (source, dest, seq) = (line.theirs, line.ours, THEIRS + 1);
        let spec = SegmentSpec { source, dest, ttl: 60, ip_id: 3, seq, ack, payload: &[] };
        emit_segment(&spec).unwrap()
    };
    let [handshake, behind, whole] = [OURS + 1, OURS, OURS + 6].map(answer);
    for ack in [handshake, behind] {
        line.see(Direction::Received, &ack);
        assert_eq!(line.heard().unwrap().acknowledged, Some(false));
    }
    line.see(Direction::Received, &whole);
    assert_eq!(line.heard().unwrap().acknowledged, Some(true));
}

#[test]
fn an_acceptance_of_another_syn_is_not_believed() {
    let mut line = Line::new(false);
    let syn = line.syn();
    let stack = Stack { ttl: 60, ..Stack::default() };
    line.see(Direction::Received, &emit_syn_ack(&syn, THEIRS, &stack).unwrap());
    assert_eq!(line.heard(), None, "our own SYN was not seen leaving");
    line.see(Direction::Sent, &syn);
    let other = emit_syn(&SynSpec {
        source: line.ours.ip(),
        dest: line.theirs.ip(),
        ttl: 64,
        ip_id: 1,
        source_port: line.ours.port(),
        dest_port: line.theirs.port(),
        seq: OURS + 9,
        mss: 1_460,
        timestamp: None,
    });
    line.see(Direction::Received, &emit_syn_ack(&other.unwrap(), THEIRS, &stack).unwrap());
    assert_eq!(line.heard(), None);
}

#[test]
fn what_is_kept_is_bounded_and_goes_with_its_connection() {
    let mut line = Line::new(false);
    for port in 35_000..36_000 {
        line.ours.set_port(port);
        let syn = line.syn();
        line.see(Direction::Sent, &syn);
    }
    assert_eq!(line.talks.0.get(&line.place()).unwrap().lines.len(), LINES);
    line.talks.open(line.place(), Flight::Survey(2));
    line.talks.close(line.place(), Flight::Survey(1));
    assert_eq!(line.talks.0.len(), 1);
    line.talks.close(line.place(), Flight::Survey(2));
    assert!(line.talks.0.is_empty());
    // Nobody ordered anything: nothing is kept.
    let syn = line.syn();
    line.see(Direction::Sent, &syn);
    assert!(line.talks.0.is_empty());
}
