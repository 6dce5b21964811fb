//! What left by our own account, where nothing sees it leave: packets and the time before the call.

use reachd_core::time::Instant;

use crate::clock::Clock;
use crate::sys::batch::{BATCH_MAX, Witness};

/// Packets that share one stamp at most: more in one call make the last ones seem slower.
const AT_ONCE: usize = 8;
/// Packets kept until somebody reads them; of what is beyond that nobody hears that it left.
const PACKETS_MAX: usize = 4_096;

/// The packets that left since the journal was last read.
#[derive(Debug)]
pub(crate) struct Journal {
    clock: Clock,
    began: Instant,
    bytes: Vec<u8>,
    /// When each left, and where its bytes end.
    entries: Vec<(Instant, usize)>,
}

impl Journal {
    /// An empty one.
    pub(super) fn new(clock: &Clock) -> Self {
        let (bytes, entries) = (Vec::new(), Vec::new());
        Self { clock: clock.clone(), began: Instant::ZERO, bytes, entries }
    }

    /// A call that sends is about to be made.
    pub(crate) fn begin(&mut self) {
        self.began = self.clock.now();
    }

    /// The call that began took this packet.
    pub(crate) fn note(&mut self, packet: &[u8]) {
        if self.entries.len() < PACKETS_MAX {
            self.bytes.extend_from_slice(packet);
            self.entries.push((self.began, self.bytes.len()));
        }
    }

    /// Reads and empties it; its memory stays.
    pub(crate) fn drain(&mut self, mut read: impl FnMut(Instant, &[u8])) {
        let mut from = 0;
        for (at, end) in self.entries.drain(..) {
            read(at, self.bytes.get(from..end).unwrap_or_default());
            from = end;
        }
        self.bytes.clear();
    }
}

impl Witness for Option<Journal> {
    fn at_once(&self) -> usize {
        if self.is_some() { AT_ONCE } else { BATCH_MAX }
    }

    fn begin(&mut self) {
        if let Some(journal) = self {
            journal.begin();
        }
    }

    fn sent(&mut self, packet: &[u8]) {
        if let Some(journal) = self {
            journal.note(packet);
        }
    }
}
