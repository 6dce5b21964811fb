//! Questions to resolvers that wait for their answer, found by number and by name.

use std::collections::BTreeMap;

use super::QueryId;
use crate::target::TargetName;
use crate::vantage::VantageId;

/// Open questions.
#[derive(Debug, Default)]
pub(super) struct Queries {
    by_number: BTreeMap<QueryId, (TargetName, VantageId)>,
    by_name: BTreeMap<(TargetName, VantageId), QueryId>,
}

impl Queries {
    pub(super) fn add(&mut self, query: QueryId, name: TargetName, from: VantageId) {
        self.by_name.insert((name.clone(), from), query);
        self.by_number.insert(query, (name, from));
    }

    /// Whether this name is being asked for from there.
    pub(super) fn holds(&self, name: &TargetName, from: VantageId) -> bool {
        self.by_name.contains_key(&(name.clone(), from))
    }

    /// The answer came: whose it is, if anybody still waits.
    pub(super) fn take(&mut self, query: QueryId) -> Option<(TargetName, VantageId)> {
        let key = self.by_number.remove(&query)?;
        self.by_name.remove(&key);
        Some(key)
    }

    /// Nobody waits for this any more.
    pub(super) fn forget(&mut self, name: &TargetName, from: VantageId) {
        if let Some(query) = self.by_name.remove(&(name.clone(), from)) {
            self.by_number.remove(&query);
        }
    }
}
