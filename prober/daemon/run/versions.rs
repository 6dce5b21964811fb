//! Versions that grow for as long as the store lives.
//!
//! The monitor counts the steps of an incident from one whenever it meets its subject anew: after a
//! restart, or when a target comes back into the plan. Receivers know a message by fingerprint and
//! version, and the store keeps the newest only, so what is told must never count from one again.

use std::collections::BTreeMap;

/// The newest step of every incident that was ever told.
#[derive(Debug, Default)]
pub(super) struct Versions {
    newest: BTreeMap<String, Newest>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Newest {
    /// As the monitor counts.
    counted: u64,
    /// As the world was told.
    told: u64,
}

impl Versions {
    /// Remembers a step that an earlier run saved; `open` ones the monitor counts on from.
    pub(super) fn remember(&mut self, fingerprint: &str, version: u64, open: bool) {
        let counted = if open { version } else { 0 };
        self.newest.insert(fingerprint.to_owned(), Newest { counted, told: version });
    }

    /// The version to tell for one of the monitor's.
    pub(super) fn tell(&mut self, fingerprint: &str, version: u64) -> u64 {
        let newest = self.newest.entry(fingerprint.to_owned()).or_default();
        let steps = if version > newest.counted { version - newest.counted } else { version };
        *newest = Newest { counted: version, told: newest.told + steps };
        newest.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_never_fall() {
        let mut versions = Versions::default();
        let told = [1, 2, 3, 1, 2, 1].map(|version| versions.tell("a", version));
        assert_eq!(told, [1, 2, 3, 4, 5, 6]);
        assert_eq!(versions.tell("b", 1), 1);
    }

    #[test]
    fn an_open_incident_counts_on_and_a_closed_one_anew() {
        let mut versions = Versions::default();
        versions.remember("open", 3, true);
        versions.remember("closed", 4, false);
        assert_eq!([4, 5].map(|version| versions.tell("open", version)), [4, 5]);
        assert_eq!([1, 2].map(|version| versions.tell("closed", version)), [5, 6]);
    }
}
