//! The shared memory of a `TPACKET_V3` receive ring (Linux `Documentation/networking/packet_mmap`).

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use libc::{c_int, c_void};

use super::{check, length_of, set_option};

/// Where a block's status word lies: after `version` and `offset_to_priv`.
const STATUS_AT: usize = 8;

/// The size of a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Blocks in the ring.
    pub(crate) blocks: u32,
    /// Bytes in a block; a power of two not below the page size.
    pub(crate) block_size: u32,
    /// Milliseconds after which a block that is not full is handed over.
    pub(crate) retire_ms: u32,
}

/// The mapped ring of one packet socket.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    length: usize,
    block_size: usize,
    blocks: usize,
    next: usize,
}

// SAFETY: the mapping is plain memory without thread affinity, and only its owner touches it.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Sets the ring up on a packet socket that is not bound yet and maps it, locked if allowed.
    pub(crate) fn open(socket: impl AsFd, geometry: Geometry) -> io::Result<Self> {
        let socket = socket.as_fd();
        let version = c_int::try_from(libc::tpacket_versions::TPACKET_V3 as u32).unwrap_or(2);
        set_option(socket, libc::SOL_PACKET, libc::PACKET_VERSION, &version)?;
        let frame_size = 2_048;
        let request = libc::tpacket_req3 {
            tp_block_size: geometry.block_size,
            tp_block_nr: geometry.blocks,
            tp_frame_size: frame_size,
            tp_frame_nr: geometry.block_size / frame_size * geometry.blocks,
            tp_retire_blk_tov: geometry.retire_ms,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        set_option(socket, libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
        let block_size = usize::try_from(geometry.block_size).unwrap_or_default();
        let blocks = usize::try_from(geometry.blocks).unwrap_or_default();
        let length = block_size * blocks;
        let fd = socket.as_raw_fd();
        let base = map(fd, length, libc::MAP_LOCKED).or_else(|_| map(fd, length, 0))?;
        Ok(Self { base, length, block_size, blocks, next: 0 })
    }

    /// The status word of a block, shared with the kernel.
    fn status(&self, block: usize) -> &AtomicU32 {
        let at = (block % self.blocks) * self.block_size + STATUS_AT;
        debug_assert!(at + 4 <= self.length);
        // SAFETY: `at` is inside the mapping, which lives as long as `self`, and is aligned to 4
        // because blocks begin on pages; the kernel changes the word, so it is read atomically.
        unsafe { AtomicU32::from_ptr(self.base.as_ptr().add(at).cast::<u32>()) }
    }

    /// Whether a block is waiting to be read.
    pub(crate) fn is_ready(&self) -> bool {
        self.status(self.next).load(Ordering::Acquire) & libc::TP_STATUS_USER != 0
    }

    /// The next block the kernel handed over, if any; it goes back with [`Self::release`].
    pub(crate) fn block(&mut self) -> Option<&[u8]> {
        if !self.is_ready() {
            return None;
        }
        let at = self.next * self.block_size;
        // SAFETY: the block lies inside the mapping, and while its status says `TP_STATUS_USER`
        // the kernel does not write to it. `release`, which hands it back, needs `&mut self` and
        // so cannot run while this slice is borrowed.
        Some(unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(at), self.block_size) })
    }

    /// Gives the current block back to the kernel and steps to the next one.
    pub(crate) fn release(&mut self) {
        self.status(self.next).store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.next = (self.next + 1) % self.blocks;
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `base` and `length` are what mmap gave and nothing borrows from it any more.
        let _ = unsafe { libc::munmap(self.base.as_ptr().cast::<c_void>(), self.length) };
    }
}

fn map(fd: c_int, length: usize, flags: c_int) -> io::Result<NonNull<u8>> {
    // SAFETY: the kernel chooses the place, so no memory of ours is replaced.
    let base = unsafe {
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        libc::mmap(std::ptr::null_mut(), length, rights, libc::MAP_SHARED | flags, fd, 0)
    };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(base.cast::<u8>()).ok_or_else(|| io::Error::other("mmap gave page zero"))
}

/// Attaches a packet socket to every interface of its namespace, for every protocol.
pub(crate) fn bind_everywhere(socket: impl AsFd) -> io::Result<()> {
    let every = u16::try_from(libc::ETH_P_ALL).unwrap_or_default();
    // SAFETY: `sockaddr_ll` holds only integers, for which zero is valid.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or_default();
    address.sll_protocol = every.to_be();
    // SAFETY: `address` is a whole `sockaddr_ll` and the length passed is its own.
    let result = unsafe {
        let address = (&raw const address).cast::<libc::sockaddr>();
        libc::bind(socket.as_fd().as_raw_fd(), address, length_of::<libc::sockaddr_ll>())
    };
    check(result).map(drop)
}

/// Packets and drops of a ring since the last call: the kernel resets both on reading.
pub(crate) fn statistics(socket: impl AsFd) -> io::Result<(u32, u32)> {
    let mut counts = libc::tpacket_stats_v3 { tp_packets: 0, tp_drops: 0, tp_freeze_q_cnt: 0 };
    let mut length = length_of::<libc::tpacket_stats_v3>();
    // SAFETY: `counts` and `length` are live and writable, and `length` says how long `counts` is.
    let result = unsafe {
        let counts = (&raw mut counts).cast::<c_void>();
        let fd = socket.as_fd().as_raw_fd();
        let (level, name) = (libc::SOL_PACKET, libc::PACKET_STATISTICS);
        libc::getsockopt(fd, level, name, counts, &raw mut length)
    };
    check(result)?;
    Ok((counts.tp_packets, counts.tp_drops))
}
