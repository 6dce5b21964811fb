//! Room on a disk, and how much of it is left to what matters more.

use std::path::Path;

use rustix::fs::statvfs;

/// Bytes of a disk that are left to others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spare {
    /// With fewer nothing is written.
    pub(crate) to_write: u64,
    /// With fewer, what is over is given up.
    pub(crate) to_keep: u64,
}

impl Spare {
    /// A tenth and a twentieth, but no more than a database of incidents can need.
    pub(crate) fn of(whole: u64) -> Self {
        Self { to_write: (whole / 10).min(1 << 30), to_keep: (whole / 20).min(256 << 20) }
    }
}

/// Bytes free of a folder's disk, and those that are to stay free. Without an answer of the disk it
/// has room: the write itself tells.
pub(crate) fn free(folder: &Path, spare: fn(u64) -> Spare) -> (u64, Spare) {
    let Ok(disk) = statvfs(folder) else { return (u64::MAX, Spare::of(0)) };
    let whole = disk.f_blocks.saturating_mul(disk.f_frsize);
    (disk.f_bavail.saturating_mul(disk.f_frsize), spare(whole))
}
