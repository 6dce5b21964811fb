//! Named network namespaces: entering one for a moment, and noticing when it was replaced.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::sys;

/// Where named namespaces live.
const DIRECTORY: &str = "/run/netns";

/// What tells one namespace from another of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamespaceId {
    device: u64,
    inode: u64,
}

/// An open named namespace; it lives as long as this does, even when its name is gone.
#[derive(Debug, Clone)]
pub struct Namespace {
    name: Arc<str>,
    file: Arc<File>,
    id: NamespaceId,
}

impl Namespace {
    /// Opens `/run/netns/NAME`.
    pub fn open(name: &str) -> io::Result<Self> {
        let file = File::open(path(name)?)?;
        let id = id_of(&file.metadata()?);
        Ok(Self { name: name.into(), file: Arc::new(file), id })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its identity.
    pub const fn id(&self) -> NamespaceId {
        self.id
    }

    /// Whether the name still stands for this namespace.
    pub fn is_current(&self) -> bool {
        let metadata = path(&self.name).and_then(std::fs::metadata);
        metadata.is_ok_and(|metadata| id_of(&metadata) == self.id)
    }

    /// Runs `work` on a short-lived thread inside the namespace; the caller's thread stays where
    /// it is. Sockets that `work` makes belong to the namespace for ever.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        std::thread::scope(|scope| {
            let inside = || {
                sys::enter_network_namespace(&*self.file).map_err(not_yet)?;
                work()
            };
            let thread = std::thread::Builder::new().name("reachd-netns".to_owned());
            let thread = thread.spawn_scoped(scope, inside)?;
            thread.join().unwrap_or_else(|_| Err(io::Error::other("namespace thread panicked")))
        })
    }
}

/// While a namespace is being made, its name is a plain file for a moment, which cannot be entered.
fn not_yet(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::EINVAL) => io::Error::from_raw_os_error(libc::ENXIO),
        _ => error,
    }
}

/// The identity of the calling thread's own network namespace.
pub fn own_id() -> io::Result<NamespaceId> {
    std::fs::metadata("/proc/thread-self/ns/net").map(|metadata| id_of(&metadata))
}

fn id_of(metadata: &std::fs::Metadata) -> NamespaceId {
    NamespaceId { device: metadata.dev(), inode: metadata.ino() }
}

/// The path of a name; a name that would lead elsewhere is refused.
fn path(name: &str) -> io::Result<PathBuf> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(io::Error::from_raw_os_error(libc::ENOENT));
    }
    Ok(PathBuf::from(DIRECTORY).join(name))
}
