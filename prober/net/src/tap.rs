//! The Tap: one capture ring per network namespace, which sees every probe leave and every
//! answer come, and stamps both with one clock.

pub(crate) mod block;
pub mod filter;
pub mod pcapng;
pub mod store;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use reachd_core::monitor::{Captured, TapId};
use reachd_core::time::{Stamp, StampSource};
use socket2::{Domain, Socket, Type};

use crate::clock::Clock;
use crate::sys::ring::{self, Geometry, Mapping};
use block::Frames;
use store::{Record, Store};

/// The size of a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TapOptions {
    /// Blocks in the ring.
    pub blocks: u32,
    /// Bytes in a block, a power of two of at least 64 KiB.
    pub block_size: u32,
    /// How long a packet may wait in a block that is not full.
    pub retire: Duration,
}

impl Default for TapOptions {
    /// Four MiB: at 10,000 probes a second the reader may be away for 0.7 s.
    fn default() -> Self {
        Self { blocks: 16, block_size: 256 * 1_024, retire: Duration::from_millis(10) }
    }
}

impl TapOptions {
    /// A ring for so many probes a second: the reader may be away for half a second, within 4 to
    /// 64 MiB. At low rates, where the sweep's own turns are 20 ms apart, blocks wait as long: each
    /// that is handed over wakes the reader, and wake-ups are what an idle daemon costs.
    pub fn for_rate(probes_per_second: f64) -> Self {
        // A probe and its answer, each with the ring's own header.
        const BYTES: f64 = 2.0 * 176.0;
        let usual = Self::default();
        let wanted = probes_per_second * BYTES * 0.5 / f64::from(usual.block_size);
        let blocks = [16_u32, 32, 64, 128].into_iter().find(|blocks| f64::from(*blocks) >= wanted);
        let idle = probes_per_second < 2_000.0;
        let retire = if idle { Duration::from_millis(20) } else { usual.retire };
        Self { blocks: blocks.unwrap_or(256), retire, ..usual }
    }
}

/// One capture ring.
#[derive(Debug)]
pub struct Tap {
    id: TapId,
    // Unmapped before the socket is closed.
    mapping: Mapping,
    socket: Socket,
    packets: u64,
    drops: u64,
    malformed: u64,
}

impl Tap {
    /// Opens a ring over all interfaces of the calling thread's network namespace.
    ///
    /// The filter is attached before the socket is bound, so no foreign packet gets in between.
    pub fn open(id: TapId, options: TapOptions, ports: &BTreeSet<u16>) -> io::Result<Self> {
        // Protocol 0 receives nothing until it is bound to one.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        socket.attach_filter(&filter::build(ports))?;
        let geometry = Geometry {
            blocks: options.blocks,
            block_size: options.block_size,
            retire_ms: u32::try_from(options.retire.as_millis()).unwrap_or(u32::MAX),
        };
        let mapping = Mapping::open(&socket, geometry)?;
        ring::bind_everywhere(&socket)?;
        Ok(Self { id, mapping, socket, packets: 0, drops: 0, malformed: 0 })
    }

    /// Which ring this is.
    pub const fn id(&self) -> TapId {
        self.id
    }

    /// Captures TCP from and to these ports from now on; the change is atomic.
    pub fn set_ports(&self, ports: &BTreeSet<u16>) -> io::Result<()> {
        self.socket.attach_filter(&filter::build(ports))
    }

    /// Whether a block waits to be read.
    pub fn is_ready(&self) -> bool {
        self.mapping.is_ready()
    }

    /// Reads one block, keeps its packets as evidence and hands them on; `None` if none waits.
    pub fn read_block(
        &mut self,
        clock: &Clock,
        store: &mut Store,
        mut deliver: impl FnMut(Captured<'_>),
    ) -> Option<usize> {
        let id = self.id;
        let mut frames = Frames::of(self.mapping.block()?);
        let mut count = 0;
        for frame in frames.by_ref() {
            let Some(direction) = frame.direction else { continue };
            let wall = Duration::from_nanos(frame.stamp);
            let record = Record::new(wall, id, frame.interface, direction, frame.wire_len);
            store.push(record, frame.bytes);
            deliver(Captured {
                tap: id,
                interface: frame.interface,
                direction,
                at: Stamp { at: clock.of_wall(frame.stamp), source: StampSource::Capture },
                checksums_final: frame.checksums_final,
                bytes: frame.bytes,
            });
            count += 1;
        }
        let unread = frames.unread();
        self.malformed += u64::from(unread);
        self.mapping.release();
        Some(count)
    }

    /// Packets delivered and packets dropped since the ring was opened; frames that could not be
    /// read count as dropped.
    pub fn counts(&mut self) -> io::Result<(u64, u64)> {
        // A pending error would keep the socket readable for ever; what it says shows elsewhere.
        let _ = self.socket.take_error();
        let (packets, drops) = ring::statistics(&self.socket)?;
        // The kernel's number of packets includes the dropped ones.
        self.packets += u64::from(packets.saturating_sub(drops));
        self.drops += u64::from(drops);
        Ok((self.packets, self.drops + self.malformed))
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests;
