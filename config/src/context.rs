//! What targets are built upon: defaults, groups, vantages, and names already taken.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use reachd_core::plan::Budget;
use reachd_core::target::Target;

use crate::layer::Layer;
use crate::settings::MetricsDetail;
use crate::source::Source;

/// What the main file says that the target files need too.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// The main file, for the places of its keys.
    pub(crate) main: Arc<Source>,
    /// Folder of the main file.
    pub(crate) base: PathBuf,
    pub(crate) defaults: Layer,
    pub(crate) groups: BTreeMap<String, Layer>,
    /// Names of the vantages.
    pub(crate) vantages: Vec<String>,
    pub(crate) budget: Budget,
    /// The targets of the main file.
    pub(crate) targets: Vec<Target>,
    /// The detail that was asked for, if any was.
    pub(crate) detail: Option<MetricsDetail>,
}

impl Default for Context {
    fn default() -> Self {
        Self {
            main: Source::new("", ""),
            base: PathBuf::new(),
            defaults: Layer::empty("defaults"),
            groups: BTreeMap::new(),
            vantages: Vec::new(),
            budget: Budget::default(),
            targets: Vec::new(),
            detail: None,
        }
    }
}
