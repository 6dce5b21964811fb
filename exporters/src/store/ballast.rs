//! A file that only takes up room, to be given up when the disk is full.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::with_suffix;

/// The ballast of one store.
#[derive(Debug, Clone)]
pub(super) struct Ballast {
    path: PathBuf,
    bytes: u64,
    /// Shared with whoever else writes to the disk.
    spent: Arc<AtomicBool>,
}

impl Ballast {
    /// A ballast of so many bytes beside a store; it is not made yet.
    pub(super) fn beside(store: &Path, bytes: u64) -> Self {
        Self { path: with_suffix(store, ".ballast"), bytes, spent: Arc::default() }
    }

    /// Gives it up; whether there was one.
    pub(super) fn release(&mut self) -> bool {
        self.spent.store(true, Ordering::Relaxed);
        std::fs::remove_file(&self.path).is_ok()
    }

    /// Whether it was given up and is not made again yet.
    pub(super) fn is_spent(&self) -> bool {
        self.spent.load(Ordering::Relaxed)
    }

    /// The same for others, as it changes.
    pub(super) fn spent(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.spent)
    }

    /// Makes it where that leaves as much again.
    pub(super) fn tend(&mut self) {
        if self.bytes == 0 || self.path.exists() || !self.has_room() {
            return;
        }
        match self.make() {
            Ok(()) if self.spent.swap(false, Ordering::Relaxed) => {
                tracing::info!("The disk has room again: the ballast is back");
            }
            Ok(()) => {}
            Err(error) => {
                // Half of one is worse than none.
                let _ = std::fs::remove_file(&self.path);
                tracing::warn!(%error, path = %self.path.display(), "No ballast for a full disk");
            }
        }
    }

    fn has_room(&self) -> bool {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let free = statvfs(folder.unwrap_or(Path::new(".")));
        free.is_ok_and(|free| free.f_bavail.saturating_mul(free.f_frsize) >= 2 * self.bytes)
    }

    fn make(&self) -> std::io::Result<()> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&self.path)?;
        // Blocks, not zeroes: a file system that compresses would keep nothing of those.
        fallocate(&file, FallocateFlags::empty(), 0, self.bytes)?;
        file.sync_all()
    }
}

#[cfg(test)]
mod tests;
