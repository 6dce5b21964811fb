//! Calibration: the judge's table against what the development split shows.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use reachd_core::judge::cause::CAUSES;
use reachd_core::judge::posterior::likelihood;
use reachd_core::judge::{Family, Sign};

use super::case::Corpus;
use super::examine::Examined;
use super::score::real;

/// The table's own floor and ceiling: no proposal goes beyond.
const FLOOR: f64 = 0.02;
const CEILING: f64 = 0.98;
/// A row that was seen less often says nothing.
const SEEN_MIN: u64 = 30;
/// Deviations shown.
const SHOWN: usize = 60;

/// One cell of the table: a signal under a cause.
#[derive(Debug)]
struct Cell {
    cause: usize,
    family: Family,
    seen: u64,
    /// Nats a case would gain if the table said what is seen.
    gain: f64,
    values: Vec<(Sign, f64, f64)>,
}

/// Whether a case may be fitted to: of the development split, and its signals exist.
pub(super) fn may_fit(corpus: &Corpus, examined: &Examined<'_>) -> bool {
    let name = &examined.case.family.name;
    let held = &corpus.manifest.held.families;
    let awaiting = &corpus.manifest.awaiting.families;
    examined.case.split == super::Split::Dev && !held.contains(name) && !awaiting.contains(name)
}

/// Compares every signal under every cause with the table, the largest gains first.
pub fn compare(corpus: &Corpus, all: &[Examined<'_>]) -> String {
    let mut counts: BTreeMap<(usize, Sign), u64> = BTreeMap::new();
    for examined in all.iter().filter(|examined| may_fit(corpus, examined)) {
        let cause = examined.case.family.truth.cause;
        for sign in examined.outcome.views.iter().flatten() {
            *counts.entry((cause, *sign)).or_default() += 1;
        }
    }
    let mut cells: Vec<_> = (0..CAUSES.len())
        .flat_map(|cause| Family::ALL.map(|family| (cause, family)))
        .filter_map(|(cause, family)| cell(&counts, cause, family))
        .collect();
    cells.sort_by(|a, b| b.gain.total_cmp(&a.gain));
    let mut text = String::from(
        "\nthe table against the development split: nats a case would gain, signal under cause,\n\
         and for each value what is seen and what the table says\n",
    );
    for cell in cells.iter().take(SHOWN) {
        let name = CAUSES.get(cell.cause).map_or("", |cause| cause.name);
        let values = cell.values.iter().filter(|(_, seen, said)| seen.max(*said) >= FLOOR * 2.0);
        let values =
            values.map(|(sign, seen, said)| format!("{} {seen:.2}/{said:.2}", sign.as_str()));
        writeln!(
            text,
            "{:>7.3} {name:<24} {:<18} n={:<6} {}",
            cell.gain,
            cell.family.as_str(),
            cell.seen,
            values.collect::<Vec<_>>().join("  ")
        )
        .expect("a string takes everything");
    }
    text
}

fn cell(counts: &BTreeMap<(usize, Sign), u64>, cause: usize, family: Family) -> Option<Cell> {
    let row = CAUSES.get(cause)?;
    let count = |sign: Sign| counts.get(&(cause, sign)).copied().unwrap_or_default();
    let seen: u64 = family.signs().iter().map(|sign| count(*sign)).sum();
    if seen < SEEN_MIN {
        return None;
    }
    let mut values = Vec::new();
    let mut gain = 0.0;
    for sign in family.signs() {
        // Laplace's rule keeps what was never seen from being impossible.
        let options = real(u64::try_from(family.signs().len()).unwrap_or(1));
        let share = (real(count(*sign)) + 1.0) / (real(seen) + options);
        let proposed = share.clamp(FLOOR, CEILING);
        let said = likelihood(row, *sign);
        gain += real(count(*sign)) / real(seen) * (proposed / said).ln();
        values.push((*sign, proposed, said));
    }
    Some(Cell { cause, family, seen, gain, values })
}
