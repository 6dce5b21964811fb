//! The last captured packets, kept as evidence in a bounded piece of memory.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use reachd_core::monitor::{Direction, TapId};

/// Bookkeeping kept beside the bytes of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Kernel stamp, time since the Unix epoch.
    pub wall: Duration,
    /// Which ring saw it.
    pub tap: TapId,
    /// On which interface.
    pub interface: u32,
    /// Which way it went.
    pub direction: Direction,
    /// Its length on the wire.
    pub wire_len: u32,
    length: usize,
}

impl Record {
    /// Describes a packet about to be kept.
    pub const fn new(
        wall: Duration,
        tap: TapId,
        interface: u32,
        direction: Direction,
        wire_len: u32,
    ) -> Self {
        Self { wall, tap, interface, direction, wire_len, length: 0 }
    }
}

/// Which of the kept packets are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Packets from, to, or quoting a packet to these hosts; empty means all.
    pub hosts: Vec<IpAddr>,
    /// Not before this time since the Unix epoch.
    pub from: Option<Duration>,
    /// Not after this time since the Unix epoch.
    pub until: Option<Duration>,
}

/// A ring of bytes with the packets' boundaries beside it.
#[derive(Debug)]
pub struct Store {
    bytes: VecDeque<u8>,
    records: VecDeque<Record>,
    capacity: usize,
}

impl Store {
    /// A store that keeps at most so many bytes, bookkeeping included.
    pub fn new(capacity: usize) -> Self {
        Self { bytes: VecDeque::with_capacity(capacity), records: VecDeque::new(), capacity }
    }

    /// Keeps a packet and forgets as many of the oldest as it needs room for.
    pub fn push(&mut self, mut record: Record, bytes: &[u8]) {
        record.length = bytes.len();
        let need = size_of::<Record>() + bytes.len();
        if need > self.capacity {
            return;
        }
        while self.used() + need > self.capacity {
            let Some(oldest) = self.records.pop_front() else { break };
            self.bytes.drain(..oldest.length.min(self.bytes.len()));
        }
        self.records.push_back(record);
        self.bytes.extend(bytes);
    }

    /// Bytes in use, bookkeeping included.
    pub fn used(&self) -> usize {
        self.bytes.len() + self.records.len() * size_of::<Record>()
    }

    /// Packets kept.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The kept packets that are wanted, oldest first.
    pub fn packets<'a>(
        &'a self,
        wanted: &'a Wanted,
    ) -> impl Iterator<Item = (Record, Vec<u8>)> + 'a {
        let mut at = 0;
        self.records.iter().filter_map(move |record| {
            let range = at..at + record.length;
            at = range.end;
            let is_in_time = wanted.from.is_none_or(|from| record.wall >= from)
                && wanted.until.is_none_or(|until| record.wall <= until);
            if !is_in_time || range.end > self.bytes.len() {
                return None;
            }
            let (start, length) = (range.start, record.length);
            let byte =
                |at: usize| (at < length).then(|| self.bytes.get(start + at).copied()).flatten();
            let mut hosts = wanted.hosts.iter();
            let concerns = wanted.hosts.is_empty() || hosts.any(|host| concerns(byte, *host));
            // Only what is wanted is copied: the engine has other things to do.
            concerns.then(|| (*record, self.bytes.range(range).copied().collect()))
        })
    }
}

/// Whether a packet, given by its bytes, is from or to a host, or an ICMP error about a packet to
/// it.
fn concerns(byte: impl Fn(usize) -> Option<u8>, host: IpAddr) -> bool {
    let equal = |at: usize, octets: &[u8]| {
        octets.iter().enumerate().all(|(index, octet)| byte(at + index) == Some(*octet))
    };
    let has = |at: usize| match host {
        IpAddr::V4(host) => equal(at, &host.octets()),
        IpAddr::V6(host) => equal(at, &host.octets()),
    };
    let known = |at: usize| byte(at).unwrap_or(0);
    match (known(0) >> 4, host) {
        (4, IpAddr::V4(_)) => {
            let header_len = usize::from(known(0) & 0xf) * 4;
            has(12) || has(16) || (known(9) == 1 && has(header_len + 8 + 16))
        }
        (6, IpAddr::V6(_)) => has(8) || has(24) || (known(6) == 58 && has(48 + 24)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(seconds: u64) -> Record {
        Record::new(Duration::from_secs(seconds), TapId(0), 1, Direction::Sent, 9)
    }

    #[test]
    fn the_oldest_packets_make_room_and_the_bound_holds() {
        let mut store = Store::new(1_000);
        for second in 0..100 {
            store.push(record(second), &[u8::try_from(second).unwrap(); 40]);
            assert!(store.used() <= 1_000);
        }
        let kept: Vec<_> = store.packets(&Wanted::default()).collect();
        assert!(kept.len() >= 9);
        assert_eq!(kept.last().unwrap().1, [99; 40]);
        assert!(kept.iter().all(|(record, bytes)| record.wall.as_secs() == u64::from(bytes[0])));
        let late = Wanted { from: Some(Duration::from_secs(98)), ..Wanted::default() };
        assert_eq!(store.packets(&late).count(), 2);
    }

    #[test]
    fn a_packet_larger_than_the_store_is_not_kept() {
        let mut store = Store::new(100);
        store.push(record(1), &[0; 101]);
        assert!(store.is_empty());
    }

    #[test]
    fn quotes_of_packets_to_a_host_concern_it() {
        let mut packet = [0; 56];
        packet[0] = 0x45;
        packet[9] = 1;
        packet[12..16].copy_from_slice(&[10, 0, 0, 1]);
        packet[16..20].copy_from_slice(&[10, 0, 0, 2]);
        packet[44..48].copy_from_slice(&[10, 0, 0, 3]);
        let concerns = |last| concerns(|at| packet.get(at).copied(), [10, 0, 0, last].into());
        assert!((1..=3).all(concerns));
        assert!(!concerns(4));
    }
}
