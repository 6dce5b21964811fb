//! Who may come in: TLS and passwords from a `web.yml` as Prometheus and its exporters read it.
//!
//! The format is exporter-toolkit's (its `docs/web-configuration.md`). What a server on rustls
//! cannot do is refused with a reason, never left out in silence. The files are read again when one
//! of them has changed: a certificate that was renewed is served from the next connection on, and a
//! file that broke leaves the last good one at work.

mod file;
mod guard;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::http::{HeaderName, HeaderValue};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

pub use self::file::WebError;
use self::guard::Users;
pub(super) use self::guard::{Peer, admit};

/// The doors as they are set now.
pub struct Web {
    path: Option<PathBuf>,
    current: Mutex<Arc<Setup>>,
}

/// One reading of the files.
#[derive(Default)]
pub(super) struct Setup {
    /// How each file looked that was read.
    marks: Vec<(PathBuf, Mark)>,
    /// TLS, where there is a certificate.
    pub(super) acceptor: Option<TlsAcceptor>,
    /// Whether every client shows a certificate that is believed.
    certified: bool,
    users: Users,
    /// What every answer carries besides.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

type Mark = Option<(SystemTime, u64)>;

impl Web {
    /// No TLS and no passwords.
    pub fn open() -> Self {
        Self { path: None, current: Mutex::default() }
    }

    /// Reads a `web.yml`; file names in it count from its own folder.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or says what cannot be done.
    pub fn read(path: &Path) -> Result<Self, WebError> {
        let setup = file::read(path)?;
        Ok(Self { path: Some(path.to_owned()), current: Mutex::new(Arc::new(setup)) })
    }

    /// Whether clients speak TLS.
    pub fn is_encrypted(&self) -> bool {
        self.setup().acceptor.is_some()
    }

    /// The doors for a connection that comes now.
    pub(super) fn setup(&self) -> Arc<Setup> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(path) = &self.path else { return Arc::clone(&current) };
        let changed = current.marks.iter().any(|(file, known)| mark(file) != *known);
        if changed {
            match file::read(path) {
                Ok(setup) => {
                    info!(path = %path.display(), "Read the web configuration again");
                    *current = Arc::new(setup);
                }
                Err(error) => {
                    warn!(%error, "The web configuration was refused; the last one stays");
                    // Not again before something changes again.
                    let files = current.marks.iter().map(|(file, _)| (file.clone(), mark(file)));
                    let marks = files.collect();
                    *current = Arc::new(current.with_marks(marks));
                }
            }
        }
        Arc::clone(&current)
    }
}

impl Setup {
    fn with_marks(&self, marks: Vec<(PathBuf, Mark)>) -> Self {
        Self {
            marks,
            acceptor: self.acceptor.clone(),
            certified: self.certified,
            users: self.users.clone(),
            headers: self.headers.clone(),
        }
    }
}

fn mark(path: &Path) -> Mark {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

#[cfg(test)]
mod tests;
