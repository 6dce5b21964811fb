//! Target files: noticed by their time and size, a few seconds after they changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use reachd_config::Settings;

type Mark = Option<(SystemTime, u64)>;

/// What the target files looked like when they were last read.
#[derive(Debug, Default)]
pub(super) struct Files {
    marks: BTreeMap<PathBuf, Mark>,
}

impl Files {
    /// Remembers how the files of these settings look now.
    pub(super) fn remember(settings: &Settings) -> Self {
        let paths = settings.target_files.iter().map(|file| file.path.clone());
        Self { marks: paths.map(|path| (path.clone(), mark(&path))).collect() }
    }

    /// Whether one of them looks different from then.
    pub(super) fn changed(&self) -> bool {
        self.marks.iter().any(|(path, known)| mark(path) != *known)
    }
}

fn mark(path: &Path) -> Mark {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
