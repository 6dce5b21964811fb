//! Evidence of incidents: plain files that outlive the daemon, and are read without it.
//!
//! Each step of an incident that fires has a folder of its own beside the store,
//! `evidence/<fingerprint>-<date of opening>-<version>`, with `verdict.json` (the verdict document),
//! `trace.txt` (the paths, for people) and, where packets were captured, `packets.pcapng`. It is
//! written under another name, synced and renamed: it is there as a whole or not at all. Names are
//! hexadecimal digits and dates; nothing that a target is called gets into a path.
//!
//! [`Archive`] writes within limits of size, age and free space; the functions beside it read.
//! Everything here blocks on the disk.

mod merge;
mod name;
mod proof;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

pub use self::name::{Opened, StepName};
pub use self::proof::{Proof, comments};
use crate::room::{Spare, free};

/// The folder of the evidence, beside the store's file.
pub const FOLDER: &str = "evidence";

const PACKETS: &str = "packets.pcapng";
const VERDICT: &str = "verdict.json";
const TRACE: &str = "trace.txt";
/// A folder that is being written, and one that is being removed. Only one archive writes.
const FRESH: &str = ".new";
const GONE: &str = ".old";

/// Steps of one incident that are kept at most: its opening, and the newest.
const STEPS_MAX: usize = 8;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all files together.
    pub max_bytes: u64,
    /// Age at which evidence of what is over goes.
    pub max_age: Duration,
}

/// Why evidence was not written.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The disk or the rights to it.
    #[error("{what} {}", path.display())]
    Disk {
        /// What was attempted.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        error: std::io::Error,
    },
    /// The disk has little room left, which is for the store.
    #[error("write evidence to {}: the disk has {free} bytes left, which are for incidents", path.display())]
    NoRoom {
        /// The folder.
        path: PathBuf,
        /// Bytes free.
        free: u64,
    },
    /// It is larger than all evidence may be.
    #[error("write {bytes} bytes of evidence: [evidence] max_bytes is smaller")]
    TooLarge {
        /// Its bytes.
        bytes: u64,
    },
}

/// Whether a step belongs to an incident that is open.
pub type IsOpen<'a> = &'a dyn Fn(&StepName) -> bool;

/// One step that is kept.
#[derive(Debug, Clone, Copy)]
struct Kept {
    bytes: u64,
    written: SystemTime,
}

/// The evidence on the disk, and its limits.
#[derive(Debug)]
pub struct Archive {
    folder: PathBuf,
    limits: Limits,
    /// Whether the disk is full and room that was kept for incidents is in use.
    full: Arc<AtomicBool>,
    /// What is spared of a disk of so many bytes.
    spare: fn(u64) -> Spare,
    /// `None` until the folder was made and read.
    kept: Option<BTreeMap<StepName, Kept>>,
    /// Their sum.
    bytes: u64,
}

impl Archive {
    /// The evidence in a folder, which is made and read when it is first needed. While the disk is
    /// `full` nothing is written.
    pub fn new(folder: PathBuf, limits: Limits, full: Arc<AtomicBool>) -> Self {
        Self { folder, limits, full, spare: Spare::of, kept: None, bytes: 0 }
    }

    /// Other limits, for what is written from now on.
    pub const fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Bytes of all files together.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Steps that are kept, by incident and date.
    pub fn steps(&self) -> impl Iterator<Item = &StepName> {
        self.kept.iter().flat_map(BTreeMap::keys)
    }

    /// Makes the folder (0700), sweeps up what a crash left half done, and reads what is there.
    pub fn prepare(&mut self) -> Result<(), EvidenceError> {
        if self.kept.is_some() {
            return Ok(());
        }
        let folder = self.folder.as_path();
        let at = |what| move |error| disk(what, folder, error);
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at("make"))?;
        let private = Permissions::from_mode(0o700);
        std::fs::set_permissions(folder, private).map_err(at("keep private"))?;
        for name in [FRESH, GONE] {
            self.clear(name)?;
        }
        let mut kept = BTreeMap::new();
        for entry in std::fs::read_dir(folder).map_err(at("read"))? {
            let entry = entry.map_err(at("read"))?;
            let Some(name) = entry.file_name().to_str().and_then(StepName::parse) else { continue };
            let about = entry.metadata().map_err(at("read"))?;
            // Not followed: a link is nothing of ours.
            if about.is_dir() {
                let bytes = size(&entry.path()).map_err(at("read"))?;
                let written = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                kept.insert(name, Kept { bytes, written });
            }
        }
        self.bytes = kept.values().map(|kept| kept.bytes).sum();
        self.kept = Some(kept);
        Ok(())
    }

    /// Writes the evidence of one step, after making room for it.
    pub fn put(
        &mut self,
        proof: &Proof,
        now: SystemTime,
        is_open: IsOpen<'_>,
    ) -> Result<(), EvidenceError> {
        let done = self.try_put(proof, now, is_open);
        if matches!(done, Err(EvidenceError::Disk { .. })) {
            // Somebody may have been at the folder: it is read anew.
            self.kept = None;
        }
        done
    }

    fn try_put(
        &mut self,
        proof: &Proof,
        now: SystemTime,
        is_open: IsOpen<'_>,
    ) -> Result<(), EvidenceError> {
        self.prepare()?;
        let mut files = proof.files();
        let sum = |files: &[(&str, &[u8])]| -> u64 {
            files.iter().map(|(_, bytes)| u64::try_from(bytes.len()).unwrap_or(u64::MAX)).sum()
        };
        if sum(&files) > self.limits.max_bytes {
            // The verdict is worth more than the packets, and far smaller.
            files.retain(|(name, _)| *name != PACKETS);
        }
        let bytes = sum(&files);
        if bytes > self.limits.max_bytes {
            return Err(EvidenceError::TooLarge { bytes });
        }
        self.thin(&proof.step)?;
        self.make_room(bytes, now, is_open)?;
        let (bytes_free, spare) = free(&self.folder, self.spare);
        let too_little = bytes_free < spare.to_write.saturating_add(bytes);
        if too_little || self.full.load(Ordering::Relaxed) {
            return Err(EvidenceError::NoRoom { path: self.folder.clone(), free: bytes_free });
        }
        self.write(&proof.step, &files)?;
        self.bytes += bytes;
        if let Some(kept) = &mut self.kept {
            kept.insert(proof.step.clone(), Kept { bytes, written: now });
        }
        Ok(())
    }

    /// Removes what is too old or too much.
    pub fn tend(&mut self, now: SystemTime, is_open: IsOpen<'_>) -> Result<(), EvidenceError> {
        self.prepare()?;
        self.make_room(0, now, is_open)
    }

    /// Of an incident's steps the opening and the newest stay, and leave room for this one.
    fn thin(&mut self, step: &StepName) -> Result<(), EvidenceError> {
        let of_it = |other: &&StepName| other.is_of(step);
        if self.kept.as_ref().is_some_and(|kept| kept.contains_key(step)) {
            self.remove(step)?;
        }
        let known: Vec<_> = self.steps().filter(of_it).cloned().collect();
        let too_many = (known.len() + 1).saturating_sub(STEPS_MAX);
        known.iter().skip(1).take(too_many).try_for_each(|step| self.remove(step))
    }

    fn make_room(
        &mut self,
        bytes: u64,
        now: SystemTime,
        is_open: IsOpen<'_>,
    ) -> Result<(), EvidenceError> {
        let kept = self.kept.iter().flatten();
        let mut order: Vec<_> =
            kept.map(|(step, kept)| (is_open(step), kept.written, step.clone())).collect();
        order.sort();
        for (open, written, step) in order {
            let age = now.duration_since(written).unwrap_or(Duration::ZERO);
            let too_much = self.bytes.saturating_add(bytes) > self.limits.max_bytes;
            let needless = !open && (age > self.limits.max_age || self.is_short());
            if !too_much && !needless {
                // Those behind it are younger, or open.
                break;
            }
            self.remove(&step)?;
        }
        Ok(())
    }

    /// Whether the disk has so little room that the store needs it more.
    fn is_short(&self) -> bool {
        let (bytes_free, spare) = free(&self.folder, self.spare);
        bytes_free < spare.to_keep || self.full.load(Ordering::Relaxed)
    }

    /// All files under another name first, each on the disk before the folder has its own.
    fn write(&self, step: &StepName, files: &[(&str, &[u8])]) -> Result<(), EvidenceError> {
        self.clear(FRESH)?;
        let (fresh, last) = (self.folder.join(FRESH), self.folder.join(step.to_string()));
        let written = write_all(&fresh, files)
            .and_then(|()| std::fs::rename(&fresh, &last))
            .and_then(|()| File::open(&self.folder)?.sync_all());
        written.map_err(|error| {
            // Half of it is worth nothing, and takes up room; the next start sweeps as well.
            drop(self.clear(FRESH));
            disk("write", &last, error)
        })
    }

    fn remove(&mut self, step: &StepName) -> Result<(), EvidenceError> {
        let path = self.folder.join(step.to_string());
        self.clear(GONE)?;
        match std::fs::rename(&path, self.folder.join(GONE)) {
            Ok(()) => self.clear(GONE)?,
            // Somebody else removed it.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(disk("remove", &path, error)),
        }
        let gone = self.kept.as_mut().and_then(|kept| kept.remove(step));
        self.bytes -= gone.map_or(0, |gone| gone.bytes);
        Ok(())
    }

    /// Removes a folder of ours that is no step.
    fn clear(&self, name: &str) -> Result<(), EvidenceError> {
        let path = self.folder.join(name);
        match std::fs::remove_dir_all(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(disk("remove", &path, error)),
        }
    }
}

/// The fingerprints with evidence that begin so, by name.
pub fn fingerprints(folder: &Path, beginning: &str) -> std::io::Result<BTreeSet<String>> {
    let names = names(folder)?.into_iter().map(|step| step.fingerprint().to_owned());
    Ok(names.filter(|name| name.starts_with(beginning)).collect())
}

/// The folders of an incident's last opening, the oldest step first.
pub fn folders(folder: &Path, fingerprint: &str) -> std::io::Result<Vec<PathBuf>> {
    let mut steps: Vec<_> = names(folder)?;
    steps.retain(|step| step.fingerprint() == fingerprint);
    steps.sort();
    let Some(last) = steps.last().cloned() else { return Ok(Vec::new()) };
    steps.retain(|step| step.is_of(&last));
    Ok(steps.into_iter().map(|step| folder.join(step.to_string())).collect())
}

/// The packets of an incident's last opening as one file, those of its steps one after the other;
/// `None` if there are none.
pub fn packets(folder: &Path, fingerprint: &str) -> std::io::Result<Option<Vec<u8>>> {
    let mut files = Vec::new();
    for step in folders(folder, fingerprint)? {
        match std::fs::read(step.join(PACKETS)) {
            Ok(file) => files.push(file),
            // No packets were captured, or the step has just made room for another.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    // One that somebody changed is given as it is.
    let whole = || merge::merge(&files).unwrap_or_else(|| files.concat());
    Ok((!files.is_empty()).then(whole))
}

fn names(folder: &Path) -> std::io::Result<Vec<StepName>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().to_str().and_then(StepName::parse));
    }
    Ok(names)
}

fn write_all(folder: &Path, files: &[(&str, &[u8])]) -> std::io::Result<()> {
    DirBuilder::new().mode(0o700).create(folder)?;
    for (name, bytes) in files {
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(folder.join(name));
        let mut file = file?;
        file.write_all(bytes)?;
        file.sync_all()?;
    }
    File::open(folder)?.sync_all()
}

fn size(folder: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}

fn disk(what: &'static str, path: &Path, error: std::io::Error) -> EvidenceError {
    EvidenceError::Disk { what, path: path.to_owned(), error }
}

#[cfg(test)]
mod tests;
