//! What may be concluded from a handful of runs.
//!
//! The figure of a row is the median of the ratios of pairs, and its bound is exact: with `n`
//! ratios in order, the `k`-th smallest lies above the true median with the probability that a
//! fair coin shows heads fewer than `k` times in `n`. The largest `k` for which that is at most
//! 5 % gives the lower bound; nothing is assumed of how the ratios are spread. From five pairs on
//! there is one (the smallest: 1/32); with fewer there is none, and none is made up.

/// A median with its one-sided bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Estimate {
    /// The middle value, or the mean of the two in the middle.
    pub(crate) median: f64,
    /// The true median is at least this, with 95 % confidence; `None` below five values.
    pub(crate) lower: Option<f64>,
    /// The true median is at most this, with 95 % confidence; `None` below five values.
    pub(crate) upper: Option<f64>,
    /// How many values there are.
    pub(crate) count: usize,
}

/// Estimates the median behind some values; `None` without values.
pub(crate) fn estimate(values: &[f64]) -> Option<Estimate> {
    let sorted = sorted(values);
    let count = sorted.len();
    let middle = [sorted.get(count.checked_sub(1)? / 2)?, sorted.get(count / 2)?];
    let rank = bound_rank(count);
    Some(Estimate {
        median: f64::midpoint(*middle[0], *middle[1]),
        lower: rank.map(|rank| sorted[rank - 1]),
        upper: rank.map(|rank| sorted[count - rank]),
        count,
    })
}

/// Gives the value below or at which the given share of all values lies, by nearest rank.
pub(crate) fn percentile(values: &[f64], share: f64) -> Option<f64> {
    let sorted = sorted(values);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// Gives the rank, from 1, of the value that bounds the median of `count` values from below.
fn bound_rank(count: usize) -> Option<usize> {
    // P(heads < rank) for `count` tosses, summed term by term.
    let mut term = 0.5_f64.powi(i32::try_from(count).ok()?);
    let mut below = 0.0;
    let mut rank = 0;
    while below + term <= LEVEL && rank < count {
        below += term;
        term *= (count - rank) as f64 / (rank + 1) as f64;
        rank += 1;
    }
    (rank > 0).then_some(rank)
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// One chance in twenty.
const LEVEL: f64 = 0.05;

#[cfg(test)]
mod tests {
    use super::{bound_rank, estimate, percentile};

    #[test]
    fn median_is_the_middle_or_between_two() {
        let median = |values: &[f64]| estimate(values).map(|estimate| estimate.median);
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[4.0, f64::NAN]), Some(4.0));
    }

    #[test]
    fn bound_has_the_ranks_of_the_sign_test_tables() {
        let ranks = [(0, None), (4, None), (5, Some(1)), (7, Some(1)), (8, Some(2)), (10, Some(2))];
        for (count, rank) in ranks {
            assert_eq!(bound_rank(count), rank, "{count}");
        }
        assert_eq!((bound_rank(11), bound_rank(13), bound_rank(20)), (Some(3), Some(4), Some(6)));
    }

    #[test]
    fn bounds_enclose_the_median() {
        let values = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7];
        let estimate = estimate(&values).unwrap();
        assert_eq!((estimate.lower, estimate.upper), (Some(1.1), Some(1.6)));
        assert_eq!(super::estimate(&values[..4]).unwrap().lower, None);
    }

    #[test]
    fn percentile_is_a_value_that_was_seen() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(&values, 0.99), Some(99.0));
        assert_eq!(percentile(&values, 0.5), Some(50.0));
        assert_eq!(percentile(&values, 0.0), Some(1.0));
        assert_eq!(percentile(&[7.0], 0.99), Some(7.0));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
