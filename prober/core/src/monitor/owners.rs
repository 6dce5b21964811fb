//! Whom the rows of the sweep belong to: small numbers for views.

use super::flights::ViewKey;

/// Numbered views; numbers are used again.
#[derive(Debug, Default)]
pub(super) struct Owners {
    keys: Vec<Option<ViewKey>>,
    free: Vec<u32>,
}

impl Owners {
    /// Gives a view its number.
    pub(super) fn add(&mut self, key: ViewKey) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.keys.push(None);
            u32::try_from(self.keys.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(slot) = slot(number).and_then(|at| self.keys.get_mut(at)) {
            *slot = Some(key);
        }
        number
    }

    /// Takes the number back.
    pub(super) fn remove(&mut self, number: u32) {
        let key = slot(number).and_then(|at| self.keys.get_mut(at));
        if key.and_then(Option::take).is_some() {
            self.free.push(number);
        }
    }

    /// The view of this number.
    pub(super) fn get(&self, number: u32) -> Option<&ViewKey> {
        self.keys.get(slot(number)?)?.as_ref()
    }
}

fn slot(number: u32) -> Option<usize> {
    usize::try_from(number).ok()
}
