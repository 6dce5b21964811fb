//! Reads the packets of one ring block; trusts none of its offsets.

use libc::{TP_STATUS_CSUM_VALID, TP_STATUS_CSUMNOTREADY};
use reachd_core::monitor::Direction;

/// `sizeof(struct tpacket3_hdr)`; the `sockaddr_ll` follows it.
const FRAME_HEADER_LEN: usize = 48;

/// One packet in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// Kernel stamp, nanoseconds of the wall clock.
    pub(crate) stamp: u64,
    /// Interface it was seen on.
    pub(crate) interface: u32,
    /// Which way it went; `None` for what is neither to us nor from us.
    pub(crate) direction: Option<Direction>,
    /// Whether its checksums may be judged.
    pub(crate) checksums_final: bool,
    /// Its length on the wire, from the network header on.
    pub(crate) wire_len: u32,
    /// The captured bytes from the network header on.
    pub(crate) bytes: &'a [u8],
}

/// The packets of a block in order; ends early at the first offset that leaves the block.
#[derive(Debug, Clone)]
pub(crate) struct Frames<'a> {
    block: &'a [u8],
    at: usize,
    left: u32,
}

impl<'a> Frames<'a> {
    /// Begins with the block's descriptor (`struct tpacket_block_desc`).
    pub(crate) fn of(block: &'a [u8]) -> Self {
        let left = word(block, 12).unwrap_or(0);
        let at = word(block, 16).and_then(|at| usize::try_from(at).ok()).unwrap_or(0);
        Self { block, at, left }
    }

    /// Packets that the block claims and that were not read.
    pub(crate) const fn unread(&self) -> u32 {
        self.left
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        if self.left == 0 {
            return None;
        }
        let (frame, step) = read(self.block.get(self.at..)?)?;
        self.left -= 1;
        if step == 0 && self.left > 0 {
            self.at = self.block.len();
        } else {
            self.at = self.at.saturating_add(step);
        }
        Some(frame)
    }
}

/// Reads one frame and the distance to the next.
fn read(bytes: &[u8]) -> Option<(Frame<'_>, usize)> {
    let step = usize::try_from(word(bytes, 0)?).ok()?;
    let stamp = u64::from(word(bytes, 4)?) * 1_000_000_000 + u64::from(word(bytes, 8)?);
    let captured = usize::try_from(word(bytes, 12)?).ok()?;
    let wire_len = word(bytes, 16)?;
    let status = word(bytes, 20)?;
    let start = usize::from(u16::from_ne_bytes(*bytes.get(24..)?.first_chunk()?));
    let interface = word(bytes, FRAME_HEADER_LEN + 4)?;
    let direction = match *bytes.get(FRAME_HEADER_LEN + 10)? {
        libc::PACKET_OUTGOING => Some(Direction::Sent),
        libc::PACKET_HOST => Some(Direction::Received),
        _ => None,
    };
    // What the kernel verified need not be judged again, and of merged segments cannot.
    let checksums_final = status & (TP_STATUS_CSUMNOTREADY | TP_STATUS_CSUM_VALID) == 0;
    let bytes = bytes.get(start..start.checked_add(captured)?)?;
    Some((Frame { stamp, interface, direction, checksums_final, wire_len, bytes }, step))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_with(packets: u32, first: u32) -> Vec<u8> {
        let mut block = vec![0; 4_096];
        block[12..16].copy_from_slice(&packets.to_ne_bytes());
        block[16..20].copy_from_slice(&first.to_ne_bytes());
        block
    }

    fn put_frame(block: &mut [u8], at: usize, next: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap();
        for (offset, value) in [(0, next), (4, 3), (8, 7), (12, length), (16, length + 5)] {
            block[at + offset..at + offset + 4].copy_from_slice(&value.to_ne_bytes());
        }
        block[at + 24..at + 26].copy_from_slice(&80_u16.to_ne_bytes());
        block[at + 52..at + 56].copy_from_slice(&9_u32.to_ne_bytes());
        block[at + 58] = libc::PACKET_OUTGOING;
        block[at + 80..at + 80 + payload.len()].copy_from_slice(payload);
    }

    #[test]
    fn whole_frames_are_read_in_order() {
        let mut block = block_with(2, 48);
        put_frame(&mut block, 48, 112, b"one");
        put_frame(&mut block, 160, 0, b"second");
        let frames: Vec<_> = Frames::of(&block).collect();
        assert_eq!(frames.len(), 2);
        assert_eq!(frames[0].bytes, b"one");
        assert_eq!(frames[0].stamp, 3_000_000_007);
        assert_eq!(frames[0].direction, Some(Direction::Sent));
        assert_eq!((frames[1].bytes, frames[1].wire_len), (b"second".as_slice(), 11));
        assert_eq!(frames[1].interface, 9);
    }

    #[test]
    fn offsets_outside_the_block_end_the_walk() {
        for (packets, first, next, length) in [
            (u32::MAX, 48, 0, 3),
            (2, u32::MAX, 0, 3),
            (2, 48, u32::MAX, 3),
            (2, 48, 4_000, 3),
            (1, 48, 0, u32::MAX),
            (1, 48, 0, 4_096),
        ] {
            let mut block = block_with(packets, first);
            put_frame(&mut block, 48, next, b"one");
            block[60..64].copy_from_slice(&u32::to_ne_bytes(length));
            let mut frames = Frames::of(&block);
            assert!(frames.by_ref().count() <= 1);
            assert!(frames.unread() > 0);
        }
    }
}
