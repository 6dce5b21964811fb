//! A file that only takes up room, to be given up when the disk is full.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::with_suffix;

/// A smaller one would not hold the steps of a bad minute.
const LEAST: u64 = 256 << 10;

/// The ballast of one store.
#[derive(Debug, Clone)]
pub(super) struct Ballast {
    path: PathBuf,
    bytes: u64,
    /// Whether it was given up and is not made again yet, shared with whoever else writes to the
    /// disk; and how large it was.
    spent: Arc<AtomicBool>,
    given_up: u64,
    /// Whether it was said that there is no room for one.
    warned: bool,
}

impl Ballast {
    /// A ballast of so many bytes at most beside a store; it is not made yet.
    pub(super) fn beside(store: &Path, bytes: u64) -> Self {
        let path = with_suffix(store, ".ballast");
        Self { path, bytes, spent: Arc::default(), given_up: 0, warned: false }
    }

    /// Gives it up; whether there was one.
    pub(super) fn release(&mut self) -> bool {
        self.spent.store(true, Ordering::Relaxed);
        self.given_up = self.given_up.max(self.length());
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

    /// Whether there is none, for whatever reason, though there should be one.
    pub(super) fn is_missing(&self) -> bool {
        self.bytes > 0 && !self.path.exists()
    }

    /// Makes it where that leaves as much again, smaller on a small disk.
    pub(super) fn tend(&mut self) {
        let length = self.length();
        if self.bytes == 0 || length >= self.bytes {
            return;
        }
        let size = fitting(self.bytes, self.free(), length);
        // What was given up for incidents is not taken back from them.
        if size < LEAST.max(self.given_up) {
            if self.is_missing() && !self.is_spent() && !self.warned {
                self.warned = true;
                let path = self.path.display();
                tracing::warn!(%path, "No room for a ballast: a full disk will hold no incident");
            }
            return;
        }
        // Little more is not worth the writing.
        if size / 2 < length {
            return;
        }
        match self.make(size) {
            Ok(()) => {
                if self.spent.swap(false, Ordering::Relaxed) {
                    tracing::info!("The disk has room again: the ballast is back");
                }
                (self.given_up, self.warned) = (0, false);
            }
            Err(error) => {
                // Half of one is worse than none.
                let _ = std::fs::remove_file(&self.path);
                tracing::warn!(%error, path = %self.path.display(), "No ballast for a full disk");
            }
        }
    }

    fn length(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |file| file.len())
    }

    fn free(&self) -> u64 {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let free = statvfs(folder.unwrap_or(Path::new(".")));
        free.map_or(0, |free| free.f_bavail.saturating_mul(free.f_frsize))
    }

    fn make(&self, size: u64) -> std::io::Result<()> {
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&self.path)?;
        // Blocks, not zeroes: a file system that compresses would keep nothing of those.
        fallocate(&file, FallocateFlags::empty(), 0, size)?;
        file.sync_all()
    }
}

/// The size of a ballast that leaves as much free as it takes, one of `length` being there.
fn fitting(most: u64, free: u64, length: u64) -> u64 {
    most.min(free.saturating_add(length) / 2)
}

#[cfg(test)]
mod tests;
